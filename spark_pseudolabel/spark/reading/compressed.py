"""Compressed text files, read by the driver: their first lines, and the line of a bad row."""

from __future__ import annotations

import bz2
import gzip
from typing import Any, BinaryIO

import pyarrow as pa

_HADOOP_ONLY = (".snappy", ".lz4", ".xz", ".deflate")


def decompressed(stream: BinaryIO, name: str) -> Any:
    """Return a raw stream of a file's content, by its name's suffix, as Spark decides.

    Raises
    ------
    OSError
        If only Hadoop knows the compression.
    """
    if name.endswith(".gz"):
        return gzip.GzipFile(fileobj=stream)
    if name.endswith(".bz2"):
        return bz2.BZ2File(stream)
    if name.endswith((".zst", ".zstd")):
        return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
    if name.endswith(_HADOOP_ONLY):
        raise OSError("its compression is one of Hadoop's; .gz, .bz2 and .zst can be read")
    return stream
