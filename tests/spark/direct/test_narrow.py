"""The narrow files of rounds, tried without Spark."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.spark.direct import narrow
from spark_pseudolabel.spark.direct.narrow import read_narrow, write_narrow


@pytest.fixture
def written(tmp_path: Path) -> Path:
    rows = pa.table({"id": range(500), "spl_code": pa.array([1, 0] * 250, pa.int32())})
    return tmp_path / write_narrow(str(tmp_path), "part-000000-000", rows).name


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("flipped byte", "CRC checksum verification failed"),
        ("cut off", "magic bytes"),
        ("emptied", "0 bytes"),
        ("deleted", "is missing"),
    ],
)
def test_a_damaged_file_is_named(written: Path, damage: str, what: str) -> None:
    data = bytearray(written.read_bytes())
    if damage == "flipped byte":
        data[200] ^= 1
    elif damage != "deleted":
        del data[-10 if damage == "cut off" else 0 :]
    written.write_bytes(data)
    if damage == "deleted":
        written.unlink()
    with pytest.raises(StoredStateError, match=what) as told:
        read_narrow(str(written))
    assert (told.value.exit_code, told.value.where) == (5, str(written))
    assert str(written) in told.value.message


def test_what_may_pass_is_left_to_spark_with_the_name_of_the_file(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def open_input(self, path: str) -> None:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(narrow, "_files", lambda folder: Failing())
    with pytest.raises(OSError, match=written.name) as told:
        read_narrow(str(written))
    assert told.value.errno == 5
