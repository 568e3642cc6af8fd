from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from spark_pseudolabel.columns import (
    CLASS_SCORES,
    CODE,
    HIGHEST,
    INVALID,
    LOWEST,
    RAW_SCORE,
    SCORE,
    VALUE,
)
from spark_pseudolabel.core.adjustment import Adjustment, Calibration, PriorCorrection
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import (
    Scorer,
    make_scorer,
    score,
    score_batch,
    score_batches,
)
from spark_pseudolabel.core.scored_rows import OUTSIDE

A, B = Feature("a", "numeric", "double"), Feature("b", "numeric", "double")
VECTOR = Feature("v", "vector", "array<double>", 2)
NAN, INF = float("nan"), float("inf")


class Given:
    """A model whose probabilities are its input: column a for class 0, b for class 1."""

    classes_ = np.array(["no", "yes"])

    def predict_proba(self, X: Any) -> Any:
        return np.asarray(X, dtype=float)


class Picky(Given):
    """A model that can't take a row with a 0.5, and says nothing about the others then."""

    def predict_proba(self, X: Any) -> Any:
        if (np.asarray(X) == 0.5).any():
            raise KeyError("one half")
        return super().predict_proba(X)


def rows(*pairs: tuple[Any, Any]) -> pa.RecordBatch:
    a, b = zip(*pairs, strict=True) if pairs else ((), ())
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(range(len(pairs)), pa.int64()),
            "a": pa.array(a, pa.float64()),
            "b": pa.array(b, pa.float64()),
        }
    )


def scored(batch: pa.RecordBatch, model: Any, **settings: Any) -> dict[str, list[Any]]:
    scorer = Scorer(model, (A, B), ("id",), **settings)
    return score_batch(batch, scorer).to_pydict()


def test_adjusted_scores_stand_beside_the_models_own() -> None:
    adjustment = Adjustment(
        Calibration("temperature", ((2.0,),)), PriorCorrection((0.5, 0.5), (0.9, 0.1), "given")
    )
    batch = rows((0.2, 0.8), (0.95, 0.05), (NAN, 1.0), (0.5, 0.5))
    found = scored(batch, Given(), adjustment=adjustment, probabilities=True)
    assert found[CODE] == [0, 0, None, 0]  # what the model calls 1 is rare in the pool
    assert found[RAW_SCORE] == [0.2, 0.95, None, 0.5]
    assert found[SCORE] == [0.818182, 0.975143, None, 0.9]
    assert [p and p[0] for p in found[CLASS_SCORES]] == found[SCORE]
    assert list(found) == ["id", CODE, SCORE, INVALID, RAW_SCORE, CLASS_SCORES]
    assert RAW_SCORE not in scored(batch, Given())


def test_adjusted_score_of_a_row_does_not_depend_on_its_batch(fitted: LogisticRegression) -> None:
    steep = Calibration("isotonic", ((0.0, 0.5, 0.500001, 1.0), (0.0, 0.1, 0.9, 1.0)) * 2)
    chance = np.random.default_rng(1)
    batch = rows(*chance.normal(scale=0.01, size=(500, 2)).tolist())
    scorer = make_scorer(fitted, [A, B], ["id"])
    scorer = replace(scorer, adjustment=Adjustment(steep))
    whole = score_batch(batch, scorer)
    apart = [score_batch(batch.slice(i, 1), scorer) for i in range(batch.num_rows)]
    assert pa.Table.from_batches(apart).combine_chunks().to_batches()[0].equals(whole)


@pytest.fixture(scope="module")
def fitted() -> LogisticRegression:
    chance = np.random.default_rng(0)
    X = pd.DataFrame(chance.normal(size=(300, 2)), columns=["a", "b"])
    return LogisticRegression().fit(X, (X["a"] + X["b"] > 0).astype(int))


def test_rows_keep_their_order_and_keys() -> None:
    found = scored(rows((0.9, 0.1), (0.2, 0.8), (0.6, 0.4)), Given())
    assert found == {
        "id": [0, 1, 2],
        CODE: [0, 1, 0],
        SCORE: [0.9, 0.8, 0.6],
        INVALID: [None, None, None],
    }


@pytest.mark.parametrize(
    ("probability", "decimals", "confidence"),
    [
        (0.9000004, 6, 0.9),
        (0.8999996, 6, 0.9),
        (0.8999994, 6, 0.899999),
        (0.9000004, None, 0.9000004),
        (0.1234567890123, None, 0.1234567890123),
    ],
)
def test_confidence_is_rounded_to_six_decimals_unless_raw(
    probability: float, decimals: int | None, confidence: float
) -> None:
    found = scored(rows((probability, 0.0)), Given(), decimals=decimals)
    assert found[SCORE] == [confidence]


def test_equal_probabilities_give_the_first_class() -> None:
    assert scored(rows((0.5, 0.5)), Given())[CODE] == [0]


def test_probabilities_equal_to_six_decimals_give_the_first_class() -> None:
    pair = rows((0.4999999, 0.5000001))
    assert scored(pair, Given())[CODE] == [0]
    assert scored(pair, Given(), decimals=None)[CODE] == [1]


