"""What is said where a run is stopped from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.cli.sessions import resumable
from spark_pseudolabel.cli.signals import StoppedError, Terminated
from tests.store.builders import IDENTITY, add_model, begin, decided, frozen


def test_an_interrupted_run_says_what_is_safe(tmp_path: Path) -> None:
    identity = {**IDENTITY, "rounds": {"relabel": False}}
    store = begin(tmp_path, identity=identity, inputs=frozen(rows=2))
    add_model(store)
    store.commit_round(store.new_attempt("round", 1), decided(2))
    with pytest.raises(StoppedError) as caught, resumable(str(tmp_path)):
        raise KeyboardInterrupt
    assert caught.value.message == "1 round committed; run the same command to continue."
    assert caught.value.exit_code == 130


def test_a_run_interrupted_before_anything_is_there_says_so() -> None:
    with pytest.raises(StoppedError, match="No round known") as caught, resumable("x"):
        raise Terminated
    assert caught.value.exit_code == 143
