"""The loosest cut of a scored pool that a person's answers certify.

Cuts are fixed before the first answer, and tested from the first one on, each looser than the one
before. Of a cut those of its rows are asked that come first in one order of chance of the whole
pool, so that an answer serves every cut that holds its row (after BARGAIN, SIGMOD 2026). A cut is
shown when a martingale for sampling without replacement passes ``1 / risk`` after any answer; the
first cut that is not shown ends the sequence. What is asked next, when, and how often one looks is
free: for each cut the martingale passes by chance with a probability of at most the risk, and of
the cuts that don't hold what is promised, a fixed sequence can wrongly pass none but the first.

The martingale is a mixture of likelihood ratios, exact for 0 and 1 drawn without replacement
(hypergeometric). It is the betting martingale whose bets follow what answers so far, and the
labeled rows' out-of-fold scores, say of the share of errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, logsumexp
from sklearn.linear_model import LogisticRegression

from spark_pseudolabel.core.selection.counts import BINS, Counts
from spark_pseudolabel.core.trust.evidence import CalibrationRows, tail_of
from spark_pseudolabel.core.trust.finite_population import allowed_wrong

STEP = 0.02
"""Share of the pool by which a cut is looser than the one before it, at least."""

UNANSWERED, WRONG, RIGHT = -1, 0, 1
"""What is known of a row; one that a person could not tell counts as wrong."""

_START_UNKNOWN = 0.1  # of the pool, where no labeled row tells of errors
_FEWEST_ROWS = 120  # of the first cut: of fewer, nearly all have to be asked
_TELLING = 20  # labeled rows, of which fewer say nothing of a cut's errors
_HELD = 50.0  # the same where the next rows are chosen
_MIXTURE_COST = 0.7  # in natural units of evidence: what not knowing the share of errors costs
_STRENGTH = 150.0  # in rows: how much the labeled rows' share of errors is believed
_BELIEVED = 0.85  # of the mixture; the rest is open to any share of errors
_POINTS = 24
_ROUNDING = 1e-9
# A share of errors near what is allowed takes answers without end to tell from it.
_HOPEFUL = 0.9
_SITTINGS = 6
_SMALLEST_SITTING = 50

State = Literal["open", "refuted", "all"]


@dataclass(frozen=True)
class AskedCut:
    """A cut to be tested.

    Parameters
    ----------
    bin
        Pool rows of this confidence bin and above.
    rows
        How many there are.
    expected
        The share of errors that labeled rows show, None where there are none.
    """

    bin: int
    rows: int
    expected: float | None = None


@dataclass(frozen=True)
class TriedCut:
    """What the answers say of a cut.

    Parameters
    ----------
    cut
        Which one it is, from 0.
    answers, wrong
        Rows of the cut that were asked, without one left out in the order of chance; the wrong.
    shown
        Whether so many are right as is promised: shown, refuted, or None: open.
    """

    cut: int
    answers: int
    wrong: int
    shown: bool | None


@dataclass(frozen=True)
class Outcome:
    """What is certified.

    Parameters
    ----------
    tried
        The cuts that were tested, in order; the last one may be open.
    state
        ``"open"``: more answers may show more. ``"refuted"``: the last cut tested surely does not
        hold the promise. ``"all"``: every cut is shown.
    """

    tried: tuple[TriedCut, ...]
    state: State

    @property
    def shown(self) -> int:
        """How many cuts are shown."""
        return sum(of.shown is True for of in self.tried)


def choose_cuts(
    pool: Counts,
    labeled: CalibrationRows | None,
    promise: tuple[float, float],
    budget: int,
) -> tuple[AskedCut, ...]:
    """Choose the cuts, in the order in which they are tested.

    By the pool's scores and what labeled rows show, before any answer. To show a looser cut, the
    order of chance has to be asked to some depth; the first cut is the strictest one that as
    deep a look is likely to show as well, so that it is safe and costs nothing.

    Parameters
    ----------
    pool
        The scored rows.
    labeled
        Labeled rows with scores of models that have not seen them; None: there are none.
    promise
        Share of right labels to be shown, in (0, 1), and allowed probability of a failure.
    budget
        How many answers there are to be.

    Returns
    -------
    tuple of AskedCut
        Empty for a pool without rows.
    """
    of_bin = pool.n.sum(axis=0)
    tail = tail_of(of_bin)
    total = int(tail[0])
    if not total:
        return ()
    wanted = np.minimum(np.ceil(np.arange(STEP, 1 + STEP, STEP) * total), total)
    bins = sorted({int(np.flatnonzero(tail >= n)[-1]) for n in wanted}, reverse=True)
    cuts = [AskedCut(bin_, int(tail[bin_])) for bin_ in bins]
    wanted_rows = _START_UNKNOWN * total
    if labeled is not None and len(labeled.codes) >= _TELLING and not labeled.right.all():
        errors = tail_of(of_bin * _errors_by_bin(labeled))
        cuts = [replace(cut, expected=float(errors[cut.bin]) / cut.rows) for cut in cuts]
        wanted_rows = cuts[_first(cuts, promise, budget)].rows
    elif labeled is not None and len(labeled.codes) >= _TELLING:
        cuts = [replace(cut, expected=0.5 / len(labeled.codes)) for cut in cuts]
    wanted_rows = min(max(wanted_rows, _FEWEST_ROWS), total)
    start = int(np.abs(np.array([cut.rows for cut in cuts]) - wanted_rows).argmin())
    return tuple(cuts[start:])


def _errors_by_bin(labeled: CalibrationRows) -> NDArray[np.float64]:
    """Return the share of errors that labeled rows let expect in each bin.

    By two numbers, a slope and a level of the confidence's log odds (Platt 2000): shares counted
    at single cuts are too noisy to choose among cuts.
    """
    model = LogisticRegression(C=1.0).fit(_log_odds(labeled.confidence), ~labeled.right)
    middles = np.minimum((np.arange(BINS) + 0.5) / (BINS - 1), 1.0)
    errors: NDArray[np.float64] = model.predict_proba(_log_odds(middles))[:, 1]
    return errors


def _log_odds(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    p = np.clip(confidence, 0.001, 0.999)
    odds: NDArray[np.float64] = np.log(p / (1 - p))[:, np.newaxis]
    return odds


def _first(cuts: Sequence[AskedCut], promise: tuple[float, float], budget: int) -> int:
    """Return the cut to begin with."""
    precision, risk = promise
    shares = np.array([cut.expected for cut in cuts], dtype=np.float64)
    rows = np.array([cut.rows for cut in cuts], dtype=np.float64)
    answers = np.array([answers_to_show(share, 1.0 - precision, risk) for share in shares])
    depth = answers / rows
    within = np.flatnonzero(answers <= budget)
    if not len(within):
        return int(answers.argmin())
    best = int(depth.argmin())
    as_deep = np.flatnonzero(depth <= max(depth[best], budget / rows[within[-1]]))
    return int(as_deep[0])


def answers_to_show(share: float, error: float, risk: float) -> float:
    """Estimate how many answers show a cut with this share of errors; infinite for hardly any."""
    if share >= _HOPEFUL * error:
        return math.inf
    return (_MIXTURE_COST - math.log(risk)) / float(divergence(np.array(share), error))


def divergence(share: NDArray[np.float64], error: float) -> NDArray[np.float64]:
    """Return the evidence of one answer against a share of errors, if another one is the truth.

    That is the divergence of Kullback and Leibler, in natural units.
    """
    p = np.clip(share, 1e-9, 1 - 1e-9)
    evidence: NDArray[np.float64] = p * np.log(p / error) + (1 - p) * np.log((1 - p) / (1 - error))
    return evidence


def try_cuts(
    cuts: Sequence[AskedCut],
    places: NDArray[np.int64],
    known: NDArray[np.int8],
    precision: float,
    risk: float,
    passed: int = 0,
) -> Outcome:
    """Say which cuts the answers show.

    Parameters
    ----------
    cuts
        As chosen before the first answer.
    places
        ndarray of shape (n,): of rows in the order of chance, the first cut that holds each. Of
        every cut so many of its first rows are among them as there are answers to be used.
    known
        ndarray of shape (n,): :data:`UNANSWERED`, :data:`WRONG` or :data:`RIGHT`. Of a cut, what
        comes behind its first unanswered row waits until that row is answered.
    precision, risk
        As when the cuts were chosen.
    passed
        How many cuts a part of these answers is known to have shown.
    """
    tried: list[TriedCut] = []
    for i, cut in enumerate(cuts):
        of_cut = known[places <= i]
        unanswered = np.flatnonzero(of_cut == UNANSWERED)
        answered = of_cut[: unanswered[0]] if len(unanswered) else of_cut
        errors = np.cumsum(answered == WRONG)
        shown: bool | None = None
        if i < passed or _passes(for_promise(cut, errors, precision), risk):
            shown = True
        elif _passes(against_promise(cut, errors, precision), risk):
            shown = False
        tried.append(TriedCut(i, len(answered), int(errors[-1]) if len(errors) else 0, shown))
        if not shown:
            return Outcome(tuple(tried), "open" if shown is None else "refuted")
    return Outcome(tuple(tried), "all")


def _passes(evidence: NDArray[np.float64], risk: float) -> bool:
    return bool((evidence >= -math.log(risk) + _ROUNDING).any())


def for_promise(cut: AskedCut, errors: NDArray[np.int64], precision: float) -> NDArray[np.float64]:
    """Return, after each answer, the logarithm of the evidence that few enough rows are wrong.

    The probability of the answers, mixed over numbers of wrong rows that keep the promise, over
    that of the least number that breaks it. The mixture exceeds this one only where greater
    numbers are less probable still, so it stands for all that break the promise.

    Parameters
    ----------
    cut
        What was asked about.
    errors
        ndarray of shape (n,): wrong ones among the first answers, 1 to n of them.
    precision
        Share of right labels promised.
    """
    error = 1.0 - precision
    broken = allowed_wrong(error, cut.rows) + 1
    numbers, weights = _alternatives(cut.rows, error, cut.expected)
    ruled_out = broken > cut.rows - _answers(errors) + errors
    return _ratio(numbers, weights, broken, cut.rows, errors, ruled_out)


def against_promise(
    cut: AskedCut, errors: NDArray[np.int64], precision: float
) -> NDArray[np.float64]:
    """Return, after each answer, the logarithm of the evidence that too many rows are wrong.

    The mirror of :func:`for_promise`; it ends the asking, and certifies nothing.
    """
    error = 1.0 - precision
    kept = allowed_wrong(error, cut.rows)
    shares = np.geomspace(min(1.0, 1.2 * error), min(1.0, 8 * error), _POINTS)
    numbers = np.minimum(np.maximum(np.ceil(shares * cut.rows), kept + 1), cut.rows)
    weights = np.full(_POINTS, -math.log(_POINTS))
    return _ratio(numbers, weights, kept, cut.rows, errors, errors > kept)


def _answers(errors: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.arange(1, len(errors) + 1)


def _ratio(
    numbers: NDArray[np.float64],
    log_weights: NDArray[np.float64],
    excluded: int,
    rows: int,
    errors: NDArray[np.int64],
    ruled_out: NDArray[np.bool_],
) -> NDArray[np.float64]:
    for_it = logsumexp(log_weights[:, np.newaxis] + _log_paths(numbers, rows, errors), axis=0)
    (against,) = _log_paths(np.array([float(excluded)]), rows, errors)
    # What answers rule out needs no evidence, and of what they rule out there is none.
    with np.errstate(invalid="ignore"):
        evidence: NDArray[np.float64] = for_it - against
    evidence = np.where(np.isneginf(for_it), -np.inf, evidence)
    return np.where(ruled_out, np.inf, evidence)


def _log_paths(
    numbers: NDArray[np.float64], rows: int, errors: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return logarithms of the probability of the answers up to each, for each number wrong."""
    before = np.concatenate([[0], errors[:-1]])
    left = float(rows) - np.arange(len(errors))
    wrong_left = np.clip(numbers[:, np.newaxis] - before, 0.0, left)
    with np.errstate(divide="ignore"):
        steps = np.log(np.where(errors > before, wrong_left, left - wrong_left) / left)
    paths: NDArray[np.float64] = np.cumsum(steps, axis=1)
    return paths


