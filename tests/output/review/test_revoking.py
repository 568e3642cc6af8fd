"""``review revoke``: published tables follow a commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.output.report import read_report
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.report.text import render_text
from tests.output.review.builders import command, table

Capsys = pytest.CaptureFixture[str]


def test_a_round_that_is_revoked_takes_exactly_its_rows_out(out: str, capsys: Capsys) -> None:
    labels, training, undecided = (table(out, n) for n in ("labels", "training", "undecided"))
    bad = labels[labels["round"] == 2]
    assert 0 < len(bad) < len(labels)
    told = command(capsys, "revoke", out, "--round", "2")
    assert (told["revoked"], told["labels"]) == (len(bad), len(labels) - len(bad))
    assert told["trained_on"] == (bad["weight"] > 0).sum()
    assert set(table(out, "labels")["id"]) == set(labels["id"]) - set(bad["id"])
    assert set(table(out, "training")["id"]) == set(training["id"]) - set(bad["id"])
    after = table(out, "undecided")
    assert len(after) == len(undecided) + len(bad)
    assert set(after.loc[after["reason"] == "revoked", "id"]) == set(bad["id"])
    assert check_output(out, deep=True).ok
    again = command(capsys, "revoke", out, "--round", "2")
    assert (again["revoked"], again["labels"]) == (0, told["labels"])


def test_classes_and_ids_are_revoked_and_what_is_unknown_is_listed(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    labels = table(out, "labels")
    of_class = labels[labels["label"] == "<yes>"]
    left = labels[labels["label"] == "no"]["id"].tolist()
    assert command(capsys, "revoke", out, "--class", "<yes>")["revoked"] == len(of_class)
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join([*left[:2], of_class["id"].iloc[0], "nobody"]) + "\n")
    told = command(capsys, "revoke", out, "--ids", str(ids))
    assert (told["revoked"], told["before"]) == (2, 1)
    assert told["unknown"] == {"n": 1, "examples": ["nobody"]}
    assert table(out, "labels")["id"].tolist() == left[2:]
    report = read_report(out)
    assert report.review is not None
    assert [step.by for step in report.review.steps] == ["class", "ids"]
    assert "revoked, class <yes>" in render_text(report)


@pytest.mark.parametrize("options", [["--round", "7"], ["--class", "maybe"], ["--ids", "none"]])
def test_what_the_run_does_not_have_is_refused(
    out: str, capsys: Capsys, options: list[str]
) -> None:
    command(capsys, "revoke", out, *options, code=3)


def test_one_thing_is_revoked_at_a_time(out: str, capsys: Capsys) -> None:
    command(capsys, "revoke", out, "--round", "1", "--class", "no", code=2)
