"""The truth about an output, read from its manifests: no session, no JVM of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spark_pseudolabel.columns import (
    CODE,
    FILE,
    INVALID,
    LABELED,
    RAW_SCORE,
    ROW_INDEX,
    SCORE,
)
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.report.document import (
    ExplainDocument,
    GcDocument,
    StatusDocument,
    VerifyDocument,
    document,
    label_key,
)
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.gc import OLDER_THAN_S, collect
from spark_pseudolabel.store.given_rows import ROLE, VALIDATION, read_given
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.lease import read_lease
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.verify import verify_output

Opened = tuple[Files, str]
"""File system and full path of an output, where the caller knows better than `open_files`."""


def status(out: str, *, opened: Opened | None = None) -> dict[str, Any]:
    """Return the document of ``status``: rounds, counters, why it stopped, who holds it."""
    files, root = opened or open_files(out)
    store = RoundStore.open(files, root)
    final = store.final
    given = read_given(store)
    last = store.rounds[-1].counts if store.rounds else None
    used = [m for m in store.rounds if final is None or m.number <= (final.best_round or 0)]
    if store.identity["rounds"]["relabel"]:
        used = used[-1:]
    accepted = sum(manifest.counts["accepted"] for manifest in used)
    invalid = sum(manifest.counts["invalid"] for manifest in used)
    labeled = given.num_rows if given is not None else 0
    pool = store.inputs["unlabeled"]["rows"]
    lease = read_lease(files, root)
    return document(
        StatusDocument,
        {
            "output": out,
            "run_id": store.run_id,
            "state": _state(store, lease),
            "termination_condition": final.termination_condition if final else None,
            "rounds": [_status_round(store, manifest) for manifest in store.rounds],
            "best_round": final.best_round if final else None,
            "counters": {
                "TotalLabeled": labeled + accepted,
                "HumanLabeled": labeled,
                "MachineLabeled": accepted,
                "FailedNonRetryableError": invalid,
                "Unlabeled": (pool - accepted - invalid) if last else pool,
            },
            "lease": _lease(lease),
        },
    )


def verify(out: str, deep: bool = False, *, opened: Opened | None = None) -> dict[str, Any]:
    """Return the document of ``verify``: is everything there, whole and unchanged."""
    files, root = opened or open_files(out)
    result = verify_output(files, root, deep)
    found = {
        "output": out,
        "ok": result.ok,
        "deep": deep,
        "checked": result.checked,
        "problems": result.problems,
    }
    return document(VerifyDocument, found)


def gc(
    out: str,
    *,
    delete: bool = False,
    older_than_s: float = OLDER_THAN_S,
    opened: Opened | None = None,
) -> dict[str, Any]:
    """Return the document of ``gc``: what crashes left behind, deleted if asked to.

    Parameters
    ----------
    out
        The output.
    delete
        False for a dry run.
    older_than_s
        Leave alone what was changed in the last so many seconds.
    opened
        What `open_files` gives cannot delete from an object store.
    """
    files, root = opened or open_files(out)
    found = collect(files, root, delete=delete, older_than_s=older_than_s)
    items = [
        {"path": item.path, "kind": item.kind, "files": item.files, "bytes": item.bytes}
        for item in found.items
    ]
    return document(
        GcDocument,
        {
            "output": out,
            "deleted": delete,
            "older_than_s": older_than_s,
            "items": items,
            "files": sum(item.files for item in found.items),
            "bytes": sum(item.bytes for item in found.items),
            "too_young": found.too_young,
        },
    )


def report(out: str, *, opened: Opened | None = None) -> dict[str, Any]:
    """Return the report of a finished run, from its manifest."""
    files, root = opened or open_files(out)
    store = RoundStore.open(files, root)
    if store.final is None:
        raise InputError(
            f"{out} must hold a finished run. It has {len(store.rounds)} committed rounds and no "
            "end: run the same configuration again to finish it.",
            code="not_finished",
            where=out,
        )
    return dict(store.final.report)


def explain(
    out: str,
    row_id: str,
    *,
    why: bool = False,
    row_file: str | None = None,
    opened: Opened | None = None,
) -> dict[str, Any]:
    """Return the document of ``explain``: why a row has, or has not, its label.

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
    store = RoundStore.open(files, root)
    key = _key(store, row_id)
    given = _given(store, key)
    if given is not None:
        told = _explain_given(store, row_id, given)
    else:
        steps = [
            step
            for manifest in store.rounds
            if (step := _decision(store, manifest, key)) is not None
        ]
        if not steps:
            raise _unknown(store, row_id)
        told = _explain_pool_row(store, row_id, steps)
    if store.final is not None:
        told["final_model"] = model_name(store.final.final_model)
    if why:
        told["why"] = _why(store, key, told, row_file)
    return document(ExplainDocument, told)


