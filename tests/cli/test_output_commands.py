"""Commands that read an output: what is refused before it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.cli import main


@pytest.mark.parametrize("age", ["7", "d", "1w", "-1d", "1e3d"])
def test_an_age_is_a_number_and_a_unit(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "out", f"--older-than={age}"]) == 2
    assert "must be a number and one of d, h, m, s" in capsys.readouterr().err


def test_a_page_in_no_directory_is_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # There is no run either, which is what would be told next.
    assert main(["report", str(tmp_path), "--html", str(tmp_path / "none" / "page.html")]) == 3
    assert f"Make {tmp_path / 'none'} first" in capsys.readouterr().err
