"""Plain functions as Spark's tasks: one for each piece of work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pyspark.sql import SparkSession

from spark_pseudolabel.errors import PseudoLabelError
from spark_pseudolabel.spark.startup.freezing import freeze_imported

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")

_ANSWERS_ON_DRIVER = 64
"""Answers that the driver merges by itself."""


def run_tasks(spark: SparkSession, function: Callable[[T], U], work: Sequence[T]) -> list[U]:
    """Run a function on workers, one task for each piece of work; return what it gave, in order.

    Every answer comes to the driver through its JVM's memory: for answers of some hundred bytes.

    Raises
    ------
    PseudoLabelError
        What a task raised, of the same class.
    """
    if not work:
        return []
    answers = spark.sparkContext.parallelize(work, len(work)).map(_answering(function)).collect()
    return without_refusal(answers)


def merge_tasks(
    spark: SparkSession,
    function: Callable[[T], U],
    work: Sequence[T],
    merge: Callable[[Sequence[U]], U],
) -> U | None:
    """Run a function on workers, and merge what it gave on the way to the driver.

    Parameters
    ----------
    spark
        The session.
    function
        Runs on one piece of work.
    work
        The pieces.
    merge
        Puts answers together, in the order of the work. Where there are many of them, workers
        merge them in blocks and the driver merges the blocks; which ones depends on their number
        alone.

    Returns
    -------
    object
        None if there was no work.

    Raises
    ------
    PseudoLabelError
        What a task raised, of the same class.
    """
    n = len(work)
    if n <= _ANSWERS_ON_DRIVER:
        answers = run_tasks(spark, function, work)
        return merge(answers) if answers else None
    # As many for each merger as there are mergers for the driver.
    n_mergers = math.isqrt(n)

    def give(task: tuple[int, T]) -> Iterator[tuple[int, tuple[int, U]]]:
        place, piece = task
        yield place * n_mergers // n, (place, function(piece))

    def take(answers: Iterable[tuple[int, U]]) -> U:
        return merge([answer for _, answer in sorted(answers, key=lambda numbered: numbered[0])])

    return merge(exchange(spark, give, list(enumerate(work)), take, n_mergers))


def exchange(
    spark: SparkSession,
    give: Callable[[T], Iterable[tuple[int, U]]],
    work: Sequence[T],
    take: Callable[[list[U]], V],
    n_groups: int,
) -> list[V]:
    """Let tasks give values to numbered groups, and one task take all values of a group.

    The values lie on the workers' disks in between (a shuffle of Spark's), and never come to the
    driver.

    Parameters
    ----------
    spark
        The session.
    give
        Yields numbers of groups, from 0, and values for them.
    work
        What it is called with, one task for each.
    take
        Gets the values of a group, in no order.
    n_groups
        How many there are.

    Returns
    -------
    list
        What `take` returned for each group.

    Raises
    ------
    PseudoLabelError
        What a task raised, of the same class.
    """
    if not work:
        return []

    def taking(received: Iterable[tuple[int, U | Refused]]) -> Iterator[V | Refused]:
        values: list[Any] = [value for _, value in received]
        refused = [value for value in values if isinstance(value, Refused)]
        yield refused[0] if refused else _answering(take)(values)

    sent = spark.sparkContext.parallelize(work, len(work)).flatMap(giving(give))
    return without_refusal(sent.partitionBy(n_groups, int).mapPartitions(taking).collect())


def giving(
    give: Callable[[T], Iterable[tuple[int, U]]],
) -> Callable[[T], Iterator[tuple[int, U | Refused]]]:
    """Let a function of :func:`exchange` give what it refuses to the first group."""

    def given(piece: T) -> Iterator[tuple[int, U | Refused]]:
        try:
            yield from give(piece)
        except PseudoLabelError as error:
            yield 0, Refused(error)
        finally:
            freeze_imported()

    return given


@dataclass(frozen=True)
class Refused:
    """What a worker raised on purpose: Spark would run its task again, and show a trace of Java."""

    error: PseudoLabelError


def _answering(function: Callable[[T], U]) -> Callable[[T], U | Refused]:
    def answer(piece: T) -> U | Refused:
        try:
            return function(piece)
        except PseudoLabelError as error:
            return Refused(error)
        finally:
            freeze_imported()

    return answer


def without_refusal(answers: list[U | Refused]) -> list[U]:
    """Return the answers of tasks, or raise what one of them has refused."""
    for answer in answers:
        if isinstance(answer, Refused):
            raise answer.error
    return answers  # type: ignore[return-value]
