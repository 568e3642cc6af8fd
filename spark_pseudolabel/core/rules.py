"""Selection rules: counts in, plan out. The same plan on any cluster, to be explained years later.

A rule looks at counts alone and answers with thresholds or with quotas. A quota is turned into an
exact cut in at most two further questions: which confidence the last accepted row has, and which
row key, where rows tie there. The resulting :class:`Plan` decides every row by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spark_pseudolabel.core.counts import BINS, Candidates, Counts, Key

Ties = Literal["none", "all"] | Key


@dataclass(frozen=True)
class Cut:
    """Where acceptance begins for one class.

    Parameters
    ----------
    confidence
        Rows above are accepted, rows below are not.
    ties
        Which rows at exactly this confidence are accepted: ``"none"``, ``"all"``, or those whose
        key is not above the given one.
    """

    confidence: float
    ties: Ties = "none"

    def accepts(self, confidence: float, key: Key) -> bool:
        """Decide one row."""
        if confidence != self.confidence:
            return confidence > self.confidence
        if isinstance(self.ties, tuple):
            return key <= self.ties
        return self.ties == "all"


@dataclass(frozen=True)
class Plan:
    """The decision of a round.

    Parameters
    ----------
    rule
        The selection section of the configuration.
    cuts
        One per class, in the order of the model's classes; None accepts nothing of that class.
    """

    rule: Mapping[str, Any]
    cuts: tuple[Cut | None, ...]

    def accepts(self, code: int, confidence: float, key: Key) -> bool:
        """Decide one candidate of class number `code`."""
        cut = self.cuts[code]
        return cut is not None and cut.accepts(confidence, key)

    def to_dict(self) -> dict[str, Any]:
        """Return the form kept in the round's manifest."""
        return {"rule": dict(self.rule), "cuts": [_cut_to_dict(cut) for cut in self.cuts]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Read what :meth:`to_dict` wrote."""
        return cls(data["rule"], tuple(_cut_from_dict(cut) for cut in data["cuts"]))


@dataclass(frozen=True)
class Fixed:
    """Cut these classes at a place that does not depend on the rows."""

    codes: Sequence[int]
    cut: Cut


@dataclass(frozen=True)
class Quota:
    """Accept the `n` most confident rows of these classes together, ties by lower key."""

    codes: Sequence[int]
    n: int


Decision = Sequence[Fixed | Quota]


def make_plan(rule: Mapping[str, Any], candidates: Candidates, round_number: int) -> Plan:
    """Decide which candidates of a round are accepted.

    Parameters
    ----------
    rule
        The configuration's selection section: ``policy`` and its parameters.
    candidates
        The scored rows; asked for counts, and for single bins where a quota needs an exact cut.
    round_number
        1 for the first round; the percentile rule loosens with it.

    Returns
    -------
    Plan
        The same for any order or partitioning of the candidates.
    """
    counts = candidates.counts()
    decision = RULES[rule["policy"]](rule, counts, round_number)
    cuts: list[Cut | None] = [None] * len(counts.n)
    for part in decision:
        cut = part.cut if isinstance(part, Fixed) else _exact_cut(part, counts, candidates)
        for code in part.codes:
            cuts[code] = cut
    return Plan(rule, tuple(cuts))


def one_shot(rule: Mapping[str, Any], counts: Counts, round_number: int) -> Decision:
    """Accept every valid row."""
    return [Fixed(range(len(counts.n)), Cut(0.0, "all"))]


def threshold(rule: Mapping[str, Any], counts: Counts, round_number: int) -> Decision:
    """Accept what lies strictly above one confidence, as scikit-learn does."""
    return [Fixed(range(len(counts.n)), Cut(float(rule["threshold"])))]


def k_best(rule: Mapping[str, Any], counts: Counts, round_number: int) -> Decision:
    """Accept the k most confident rows over all classes."""
    return [Quota(range(len(counts.n)), int(rule["k"]))]


def top_k_per_class(rule: Mapping[str, Any], counts: Counts, round_number: int) -> Decision:
    """Accept the k most confident rows of each predicted class (Yalniz et al. 2019)."""
    return [Quota((code,), int(rule["k"])) for code in range(len(counts.n))]


def percentile(rule: Mapping[str, Any], counts: Counts, round_number: int) -> Decision:
    """Accept a share of the pool that grows by ``step`` each round.

    Curriculum labeling, Cascante-Bonilla et al. 2021: every round decides the whole pool anew.
    """
    share = min(1.0, rule["step"] * round_number)
    # 0.07 of 100 rows is a little more than 7 as a double, and must not become 8.
    n = math.ceil(round(share * counts.total, 6))
    return [Quota(range(len(counts.n)), n)]


RULES: Mapping[str, Callable[[Mapping[str, Any], Counts, int], Decision]] = {
    "one_shot": one_shot,
    "threshold": threshold,
    "k_best": k_best,
    "top_k_per_class": top_k_per_class,
    "percentile": percentile,
}


def plan_for_new_rows(rule: Mapping[str, Any], n_classes: int) -> Plan | None:
    """Return the plan by which a rule decides rows outside the pool.

    None for rules whose cut depends on the other rows of the pool.
    """
    nothing = Counts.from_rows(n_classes, [])
    cuts: list[Cut | None] = [None] * n_classes
    for part in RULES[rule["policy"]](rule, nothing, 1):
        if isinstance(part, Quota):
            return None
        for code in part.codes:
            cuts[code] = part.cut
    return Plan(rule, tuple(cuts))


def _exact_cut(quota: Quota, counts: Counts, candidates: Candidates) -> Cut | None:
    per_bin = counts.n[list(quota.codes)].sum(axis=0)
    if quota.n <= 0 or per_bin.sum() == 0:
        return None
    if quota.n >= per_bin.sum():
        return Cut(0.0, "all")
    bin_, above = _bin_of_rank(per_bin, quota.n)
    values, found = candidates.values(quota.codes, bin_)
    order = np.argsort(-values)
    reached = above + np.cumsum(found[order])
    last = int(np.searchsorted(reached, quota.n))
    confidence = float(values[order[last]])
    missing = quota.n - int(reached[last] - found[order[last]])
    if missing == found[order[last]]:
        return Cut(confidence, "all")
    return Cut(confidence, candidates.nth_key(quota.codes, confidence, missing))


def _bin_of_rank(per_bin: np.ndarray[Any, np.dtype[np.int64]], rank: int) -> tuple[int, int]:
    """Return the bin that holds the `rank`-th most confident row, and how many rows lie above."""
    from_top = np.cumsum(per_bin[::-1])
    position = int(np.searchsorted(from_top, rank))
    return BINS - 1 - position, int(from_top[position] - per_bin[::-1][position])


def _cut_to_dict(cut: Cut | None) -> dict[str, Any] | None:
    if cut is None:
        return None
    ties = list(cut.ties) if isinstance(cut.ties, tuple) else cut.ties
    return {"confidence": cut.confidence, "ties": ties}


def _cut_from_dict(data: Mapping[str, Any] | None) -> Cut | None:
    if data is None:
        return None
    ties = tuple(data["ties"]) if isinstance(data["ties"], list) else data["ties"]
    return Cut(data["confidence"], ties)
