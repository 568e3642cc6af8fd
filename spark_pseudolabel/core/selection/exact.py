"""From a policy's answer to a plan: the same on any cluster, to be explained years later.

A policy looks at counts alone and answers with thresholds or with quotas. A quota is turned into an
exact cut in at most two further questions: which confidence the last accepted row has, and which
row key, where rows tie there. The resulting :class:`Plan` decides every row by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.selection.counts import BINS, Bin, Candidates, Counts, Tie
from spark_pseudolabel.core.selection.plan import Cut, Fixed, Plan, Quota
from spark_pseudolabel.core.selection.policy import CountingPolicy, Policy, RoundContext


def make_plan(policy: CountingPolicy, candidates: Candidates, context: RoundContext) -> Plan:
    """Decide which candidates of a round are accepted.

    Parameters
    ----------
    policy
        With its parameters.
    candidates
        The scored rows; asked for counts, and for single bins where a quota needs an exact cut.
    context
        Which round it is, and what else a policy may depend on.

    Returns
    -------
    Plan
        The same for any order or partitioning of the candidates.
    """
    counts = candidates.counts()
    decision = policy.fit(counts, context)
    cuts: list[Cut | None] = [None] * len(counts.n)
    quotas = [part for part in decision if isinstance(part, Quota)]
    exact = iter(_exact_cuts(quotas, counts, candidates))
    for part in decision:
        cut = part.cut if isinstance(part, Fixed) else next(exact)
        for code in part.codes:
            cuts[code] = cut
    return Plan(policy.to_rule(context.labeled), tuple(cuts))


def plan_of_parameters(policy: Policy, n_classes: int) -> Plan:
    """Return the plan of a policy whose parameters alone say where its cuts are."""
    assert isinstance(policy, CountingPolicy)
    cuts: list[Cut | None] = [None] * n_classes
    for part in policy.fit(Counts.from_rows(n_classes, []), RoundContext(1)):
        for code in part.codes:
            cuts[code] = part.cut if isinstance(part, Fixed) else None
    return Plan(policy.to_rule(()), tuple(cuts))


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
    values_of_bins = candidates.values([bin_ for _, bin_, _ in open_]) if open_ else []
    ties: dict[int, Tie] = {}
    for (place, bin_, missing), (values, n) in zip(open_, values_of_bins, strict=True):
        confidence, wanted, n_tied = _last_accepted(values, n, missing)
        cuts[place] = Cut(confidence, "all")
        if wanted < n_tied:
            ties[place] = Tie(bin_.codes, confidence, wanted)
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
    n_tied = int(n[order[last]])
    return float(values[order[last]]), missing - (int(reached[last]) - n_tied), n_tied


def _bin_of_rank(per_bin: np.ndarray[Any, np.dtype[np.int64]], rank: int) -> tuple[int, int]:
    """Return the bin that holds the `rank`-th most confident row, and how many rows lie above."""
    from_top = np.cumsum(per_bin[::-1])
    position = int(np.searchsorted(from_top, rank))
    return BINS - 1 - position, int(from_top[position] - per_bin[::-1][position])
