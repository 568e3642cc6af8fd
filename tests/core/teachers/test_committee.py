from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import make_scorer
from spark_pseudolabel.core.teachers import preprocessing
from spark_pseudolabel.core.teachers.committee import registered_committee
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote, weights_of
from spark_pseudolabel.registry import DEFAULT_COMMITTEE
from spark_pseudolabel.store.artifact import dump_model, load_model

FEATURES = (
    Feature("age", "numeric", "double"),
    Feature("job", "category", "string"),
)
NOTE = Feature("note", "text", "string")
SMALL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("LogisticRegression", {"max_iter": 1000}),
    ("ExtraTreesClassifier", {"n_estimators": 10}),
    ("HistGradientBoostingClassifier", {"max_iter": 5}),
)


def frame(n: int = 60, seed: int = 0) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": np.where(chance.random(n) < 0.1, np.nan, chance.normal(size=n)),
            "job": chance.choice(["cook", "clerk", None], n),
            "note": chance.choice(["a long text", "other words here"], n),
        }
    )


def rows(weights: np.ndarray | None = None) -> TrainingRows:
    X = frame()
    codes = (X["age"].fillna(0) > 0).to_numpy().astype(np.int32)
    return TrainingRows(X, codes, weights, 0)


def numbers() -> TrainingRows:
    return replace(rows(), X=frame()[["age"]])


def test_committee_predicts_the_mean_of_its_members() -> None:
    model = registered_committee(SMALL, FEATURES, 0).fit(rows(), ("no", "yes"))
    X = frame(seed=1)
    mean = np.mean([member.predict_proba(X) for member in members_of(model)], axis=0)
    assert np.allclose(model.predict_proba(X), mean)
    assert model.predict(X).tolist() == [("no", "yes")[code] for code in mean.argmax(axis=1)]


@pytest.mark.parametrize("classes", [("no", "yes"), (3, 7), (False, True)])
def test_classes_keep_their_type(classes: tuple[Any, ...]) -> None:
    model = registered_committee(SMALL[:1], FEATURES, 0).fit(rows(), classes)
    assert model.classes_.tolist() == list(classes)
    assert set(model.predict(frame()).tolist()) <= set(classes)


def test_weights_reach_every_member_through_its_pipeline() -> None:
    ones = np.ones(60)
    weights = np.where(rows().codes == 0, 1.0, 0.1)
    committee = registered_committee(SMALL, FEATURES, 0)
    assert committee.takes_weights
    X = frame(seed=1)
    plain, weighted = (committee.fit(rows(w), (0, 1)) for w in (ones, weights))
    for before, after in zip(members_of(plain), members_of(weighted), strict=True):
        assert not np.allclose(before.predict_proba(X), after.predict_proba(X))


def test_stored_committee_needs_no_type_of_ours_and_scores_the_same() -> None:
    model = registered_committee(SMALL, FEATURES, 0).fit(rows(), ("no", "yes"))
    stored = dump_model(model)
    assert not [name for name in stored.trusted_types if name.startswith("spark_pseudolabel")]
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    assert (loaded.predict_proba(frame(seed=1)) == model.predict_proba(frame(seed=1))).all()


def test_members_are_stored_once() -> None:
    learner = registered_committee((("ExtraTreesClassifier", {}),), FEATURES[:1], 0)
    model = learner.fit(numbers(), ("no", "yes"))
    alone = dump_model(members_of(model)[0])
    assert len(dump_model(model).data) < 1.2 * len(alone.data)


def test_members_that_want_numbered_classes_join_the_others() -> None:
    pytest.importorskip("xgboost")
    members = (SMALL[0], ("XGBClassifier", {"n_estimators": 5}))
    model = registered_committee(members, FEATURES[:1], 0).fit(numbers(), ("no", "yes"))
    assert set(model.predict(numbers().X)) == {"no", "yes"}


def test_committee_scores_through_the_kernel() -> None:
    committee = registered_committee(SMALL, FEATURES, 0)
    model = committee.fit(rows(), ("no", "yes"))
    scorer = make_scorer(model, FEATURES, ("id",), probabilities=True)
    assert (scorer.keys, scorer.probabilities) == (("id",), True)
    assert scorer.takes_nan


def test_default_members_fit_every_kind_of_column(monkeypatch: pytest.MonkeyPatch) -> None:
    # The full width takes a second per condensed text.
    monkeypatch.setattr(preprocessing, "_HASHED_WORDS", 2**9)
    model = registered_committee(DEFAULT_COMMITTEE, (*FEATURES, NOTE), 0).fit(rows(), ("no", "yes"))
    assert len(members_of(model)) == len(DEFAULT_COMMITTEE)


def test_single_model_is_its_own_member() -> None:
    model = registered_committee(SMALL[:1], FEATURES, 0).fit(rows(), (0, 1))
    only = members_of(model)[0]
    assert members_of(only) == [only]
    assert members_of(soft_vote({"one": only}, (0, 1))) == [only]


def test_weighted_vote_predicts_the_weighted_mean() -> None:
    model = registered_committee(SMALL[:2], FEATURES, 0).fit(rows(), (0, 1))
    first, second = members_of(model)
    X = frame(seed=1)
    vote = soft_vote({"a": first, "b": second}, (0, 1), [3.0, 1.0])
    expected = 0.75 * first.predict_proba(X) + 0.25 * second.predict_proba(X)
    assert np.allclose(vote.predict_proba(X), expected)
    assert weights_of(vote) == [0.75, 0.25]
    stored = dump_model(vote)
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    assert (loaded.predict_proba(X) == vote.predict_proba(X)).all()
