from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import kstest, norm
from sklearn.linear_model import LogisticRegression

from spark_pseudolabel.columns import CODE, INVALID
from spark_pseudolabel.core.features import Feature, Pack, to_frame
from spark_pseudolabel.core.kernel import Scorer, make_scorer, score_batch
from spark_pseudolabel.core.scored_rows import UNSTABLE, Withheld, withheld_among
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.trust.stability import Stability, draw_corruptions

FEATURES = (
    Feature("a", "numeric", "double"),
    Feature("flag", "boolean", "boolean"),
    Feature("v", "vector", "array<double>", 2),
    Feature("color", "category", "string"),
    Feature("note", "text", "string"),
)
COLORS = ["red", "blue", "green"]


def rows(n: int = 3000, seed: int = 0) -> pa.RecordBatch:
    chance = np.random.default_rng(seed)
    notes = [" ".join(chance.choice(["x", "y", "z"], 40)) for _ in range(n)]
    return pa.RecordBatch.from_pydict(
        {
            "id": np.arange(n),
            "a": np.where(chance.random(n) < 0.2, np.nan, chance.normal(10, 3, n)),
            "flag": chance.random(n) < 0.3,
            "v": chance.normal(size=(n, 2)).tolist(),
            "color": chance.choice([*COLORS, None], n).tolist(),
            "note": notes,
        }
    )


def drawn(swap: float = 0.0, noise: float = 0.0, **changes: Any) -> Stability:
    marginals = to_frame(rows(1000, seed=1), FEATURES)
    asked = {"copies": 5, "swap": swap, "noise": noise, **changes}
    return draw_corruptions(marginals, FEATURES, ("id",), 0, **asked)


