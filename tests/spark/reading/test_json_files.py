"""Which layout a JSON file has, as the driver tells from its beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.reading.json_files import holds_documents
from spark_pseudolabel.store.files import LocalFiles

LAYOUTS: dict[str, tuple[str, bool | None]] = {
    "an object a line": ('{"id": 1}\n{"id": 2}\n', False),
    "empty lines": ('\n  \n{"id": 1}\n\n{"id": 2}\n', False),
    "a byte order mark": ('\ufeff{"id": 1}\n{"id": 2}\n', False),
    "lines that end in commas": ('{"id": 1},\n{"id": 2},\n', False),
    "a broken line": ('{"id": 1, "x": }\n{"id": 2}\n', False),
    "an array": ('[{"id": 1}, {"id": 2}]\n', True),
    "an array over lines": ('[\n {"id": 1},\n {"id": 2}\n]\n\n', True),
    "an object over lines": ('{\n "id": 1,\n "x": "} {"\n}\n', True),
    "an array that is not closed": ('[\n {"id": 1},\n {"id": 2}\n', True),
    "objects over lines, one after another": ('{\n "id": 1\n}\n{\n "id": 2\n}\n', None),
    "arrays one after another": ('[{"id": 1}]\n[{"id": 2}]\n', None),
    "objects one after another in a line": ('{"id": 1} {"id": 2}\n', None),
    "a rest of something": ('[{"id": 1}]]\n', None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layout_is_told_and_values_that_would_be_dropped_are_refused(
    tmp_path: Path, name: str
) -> None:
    text, expected = LAYOUTS[name]
    (tmp_path / "a.json").write_bytes(text.encode())
    files, root = LocalFiles(), str(tmp_path)
    listed = files.list(root)
    if expected is not None:
        assert holds_documents(files, root, listed, "labeled") is expected
        return
    with pytest.raises(InputError, match=r"a\.json holds several JSON values") as refused:
        holds_documents(files, root, listed, "labeled")
    assert refused.value.code == "json_layout"
