from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel.columns import CLASS_SCORES, CODE, SCORE
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import predict_proba
from spark_pseudolabel.core.teachers.committee import Committee
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.core.teachers.estimators import final_step
from spark_pseudolabel.core.teachers.training import TrainingRows, class_codes, fit, without_empty
from spark_pseudolabel.core.teachers.training_frame import Weighting, training_rows
from spark_pseudolabel.core.teachers.weights import PseudoWeights
from spark_pseudolabel.registry import REGISTRY
from tests.core.registry_rows import EXTRAS, PARAMS

X_FEATURE = Feature("x", "numeric", "double")
FEATURES = (X_FEATURE,)
KEYS = ("id",)


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps what it was fitted on."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Recorder:
        self.seen_ = (X, y, sample_weight)
        self.classes_ = np.unique(y)
        return self


def labeled(*rows: tuple[Any, float, int]) -> pa.Table:
    ids, x, codes = zip(*rows, strict=True)
    return pa.table({"id": ids, "x": x, CODE: pa.array(codes, pa.int32())})


def accepted(*rows: tuple[Any, float, list[float]]) -> pa.Table:
    ids, x, P = zip(*rows, strict=True)
    codes = pa.array([int(np.argmax(p)) for p in P], pa.int32())
    return pa.table({"id": ids, "x": x, CODE: codes, SCORE: [max(p) for p in P], CLASS_SCORES: P})


LABELED = labeled((5, 0.5, 1), (1, 0.1, 0), (10, 1.0, 0))
ACCEPTED = accepted((7, 0.7, [0.2, 0.8]), (2, 0.2, [0.9, 0.1]), (30, 3.0, [1.0, 0.0]))


def weighted(each: Any, labels: Any = "hard") -> Weighting:
    return Weighting(labels, PseudoWeights(each))


def frame(weighting: Weighting, pseudo: pa.Table | None = ACCEPTED) -> TrainingRows:
    weights = None
    if pseudo is not None:
        confidence, rounds = pseudo.column(SCORE).to_numpy(), np.ones(pseudo.num_rows, np.int32)
        weights = weighting.pseudo.settled(confidence, rounds, {}, LABELED.num_rows)
        weights = weights.of(confidence, rounds)
    return training_rows(LABELED, pseudo, FEATURES, KEYS, weighting, weights)


def test_seed_is_fitted_on_labeled_rows_in_the_order_of_their_ids() -> None:
    rows = frame(Weighting(), None)
    assert rows.X["x"].tolist() == [0.1, 0.5, 1.0]
    assert rows.codes.tolist() == [0, 1, 0]
    assert rows.weights is None
    assert rows.n_pseudo == 0


def test_no_accepted_rows_are_the_same_as_none() -> None:
    assert frame(Weighting(), ACCEPTED.slice(0, 0)).sha256() == frame(Weighting(), None).sha256()


def test_labeled_and_accepted_rows_stand_in_one_order() -> None:
    rows = frame(Weighting())
    assert rows.X["x"].tolist() == [0.1, 0.2, 0.5, 0.7, 1.0, 3.0]
    assert rows.codes.tolist() == [0, 0, 1, 1, 0, 0]
    assert rows.n_pseudo == 3


def test_text_ids_are_ordered_as_text_and_pairs_by_file_first() -> None:
    texts = labeled(("9", 9.0, 0), ("10", 10.0, 0), ("é", 3.0, 1), ("z", 2.0, 1))
    assert training_rows(texts, None, FEATURES, KEYS, Weighting()).X["x"].tolist() == [
        10.0, 9.0, 2.0, 3.0,
    ]  # fmt: skip
    pairs = pa.table(
        {
            "file": ["b", "a", "a"],
            "row_index": [0, 10, 9],
            "x": [3.0, 2.0, 1.0],
            CODE: pa.array([0, 1, 0], pa.int32()),
        }
    )
    rows = training_rows(pairs, None, FEATURES, ("file", "row_index"), Weighting())
    assert rows.X["x"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("weighting", "weights"),
    [
        (Weighting(), None),
        (weighted(0.25), [1, 0.25, 1, 0.25, 1, 0.25]),
        (weighted("confidence"), [1, 0.9, 1, 0.8, 1, 1]),
        (Weighting(pseudo=PseudoWeights(ratio=0.5)), [1, 0.5, 1, 0.5, 1, 0.5]),
    ],
)
def test_accepted_rows_are_weighted_and_labeled_ones_are_not(
    weighting: Weighting, weights: list[float] | None
) -> None:
    found = frame(weighting).weights
    assert (None if found is None else found.tolist()) == weights


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_soft_labels_enter_once_per_class(share: float) -> None:
    rows = frame(weighted(share, "soft"))
    assert rows.weights is not None
    lines = list(zip(rows.X["x"].tolist(), rows.codes.tolist(), rows.weights.tolist(), strict=True))
    assert lines == [
        (0.1, 0, 1.0),
        (0.2, 0, 0.9 * share),
        (0.2, 1, 0.1 * share),
        (0.5, 1, 1.0),
        (0.7, 0, 0.2 * share),
        (0.7, 1, 0.8 * share),
        (1.0, 0, 1.0),
        (3.0, 0, 1.0 * share),  # a class that is impossible adds no line
    ]
    assert rows.n_pseudo == 3


