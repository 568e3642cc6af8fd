"""Label Studio's own validator and converter on exported tasks; runs in an environment of its own.

    python check.py TASKS.json label_config.xml ANNOTATED.json

Validates every task and prediction, answers each task as an annotator who agrees with what is
suggested, writes that as the tool's full JSON export, and converts it as the tool would.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def main(tasks_file: str, config_file: str, annotated_file: str) -> None:
    """Check tasks, and write them annotated; AssertionError where anything is refused."""
    # Here and not above: pytest imports every file, and is in another environment.
    from label_studio_sdk.label_interface import LabelInterface

    config = Path(config_file).read_text(encoding="utf-8")
    tasks = json.loads(Path(tasks_file).read_text(encoding="utf-8"))
    interface = LabelInterface(config)
    interface.validate()
    for task in tasks:
        # Its data alone: of the rest the validator of 2.1 forgets what it is to look at.
        assert interface.validate_task({"data": task["data"]}), task
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction), prediction
    exported = [_annotated(task, number) for number, task in enumerate(tasks, 1)]
    Path(annotated_file).write_text(json.dumps(exported), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        rows = _converted(config, annotated_file, Path(folder))
    assert len(rows) == len(tasks)
    suggested = {task["data"]["spl_row_id"]: task["data"]["spl_label"] for task in tasks}
    assert {row["spl_row_id"]: row["label"] for row in rows} == suggested


def _annotated(task: dict[str, Any], number: int) -> dict[str, Any]:
    result = [dict(each, origin="prediction") for each in task["predictions"][0]["result"]]
    annotation = {
        "id": number,
        "completed_by": 1,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "lead_time": 1.0,
    }
    return {"id": number, **task, "annotations": [annotation]}


def _converted(config: str, annotated: str, folder: Path) -> list[dict[str, str]]:
    from label_studio_sdk.converter import Converter

    converter = Converter(config, str(folder), download_resources=False)
    converter.convert_to_csv(annotated, str(folder), is_dir=False, sep=",", header=True)
    (converted,) = folder.glob("*.csv")
    with converted.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(*sys.argv[1:])
