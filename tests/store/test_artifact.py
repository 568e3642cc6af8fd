from __future__ import annotations

import functools
import hashlib
import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import (
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from spark_pseudolabel.core.teachers.vote import soft_vote
from spark_pseudolabel.errors import InputError, StoredStateError
from spark_pseudolabel.store import artifact
from spark_pseudolabel.store.artifact import check_storable, dump_model, load_model

rng = np.random.default_rng(0)
N = 90
X = rng.normal(size=(N, 4))
Y = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])
TABLE = pd.DataFrame(
    {
        "a": X[:, 0],
        "b": np.where(X[:, 1] > 1, np.nan, X[:, 1]),
        "c": rng.choice(["x", "y", "z"], N),
        "t": rng.choice(["hello world", "foo bar baz", "qux"], N),
    }
)
LABELS: dict[str, Any] = {
    "int": Y,
    "str": np.array(["no", "maybe", "yes"], dtype=object)[Y],
    "bool": Y > 0,
}


def _numbers() -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler())


def _text(condensed: bool) -> Pipeline:
    steps = [HashingVectorizer(n_features=2**16, ngram_range=(1, 2)), TfidfTransformer()]
    return make_pipeline(*steps, *([TruncatedSVD(2, random_state=0)] if condensed else []))


def _scaled() -> ColumnTransformer:
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", dtype=float)
    parts = [("n", _numbers(), ["a", "b"]), ("c", categories, ["c"]), ("t", _text(False), "t")]
    return ColumnTransformer(parts)


def _for_trees() -> ColumnTransformer:
    categories = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan
    )
    parts = [("n", "passthrough", ["a", "b"]), ("c", categories, ["c"]), ("t", _text(True), "t")]
    return ColumnTransformer(parts, sparse_threshold=0.0)


ON_NUMBERS = {
    "logistic": LogisticRegression(),
    "sgd": SGDClassifier(loss="modified_huber"),
    "gaussian nb": GaussianNB(),
    "knn": KNeighborsClassifier(),
    "knn manhattan": KNeighborsClassifier(weights="distance", metric="manhattan"),
    "knn minkowski": KNeighborsClassifier(p=3),
    "knn chebyshev": KNeighborsClassifier(metric="chebyshev"),
    "knn ball tree": KNeighborsClassifier(algorithm="ball_tree"),
    "mlp": MLPClassifier(max_iter=3),
    "mlp sgd": MLPClassifier(max_iter=3, solver="sgd", early_stopping=True),
    "tree": DecisionTreeClassifier(),
    "forest": RandomForestClassifier(3),
    "extra trees": ExtraTreesClassifier(3),
    "boosting": GradientBoostingClassifier(n_estimators=3),
    "hist boosting": HistGradientBoostingClassifier(max_iter=3),
    "hist boosting categories": HistGradientBoostingClassifier(
        max_iter=3, categorical_features=[False, False, False, True]
    ),
    "ada": AdaBoostClassifier(n_estimators=3),
    "bagging": BaggingClassifier(n_estimators=3),
    "lda": LinearDiscriminantAnalysis(),
    "qda": QuadraticDiscriminantAnalysis(reg_param=0.1),
    "calibrated sigmoid": CalibratedClassifierCV(LogisticRegression(), cv=2),
    "calibrated isotonic": CalibratedClassifierCV(GaussianNB(), cv=2, method="isotonic"),
    "calibrated temperature": CalibratedClassifierCV(GaussianNB(), cv=2, method="temperature"),
    "calibrated svc": CalibratedClassifierCV(SVC(), cv=2, ensemble=False),
    "voting": VotingClassifier(
        [("a", LogisticRegression()), ("b", RandomForestClassifier(2))], voting="soft"
    ),
    "numpy function": make_pipeline(FunctionTransformer(np.arcsinh), LogisticRegression()),
}
ON_COUNTS = {
    "multinomial nb": MultinomialNB(),
    "complement nb": ComplementNB(),
    "bernoulli nb": BernoulliNB(),
}
ON_TABLES = {
    "scaled": make_pipeline(_scaled(), LogisticRegression()),
    "scaled sparse svc": make_pipeline(_scaled(), CalibratedClassifierCV(SVC(), cv=2)),
    "scaled sparse knn": make_pipeline(_scaled(), KNeighborsClassifier()),
    "for trees": make_pipeline(_for_trees(), HistGradientBoostingClassifier(max_iter=3)),
    "for forests": make_pipeline(_for_trees(), SimpleImputer(), RandomForestClassifier(2)),
    "tfidf": make_pipeline(
        ColumnTransformer([("t", TfidfVectorizer(), "t")]), LogisticRegression()
    ),
}


