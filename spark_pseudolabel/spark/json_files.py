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
from spark_pseudolabel.spark.compressed import decompressed
from spark_pseudolabel.spark.names import columns
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
        If some are and some have an object a line.
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
    said = F.concat(F.col("_metadata.file_name"), F.lit(": no JSON object: "), corrupt)
    reason = F.when(F.col(CORRUPT).isNotNull(), said)
    return rows.select(*columns(names), reason.alias(UNREADABLE))


def _is_document(files: Files, where: str, name: str) -> bool:
    try:
        with (
            files.open_input(where) as stream,
            io.BufferedReader(decompressed(stream, where)) as text,
        ):
            for line in iter(lambda: text.readline(_FIRST), b""):
                line = line.removeprefix(b"\xef\xbb\xbf").strip()
                if line:
                    return line.startswith(b"[") or not _ends_an_object(line)
    except (OSError, EOFError) as error:
        raise InputError(
            f"{name}: {where} cannot be read ({error}). Write it again.",
            code="damaged_file",
            where=where,
        ) from error
    return False


def _ends_an_object(line: bytes) -> bool:
    """Whether a first line is an object by itself, or a broken one that was to be."""
    if len(line) >= _FIRST or line.endswith(b"}"):
        return True
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
