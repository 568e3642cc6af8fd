"""``review export --audit``: published labels at random, and what answers say of all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from spark_pseudolabel.core.trust.audit import Asked, Prior, bounds, level_of
from spark_pseudolabel.output.report import read_report
from spark_pseudolabel.output.status import read_status
from spark_pseudolabel.output.verify import check_output
from tests.output.review.builders import answer, command, sheet, table

Capsys = pytest.CaptureFixture[str]


def export(capsys: Capsys, out: str, folder: Path, n: int, *more: str) -> list[str]:
    command(capsys, "export", out, "--to", str(folder), "--audit", str(n), *more)
    return sheet(folder)["id"].tolist()


def test_rows_are_the_same_and_more_of_them_begin_alike(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    ids = export(capsys, out, tmp_path / "a", 20)
    assert export(capsys, out, tmp_path / "b", 20) == ids
    more = export(capsys, out, tmp_path / "c", 40)
    assert more[:20] == ids
    assert len(set(more)) == 40
    labels = table(out, "labels")["id"].tolist()
    assert set(more) <= set(labels)
    assert more != sorted(more)
    assert export(capsys, out, tmp_path / "d", 10) == ids[:10]
    shown = sheet(tmp_path / "a").columns.tolist()
    assert shown == ["order", "id", "strong", "feature:order", "job", "answer"]
    assert [audit.asked for audit in read_status(out).audits] == [40]


def test_bounds_are_those_of_the_answers_so_far(
    out: str, tmp_path: Path, capsys: Capsys, truth: dict[str, str]
) -> None:
    labels = table(out, "labels").set_index("id")["label"]
    folder = tmp_path / "a"
    ids = export(capsys, out, folder, 30)
    # One wrong on purpose, one skipped; the last ten wait for the twentieth.
    other = {"no": "<yes>", "<yes>": "no"}
    said = {row: labels[row] for row in ids}
    said |= {ids[3]: other[labels[ids[3]]], ids[5]: "?", ids[19]: ""}
    answer(folder, said.__getitem__)
    told = command(capsys, "import", out, "--answers", str(folder))
    assert "19 answered, 2 wrong" in told["sets"][0]["conclusion"][0]
    expected = bounds(Asked(len(labels), 19, 2), level_of(1), Prior())
    (audit,) = read_status(out).audits
    assert (audit.round, audit.rows, audit.answers, audit.wrong) == (1, len(labels), 19, 2)
    assert (audit.lower, audit.upper) == (expected.lower, expected.upper)
    assert (audit.waiting, audit.settled, audit.holds) == (10, False, True)
    # The contradicted label is gone from labels/, and still one of those that are judged.
    assert told["revoked"] == 1
    assert ids[3] not in set(table(out, "labels")["id"])
    again = export(capsys, out, tmp_path / "b", 40)
    assert again[:11] == ids[19:]
    assert sheet(tmp_path / "b")["order"].tolist()[0] == "20"
    report = json.loads(Path(out, "report.json").read_text(encoding="utf-8"))
    assert report["audits"][0] == audit.as_json() | {"asked": 40}
    assert [each.as_json() for each in read_report(out).audits] == report["audits"]
    assert check_output(out, deep=True).ok


def test_all_labels_answered_are_known(
    out: str, tmp_path: Path, capsys: Capsys, truth: dict[str, str]
) -> None:
    labels = table(out, "labels").set_index("id")["label"]
    folder = tmp_path / "a"
    ids = export(capsys, out, folder, 10_000)
    assert sorted(ids) == sorted(labels.index)
    answer(folder, truth.__getitem__)
    wrong = int((labels != pd.Series(truth)[labels.index]).sum())
    told = command(capsys, "import", out, "--answers", str(folder))
    (audit,) = read_status(out).audits
    assert (audit.lower, audit.upper, audit.wrong) == (wrong, wrong, wrong)
    assert audit.settled
    assert (audit.shown is False) == any("review revoke" in text for text in told["next"])
    again = command(capsys, "export", out, "--to", str(tmp_path / "b"), "--audit", "10000")
    assert again["settled"] is not None


def test_another_set_of_labels_is_another_audit(out: str, tmp_path: Path, capsys: Capsys) -> None:
    ids = export(capsys, out, tmp_path / "a", 10)
    command(capsys, "revoke", out, "--class", "no")
    (audit,) = read_status(out).audits
    assert not audit.holds
    after = export(capsys, out, tmp_path / "b", 10)
    first, second = read_status(out).audits
    assert (first.round, second.round, second.holds) == (1, 2, True)
    assert second.rows < first.rows
    assert after != ids


def test_each_class_is_judged_by_itself(out: str, tmp_path: Path, capsys: Capsys) -> None:
    labels = table(out, "labels").set_index("id")["label"]
    folder = tmp_path / "a"
    ids = export(capsys, out, folder, 20, "--per", "class")
    assert labels[ids].value_counts().to_dict() == {"no": 10, "<yes>": 10}
    assert export(capsys, out, tmp_path / "b", 30, "--per", "class")[:20] == ids
    answer(folder, lambda row: "no")
    told = command(capsys, "import", out, "--answers", str(folder))
    (audit,) = read_status(out).audits
    by_class = {str(of.label): of for of in audit.by_class}
    assert (by_class["no"].wrong, by_class["<yes>"].wrong) == (0, 10)
    n = int((labels == "<yes>").sum())
    expected = bounds(Asked(n, 10, 10), level_of(1) / 2, Prior())
    assert (by_class["<yes>"].lower, by_class["<yes>"].upper) == (expected.lower, expected.upper)
    assert by_class["<yes>"].shown is False
    assert any("review revoke" in text and "'<yes>'" in text for text in told["next"])
