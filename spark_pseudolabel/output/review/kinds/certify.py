"""``--certify``: scored rows at random, strict to loose, until answers show a cut's precision."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.columns import (
    CLASS_SCORES,
    CODE,
    CONFIDENCE,
    INVALID,
    LABEL,
    MODEL,
    RAW_CONFIDENCE,
    RAW_SCORE,
    ROUND,
    SCORE,
    WEIGHT,
)
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.core.selection.apply import accepted_mask, candidate_codes
from spark_pseudolabel.core.selection.counts import bin_of
from spark_pseudolabel.core.teachers.cross_fitting import rounded
from spark_pseudolabel.core.trust.asking import (
    RIGHT,
    UNANSWERED,
    WRONG,
    AskedCut,
    Outcome,
    choose_cuts,
    next_rows,
    try_cuts,
)
from spark_pseudolabel.core.trust.evidence import CalibrationRows
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.review.drawing import Drawing
from spark_pseudolabel.output.review.finished import FinishedRun
from spark_pseudolabel.output.review.kind import Conclusion, Questions, ReviewKind, Wish
from spark_pseudolabel.program import command
from spark_pseudolabel.report.words import count
from spark_pseudolabel.report.words import rows as rows_in_words
from spark_pseudolabel.store.answers import (
    AnsweredSet,
    answers_of,
    asked_rows,
    codes_of,
    exported_sets,
)
from spark_pseudolabel.store.following import revoked_keys
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.manifest import FileEntry, RoundManifest
from spark_pseudolabel.store.review import CertifyTerms, CutTerms, Exported, PublishedRows
from spark_pseudolabel.store.store import Attempt
from spark_pseudolabel.wording import agreeing, counted

RISK = 0.05
"""Probability that what is certified does not hold what it promises."""
_SALT = 3_935_559_000_370_003_845
_ROWS_IN_FILE = 500_000


class Certify(ReviewKind):
    """Rows of the cut under test, in the order of chance of the whole scored pool."""

    name = "certify"
    kept = (CODE,)

    def ask(self, run: FinishedRun, wish: Wish) -> Questions:
        """Return the next rows, or why there is nothing more to ask."""
        assert wish.precision is not None
        begun = _begun(run, wish.precision)
        terms = _new_terms(run, wish) if begun is None else _terms_of(begun)
        test = _Test.of(run, terms, begun, wish.rows)
        chosen = next_rows(
            test.cuts, test.places, test.known, test.outcome, (terms.precision, RISK), wish.rows
        )
        rows = test.rows.select([*run.keys, CODE]).take(pa.array(chosen))
        settled = None if len(chosen) else _settled(test, terms, wish.rows)
        return Questions(
            rows=rows,
            identity={
                "precision": terms.precision,
                "round": terms.round,
                "end": run.final.commit_id,
            },
            first=test.n_answered + 1,
            asked=_with_earlier(run, begun, rows),
            settled=settled,
        )

    def terms(self, run: FinishedRun, wish: Wish, exported: Exported) -> Exported:
        """Fix the cuts and the order in which they are tested."""
        assert wish.precision is not None
        begun = _begun(run, wish.precision)
        terms = _new_terms(run, wish) if begun is None else _terms_of(begun)
        return exported.model_copy(update={"certify": terms})

    def conclude(
        self, run: FinishedRun, exported: Exported, answers: AnsweredSet, attempt: Attempt
    ) -> Conclusion:
        """Publish the rows of the loosest cut that is shown."""
        terms = _terms_of(exported)
        test = _Test.of(run, terms, exported, exported.wanted, answers)
        published = None
        if test.outcome.shown:
            published = _publish(run, exported, test, answers, attempt)
        again = command(
            *("review", "export", run.out, "--certify", f"{terms.precision:g}"),
            *("--budget", str(exported.wanted), "--to", run.next_folder),
        )
        is_open = test.outcome.state == "open" and test.n_answered < exported.wanted
        return Conclusion(
            text=_sentences(test, terms, exported.wanted),
            published=published,
            next=(again,) if is_open else (),
        )


# --- what was settled before the first answer


def _begun(run: FinishedRun, precision: float) -> Exported | None:
    """Return the set of this promise, exported from the run's latest end."""
    number = _round(run).number
    for each in exported_sets(run.store):
        terms = each.certify
        if terms is None or (terms.precision, terms.round) != (precision, number):
            continue
        if terms.end == run.final.commit_id:
            return each
    return None


