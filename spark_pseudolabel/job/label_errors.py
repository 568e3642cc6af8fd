"""The given labels in a run: which of them are probably wrong, kept beside the first model."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.core.trust.label_errors import LabelErrors, check_labels
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.report.document import Duplicates, GivenLabels, Notice, SuspiciousLabel
from spark_pseudolabel.spark.inputs.facts import Inputs
from spark_pseudolabel.store import facts
from spark_pseudolabel.store.manifest import FileEntry, ModelManifest
from spark_pseudolabel.store.store import Attempt, RoundStore
from spark_pseudolabel.wording import counted

NAME = "suspects.parquet"
GIVEN, SUGGESTED, P_GIVEN, P_SUGGESTED = (
    "spl_given",
    "spl_suggested",
    "spl_p_given",
    "spl_p_suggested",
)
FIRST = 10
"""How many of them a report names."""


def check_given_labels(
    store: RoundStore,
    attempt: Attempt,
    inputs: Inputs,
    codes: NDArray[np.int32],
    P: NDArray[np.float64],
) -> tuple[facts.GivenLabels, FileEntry | None]:
    """Look for labels that are probably wrong, by out-of-fold probabilities of the labeled rows.

    Returns
    -------
    tuple
        What the model's manifest says about them, and the table of those that are.
    """
    label_errors = check_labels(P, codes)
    table = _table(inputs, label_errors)
    given = facts.GivenLabels(
        n=label_errors.n,
        suspicious=len(label_errors.suspects),
        p_value=label_errors.p_value,
        explained=label_errors.explained,
        first=_first(inputs.keys, table),
    )
    if not label_errors.suspects:
        return given, None
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    return given, store.write_file(attempt, NAME, sink.getvalue(), table.num_rows)


def given_labels(first: ModelManifest) -> GivenLabels | None:
    """Return what the report says about the given labels; None without out-of-fold scores."""
    stored = first.training.hygiene
    if first.oof_scores is None or stored is None:
        return None
    return GivenLabels(
        n=stored.n,
        suspicious=stored.suspicious,
        p_value=stored.p_value,
        explained=stored.explained,
        first=[SuspiciousLabel(**dict(suspect)) for suspect in stored.first],
        file=None if first.suspects is None else "suspects",
    )


def duplicates(setting: Setting) -> Duplicates | None:
    """Return what the report says about labeled rows that equal another one; None without any."""
    copies = None if setting.like_sklearn else setting.units.copies
    if copies is None:
        return None
    labeled = setting.inputs.labeled
    example = labeled.select(list(setting.inputs.keys)).take(pa.array(copies.example))
    return Duplicates(
        rows=copies.rows,
        groups=copies.groups,
        conflicting=copies.conflicting(labeled.column(CODE).to_numpy()),
        example=[_id(list(row.values())) for row in example.to_pylist()],
    )


def duplicate_rows(copies: Duplicates) -> Notice:
    """Return the warning about labeled rows that equal another one."""
    n = copies.conflicting
    differ = f", {n:,} of them with more than one label" if n else ""
    return Notice.about(
        "duplicates",
        f"{copies.rows:,} labeled rows equal another one in every feature, in "
        f"{counted(copies.groups, 'set')}{differ}, such as {', '.join(map(str, copies.example))}. "
        "Where rows are tested by models that have not seen them, a set stays together, and a "
        "certificate counts it once.",
        rows=copies.rows,
    )


def suspicious_labels(labels: GivenLabels) -> Notice:
    """Return the warning about given labels that overlapping classes don't explain."""
    n = labels.suspicious
    return Notice.about(
        "suspicious_labels",
        f"{n:,} of {labels.n:,} given labels are probably wrong: models that have not "
        "seen the row are sure of another label, and too seldom torn between two for classes "
        f"that merely overlap. Look at the rows in {labels.file}/; nothing was changed.",
        suspicious=n,
        file=labels.file,
    )


def _table(inputs: Inputs, label_errors: LabelErrors) -> pa.Table:
    """Return key, labels and probabilities of the suspects, the clearest first."""
    suspects = label_errors.suspects
    rows = pa.array([suspect.row for suspect in suspects], pa.int64())
    labels = pa.array(list(inputs.classes))
    columns = {
        GIVEN: labels.take(pa.array([suspect.given for suspect in suspects], pa.int64())),
        SUGGESTED: labels.take(pa.array([suspect.suggested for suspect in suspects], pa.int64())),
        P_GIVEN: pa.array([suspect.p_given for suspect in suspects], pa.float64()),
        P_SUGGESTED: pa.array([suspect.p_suggested for suspect in suspects], pa.float64()),
    }
    table = inputs.labeled.select(list(inputs.keys)).take(rows)
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _first(keys: Sequence[str], table: pa.Table) -> tuple[facts.SuspectLabel, ...]:
    return tuple(
        facts.SuspectLabel(
            id=_id([row[key] for key in keys]),
            given=row[GIVEN],
            suggested=row[SUGGESTED],
            p_given=row[P_GIVEN],
            p_suggested=row[P_SUGGESTED],
        )
        for row in table.slice(0, FIRST).to_pylist()
    )


def _id(values: Sequence[object]) -> int | str:
    """Return a row's key as ``explain --id`` takes it."""
    if len(values) == 1 and type(values[0]) is int:
        return values[0]
    return ":".join(map(str, values))
