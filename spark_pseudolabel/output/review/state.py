"""What people did since the end of a run, as status and reports tell it."""

from __future__ import annotations

from collections.abc import Mapping

from spark_pseudolabel.report.document import ReviewedSet, ReviewState, RevokedStep
from spark_pseudolabel.store.answers import AnsweredSet, all_answers, exported_sets
from spark_pseudolabel.store.review import SKIPPED
from spark_pseudolabel.store.store import RoundStore


def review_state(store: RoundStore, accepted: int | None = None) -> ReviewState | None:
    """Return what people did; None where that is nothing.

    Parameters
    ----------
    store
        The run, the first of several generations.
    accepted
        Labels that all generations have given; None: the run alone.
    """
    if not store.reviews or store.final is None:
        return None
    steps = [(step, review) for review in store.reviews for step in review.revoked]
    revoked = sum(step.n_rows for step, _ in steps)
    published = sum(
        review.published.n_rows for review in store.reviews if review.published is not None
    )
    certificate = store.final.report.document.get("certificate")
    claimed = isinstance(certificate, Mapping) and bool(certificate.get("claimed"))
    return ReviewState(
        commits=len(store.reviews),
        sets=_sets(store),
        revoked=revoked,
        # A model that a longer run has fitted since has not learned from them.
        trained_on_revoked=sum(
            step.trained_on for step, _ in steps if step.model in (None, store.final.final_model)
        ),
        published=published,
        labels=(store.final.counts.accepted if accepted is None else accepted)
        + store.change_of_labels,
        certificate_holds=(revoked == 0 and published == 0) if claimed else None,
        steps=[
            RevokedStep(
                by=step.by,
                round=step.round,
                label=step.label,
                rows=step.n_rows,
                written_at=review.written_at,
            )
            for step, review in steps
        ],
    )


def _sets(store: RoundStore) -> list[ReviewedSet]:
    answers = {each.set: each for each in all_answers(store)}
    sets = [
        ReviewedSet(
            kind=exported.kind,
            number=exported.number,
            rows=exported.rows,
            **_answered(answers.pop(exported.set, None)),
        )
        for exported in exported_sets(store)
    ]
    return sets + [
        ReviewedSet(kind=None, number=None, rows=None, **_answered(each))
        for each in answers.values()
    ]


def _answered(answers: AnsweredSet | None) -> Mapping[str, int]:
    if answers is None:
        return {"answered": 0, "skipped": 0}
    skipped = int(answers.rows.column(SKIPPED).to_numpy().sum())
    return {"answered": answers.rows.num_rows - skipped, "skipped": skipped}
