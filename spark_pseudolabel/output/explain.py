"""``explain``: why a row has, or has not, its label, from the plans and scores of all rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from spark_pseudolabel.columns import (
    CODE,
    CONFIDENCE,
    FILE,
    HIGHEST,
    INVALID,
    LABEL,
    LABELED,
    LOWEST,
    MODEL,
    OF_SUSPECTS,
    RAW_SCORE,
    ROUND,
    ROW_INDEX,
    SCORE,
    VALUE,
    VOTED,
    VOTES,
)
from spark_pseudolabel.core.numbers import RIGHT
from spark_pseudolabel.core.selection.plan import Cut
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.output.review.explaining import with_people
from spark_pseudolabel.output.status import is_used
from spark_pseudolabel.report.document import ExplainDocument, ExplainStep, SuspiciousLabel, Why
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.generations import Generations
from spark_pseudolabel.store.given_rows import ROLE, read_bytes, read_given
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import RoundStore

Key = Mapping[str, str]
"""A row's key columns, as text."""

ABSTAINED = "the model abstained"
"""Why a row that could be scored has no class."""


def explain_row(
    out: str,
    row_id: str,
    *,
    why: bool = False,
    row_file: str | None = None,
    opened: Opened | None = None,
) -> ExplainDocument:
    """Explain why a row has, or has not, its label.

    Parameters
    ----------
    out
        The output.
    row_id
        The row's id as text; ``file:row_index`` where the run has no id column.
    why
        Also look the row's features up, and say what each does to the model's confidence.
    row_file
        JSON object with these features, where they can't be looked up without Spark.
    opened
        The output, if the caller has opened it.

    Raises
    ------
    InputError
        If no row has this id, it is of the wrong kind, or the row's features are asked for and
        can't be had.
    """
    files, root = opened or open_files(out)
    explained = _of_any_generation(files, root, row_id, why=why, row_file=row_file)
    store = RoundStore.open(files, root)
    return with_people(store, _key(store, row_id), explained)


def _of_any_generation(
    files: Files, root: str, row_id: str, *, why: bool, row_file: str | None
) -> ExplainDocument:
    generations = Generations.read(files, root)
    if generations is not None and generations.numbers:
        later = explain_later(generations, row_id, why=why, row_file=row_file)
        if later is not None:
            return later
    store = RoundStore.open(files, root)
    if generations is not None and generations.retired > 1:
        key = _key(store, row_id)
        kept = _given_row(store, row_id, key) or published_row(store, row_id, key)
        if kept is None:
            raise _unknown(store, row_id)
        return kept
    return explain_in(store, row_id, why=why, row_file=row_file)


def explain_in(
    store: RoundStore, row_id: str, *, why: bool = False, row_file: str | None = None
) -> ExplainDocument:
    """Explain a row of one run; see :func:`explain_row`."""
    key = _key(store, row_id)
    explained = _explained(store, row_id, key)
    found = _why(store, key, explained, row_file) if why else None
    return explained.model_copy(
        update={
            "final_model": model_name(store.final.final_model) if store.final else None,
            "why": None if isinstance(found, str) else found,
            "why_not": found if isinstance(found, str) else None,
        }
    )


def explain_later(
    generations: Generations, row_id: str, *, why: bool = False, row_file: str | None = None
) -> ExplainDocument | None:
    """Explain a row that a later generation has decided; None of any other one."""
    kept = generations.retired
    for number in reversed(generations.numbers):
        store = generations.store(number)
        key = _key(store, row_id)
        if number < kept:
            explained = published_row(store, row_id, key)
        else:
            explained = _pool_row(store, row_id, key)
        if explained is None:
            continue
        explained = _named(explained, _names(generations, store))
        text = f"{explained.text} That was in generation {number}."
        reasons = _why(store, key, explained, row_file) if why and number >= kept else None
        return explained.model_copy(update={"text": text, "why": reasons})
    return None


def _names(generations: Generations, store: RoundStore) -> str:
    """Return what labels of a later generation call its models, by their number."""
    if store.fits:
        return f"generation-{store.generation:04d}/{{}}"
    before = generations.end(store.generation - 1)
    deciding = None if before is None else before[0].deciding
    assert deciding is not None  # it has labeled
    return deciding.name


