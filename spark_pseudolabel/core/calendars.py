"""In which calendar a Parquet file counts its dates, by what its footer says about the writer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Calendar = Literal["today", "old", "untold"]
"""Today's (proleptic Gregorian), Spark 2's (Julian before 1582), or not stated."""

_VERSION = b"org.apache.spark.version"
_REBASED = {b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96"}
# The first Spark that writes all dates and timestamps in today's calendar by default.
_TODAY_SINCE = (3, 1)


def calendar_of(footer: Mapping[bytes, bytes]) -> Calendar:
    """Return the calendar of a file by the keys of its footer, as Spark concludes it from them.

    Examples
    --------
    >>> calendar_of({b"org.apache.spark.version": b"2.4.8"})
    'old'
    >>> calendar_of({b"org.apache.spark.version": b"4.0.3"}), calendar_of({})
    ('today', 'untold')
    """
    if _REBASED & footer.keys():
        return "old"
    if _VERSION not in footer:
        return "untold"
    version = re.match(rb"(\d+)\.(\d+)", footer[_VERSION])
    if version is None or (int(version[1]), int(version[2])) < _TODAY_SINCE:
        return "old"
    return "today"
