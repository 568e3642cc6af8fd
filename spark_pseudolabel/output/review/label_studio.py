"""Tasks for Label Studio, and the answers of its full JSON export.

Features stand in `row`, apart from what is ours, since the tool's other exports overwrite fields of
the names that they use themselves. Its labels are strings: `class_names` leads back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from spark_pseudolabel.columns import CONFIDENCE, LABEL, REASON
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.review.sheets import Sheet, plain

CONTROL, ROW = "label", "row"
ROW_ID, ORDER, SET, RUN = "spl_row_id", "spl_order", "spl_set", "spl_run_id"
CONFIG_FILE = "label_config.xml"
_SCORE_DECIMALS = 6


@dataclass(frozen=True)
class LabelStudioSheets:
    """Tasks as Label Studio imports them.

    Parameters
    ----------
    run_id, set
        Of the rows.
    model
        ``model_version`` of predictions: one for all files, which is what the tool sorts by.
    """

    run_id: str
    set: str
    model: str
    suffix = "json"

    def write(self, path: Path, sheet: Sheet) -> None:
        """Write one part."""
        with path.open("w", encoding="utf-8") as file:
            for place, task in enumerate(self.tasks(sheet)):
                file.write(",\n" if place else "[\n")
                # Not by `dump`, which is Python all through and takes several times as long.
                file.write(json.dumps(task, ensure_ascii=False))
            file.write("\n]\n" if sheet.orders else "[]\n")

    def tasks(self, sheet: Sheet) -> Iterator[Mapping[str, Any]]:
        """Yield the tasks of a part."""
        keys, features = sheet.keys.to_pylist(), sheet.features.to_pylist()
        predictions = sheet.predictions.to_pylist()
        for place, order in enumerate(sheet.orders):
            row = {k: plain(v) for k, v in features[place].items()} if features else {}
            said = predictions[place] if predictions else {}
            row_id = id_text(tuple(keys[place].values()))
            data: dict[str, Any] = {
                ROW_ID: row_id,
                ORDER: order,
                RUN: self.run_id,
                SET: self.set,
                ROW: row or {"id": row_id},
            }
            task: dict[str, Any] = {"data": data}
            if said:
                label = said[LABEL]
                data |= {
                    "spl_reason": said[REASON],
                    "spl_label": "" if label is None else label,
                    "spl_confidence": _score(said[CONFIDENCE]),
                }
                if label is not None:
                    task["predictions"] = [self._prediction(order, label, said[CONFIDENCE])]
            yield task

    def _prediction(self, order: int, label: str, confidence: float | None) -> Mapping[str, Any]:
        return {
            "model_version": self.model,
            "score": _score(confidence),
            "result": [
                {
                    "id": f"r{order}",
                    "from_name": CONTROL,
                    "to_name": ROW,
                    "type": "choices",
                    "value": {"choices": [label]},
                }
            ],
        }


def _score(confidence: float | None) -> float:
    return 0.0 if confidence is None else round(min(max(confidence, 0.0), 1.0), _SCORE_DECIMALS)


def id_text(key: Sequence[object]) -> str:
    """Return a key as one text: ``file:row_index`` where there is no id column."""
    return ":".join(str(part) for part in key)


def label_config(class_names: Sequence[str], *, predicts: bool) -> str:
    """Return the labeling configuration of a project for these tasks."""
    header = '<Header value="suggested: $spl_label ($spl_confidence)"/>' if predicts else ""
    choices = "\n".join(f"  <Choice value={quoteattr(name)}/>" for name in class_names)
    return (
        f'<View>{header}<Table name="{ROW}" value="${ROW}"/>\n'
        f'<Choices name="{CONTROL}" toName="{ROW}" choice="single" required="true">\n'
        f"{choices}\n</Choices></View>\n"
    )


@dataclass(frozen=True)
class TaskAnswer:
    """What one annotator said of a task.

    Parameters
    ----------
    row_id
        The row, as text.
    set, run_id
        Which rows it belongs to; None where the task does not say.
    answer
        The class as text; ``"?"`` where the annotator skipped the task; None: nothing was chosen.
    """

    row_id: str
    set: str | None
    run_id: str | None
    answer: str | None


def read_tasks(path: Path) -> Iterator[TaskAnswer]:
    """Yield the answers of a full JSON export, one for each annotation.

    Raises
    ------
    InputError
        If it is another file, such as a JSON_MIN export, which loses what identifies a row.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        raise _no_export(path, f"can't be read: {error}") from error
    if not isinstance(tasks, list):
        raise _no_export(path, "holds no list of tasks")
    for number, task in enumerate(tasks, 1):
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict) or ROW_ID not in data:
            raise _no_export(path, f"holds a task without data.{ROW_ID}")
        if "annotations" not in task:
            continue  # a task as it was exported, which nobody has answered
        try:
            for annotation in _objects(task["annotations"], "annotations"):
                yield TaskAnswer(
                    row_id=_text(str(data[ROW_ID]), ROW_ID),
                    set=_optional_text(data.get(SET), SET),
                    run_id=_optional_text(data.get(RUN), RUN),
                    answer=_answer(annotation),
                )
        except _NotAsWrittenError as error:
            raise _no_export(path, f"has been changed: in task {number}, {error}") from error


class _NotAsWrittenError(Exception):
    """A value is not what Label Studio writes there."""


def _answer(annotation: Mapping[str, Any]) -> str | None:
    if annotation.get("was_cancelled"):
        return "?"
    for result in _objects(annotation.get("result", []), "result"):
        if result.get("from_name") == CONTROL:
            (value,) = _objects([result.get("value", {})], "value")
            choices = value.get("choices", [])
            if not isinstance(choices, list):
                raise _NotAsWrittenError("choices must be a list")
            # Two ticks where one was asked for: no class of ours, which is told.
            return " + ".join(_text(choice, "choices") for choice in choices) or None
    return None


def _objects(value: object, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _NotAsWrittenError(f"{name} must hold objects")
    return value


def _optional_text(value: object, name: str) -> str | None:
    return None if value is None else _text(value, name)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _NotAsWrittenError(f"{name} must be text")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # half of a pair, which JSON can name
        raise _NotAsWrittenError(f"{name} is no Unicode text") from error
    return value


def _no_export(path: Path, what: str) -> InputError:
    return InputError(
        f"--answers must be CSV, or Label Studio's export in the format JSON (not JSON_MIN, which "
        f"loses what identifies a row). {path} {what}.",
        code="bad_answers",
        where=str(path),
    )