def _named(explained: ExplainDocument, names: str) -> ExplainDocument:
    """Call models as labels do."""
    steps = [
        step.model_copy(update={"model": names.format(step.model)}) for step in explained.history
    ]
    if not steps or explained.model is None:
        return explained
    name = names.format(explained.model)
    text = explained.text.replace(explained.model, name)
    return explained.model_copy(update={"model": name, "history": steps, "text": text})


def published_row(store: RoundStore, row_id: str, key: Key) -> ExplainDocument | None:
    """Tell what is left of a row's history where scored rows were deleted: its label."""
    marker = store.view_marker("labels")
    for file in marker.files if marker else ():
        with store.files.open_input(join(store.root, f"labels/{file.path}")) as stream:
            condition = _matches(pq.read_schema(stream), key)
            rows = pq.read_table(stream, filters=condition).to_pylist()
        if rows:
            text = (
                f"Row {row_id} has the label {rows[0][LABEL]!r}, given by {rows[0][MODEL]}. Why is "
                "not known any more: what was scored then was deleted by gc --retain."
            )
            return ExplainDocument(
                id=row_id,
                kind="accepted",
                label=rows[0][LABEL],
                confidence=rows[0][CONFIDENCE],
                round=rows[0][ROUND],
                model=rows[0][MODEL],
                text=text,
            )
    return None


def _explained(store: RoundStore, row_id: str, key: Key) -> ExplainDocument:
    if store.settings.id is not None:
        explained = _given_row(store, row_id, key) or _pool_row(store, row_id, key)
    else:
        explained = _pool_row(store, row_id, key)
        # A labeled row may stand at the same place of another table; round 1 has looked at all rows
        # of the pool.
        if explained is None and store.rounds:
            explained = _given_row(store, row_id, key)
    if explained is None:
        raise _unknown(store, row_id)
    return explained


# --- the row's key


def _key(store: RoundStore, row_id: str) -> Key:
    name = store.settings.id
    if name is not None:
        return {name: row_id}
    file, _, index = row_id.rpartition(":")
    if not file or not index.isdigit():
        raise InputError(
            f"--id must be file:row_index, since this run has no id column. Got {row_id!r}.",
            code="bad_id",
        )
    return {FILE: file, ROW_INDEX: index}


def _matches(schema: pa.Schema, key: Key) -> pc.Expression:
    condition = pc.scalar(True)
    for name, value in key.items():
        if pa.types.is_integer(schema.field(name).type):
            condition &= pc.field(name) == _integer(name, value)
        else:
            condition &= pc.field(name) == value
    return condition


