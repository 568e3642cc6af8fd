"""Certify by asking: its martingale from the definition, its promise and thrift simulated."""

import math

import numpy as np
import pytest

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.trust.asking import (
    RIGHT,
    UNANSWERED,
    WRONG,
    AskedCut,
    against_promise,
    answers_to_show,
    choose_cuts,
    for_promise,
    next_rows,
    try_cuts,
)
from spark_pseudolabel.core.trust.evidence import CalibrationRows

PROMISE = (0.95, 0.05)


def paths(rows: int, wrong: int, answers: tuple[int, ...]) -> float:
    """Return the probability of answers (1: wrong) in their order, without replacement."""
    p = 1.0
    for n, is_wrong in enumerate(answers):
        p *= (wrong if is_wrong else rows - n - wrong) / (rows - n)
        wrong -= is_wrong
    return p


@pytest.mark.parametrize("expected", [None, 0.01])
def test_evidence_for_is_a_martingale_at_the_boundary_and_falls_beyond_it(expected):
    # Of 40 rows 2 may be wrong. Over every order of 3 (and 5) wrong ones, its mean stays 1.
    cut = AskedCut(900, 40, expected)
    for wrong, at_most in ((3, 1.0), (5, 0.9999)):
        mean = 0.0
        for bits in range(2**6):
            answers = tuple(bits >> i & 1 for i in range(6))
            errors = np.cumsum(answers)
            evidence = float(for_promise(cut, errors, 0.95)[-1])
            mean += paths(40, wrong, answers) * math.exp(evidence)
        assert mean <= at_most + 1e-9
        if wrong == 3:
            assert mean == pytest.approx(1.0)


def test_evidence_against_is_a_martingale_at_its_boundary():
    # With 2 wrong ones of 40; what 5 answers say that this makes impossible is beyond its mean.
    mean, beyond = 0.0, 0.0
    for bits in range(2**5):
        answers = tuple(bits >> i & 1 for i in range(5))
        evidence = float(against_promise(AskedCut(900, 40), np.cumsum(answers), 0.95)[-1])
        if sum(answers) <= 2:
            mean += paths(40, 2, answers) * math.exp(evidence)
        else:
            beyond += math.isinf(evidence)
    assert 0.5 < mean <= 1.0
    assert beyond == 16  # three and more of five, all impossible


def test_all_rows_asked_settle_a_cut():
    cuts = (AskedCut(900, 40),)
    places = np.zeros(40, dtype=np.int64)
    for wrong, shown in ((2, True), (3, False)):
        known = np.full(40, RIGHT, dtype=np.int8)
        known[:wrong] = WRONG
        (tried,) = try_cuts(cuts, places, known, *PROMISE).tried
        assert (tried.answers, tried.wrong, tried.shown) == (40, wrong, shown)


def test_without_an_error_fewer_than_a_hundred_answers_show_a_large_cut():
    known = np.full(100, RIGHT, dtype=np.int8)
    places = np.zeros(100, dtype=np.int64)
    cut = AskedCut(900, 10**9)
    evidence = for_promise(cut, np.zeros(100, dtype=np.int64), 0.95)
    assert int((evidence < math.log(20)).sum()) < 85
    assert try_cuts((cut,), places, known, *PROMISE).state == "all"


def test_answers_behind_an_unanswered_row_wait():
    known = np.full(200, RIGHT, dtype=np.int8)
    known[10] = UNANSWERED
    outcome = try_cuts((AskedCut(900, 10_000),), np.zeros(200, dtype=np.int64), known, *PROMISE)
    assert outcome.tried[0].answers == 10
    assert outcome.state == "open"


def test_the_first_failure_ends_the_sequence():
    # The second cut's own rows are all wrong; the third holds nothing else.
    cuts = tuple(AskedCut(bin_, rows) for bin_, rows in ((900, 1000), (800, 1500), (700, 1600)))
    places = np.tile([0, 0, 1], 200)
    known = np.where(places == 0, RIGHT, WRONG).astype(np.int8)
    outcome = try_cuts(cuts, places, known, *PROMISE)
    assert [tried.shown for tried in outcome.tried] == [True, False]
    assert (outcome.shown, outcome.state) == (1, "refuted")
    assert not len(next_rows(cuts, places, known, outcome, PROMISE, 10_000))


