"""``review import``: every answer is taken or told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from spark_pseudolabel.output.status import read_status
from spark_pseudolabel.output.verify import check_output
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
