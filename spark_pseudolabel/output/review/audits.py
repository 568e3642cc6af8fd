"""What answers say of the labels that were audited, and of rows that they have certified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.core.trust.audit import Asked, Bounds, Prior, bounds, more_answers, settled
from spark_pseudolabel.output.review.labels import standing
from spark_pseudolabel.report.document import Audit, AuditedClass, CertifiedByAsking
from spark_pseudolabel.store.answers import (
    AnsweredSet,
    all_answers,
    asked_rows,
    codes_of,
    exported_sets,
)
from spark_pseudolabel.store.following import key_columns
from spark_pseudolabel.store.review import Exported, PublishedRows
from spark_pseudolabel.store.store import RoundStore

UNANSWERED = -2


def audits(store: RoundStore) -> list[Audit]:
    """Return every audit of an output, in the order in which they were begun."""
    exported = [each for each in exported_sets(store) if each.audit is not None]
    if not exported:
        return []
    answers, now = {each.set: each for each in all_answers(store)}, standing(store)
    found = [audit_of(store, each, answers.get(each.set), now) for each in exported]
    return sorted(found, key=lambda audit: audit.round)


def certified(store: RoundStore) -> list[CertifiedByAsking]:
    """Return for each set that was asked about the loosest cut that answers have shown."""
    by_set: dict[str | None, list[PublishedRows]] = {}
    for review in store.reviews:
        if review.published is not None and review.published.precision is not None:
            by_set.setdefault(review.published.set, []).append(review.published)
    return [_certified(steps) for steps in by_set.values()]


def _certified(steps: Sequence[PublishedRows]) -> CertifiedByAsking:
    last = steps[-1]  # each import shows the same cut or a looser one
    return CertifiedByAsking(
        precision=last.precision or 0.0,
        certainty=last.certainty or 0.0,
        round=last.round or 0,
        cut=last.cut or 0.0,
        rows=last.rows,
        coverage=last.coverage,
        answers=last.answers,
        published=sum(step.n_rows for step in steps),
    )


def answered_codes(
    store: RoundStore, exported: Exported, answers: AnsweredSet | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the predicted and the answered class of the rows asked, in their order.

    Returns
    -------
    tuple
        Two ndarrays of shape (n_asked,); of answers :data:`UNANSWERED`, or -1 for skipped.
    """
    asked = asked_rows(store, exported)
    predicted = asked.column(CODE).to_numpy().astype(np.int64)
    said = np.full(len(predicted), UNANSWERED, dtype=np.int64)
    if answers is not None and answers.rows.num_rows:
        keys = key_columns(store)
        place = KeySet.of([asked.column(key) for key in keys]).find(
            [answers.rows.column(key) for key in keys]
        )
        said[place[place >= 0]] = codes_of(answers.rows)[place >= 0]
    return predicted, said


def audit_of(store: RoundStore, exported: Exported, answers: AnsweredSet | None, now: str) -> Audit:
    """Return one audit.

    Parameters
    ----------
    store, exported, answers
        Of the output, the set, and what people have said.
    now
        The name of the labels as they stand.
    """
    terms = exported.audit
    assert terms is not None
    predicted, said = answered_codes(store, exported, answers)
    level, prior = terms.delta / len(terms.strata), Prior(terms.a, terms.b)
    found: list[tuple[Asked, Bounds, int]] = []
    for stratum in terms.strata:
        own = slice(None) if stratum.code is None else predicted == stratum.code
        asked = _asked(predicted[own], said[own], stratum.rows)
        more = more_answers(asked, terms.precision, level, prior)
        found.append((asked, bounds(asked, level, prior), more))
    lower, upper = (sum(getattr(of, side) for _, of, _ in found) for side in ("lower", "upper"))
    shown = settled(Bounds(lower, upper), terms.rows, terms.precision)
    answered = sum(asked.answers for asked, _, _ in found)
    return Audit(
        round=terms.audit,
        rows=terms.rows,
        asked=exported.rows,
        answers=answered,
        wrong=sum(asked.wrong for asked, _, _ in found),
        lower=lower,
        upper=upper,
        settled=shown is not None,
        shown=shown,
        precision=terms.precision,
        at_least=1.0 - upper / terms.rows if terms.rows else 1.0,
        at_most=1.0 - lower / terms.rows if terms.rows else 1.0,
        more=0 if shown is not None else sum(more for _, _, more in found),
        waiting=int(np.count_nonzero(said != UNANSWERED)) - answered,
        holds=terms.labels == now,
        by_class=[
            AuditedClass(
                label=store.models[0].classes[stratum.code],
                rows=stratum.rows,
                answers=asked.answers,
                wrong=asked.wrong,
                lower=of.lower,
                upper=of.upper,
                shown=settled(of, stratum.rows, terms.precision),
                more=more,
            )
            for stratum, (asked, of, more) in zip(terms.strata, found, strict=True)
            if stratum.code is not None
        ],
    )


def _asked(predicted: NDArray[np.int64], said: NDArray[np.int64], rows: int) -> Asked:
    """Count answers up to the first row without one: those behind it are not in an order of chance.

    A row that is left out and asked later is not left out by chance.
    """
    n = first_unanswered(said)
    return Asked(rows, n, int(np.count_nonzero(predicted[:n] != said[:n])))


def first_unanswered(said: NDArray[np.int64]) -> int:
    """Return the place of the first row without an answer; behind the last where all have one."""
    unanswered = np.flatnonzero(said == UNANSWERED)
    return int(unanswered[0]) if len(unanswered) else len(said)