def _terms_of(exported: Exported) -> CertifyTerms:
    assert exported.certify is not None
    return exported.certify


def _round(run: FinishedRun) -> RoundManifest:
    """Return the round whose scored rows are asked about: the last one whose labels stand.

    Where none does, the first: it has scored the whole pool.
    """
    used = run.used_rounds
    if used:
        return used[-1]
    if not run.store.rounds:
        raise InputError(
            f"{run.out} has no scored rows to certify: its run has ended before a round. Run it "
            "with rounds.max of at least 1.",
            code="nothing_to_ask",
            where=run.out,
        )
    return run.store.rounds[0]


def _new_terms(run: FinishedRun, wish: Wish) -> CertifyTerms:
    assert wish.precision is not None
    manifest = _round(run)
    labeled = _labeled(run)
    cuts = choose_cuts(manifest.histogram, labeled, (wish.precision, RISK), wish.rows)
    return CertifyTerms(
        precision=wish.precision,
        risk=RISK,
        round=manifest.number,
        end=run.final.commit_id,
        pool=manifest.histogram.total,
        cuts=tuple(CutTerms(bin=c.bin, rows=c.rows, expected=c.expected) for c in cuts),
    )


def _labeled(run: FinishedRun) -> CalibrationRows | None:
    """Return labeled rows with the scores of models that have not seen them."""
    first = run.store.models[0]
    if first.oof_scores is None:
        return None
    scores = read_bytes(run.store.read_file(first.oof_scores))
    P = np.stack(scores.column(CLASS_SCORES).to_numpy())
    if first.adjustment is not None:
        P = rounded(first.adjustment.apply(P))
    known = np.isfinite(P).all(axis=1) & (P > 0).any(axis=1)
    codes = scores.column(CODE).to_numpy().astype(np.int32)
    return CalibrationRows.from_scores(P[known], codes[known])


# --- the test


@dataclass(frozen=True)
class _Test:
    """The cuts, and what answers say of them.

    Parameters
    ----------
    cuts
        In the order in which they are tested.
    rows
        Scored rows in the order of chance: keys and `CODE`; of each cut as many as can be asked.
    places
        ndarray of shape (n_rows,): the first cut that holds each row.
    known
        ndarray of shape (n_rows,): whether the label is right, as far as answers tell.
    outcome
        What they show.
    """

    cuts: tuple[AskedCut, ...]
    rows: pa.Table
    places: NDArray[np.int64]
    known: NDArray[np.int8]
    outcome: Outcome

    @property
    def n_answered(self) -> int:
        """How many answers there are."""
        return int(np.count_nonzero(self.known != UNANSWERED))

    @classmethod
    def of(
        cls,
        run: FinishedRun,
        terms: CertifyTerms,
        exported: Exported | None,
        budget: int,
        answers: AnsweredSet | None = None,
    ) -> _Test:
        cuts = tuple(AskedCut(cut.bin, cut.rows, cut.expected) for cut in terms.cuts)
        if answers is None and exported is not None:
            answers = answers_of(run.store, exported.set)
        n = max(budget, 0 if exported is None else exported.rows)
        rows = _first_rows(run, terms, n)
        places = _places(bin_of(rows.column(SCORE).to_numpy()), terms)
        known = _known(run, rows, answers)
        outcome = try_cuts(cuts, places, known, terms.precision, terms.risk)
        return cls(cuts, rows, places, known, outcome)


def _scored(run: FinishedRun, number: int, more: tuple[str, ...] = ()) -> Iterator[pa.Table]:
    """Yield the rows of a round that have a score and no reason against them."""
    manifest = run.store.rounds[number - 1]
    names = [*run.keys, CODE, SCORE, INVALID, *more]
    for batch in run.batches_of(manifest.scored, names):
        rows = pa.Table.from_batches([batch])
        yield rows.filter(pa.array(candidate_codes(rows) >= 0))


