"""What tasks of the direct scan do, tried without Spark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from spark_pseudolabel.columns import CODE, IN_ROUND, INVALID, POSITION, SCORE
from spark_pseudolabel.core.scored_rows import Withheld
from spark_pseudolabel.core.selection import ties
from spark_pseudolabel.core.selection.counts import Key, Tie
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.core.selection.ties import Sample, Span, nth_keys
from spark_pseudolabel.spark.direct import tasks
from spark_pseudolabel.spark.direct.narrow import Written, write_narrow
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
    assert (done.files, done.again, done.changed) == ((), 0, 0)
    done = accept(scored(tmp_path, "part-000000-000", [(4, 1, 0.9)]), [], tmp_path)
    assert (done.again, done.changed) == (0, 0)


@dataclass(frozen=True)
class Files:
    """Narrow files, which are asked one by one as tasks do."""

    paths: list[str]

    def samples(self, spans: Sequence[Span], most: int) -> list[Sample]:
        answers = [tasks.sample_ties(path, spans, most, ["id"]) for path in self.paths]
        assert max(len(one.keys) for of_file in answers for one in of_file) <= most
        return tasks.samples_together(answers, most)

    def counts_upto(
        self, spans: Sequence[Span], limits: Sequence[Sequence[Key]]
    ) -> list[list[int]]:
        answers = [tasks.count_ties(path, spans, limits, ["id"]) for path in self.paths]
        return tasks.counts_together(answers)


def test_the_nth_key_of_a_tie_is_narrowed_down_over_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ties, "_SAMPLE_KEYS", 32)
    chance = np.random.default_rng(0)
    places = chance.permutation(4_000)
    rows = [(int(place), int(place) % 3, 0.5 if place % 2 else 0.75) for place in places]
    rows += [(5_000, None, None)]
    paths = [
        scored(tmp_path, f"part-{i:06d}-000", rows[start : start + 900])  # type: ignore[arg-type]
        for i, start in enumerate(range(0, len(rows), 900))
    ]
    asked = [Tie((0, 2), 0.5, 700), Tie((1,), 0.75, 1), Tie((1,), 0.5, 667)]
    there = [
        sorted(100 + p for p, code, value in rows if code in tie.codes and value == tie.confidence)
        for tie in asked
    ]
    expected = [(ids[tie.n - 1],) for ids, tie in zip(there, asked, strict=True)]
    assert nth_keys(asked, Files(paths)) == expected


def test_scored_pieces_are_put_together_in_their_order() -> None:
    def piece(cells: list[int], n: list[int], why: str | None) -> tasks.ScoredPiece:
        file = Written(f"{why}.parquet", sum(n))
        counted = np.array(cells, dtype=np.int32), np.array(n, dtype=np.int64)
        return tasks.ScoredPiece((file,), *counted, 1, why, Withheld(1, 1))

    pieces = [piece([3, 9], [2**40, 1], None), piece([1, 9], [7, 5], "b"), piece([], [], "c")]
    together = tasks.scored_together(pieces)
    assert (together.cells.tolist(), together.n.tolist()) == ([1, 3, 9], [7, 2**40, 6])
    assert (together.invalid, together.why_invalid, together.withheld) == (3, "b", Withheld(3, 3))
    assert [file.name for file in together.files] == ["None.parquet", "b.parquet", "c.parquet"]
    left = tasks.scored_together(pieces[:2])
    again = tasks.scored_together([left, pieces[2]])
    assert (again.cells.tolist(), again.files) == (together.cells.tolist(), together.files)
