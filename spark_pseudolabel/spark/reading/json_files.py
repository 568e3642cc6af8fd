"""JSON: one object a line, or one document a file; which of the two, the first bytes tell."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import UNREADABLE
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.reading.compressed import decompressed
from spark_pseudolabel.spark.reading.names import columns
from spark_pseudolabel.store.files import FileInfo, Files, join

CORRUPT = "spl_corrupt"
"""What Spark puts aside of a file that is no JSON."""

_FIRST = 2**20
_SHOWN = 60


def holds_documents(files: Files, root: str, listed: Sequence[FileInfo], name: str) -> bool:
    """Tell whether files are one array or object each, over any number of lines.

    Raises
    ------
    InputError
        If some are and some have an object a line, or a file begins with several values where
        Spark reads one.
    """
    kinds: dict[bool, str] = {}
    for info in listed:
        if info.bytes:
            where = join(root, info.path)
            kinds.setdefault(_is_document(files, where, name), where)
    if len(kinds) > 1:
        raise InputError(
            f"{name}: JSON files must be alike. {kinds[True]} is one document, {kinds[False]} has "
            "one object a line: write both the same way.",
            code="json_layout",
            where=kinds[True],
        )
    return True in kinds


def with_reasons(rows: DataFrame, schema: T.StructType) -> DataFrame:
    """Return the columns of a schema, and ``spl_unreadable`` where Spark put lines aside."""
    names = [name for name in schema.names if name != CORRUPT]
    if CORRUPT not in schema.names:
        return rows.select(*columns(names))
    corrupt = F.substring(F.trim(F.col(CORRUPT)), 1, _SHOWN)
    reason_text = F.concat(F.col("_metadata.file_name"), F.lit(": no JSON object: "), corrupt)
    reason = F.when(F.col(CORRUPT).isNotNull(), reason_text)
    return rows.select(*columns(names), reason.alias(UNREADABLE))


def _is_document(files: Files, where: str, name: str) -> bool:
    try:
        with (
            files.open_input(where) as stream,
            io.BufferedReader(decompressed(stream, where)) as text,
        ):
            for line in iter(lambda: text.readline(_FIRST), b""):
                begun = line.removeprefix(b"\xef\xbb\xbf").strip()
                if not begun:
                    continue
                if not begun.startswith(b"[") and _is_of_lines(begun):
                    _require_one_value(begun, where, name)
                    return False
                _require_one_value(begun + b"\n" + text.read(_FIRST), where, name)
                return True
    except (OSError, EOFError) as error:
        raise InputError(
            f"{name}: {where} cannot be read ({error}). Write it again.",
            code="damaged_file",
            where=where,
        ) from error
    return False


def _is_of_lines(line: bytes) -> bool:
    """Whether a first line holds an object of its own, or a broken one that was to be."""
    if len(line) >= _FIRST or line.endswith(b"}"):
        return True
    value, _ = _first_value(line)
    return isinstance(value, dict)


def _require_one_value(text: bytes, where: str, name: str) -> None:
    """Refuse values one after another: Spark's reader takes the first and drops the others."""
    value, rest = _first_value(text)
    if value is not None and rest.strip(" \t\r\n,"):
        raise InputError(
            f"{name}: {where} holds several JSON values one after another, of which only the first "
            "would be read. Write one object a line, or all in one array.",
            code="json_layout",
            where=where,
        )


def _first_value(text: bytes) -> tuple[object, str]:
    """Return the value that a text begins with, None if it is not whole, and what follows."""
    decoded = text.decode("utf-8", errors="replace")
    try:
        value, end = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return None, ""
    return value, decoded[end:]