@pytest.mark.parametrize(
    ("pair", "settings", "reason"),
    [
        ((None, 0.1), {}, "feature 'a' is missing or NaN, which the model can't take"),
        ((0.1, NAN), {}, "feature 'b' is missing or NaN, which the model can't take"),
        ((0.1, INF), {}, "feature 'b' is infinite, which the model can't take"),
        ((-INF, INF), {}, "feature 'a' is infinite, which the model can't take"),
        ((INF, 0.1), {"takes_nan": True}, "feature 'a' is infinite, which the model can't take"),
        ((NAN, INF), {"takes_inf": True}, "feature 'a' is missing or NaN, which the model"),
        ((NAN, 0.1), {"takes_nan": True}, "the model gave a probability that is not finite"),
    ],
)
def test_row_that_the_model_can_not_take_is_invalid(
    pair: tuple[Any, Any], settings: dict[str, bool], reason: str
) -> None:
    found = scored(rows((0.9, 0.1), pair, (0.2, 0.8)), Given(), **settings)
    assert found[CODE] == [0, None, 1]
    assert found[SCORE] == [0.9, None, 0.8]
    assert found[INVALID][0] is None
    assert found[INVALID][1].startswith(reason)


def test_invalid_vector_is_named_by_its_column() -> None:
    batch = pa.RecordBatch.from_pydict({"v": [[0.9, 0.1], None, [0.2, NAN]]})
    found = score_batch(batch, Scorer(Given(), (VECTOR,))).to_pydict()
    assert found[CODE] == [0, None, None]
    assert "'v_0'" in found[INVALID][1]
    assert "'v_1'" in found[INVALID][2]


@pytest.mark.parametrize("vector", [[0.9], [0.2, 0.3, 0.5], []])
def test_vector_of_another_length_is_invalid_alone(vector: list[float]) -> None:
    batch = pa.RecordBatch.from_pydict({"v": [[0.9, 0.1], vector, [0.2, 0.8], None]})
    found = score_batch(batch, Scorer(Given(), (VECTOR,), takes_nan=True)).to_pydict()
    assert found[CODE] == [0, None, 1, None]
    assert found[INVALID][1] == f"vector 'v' has {len(vector)} numbers, not 2"


def test_vectors_of_another_length_everywhere() -> None:
    batch = pa.RecordBatch.from_pydict({"v": pa.array([[1.0], [2.0]], pa.list_(pa.float64(), 1))})
    found = score_batch(batch, Scorer(Given(), (VECTOR,))).to_pydict()
    assert found[INVALID] == ["vector 'v' has 1 numbers, not 2"] * 2


def test_large_numbers_are_not_mistaken_for_infinite() -> None:
    class Constant(Given):
        def predict_proba(self, X: Any) -> Any:
            return np.tile([0.25, 0.75], (len(X), 1))

    assert scored(rows((1.7e308, 1.7e308)), Constant())[INVALID] == [None]


@pytest.mark.parametrize("bad", [[0], [3], [6], [0, 6], [1, 2, 3], list(range(7))])
def test_row_on_which_the_model_raises_is_lost_alone(bad: list[int]) -> None:
    pairs = [(0.5, 0.5) if i in bad else (0.75, 0.25) for i in range(7)]
    found = scored(rows(*pairs), Picky())
    assert found[CODE] == [None if i in bad else 0 for i in range(7)]
    assert [i for i, reason in enumerate(found[INVALID]) if reason] == bad
    assert found[INVALID][bad[0]] == "the model raised KeyError: 'one half'"


def test_out_of_memory_is_not_taken_for_a_bad_row() -> None:
    class Full(Given):
        def predict_proba(self, X: Any) -> Any:
            raise MemoryError

    with pytest.raises(MemoryError):
        scored(rows((0.9, 0.1)), Full())


@pytest.mark.parametrize("named", [True, False])
def test_empty_batch_gives_a_typed_empty_batch(fitted: LogisticRegression, named: bool) -> None:
    scorer = Scorer(fitted, (A, B), ("id",), named=named, probabilities=True)
    found = score_batch(rows(), scorer)
    assert found.num_rows == 0
    assert [str(field.type) for field in found.schema] == [
        "int64",
        "int32",
        "double",
        "string",
        "list<item: double>",
    ]
    assert found.schema == score_batch(rows((0.1, 0.2)), scorer).schema


def test_probabilities_are_listed_for_valid_rows() -> None:
    found = scored(rows((0.9, 0.1), (NAN, 0.1), (0.2, 0.80000049)), Given(), probabilities=True)
    assert found[CLASS_SCORES] == [[0.9, 0.1], None, [0.2, 0.8]]


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("invalid", [False, True])
def test_result_does_not_depend_on_batches(
    fitted: LogisticRegression, size: int, invalid: bool
) -> None:
    pairs = [tuple(pair) for pair in np.random.default_rng(1).normal(size=(300, 2))]
    if invalid:
        pairs[::50] = [(NAN, 1.0)] * len(pairs[::50])
    table = pa.Table.from_batches([rows(*pairs)])
    scorer = make_scorer(fitted, [A, B], ["id"], probabilities=True)
    found = pa.Table.from_batches(score_batches(table.to_batches(size), scorer))
    assert found.equals(pa.Table.from_batches([score_batch(rows(*pairs), scorer)]))
    assert found.column(INVALID).null_count == (294 if invalid else 300)


