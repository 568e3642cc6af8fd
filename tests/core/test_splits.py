from __future__ import annotations

import pytest

from spark_pseudolabel.core.splits import RowGroup, parts_of


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
