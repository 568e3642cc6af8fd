from __future__ import annotations

import pytest

from spark_pseudolabel.core.parts import MAX_PIECES, RowGroup, parts_of, pieces_of


def groups(*rows: int) -> list[RowGroup]:
    return [RowGroup(f"{i}.parquet", 100, 0, 0, n, 10 * n) for i, n in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((), []),
        ((0, 0), []),
        ((5,), [[5]]),
        ((3, 3, 3), [[3, 3], [3]]),
        ((100, 1), [[100], [1]]),
        ((1, 0, 7, 2), [[1, 7], [2]]),
    ],
)
def test_small_row_groups_go_together(rows: tuple[int, ...], expected: list[list[int]]) -> None:
    parts = parts_of(groups(*rows), max_rows=8, max_bytes=1000)
    assert [[group.rows for group in part.groups] for part in parts] == expected
    assert [part.number for part in parts] == list(range(len(parts)))


def test_wide_rows_make_small_parts() -> None:
    parts = parts_of(groups(4, 4, 4), max_rows=100, max_bytes=80)
    assert [part.rows for part in parts] == [8, 4]


@pytest.mark.parametrize(
    ("rows", "tasks", "expected"),
    [
        ((1_000,), 6, 1),
        ((10_000,), 6, 4),
        ((200_000,), 6, 6),
        ((200_000,), 600, MAX_PIECES),
        ((200_000, 200_000), 6, 6),
        ((200_000,) * 10, 6, 10),
        ((), 6, 0),
    ],
)
def test_a_small_pool_is_cut_for_every_core(
    rows: tuple[int, ...], tasks: int, expected: int
) -> None:
    parts = parts_of(groups(*rows))
    pieces = pieces_of(parts, tasks)
    assert len(pieces) == expected
    for part in parts:
        mine = [piece for piece in pieces if piece.part is part]
        covered = [row for piece in mine for row in range(piece.start, piece.stop)]
        assert covered == list(range(part.rows))
        assert [piece.number for piece in mine] == list(range(len(mine)))
