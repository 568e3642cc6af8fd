"""Commands that read an output: what is refused before it is read."""

from __future__ import annotations

import pytest

from spark_pseudolabel.cli import main


@pytest.mark.parametrize("age", ["7", "d", "1w", "-1d", "1e3d"])
def test_an_age_is_a_number_and_a_unit(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "out", f"--older-than={age}"]) == 2
    assert "must be a number and one of d, h, m, s" in capsys.readouterr().err
