"""How labels spread over blocks: what each does in a step, and who says what comes next.

A scheme runs on workers, block by block, and a course where the run is: blocks tell it a few sums,
and it tells them the next step. Neither knows how they reach each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.graph_blocks import Block

Floats = NDArray[np.float64]
State = TypeVar("State")
Step = TypeVar("Step")
Sums = TypeVar("Sums")
OwnCourse = TypeVar("OwnCourse")


class Scheme(ABC, Generic[State, Step, Sums]):
    """What a block does."""

    @abstractmethod
    def start(self, number: int, block: Block) -> State:
        """Return where a block begins."""

    @abstractmethod
    def sent(self, state: State, step: Step | None) -> Floats:
        """Return what other blocks are to know of each node before a step, (n, n_columns)."""

    @abstractmethod
    def advanced(self, state: State, block: Block, step: Step | None, outside: Floats) -> State:
        """Take a step.

        Parameters
        ----------
        state, block
            Of the block.
        step
            What to do; None: the first exchange, before any course.
        outside
            ndarray of shape (n_outside, n_columns): what was sent of the nodes outside.
        """

    @abstractmethod
    def told(self, state: State) -> Sums:
        """Return what the course is to know."""


@dataclass(frozen=True)
class Told(Generic[Step, OwnCourse]):
    """What comes next.

    Parameters
    ----------
    step
        None: all is done.
    course
        Who is to be asked then.
    change
        The largest change or residual by now.
    """

    step: Step | None
    course: OwnCourse
    change: float


class Course(ABC, Generic[Step, Sums]):
    """Who says what comes next."""

    made: int

    @abstractmethod
    def remembered(self) -> Mapping[str, NDArray[Any]]:
        """Return what it takes to go on from here, beside the blocks' states."""

    @abstractmethod
    def resumed(self, remembered: Mapping[str, NDArray[Any]]) -> Self:
        """Return the course that has :meth:`remembered` this."""

    @abstractmethod
    def after(self, parts: Sequence[Sums]) -> Told:  # type: ignore[type-arg]
        """Return the next step from what the blocks have told, in their order."""


def received(block: Block, sent: Sequence[tuple[int, Floats]], width: int) -> Floats:
    """Put together what other blocks have sent of the nodes outside of a block.

    Parameters
    ----------
    block
        The block.
    sent
        Numbers of blocks and what they sent, in any order.
    width
        Columns.

    Raises
    ------
    ValueError
        If values are missing, or too many.
    """
    parts = [values for _, values in sorted(sent, key=lambda part: part[0])]
    outside = np.concatenate([np.zeros((0, width)), *parts])
    if len(outside) != len(block.outside):
        raise ValueError(f"{len(outside)} values came for {len(block.outside)} nodes.")
    return outside


class Ends(Protocol):
    """Which nodes of a block others are to know; see :class:`~.graph_blocks.Block`."""

    @property
    def receivers(self) -> NDArray[np.int32]:
        """Their numbers."""

    @property
    def sent_starts(self) -> NDArray[np.int32]:
        """Where in `sent` the nodes for each of them begin."""

    @property
    def sent(self) -> NDArray[np.int32]:
        """Places of nodes."""


def parcels(block: Ends, values: Floats) -> Sequence[tuple[int, Floats]]:
    """Return the blocks that are to know values of a block's nodes, with those of each."""
    bounds = zip(block.receivers, block.sent_starts[:-1], block.sent_starts[1:], strict=True)
    return [(int(to), values[block.sent[low:high]]) for to, low, high in bounds]