def copied(stability: Stability, copy: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    X = to_frame(rows(), FEATURES)
    return X, stability.corrupted(X, stability.hashes(rows()), copy)


def test_noise_is_of_the_columns_own_scale() -> None:
    X, corrupted = copied(drawn(noise=0.1))
    added = (corrupted["a"] - X["a"]).dropna()
    assert kstest(added / 0.3, "norm").statistic < 0.06
    assert corrupted["a"].isna().equals(X["a"].isna())
    for name in ("flag", "color", "note"):
        assert corrupted[name].equals(X[name])


def test_values_are_replaced_by_those_of_other_rows() -> None:
    X, corrupted = copied(drawn(swap=0.25))
    others = to_frame(rows(1000, seed=1), FEATURES)
    for name in ("a", "v_0", "v_1", "color"):
        there = X[name].notna()
        changed = (corrupted[name] != X[name]) & there
        expected = 0.25 if name != "color" else 0.25 * 2 / 3
        assert changed[there].mean() == pytest.approx(expected, abs=0.03)
        assert set(corrupted.loc[changed, name]) <= set(others[name].dropna())
    both = (corrupted["v_0"] != X["v_0"]) & (corrupted["v_1"] != X["v_1"])
    assert both.mean() == pytest.approx(0.25**2, abs=0.03)  # one by one
    kept = corrupted["note"].str.split().str.len() / 40
    assert kept.mean() == pytest.approx(0.75, abs=0.02)
    assert 0.05 < kept.std() < 0.09


def test_copies_and_rows_are_corrupted_in_their_own_ways() -> None:
    stability = drawn(swap=0.25, noise=0.1)
    one, other = (copied(stability, copy)[1] for copy in (0, 1))
    assert (one["v_0"] != other["v_0"]).mean() > 0.99
    added = one["v_0"] - to_frame(rows(), FEATURES)["v_0"]
    assert added.round(9).nunique() > 700


def test_what_happens_to_a_row_follows_from_its_key() -> None:
    stability = drawn(swap=0.25, noise=0.1)
    assert stability == replace(stability)
    _, all_at_once = copied(stability)
    order = np.random.default_rng(2).permutation(3000)
    part = rows().take(pa.array(order[:700]))
    alone = stability.corrupted(to_frame(part, FEATURES), stability.hashes(part), 0)
    expected = all_at_once.iloc[order[:700]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected)


def test_columns_without_a_value_stay_as_they_are() -> None:
    empty = to_frame(rows(50), FEATURES).assign(a=np.nan, color=None)
    stability = draw_corruptions(empty, FEATURES, ("id",), 0, copies=1, swap=1.0, noise=1.0)
    X = to_frame(rows(), FEATURES)
    corrupted = stability.corrupted(X, stability.hashes(rows()), 0)
    for name in ("a", "color"):
        assert corrupted[name].equals(X[name])
    assert (corrupted["note"] == "").all()


# --- rows that are scored


def linear() -> tuple[Any, Scorer]:
    """Return a model of two numbers that says what lies right of 0."""
    features = (Feature("x", "numeric", "double"), Feature("y", "numeric", "double"))
    chance = np.random.default_rng(0)
    X = pd.DataFrame(chance.normal(size=(500, 2)), columns=["x", "y"])
    model = LogisticRegression(C=1e3).fit(X, np.where(X["x"] > 0, "right", "wrong"))
    stability = draw_corruptions(X, features, ("id",), 0, copies=5, swap=0.0, noise=0.1)
    return X, replace(make_scorer(model, features, ("id",)), stability=stability)


def test_rows_near_a_border_are_unstable_and_no_others() -> None:
    X, scorer = linear()
    x = np.linspace(-1, 1, 2001)
    found = score_batch(pa.record_batch({"id": np.arange(2001), "x": x, "y": x * 0}), scorer)
    unstable = np.array([reason == UNSTABLE for reason in found.column(INVALID).to_pylist()])
    assert not unstable[np.abs(x) > 0.5].any()
    # One of five normal numbers goes over the border, and what lies on it takes no side.
    model = scorer.model
    away = np.abs(x * model.coef_[0, 0] + model.intercept_[0])
    scale = 0.1 * np.linalg.norm(model.coef_[0] * X.std(ddof=0))
    expected = 1 - norm.cdf(away / scale) ** 5
    for part in np.array_split(np.argsort(away), 20):
        assert unstable[part].mean() == pytest.approx(expected[part].mean(), abs=0.15)
    assert found.column(CODE).null_count == 0
    counted = withheld_among(pa.Table.from_batches([found]))
    assert counted == Withheld(unstable=int(unstable.sum()))


def test_batches_and_packed_numbers_give_the_same_rows() -> None:
    X, scorer = linear()
    batch = pa.record_batch({"id": np.arange(500), "x": X["x"], "y": X["y"]})
    whole = score_batch(batch, scorer)
    parts = [score_batch(batch.slice(start, 77), scorer) for start in range(0, 500, 77)]
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([whole]))
    pack = Pack.of(scorer.features, "spl_numbers")
    packed = pa.record_batch({"id": np.arange(500), "spl_numbers": X.to_numpy().tolist()})
    assert score_batch(packed, replace(scorer, features=(pack,))).equals(whole)


def test_rows_that_a_model_cannot_take_are_invalid_and_not_unstable() -> None:
    _, scorer = linear()
    batch = pa.record_batch({"id": [0, 1], "x": [None, 3.0], "y": [1.0, 1.0]})
    found = score_batch(batch, scorer).to_pydict()
    assert found[CODE] == [None, 0]
    assert found[INVALID][0] != UNSTABLE
    assert found[INVALID][1] is None


def test_words_and_categories_make_labels_unstable() -> None:
    n = 400
    notes = [("warm " if i % 2 else "cold ") * (1 if i < 200 else 12) for i in range(n)]
    batch = pa.record_batch({"id": np.arange(n), "note": notes})
    features = (Feature("note", "text", "string"),)
    X = to_frame(batch, features)
    teacher = registered_estimator("LogisticRegression", {}, features, 0)
    model = teacher.fit(TrainingRows(X, np.arange(n, dtype=np.int32) % 2, None, 0), ("a", "b"))
    stability = draw_corruptions(X, features, ("id",), 0, copies=5, swap=0.5, noise=0.0)
    scorer = replace(make_scorer(model, features, ("id",)), stability=stability)
    found = score_batch(batch, scorer).column(INVALID).is_valid().to_numpy(zero_copy_only=False)
    # A lone word that is dropped leaves an empty text, which has one label for all.
    assert 0.35 < found[:200].mean() < 0.6
    assert not found[200:].any()
