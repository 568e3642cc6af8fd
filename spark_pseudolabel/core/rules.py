"""Selection rules: counts in, plan out. The same plan on any cluster, to be explained years later.

A rule looks at counts alone and answers with thresholds or with quotas. A quota is turned into an
exact cut in at most two further questions: which confidence the last accepted row has, and which
row key, where rows tie there. The resulting :class:`Plan` decides every row by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.class_rules import CLASS_RULES
from spark_pseudolabel.core.counts import BINS, Bin, Candidates, Counts, Tie
from spark_pseudolabel.core.plan import Cut, Decision, Fixed, Plan, Quota

__all__ = ["RULES", "Cut", "Decision", "Fixed", "Plan", "Quota", "make_plan", "plan_for_new_rows"]


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
    quotas = [part for part in decision if isinstance(part, Quota)]
    exact = iter(_exact_cuts(quotas, counts, candidates))
    for part in decision:
        cut = part.cut if isinstance(part, Fixed) else next(exact)
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
    **CLASS_RULES,
}


def plan_for_new_rows(rule: Mapping[str, Any], n_classes: int) -> Plan | None:
    """Return the plan by which a rule decides rows outside the pool.

    None for rules whose cut depends on the other rows of the pool.
    """
    if rule["policy"] not in RULES or rule["policy"] in CLASS_RULES:
        return None
    nothing = Counts.from_rows(n_classes, [])
    cuts: list[Cut | None] = [None] * n_classes
    for part in RULES[rule["policy"]](rule, nothing, 1):
        if isinstance(part, Quota):
            return None
        for code in part.codes:
            cuts[code] = part.cut
    return Plan(rule, tuple(cuts))


def _exact_cuts(
    quotas: Sequence[Quota], counts: Counts, candidates: Candidates
) -> list[Cut | None]:
    """Cut every quota exactly, with two questions for all of them together."""
    cuts: list[Cut | None] = [None] * len(quotas)
    open_: list[tuple[int, Bin, int]] = []
    for place, quota in enumerate(quotas):
        per_bin = counts.n[list(quota.codes)].sum(axis=0)
        if quota.n <= 0 or per_bin.sum() == 0:
            continue
        if quota.n >= per_bin.sum():
            cuts[place] = Cut(0.0, "all")
            continue
        number, above = _bin_of_rank(per_bin, quota.n)
        open_.append((place, Bin(quota.codes, number), quota.n - above))
    found = candidates.values([one for _, one, _ in open_]) if open_ else []
    ties: dict[int, Tie] = {}
    for (place, one, missing), (values, n) in zip(open_, found, strict=True):
        confidence, wanted, there = _last_accepted(values, n, missing)
        cuts[place] = Cut(confidence, "all")
        if wanted < there:
            ties[place] = Tie(one.codes, confidence, wanted)
    keys = candidates.nth_keys(list(ties.values())) if ties else []
    for (place, tie), key in zip(ties.items(), keys, strict=True):
        cuts[place] = Cut(tie.confidence, key)
    return cuts


def _last_accepted(
    values: NDArray[np.float64], n: NDArray[Any], missing: int
) -> tuple[float, int, int]:
    """Return the last of `missing` rows' confidence, how many of its rows it takes, and has."""
    order = np.argsort(-values)
    reached = np.cumsum(n[order])
    last = int(np.searchsorted(reached, missing))
    there = int(n[order[last]])
    return float(values[order[last]]), missing - (int(reached[last]) - there), there


def _bin_of_rank(per_bin: np.ndarray[Any, np.dtype[np.int64]], rank: int) -> tuple[int, int]:
    """Return the bin that holds the `rank`-th most confident row, and how many rows lie above."""
    from_top = np.cumsum(per_bin[::-1])
    position = int(np.searchsorted(from_top, rank))
    return BINS - 1 - position, int(from_top[position] - per_bin[::-1][position])
