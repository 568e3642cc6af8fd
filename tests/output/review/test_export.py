"""``review export``: rows for people, the same until somebody answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.store import RoundStore
from tests.output.review.builders import answer, command, plain, sheet, table

Capsys = pytest.CaptureFixture[str]


def test_a_queue_shows_what_is_known_and_what_the_model_says(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    told = command(capsys, "export", out, "--to", str(tmp_path / "q"), "--queue", "20")
    assert (told["kind"], told["number"], told["rows"], told["files"]) == ("queue", 1, 20, 1)
    rows = sheet(tmp_path / "q")
    # A column of the pool that is called like one of ours has another name.
    own = ["order", "id", "strong", "feature:order", "job"]
    assert list(rows) == [*own, "label", "confidence", "reason", "answer"]
    assert rows["order"].tolist() == [str(i) for i in range(1, 21)]
    assert set(rows["answer"]) == {""}
    assert set(rows["label"]) == {"<yes>", "no"}
    undecided = table(out, "undecided").set_index("id")
    assert rows["label"].tolist() == undecided.loc[rows["id"], "label"].tolist()
    said = json.loads((tmp_path / "q" / "export.json").read_text())
    assert (said["kind"], said["rows"], said["set"]) == ("queue", 20, told["set"])
    assert said["columns"] == ["id"]


def test_a_queue_asks_once_about_copies(out: str, tmp_path: Path, capsys: Capsys) -> None:
    command(capsys, "export", out, "--to", str(tmp_path / "q"), "--queue", "30")
    rows = sheet(tmp_path / "q")
    assert (rows["strong"] == "0.01").sum() == 1


def test_the_same_call_gives_the_same_rows_until_an_answer(
    out: str, tmp_path: Path, capsys: Capsys, truth: dict[str, str]
) -> None:
    files = []
    for name in ("a", "b"):
        command(capsys, "export", out, "--to", str(tmp_path / name), "--queue", "12")
        files.append((tmp_path / name / "part-00000.csv").read_bytes())
    assert files[0] == files[1]
    assert len(RoundStore.open(LocalFiles(), out).reviews) == 1
    answered = answer(tmp_path / "a", truth.__getitem__)
    command(capsys, "import", out, "--answers", str(tmp_path / "a"))
    command(capsys, "export", out, "--to", str(tmp_path / "c"), "--queue", "12")
    assert not set(sheet(tmp_path / "c")["id"]) & set(answered["id"])


def test_a_directory_with_answers_is_never_written_to(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    folder = tmp_path / "q"
    command(capsys, "export", out, "--to", str(folder), "--queue", "5")
    before = (folder / "part-00000.csv").read_bytes()
    told = command(capsys, "export", out, "--to", str(folder), "--queue", "5", code=3)
    assert told["error"]["code"] == "output_not_empty"
    assert (folder / "part-00000.csv").read_bytes() == before


def test_features_that_cannot_be_read_are_told_with_a_way_on(
    out: str, tmp_path: Path, capsys: Capsys, reviewed_run: Path
) -> None:
    pool, aside = reviewed_run / "pool", reviewed_run / "elsewhere"
    pool.rename(aside)
    try:
        told = command(capsys, "export", out, "--to", str(tmp_path / "q"), "--queue", "5", code=3)
        assert "--no-features" in told["error"]["message"]
        assert not (tmp_path / "q").exists()
        assert RoundStore.open(LocalFiles(), out).reviews == ()
        ids = ["export", out, "--to", str(tmp_path / "q"), "--queue", "5", "--no-features"]
        command(capsys, *ids)
        assert list(sheet(tmp_path / "q"))[:3] == ["order", "id", "label"]
    finally:
        aside.rename(pool)


@pytest.mark.parametrize("options", [[], ["--queue", "5", "--audit", "5"], ["--certify", "0.9"]])
def test_one_kind_is_asked_for(
    out: str, tmp_path: Path, capsys: Capsys, options: list[str]
) -> None:
    command(capsys, "export", out, "--to", str(tmp_path / "q"), *options, code=2)


def test_label_studio_gets_strings_and_one_model_version(
    out: str, tmp_path: Path, capsys: Capsys, truth: dict[str, str]
) -> None:
    folder = tmp_path / "tasks"
    call = ["export", out, "--to", str(folder), "--queue", "8", "--format", "labelstudio"]
    command(capsys, *call)
    tasks = json.loads((folder / "part-00000.json").read_text())
    assert len(tasks) == 8
    assert {task["predictions"][0]["model_version"] for task in tasks} == {"out/model-0003"}
    for task in tasks:
        data, (prediction,) = task["data"], task["predictions"]
        assert data["spl_row_id"] in truth
        assert set(data["row"]) == {"strong", "order", "job"}
        assert isinstance(data["row"]["strong"], float)
        (result,) = prediction["result"]
        assert (result["from_name"], result["to_name"], result["type"]) == (
            "label",
            "row",
            "choices",
        )
        assert result["value"]["choices"] == [data["spl_label"]]
        assert prediction["score"] == data["spl_confidence"]
    config = (folder / "label_config.xml").read_text()
    assert '<Choice value="&lt;yes&gt;"/>' in config

    # As Label Studio exports them: two people agree, one skips, two contradict each other.
    def said(*answers: str | None) -> list[dict[str, object]]:
        return [
            {"was_cancelled": True, "result": []}
            if each is None
            else {
                "was_cancelled": False,
                "result": [{"from_name": "label", "value": {"choices": [each]}}],
            }
            for each in answers
        ]

    tasks[0]["annotations"] = said("no", "no")
    tasks[1]["annotations"] = said(None)
    tasks[2]["annotations"] = said("<yes>", "no")
    tasks[3]["annotations"] = said("maybe")
    exported = tmp_path / "project.json"
    exported.write_text(json.dumps(tasks))
    told = command(capsys, "import", out, "--answers", str(exported))
    (imported,) = told["sets"]
    assert (imported["kind"], imported["answered"], imported["new"]) == ("queue", 2, 2)
    assert told["skipped"] == {"n": 1, "examples": [tasks[1]["data"]["spl_row_id"]]}
    assert told["conflicts"]["examples"] == [tasks[2]["data"]["spl_row_id"]]
    assert told["unknown_classes"]["n"] == 1
    # Its other format loses what identifies a row.
    short = [{"id": 1, "label": "no"}]
    exported.write_text(json.dumps(short))
    told = command(capsys, "import", out, "--answers", str(exported), code=3)
    assert "JSON_MIN" in told["error"]["message"]


def test_nothing_left_to_ask_is_told(out: str, tmp_path: Path, capsys: Capsys) -> None:
    undecided = table(out, "undecided")
    answers = plain(tmp_path / "all.csv", [(row, "no") for row in undecided["id"]])
    command(capsys, "import", out, "--answers", answers)
    told = command(capsys, "export", out, "--to", str(tmp_path / "q"), "--queue", "5", code=3)
    assert told["error"]["code"] == "nothing_to_ask"


def test_a_target_that_cannot_be_made_is_refused(out: str, tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "file").write_text("")
    for to in (tmp_path / "file" / "below", tmp_path / ("a" * 300)):
        told = command(capsys, "export", out, "--queue", "5", "--to", str(to), code=3)
        assert told["error"]["code"] == "unwritable"
    assert check_output(out, deep=True).ok
