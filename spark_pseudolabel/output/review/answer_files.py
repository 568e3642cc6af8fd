"""Files with answers: CSV of several shapes, and Label Studio's full JSON export."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray
from pydantic import ValidationError

from spark_pseudolabel.columns import LABEL
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.review.finished import FinishedRun
from spark_pseudolabel.output.review.label_studio import id_text, read_tasks
from spark_pseudolabel.output.review.sheets import ANSWER, FEATURE, unguarded
from spark_pseudolabel.report.document import ExportFile
from spark_pseudolabel.wording import shortened

EXPORT_FILE = "export.json"
SKIP = "?"
ANSWERS, IDS = "--answers", "--ids"
_FORMS = {
    ANSWERS: (
        "a CSV file, Label Studio's export in the format JSON, or a directory of these",
        "bad_answers",
    ),
    IDS: (
        "a text file with one id in each line, or a CSV file with the columns of the id",
        "bad_ids",
    ),
}
"""Files that people give: what they must be, and the code of the error where one is not."""
_SEPARATORS = (",", ";", "\t")
_LONGEST_HEADER = 1_000_000
_SMALLEST_BLOCK, _LARGEST_BLOCK = 2**20, 2**28
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_KINDS = (".csv", ".tsv", ".txt", ".json")


@dataclass(frozen=True)
class GivenAnswers:
    """The rows of one file.

    Parameters
    ----------
    file
        Its path.
    set
        The exported set that it names, or that the file beside it does; None: none.
    keys
        Key columns, as text.
    answers
        Text of each row; null or empty: not answered.
    """

    file: str
    set: str | None
    keys: pa.Table
    answers: pa.Array


def read_answer_files(run: FinishedRun, paths: Sequence[str]) -> list[GivenAnswers]:
    """Read files, and all files of directories.

    Raises
    ------
    InputError
        If one can't be read, or belongs to another output.
    """
    return [given for path in paths for file in _files_at(path) for given in _read(run, file)]


def _files_at(path: str) -> list[Path]:
    place = Path(path)
    if not place.is_dir():
        if not place.is_file():
            raise unreadable(place, "does not exist")
        return [place]
    named = [each for each in sorted(place.iterdir()) if each.suffix.lower() in _KINDS]
    files = [each for each in named if each.name != EXPORT_FILE]
    if not files:
        raise unreadable(place, "holds no such file")
    return files


def _read(run: FinishedRun, path: Path) -> Iterator[GivenAnswers]:
    beside = _exported_beside(path)
    if beside is not None:
        _require_same_run(run, path, beside.run_id)
    if path.suffix.lower() == ".json":
        yield from _of_label_studio(run, path, None if beside is None else beside.set)
    else:
        yield _of_csv(run, path, None if beside is None else beside.set)


def _exported_beside(path: Path) -> ExportFile | None:
    """Return what was exported into the directory of a file."""
    where = path.with_name(EXPORT_FILE)
    if not where.is_file():
        return None
    try:
        return ExportFile.model_validate(json.loads(where.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or EXPORT_FILE
        what = f"is not as it was exported: {place}: {first['msg']}"
        raise unreadable(where, what) from error
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(where, f"is not as it was exported: {error}") from error


def _require_same_run(run: FinishedRun, path: Path, run_id: str | None) -> None:
    if run_id is not None and run_id != run.store.run_id:
        raise InputError(
            f"{path} must answer rows of {run.out}, which is run {run.store.run_id}. It answers "
            f"those of run {run_id}: import it into that run's output.",
            code="other_run",
            where=str(path),
        )


# --- CSV


def _of_csv(run: FinishedRun, path: Path, of_set: str | None) -> GivenAnswers:
    table = read_text_table(path)
    keys = [column_of(table, key, run, path) for key in run.keys]
    answer = next((name for name in (ANSWER, LABEL) if name in table.column_names), None)
    if answer is None:
        raise InputError.missing_columns(ANSWERS, [ANSWER], table.column_names, str(path))
    answers = _only(table, answer, path)
    if of_set is not None:
        keys, answers = [unguarded(key) for key in keys], unguarded(answers)
    answers = answers.combine_chunks()
    return GivenAnswers(
        str(path), of_set, pa.table(dict(zip(run.keys, keys, strict=True))), answers
    )


def column_of(
    table: pa.Table, key: str, run: FinishedRun, path: Path, option: str = ANSWERS
) -> pa.ChunkedArray:
    """Return a key column of a file that people have saved."""
    plain = "id" if run.store.settings.id else key
    for name in (f"{FEATURE}{key}", key, plain):
        if name in table.column_names:
            return _only(table, name, path, option)
    raise InputError.missing_columns(option, [key], table.column_names, str(path))


def read_text_table(path: Path, option: str = ANSWERS) -> pa.Table:
    """Read a CSV file, every value as the text that it is; commas, semicolons or tabs.

    Raises
    ------
    InputError
        If it can't be read.
    """
    try:
        with path.open("rb") as opened:
            header = opened.readline(_LONGEST_HEADER + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, f"can't be read: {error}", option) from error
    if not header.strip():
        raise unreadable(path, "is empty", option)
    if len(header) > _LONGEST_HEADER:
        what = f"has no header: its first line is longer than {_LONGEST_HEADER:,}"
        raise unreadable(path, what, option)
    separator = max(_SEPARATORS, key=header.count)
    try:
        return pa_csv.read_csv(
            pa.OSFile(str(path), "rb"),
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=_block_size(path)),
            parse_options=pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                default_column_type=pa.string(), strings_can_be_null=False
            ),
        )
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, f"is not CSV in UTF-8: {error}", option) from error


def _block_size(path: Path) -> int:
    """Return a size in which every row fits, as long as it is shorter than the largest one."""
    return min(max(path.stat().st_size, _SMALLEST_BLOCK), _LARGEST_BLOCK)


def _only(table: pa.Table, name: str, path: Path, option: str = ANSWERS) -> pa.ChunkedArray:
    if table.column_names.count(name) > 1:
        raise unreadable(path, f"has more than one column {name!r}: keep one of them", option)
    return table.column(name)


def unreadable(path: Path, what: str, option: str = ANSWERS) -> InputError:
    """Return the error about a file of an option that is not what it must be."""
    form, code = _FORMS[option]
    return InputError(f"{option} must be {form}. {path} {what}.", code=code, where=str(path))


# --- Label Studio


def _of_label_studio(run: FinishedRun, path: Path, of_set: str | None) -> Iterator[GivenAnswers]:
    by_set: dict[str | None, list[tuple[str, str | None]]] = {}
    for task in read_tasks(path):
        _require_same_run(run, path, task.run_id)
        by_set.setdefault(task.set or of_set, []).append((task.row_id, task.answer))
    for name, rows in by_set.items():
        ids = [row_id for row_id, _ in rows]
        answers = pa.array([answer for _, answer in rows], pa.string())
        yield GivenAnswers(str(path), name, keys_of(run, ids), answers)


def keys_of(run: FinishedRun, ids: Sequence[str]) -> pa.Table:
    """Return key columns, as text, of ids as one text each."""
    if run.store.settings.id:
        return pa.table({run.keys[0]: pa.array(ids, pa.string())})
    parts = [each.rpartition(":") for each in ids]
    columns = [[part[0] for part in parts], [part[2] for part in parts]]
    return pa.table(dict(zip(run.keys, [pa.array(c, pa.string()) for c in columns], strict=True)))


def texts_of(keys: pa.Table) -> list[str]:
    """Return keys as people name them, long ones shortened."""
    return [shortened(id_text(tuple(row.values()))) for row in keys.to_pylist()]


def typed_keys(schema: pa.Schema, keys: pa.Table) -> tuple[pa.Table, NDArray[np.bool_]]:
    """Return keys, given as text, in their types, and which rows have one of that type."""
    fine = np.ones(keys.num_rows, dtype=np.bool_)
    columns = []
    for field in schema:
        texts = keys.column(field.name)
        if pa.types.is_string(field.type):
            columns.append(texts)
            continue
        numbers = [_integer(text) for text in texts.to_pylist()]
        fine &= np.array([number is not None for number in numbers], dtype=np.bool_)
        columns.append(pa.array([number or 0 for number in numbers], pa.int64()).cast(field.type))
    return pa.table(columns, schema=schema), fine


def _integer(text: str) -> int | None:
    if _INTEGER.fullmatch(text.strip()) is None:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None