def a_pool(n: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences and what is right, as of a calibrated model that is right in 88 %."""
    chance = np.random.default_rng(seed)
    confidence = np.round(1 - 0.5 * chance.beta(0.6, 2.0, size=n), 6)
    return confidence, chance.random(n) < confidence


def counts_of(confidence: np.ndarray) -> Counts:
    return Counts.of(1, np.zeros(len(confidence), dtype=np.int32), confidence)


def labeled_rows(n: int = 500) -> CalibrationRows:
    confidence, right = a_pool(n, seed=1)
    return CalibrationRows(np.zeros(n, dtype=np.int32), confidence, right)


def test_cuts_grow_looser_and_end_with_the_whole_pool():
    confidence, _ = a_pool()
    for labeled in (labeled_rows(), None):
        cuts = choose_cuts(counts_of(confidence), labeled, PROMISE, 300)
        rows = [cut.rows for cut in cuts]
        assert rows == sorted(set(rows))
        assert rows[-1] == len(confidence)
        assert all((cut.expected is None) == (labeled is None) for cut in cuts)
    assert choose_cuts(counts_of(confidence[:0]), None, PROMISE, 300) == ()


def test_the_more_answers_there_are_to_be_the_stricter_the_first_cut():
    confidence, _ = a_pool()
    few, many = (
        choose_cuts(counts_of(confidence), labeled_rows(), PROMISE, budget)[0].rows
        for budget in (300, 2000)
    )
    assert many <= few


def asked(budget: int, seed: int) -> tuple[float, float, int]:
    """Return share and precision of what is certified, and the answers it took."""
    confidence, right = a_pool(seed=seed)
    cuts = choose_cuts(counts_of(confidence), labeled_rows(), PROMISE, budget)
    order = np.random.default_rng(seed).permutation(len(confidence))
    bins = np.floor(np.round(confidence[order] * 1e6) / 1000)
    limits = np.array([cut.bin for cut in cuts])
    places = (bins[:, np.newaxis] < limits).sum(axis=1)
    rows = np.flatnonzero(places < len(cuts))
    truth, places = right[order][rows].astype(np.int8), places[rows]
    known = np.full(len(rows), UNANSWERED, dtype=np.int8)
    while True:
        outcome = try_cuts(cuts, places, known, *PROMISE)
        chosen = next_rows(cuts, places, known, outcome, PROMISE, budget)
        if not len(chosen):
            break
        assert len(set(chosen)) == len(chosen)
        assert (known[chosen] == UNANSWERED).all()
        known[chosen] = truth[chosen]
    inside = places < outcome.shown
    share = float(inside.sum() / len(confidence))
    return share, float(truth[inside].mean()) if share else 1.0, int((known != UNANSWERED).sum())


def test_promise_and_budget_are_kept_and_most_of_what_can_be_shown_is():
    confidence, right = a_pool(200_000, seed=9)
    ordered = right[np.argsort(-confidence, kind="stable")]
    precision = ordered.cumsum() / np.arange(1, len(ordered) + 1)
    oracle = np.flatnonzero(precision >= 0.95)[-1] / len(ordered)
    for budget, draws, ratio in ((300, 8, 0.5), (1000, 3, 0.75)):
        runs = [asked(budget, seed) for seed in range(draws)]
        assert all(answers <= budget for _, _, answers in runs)
        assert sum(precision < 0.95 for _, precision, _ in runs) <= 1
        assert np.mean([share for share, _, _ in runs]) >= ratio * oracle


def test_hardly_any_number_of_answers_tells_what_is_nearly_too_much():
    assert math.isinf(answers_to_show(0.049, 0.05, 0.05))
    assert 60 < answers_to_show(0.001, 0.05, 0.05) < answers_to_show(0.02, 0.05, 0.05) < 400
