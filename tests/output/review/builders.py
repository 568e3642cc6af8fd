"""Commands of ``review`` as a test gives them, and what they leave."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from spark_pseudolabel.cli import main


def command(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """Give a command of ``review``; return its document."""
    capsys.readouterr()
    assert main(["review", *arguments, "--output-format", "json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def sheet(folder: Path, number: int = 0) -> pd.DataFrame:
    """Read a part as people see it."""
    return pd.read_csv(folder / f"part-{number:05d}.csv", dtype=str, keep_default_na=False)


def answer(folder: Path, said: Callable[[str], str]) -> pd.DataFrame:
    """Write answers into a part, by the row's id."""
    rows = sheet(folder)
    rows["answer"] = [said(each) for each in rows["id"]]
    rows.to_csv(folder / "part-00000.csv", index=False)
    return rows


def plain(file: Path, answers: Sequence[tuple[str, str]]) -> str:
    """Write a plain file of ids and labels."""
    pd.DataFrame(answers, columns=["id", "label"]).to_csv(file, index=False)
    return str(file)


def table(out: str, name: str) -> pd.DataFrame:
    """Read a published table."""
    return pd.read_parquet(f"{out}/{name}").sort_values("id", ignore_index=True)