def _fit(model: Any, rows: Any, labels: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three iterations converge nowhere
        return model.fit(rows, labels)


@functools.cache
def _fitted(kind: str) -> tuple[Any, Any]:
    """Fit a model on strings once; return it and the rows it was fitted on."""
    model = {**ON_NUMBERS, **ON_COUNTS, **ON_TABLES}[kind]
    rows = TABLE if kind in ON_TABLES else np.abs(X) if kind in ON_COUNTS else X
    return _fit(clone(model), rows, LABELS["str"]), rows


def _round_trip(model: Any, **given: Any) -> Any:
    stored = dump_model(model, **given)
    return load_model(stored.data, stored.sha256, stored.trusted_types, **given)


def _same(model: Any, rows: Any) -> None:
    loaded = _round_trip(model)
    assert np.array_equal(loaded.predict_proba(rows), model.predict_proba(rows))
    assert loaded.classes_.dtype == model.classes_.dtype
    assert loaded.classes_.tolist() == model.classes_.tolist()


@pytest.mark.parametrize("kind", [*ON_NUMBERS, *ON_COUNTS, *ON_TABLES])
def test_a_loaded_model_gives_the_same_bits(kind: str) -> None:
    _same(*_fitted(kind))


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", ["logistic", "forest", "hist boosting"])
def test_labels_keep_their_type(kind: str, labels: str) -> None:
    _same(_fit(ON_NUMBERS[kind], X, LABELS[labels]), X)


@pytest.mark.parametrize(
    ("library", "name"), [("xgboost", "XGBClassifier"), ("lightgbm", "LGBMClassifier")]
)
def test_extras_give_the_same_bits(library: str, name: str) -> None:
    pytest.importorskip(library, reason=f"the extra {library} is not installed")
    model = getattr(__import__(library), name)(n_estimators=3, n_jobs=1)
    _same(_fit(model, X, Y), X)


def test_all_pinned_types_are_needed_by_something_named_here() -> None:
    kinds = [*ON_NUMBERS, *ON_TABLES]
    needed = {name for kind in kinds for name in dump_model(_fitted(kind)[0]).trusted_types}
    libraries = {name for name in artifact.PINNED_TYPES if name.startswith(("xgb", "lightgbm"))}
    by_users = {
        "collections.OrderedDict",  # LightGBM
        "scipy.sparse._csr.csr_array",  # a later scikit-learn
        "sklearn.compose._column_transformer._RemainderColsList",  # an earlier scikit-learn
        "sklearn.compose._column_transformer.make_column_selector",
    }
    # Those of teachers are stored and loaded in the tests of each.
    own = {name for name in artifact.PINNED_TYPES if name.startswith("spark_pseudolabel.")}
    assert needed == artifact.PINNED_TYPES - libraries - by_users - own


# What is refused


def my_function(values: Any) -> Any:
    return values * 2


class MyClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    def fit(self, rows: Any, labels: Any) -> MyClassifier:
        self.classes_ = np.unique(labels)
        return self

    def predict_proba(self, rows: Any) -> Any:
        return np.full((len(rows), len(self.classes_)), 1 / len(self.classes_))


MINE = f"{MyClassifier.__module__}.MyClassifier"


def test_user_code_is_refused_by_name_before_anything_is_fitted() -> None:
    model = make_pipeline(FunctionTransformer(my_function), LogisticRegression())
    with pytest.raises(InputError, match=r"test_artifact\.my_function") as caught:
        check_storable(model)
    assert caught.value.code == "model_not_storable"


def test_a_lambda_is_refused() -> None:
    with pytest.raises(InputError, match="lambda"):
        check_storable(FunctionTransformer(lambda values: values))


def test_an_estimator_of_the_users_needs_trust_to_be_stored_and_to_be_loaded() -> None:
    with pytest.raises(InputError, match=MINE):
        check_storable(MyClassifier())
    check_storable(MyClassifier(), trusted=[MINE])
    stored = dump_model(MyClassifier().fit(X, Y), trusted=[MINE])
    assert stored.trusted_types == (MINE,)
    with pytest.raises(InputError, match=MINE) as caught:
        load_model(stored.data, stored.sha256, stored.trusted_types)
    assert caught.value.code == "untrusted_model"
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types, trusted=[MINE])
    assert loaded.classes_.tolist() == [0, 1, 2]


def test_types_that_appear_in_the_fit_are_found_with_a_sample() -> None:
    check_storable(GaussianProcessClassifier())
    with pytest.raises(InputError, match="RBF"):
        check_storable(GaussianProcessClassifier(), sample=(X[:20], Y[:20]))


def test_checking_leaves_the_model_as_it_was() -> None:
    model = LogisticRegression()
    check_storable(model, sample=(X, Y))
    assert not hasattr(model, "classes_")


