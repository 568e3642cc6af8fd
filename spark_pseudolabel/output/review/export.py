"""``review export``: rows to ask people about, written for them, and the commit that says so."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.output.review.features import place_of
from spark_pseudolabel.output.review.finished import FinishedRun, require_classes, reviewing
from spark_pseudolabel.output.review.kind import Questions, ReviewKind, Wish
from spark_pseudolabel.output.review.kinds import KINDS
from spark_pseudolabel.output.review.label_studio import (
    CONFIG_FILE,
    LabelStudioSheets,
    label_config,
)
from spark_pseudolabel.output.review.reports import write_reports
from spark_pseudolabel.output.review.sheets import (
    CsvSheets,
    SheetWriter,
    scratch_directory,
    sheets,
)
from spark_pseudolabel.report.document import ExportFile, ReviewExportDocument
from spark_pseudolabel.store.answers import exported_sets
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.manifest import canonical_json, sha256
from spark_pseudolabel.store.publish import writing
from spark_pseudolabel.store.review import ORDER, Exported, ReviewStep

EXPORT_FILE = "export.json"
ASKED = "asked.parquet"


@dataclass(frozen=True)
class Target:
    """Where rows go, and how.

    Parameters
    ----------
    folder
        A local directory, made if it is not there.
    format
        ``"csv"`` or ``"labelstudio"``.
    features
        Whether what is known of a row stands beside its key.
    """

    folder: Path
    format: str = "csv"
    features: bool = True


def export_questions(
    out: str, kind: str, wish: Wish, target: Target, opened: Opened
) -> ReviewExportDocument:
    """Write rows that people are asked about.

    The same call gives the same rows, as long as no answer has come.

    Parameters
    ----------
    out
        The output.
    kind
        One of `KINDS`.
    wish
        How many, and what for.
    target
        Where they go.
    opened
        The output, opened.

    Raises
    ------
    InputError
        If there is no finished run, the rows' features can't be read, or something else is in the
        directory.
    OutputBusyError
        If another process holds the output.
    """
    require_room(target.folder)
    asking = KINDS[kind]
    with reviewing(out, opened) as run:
        require_classes(run, "review export")
        place = place_of(run) if target.features else None
        wish = replace(wish, place=place)
        questions = asking.ask(run, wish)
        if questions.settled is None and questions.rows.num_rows:
            _make(target.folder)
        exported = _committed(run, asking, wish, questions)
        parts = 0
        if questions.settled is None:
            writer = _writer(run, exported, target)
            with scratch_directory() as scratch:
                rows = questions.rows.drop_columns(list(asking.kept))
                for sheet in sheets(run, rows, place, questions.first, Path(scratch)):
                    writer.write(_part(target.folder, sheet.number, writer.suffix), sheet)
                    parts += 1
            if parts == 0:
                raise _nothing_to_ask(run, kind)
        document = _document(run, exported, questions, target, parts)
        if questions.settled is None:
            _finish(run, asking, exported, questions, target, document)
        write_reports(run.store, page=False)
    return document


def require_room(folder: Path) -> None:
    """Refuse a directory that holds anything but what an export that was cut off left there.

    Raises
    ------
    InputError
        People may have written answers into the files that are there.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise _not_empty(folder)
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
    except OSError as error:
        raise _unwritable(folder, error) from error
    if any(not name.startswith("part-") and name != CONFIG_FILE for name in names):
        raise _not_empty(folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"--to must be a directory that can be written. {folder} is not: {error.strerror}. Name "
        "another one.",
        code="unwritable",
        where=str(folder),
    )


def _not_empty(folder: Path) -> InputError:
    return InputError(
        f"--to must be a new or an empty directory: answers may be in what is there. {folder} is "
        "not. Name another one.",
        code="output_not_empty",
        where=str(folder),
    )


def _nothing_to_ask(run: FinishedRun, kind: str) -> InputError:
    return InputError(
        f"{run.out} has no row to ask about with --{kind}: there is none, or all were answered.",
        code="nothing_to_ask",
        where=run.out,
    )


def _committed(run: FinishedRun, kind: ReviewKind, wish: Wish, questions: Questions) -> Exported:
    """Commit what is asked, unless that was done before."""
    store = run.store
    identity = {"kind": kind.name, "run": store.run_id, **questions.identity}
    name = sha256(canonical_json(identity))
    asked = questions.rows if questions.asked is None else questions.asked
    of_kind = [each for each in exported_sets(store) if each.kind == kind.name]
    known = next((each for each in of_kind if each.set == name), None)
    if known is not None and known.rows >= asked.num_rows:
        return known
    if not asked.num_rows:
        raise _nothing_to_ask(run, kind.name)
    attempt = store.new_attempt("review", len(store.reviews) + 1)
    data = _parquet(_with_order(asked.select([*run.keys, *kind.kept])))
    exported = Exported(
        kind=kind.name,
        number=known.number if known is not None else len(of_kind) + 1,
        set=name,
        seed=run.random_state,
        asked=store.write_file(attempt, ASKED, data, asked.num_rows),
        wanted=wish.rows,
    )
    failpoint("review.files")
    with writing(attempt.path):
        step = ReviewStep(exported=kind.terms(run, wish, exported))
        committed = store.commit_review(attempt, step).exported
    assert committed is not None
    return committed


def _with_order(keys: pa.Table) -> pa.Table:
    order = pa.array(range(1, keys.num_rows + 1), pa.int64())
    return keys.append_column(ORDER, order)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue()


def _writer(run: FinishedRun, exported: Exported, target: Target) -> SheetWriter:
    if target.format == "csv":
        return CsvSheets()
    name = Path(run.store.root.rstrip("/")).name or "run"
    model = f"{name}/{model_name(run.final.final_model)}"
    return LabelStudioSheets(run.store.run_id, exported.set, model)


def _part(folder: Path, number: int, suffix: str) -> Path:
    return folder / f"part-{number:05d}.{suffix}"


def _document(
    run: FinishedRun, exported: Exported, questions: Questions, target: Target, parts: int
) -> ReviewExportDocument:
    return ReviewExportDocument(
        output=run.out,
        to=str(target.folder),
        kind=exported.kind,
        number=exported.number,
        set=exported.set,
        rows=questions.rows.num_rows if questions.settled is None else 0,
        asked=exported.rows,
        files=parts,
        format=target.format,
        features=target.features,
        settled=questions.settled,
    )


def _finish(
    run: FinishedRun,
    kind: ReviewKind,
    exported: Exported,
    questions: Questions,
    target: Target,
    document: ReviewExportDocument,
) -> None:
    """Say what the files are; the last file: without it they are not complete."""
    if target.format == "labelstudio":
        config = label_config(run.class_names, predicts=kind.predicts)
        (target.folder / CONFIG_FILE).write_text(config, encoding="utf-8")
    said = ExportFile(
        kind=exported.kind,
        output=run.out,
        run_id=run.store.run_id,
        set=exported.set,
        rows=document.rows,
        first=questions.first,
        seed=exported.seed,
        columns=[*run.keys],
        classes=[*run.class_names],
        format=document.format,
    )
    text = json.dumps(said.as_json(), indent=2) + "\n"
    (target.folder / EXPORT_FILE).write_text(text, encoding="utf-8")
