"""What is learned without labels: from labeled rows and from a sample of the pool."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import predict_proba
from spark_pseudolabel.core.teachers import preprocessing, reference
from spark_pseudolabel.core.teachers.committee import registered_committee
from spark_pseudolabel.core.teachers.cross_fitting import cross_fit, fold_of
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.reference import Reference, rows_to_draw
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of
from tests.core.registry_rows import PARAMS

TEXT = Feature("text", "text", "string")
NUMBER = Feature("n", "numeric", "double")
COLOR = Feature("color", "category", "string")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash texts into few columns: the full width takes a second per condensed text."""
    monkeypatch.setattr(preprocessing, "_HASHED_WORDS", 2**12)
    monkeypatch.setattr(preprocessing, "_TEXT_COMPONENTS", 16)


def texts(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return texts of eight subjects, of which every second one is of class 1."""
    chance = np.random.default_rng(seed)
    subjects = chance.integers(8, size=n)
    rows = [
        " ".join(
            [f"s{subject}w{word}" for word in chance.integers(30, size=5)]
            + [f"c{word}" for word in chance.integers(50, size=4)]
        )
        for subject in subjects
    ]
    return pd.DataFrame({"text": pd.Series(rows, dtype=object)}), (subjects % 2).astype(np.int32)


@pytest.mark.parametrize("name", ["ExtraTreesClassifier", "HistGradientBoostingClassifier"])
def test_the_pool_teaches_which_words_go_together(name: str) -> None:
    X, y = texts(40, 0)
    pool, _ = texts(1500, 1)
    new, truth = texts(500, 2)
    rows = TrainingRows(X, y, None, 0)
    learner = registered_estimator(name, PARAMS[name] | {"random_state": 0}, (TEXT,), 0)
    accuracy = [
        (predict_proba(one.fit(rows, (0, 1)), new).argmax(axis=1) == truth).mean()
        for one in (learner, learner.prepared(Reference.of(X, pool).X))
    ]
    assert accuracy[1] > accuracy[0] + 0.1


def test_a_committee_computes_what_its_members_share_once() -> None:
    X, y = texts(40, 0)
    X.insert(0, "n", np.random.default_rng(0).normal(size=40))
    rows = TrainingRows(X, y, None, 0)
    names = ("LogisticRegression", "ExtraTreesClassifier", "HistGradientBoostingClassifier")
    members = [(name, PARAMS.get(name, {})) for name in names]
    committee = registered_committee(members, (NUMBER, TEXT), 0).prepared(X)
    fitted = cross_fit(committee.fit, rows, fold_of(y, np.arange(40), n_folds=2), (0, 1))
    model = fitted.mean_model((0, 1))
    columns = [member.steps[0][1] for member in members_of(model)]
    assert len(members_of(model)) == 6
    assert len({id(one) for one in columns}) == 2  # of trees, and of the linear model
    svds = [one.named_transformers_["text_text"].steps[-1][1] for one in columns[:2]]
    assert svds[0].transformer_list[1][1].estimator is svds[1].estimator  # fitted once
    seen: list[int] = []
    for one in {id(one): one for one in columns}.values():
        transform = one.transform
        one.transform = lambda X, of=transform: seen.append(len(X)) or of(X)
    P = predict_proba(model, X)
    assert seen == [40, 40]
    np.testing.assert_array_equal(P, model.predict_proba(X))
    assert len(seen) == 2 + 6  # scikit-learn's own way


def test_learners_without_anything_to_learn_need_no_rows() -> None:
    plain = registered_estimator("HistGradientBoostingClassifier", {}, (NUMBER,), 0)
    named = registered_estimator("XGBClassifier", {}, (NUMBER,), 0)
    sklearn = registered_estimator("LogisticRegression", {}, (NUMBER,), 0, like_sklearn=True)
    scaled = registered_estimator("LogisticRegression", {}, (NUMBER,), 0)
    assert [one.needs_reference for one in (plain, named, sklearn, scaled)] == [
        False,
        False,
        False,
        True,
    ]
    assert sklearn.prepared(pd.DataFrame({"n": [1.0]})) is sklearn


@pytest.mark.parametrize("odd", [1e300, np.inf, -999999.0])
def test_a_few_odd_numbers_of_the_pool_do_not_decide_the_scale(odd: float) -> None:
    chance = np.random.default_rng(0)
    labeled = pd.DataFrame({"n": chance.normal(size=30)})
    pool = pd.DataFrame({"n": chance.normal(size=3000)})
    pool.iloc[:60] = odd
    found = Reference.of(labeled, pool)
    assert found.X["n"].std() == pytest.approx(1, abs=0.3)
    assert found.n_pool == 3000


def test_a_column_that_only_the_pool_knows_is_learned_from_it() -> None:
    labeled = pd.DataFrame({"n": [np.nan] * 4})
    found = Reference.of(labeled, pd.DataFrame({"n": [1.0, 3.0] * 50})).X["n"]
    assert found.mean() == 2
    nowhere = Reference.of(labeled, labeled)
    assert nowhere.X["n"].isna().all()


def test_long_rows_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "MAX_BYTES", 10_000)
    labeled = pd.DataFrame({"text": pd.Series(["x" * 92, None], dtype=object)})
    assert rows_to_draw(labeled) == 185  # 54 bytes each
    longer = pd.DataFrame({"text": pd.Series(["x" * 992] * 185, dtype=object)})
    assert Reference.of(labeled, longer).n_pool == 10
    monkeypatch.setattr(reference, "MAX_ROWS", 7)
    assert rows_to_draw(labeled[1:]) == 7
    assert Reference.of(labeled, longer).n_pool == 7


def test_the_fingerprint_is_that_of_the_sample() -> None:
    labeled = pd.DataFrame({"n": [1.0, 2.0], "color": pd.Series(["red", None], dtype=object)})
    pool = pd.DataFrame({"n": [3.0, np.nan], "color": pd.Series([None, "blue"], dtype=object)})
    first = Reference.of(labeled, pool).pool_rows
    assert first == Reference.of(labeled[:1], pool).pool_rows
    assert first.pool_rows == 2
    assert first != Reference.of(labeled, pool.assign(n=[3.0, 4.0])).pool_rows
    assert first != Reference.of(labeled, pool[::-1]).pool_rows
