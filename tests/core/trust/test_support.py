from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.metrics import pairwise_distances

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.teachers.cross_fitting import cross_fit, fold_of, probabilities
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.trust import support as module
from spark_pseudolabel.core.trust.certificate import CalibrationRows, Promise, certify
from spark_pseudolabel.core.trust.support import MOST_ROWS, Support, find_support, finite
from tests.core.mixed_rows import FEATURES, frame


def support_of(labeled: pd.DataFrame) -> tuple[Support, np.ndarray]:
    hashes = np.random.default_rng(9).permutation(len(labeled)).astype(np.int64)
    return find_support(labeled, FEATURES, hashes, 0)


def test_rows_far_from_any_labeled_row_are_outside() -> None:
    support, _ = support_of(frame(300, 0))
    assert support.holds(frame(300, 1)).mean() > 0.95
    assert not support.holds(frame(50, 1, shift=10.0)).any()
    assert support.holds(frame(0, 1)).tolist() == []


@pytest.mark.parametrize("n", [60, 500, MOST_ROWS + 900])
def test_labeled_rows_are_asked_as_pool_rows_are(n: int) -> None:
    # As many of both lie outside, or a certificate would be tested on other rows than published.
    inside = [support_of(frame(n, seed)) for seed in range(6)]
    own = np.mean([mask.mean() for _, mask in inside])
    others = [frame(3000, 100 + seed) for seed in range(6)]
    pairs = zip(inside, others, strict=True)
    fresh = np.mean([support.holds(rows).mean() for (support, _), rows in pairs])
    chance = 3 * np.sqrt(0.01 * 0.99 / (6 * n))
    assert abs(own - fresh) < chance + 1 / n
    assert abs(fresh - 0.99) < chance + 1 / n


def test_batches_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(1)
    # Categories: a distance counts the differing ones, so that many rows lie at the radius.
    columns = [f"x{i}" for i in range(20)]
    features = [Feature(name, "category", "string") for name in columns]
    labeled, pool = (
        pd.DataFrame(chance.choice(["x", "y", "z"], (n, 20)), columns=columns) for n in (400, 500)
    )
    support, _ = find_support(labeled, features, np.arange(400), 0)
    whole = support.holds(pool)
    distances = pairwise_distances(support.columns.transform(pool), support.rows).min(axis=1)
    assert np.isclose(distances, support.radius).sum() > 10
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 17)
    assert (support.holds(pool) == whole).all()


@pytest.mark.parametrize("stretch", [1.0, 1e4, 1e22])
def test_single_precision_decides_only_what_it_can(stretch: float) -> None:
    chance = np.random.default_rng(4)
    labeled, pool = frame(300, 0), frame(2000, 1)
    support, _ = support_of(labeled)
    pool["a"] *= np.where(chance.random(2000) < 0.5, stretch, 1.0)
    found = support.columns.transform(pool)
    exact = pairwise_distances(found, support.rows).min(axis=1) <= support.limit
    assert (support.holds(pool) == exact).all()


def test_twins_of_labeled_rows_are_inside() -> None:
    rows = pd.concat([frame(20, 0)] * 2, ignore_index=True)  # every distance is 0
    support, inside = support_of(rows)
    assert inside.all()
    assert support.holds(rows).all()


def test_infinite_numbers_count_as_missing() -> None:
    rows = frame(50, 0)
    rows.loc[3, "a"] = np.inf
    assert np.isnan(finite(rows).loc[3, "a"])
    support, inside = support_of(rows)
    assert support.holds(rows).shape == inside.shape == (50,)


def test_a_certificate_over_rows_inside_holds_where_foreign_rows_void_the_other() -> None:
    columns = [f"x{i}" for i in range(8)]
    features = [Feature(name, "numeric", "double") for name in columns]
    learner = registered_estimator("LogisticRegression", {}, features, 0)
    X, y = make_classification(8000, 8, n_informative=5, class_sep=1.2, flip_y=0.05, random_state=5)
    promise = Promise(0.9, 0.9)
    broken = {"all": 0, "inside": 0}
    draws = 20
    for seed in range(draws):
        chance = np.random.default_rng(seed)
        drawn = chance.permutation(len(X))
        labeled = pd.DataFrame(X[drawn[:300]], columns=columns)
        pool = pd.DataFrame(X[drawn[300:2000]], columns=columns)
        pool[1300:] += 12  # far from everything, with labels that follow no rule
        truth = np.where(np.arange(1700) < 1300, y[drawn[300:2000]], chance.integers(0, 2, 1700))
        rows = TrainingRows(labeled, y[drawn[:300]].astype(np.int32), None, 0)
        hashes = chance.permutation(300).astype(np.int64)
        fitted = cross_fit(learner.fit, rows, fold_of(rows.codes, hashes), (0, 1))
        P = probabilities(fitted.mean_model((0, 1)), pool)
        codes, confidence = P.argmax(axis=1).astype(np.int32), P.max(axis=1)
        support, own = find_support(labeled, features, hashes, 0)
        everything = np.ones(1700, dtype=bool), np.ones(300, dtype=bool)
        for name, (inside, used) in {
            "all": everything,
            "inside": (support.holds(pool), own),
        }.items():
            counts = Counts.of(2, np.where(inside, codes, np.int32(-1)), confidence)
            tested = CalibrationRows.from_scores(fitted.P[used], rows.codes[used])
            (claim,) = certify(promise, counts, tested).claims
            if claim.cut is not None:
                published = inside & (confidence >= claim.cut)
                broken[name] += (codes == truth)[published].mean() < promise.precision
    assert broken["inside"] <= 4  # 2 are promised; 5 and more have a probability of 4 %
    assert broken["all"] > draws / 2