def _integer(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise InputError(
            f"--id must be an integer, since {name!r} holds integers. Got {value!r}.",
            code="bad_id",
        ) from error


def _unknown(store: RoundStore, row_id: str) -> InputError:
    n_rounds = f"{len(store.rounds):,} round{'' if len(store.rounds) == 1 else 's'}"
    name = store.settings.id
    kind = "file and row_index" if name is None else repr(name)
    return InputError(
        f"--id must be the {kind} of a row of this run. {row_id!r} is no labeled row, and none of "
        f"the pool's rows that its {n_rounds} looked at.",
        code="unknown_id",
        where=row_id,
    )


# --- rows with a given label


def _given_row(store: RoundStore, row_id: str, key: Key) -> ExplainDocument | None:
    """Explain a row with a given label; None of a row of the pool."""
    rows = read_given(store)
    if rows is None or not (rows := rows.filter(_matches(rows.schema, key))).num_rows:
        return None
    code, role = (rows.column(name)[0].as_py() for name in (CODE, ROLE))
    classes = store.models[0].classes if store.models else ()
    label: float | str | None = classes[code] if 0 <= code < len(classes) else None
    if VALUE in rows.column_names:
        label = _number(store, rows.column(VALUE)[0].as_py())
    text = f"Row {row_id} is a {role} row with the given label {label!r}: " + (
        "every model is trained on it with the label it was given, which never changes."
        if role == LABELED
        else "no model is trained on it; it measures them."
    )
    suspicious = _suspicious(store, row_id, key)
    if suspicious is not None:
        text += (
            " That label is probably wrong: models that have not seen the row say "
            f"{suspicious.suggested!r} ({suspicious.p_suggested:.4f}, and "
            f"{suspicious.p_given:.4f} for {suspicious.given!r}). The row is in suspects/."
        )
    return ExplainDocument(
        id=row_id, kind=role, given_label=label, suspicious=suspicious, text=text
    )


def _number(store: RoundStore, value: float | None) -> float | int | None:
    """Return a label that is a number as it is published."""
    task = store.models[0].numbers if store.models else None
    return value if task is None else task.spelled(value)


def _suspicious(store: RoundStore, row_id: str, key: Key) -> SuspiciousLabel | None:
    """Return what speaks against a row's given label, where that is probably wrong."""
    suspects = store.models[0].suspects if store.models else None
    if suspects is None:
        return None
    rows = read_bytes(store.read_file(suspects)).rename_columns([*key, *OF_SUSPECTS])
    rows = rows.filter(_matches(rows.schema, key)).select(OF_SUSPECTS).to_pylist()
    return SuspiciousLabel(id=row_id, **rows[0]) if rows else None


# --- rows of the pool


def _pool_row(store: RoundStore, row_id: str, key: Key) -> ExplainDocument | None:
    """Explain a row that a round has looked at; None of any other one."""
    steps = [
        step for manifest in store.rounds if (step := _step_of(store, manifest, key)) is not None
    ]
    if not steps:
        return None
    decisive = _decisive(steps, store.settings.rounds.relabel)
    kind, text = _verdict(row_id, decisive)
    shown = decisive or steps[-1]
    text += _voted(shown, store)
    return ExplainDocument(
        id=row_id,
        kind=kind,
        label=shown.label if kind == "accepted" else None,
        confidence=shown.confidence,
        raw_confidence=shown.raw_confidence,
        round=shown.round,
        model=shown.model,
        history=steps,
        text=text,
    )


def _step_of(store: RoundStore, manifest: RoundManifest, key: Key) -> ExplainStep | None:
    """Return what one round decided about a row; None if it was no candidate."""
    for entry in manifest.scored:
        with store.files.open_input(join(store.root, entry.path)) as stream:
            schema = pq.read_schema(stream)
            condition = _matches(schema, key)
            known = (RAW_SCORE, VOTED, VALUE, LOWEST, HIGHEST)
            also = [name for name in known if name in schema.names]
            columns = [*key, CODE, SCORE, INVALID, *also]
            rows = pq.read_table(stream, filters=condition, columns=columns)
        if rows.num_rows:
            return _step(store, manifest, rows.to_pylist()[0], tuple(key), entry.path)
    return None


def _step(
    store: RoundStore,
    manifest: RoundManifest,
    row: Mapping[str, Any],
    keys: Sequence[str],
    file: str,
) -> ExplainStep:
    plan = manifest.plan
    code, confidence, withheld = row[CODE], row[SCORE], row[INVALID]
    cut = plan.cuts[code] if code is not None else None
    # A reason beside a score: the row was withheld, whatever the plan says.
    candidate = code is not None and withheld is None
    accepted = candidate and plan.accepts(code, confidence, tuple(row[key] for key in keys))
    reason = withheld or ABSTAINED
    if code is not None:
        raw = row.get(RAW_SCORE)
        reason = withheld or _reason(confidence, cut, accepted) + _before(raw)
    return ExplainStep(
        round=manifest.number,
        model=model_name(manifest.number),
        label=_label(store, row),
        confidence=confidence,
        raw_confidence=row.get(RAW_SCORE),
        lower=row.get(LOWEST),
        upper=row.get(HIGHEST),
        cut=cut.confidence if cut is not None else None,
        rule=_rule(plan.rule),
        accepted=accepted,
        used=is_used(store, manifest.number),
        reason=reason,
        votes=[store.settings.rules[number].name for number in row.get(VOTED) or ()],
        file=file,
    )


def _label(store: RoundStore, row: Mapping[str, Any]) -> float | str | None:
    """Return the label of a scored row; None where it got none."""
    if row[CODE] is None:
        return None
    return _number(store, row[VALUE]) if VALUE in row else store.models[0].classes[row[CODE]]


def _rule(rule: Mapping[str, Any]) -> str:
    params = ", ".join(f"{key} {value}" for key, value in rule.items() if key != "policy")
    return f"{rule['policy']} ({params})" if params else str(rule["policy"])


def _before(raw: float | None) -> str:
    return "" if raw is None else f" (the model itself said {raw:g})"


def _reason(confidence: float, cut: Cut | None, accepted: bool) -> str:
    if cut is None:
        return "no row of this class was accepted in this round"
    if confidence > cut.confidence:
        return f"confidence {confidence:g} is above the cut {cut.confidence:g}"
    if confidence < cut.confidence:
        return f"confidence {confidence:g} is below the cut {cut.confidence:g}"
    if accepted:
        return f"confidence is exactly the cut {cut.confidence:g}, where this row is still taken"
    strict = "only what is above it is taken"
    tie = "rows with a lower id were taken first"
    return f"confidence is exactly the cut {cut.confidence:g}; " + (
        strict if cut.ties == "none" else tie
    )


def _voted(step: ExplainStep, store: RoundStore) -> str:
    """Say which rules have voted for what; nothing where there are none."""
    if not store.settings.rules:
        return ""
    label_of = {rule.name: rule.label for rule in store.settings.rules}
    votes = [f"{name} for {label_of[name]!r}" for name in step.votes]
    return f" Rules that voted: {', '.join(votes)}." if votes else " No rule voted."


def _decisive(steps: Sequence[ExplainStep], relabel: bool) -> ExplainStep | None:
    """Return the step that published the row's label, or kept it from having one."""
    used = [step for step in steps if step.used is not False]
    accepted = [step for step in used if step.accepted and not relabel]
    return next(iter(accepted or used[-1:]), None)


def _verdict(
    row_id: str, decisive: ExplainStep | None
) -> tuple[Literal["accepted", "rejected", "invalid", "abstained"], str]:
    """Return the row's kind, and why it is of that kind."""
    if decisive is None:
        return "rejected", (
            f"Row {row_id} has no label: the rounds that looked at it were discarded by the guard."
        )
    by = f"in round {decisive.round} by {decisive.model} under {decisive.rule}"
    if decisive.accepted:
        return "accepted", (
            f"Row {row_id} has the label {decisive.label!r}{_between(decisive)}, accepted {by}: "
            f"{decisive.reason}."
        )
    if decisive.reason == ABSTAINED:
        return "abstained", (
            f"Row {row_id} has no label: {decisive.model}, which looked at it last in round "
            f"{decisive.round}, abstained from it."
        )
    if decisive.label is None:
        return "invalid", f"Row {row_id} could not be scored {by}: {decisive.reason}."
    return "rejected", (
        f"Row {row_id} has no label. Last looked at {by}, the model said "
        f"{decisive.label!r}{_between(decisive)}: {decisive.reason}."
    )


def _between(step: ExplainStep) -> str:
    """Name the bounds of a label that is a number; nothing of a class."""
    if step.lower is None or step.upper is None:
        return ""
    return f" (between {step.lower:.6g} and {step.upper:.6g})"


# --- the row's features


def _why(
    store: RoundStore, key: Key, explained: ExplainDocument, row_file: str | None
) -> Why | str:
    """Explain the label that the deciding round gave; of a given row, its label by the last model.

    Where columns have no effects that could be told, say why.
    """
    from spark_pseudolabel.output.attribution import Decision, attribute

    if explained.history:
        step = next(step for step in explained.history if step.round == explained.round)
        number, label, confidence, in_pool = step.round, step.label, step.confidence, True
    elif store.models:
        number = store.final.final_model if store.final is not None else len(store.models)
        label, confidence, in_pool = explained.given_label, None, False
    else:
        return "no model has been fitted yet."
    if label is None:
        return "no model has given it a label."
    manifest = store.models[number - 1]
    if any(feature.name == VOTES for feature in manifest.features):
        return f"{model_name(number)} sees the votes of rules, and no column."
    if manifest.artifact.transductive:
        return (
            f"{model_name(number)} is a graph: labels came to this row from rows near it, in all "
            "columns together, so that none has an effect of its own."
        )
    code = RIGHT if manifest.numbers is not None else manifest.classes.index(label)
    decision = Decision(number, code, confidence, in_pool=in_pool)
    return attribute(store, key, decision, row_file)
