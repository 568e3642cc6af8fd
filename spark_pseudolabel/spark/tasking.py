"""Plain functions as Spark's tasks: one for each piece of work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pyspark.sql import SparkSession

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.settling import settle

T = TypeVar("T")
U = TypeVar("U")


def run_tasks(spark: SparkSession, function: Callable[[T], U], work: Sequence[T]) -> list[U]:
    """Run a function on workers, one task for each piece of work; return what it gave, in order.

    Raises
    ------
    InputError
        What a task raised.
    """
    if not work:
        return []
    done = spark.sparkContext.parallelize(work, len(work)).map(_answering(function)).collect()
    for answer in done:
        if isinstance(answer, _Refused):
            raise InputError(answer.message, code=answer.code, where=answer.where)
    return done  # type: ignore[return-value]


@dataclass(frozen=True)
class _Refused:
    """An InputError of a worker: Spark would run its task again, and show a trace of Java."""

    message: str
    code: str
    where: str | None


def _answering(function: Callable[[T], U]) -> Callable[[T], U | _Refused]:
    def answer(piece: T) -> U | _Refused:
        try:
            return function(piece)
        except InputError as error:
            return _Refused(error.message, error.code, error.where)
        finally:
            settle()

    return answer
