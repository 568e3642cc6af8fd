"""Outputs whose files can be reached without a JVM."""

from __future__ import annotations

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import HDFS_SCHEMES, Files, scheme_of

Opened = tuple[Files, str]
"""File system and full path of an output."""


def open_without_jvm(out: str, *, to_write: bool = False) -> Opened | None:
    """Open an output.

    Parameters
    ----------
    out
        Path or URI.
    to_write
        Whether files are to be put or deleted there.

    Returns
    -------
    Opened or None
        None where only Spark can.

    Raises
    ------
    InputError
        If no file system serves its scheme.
    """
    # Nothing else puts a file only if it is absent, or deletes, where it is not local.
    if to_write and scheme_of(out) not in ("", "file"):
        return None
    try:
        return open_files(out)
    except InputError:
        # It takes Hadoop's native library, which most machines lack.
        if scheme_of(out) in HDFS_SCHEMES:
            return None
        raise