def _why(
    store: RoundStore, key: Mapping[str, str], told: Mapping[str, Any], row_file: str | None
) -> dict[str, Any] | None:
    """Explain the label that the deciding round gave; of a given row, its label by the last model.

    None where no model has given one.
    """
    from spark_pseudolabel.output.attribution import why

    in_pool = told["kind"] not in (LABELED, VALIDATION)
    last = told["history"][-1] if in_pool and told["history"] else {}
    decisive = next((s for s in told.get("history", ()) if s["round"] == told["round"]), last)
    label = decisive.get("label") if in_pool else told["given_label"]
    if label is None or not store.models:
        return None
    final = store.final.final_model if store.final is not None else len(store.models)
    number = decisive["round"] if in_pool else final
    code = store.models[0].classes.index(label)
    found = why(store, key, number, code, in_pool=in_pool, row_file=row_file)
    return {**found, "stored_confidence": decisive.get("confidence")}


def _state(store: RoundStore, lease: Mapping[str, Any] | None) -> str:
    if lease is not None:
        return "running"
    return "done" if store.final is not None and store.views_are_current() else "resumable"


def _lease(lease: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if lease is None:
        return None
    return {
        "host": lease["host"],
        "pid": lease["pid"],
        "since": lease["since"],
        "live": True,
    }


def _status_round(store: RoundStore, manifest: RoundManifest) -> dict[str, Any]:
    counts = manifest.counts
    following = store.model(manifest.number + 1)
    labels = [label_key(label) for label in store.models[0].classes]
    return {
        "round": manifest.number,
        "model": model_name(manifest.number),
        **{key: counts[key] for key in ("candidates", "accepted", "rejected", "invalid")},
        "accepted_by_class": dict(zip(labels, counts["accepted_by_code"], strict=True)),
        "used": manifest.number <= (store.final.best_round or 0) if store.final else None,
        "validation": following.validation if following else None,
        "written_at": manifest.written_at,
    }


def _key(store: RoundStore, row_id: str) -> dict[str, str]:
    name = store.identity["id"]
    if name is not None:
        return {name: row_id}
    file, _, index = row_id.rpartition(":")
    if not file or not index.isdigit():
        raise InputError(
            f"--id must be file:row_index, since this run has no id column. Got {row_id!r}.",
            code="bad_id",
        )
    return {FILE: file, ROW_INDEX: index}


def _given(store: RoundStore, key: Mapping[str, str]) -> dict[str, Any] | None:
    # Without an id column, a labeled row and a pool row may stand at the same place of two tables.
    rows = read_given(store)
    if rows is None or tuple(key) == (FILE, ROW_INDEX):
        return None
    found = rows.filter(_matches(rows.schema, key))
    return found.to_pylist()[0] if found.num_rows else None


def _matches(schema: pa.Schema, key: Mapping[str, str]) -> Any:
    import pyarrow.compute as pc

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


def _decision(
    store: RoundStore, manifest: RoundManifest, key: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return what one round decided about a row; None if it was no candidate."""
    for entry in manifest.scored:
        with store.files.open_input(join(store.root, entry.path)) as stream:
            schema = pq.read_schema(stream)
            condition = _matches(schema, key)
            raw = [RAW_SCORE] if RAW_SCORE in schema.names else []
            columns = [*key, CODE, SCORE, INVALID, *raw]
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
) -> dict[str, Any]:
    plan = Plan.from_dict(manifest.plan)
    code, confidence, raw = row[CODE], row[SCORE], row.get(RAW_SCORE)
    step = {
        "round": manifest.number,
        "model": model_name(manifest.number),
        "used": manifest.number <= (store.final.best_round or 0) if store.final else None,
        "rule": _rule(plan.rule),
        "file": file,
    }
    if code is None:
        return {
            **step,
            "label": None,
            "confidence": None,
            "cut": None,
            "accepted": False,
            "reason": row[INVALID],
        }
    # A reason beside a score: the row was withheld, whatever the plan says.
    accepted = row[INVALID] is None and plan.accepts(
        code, confidence, tuple(row[key] for key in keys)
    )
    cut = plan.cuts[code]
    return {
        **step,
        "label": store.models[0].classes[code],
        "confidence": confidence,
        "raw_confidence": raw,
        "cut": cut.confidence if cut else None,
        "accepted": accepted,
        "reason": row[INVALID] or _reason(confidence, cut, accepted) + _before(raw),
    }


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


def _explain_given(store: RoundStore, row_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    classes = store.models[0].classes if store.models else ()
    label = classes[row[CODE]] if 0 <= row[CODE] < len(classes) else None
    kind = "labeled" if row[ROLE] == LABELED else "validation"
    what = (
        "every model is trained on it with the label it was given, which never changes"
        if kind == "labeled"
        else "no model is trained on it; it measures them"
    )
    text = f"Row {row_id} is a {kind} row with the given label {label!r}: {what}."
    return {"id": row_id, "kind": kind, "given_label": label, "text": text}


def _explain_pool_row(
    store: RoundStore, row_id: str, steps: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    best = store.final.best_round if store.final is not None else None
    used = [step for step in steps if best is None or step["round"] <= best]
    decisive = _decisive(used, store.identity["rounds"]["relabel"])
    kind, text = _verdict(row_id, steps, decisive)
    last = decisive or (steps[-1] if steps else {})
    return {
        "id": row_id,
        "kind": kind,
        "label": last.get("label") if kind == "accepted" else None,
        "confidence": last.get("confidence"),
        "raw_confidence": last.get("raw_confidence"),
        "round": last.get("round"),
        "model": last.get("model"),
        "history": list(steps),
        "text": text,
    }


def _unknown(store: RoundStore, row_id: str) -> InputError:
    seen = f"{len(store.rounds):,} round{'' if len(store.rounds) == 1 else 's'}"
    name = store.identity["id"]
    kind = "file and row_index" if name is None else repr(name)
    return InputError(
        f"--id must be the {kind} of a row of this run. {row_id!r} is no labeled row, and none of "
        f"the pool's rows that its {seen} looked at.",
        code="unknown_id",
        where=row_id,
    )


def _decisive(used: Sequence[Mapping[str, Any]], relabel: bool) -> Mapping[str, Any] | None:
    """Return the step that published the row's label, or kept it from having one."""
    if relabel:
        return used[-1] if used else None
    accepted = [step for step in used if step["accepted"]]
    return accepted[0] if accepted else (used[-1] if used else None)


def _verdict(
    row_id: str, steps: Sequence[Mapping[str, Any]], decisive: Mapping[str, Any] | None
) -> tuple[str, str]:
    if decisive is None:
        return "rejected", (
            f"Row {row_id} has no label: the rounds that looked at it were discarded by the guard."
        )
    by = f"in round {decisive['round']} by {decisive['model']} under {decisive['rule']}"
    if decisive["accepted"]:
        return "accepted", (
            f"Row {row_id} has the label {decisive['label']!r}, accepted {by}: "
            f"{decisive['reason']}."
        )
    if decisive["label"] is None:
        return "invalid", f"Row {row_id} could not be scored {by}: {decisive['reason']}."
    return "rejected", (
        f"Row {row_id} has no label. Last looked at {by}, the model said {decisive['label']!r}: "
        f"{decisive['reason']}."
    )
