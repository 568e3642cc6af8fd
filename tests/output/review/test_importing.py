"""``review import``: every answer is taken or told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from spark_pseudolabel.output.report import read_report
from spark_pseudolabel.output.review.answer_files import typed_keys
from spark_pseudolabel.output.status import read_status
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.report.text import render_text
from spark_pseudolabel.store.answers import all_answers
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.store import RoundStore
from tests.output.review.builders import answer, command, plain, sheet, table

Capsys = pytest.CaptureFixture[str]


def opened(out: str) -> RoundStore:
    return RoundStore.open(LocalFiles(), out)


def test_answers_come_back_in_any_parts_and_count_once(
    out: str, tmp_path: Path, capsys: Capsys, truth: dict[str, str]
) -> None:
    folder = tmp_path / "q"
    command(capsys, "export", out, "--to", str(folder), "--queue", "10")
    ids = sheet(folder)["id"].tolist()
    answer(folder, lambda row: truth[row] if row in ids[:4] else "")
    told = command(capsys, "import", out, "--answers", str(folder))
    assert (told["sets"][0]["new"], told["unanswered"], told["committed"]) == (4, 6, True)
    answer(folder, lambda row: truth[row] if row in ids[:8] else "?" if row == ids[8] else "")
    told = command(capsys, "import", out, "--answers", str(folder / "part-00000.csv"))
    assert (told["sets"][0]["new"], told["sets"][0]["answered"]) == (5, 9)
    assert told["skipped"] == {"n": 1, "examples": [ids[8]]}
    again = command(capsys, "import", out, "--answers", str(folder))
    assert (again["sets"][0]["new"], again["committed"]) == (0, False)
    assert len(opened(out).reviews) == 3
    (answered,) = all_answers(opened(out))
    assert answered.rows.num_rows == 9
    assert check_output(out, deep=True).ok


def test_what_is_no_answer_is_listed(
    out: str, tmp_path: Path, capsys: Capsys, reviewed_run: Path
) -> None:
    pool = table(out, "undecided")["id"].tolist()
    given = pd.read_parquet(reviewed_run / "labeled.parquet")["id"].tolist()
    rows = [
        (pool[0], "no"),
        (pool[0], "<yes>"),
        (pool[1], "maybe"),
        ("nobody", "no"),
        (given[0], "no"),
        (pool[2], "?"),
        (pool[3], ""),
        (pool[4], " no "),
    ]
    told = command(capsys, "import", out, "--answers", plain(tmp_path / "a.csv", rows))
    listed = ("conflicts", "unknown_classes", "unknown_ids", "given", "skipped")
    assert [told[name]["n"] for name in listed] == [1, 1, 1, 1, 1]
    assert told["unknown_classes"]["examples"] == [f"{pool[1]}: 'maybe'"]
    assert (told["unanswered"], told["sets"][0]["new"]) == (1, 2)


def test_a_later_answer_wins_and_is_told(out: str, tmp_path: Path, capsys: Capsys) -> None:
    row = table(out, "undecided")["id"][0]
    command(capsys, "import", out, "--answers", plain(tmp_path / "a.csv", [(row, "no")]))
    told = command(capsys, "import", out, "--answers", plain(tmp_path / "b.csv", [(row, "<yes>")]))
    assert told["changed"] == {"n": 1, "examples": [row]}
    (answered,) = all_answers(opened(out))
    assert answered.rows.column("spl_code").to_pylist() == [0]  # "<yes>" is before "no"


def test_answers_to_another_set_are_refused(out: str, tmp_path: Path, capsys: Capsys) -> None:
    folder = tmp_path / "q"
    command(capsys, "export", out, "--to", str(folder), "--queue", "3")
    answer(folder, lambda row: "no")
    said = json.loads((folder / "export.json").read_text())
    for changed, code in (({"set": "0" * 64}, "other_set"), ({"run_id": "x"}, "other_run")):
        (folder / "export.json").write_text(json.dumps(said | changed))
        told = command(capsys, "import", out, "--answers", str(folder), code=3)
        assert told["error"]["code"] == code
    assert len(opened(out).reviews) == 1


def test_an_answer_that_contradicts_a_label_takes_it_out(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    labels = table(out, "labels")
    wrong, right = labels.iloc[0], labels.iloc[1]
    other = {"no": "<yes>", "<yes>": "no"}[wrong["label"]]
    answers = plain(tmp_path / "a.csv", [(wrong["id"], other), (right["id"], right["label"])])
    told = command(capsys, "import", out, "--answers", answers)
    assert told["revoked"] == 1
    after = table(out, "labels")
    assert set(labels["id"]) - set(after["id"]) == {wrong["id"]}
    undecided = table(out, "undecided").set_index("id").loc[wrong["id"]]
    assert (undecided["reason"], undecided["label"]) == ("revoked", wrong["label"])
    assert check_output(out, deep=True).ok


def test_an_import_that_is_killed_before_its_commit_left_nothing_and_is_repeated(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    labels = table(out, "labels")
    other = {"no": "<yes>", "<yes>": "no"}
    wrong = [(row.id, other[row.label]) for row in labels[:3].itertuples()]
    answers = plain(tmp_path / "a.csv", wrong)
    call = [sys.executable, "-m", "spark_pseudolabel", "review", "import", out]
    for armed in ("review.files", "view.swap.aside:2"):
        env = os.environ | {"SPL_FAILPOINT": armed}
        done = subprocess.run([*call, "--answers", answers], env=env, capture_output=True)
        assert done.returncode == -9
        if armed == "review.files":
            assert opened(out).reviews == ()
            pd.testing.assert_frame_equal(table(out, "labels"), labels)
    # The second one was killed between the two renames that put a table in place.
    assert len(opened(out).reviews) == 1
    told = command(capsys, "import", out, "--answers", answers)
    assert told["committed"] is False
    assert len(table(out, "labels")) == len(labels) - 3
    assert check_output(out, deep=True).ok
    status = read_status(out)
    assert status.review is not None
    assert (status.review.revoked, status.review.labels) == (3, len(labels) - 3)


CHANGED = pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"annotations": None}, "annotations must hold objects"),
        ({"annotations": [1]}, "annotations must hold objects"),
        ({"annotations": [{"result": None}]}, "result must hold objects"),
        ({"annotations": [{"result": [{"from_name": "label", "value": None}]}]}, "value must hold"),
        (
            {"annotations": [{"result": [{"from_name": "label", "value": {"choices": "no"}}]}]},
            "choices must be a list",
        ),
        ({"annotations": [{}], "data": {"spl_set": [1]}}, "spl_set must be text"),
        ({"annotations": [{}], "data": {"spl_row_id": "\ud800"}}, "no Unicode text"),
    ],
)


@CHANGED
def test_tasks_that_were_changed_are_refused(
    out: str, tmp_path: Path, capsys: Capsys, task: dict[str, object], said: str
) -> None:
    file = tmp_path / "tasks.json"
    own = task.get("data", {})
    assert isinstance(own, dict)
    file.write_text(json.dumps([{**task, "data": {"spl_row_id": "100", **own}}]))
    refused = command(capsys, "import", out, "--answers", str(file), code=3)
    assert said in refused["error"]["message"]


def test_json_of_any_depth_is_no_export(out: str, tmp_path: Path, capsys: Capsys) -> None:
    for name in ("a.json", "export.json"):
        (tmp_path / name).write_text("[" * 100_000)
        (tmp_path / "a.csv").write_text("id,answer\n")
        file = tmp_path / ("a.csv" if name == "export.json" else name)
        refused = command(capsys, "import", out, "--answers", str(file), code=3)
        assert name in refused["error"]["message"]


def test_a_column_that_is_there_twice_is_named(out: str, tmp_path: Path, capsys: Capsys) -> None:
    for columns in ("id,id,answer", "id,answer,answer"):
        (tmp_path / "a.csv").write_text(f"{columns}\n1,2,no\n")
        refused = command(capsys, "import", out, "--answers", str(tmp_path / "a.csv"), code=3)
        assert "more than one column" in refused["error"]["message"]


def test_a_long_cell_is_read(out: str, tmp_path: Path, capsys: Capsys) -> None:
    row = table(out, "undecided")["id"][0]
    (tmp_path / "a.csv").write_text(f"id,text,answer\n{row},{'x' * 3_000_000},no\n")
    told = command(capsys, "import", out, "--answers", str(tmp_path / "a.csv"))
    assert told["sets"][0]["new"] == 1


def test_ids_of_all_64_bits_are_known() -> None:
    texts = ["9223372036854775807", "9223372036854775808", " 007", "1.0", "-9223372036854775808"]
    typed, fine = typed_keys(pa.schema([("id", pa.int64())]), pa.table({"id": texts}))
    assert fine.tolist() == [True, False, True, False, True]
    assert typed["id"].to_pylist() == [2**63 - 1, 0, 7, 0, -(2**63)]


def test_answers_that_differ_between_a_queue_and_a_file_are_told(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    folder = tmp_path / "q"
    command(capsys, "export", out, "--to", str(folder), "--queue", "4")
    ids = answer(folder, lambda row: "no")["id"].tolist()
    rows = [(ids[0], "<yes>"), (ids[1], "no"), (ids[2], "?")]
    own = plain(tmp_path / "own.csv", rows)
    told = command(capsys, "import", out, "--answers", str(folder), "--answers", own)
    assert told["differing"] == {"n": 1, "examples": [ids[0]]}
    assert sum(each["new"] for each in told["sets"]) == 7
    assert command(capsys, "import", out, "--answers", own)["differing"]["n"] == 0
    # One that comes later is compared with what was answered before.
    later = plain(tmp_path / "later.csv", [(ids[3], "<yes>")])
    assert command(capsys, "import", out, "--answers", later)["differing"]["examples"] == [ids[3]]


def test_annotators_of_one_task_are_merged_and_their_conflicts_listed(
    out: str, tmp_path: Path, capsys: Capsys
) -> None:
    ids = table(out, "undecided")["id"].tolist()
    said = [["no", "no"], ["no", "<yes>"], [None, "<yes>"], [None, None], ["<yes>"]]
    tasks = [
        {"data": {"spl_row_id": row}, "annotations": [annotation(each) for each in of_row]}
        for row, of_row in zip(ids, said, strict=False)
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    told = command(capsys, "import", out, "--answers", str(tmp_path / "tasks.json"))
    assert told["conflicts"] == {"n": 1, "examples": [ids[1]]}
    assert told["skipped"] == {"n": 1, "examples": [ids[3]]}
    (answered,) = all_answers(opened(out))
    rows, said_of = (answered.rows[name].to_pylist() for name in ("id", "spl_code"))
    codes = dict(zip(rows, said_of, strict=True))
    assert codes == {ids[0]: 1, ids[2]: 0, ids[3]: None, ids[4]: 0}


def annotation(said: str | None) -> dict[str, object]:
    """Return what Label Studio exports of one annotator; None: a task that was skipped."""
    if said is None:
        return {"was_cancelled": True, "result": []}
    return {"result": [{"from_name": "label", "value": {"choices": [said]}}]}


def test_next_exports_go_where_nothing_is_yet(out: str, tmp_path: Path, capsys: Capsys) -> None:
    folder = Path(f"{out}-review")
    command(capsys, "export", out, "--to", str(folder), "--audit", "5")
    labels = table(out, "labels").set_index("id")["label"]
    answer(folder, labels.__getitem__)
    told = command(capsys, "import", out, "--answers", str(folder))
    (audit,) = (text for text in told["next"] if "--audit" in text)
    target = audit.rpartition("--to ")[2]
    assert target == f"{out}-review-3"
    assert not Path(target).exists()
    assert "out-review-3" in render_text(read_report(out))
