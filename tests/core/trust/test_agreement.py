from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from spark_pseudolabel.columns import CODE, INVALID, SCORE
from spark_pseudolabel.core.adjustment import Adjustment, PriorCorrection
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import make_scorer, score_batch
from spark_pseudolabel.core.scored_rows import DISAGREEMENT
from spark_pseudolabel.core.teachers.committee import Committee, registered_committee
from spark_pseudolabel.core.teachers.cross_fitting import fold_of
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote, weights_of
from spark_pseudolabel.core.trust.agreement import Agreement, Require

FEATURES = (Feature("a", "numeric", "double"), Feature("b", "numeric", "double"))
MEMBERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("LogisticRegression", {}),
    ("DecisionTreeClassifier", {"max_depth": 3}),
    ("GaussianNB", {}),
)
CLASSES = ("no", "yes", "maybe")


def labeled(n: int = 120) -> TrainingRows:
    chance = np.random.default_rng(0)
    codes = np.arange(n, dtype=np.int32) % 3
    X = chance.normal(size=(n, 2)) + np.array([[0, 0], [1.2, 0], [0, 1.2]])[codes]
    return TrainingRows(pd.DataFrame(X, columns=["a", "b"]), codes, None, 0)


def committee() -> Committee:
    return registered_committee(MEMBERS, FEATURES, 0).prepared(labeled().X)


def pool(n: int = 600) -> pa.RecordBatch:
    X = np.random.default_rng(1).normal(size=(n, 2)) * 2
    return pa.record_batch({"id": np.arange(n), "a": X[:, 0], "b": X[:, 1]})


@pytest.mark.parametrize("require", ["all", "majority"])
def test_members_of_a_mean_of_folds_are_asked_each_by_its_own_mean(require: Require) -> None:
    rows = labeled()
    folds = fold_of(rows.codes, np.arange(len(rows.codes)))
    fitted = committee().cross_fit(rows, folds, CLASSES, mean=True)
    for model in (fitted.mean_model(CLASSES), fitted.unseen[2]):
        scorer = make_scorer(model, FEATURES, ("id",))
        found = score_batch(pool(), replace(scorer, agreement=Agreement(3, require)))
        plain = score_batch(pool(), scorer)
        X = pool().to_pandas()[["a", "b"]]
        said = [
            np.average(
                [part.predict_proba(X) for part in members_of(model)[kind::3]],
                axis=0,
                weights=weights_of(model)[kind::3],
            ).argmax(axis=1)
            for kind in range(3)
        ]
        agree = sum(codes == plain.column(CODE).to_numpy() for codes in said)
        enough = agree == 3 if require == "all" else agree >= 2
        told = np.array([reason is None for reason in found.column(INVALID).to_pylist()])
        assert (told == enough).all()
        assert 0 < told.sum() < len(told)
        for name in (CODE, SCORE):
            assert found.column(name).equals(plain.column(name))


def test_batches_decide_nothing() -> None:
    scorer = make_scorer(committee().fit(labeled(), CLASSES), FEATURES, ("id",))
    scorer = replace(scorer, agreement=Agreement(3, "all"))
    whole, parts = pool(), [pool().slice(start, 77) for start in range(0, 600, 77)]
    found = pa.Table.from_batches([score_batch(part, scorer) for part in parts])
    assert found.equals(pa.Table.from_batches([score_batch(whole, scorer)]))


def test_members_are_corrected_to_a_prior_as_the_vote_is() -> None:
    model = committee().fit(labeled(), CLASSES)
    prior = PriorCorrection((1 / 3,) * 3, (0.98, 0.01, 0.01), "given")
    scorer = make_scorer(model, FEATURES, ("id",), adjustment=Adjustment(None, prior))
    found = score_batch(pool(), replace(scorer, agreement=Agreement(3, "all"))).to_pandas()
    certain = found[found[SCORE] > 0.999]
    assert (certain[CODE] == 0).mean() > 0.8
    assert (certain[INVALID] == DISAGREEMENT).mean() < 0.2


class Says:
    """A model that says the same of every row."""

    def __init__(self, *P: float) -> None:
        self.P, self.classes_ = P, np.array(["a", "b"])

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def __sklearn_clone__(self) -> Says:
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return np.tile(self.P, (len(X), 1))


@pytest.mark.parametrize(
    ("said", "all_of_them", "majority"),
    [
        ([(0.9, 0.1), (0.8, 0.2), (0.6, 0.4)], True, True),
        ([(0.9, 0.1), (0.8, 0.2), (0.4, 0.6)], False, True),
        ([(1.0, 0.0), (0.4, 0.6), (0.4, 0.6)], False, False),
        ([(0.9, 0.1), (0.0, 0.0), (0.6, 0.4)], True, True),  # one abstains
        ([(0.9, 0.1), (0.0, 0.0), (0.4, 0.6)], False, False),
        ([(0.9, 0.1), (0.5, 0.5), (0.6, 0.4)], True, True),  # as probable as any other one
    ],
)
def test_who_agrees(said: list[Any], all_of_them: bool, majority: bool) -> None:
    model = soft_vote({f"m{i}": Says(*P) for i, P in enumerate(said)}, ("a", "b"))
    scorer = make_scorer(model, FEATURES, ("id",))
    for require, expected in (("all", all_of_them), ("majority", majority)):
        asked = replace(scorer, agreement=Agreement(3, require))  # type: ignore[arg-type]
        (reason,) = score_batch(pool(1), asked).column(INVALID).to_pylist()
        assert (reason is None) == expected
