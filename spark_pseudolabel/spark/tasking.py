"""Plain functions as Spark's tasks: one for each piece of work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pyspark.sql import SparkSession

from spark_pseudolabel.errors import PseudoLabelError
from spark_pseudolabel.spark.settling import settle

T = TypeVar("T")
U = TypeVar("U")


def run_tasks(spark: SparkSession, function: Callable[[T], U], work: Sequence[T]) -> list[U]:
    """Run a function on workers, one task for each piece of work; return what it gave, in order.

    Raises
    ------
    PseudoLabelError
        What a task raised, of the same class.
    """
    if not work:
        return []
    done = spark.sparkContext.parallelize(work, len(work)).map(_answering(function)).collect()
    for answer in done:
        if isinstance(answer, _Refused):
            raise answer.error
    return done  # type: ignore[return-value]


@dataclass(frozen=True)
class _Refused:
    """What a worker raised on purpose: Spark would run its task again, and show a trace of Java."""

    error: PseudoLabelError


def _answering(function: Callable[[T], U]) -> Callable[[T], U | _Refused]:
    def answer(piece: T) -> U | _Refused:
        try:
            return function(piece)
        except PseudoLabelError as error:
            return _Refused(error)
        finally:
            settle()

    return answer
