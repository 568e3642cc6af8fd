"""What files' names tell of their format."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.formats import format_of_path, is_compressed, is_tab_separated


@pytest.mark.parametrize(
    ("path", "format_"),
    [
        ("a.parquet", "parquet"),
        ("a.CSV.gz", "csv"),
        ("s3://bucket/day.json/", "json"),
        ("s3://bucket/pool", None),
        ("nowhere", None),
    ],
)
def test_a_path_names_its_format_or_none(path: str, format_: str | None) -> None:
    assert format_of_path(path) == format_


def test_a_directory_has_the_format_of_its_first_file_that_is_not_hidden(tmp_path: Path) -> None:
    for name in ("_temporary/a.json", "day=1/_SUCCESS", "day=1/b.tsv", "day=2/c.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert format_of_path(str(tmp_path)) == format_of_path(f"file://{tmp_path}") == "csv"


def test_compression_and_tabs_show_in_a_name() -> None:
    assert (is_compressed("a.tsv.gz"), is_compressed("a.tsv")) == (True, False)
    assert (is_tab_separated("a.tsv.gz"), is_tab_separated("a.csv")) == (True, False)
