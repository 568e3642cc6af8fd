"""Opening a version of a table that keeps a log, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.formats import LOGGED_FORMATS
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import Files
from spark_pseudolabel.store.identity import StoredTable
from spark_pseudolabel.store.inputs import PinnedTable
from spark_pseudolabel.store.logs.delta import read_delta
from spark_pseudolabel.store.logs.iceberg import read_iceberg
from spark_pseudolabel.store.logs.version import TableVersion


def read_version(
    files: Files,
    root: str,
    format: str,
    options: Mapping[str, str],
    *,
    pinned: PinnedTable | None = None,
    version: int | None = None,
) -> TableVersion:
    """Read what a table's log says of a version.

    Parameters
    ----------
    files, root
        Where the table is.
    format
        ``delta`` or ``iceberg``.
    options
        What the format's library is told of the store.
    pinned
        What a run has begun with; None: it begins now.
    version
        With which version it is to begin; None: the latest.

    Raises
    ------
    InputError
        If there is no such table or version, the version is expired, another table is in its
        place, or the format's library is missing.
    """
    if format == "delta":
        wanted = version if pinned is None else pinned.version
        found = read_delta(files, root, options, wanted)
    else:
        found = read_iceberg(files, root, options, pinned, version)
    known = found.pinned.table
    if pinned is not None and None not in (pinned.table, known) and pinned.table != known:
        raise InputError(
            f"{root} is another table than when the run began: its id was {pinned.table} and is "
            f"{known}. Restore it, or start with a new output.path.",
            code="inputs_changed",
            where=root,
        )
    return found


def stored_version(
    table: StoredTable, pinned: PinnedTable | None
) -> tuple[Files, TableVersion] | None:
    """Open the version that a run has read, where its output is all that is known of it.

    Parameters
    ----------
    table
        The table as the run's configuration names it.
    pinned
        The version.

    Returns
    -------
    tuple or None
        Where its files are, and what the log says; None where only Spark can tell.
    """
    if table.path is None or table.format not in LOGGED_FORMATS or pinned is None:
        return None
    files, root = open_files(table.path)
    version = read_version(files, root, table.format, table.options, pinned=pinned)
    return None if version.only_spark else (open_files(version.root)[0], version)