def _places(bins: NDArray[np.int64], terms: CertifyTerms) -> NDArray[np.int64]:
    """Return the first cut that holds each row; as many as there are cuts where none does."""
    loosest_first = np.array([cut.bin for cut in terms.cuts][::-1], dtype=np.int64)
    held = np.searchsorted(loosest_first, bins, side="right")
    places: NDArray[np.int64] = len(loosest_first) - held
    return places


def _first_rows(run: FinishedRun, terms: CertifyTerms, n: int) -> pa.Table:
    drawing = Drawing(run.keys, run.random_state, _SALT, n, max(1, len(terms.cuts)))
    for rows in _scored(run, terms.round):
        places = _places(bin_of(rows.column(SCORE).to_numpy()), terms)
        kept = rows.select([*run.keys, CODE, SCORE])
        drawing.add(kept, np.where(places < len(terms.cuts), places, -1))
    drawn = drawing.rows()
    if drawn is None:
        raise InputError(
            f"{run.out} has no scored row to certify: no row of the pool got a label from the "
            "model. Look at OUT/invalid and OUT/undecided.",
            code="nothing_to_ask",
            where=run.out,
        )
    return drawn


def _known(run: FinishedRun, rows: pa.Table, answers: AnsweredSet | None) -> NDArray[np.int8]:
    known = np.full(rows.num_rows, UNANSWERED, dtype=np.int8)
    if answers is None or not answers.rows.num_rows:
        return known
    place = KeySet.of([answers.rows.column(key) for key in run.keys]).find(
        [rows.column(key) for key in run.keys]
    )
    answered = place >= 0
    right = codes_of(answers.rows)[place[answered]] == rows.column(CODE).to_numpy()[answered]
    known[answered] = np.where(right, RIGHT, WRONG)
    return known


def _with_earlier(run: FinishedRun, begun: Exported | None, rows: pa.Table) -> pa.Table:
    """Return all rows asked so far, then the new ones among `rows`."""
    if begun is None:
        return rows
    earlier = asked_rows(run.store, begun).select(rows.column_names)
    known = KeySet.of([earlier.column(key) for key in run.keys])
    is_new = ~known.contains([rows.column(key) for key in run.keys])
    return pa.concat_tables([earlier, rows.filter(pa.array(is_new)).cast(earlier.schema)])


# --- what is said


def _sentences(test: _Test, terms: CertifyTerms, budget: int) -> tuple[str, ...]:
    promise = f"precision {terms.precision:g} with {1 - terms.risk:.0%} certainty"
    wrong = int(np.count_nonzero(test.known == WRONG))
    told = [f"{count(test.n_answered)} answered, {count(wrong)} wrong."]
    if test.outcome.shown:
        cut = test.cuts[test.outcome.shown - 1]
        told.append(
            f"Shown: {promise} for the {rows_in_words(cut.rows)} ({cut.rows / terms.pool:.0%} of "
            f"the scored ones) with a confidence of at least {cut.bin / 1000:g}."
        )
    else:
        told.append(f"No cut is shown to have {promise} yet.")
    told.append(_what_is_left(test, terms, budget))
    return tuple(told)


def _what_is_left(test: _Test, terms: CertifyTerms, budget: int) -> str:
    if test.outcome.state == "all":
        return "That is every scored row: nothing is left to ask."
    last = test.outcome.tried[-1] if test.outcome.tried else None
    if test.outcome.state == "refuted":
        assert last is not None
        cut = test.cuts[last.cut]
        lower = "" if test.outcome.shown else " Ask for less with a lower --certify."
        return (
            f"The next cut, {cut.bin / 1000:g}, surely holds too many wrong labels: nothing looser "
            f"is asked about.{lower}"
        )
    left = budget - test.n_answered
    if left <= 0:
        return "The budget is used up; a larger --budget goes on from here."
    verb = agreeing(left, "is", "are")
    return f"{counted(left, 'answer')} of the budget {verb} left to show a looser cut."


def _settled(test: _Test, terms: CertifyTerms, budget: int) -> str:
    return " ".join(_sentences(test, terms, budget))


# --- what is published


