"""How many labels of a finished set are wrong, by asking a person about some of its rows.

The set is frozen, and its rows are asked in an order of chance without replacement. After every
answer bounds on the *number* of wrong labels hold, all of them together: whoever asks may look
after each answer and stop when they like (Waudby-Smith and Ramdas 2020, "Confidence sequences for
sampling without replacement", section 3: the prior-posterior ratio). Nothing is assumed about how
the labels came about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

from spark_pseudolabel.core.trust.finite_population import allowed_wrong

RISK = 0.05
"""Probability, over all audits of an output together, that any of their bounds ever fails."""

# Errors of gammaln add up, with one or two units in the last place of each of its six values.
_UNITS_LOST = 16


@dataclass(frozen=True)
class Prior:
    """What is thought of the number of wrong rows before the first answer: a beta-binomial law.

    Its choice, made before the first answer, decides how many answers are needed, and never whether
    the bounds hold.

    Parameters
    ----------
    a, b
        Above 0. One wrong row in ``a / (a + b)`` is expected.
    """

    a: float = 1.0
    b: float = 30.0


@dataclass(frozen=True)
class Asked:
    """Answers about the first rows of the order.

    Parameters
    ----------
    rows
        How many rows the set holds, at least 0.
    answers
        How many of them have been asked.
    wrong
        How many of these are not as their label says, or could not be told.
    """

    rows: int
    answers: int = 0
    wrong: int = 0


@dataclass(frozen=True)
class Bounds:
    """So many rows of the set are wrong, at least and at most."""

    lower: int
    upper: int


def level_of(audit: int, risk: float = RISK) -> float:
    """Return the error level of an output's audit, the first one being 1.

    The levels of all audits that there may ever be add up to the risk.

    Examples
    --------
    >>> [round(level_of(audit), 4) for audit in (1, 2, 3)]
    [0.0304, 0.0076, 0.0034]
    """
    return 6.0 * risk / (math.pi**2 * audit**2)


def log_ratio(wrong_in_all: Any, rows: int, answers: Any, wrong: Any, prior: Prior) -> Any:
    """Return the logarithm of prior over posterior of a number of wrong rows.

    Over the order of chance, the ratio at the true number is a martingale that starts at 1, so it
    ever reaches ``1 / level`` with a probability of at most `level` (Ville's inequality). In the
    number of wrong rows it falls up to the likeliest number and rises from there on, since it is a
    constant over the hypergeometric probability of the answers, whose ratio of neighbors falls.

    Parameters
    ----------
    wrong_in_all
        Numbers w with ``wrong <= w <= rows - answers + wrong``.
    rows, answers, wrong
        As in :class:`Asked`; arrays that broadcast with `wrong_in_all` are taken together.
    prior
        Of the number of wrong rows.

    Examples
    --------
    >>> round(float(log_ratio(1, 2, 1, 0, Prior(1, 1))), 6)  # prior 1/3, posterior 1/3
    0.0
    """
    w, t, s = (np.asarray(of, dtype=np.float64) for of in (wrong_in_all, answers, wrong))
    # The beta functions of the unanswered rows are the same in prior and posterior.
    paths = _log_choose(rows, w) - _log_choose(rows - t, w - s)
    return paths + betaln(prior.a + s, prior.b + t - s) - betaln(prior.a, prior.b)


def limit_of(level: float, rows: int) -> float:
    """Return the logarithm of a ratio from which on a number is ruled out at an error level.

    A little above ``log(1 / level)`` for what rounding may lose at so many rows: 0.0002 at 10^9.
    """
    return -math.log(level) + _UNITS_LOST * float(np.spacing(gammaln(rows + 2.0)))


def bounds(asked: Asked, level: float, prior: Prior) -> Bounds:
    """Return the least and the greatest number of wrong rows that the answers leave possible.

    Parameters
    ----------
    asked
        The answers so far.
    level
        Probability that the bounds of any number of answers fail, in (0, 1).
    prior
        As before the first answer.

    Examples
    --------
    >>> bounds(Asked(20_000, 100, 0), level_of(1), Prior())
    Bounds(lower=0, upper=965)
    >>> bounds(Asked(1_000_000_000, 300, 6), level_of(1), Prior())
    Bounds(lower=4227282, upper=55041641)
    """
    limit = limit_of(level, asked.rows)

    def possible(w: int) -> bool:
        return bool(log_ratio(w, asked.rows, asked.answers, asked.wrong, prior) < limit)

    least, most = asked.wrong, asked.rows - asked.answers + asked.wrong
    likeliest = _likeliest(asked)
    return Bounds(lower=_edge(likeliest, least, possible), upper=_edge(likeliest, most, possible))


def _likeliest(asked: Asked) -> int:
    """Return the number of wrong rows at which the answers are most probable."""
    if not asked.answers:
        return 0
    likeliest = (asked.rows + 1) * asked.wrong // asked.answers
    return min(max(likeliest, asked.wrong), asked.rows - asked.answers + asked.wrong)


def _edge(inside: int, outermost: int, possible: Any) -> int:
    """Return the possible number that is the farthest from one that is, in one direction."""
    outside = outermost
    if possible(outermost):
        return outermost
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        inside, outside = (middle, outside) if possible(middle) else (inside, middle)
    return inside


def is_shown(asked: Asked, precision: float, level: float, prior: Prior) -> bool | None:
    """Say whether so large a share of the set is right: shown, refuted, or None: not settled.

    Parameters
    ----------
    asked, level, prior
        As in :func:`bounds`.
    precision
        Share of right labels, in (0, 1).
    """
    return settled(bounds(asked, level, prior), asked.rows, precision)


def settled(of: Bounds, rows: int, precision: float) -> bool | None:
    """Say whether bounds show a share of right labels, refute it, or (None) leave it open."""
    allowed = allowed_wrong(1.0 - precision, rows)
    if of.upper <= allowed:
        return True
    return False if of.lower > allowed else None


def more_answers(asked: Asked, precision: float, level: float, prior: Prior) -> int:
    """Estimate how many more answers settle whether so large a share is right.

    Should the share of wrong answers stay what it is; before the first answer, should none be
    wrong. Settled either way: an error rate above what is allowed is refuted. At most all rows
    that are left, since then the number is known.

    Parameters
    ----------
    asked, precision, level, prior
        As in :func:`is_shown`.

    Returns
    -------
    int
        0 where it is settled.

    Examples
    --------
    >>> more_answers(Asked(20_000), 0.95, level_of(1), Prior())
    96
    >>> more_answers(Asked(20_000, 100, 2), 0.95, level_of(1), Prior())
    285
    """
    if is_shown(asked, precision, level, prior) is not None:
        return 0
    rate = asked.wrong / asked.answers if asked.answers else 0.0
    allowed = allowed_wrong(1.0 - precision, asked.rows)
    limit = limit_of(level, asked.rows)

    def is_enough(more: int) -> bool:
        t = asked.answers + more
        s = rate * t
        # What is to be ruled out next to the boundary: one wrong row too many, or none too many.
        w = allowed + 1 if rate * asked.rows <= allowed else allowed
        if not s <= w <= asked.rows - t + s:
            return True
        return bool(log_ratio(w, asked.rows, t, s, prior) >= limit)

    left = asked.rows - asked.answers
    high = 1
    while high < left and not is_enough(high):
        high *= 2
    low, high = high // 2, min(high, left)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _log_choose(n: Any, k: NDArray[np.float64]) -> NDArray[np.float64]:
    chosen: NDArray[np.float64] = (
        gammaln(np.asarray(n) + 1.0) - gammaln(k + 1.0) - gammaln(np.asarray(n) - k + 1.0)
    )
    return chosen
