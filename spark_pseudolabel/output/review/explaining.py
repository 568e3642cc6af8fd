"""What people did about one row, for ``explain``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from spark_pseudolabel.columns import LABEL
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.report.document import ExplainDocument, label_key
from spark_pseudolabel.store.answers import all_answers, codes_of
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.review import Revoked
from spark_pseudolabel.store.store import RoundStore


def with_people(
    store: RoundStore, key: Mapping[str, str], explained: ExplainDocument
) -> ExplainDocument:
    """Add what people answered about a row, and that its label was taken back or certified.

    Parameters
    ----------
    store
        The run that people reviewed.
    key
        The row's key columns, as text.
    explained
        What the run says of the row.
    """
    if not store.reviews:
        return explained
    text = explained.text + "".join(_answers(store, key))
    for review in store.reviews:
        for step in review.revoked:
            rows = read_bytes(store.read_file(step.rows))
            place = _place(rows, key)
            if place is not None:
                label = rows.column(LABEL)[place].as_py()
                text = text.replace(" has the label ", " had the label ", 1) + (
                    f" Its label {label_key(label)!r} was taken back {_why(step)} "
                    f"({review.written_at}): it is in undecided/ and no longer in labels/."
                )
                changes = {"kind": "revoked", "label": None, "text": text}
                return explained.model_copy(update=changes)
    certified = _certified(store, key)
    if certified is not None:
        label, told = certified
        changes = {"kind": "accepted", "label": label, "text": text + told}
        return explained.model_copy(update=changes)
    return explained.model_copy(update={"text": text})


def _certified(store: RoundStore, key: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the label that answers to other rows have certified, and how."""
    for review in store.reviews:
        step = review.published
        for entry in step.files if step is not None else ():
            rows = read_bytes(store.read_file(entry))
            place = _place(rows, key)
            if place is None or step is None:
                continue
            label = label_key(rows.column(LABEL)[place].as_py())
            return label, (
                f" Answers have certified its label {label!r} ({review.written_at}): "
                f"precision {step.precision or 0:g} is shown of the rows with a confidence of at "
                f"least {step.cut or 0:g}. It is in labels/."
            )
    return None


def _place(rows: pa.Table, key: Mapping[str, str]) -> int | None:
    wanted = {name: pa.array([text], pa.string()) for name, text in key.items()}
    # A key that is no number is none of numbers; `explain` has refused it before.
    columns = [wanted[name].cast(rows.column(name).type) for name in key]
    hit = np.flatnonzero(KeySet.of(columns).contains([rows.column(name) for name in key]))
    return int(hit[0]) if len(hit) else None


def _answers(store: RoundStore, key: Mapping[str, str]) -> list[str]:
    said = []
    for each in all_answers(store):
        place = _place(each.rows, key)
        if place is None:
            continue
        code = int(codes_of(each.rows)[place])
        of = f" ({each.kind})" if each.kind is not None else ""
        if code < 0:
            said.append(f" A person skipped it{of}.")
        else:
            label = label_key(store.models[0].classes[code])
            said.append(f" A person answered {label!r}{of}.")
    return said


def _why(step: Revoked) -> str:
    if step.by == "round":
        return f"with all of round {step.round}"
    if step.by == "class":
        return "with all of its class"
    return "by id" if step.by == "ids" else "since a person named another class"
