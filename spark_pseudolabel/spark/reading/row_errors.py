"""Failures of expressions of the user's own, told from those of the cluster that evaluates them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from spark_pseudolabel.errors import InputError, text_of

# Spark gives each kind of failure a condition and an SQLSTATE, which end up in the text of whatever
# carries it: an exception of its own class, or Java's trace of the task.
_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)*)\] (.*?) ?SQLSTATE: (\w{5})", re.S)
# The classes of the SQL standard: 21 cardinality, 22 data (division by zero, overflow, a text that
# is no number or time), 39 a function in Java or Scala; P0001 is raise_error, 42K0B a time that
# Spark 3 has read otherwise. The rest, such as files that cannot be read, may pass.
_OF_ROWS = re.compile(r"21|22|39|P0001|42K0B")
_LONGEST = 300


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn what rows of a table say by failing into an error that names the table.

    Rows of a view, query or DataFrame are made when they are read, in any job that does so, and of
    those columns alone that it needs: each job over rows of users is within such a block.

    Parameters
    ----------
    name
        How messages call the table: the section's name.

    Raises
    ------
    InputError
        If an expression fails on a row; any other error stays what it is.
    """
    try:
        yield
    except (PySparkException, Py4JError) as error:
        failure = failure_of_rows(text_of(error))
        if failure is None:
            raise
        condition, message = failure
        raise InputError(
            f"{name}: a row cannot be evaluated: {message} Correct the expression of its view, "
            "query or DataFrame, or the rows that it fails on.",
            code=condition.lower(),
            where=name,
        ) from error


def failure_of_rows(text: str) -> tuple[str, str] | None:
    """Find the condition and the first line by which an expression failed; None if none did.

    Examples
    --------
    >>> failure_of_rows("[DIVIDE_BY_ZERO] Division by zero. Use try_divide. SQLSTATE: 22012")
    ('DIVIDE_BY_ZERO', '[DIVIDE_BY_ZERO] Division by zero. Use try_divide.')
    >>> failure_of_rows("[FAILED_READ_FILE.NO_HINT] Cannot read a. SQLSTATE: KD001")
    """
    for condition, message, state in _CONDITION.findall(text):
        if _OF_ROWS.match(state):
            first = f"[{condition}] {message.strip()}".splitlines()[0]
            return condition, first if len(first) <= _LONGEST else f"{first[:_LONGEST]} ..."
    return None
