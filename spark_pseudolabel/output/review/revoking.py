"""``review revoke``: labels are taken back by a commit; nothing is deleted."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.columns import LABEL, ROUND, WEIGHT
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.output.review.answer_files import (
    IDS,
    column_of,
    keys_of,
    read_text_table,
    texts_of,
    typed_keys,
    unreadable,
)
from spark_pseudolabel.output.review.finished import FinishedRun, require_classes, reviewing
from spark_pseudolabel.output.review.reports import write_reports
from spark_pseudolabel.report.document import Listed, ReviewRevokeDocument
from spark_pseudolabel.store.facts import Label
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.following import (
    LABEL_COLUMNS,
    count_trained,
    follow,
    published_batches,
    revoked_keys,
)
from spark_pseudolabel.store.publish import writing
from spark_pseudolabel.store.review import ReviewStep, Revoked
from spark_pseudolabel.store.store import Attempt
from spark_pseudolabel.wording import shortened

MOST_EXAMPLES = 5
REVOKED_FILE = "revoked.parquet"


@dataclass(frozen=True)
class Named:
    """Which labels are taken back: one of these.

    Parameters
    ----------
    round
        All that a round accepted.
    label
        All of a class, as text.
    ids
        A file: CSV with the key's columns, or one id in each line.
    """

    round: int | None = None
    label: str | None = None
    ids: str | None = None


def revoke_labels(out: str, named: Named, opened: Opened) -> ReviewRevokeDocument:
    """Take labels back.

    Raises
    ------
    InputError
        If there is no finished run, or no such round, class or file.
    OutputBusyError
        If another process holds the output.
    """
    with reviewing(out, opened) as run:
        by, is_named, wanted = _selection(run, named)
        before = revoked_keys(run.store)
        rows = _collected(run, is_named)
        again, unknown = _not_standing(run, wanted, rows, before)
        step = None
        if rows.num_rows:
            attempt = run.store.new_attempt("review", len(run.store.reviews) + 1)
            step = revoked_step(run, attempt, rows, by=by, named=named)
            failpoint("review.files")
            with writing(attempt.path):
                run.store.commit_review(attempt, ReviewStep(revoked=(step,)))
            follow(run.store)
        write_reports(run.store)
        labels = sum(batch.num_rows for batch in published_batches(run.store, []))
        return ReviewRevokeDocument(
            output=out,
            by=by,
            revoked=rows.num_rows,
            before=again,
            unknown=unknown,
            trained_on=0 if step is None else step.trained_on,
            labels=labels,
        )


_IsNamed = Callable[[pa.RecordBatch], NDArray[np.bool_]]


def _selection(
    run: FinishedRun, named: Named
) -> tuple[Literal["round", "class", "ids"], _IsNamed, pa.Table | None]:
    if named.round is not None:
        number = named.round
        if run.store.round(number) is None:
            raise _unknown("--round", str(number), f"rounds 1 to {len(run.store.rounds)}")
        return "round", lambda batch: _equal(batch.column(ROUND), number), None
    if named.label is not None:
        require_classes(run, "review revoke --class")
        label = _class(run, named.label)
        return "class", lambda batch: _equal(batch.column(LABEL), label), None
    assert named.ids is not None
    wanted = _ids_of(run, Path(named.ids))
    typed, is_key = typed_keys(run.key_schema, wanted)
    keys = KeySet.of(typed.filter(pa.array(is_key)).columns)
    return "ids", lambda batch: keys.contains([batch.column(k) for k in run.keys]), wanted


def _equal(column: pa.Array, value: Label) -> NDArray[np.bool_]:
    same = pc.equal(column, pa.scalar(value, column.type)).fill_null(False)
    hit: NDArray[np.bool_] = same.to_numpy(zero_copy_only=False)
    return hit


def _class(run: FinishedRun, text: str) -> Label:
    for name, label in zip(run.class_names, run.classes, strict=True):
        if name == text:
            return label
    raise _unknown("--class", text, f"the classes {', '.join(map(repr, run.class_names))}")


def _unknown(option: str, value: str, known: str) -> InputError:
    return InputError(
        f"{option} must be one of this run's. It has {known}. Got {shortened(value)!r}.",
        code="unknown_round" if option == "--round" else "unknown_class",
        where=option,
    )


def _ids_of(run: FinishedRun, path: Path) -> pa.Table:
    """Read ids: CSV with the key's columns, or one id in each line."""
    try:
        first = path.read_text(encoding="utf-8-sig").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, f"can't be read: {error}", IDS) from error
    header = {name.strip().strip('"') for name in first.replace(";", ",").split(",")}
    if set(run.keys) <= header or (run.store.settings.id and "id" in header):
        table = read_text_table(path, IDS)
        texts = pa.table({key: column_of(table, key, run, path, IDS) for key in run.keys})
    else:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        texts = keys_of(run, [line.strip() for line in lines if line.strip()])
    return texts


def _collected(run: FinishedRun, is_named: _IsNamed) -> pa.Table:
    """Return the named rows of ``OUT/labels``."""
    batches = published_batches(run.store)
    parts = [
        part for batch in batches if (part := batch.filter(pa.array(is_named(batch)))).num_rows
    ]
    return _together(run, parts)


def standing_rows(run: FinishedRun, keys: KeySet) -> pa.Table:
    """Return the rows of ``OUT/labels`` with these keys."""
    if not len(keys):
        return _together(run, [])
    return _collected(run, lambda batch: keys.contains([batch.column(k) for k in run.keys]))


def _together(run: FinishedRun, batches: list[pa.RecordBatch]) -> pa.Table:
    if batches:
        return pa.Table.from_batches(batches)
    names = [*run.keys, *LABEL_COLUMNS, WEIGHT]
    return pa.table({name: pa.array([], pa.float64()) for name in names})


def _not_standing(
    run: FinishedRun, wanted: pa.Table | None, rows: pa.Table, before: KeySet
) -> tuple[int, Listed]:
    """Count the wanted ids whose label was taken back before, and list those that never had one."""
    if wanted is None:
        return 0, Listed(n=0)
    typed, is_key = typed_keys(run.key_schema, wanted)
    standing = KeySet.of([rows.column(key) for key in run.keys]).contains(typed.columns) & is_key
    revoked = before.contains(typed.columns) & is_key & ~standing
    unknown = wanted.filter(pa.array(~standing & ~revoked))
    examples = texts_of(unknown.slice(0, MOST_EXAMPLES))
    return int(revoked.sum()), Listed(n=unknown.num_rows, examples=examples)


def revoked_step(
    run: FinishedRun,
    attempt: Attempt,
    rows: pa.Table,
    *,
    by: Literal["round", "class", "ids", "answers"],
    named: Named | None = None,
) -> Revoked:
    """Write the rows that lose their label into an attempt, and say what they are."""
    kept = rows.select([*run.keys, *LABEL_COLUMNS])
    sink = io.BytesIO()
    pq.write_table(kept, sink, write_page_checksum=True)
    facts: dict[str, object] = {
        "by": by,
        "rows": run.store.write_file(attempt, REVOKED_FILE, sink.getvalue(), kept.num_rows),
        "trained_on": count_trained(rows),
        "model": run.final.final_model,
    }
    if named is not None and named.round is not None:
        facts["round"] = named.round
    if named is not None and named.label is not None:
        facts["label"] = _class(run, named.label)
    return Revoked.model_validate(facts)
