"""``review export --certify``: answers show a cut, and its rows are published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spark_pseudolabel.columns import CODE, INVALID, SCORE
from spark_pseudolabel.output.deciding import certified_by_asking, deciding_of
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.status import read_status
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.store import RoundStore
from tests.output.review.builders import answer, command, sheet, table

Capsys = pytest.CaptureFixture[str]


def ask(capsys: Capsys, out: str, folder: Path, budget: int, precision: str = "0.8") -> list[str]:
    """Export; return the ids, empty where nothing more is asked."""
    told = command(
        capsys,
        *("export", out, "--to", str(folder), "--certify", precision, "--budget", str(budget)),
    )
    return sheet(folder)["id"].tolist() if told["settled"] is None else []


def scored(out: str) -> pd.DataFrame:
    """Read the last round's candidates."""
    store = RoundStore.open(LocalFiles(), out)
    rows = pd.concat(
        pd.read_parquet(Path(out) / entry.path, columns=["id", CODE, SCORE, INVALID])
        for entry in store.rounds[(store.final.best_round or 1) - 1].scored
    )
    return rows[rows[INVALID].isna()]


def test_sittings_end_with_a_published_cut(
    out: str, tmp_path: Path, capsys: Capsys, truth: dict[str, str]
) -> None:
    before = table(out, "labels")
    budget, asked = 200, []
    for sitting in range(20):
        folder = tmp_path / f"s{sitting}"
        ids = ask(capsys, out, folder, budget)
        if not ids:
            break
        if sitting == 0:  # the same until an answer comes
            assert ask(capsys, out, tmp_path / "again", budget) == ids
            shown = sheet(folder).columns.tolist()
            assert shown == ["order", "id", "strong", "feature:order", "job", "answer"]
        assert not set(ids) & set(asked)
        asked += ids
        answer(folder, truth.__getitem__)
        command(capsys, "import", out, "--answers", str(folder))
    assert len(asked) <= budget
    status = read_status(out)
    (certified,) = status.certified
    assert (certified.precision, certified.certainty) == (0.8, 0.95)
    assert certified.answers <= len(asked)
    candidates = scored(out)
    inside = candidates[candidates[SCORE] >= certified.cut]
    assert len(inside) == certified.rows
    after = table(out, "labels")
    assert after["id"].is_unique
    new = after[~after["id"].isin(before["id"])]
    assert status.review is not None
    assert 0 < len(new) <= status.review.published  # a later answer may take one back
    # Of the cut, but for rows that somebody has answered otherwise.
    named = np.array(["<yes>", "no"])[inside[CODE]]
    wrong = {row for row, label in zip(inside["id"], named, strict=True) if truth[row] != label}
    assert set(new["id"]) == set(inside["id"]) - (wrong & set(asked)) - set(before["id"])
    assert dict(zip(new["id"], new["label"], strict=True)) == {
        row: label for row, label in zip(inside["id"], named, strict=True) if row in set(new["id"])
    }
    assert set(new["id"]).isdisjoint(table(out, "undecided")["id"])
    told = explain_row(out, new["id"].iloc[0])
    assert (told.kind, told.label) == ("accepted", new["label"].iloc[0])
    assert "Answers have certified" in told.text
    page = Path(out, "report.html").read_text(encoding="utf-8")
    assert f"precision 0.8 with 95% certainty for {certified.rows} rows of round" in page
    store = RoundStore.open(LocalFiles(), out)
    decides = certified_by_asking(store)
    assert decides is not None
    assert decides[0] == certified.round
    assert {cut.confidence for cut in decides[1].cuts} == {certified.cut}
    later = deciding_of(store)
    assert later is not None
    assert (later.model, later.plan) == decides
    assert check_output(out, deep=True).ok


def test_a_revoked_row_is_not_published_again(
    out: str, tmp_path: Path, capsys: Capsys, truth: dict[str, str]
) -> None:
    folder = tmp_path / "s"
    command(capsys, "revoke", out, "--class", "no")
    ids = ask(capsys, out, folder, 400, "0.5")
    answer(folder, truth.__getitem__)
    told = command(capsys, "import", out, "--answers", str(folder))
    assert told["published"] > 0
    assert ids
    store = RoundStore.open(LocalFiles(), out)
    last = store.reviews[-1].published
    assert last is not None
    revoked = [
        pd.read_parquet(Path(out) / step.rows.path)["id"]
        for review in store.reviews
        for step in review.revoked
    ]
    assert set(pd.concat(revoked)).isdisjoint(table(out, "labels")["id"])


def test_what_surely_fails_is_settled_and_publishes_nothing(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    before = table(out, "labels")
    folder = tmp_path / "s"
    ask(capsys, out, folder, 300)
    answer(folder, lambda row: "?")
    told = command(capsys, "import", out, "--answers", str(folder))
    assert told["published"] == 0
    assert ask(capsys, out, tmp_path / "t", 300) == []
    assert read_status(out).certified == []
    assert len(table(out, "labels")) == len(before)
