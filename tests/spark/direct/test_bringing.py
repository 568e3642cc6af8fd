from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct import bringing
from spark_pseudolabel.spark.scratch import Scratch
from spark_pseudolabel.store.files import LocalFiles


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(LocalFiles(), str(tmp_path / "out" / "scratch"))


@pytest.mark.parametrize("inline", [0, 2_000, 2**20])
def test_rows_come_in_the_order_of_the_work_through_files_or_not(
    spark: SparkSession, scratch: Scratch, monkeypatch: pytest.MonkeyPatch, inline: int
) -> None:
    monkeypatch.setattr(bringing, "_INLINE_BYTES", inline)
    monkeypatch.setattr(bringing, "_MAX_TASKS", 3)

    def read(n: int) -> Iterator[pa.Table]:
        for i in range(n % 4):
            yield pa.table({"n": [n] * 10, "i": [i] * 10})

    tables = bringing.bring(spark, read, range(8), scratch)
    assert pa.concat_tables(tables) == pa.concat_tables([t for n in range(8) for t in read(n)])
    assert not Path(scratch.path).exists()


def test_a_task_that_refuses_leaves_nothing(
    spark: SparkSession, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing, "_INLINE_BYTES", 0)

    def read(n: int) -> Iterator[pa.Table]:
        yield pa.table({"n": [n]})
        if n:
            raise InputError("it is damaged")

    with pytest.raises(InputError, match="damaged"):
        bringing.bring(spark, read, [0, 1], scratch)
    assert not Path(scratch.path).exists()
