"""Errors: what they say, and the codes that programs go by."""

from __future__ import annotations

from spark_pseudolabel import errors
from spark_pseudolabel.errors import ConfigError, InputError, Problem, PseudoLabelError, text_of


def test_each_kind_has_its_exit_code_and_a_name() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, PseudoLabelError)
    ]
    codes = {kind.default_code: kind.exit_code for kind in kinds}
    assert codes == {
        "bad_config": 2,
        "bad_input": 3,
        "output_busy": 4,
        "stored_state": 5,
        "publish_unknown": 6,
        "drift": 7,
        "failed": 10,
    }


def test_problems_are_lines_with_their_places() -> None:
    error = ConfigError([Problem("a.b", "must be 1.", "c.yaml", 3), Problem("d", "is missing.")])
    assert error.message == "c.yaml:3 a.b: must be 1.\nd: is missing."
    assert error.where == "a.b"


def test_missing_columns_are_told_with_those_that_were_meant() -> None:
    error = InputError.missing_columns("labeled", ["incme", "q"], ["income", "id"], "a.csv")
    assert error.message == (
        "labeled (a.csv) lacks the columns 'incme' (did you mean 'income'?), 'q'. "
        "Its columns are 'income', 'id'."
    )
    assert (error.code, error.where) == ("missing_column", "incme")


def test_a_file_s_name_tells_no_lines_of_its_own() -> None:
    name = "a\nERROR: b"
    assert InputError(f"{name} is damaged.", where=name).message == "a ERROR: b is damaged."


def test_an_error_that_cannot_say_its_text_is_told_by_what_it_holds() -> None:
    class GoneError(Exception):
        def __str__(self) -> str:
            raise ConnectionError

    assert text_of(GoneError("the JVM")) == "the JVM"
    assert text_of(GoneError()) == "GoneError"
    assert text_of(ValueError("x")) == "x"
