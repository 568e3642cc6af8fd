"""One thing that is wrong with what is stored."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """A file below the output, and what is wrong with it."""

    path: str
    problem: str
