"""The label model of rules: how far each is to be trusted, found from how they vote together.

Rules are taken for independent of each other within a class, each with a rate for every class at
which it votes: a latent class model, fitted by expectation maximization from the majority vote
(A. P. Dawid and A. M. Skene, Maximum likelihood estimation of observer error-rates using the EM
algorithm, Applied Statistics 28, 1979, with "no vote" as an answer like others). Rows with a known
label enter as what they are. Rules depend only on how often each combination of votes occurs, so
that a pool of any size is a small table here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin

from spark_pseudolabel.core.facts import DependentRules

Method = Literal["em", "majority"]
Why = Literal["few_rules", "worse_than_chance"]

MIN_OVERLAP = 20
"""Rows on which a rule must vote together with another one to say anything about its rates."""

_MAX_STEPS = 2000
_TOLERANCE = 1e-6
_ROUGH = 1e-4
"""Rates that are only looked at need not be as exact."""
_LEAST = 1e-6
"""No rate counts as less: a vote that was never seen is no impossibility."""

_ERRORS = 2.0
"""By so many standard errors a rule must be worse than chance to be called that."""

_LEVEL = 0.01
_CORRELATED = 0.1
"""Correlations within classes up to this one are no news, however sure they are."""


@dataclass(frozen=True)
class Patterns:
    """Combinations of votes, each once.

    Parameters
    ----------
    votes
        ndarray of shape (n_patterns, n_rules): whether each rule votes.
    rows
        ndarray of shape (n_patterns,): how many rows have the pattern.
    """

    votes: NDArray[np.bool_]
    rows: NDArray[np.float64]

    @classmethod
    def of(cls, votes: NDArray[np.bool_]) -> Patterns:
        """Count the patterns of rows, given as an ndarray of shape (n_rows, n_rules)."""
        distinct, rows = np.unique(votes, axis=0, return_counts=True)
        return cls(distinct, rows.astype(np.float64))

    @property
    def covered(self) -> NDArray[np.bool_]:
        """The patterns in which a rule votes, shape (n_patterns,)."""
        return np.asarray(self.votes.any(axis=1), dtype=np.bool_)


@dataclass(frozen=True)
class KnownVotes:
    """Votes on rows whose class is known.

    Parameters
    ----------
    votes
        ndarray of shape (n_rows, n_rules).
    codes
        ndarray of shape (n_rows,): class indices.
    """

    votes: NDArray[np.bool_]
    codes: NDArray[np.int32]


@dataclass(frozen=True)
class Rates:
    """What expectation maximization has found.

    Parameters
    ----------
    votes
        ndarray of shape (n_rules, n_classes): the probability that a rule votes on a row of a
        class.
    prior
        ndarray of shape (n_classes,): the share of each class.
    """

    votes: NDArray[np.float64]
    prior: NDArray[np.float64]

    def posterior(self, votes: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the probability of each class given all votes, shape (n_rows, n_classes)."""
        told = np.log(self.votes) - np.log1p(-self.votes)
        silence = np.log(self.prior) + np.log1p(-self.votes).sum(axis=0)
        logs = votes.astype(np.float64) @ told + silence
        P = np.exp(logs - logs.max(axis=1, keepdims=True))
        posterior: NDArray[np.float64] = P / P.sum(axis=1, keepdims=True)
        return posterior