def test_soft_labels_by_confidence_weigh_both() -> None:
    weights = frame(weighted("confidence", "soft")).weights
    assert weights is not None
    assert weights[1:3].tolist() == pytest.approx([0.81, 0.09])


def test_frame_does_not_depend_on_the_order_it_was_read_in() -> None:
    shuffled = training_rows(
        LABELED.take([2, 0, 1]), ACCEPTED.take([1, 2, 0]), FEATURES, KEYS, Weighting("soft")
    )
    assert shuffled.sha256() == frame(Weighting("soft")).sha256()


@pytest.mark.parametrize(
    "change",
    [
        {"codes": np.array([1, 0, 1, 1, 0, 0], dtype=np.int32)},
        {"weights": np.ones(6)},
        {"X": pd.DataFrame({"x": [0.1, 0.2, 0.5, 0.7, 1.0, 3.1]})},
    ],
)
def test_fingerprint_tells_frames_apart(change: dict[str, Any]) -> None:
    rows = frame(Weighting())
    assert replace(rows, **change).sha256() != rows.sha256()


@pytest.mark.parametrize(
    ("classes", "encoded", "y"),
    [
        (("no", "yes"), False, ["no", "no", "yes", "yes", "no", "no"]),
        ((-3, 7), False, [-3, -3, 7, 7, -3, -3]),
        ((False, True), False, [False, False, True, True, False, False]),
        (("no", "yes"), True, [0, 0, 1, 1, 0, 0]),
    ],
)
def test_model_is_fitted_on_labels_or_their_numbers(
    classes: tuple[Any, ...], encoded: bool, y: list[Any]
) -> None:
    model = fit(Recorder(), frame(Weighting()), classes, encoded_labels=encoded)
    assert model.seen_[1].tolist() == y
    assert model.seen_[2] is None


@pytest.mark.parametrize("each", [0.25, "confidence"])
def test_seed_model_is_the_same_whatever_pseudo_rows_will_weigh(each: Any) -> None:
    assert frame(weighted(each), None).weights is None


WEIGHTS = [1, 0.25, 1, 0.25, 1, 0.25]


@pytest.mark.parametrize(
    "pipeline",
    [
        make_pipeline(StandardScaler(), Recorder()),
        make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), Recorder())),
    ],
)
def test_weights_reach_the_last_step_of_a_pipeline(pipeline: Pipeline) -> None:
    model = fit(pipeline, frame(weighted(0.25)), (0, 1))
    assert final_step(model).seen_[2].tolist() == WEIGHTS


def test_weights_reach_every_member_of_a_committee() -> None:
    pipeline = make_pipeline(StandardScaler(), Recorder())
    committee = Committee({"a": EstimatorTeacher(Recorder()), "b": EstimatorTeacher(pipeline)})
    model = committee.fit(frame(weighted(0.25)), (0, 1))
    for member in model.estimators_:
        assert final_step(member).seen_[2].tolist() == WEIGHTS


def test_weighted_rows_count_as_often_as_they_weigh() -> None:
    twice = fit(LogisticRegression(), frame(weighted(2.0)), (0, 1))
    doubled = training_rows(
        LABELED, pa.concat_tables([ACCEPTED, ACCEPTED]), FEATURES, KEYS, Weighting()
    )
    repeated = fit(LogisticRegression(), doubled, (0, 1))
    np.testing.assert_allclose(twice.coef_, repeated.coef_, rtol=1e-4)


@pytest.mark.parametrize("named", [True, False])
def test_names_are_kept_or_left_out(named: bool) -> None:
    X = fit(Recorder(), frame(Weighting()), (0, 1), named=named).seen_[0]
    assert isinstance(X, pd.DataFrame) is named
    if not named:
        # As scikit-learn's own array: sums over columns depend on the layout in the last bits.
        assert X.flags.c_contiguous


def test_estimator_itself_stays_unfitted() -> None:
    estimator = Recorder()
    assert fit(estimator, frame(Weighting()), (0, 1)) is not estimator
    assert not hasattr(estimator, "seen_")


