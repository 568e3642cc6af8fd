"""Telling a damaged Parquet file from a disk or a network that failed: only the first stays so."""

from __future__ import annotations

import re

import pyarrow as pa

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import scheme_of

READ_ERRORS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError)
"""What pyarrow raises while it reads a file."""

# Of the errors from elsewhere than this machine: what Parquet's reader and its codecs say about
# pages in which bytes were flipped.
_DAMAGE = re.compile(
    "corrupt|couldn't deserialize thrift|codec failed|decompress|unexpected end of stream"
    "|page header|page integrity|malformed levels|levels do not match|invalid byte_array"
    "|unknown encoding|dictionary|repetition level|bit width|delta_|string delta",
    re.IGNORECASE,
)


def is_damage(error: Exception, path: str) -> bool:
    """Whether an error of pyarrow says that a file does not hold what it should.

    Examples
    --------
    >>> is_damage(OSError("Corrupt snappy compressed data."), "s3://bucket/a.parquet")
    True
    >>> is_damage(OSError("AWS Error NETWORK_CONNECTION"), "s3://bucket/a.parquet")
    False
    >>> is_damage(OSError(5, "Input/output error"), "/data/a.parquet")
    False
    """
    if not isinstance(error, OSError):
        return isinstance(error, READ_ERRORS)
    if error.errno is not None:  # the system's own
        return False
    # A local file fails with a number, or because of what is in it.
    return scheme_of(path) in ("", "file") or _DAMAGE.search(str(error)) is not None


def with_path(error: Exception, path: str) -> OSError:
    """Return an error that may pass, with the file's name, which few file systems tell."""
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, path)
    return OSError(f"{path}: {error}")


def refusal(error: Exception, path: str, what: str) -> InputError:
    """Return the error that names a file which can't be read, and what to do about it.

    Parameters
    ----------
    error
        What pyarrow says.
    path
        The file.
    what
        What is wrong with it, where it is not encrypted.
    """
    why = first_line(error)
    if "crypt" in why:
        return InputError(
            f"{path} is encrypted ({why}). Name its table by table or by query, which Spark reads "
            "with the keys that it has, or write it without encryption.",
            code="encrypted_file",
            where=path,
        )
    return InputError(
        f"{path} {what} ({why}). Write it again, or take it out of the directory.",
        code="damaged_file",
        where=path,
    )


def first_line(error: Exception) -> str:
    """Return what an error says, without what follows for programmers."""
    return str(error).partition("\n")[0]
