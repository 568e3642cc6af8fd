"""Why people are asked about rows: what a kind of question has to say.

A kind is a file in the folder ``kinds`` with one subclass of :class:`ReviewKind`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from spark_pseudolabel.output.review.features import Place
from spark_pseudolabel.output.review.finished import FinishedRun
from spark_pseudolabel.store.answers import AnsweredSet
from spark_pseudolabel.store.facts import Json
from spark_pseudolabel.store.review import Exported, PublishedRows
from spark_pseudolabel.store.store import Attempt


@dataclass(frozen=True)
class Wish:
    """What a user asks for.

    Parameters
    ----------
    rows
        How many rows, or answers in all.
    precision
        Of ``--certify``; None otherwise.
    per_class
        Whether each class is to be judged by itself.
    place
        Where the features of rows are; None: they are not looked at.
    """

    rows: int
    precision: float | None = None
    per_class: bool = False
    place: Place | None = None


@dataclass(frozen=True)
class Questions:
    """Rows to ask about.

    Parameters
    ----------
    rows
        Keys, in the order in which they are to be asked; of a kind that shows predictions also
        `label`, `confidence` and `reason`.
    identity
        JSON that makes this set the one it is: the same for the same rows, and for more of them
        where the set grows. Kind and run are added.
    first
        `order` of the first row; above 1 where rows of the set were asked before.
    asked
        All rows of the set so far, where `rows` are only the next ones; else None.
    settled
        Why there is nothing more to ask; None where there is.
    """

    rows: pa.Table
    identity: Json
    first: int = 1
    asked: pa.Table | None = None
    settled: str | None = None


@dataclass(frozen=True)
class Conclusion:
    """What follows from the answers to a set.

    Parameters
    ----------
    text
        Sentences for people.
    published
        Labels that are certified now, written into the attempt; None: nothing new.
    next
        Commands to go on with.
    """

    text: tuple[str, ...] = ()
    published: PublishedRows | None = None
    next: tuple[str, ...] = ()


class ReviewKind(ABC):
    """One reason to ask people.

    Attributes
    ----------
    name
        As the option of ``review export`` and the facts call it.
    predicts
        Whether people see what the model says: never where their answers judge it.
    kept
        Columns of the rows that stay with the set, and that nobody is shown.
    """

    name: ClassVar[str]
    predicts: ClassVar[bool] = False
    kept: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def ask(self, run: FinishedRun, wish: Wish) -> Questions:
        """Choose rows, and their order; the same as long as no answer has come."""

    def terms(self, run: FinishedRun, wish: Wish, exported: Exported) -> Exported:
        """Complete what the commit of an export says, its number known."""
        return exported

    def conclude(
        self, run: FinishedRun, exported: Exported, answers: AnsweredSet, attempt: Attempt
    ) -> Conclusion:
        """Say what follows from all answers to a set so far; files go into `attempt`."""
        return Conclusion()