@pytest.mark.parametrize("n_jobs", [None, 1, 2])
def test_model_predicts_on_one_thread(n_jobs: int | None) -> None:
    forest = RandomForestClassifier(3, n_jobs=n_jobs, random_state=0)
    model = fit(Pipeline([("forest", forest)]), frame(Weighting()), (0, 1))
    assert model[-1].n_jobs is None
    assert forest.n_jobs == n_jobs


def test_warm_start_goes_on_from_a_copy_of_the_model_before() -> None:
    estimator = SGDClassifier(warm_start=True, max_iter=5, tol=None, random_state=0)
    rows = frame(Weighting())
    first = fit(estimator, rows, (0, 1), named=False)
    before = first.coef_.copy()
    second = fit(estimator, rows, (0, 1), named=False, previous=first)
    afresh = fit(estimator, rows, (0, 1), named=False)
    np.testing.assert_array_equal(first.coef_, before)
    np.testing.assert_array_equal(afresh.coef_, before)
    assert (second.coef_ != before).any()
    X, y = rows.X.to_numpy(), rows.codes
    theirs = SGDClassifier(warm_start=True, max_iter=5, tol=None, random_state=0)
    np.testing.assert_array_equal(theirs.fit(X, y).fit(X, y).coef_, second.coef_)


def test_labels_become_codes_and_unknown_ones_minus_1() -> None:
    assert class_codes(["b", "a", "c"], ["a", "b"]).tolist() == [1, 0, -1]
    assert class_codes([], ["a", "b"]).dtype == np.int32


SPARSE = Feature("sparse", "numeric", "double")
WORD = Feature("word", "category", "string")


@pytest.mark.filterwarnings("ignore:The `probability` parameter was deprecated")
@pytest.mark.parametrize("features", [(X_FEATURE, SPARSE), (X_FEATURE, SPARSE, WORD)])
@pytest.mark.parametrize("name", REGISTRY)
def test_every_estimator_is_fitted_on_rows_without_a_value_in_a_column(
    name: str, features: tuple[Feature, ...]
) -> None:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    y = np.arange(40) % 2
    X = pd.DataFrame({"x": y + 0.01 * np.arange(40), "sparse": np.nan})
    if WORD in features:
        X["word"] = pd.Series([None] * 40, dtype=object)
    rows = TrainingRows(X, y.astype(np.int32), None, 0)
    learner = registered_estimator(name, PARAMS.get(name, {}), features, 0)
    model = learner.fit(rows, ("no", "yes"))
    new = pd.DataFrame({"x": [0.2, 1.2], "sparse": [5.0, np.nan]})
    if WORD in features:
        new["word"] = pd.Series(["new", None], dtype=object)
    assert predict_proba(model, new).argmax(axis=1).tolist() == [0, 1]


def test_rows_that_weigh_nothing_give_a_column_no_value() -> None:
    X = np.array([[1.0, np.nan, np.nan], [2.0, 3.0, 4.0]])
    assert without_empty(X) is X
    np.testing.assert_array_equal(
        without_empty(X, np.array([1.0, 0.0])), [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    )


@pytest.mark.parametrize("name", ["XGBClassifier", "LGBMClassifier"])
@pytest.mark.parametrize("column", ["speed, km/h", "a[0]", "<5", '"x":{1}'])
def test_no_estimator_refuses_a_column_for_its_name(name: str, column: str) -> None:
    pytest.importorskip(EXTRAS[name])
    feature = Feature(column, "numeric", "double")
    rows = TrainingRows(
        pd.DataFrame({column: [0.0, 1.0] * 20}), np.arange(40, dtype=np.int32) % 2, None, 0
    )
    model = registered_estimator(name, PARAMS[name], (feature,), 0).fit(rows, (0, 1))
    assert predict_proba(model, rows.X).argmax(axis=1).tolist() == [0, 1] * 20


def test_a_process_that_wants_frames_from_scikit_learn_gets_the_same_model() -> None:
    features = (X_FEATURE, WORD)
    X = pd.DataFrame({"x": [0.0, 1.0] * 5, "word": pd.Series(["a", None] * 5, dtype=object)})
    rows = TrainingRows(X, np.arange(10, dtype=np.int32) % 2, None, 0)
    learner = registered_estimator("LogisticRegression", {}, features, 0)
    plain = learner.fit(rows, (0, 1))
    with config_context(transform_output="pandas"):
        model = learner.fit(rows, (0, 1))
        P = predict_proba(model, X)
    np.testing.assert_array_equal(P, predict_proba(plain, X))


def test_keys_that_differ_in_a_final_nul_have_an_order() -> None:
    rows = labeled(("a\0", 2.0, 1), ("b", 3.0, 0), ("a", 1.0, 0))
    assert training_rows(rows, None, FEATURES, KEYS, Weighting()).X["x"].tolist() == [1, 2, 3]
