"""Long lists of files in a manifest: by column, with the folder once.

A round of 10 billion rows names 40,000 files twice. As objects, each with its whole path, that is
17 MB of JSON, which every start parses and checks again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MANY = 1_000
"""Lists of up to so many files stay as they are: people read them."""

# One look at all names together; 40,000 looks at one name each take longer than the parsing.
_NAMES = re.compile(r"(?:(?!\.{1,2}\n)[^/\\\0\n]+\n)*")
_Count = Annotated[int, Field(ge=0, strict=True)]


class FileColumns(BaseModel):
    """Files of one folder: name, bytes and rows of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    names: tuple[str, ...]
    bytes: tuple[_Count, ...]
    rows: tuple[_Count, ...]


def in_columns(entries: Sequence[Any]) -> FileColumns | None:
    """Return a long list of files by column; None where it stays as it is.

    Parameters
    ----------
    entries
        With ``path``, ``bytes``, ``rows`` and ``sha256``.
    """
    if len(entries) <= MANY or any(entry.sha256 is not None for entry in entries):
        return None
    folders, _, names = zip(*(entry.path.rpartition("/") for entry in entries), strict=True)
    if len(set(folders)) > 1:
        return None
    return FileColumns(
        folder=folders[0],
        names=names,
        bytes=tuple(entry.bytes for entry in entries),
        rows=tuple(entry.rows for entry in entries),
    )


def out_of_columns(
    value: Any, safe_path: Callable[[str], str], make: Callable[[str, int, int], Any]
) -> Any:
    """Return the list that :func:`in_columns` has turned; what is none as it is.

    Parameters
    ----------
    value
        What is in a manifest, which others may have written.
    safe_path
        Raises ValueError for a folder that leads elsewhere.
    make
        Makes an entry of path, bytes and rows that are known to be right.

    Raises
    ------
    ValueError
        If the columns are of several lengths, or a name is none of a file in the folder.
    """
    if not isinstance(value, dict):
        return value
    try:
        columns = FileColumns.model_validate(value)
    except ValidationError as error:
        raise ValueError(f"must be a list of files: {error.errors()[0]['loc']}") from error
    if not len(columns.names) == len(columns.bytes) == len(columns.rows):
        raise ValueError("must tell name, bytes and rows of each file")
    if not _NAMES.fullmatch("".join(f"{name}\n" for name in columns.names)) or any(
        "\n" in name for name in columns.names
    ):
        raise ValueError("must hold names of files in its folder")
    folder = safe_path(columns.folder)
    files = zip(columns.names, columns.bytes, columns.rows, strict=True)
    return tuple(make(f"{folder}/{name}", size, rows) for name, size, rows in files)
