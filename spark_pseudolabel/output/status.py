"""``status``: how far a run is, what it has labeled, why it stopped, and who holds its output."""

from __future__ import annotations

from typing import TypedDict

from spark_pseudolabel.output.generations import generations_of, reported, sums_of
from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.report.document import (
    Audit,
    CertifiedByAsking,
    Counters,
    LeaseInfo,
    Metrics,
    ReviewState,
    StatusDocument,
    StatusRound,
    label_key,
)
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.generations import End, Generations
from spark_pseudolabel.store.given_rows import read_given
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.lease import LeaseRecord, read_lease
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import RoundStore


def read_status(out: str, *, opened: Opened | None = None) -> StatusDocument:
    """Read how far the run of an output is.

    Parameters
    ----------
    out
        The output.
    opened
        The same, if the caller has opened it.

    Raises
    ------
    InputError
        If there is no run.
    StoredStateError
        If what is stored there is damaged.
    """
    files, root = opened or open_files(out)
    generations = Generations.read(files, root)
    if generations is not None and (ended := generations.ended) is not None:
        return _of_generations(out, generations, ended[0], _lease(read_lease(files, root)))
    store = RoundStore.open(files, root)
    final = store.final
    lease = _lease(read_lease(files, root))
    return StatusDocument(
        output=out,
        run_id=store.run_id,
        state=_state(store, lease),
        termination_condition=final.termination_condition if final else None,
        rounds=[_round(store, manifest) for manifest in store.rounds],
        best_round=final.best_round if final else None,
        counters=_counters(store),
        lease=lease,
        **_reviewed(store),
    )


def _of_generations(
    out: str, generations: Generations, end: End, lease: LeaseInfo | None
) -> StatusDocument:
    """Tell how far an incremental run is: the rounds of its last generation, the rows of all."""
    number = generations.count
    store = generations.store(number if generations.end(number) is None else end.generation)
    unfinished = store.generation > end.generation
    state = "done"
    if unfinished or (store.final is not None and not store.views_are_current()):
        state = "resumable"
    elif end.facts.outcome == "drift":
        state = "drift"
    final, sums = store.final, end.sums
    ended = str(reported(generations, end)["termination_condition"])
    first = generations.store(1)
    given, accepted = read_given(first), sums.accepted + first.change_of_labels
    labeled = 0 if given is None else given.num_rows
    return StatusDocument(
        output=out,
        run_id=store.run_id,
        state="running" if lease is not None else state,
        termination_condition=None if unfinished else ended,
        rounds=[_round(store, manifest) for manifest in store.rounds],
        best_round=None if final is None else final.best_round,
        counters=Counters(
            TotalLabeled=labeled + accepted,
            HumanLabeled=labeled,
            MachineLabeled=accepted,
            FailedNonRetryableError=sums.invalid,
            Unlabeled=sums.rows - sums.invalid - accepted,
        ),
        lease=lease,
        **_reviewed(first, sums.accepted),
        generations=generations_of(end),
        all_generations=sums_of(sums),
    )


class _Reviewed(TypedDict, total=False):
    """The fields of what people did."""

    review: ReviewState | None
    audits: list[Audit]
    certified: list[CertifiedByAsking]


def _reviewed(store: RoundStore, accepted: int | None = None) -> _Reviewed:
    if not store.reviews:
        return {}
    # The bounds of an audit load scipy, which takes a third of the command's time.
    from spark_pseudolabel.output.review.audits import audits, certified
    from spark_pseudolabel.output.review.state import review_state

    return {
        "review": review_state(store, accepted),
        "audits": audits(store),
        "certified": certified(store),
    }


def is_used(store: RoundStore, number: int) -> bool | None:
    """Whether a round's labels are used; None while the run has no end."""
    return number <= (store.final.best_round or 0) if store.final else None


def _state(store: RoundStore, lease: LeaseInfo | None) -> str:
    if lease is not None:
        return "running"
    return "done" if store.final is not None and store.views_are_current() else "resumable"


def _counters(store: RoundStore) -> Counters:
    used = [manifest for manifest in store.rounds if is_used(store, manifest.number) is not False]
    if store.settings.rounds.relabel:
        used = used[-1:]
    labels = read_given(store)
    labeled = labels.num_rows if labels is not None else 0
    accepted = sum(manifest.counts.accepted for manifest in used) + store.change_of_labels
    invalid = sum(manifest.counts.invalid for manifest in used)
    return Counters(
        TotalLabeled=labeled + accepted,
        HumanLabeled=labeled,
        MachineLabeled=accepted,
        FailedNonRetryableError=invalid,
        Unlabeled=store.inputs.unlabeled.rows - accepted - invalid,
    )


def _round(store: RoundStore, manifest: RoundManifest) -> StatusRound:
    counts = manifest.counts
    following = store.model(manifest.number + 1)
    labels = [label_key(label) for label in store.models[0].classes]
    return StatusRound(
        round=manifest.number,
        model=model_name(manifest.number),
        candidates=counts.candidates,
        accepted=counts.accepted,
        rejected=counts.rejected,
        invalid=counts.invalid,
        accepted_by_class=dict(zip(labels, counts.accepted_by_code, strict=True)),
        used=is_used(store, manifest.number),
        validation=Metrics.from_optional(following.validation) if following else None,
        written_at=manifest.written_at,
    )


def _lease(lease: LeaseRecord | None) -> LeaseInfo | None:
    if lease is None:
        return None
    return LeaseInfo(host=lease.host, pid=lease.pid, since=lease.since, live=True)
