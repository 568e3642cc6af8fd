from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from spark_pseudolabel.spark.direct.publish import PublishTask, given_rows, publish_part
from spark_pseudolabel.spark.scratch import Scratch
from spark_pseudolabel.store.files import LocalFiles


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(LocalFiles(), str(tmp_path / "out" / "scratch"))


def test_many_given_rows_reach_the_published_table_by_a_file(
    scratch: Scratch, tmp_path: Path
) -> None:
    rows = pa.table({"n": range(1_000_000)})
    more = given_rows(rows, scratch)
    assert isinstance(more, str)
    assert isinstance(given_rows(rows.slice(0, 9), scratch), bytes)
    task = PublishTask(0, more=more)
    written = publish_part(task, lambda table: table, rows.schema, None, str(tmp_path))
    assert written.rows == rows.num_rows
