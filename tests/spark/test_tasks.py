"""What tasks of the direct scan do, tried without Spark."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from spark_pseudolabel.columns import CODE, IN_ROUND, INVALID, POSITION, SCORE
from spark_pseudolabel.core.plan import Cut, Plan
from spark_pseudolabel.spark.direct.narrow import write_narrow
from spark_pseudolabel.spark.direct.tasks import AcceptedPiece, accept_piece

PLAN = Plan({}, (Cut(0.5), Cut(0.5)))
Row = tuple[int, int | None, float | None]
"""Place in the part, class, confidence."""


def scored(folder: Path, name: str, rows: list[Row]) -> str:
    places, codes, confidences = zip(*rows, strict=True)
    table = pa.table(
        {
            "id": [100 + place for place in places],
            CODE: pa.array(codes, pa.int32()),
            SCORE: pa.array(confidences, pa.float64()),
            INVALID: pa.array([None] * len(rows), pa.string()),
            IN_ROUND: pa.array([1] * len(rows), pa.int32()),
            POSITION: pa.array(places, pa.int32()),
        }
    )
    return f"{folder}/{write_narrow(str(folder), name, table).name}"


def accept(path: str, before: list[str], folder: Path) -> AcceptedPiece:
    return accept_piece(path, before, PLAN, ["id"], 2, 0, str(folder))


@pytest.mark.parametrize("cut", [None, 2])
def test_labels_are_compared_by_place_however_the_part_was_cut_before(
    tmp_path: Path, cut: int | None
) -> None:
    old: list[Row] = [(0, 0, 0.9), (3, 1, 0.8), (5, 1, 0.7), (9, 0, 0.6)]
    pieces = [old] if cut is None else [old[:cut], old[cut:]]
    before = [scored(tmp_path, f"part-000000-{i:03d}", rows) for i, rows in enumerate(pieces)]
    new: list[Row] = [(0, 0, 0.8), (1, 0, 0.9), (3, 0, 0.9), (5, 1, 0.4), (7, None, None)]
    done = accept(scored(tmp_path, "part-000000-000", new), before, tmp_path)
    assert done.by_code.tolist() == [3, 0]
    assert (done.again, done.changed) == (2, 1)


def test_nothing_accepted_and_nothing_before_leave_nothing_to_compare(tmp_path: Path) -> None:
    path = scored(tmp_path, "part-000000-000", [(4, 1, 0.3)])
    done = accept(path, [path], tmp_path)
    assert (done.file, done.again, done.changed) == (None, 0, 0)
    done = accept(scored(tmp_path, "part-000000-000", [(4, 1, 0.9)]), [], tmp_path)
    assert (done.again, done.changed) == (0, 0)