@lru_cache(maxsize=512)
def _alternatives(
    rows: int, error: float, expected: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return numbers of wrong rows that keep a promise, and the logarithms of their weights."""
    # About (1, 30) at an error of 5 %, as for audits.
    laws = [(1.0, 1.5 / error, 1.0)]
    if expected is not None:
        mean = min(max(expected, 0.1 * error), 0.8 * error)
        believed = (mean * _STRENGTH, (1 - mean) * _STRENGTH, _BELIEVED)
        laws = [(1.0, 1.5 / error, 1 - _BELIEVED), believed]
    quantiles = (np.arange(_POINTS) + 0.5) / _POINTS
    kept = allowed_wrong(error, rows)
    numbers = [
        np.minimum(np.floor(betaincinv(a, b, quantiles * betainc(a, b, error)) * rows), kept)
        for a, b, _ in laws
    ]
    weights = [np.full(_POINTS, math.log(weight / _POINTS)) for _, _, weight in laws]
    return np.concatenate(numbers), np.concatenate(weights)


def next_rows(
    cuts: Sequence[AskedCut],
    places: NDArray[np.int64],
    known: NDArray[np.int8],
    outcome: Outcome,
    promise: tuple[float, float],
    budget: int,
) -> NDArray[np.intp]:
    """Choose the rows to ask in one sitting, in the order to ask them.

    First as many of the cut under test as are likely to show it, then those that the next cuts
    lack beside them. What is promised holds whichever rows are asked; this decides how many
    answers it takes.

    Parameters
    ----------
    cuts, places, known
        As in :func:`try_cuts`.
    outcome
        What it says.
    promise
        Precision and risk.
    budget
        Answers that may be asked for, in all; those there are count.

    Returns
    -------
    ndarray of int
        Indices into `places`: a part of what the budget leaves, so that later sittings can follow
        what this one tells. Empty where nothing more is to be asked.
    """
    left = budget - int((known != UNANSWERED).sum())
    if outcome.state != "open" or left <= 0:
        return np.zeros(0, dtype=np.intp)
    precision, risk = promise
    size = min(left, max(_SMALLEST_SITTING, math.ceil(budget / _SITTINGS)))
    chosen: list[int] = []
    listed = known != UNANSWERED
    depth = 0
    for i in range(outcome.shown, len(cuts)):
        of_cut = np.flatnonzero(places <= i)
        answers = _answers_expected(cuts[i], of_cut, known, 1.0 - precision, risk)
        if math.isinf(answers) and i > outcome.shown:
            break
        n = int(min(math.ceil(max(answers, 1)), len(of_cut))) if answers < math.inf else len(of_cut)
        # A cut is asked about at least as deep in the order as the one before it.
        depth = max(depth, int(of_cut[n - 1]) + 1)
        rows = of_cut[(of_cut < depth) & ~listed[of_cut]]
        chosen.extend(rows.tolist())
        listed[rows] = True
        if len(chosen) >= size:
            break
    if len(chosen) < size:
        # As many are expected to do, yet the cut is still open: a few more of its rows.
        of_cut = np.flatnonzero((places <= outcome.shown) & ~listed)
        chosen.extend(of_cut[: min(size, _SMALLEST_SITTING) - len(chosen)].tolist())
    return np.array(chosen[:size], dtype=np.intp)


def _answers_expected(
    cut: AskedCut,
    of_cut: NDArray[np.intp],
    known: NDArray[np.int8],
    error: float,
    risk: float,
) -> float:
    """Estimate how many answers show a cut, by those there are and what was expected."""
    answers = known[of_cut]
    answered = int((answers != UNANSWERED).sum())
    before = error / 3 if cut.expected is None else cut.expected
    share = (before * _HELD + int((answers == WRONG).sum())) / (_HELD + answered)
    return answers_to_show(share, error, risk)