def test_a_sample_that_cannot_be_fitted_says_nothing() -> None:
    check_storable(LogisticRegression(), sample=(X[:2], np.zeros(2)))


def test_nearly_empty_coefficients_are_not_taken_for_a_bomb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(artifact, "ALWAYS_EXPANDED", 2**20)
    model = LogisticRegression().fit(X, Y)
    model.coef_ = np.zeros((3, 2**18))
    assert np.array_equal(_round_trip(model).coef_, model.coef_)


def _refused(data: bytes, said: str, trusted_types: tuple[str, ...] = ()) -> None:
    """Hold that bytes are refused although their sha256 is right."""
    digest = hashlib.sha256(data).hexdigest()
    with pytest.raises(StoredStateError, match=said) as caught:
        load_model(data, digest, trusted_types, where="/out/model.skops")
    assert caught.value.message.startswith("/out/model.skops ")


def _archive(schema: Any, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        archive.writestr("schema.json", text)
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Gadget:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_one_changed_byte_is_refused_before_opening() -> None:
    stored = dump_model(LogisticRegression().fit(X, Y))
    changed = bytearray(stored.data)
    changed[-1] ^= 1
    with pytest.raises(StoredStateError, match=f"sha256 must be {stored.sha256}"):
        load_model(bytes(changed), stored.sha256, stored.trusted_types)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    _refused(pickle.dumps(Gadget(tmp_path / "ran")), "not a skops archive")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_inside_an_array_is_refused_and_not_run(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Gadget(tmp_path / "ran")], dtype=object), allow_pickle=True)
    stored = dump_model(np.zeros(1))
    with zipfile.ZipFile(io.BytesIO(stored.data)) as archive:
        schema = json.loads(archive.read("schema.json"))
    _refused(_archive(schema, **{schema["file"]: buffer.getvalue()}), "cannot be loaded")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "subprocess.Popen"])
def test_a_function_that_the_manifest_does_not_name_is_refused(function: str) -> None:
    module, _, name = function.rpartition(".")
    schema = {
        "__class__": name,
        "__module__": module,
        "__loader__": "FunctionNode",
        "content": {"module_path": module, "function": name},
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.16.0",
    }
    _refused(_archive(schema), "names types")


def test_a_manifest_cannot_trust_more_than_is_pinned() -> None:
    stored = dump_model(LogisticRegression())
    with pytest.raises(InputError, match=r"os\.system"):
        load_model(stored.data, stored.sha256, ["os.system"])


def test_a_zip_bomb_is_refused_unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = _archive("{}", zeros=bytes(256 * 2**20))
    assert len(bomb) < 300_000
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    _refused(bomb, "must expand to at most")


def test_a_bomb_that_lies_about_its_size_stops_there() -> None:
    honest = _archive(" " * (50 * 2**20))
    size, lie = (50 * 2**20).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert honest.count(size) == 2
    _refused(honest.replace(size, lie), "cannot be loaded")


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "MAX_MEMBERS", 2)
    _refused(_archive("{}", a=b"", b=b""), "at most 2 members, has 3")


def test_too_large_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "MAX_BYTES", 10)
    _refused(_archive("{}"), "at most 10 bytes")
    with pytest.raises(InputError, match="at most 10 bytes"):
        dump_model(LogisticRegression())


@pytest.mark.parametrize(
    "schema", ["", "{}", "[]", "null", "[" * 100_000, '{"__loader__": "Unknown", "protocol": 2}']
)
def test_a_broken_schema_is_refused(schema: str) -> None:
    _refused(_archive(schema), "cannot be loaded")


def test_an_unusual_compression_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("schema.json", "{}")
    _refused(buffer.getvalue(), "stored or deflated")


def test_a_missing_library_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    import skops.io

    def lacking(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'xgboost'")

    monkeypatch.setattr(skops.io, "loads", lacking)
    stored = dump_model(LogisticRegression())
    with pytest.raises(InputError, match="xgboost") as caught:
        load_model(stored.data, stored.sha256, ())
    assert caught.value.code == "missing_library"


def test_what_models_share_is_stored_once() -> None:
    scaler = StandardScaler().fit(X)
    members = {
        f"m{i}": Pipeline([("columns", scaler), ("estimator", GaussianNB().fit(X, Y))])
        for i in range(3)
    }
    loaded = _round_trip(soft_vote(members, sorted(set(Y))))
    assert len({id(member.steps[0][1]) for member in loaded.estimators_}) == 1
    np.testing.assert_array_equal(
        loaded.predict_proba(X), soft_vote(members, sorted(set(Y))).predict_proba(X)
    )
