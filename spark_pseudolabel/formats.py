"""What the names of files show: their format, and whether they belong to a table."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_FORMATS: Mapping[str, str] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".orc": "orc",
    ".avro": "avro",
    ".parquet": "parquet",
    ".pq": "parquet",
}
FILE_FORMATS = ("parquet", "csv", "json", "orc", "avro")
"""Formats whose tables are the files themselves, and not what a log says about them."""

LOGGED_FORMATS = ("delta", "iceberg")
"""Formats whose tables keep a log that this package reads."""

_TABS = (".tsv", ".tab")
_COMPRESSED = re.compile(r"\.(gz|bz2|zst|zstd|lz4|snappy|deflate|xz)$")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")


def format_of(name: str) -> str | None:
    """Return the format that a file's name ends with, whatever it is compressed with.

    Examples
    --------
    >>> format_of("pool.CSV.gz"), format_of("part-0.snappy.parquet"), format_of("data/pool")
    ('csv', 'parquet', None)
    """
    return _FORMATS.get(_suffix(name))


def is_tab_separated(name: str) -> bool:
    """Tell whether a CSV file's name says that tabs separate its fields."""
    return _suffix(name) in _TABS


def is_compressed(name: str) -> bool:
    """Tell whether a file's name says that it is compressed as a whole."""
    return _COMPRESSED.search(name.lower()) is not None


def format_of_path(path: str) -> str | None:
    """Return the format of a table by its path, or by the first file of a local directory."""
    named = format_of(path.rstrip("/"))
    if named is not None:
        return named
    local = path.removeprefix("file://").removeprefix("file:")
    if _SCHEME.match(local):
        return None
    return next((f for f in map(format_of, _first_files(local)) if f is not None), None)


def is_hidden(path: str) -> bool:
    """Tell whether Spark would skip a file, given its path below the directory that is read.

    Examples
    --------
    >>> is_hidden("part-0.parquet"), is_hidden("_temporary/0/part-0.parquet")
    (False, True)
    >>> is_hidden("_day=1/part-0.parquet")  # a partition of a column called _day
    False
    """
    return any(
        part.startswith(".") or (part.startswith("_") and "=" not in part)
        for part in path.split("/")
    )


def _suffix(name: str) -> str:
    lowered = _COMPRESSED.sub("", name.rpartition("/")[2].lower())
    return os.path.splitext(lowered)[1]


def _first_files(directory: str) -> list[str]:
    """Return the names of the files in the first folder of a directory that has any."""
    for _, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        shown = sorted(name for name in names if not is_hidden(name))
        if shown:
            return shown
    return []