class RuleModel(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted label model: gives rows a class by the votes on them, and abstains without one.

    Parameters
    ----------
    rule_codes
        For each rule the index of the class that it votes for.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, ascending.
    method_ : str
        ``"em"``, or ``"majority"`` where rates could not be told: probabilities are then shares of
        the votes.
    why_ : str or None
        Why it is the majority vote.
    rates_ : ndarray of shape (n_rules, n_classes)
        Probability that a rule votes on a row of a class; see :class:`Rates`.
    prior_ : ndarray of shape (n_classes,)
        Share of each class.
    """

    def __init__(self, rule_codes: Sequence[int]):
        self.rule_codes = rule_codes

    def fit_patterns(
        self,
        patterns: Patterns,
        classes: Sequence[object],
        known: KnownVotes,
        prior: NDArray[np.float64] | None = None,
    ) -> RuleModel:
        """Find the rates.

        Parameters
        ----------
        patterns
            Of rows without a label; may be of none.
        classes
            The labels, ascending.
        known
            Rows with a label; may be none.
        prior
            ndarray of shape (n_classes,): share of each class where that is known; None: it is
            estimated.
        """
        codes = np.asarray(self.rule_codes)
        self.classes_ = np.asarray(classes)
        self.why_: Why | None = None if _may_tell(patterns, len(classes)) else "few_rules"
        found = _expectation_maximization(patterns, codes, len(classes), known, prior, _TOLERANCE)
        if self.why_ is None and _turned_round(found, patterns, codes, known).any():
            self.why_ = "worse_than_chance"
        self.method_: Method = "em" if self.why_ is None else "majority"
        self.rates_, self.prior_ = found.votes, found.prior
        return self

    def predict_proba(self, X: pd.DataFrame | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each class; 0 for all of them where no rule votes.

        Parameters
        ----------
        X
            Of shape (n_rows, n_rules): 1 where a rule votes; 0 or NaN where it does not.
        """
        votes = votes_in(X)
        if self.method_ == "majority":
            return majority_shares(votes, np.asarray(self.rule_codes), len(self.classes_))
        P = Rates(self.rates_, self.prior_).posterior(votes)
        return np.where(votes.any(axis=1, keepdims=True), P, 0.0)

    def predict(self, X: pd.DataFrame | NDArray[np.float64]) -> NDArray[np.generic]:
        """Return the most probable label, the first one where several tie."""
        labels: NDArray[np.generic] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels


def votes_in(X: pd.DataFrame | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rules vote, from model input of shape (n_rows, n_rules)."""
    votes: NDArray[np.bool_] = np.asarray(X, dtype=np.float64) > 0.5
    return votes


def majority_shares(
    votes: NDArray[np.bool_], rule_codes: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64]:
    """Return the share of each class among the votes on a row; 0 for all where there is none.

    Examples
    --------
    >>> votes = np.array([[True, True, True], [True, False, False], [False, False, False]])
    >>> majority_shares(votes, np.array([0, 1, 1]), 2).round(2)
    array([[0.33, 0.67],
           [1.  , 0.  ],
           [0.  , 0.  ]])
    """
    n = votes.astype(np.float64) @ np.eye(n_classes)[rule_codes]
    shares: NDArray[np.float64] = n / np.maximum(n.sum(axis=1, keepdims=True), 1.0)
    return shares


def precisions(
    P: NDArray[np.float64], patterns: Patterns, rule_codes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return how probably a rule's vote is right, by a label model's probabilities.

    Parameters
    ----------
    P
        ndarray of shape (n_patterns, n_classes).

    Returns
    -------
    ndarray of shape (n_rules,)
        NaN for a rule that votes on no row.
    """
    weighed = patterns.votes * patterns.rows[:, np.newaxis]
    n = weighed.sum(axis=0)
    right = (weighed * P[:, rule_codes]).sum(axis=0)
    accuracy: NDArray[np.float64] = np.where(n > 0, right / np.maximum(n, 1.0), np.nan)
    return accuracy


def vote_weights(rates: Rates, rule_codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how much a vote of each rule says for its class: a log likelihood ratio, in nats.

    Returns
    -------
    ndarray of shape (n_rules,)
        0 for a vote that says nothing, below 0 for one that speaks against its class.
    """
    own, others = _own_and_others(rates, rule_codes)
    ratio: NDArray[np.float64] = np.log(own / others)
    return ratio


def dependent_rules(
    patterns: Patterns,
    rule_codes: NDArray[np.int64],
    n_classes: int,
    names: Sequence[str],
    prior: NDArray[np.float64] | None = None,
) -> tuple[DependentRules, ...]:
    """Find the pairs of rules that vote together more or less often than classes explain.

    A label model that knows two rules which say the same takes what they say for the classes, and
    nothing is left to be seen. So each rule is predicted by a label model of the others, and its
    votes on the rows of another rule are compared with the prediction, both ways. Levels are
    divided by the number of pairs (Bonferroni). Of millions of rows each pair would be sure: told
    are correlations within classes beyond :data:`_CORRELATED`.

    Returns
    -------
    tuple of DependentRules
        The most correlated first; none where the other rules are too few for a label model.
    """
    m = len(names)
    if m < 2 or not patterns.rows.sum():
        return ()
    beside = [_beside_others(patterns, rule_codes, n_classes, j, prior) for j in range(m)]
    first, second = np.triu_indices(m, k=1)
    limit = norm.isf(_LEVEL / len(first) / 2)
    found = []
    for i, j in zip(first, second, strict=True):
        both = beside[i][j], beside[j][i]
        weaker = min(both, key=lambda one: abs(one.correlation))
        sure = min(abs(one.errors) for one in both) > limit
        if sure and abs(weaker.correlation) > _CORRELATED:
            voted = patterns.votes[:, i] & patterns.votes[:, j]
            pair, together = (
                (names[int(i)], names[int(j)]),
                round(float(patterns.rows[voted].sum())),
            )
            found.append(DependentRules(pair, together, weaker.expected, weaker.correlation))
    return tuple(sorted(found, key=lambda pair: (-abs(pair.correlation), pair.rules)))


@dataclass(frozen=True)
class _Beside:
    """A rule's votes on the rows of another one, against what all others say of them.

    Parameters
    ----------
    expected
        Rows that would have votes of both.
    errors
        By how many standard errors there are more of them.
    correlation
        Of the two within classes.
    """

    expected: float = 0.0
    errors: float = 0.0
    correlation: float = 0.0


def _beside_others(
    patterns: Patterns,
    rule_codes: NDArray[np.int64],
    n_classes: int,
    rule: int,
    prior: NDArray[np.float64] | None,
) -> list[_Beside]:
    """Compare a rule's votes with each other one's; nothing is found where there is no model."""
    votes, rows = patterns.votes.astype(np.float64), patterns.rows
    others = np.delete(np.arange(len(rule_codes)), rule)
    without = Patterns(patterns.votes[:, others], rows)
    beside = [_Beside()] * len(rule_codes)
    if not _may_tell(without, n_classes):
        return beside
    nothing = KnownVotes(without.votes[:0], np.array([], dtype=np.int32))
    rates = _expectation_maximization(
        without, rule_codes[others], n_classes, nothing, prior, _ROUGH
    )
    P = rates.posterior(without.votes)
    # What the rule does on classes that are known in part only: least squares.
    weighed = P * rows[:, np.newaxis]
    of_class = np.linalg.lstsq(weighed.T @ P, weighed.T @ votes[:, rule], rcond=None)[0]
    p = np.clip(P @ np.clip(of_class, 0, 1), _LEAST, 1 - _LEAST)
    spread = float((rows * p * (1 - p)).sum() / rows.sum())
    of_others = ((rates.votes * (1 - rates.votes)) * rates.prior).sum(axis=1)
    for other, spread_of_other in zip(others, of_others, strict=True):
        on_other = rows * votes[:, other]
        expected, variance = float(on_other @ p), float(on_other @ (p * (1 - p)))
        excess = float(on_other @ votes[:, rule]) - expected
        scale = float(rows.sum() * np.sqrt(spread * spread_of_other))
        beside[other] = _Beside(
            expected,
            excess / max(float(np.sqrt(variance)), _LEAST),
            float(np.clip(excess / max(scale, _LEAST), -1, 1)),
        )
    return beside


# --- expectation maximization


def _expectation_maximization(
    patterns: Patterns,
    rule_codes: NDArray[np.int64],
    n_classes: int,
    known: KnownVotes,
    given: NDArray[np.float64] | None,
    tolerance: float,
) -> Rates:
    """Find rates and class shares of highest likelihood, from the majority vote on."""
    votes, rows = patterns.votes.astype(np.float64), patterns.rows
    of_known = np.eye(n_classes)[known.codes]
    known_rows = of_known.sum(axis=0)
    known_votes = known.votes.astype(np.float64).T @ of_known
    n = rows.sum() + len(known.codes)
    # As if one more row of each class had shown what a rule does on all rows.
    overall = (rows @ votes + known_votes.sum(axis=1)) / max(n, 1.0)
    P = _start(patterns, rule_codes, n_classes, known_rows)
    rates: Rates | None = None
    for _ in range(_MAX_STEPS):
        by_class = rows @ P
        weighed = (P * rows[:, np.newaxis]).T @ votes
        voted = weighed.T + known_votes + overall[:, np.newaxis]
        fresh = np.clip(voted / (by_class + known_rows + 1.0), _LEAST, 1 - _LEAST)
        # Labeled rows need not be mixed as the pool is.
        counted = (by_class if rows.sum() else known_rows) + 1.0
        prior = counted / counted.sum() if given is None else np.maximum(given, _LEAST)
        before, rates = rates, Rates(fresh, prior / prior.sum())
        P = rates.posterior(patterns.votes)
        if before is not None and _moved(before, rates) < tolerance:
            break
    assert rates is not None
    return rates


def _moved(before: Rates, after: Rates) -> float:
    return max(
        float(np.abs(after.votes - before.votes).max()),
        float(np.abs(after.prior - before.prior).max()),
    )


def _start(
    patterns: Patterns,
    rule_codes: NDArray[np.int64],
    n_classes: int,
    known_rows: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the majority vote, shared where classes tie; rows without one are as the others."""
    shares = majority_shares(patterns.votes, rule_codes, n_classes)
    first = (shares == shares.max(axis=1, keepdims=True)) & patterns.covered[:, np.newaxis]
    P = first / np.maximum(first.sum(axis=1, keepdims=True), 1)
    mixed = patterns.rows @ P + known_rows
    mixed = mixed / mixed.sum() if mixed.sum() else np.full(n_classes, 1 / n_classes)
    return np.where(patterns.covered[:, np.newaxis], P, mixed)


# --- whether it may be believed


def _may_tell(patterns: Patterns, n_classes: int) -> bool:
    """Whether there are enough rules that vote together for their rates to be identifiable.

    Of n yes-or-no answers a latent class model of K classes is, up to exceptions of measure zero,
    where n is at least 2 ceil(log2 K) + 1 (E. S. Allman, C. Matias, J. A. Rhodes, Annals of
    Statistics 37, 2009, corollary 5).
    """
    several = patterns.votes.sum(axis=1) > 1
    together = patterns.rows[several] @ patterns.votes[several]
    needed = 2 * int(np.ceil(np.log2(max(2, n_classes)))) + 1
    return bool((together >= MIN_OVERLAP).sum() >= needed)


def _turned_round(
    rates: Rates, patterns: Patterns, rule_codes: NDArray[np.int64], known: KnownVotes
) -> NDArray[np.bool_]:
    """Find rules whose vote would speak against their own class, unless labels say so, too.

    Where rules of one class depend on each other, the classes that make votes most probable may be
    others than those which are meant. That shows in rules that seem to be worse than chance.

    Returns
    -------
    ndarray of shape (n_rules,)
    """
    own, others = _own_and_others(rates, rule_codes)
    rows = patterns.rows.sum() + len(known.codes)
    of_own = np.maximum(rows * rates.prior[rule_codes], 1.0)
    of_others = np.maximum(rows - of_own, 1.0)
    error = np.sqrt(own * (1 - own) / of_own + others * (1 - others) / of_others)
    worse = own - others < -_ERRORS * error
    return np.asarray(worse & ~_measured_worse(rule_codes, known), dtype=np.bool_)


def _measured_worse(rule_codes: NDArray[np.int64], known: KnownVotes) -> NDArray[np.bool_]:
    """Tell of which rules labeled rows say that they vote more often on other classes' rows."""
    if not len(known.codes):
        return np.zeros(len(rule_codes), dtype=bool)
    own = known.codes[:, np.newaxis] == rule_codes
    on_own = (known.votes & own).sum(axis=0) / np.maximum(own.sum(axis=0), 1)
    on_others = (known.votes & ~own).sum(axis=0) / np.maximum((~own).sum(axis=0), 1)
    return np.asarray(on_own < on_others, dtype=np.bool_)


def _own_and_others(
    rates: Rates, rule_codes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each rule's rate on rows of its own class, and on those of all others."""
    each = np.arange(len(rule_codes))
    own, share = rates.votes[each, rule_codes], rates.prior[rule_codes]
    others = (rates.votes @ rates.prior - own * share) / np.maximum(1 - share, _LEAST)
    return own, np.clip(others, _LEAST, 1 - _LEAST)
