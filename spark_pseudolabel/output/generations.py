"""Generations as documents show them, and what is said of them in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spark_pseudolabel.core.facts import Representativeness
from spark_pseudolabel.report.document import (
    ComparedRows,
    Generation,
    GenerationShift,
    GenerationSums,
    Notice,
)
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.generations import (
    Deciding,
    End,
    GenerationFacts,
    Generations,
    Sums,
    Told,
)
from spark_pseudolabel.store.manifest import FinalManifest, damaged, decode, sha256
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.wording import agreeing, counted

_NAMED = 3


def generation_of(facts: GenerationFacts) -> Generation:
    """Return what documents say of a generation."""
    drift = facts.drift
    return Generation.from_fact(
        facts,
        shift=None
        if drift is None
        else GenerationShift(
            labeled=_compared(drift.labeled), reference=_compared(drift.reference)
        ),
        refit=facts.kind == "fit" and facts.generation > 1,
        notices=notices_told(facts.told),
    )


def notices_told(told: Iterable[Told]) -> list[Notice]:
    """Return what a generation found, as documents have it."""
    return [Notice.about(each.code, each.message) for each in told]


def sums_of(sums: Sums) -> GenerationSums:
    """Return what documents say of all generations together."""
    return GenerationSums.model_validate(sums.model_dump())


def generations_of(end: End) -> list[Generation]:
    """Return what documents say of the latest generations."""
    return [generation_of(facts) for facts in end.latest]


def reported(generations: Generations, end: End) -> Mapping[str, Any]:
    """Return the document of ``report.json`` as of the end of a generation."""
    if end.report is not None:
        return end.report.document
    where = join(generations.root, end.final.name)
    data = generations.files.read(where)
    if sha256(data) != end.final.sha256:
        raise damaged(where, "was changed after it was written: its sha256 does not match")
    return decode(data, FinalManifest, where).report.document


def latest_report(store: RoundStore) -> Mapping[str, Any]:
    """Return the document of ``report.json`` of a run, or of its output's latest generation."""
    generations = Generations.read(store.files, store.root)
    ended = None if generations is None else generations.ended
    if generations is not None and ended is not None:
        return reported(generations, ended[0])
    assert store.final is not None
    return store.final.report.document


def drift_message(facts: GenerationFacts, deciding: Deciding) -> str:
    """Say how new rows differ, in sentences that name the columns that moved most."""
    assert facts.drift is not None
    said = [
        f"{counted(facts.rows, 'new row')} {agreeing(facts.rows, 'is', 'are')} too unlike those "
        f"that {deciding.name} was made for.",
        *_apart("the pool of generation " + str(deciding.generation), facts.drift.reference),
        *_apart("the labeled rows", facts.drift.labeled),
    ]
    return " ".join(said)


def notices_of(facts: GenerationFacts, deciding: Deciding, *, certified: bool) -> list[Notice]:
    """Return what is to be known of labels that a finished model has given to new rows.

    Parameters
    ----------
    facts, deciding
        The generation, and what has labeled it.
    certified
        Whether the run that fitted the model certified labels of its own pool.
    """
    of = f"generation {deciding.generation}"
    promise = (
        f"The certificate of {of} is about the rows of its own pool and holds for these no more "
        "than they are like them"
        if certified
        else f"What was measured in {of} is about the rows of that time"
    )
    audit = " To know how good these labels are, have some of them looked at."
    notices = [
        Notice.about(
            "not_certified_later",
            f"{counted(facts.rows, 'row')} {agreeing(facts.rows, 'was', 'were')} labeled by "
            f"{deciding.name}, which was fitted in {of}. "
            f"{promise}.{audit}",
        )
    ]
    if facts.drifted and facts.drift is not None:
        notices.append(
            Notice.about(
                "drift",
                f"{drift_message(facts, deciding)} They were labeled all the same "
                "(incremental.on_shift: continue).",
            )
        )
    if facts.labels_changed:
        notices.append(
            Notice.about(
                "labels_not_learned",
                f"labeled holds other rows than {deciding.name} has learned from. A new model "
                "learns from them: --set incremental.refit=on_drift, or {every: 7}.",
            )
        )
    if facts.drift is not None and facts.drift.reference is None:
        notices.append(
            Notice.about(
                "no_earlier_sample",
                f"There is no sample of the pool that {deciding.name} was fitted for: files of it "
                "were gone or written again before the first --incremental, or it has fewer than "
                "20 rows. New rows are compared with the labeled ones alone, so that rows which "
                "are like these and unlike that pool are not noticed. A new model keeps a sample: "
                "--set incremental.refit={every: 1}, once.",
            )
        )
    return notices


def _compared(shift: Representativeness | None) -> ComparedRows | None:
    if shift is None:
        return None
    return ComparedRows(
        auc=shift.auc,
        auc_limit=shift.auc_limit,
        outside=shift.outside,
        shifted=shift.shifted,
        moved=dict(_most(shift)),
    )


def _most(shift: Representativeness) -> list[tuple[str, float]]:
    return sorted(shift.psi.items(), key=lambda item: -item[1])[:_NAMED]


def _apart(whom: str, shift: Representativeness | None) -> list[str]:
    if shift is None or not shift.shifted:
        return []
    columns = ", ".join(f"{name} (PSI {value:.2f})" for name, value in _most(shift))
    return [
        f"A model tells them from {whom} with an AUC of {shift.auc:.2f} (up to "
        f"{shift.auc_limit:.2f} is chance), {shift.outside:.0%} lie outside of these; most "
        f"different: {columns}."
    ]
