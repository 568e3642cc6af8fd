from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from spark_pseudolabel.columns import (
    CODE,
    CONFIDENCE,
    HASH,
    IN_ROUND,
    INVALID,
    LABEL,
    REASON,
    SCORE,
    WEIGHT,
)
from spark_pseudolabel.core.published_rows import Published, Undecided
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.core.teachers.weights import PseudoWeights, RowWeights

SCHEMA = pa.schema([("id", pa.int64()), (LABEL, pa.string()), (WEIGHT, pa.float64())])
ACCEPTED = pa.table(
    {
        "id": [1, 2, 3, 4],
        CODE: pa.array([0, 1, 1, 0], pa.int32()),
        SCORE: [0.9, 0.8, 0.6, 0.7],
        HASH: [-5, 7, -9, 3],
        IN_ROUND: pa.array([1, 1, 2, 2], pa.int32()),
    }
)


def weights(**changes: Any) -> list[float]:
    given = {"weights": RowWeights(), "hash_limits": None, **changes}
    rows = Published(SCHEMA, ("no", "yes"), ("id",), **given)(ACCEPTED)
    return rows.column(WEIGHT).to_pylist()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [1, 1, 1, 1]),
        ({"weights": RowWeights("confidence", scale=0.5)}, [0.45, 0.4, 0.3, 0.35]),
        ({"hash_limits": [0, 10]}, [1, 1, 1, 0]),
        ({"hash_limits": [None, None]}, [0, 0, 0, 0]),
        ({"taught": {1: Plan({}, (Cut(0.85), Cut(0.85)))}}, [1, 0, 1, 1]),
        ({"taught": {2: Plan({}, (None, Cut(0.6, (3,))))}}, [1, 1, 1, 0]),
    ],
)
def test_weight_is_what_the_final_model_gave_a_row(
    changes: dict[str, Any], expected: list[float]
) -> None:
    assert weights(**changes) == pytest.approx(expected)


def test_softmatch_weighs_a_row_by_the_round_that_labeled_it() -> None:
    pools = {
        1: Counts.from_rows(2, [(0, 950, 10), (0, 850, 10)]),
        2: Counts.from_rows(2, [(1, 500, 10), (1, 600, 10)]),
    }
    confidence, rounds = (ACCEPTED.column(name).to_numpy() for name in (SCORE, IN_ROUND))
    found = PseudoWeights("softmatch", ratio=0.5).settled(confidence, rounds, pools, 4)
    by_row = weights(weights=found)
    assert by_row == found.of(confidence, rounds).tolist()
    assert by_row[2] == by_row[3] > by_row[0] > by_row[1]
    assert math.fsum(by_row) == pytest.approx(2.0)


def test_rows_that_nobody_learned_from_need_no_weight() -> None:
    unknown = RowWeights("softmatch", moments={})
    assert weights(weights=unknown, hash_limits=[None, None]) == [0, 0, 0, 0]


def test_labels_are_spelled_out() -> None:
    rows = Published(SCHEMA, ("no", "yes"), ("id",), RowWeights(), None)(ACCEPTED)
    assert rows.column(LABEL).to_pylist() == ["no", "yes", "yes", "no"]
    assert np.array_equal(rows.column("id").to_numpy(), [1, 2, 3, 4])


def test_a_number_that_does_not_fit_is_never_written_as_another() -> None:
    short = pa.schema([("id", pa.int32()), (LABEL, pa.string()), (WEIGHT, pa.float64())])
    labeled = pa.table({"id": [5_000_000_000], CODE: pa.array([0], pa.int32())})
    rows = Published(SCHEMA, ("no", "yes"), ("id",), RowWeights(), None)
    assert rows.given(labeled).column("id").to_pylist() == [5_000_000_000]
    with pytest.raises(pa.ArrowInvalid, match="5000000000"):
        Published(short, ("no", "yes"), ("id",), RowWeights(), None).given(labeled)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (
            Plan({}, (Cut(0.85), None)),
            [
                (2, "yes", 0.8, "below_cut"),
                (3, "no", 0.6, "below_cut"),
                (4, "no", 0.95, "withheld"),
            ],
        ),
        (
            None,
            [
                (1, "no", 0.9, "not_used"),
                (2, "yes", 0.8, "not_used"),
                (3, "no", 0.6, "not_used"),
                (4, "no", 0.95, "withheld"),
            ],
        ),
    ],
    ids=["a cut", "no round is used"],
)
def test_undecided_rows_have_a_score_no_label_and_a_reason(
    plan: Plan | None, expected: list[tuple[Any, ...]]
) -> None:
    schema = pa.schema(
        [
            ("id", pa.int64()),
            (LABEL, pa.string()),
            (CONFIDENCE, pa.float64()),
            (REASON, pa.string()),
        ]
    )
    scored = pa.table(
        {
            "id": [1, 2, 3, 4, 5],
            CODE: pa.array([0, 1, 0, 0, None], pa.int32()),
            SCORE: [0.9, 0.8, 0.6, 0.95, None],
            INVALID: [None, None, None, "withheld: no labeled row is near it", "it is NaN"],
        }
    )
    undecided = Undecided(schema, ("no", "yes"), ("id",), plan)
    assert [tuple(row.values()) for row in undecided(scored).to_pylist()] == expected
    assert undecided(scored.slice(0, 0)).schema == schema
