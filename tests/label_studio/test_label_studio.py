"""Exported tasks against Label Studio's own code; ``scripts/label_studio`` has its environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import run
from tests.output.review.builders import command

PYTHON = os.environ.get("SPL_LABEL_STUDIO_PYTHON")
pytestmark = pytest.mark.skipif(PYTHON is None, reason="needs scripts/label_studio")


@pytest.mark.parametrize("labels", [["a<b", 'c & "d"'], [1, 2], [False, True]])
def test_tasks_go_through_its_validator_and_converter(
    spark: object, tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[object]
) -> None:
    import numpy as np
    import pandas as pd

    chance = np.random.default_rng(0)
    rows = pd.DataFrame({"id": range(300), "label": chance.normal(size=300)})
    rows["text"] = chance.choice(["<script>", "ünïcode", "plain"], 300)
    rows["y"] = [labels[int(x > 0)] for x in rows["label"] + 0.5 * chance.normal(size=300)]
    rows[:60].to_parquet(tmp_path / "labeled.parquet", index=False)
    (tmp_path / "pool").mkdir()
    rows[60:].drop(columns="y").to_parquet(tmp_path / "pool" / "0.parquet", index=False)
    out, tasks = str(tmp_path / "out"), tmp_path / "tasks"
    config = {
        "labeled": {"path": str(tmp_path / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(tmp_path / "pool")},
        "id": "id",
        "model": {"estimator": "LogisticRegression"},
        "selection": {"policy": "threshold", "threshold": 0.9},
        "rounds": {"max": 1},
        "output": {"path": out},
    }
    run(spark, parse_config(config))  # type: ignore[arg-type]
    call = ["export", out, "--to", str(tasks), "--queue", "50", "--format", "labelstudio"]
    command(capsys, *call)
    annotated = tmp_path / "project.json"
    check = [str(Path(__file__).with_name("check.py")), str(tasks / "part-00000.json")]
    assert PYTHON is not None
    done = subprocess.run(
        [PYTHON, *check, str(tasks / "label_config.xml"), str(annotated)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = command(capsys, "import", out, "--answers", str(annotated))
    assert told["sets"][0]["new"] == 50
    assert told["unknown_classes"]["n"] == told["unknown_ids"]["n"] == 0
