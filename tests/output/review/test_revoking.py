"""``review revoke``: published tables follow a commit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.cli import main
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import run
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.gc import collect_garbage
from spark_pseudolabel.output.report import read_report
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.report.text import render_text
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.store import RoundStore
from tests.output.review.builders import command, plain, table
from tests.store.builders import commit_path

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


def test_a_run_that_goes_on_neither_labels_nor_learns_from_what_was_revoked(
    spark: SparkSession, reviewed_run: Path, out: str, capsys: Capsys
) -> None:
    before = table(out, "labels")
    revoked = set(before.loc[before["label"] == "no", "id"])
    told = command(capsys, "revoke", out, "--class", "no")
    document = json.loads((reviewed_run / "config.json").read_text())
    config = {**document, "rounds": {"max": 3}, "output": {"path": out}}
    report = run(spark, parse_config(config)).report
    assert report.n_iter == 3
    after = table(out, "labels")
    assert not revoked & set(after["id"])
    assert set(before["id"]) - revoked <= set(after["id"])
    assert not revoked & set(table(out, "training").query("source == 'pseudo'")["id"])
    model = RoundStore.open(LocalFiles(), out).models[-1]
    assert model.training.rows_pseudo == len(after)
    assert report.review is not None
    assert report.review.labels == len(after)
    assert told["trained_on"] > 0
    assert report.review.trained_on_revoked == 0
    assert check_output(out, deep=True).problems == []


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
    page = Path(out, "report.html").read_text()
    assert "revoked, class &lt;yes&gt;" in page


def test_explain_tells_answers_and_labels_taken_back(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    labels = table(out, "labels")
    row, left = labels.iloc[0], labels.iloc[1]
    before = explain_row(out, row["id"])
    other = {"no": "<yes>", "<yes>": "no"}[row["label"]]
    answers = plain(tmp_path / "a.csv", [(row["id"], other), (left["id"], left["label"])])
    command(capsys, "import", out, "--answers", answers)
    told = explain_row(out, row["id"])
    assert (before.kind, told.kind, told.label) == ("accepted", "revoked", None)
    assert f"A person answered {other!r}." in told.text
    assert "was taken back since a person named another class" in told.text
    assert f"{row['id']} had the label" in told.text
    stays = explain_row(out, left["id"])
    assert (stays.kind, stays.label) == ("accepted", left["label"])
    assert "A person answered" in stays.text


def test_labels_as_csv_are_those_that_stand(out: str, tmp_path: Path, capsys: Capsys) -> None:
    command(capsys, "revoke", out, "--round", "2")
    file = tmp_path / "labels.csv"
    assert main(["labels", out, "--csv", str(file)]) == 0
    written = pd.read_csv(file, dtype={"id": str}).sort_values("id", ignore_index=True)
    assert list(written) == list(pd.read_parquet(f"{out}/labels"))
    pd.testing.assert_frame_equal(written, table(out, "labels"), check_dtype=False)


def test_gc_keeps_what_reviews_name(out: str, tmp_path: Path, capsys: Capsys) -> None:
    command(capsys, "export", out, "--to", str(tmp_path / "q"), "--queue", "5")
    command(capsys, "revoke", out, "--round", "2")
    collect_garbage(out, delete=True, older_than_s=0.0)
    assert check_output(out, deep=True).ok
    assert len(RoundStore.open(LocalFiles(), out).reviews) == 2


def test_a_changed_commit_is_found(out: str, capsys: Capsys) -> None:
    command(capsys, "revoke", out, "--round", "2")
    command(capsys, "revoke", out, "--class", "no")
    store = RoundStore.open(LocalFiles(), out)
    first = commit_path(store, "review-0001.json")
    first.write_bytes(first.read_bytes().replace(b'"trained_on":', b'"trained_on": '))
    assert not check_output(out).ok
    first.unlink()
    assert "is missing" in check_output(out).problems[0].problem


@pytest.mark.parametrize("options", [["--round", "7"], ["--class", "maybe"], ["--ids", "none"]])
def test_what_the_run_does_not_have_is_refused(
    out: str, capsys: Capsys, options: list[str]
) -> None:
    command(capsys, "revoke", out, *options, code=3)


def test_one_thing_is_revoked_at_a_time(out: str, capsys: Capsys) -> None:
    command(capsys, "revoke", out, "--round", "1", "--class", "no", code=2)


def test_ids_that_are_numbers_are_found(
    spark: SparkSession, tmp_path: Path, capsys: Capsys
) -> None:
    rows = pd.DataFrame({"id": range(2**62, 2**62 + 80), "x": [-1.0, 1.0] * 40})
    rows[:20].assign(y=["no", "yes"] * 10).to_parquet(tmp_path / "labeled.parquet", index=False)
    rows[20:].to_parquet(tmp_path / "pool.parquet", index=False)
    out = str(tmp_path / "out")
    config = {
        "mode": "sklearn",
        "labeled": {"path": str(tmp_path / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(tmp_path / "pool.parquet")},
        "id": "id",
        "model": {"estimator": "LogisticRegression"},
        "rounds": {"max": 1},
        "output": {"path": out},
    }
    run(spark, parse_config(config))
    before = table(out, "labels")["id"].tolist()
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{before[0]}\n {before[1]}\n7\nx\n")
    told = command(capsys, "revoke", out, "--ids", str(ids))
    assert (told["revoked"], told["unknown"]["n"]) == (2, 2)
    assert table(out, "labels")["id"].tolist() == before[2:]
    again = command(capsys, "revoke", out, "--ids", str(ids))
    assert (again["revoked"], again["before"]) == (0, 2)


LOST = pytest.mark.parametrize("lost", ["labels", "labels/part*", "undecided"])


@LOST
def test_nothing_is_said_of_tables_that_lack_rows(
    out: str, tmp_path: Path, capsys: Capsys, lost: str
) -> None:
    row = table(out, "labels").iloc[0]
    answers = plain(tmp_path / "a.csv", [(row["id"], {"no": "<yes>", "<yes>": "no"}[row["label"]])])
    for path in Path(out).glob(lost):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for asked in (
        ["revoke", out, "--class", "no"],
        ["import", out, "--answers", answers],
        ["export", out, "--audit", "5", "--to", str(tmp_path / "asked")],
        ["export", out, "--queue", "5", "--to", str(tmp_path / "asked")],
    ):
        told = command(capsys, *asked, code=5)
        assert told["error"]["code"] == "table_not_whole"
        assert "Run the same configuration again" in told["error"]["message"]
    assert RoundStore.open(LocalFiles(), out).reviews == ()
    assert not (tmp_path / "asked").exists()
    code = main(["labels", out, "--csv", str(tmp_path / "labels.csv")])
    assert code == (5 if lost.startswith("labels") else 0)


def test_files_of_ids_are_named_as_the_option_that_gave_them(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    for name, text in (("twice", "id,id\n1,1\n"), ("broken", 'id,a\n"1,2\n')):
        (tmp_path / name).write_text(text)
        told = command(capsys, "revoke", out, "--ids", str(tmp_path / name), code=3)
        assert told["error"]["message"].startswith("--ids must be a text file")
        assert told["error"]["code"] == "bad_ids"
    (tmp_path / "long").write_text("x" * 5000)
    told = command(capsys, "revoke", out, "--ids", str(tmp_path / "long"))
    assert told["unknown"]["examples"] == ["x" * 57 + "..."]