def _publish(
    run: FinishedRun, exported: Exported, test: _Test, answers: AnsweredSet, attempt: Attempt
) -> PublishedRows | None:
    """Write the certified rows that have no label yet; None where there are none."""
    terms = _terms_of(exported)
    cut = test.cuts[test.outcome.shown - 1]
    before = _published_bin(run, terms.round)
    if before is not None and before <= cut.bin:
        return None
    files = tuple(_files(run, terms, cut.bin, before, answers, attempt))
    if not files:
        return None
    return PublishedRows(
        files=files,
        set=exported.set,
        round=terms.round,
        cut=cut.bin / 1000,
        precision=terms.precision,
        certainty=1 - terms.risk,
        rows=cut.rows,
        coverage=cut.rows / terms.pool,
        answers=test.n_answered,
    )


def _published_bin(run: FinishedRun, number: int) -> int | None:
    """Return the loosest bin of a round whose rows answers have certified before."""
    cuts = [
        round(step.cut * 1000)
        for review in run.store.reviews
        if (step := review.published) is not None and step.round == number and step.cut is not None
    ]
    return min(cuts, default=None)


def _files(
    run: FinishedRun,
    terms: CertifyTerms,
    bin_: int,
    before: int | None,
    answers: AnsweredSet,
    attempt: Attempt,
) -> Iterator[FileEntry]:
    waiting: list[pa.Table] = []
    n_waiting, n_files = 0, 0
    for rows in _certified(run, terms, bin_, before, answers):
        waiting.append(rows)
        n_waiting += rows.num_rows
        if n_waiting >= _ROWS_IN_FILE:
            yield _file(run, attempt, n_files, pa.concat_tables(waiting))
            waiting, n_waiting, n_files = [], 0, n_files + 1
    if n_waiting:
        yield _file(run, attempt, n_files, pa.concat_tables(waiting))


def _file(run: FinishedRun, attempt: Attempt, number: int, rows: pa.Table) -> FileEntry:
    sink = io.BytesIO()
    pq.write_table(rows, sink, write_page_checksum=True)
    name = f"published-{number:05d}.parquet"
    return run.store.write_file(attempt, name, sink.getvalue(), rows.num_rows)


def _certified(
    run: FinishedRun, terms: CertifyTerms, bin_: int, before: int | None, answers: AnsweredSet
) -> Iterator[pa.Table]:
    """Yield published rows: of the cut, without a label, not taken back, not contradicted."""
    manifest = run.store.rounds[terms.round - 1]
    is_used = any(used.number == terms.round for used in run.used_rounds)
    taken_back = revoked_keys(run.store)
    asked = KeySet.of([answers.rows.column(key) for key in run.keys])
    said = codes_of(answers.rows)
    for rows in _scored(run, terms.round, (RAW_SCORE,)):
        keys = [rows.column(key) for key in run.keys]
        bins = bin_of(rows.column(SCORE).to_numpy())
        kept = bins >= bin_
        if before is not None:
            kept &= bins < before
        if is_used:
            kept &= ~accepted_mask(manifest.plan, rows, run.keys)
        kept &= ~taken_back.contains(keys)
        place = asked.find(keys)
        codes = rows.column(CODE).to_numpy()
        contradicted = (place >= 0) & (said[place] >= 0) & (said[place] != codes)
        kept &= ~contradicted
        if kept.any():
            yield _as_published(run, manifest, rows.filter(pa.array(kept)))


def _as_published(run: FinishedRun, manifest: RoundManifest, rows: pa.Table) -> pa.Table:
    labels = pa.array(run.classes).take(rows.column(CODE).combine_chunks())
    columns = {key: rows.column(key) for key in run.keys}
    columns |= {LABEL: labels, CONFIDENCE: rows.column(SCORE)}
    if RAW_SCORE in rows.column_names:
        columns[RAW_CONFIDENCE] = rows.column(RAW_SCORE)
    n = rows.num_rows
    columns[ROUND] = pa.array(np.full(n, manifest.number, dtype=np.int32))
    columns[MODEL] = pa.repeat(model_name(manifest.number), n)
    columns[WEIGHT] = pa.repeat(0.0, n)
    return pa.table(columns)
