"""Numbers of things in words, for messages of any part: one row, two rows."""

from __future__ import annotations

LONGEST = 60
"""Characters of a value from the data that a message repeats."""


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """Say how many there are of something.

    Parameters
    ----------
    n
        How many.
    noun, plural
        Of one, and of any other number; None: with an s.

    Examples
    --------
    >>> counted(1, "row"), counted(1234, "row"), counted(0, "copy", "copies")
    ('1 row', '1,234 rows', '0 copies')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def agreeing(n: int, one: str, many: str) -> str:
    """Return the form of a word that agrees with a number.

    Examples
    --------
    >>> agreeing(1, "was", "were"), agreeing(2, "was", "were")
    ('was', 'were')
    """
    return one if n == 1 else many


def shortened(text: str) -> str:
    """Return a value from the data as a message repeats it: its beginning, where it is long.

    Examples
    --------
    >>> shortened("r17"), len(shortened("x" * 5000))
    ('r17', 60)
    """
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
