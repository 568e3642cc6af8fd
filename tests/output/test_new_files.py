from __future__ import annotations

import pytest

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.new_files import compared
from spark_pseudolabel.store.inputs import SeenFile

A, B, C = (SeenFile(name, 10, 1) for name in ("a", "b", "c"))


def test_new_are_files_that_no_generation_has_read() -> None:
    new = compared([A, B, C], [A])
    assert (new.paths, new.notices, new.none) == ({"b", "c"}, (), False)
    assert compared([A], [A]).none


def test_a_file_that_grew_is_refused_by_its_name() -> None:
    with pytest.raises(InputError, match=r"1 file .*: b") as refused:
        compared([A, B._replace(bytes=12)], [A, B])
    assert (refused.value.exit_code, refused.value.code) == (3, "inputs_changed")


@pytest.mark.parametrize(
    ("listed", "code"), [([A], "files_gone"), ([A, B._replace(mtime_ns=5)], "files_touched")]
)
def test_files_that_are_gone_or_written_again_are_told(listed: list[SeenFile], code: str) -> None:
    new = compared(listed, [A, B])
    assert new.none
    assert [notice.code for notice in new.notices] == [code]
    assert ": b" in new.notices[0].message
