"""The file system of a path or URI, chosen without a JVM."""

from __future__ import annotations

import os

from spark_pseudolabel.store.files import Files, LocalFiles, local_path, scheme_of


def open_files(uri: str) -> tuple[Files, str]:
    """Choose the file system of a path or URI without starting a JVM.

    Parameters
    ----------
    uri
        A plain path, a ``file:`` URI, or a URI that pyarrow can open (s3, gs, hdfs, abfs).

    Returns
    -------
    tuple
        The file system and the normalized full path (absolute for local ones, no slash at the
        end).

    Raises
    ------
    InputError
        If no file system serves the scheme.
    """
    if scheme_of(uri) in ("", "file"):
        return LocalFiles(), os.path.abspath(local_path(uri))
    # Imported late: a local `status` must not wait for pyarrow.
    from spark_pseudolabel.store.arrow_files import ArrowFiles

    return ArrowFiles.for_uri(uri), uri.rstrip("/")
