from __future__ import annotations

from itertools import pairwise

import pytest

from spark_pseudolabel.errors import (
    InputError,
    PseudoLabelError,
    PublishUnknownError,
    text_of,
)
from spark_pseudolabel.spark.ending import explained


class LostError(Exception):
    """An error whose text was in a JVM that is gone."""

    def __str__(self) -> str:
        raise ConnectionRefusedError


def chained(*errors: Exception) -> Exception:
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (RuntimeError("Job aborted: java.lang.OutOfMemoryError: Java heap space"), "memory"),
        (chained(LostError(), ValueError("java.lang.OutOfMemoryError: GC")), "memory"),
        (RuntimeError("is bigger than spark.driver.maxResultSize 1024.0 MiB"), "maxResultSize"),
    ],
)
def test_a_jvm_that_is_too_small_is_an_error_of_the_environment(
    error: Exception, where: str
) -> None:
    meaning = explained(error, "2g")
    assert isinstance(meaning, InputError)
    assert (meaning.exit_code, meaning.where) == (3, f"spark.driver.{where}")
    assert "training.max_rows" in meaning.message


@pytest.mark.parametrize(
    "error",
    [PublishUnknownError("OutOfMemoryError"), InputError("a column is missing"), LostError()],
)
def test_what_says_itself_what_it_is_stays_so(error: Exception) -> None:
    assert explained(error, None) is None


def test_an_error_without_its_text_has_one() -> None:
    assert text_of(LostError("while calling o57.collect", 3)) == "while calling o57.collect"
    assert text_of(LostError()) == "LostError"
    assert text_of(PseudoLabelError("as it is")) == "as it is"