def test_names_reach_the_model_only_if_asked_for(fitted: LogisticRegression) -> None:
    batch = rows((0.1, 0.2), (-0.5, 0.1))
    named = score(batch, make_scorer(fitted, [A, B]))
    bare = LogisticRegression().fit(
        [[0.0, 0.0], [1.0, 1.0]],
        [0, 1],
    )
    bare.coef_, bare.intercept_ = fitted.coef_, fitted.intercept_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unnamed = score(batch, make_scorer(bare, [A, B], named=False))
    np.testing.assert_array_equal(named.probabilities, unnamed.probabilities)


@pytest.mark.parametrize(
    ("model", "takes_nan"),
    [(HistGradientBoostingClassifier(max_iter=2), True), (GaussianNB(), False)],
)
def test_what_a_model_takes_is_found_out_by_trying(model: Any, takes_nan: bool) -> None:
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    scorer = make_scorer(model.fit(X, X["a"] > 0), [A, B])
    assert scorer.takes_nan is takes_nan
    found = score_batch(rows((NAN, 0.1), (0.3, 0.1)), scorer).to_pydict()
    assert (found[INVALID][0] is None) is takes_nan
    assert found[INVALID][1] is None


def test_a_row_outside_of_the_support_keeps_its_score_and_gets_a_reason() -> None:
    class Left:
        def holds(self, X: pd.DataFrame) -> Any:
            return X["a"].to_numpy() > 0.5

    batch = rows((0.9, 0.1), (0.2, 0.8), (NAN, 0.5))
    scorer = replace(make_scorer(Picky(), (A, B), ("id",)), support=cast(Any, Left()))
    found = score_batch(batch, scorer).to_pydict()
    assert found[CODE] == [0, 1, None]
    assert found[SCORE] == [0.9, 0.8, None]
    assert found[INVALID][:2] == [None, OUTSIDE]
    assert found[INVALID][2] != OUTSIDE  # it has no score, which says more


class Numbers:
    """A model of numbers: what it says is its input, with bounds two around it."""

    classes_ = np.array(["number"])

    def says(self, X: Any) -> Any:
        value, confidence = np.asarray(X, dtype=float).T
        return np.column_stack([value, confidence, value - 2, value + 2])


class PickyNumbers(Numbers):
    """One that can't take a row with a 7, and says nothing about the others then."""

    def says(self, X: Any) -> Any:
        if (np.asarray(X) == 7).any():
            raise KeyError("seven")
        return super().says(X)


class Exact(Numbers):
    """One that refuses what is missing."""

    def says(self, X: Any) -> Any:
        if not np.isfinite(np.asarray(X)).all():
            raise ValueError("missing")
        return super().says(X)


def test_numbers_stand_beside_the_one_class() -> None:
    batch = rows((12.5, 0.1234567), (-3.0, 1.0), (NAN, 0.5))
    scored = score_batch(batch, make_scorer(Exact(), [A, B], ["id"]))
    assert scored.schema.names == ["id", CODE, SCORE, INVALID, VALUE, LOWEST, HIGHEST]
    assert scored.column(CODE).to_pylist() == [0, 0, None]
    assert scored.column(SCORE).to_pylist() == [0.123457, 1.0, None]
    assert scored.column(VALUE).to_pylist() == [12.5, -3.0, None]
    assert scored.column(LOWEST).to_pylist() == [10.5, -5.0, None]
    assert scored.column(HIGHEST).to_pylist() == [14.5, -1.0, None]
    assert scored.column(INVALID).to_pylist()[:2] == [None, None]
    assert "missing or NaN" in scored.column(INVALID)[2].as_py()


def test_a_row_that_breaks_a_model_of_numbers_is_invalid_alone() -> None:
    batch = rows((7.0, 0.5), *[(float(i), 0.5) for i in range(20, 40)])
    scorer = make_scorer(PickyNumbers(), [A, B])
    scored = score_batch(batch, scorer)
    assert scored.column(CODE).null_count == 1
    assert "KeyError" in scored.column(INVALID)[0].as_py()
    assert scored.column(VALUE).to_pylist()[1:] == [float(i) for i in range(20, 40)]
    said = score(batch, scorer).said
    assert np.isnan(said[0]).all()
    assert said[1].tolist() == [20.0, 0.5, 18.0, 22.0]


def test_a_number_that_is_not_finite_makes_its_row_invalid() -> None:
    scored = score_batch(rows((INF, 0.5), (1.0, 0.5)), make_scorer(Numbers(), [A, B]))
    assert scored.column(CODE).to_pylist() == [None, 0]
    assert scored.column(INVALID)[0].as_py() is not None
