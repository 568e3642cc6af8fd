"""Selection rules that treat classes differently, each from one histogram of the pool.

Their thresholds follow from counts alone, so that they do not depend on the order of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.counts import BINS, Counts
from spark_pseudolabel.core.plan import Cut, Decision, Fixed, Quota


def flexmatch(rule: Mapping[str, Any], counts: Counts, round_number: int) -> Decision:
    """Lower the threshold of classes that few rows reach (Zhang et al. 2021).

    sigma(c) counts the rows of class c at or above the threshold t; beta(c) is its share of the
    largest, or of the rows below t as long as these are more (warm-up); rows at or above
    ``t * beta / (2 - beta)`` are accepted, never below 1 / n_classes, which says nothing.
    """
    sure = counts.n[:, math.ceil(round(rule["threshold"] * 1000, 6)) :].sum(axis=1)
    most = max(int(sure.max(initial=0)), counts.total - int(sure.sum()), 1)
    beta = sure / most
    return _cuts(rule["threshold"] * beta / (2 - beta))


def freematch(rule: Mapping[str, Any], counts: Counts, round_number: int) -> Decision:
    """Threshold by the pool's mean confidence and each class's part of it (Wang et al. 2023).

    Rounds are few, so there is no moving average; a class's part is its share of the confidences'
    sum, to the width of a bin.
    """
    weighed = counts.n @ np.arange(BINS)
    mean = weighed.sum() / 1000 / max(1, counts.total)
    return _cuts(mean * weighed / max(1, int(weighed.max(initial=0))))


def crest(rule: Mapping[str, Any], counts: Counts, round_number: int) -> Decision:
    """Accept a larger share of rarer classes (Wei et al. 2021).

    The class of rank r by labeled rows keeps its top ``(N_(K+1-r) / N_1) ** alpha``: all rows of
    the rarest, the smallest share of the most frequent.
    """
    labeled = np.asarray(rule["labeled"], dtype=float)
    rank = np.argsort(np.argsort(-labeled, kind="stable"), kind="stable")
    mirrored = np.sort(labeled)[rank]
    shares = (mirrored / max(1.0, labeled.max(initial=0.0))) ** rule["alpha"]
    # The rarest class is mirrored onto the most frequent: its share is exactly 1.
    return _quotas(np.ceil(np.round(shares * counts.by_class, 6)), counts)


def quotas(rule: Mapping[str, Any], counts: Counts, round_number: int) -> Decision:
    """Accept a share of the pool that grows by ``step``, dealt to classes by a target.

    Distribution alignment of the accepted rows: ``by`` is ``"labeled"``, ``"uniform"`` or
    ``"pool"`` (as predicted). No class gets fewer rows than ``min_per_class`` or more than
    ``max_per_class``, as far as it has them.
    """
    share = min(1.0, rule["step"] * round_number)
    wanted = np.ceil(np.round(share * counts.total * _target(rule, counts), 6))
    floor, cap = rule["min_per_class"] or 0, rule["max_per_class"]
    return _quotas(np.clip(wanted, floor, np.inf if cap is None else cap), counts)


CLASS_RULES: Mapping[str, Callable[[Mapping[str, Any], Counts, int], Decision]] = {
    "flexmatch": flexmatch,
    "freematch": freematch,
    "crest": crest,
    "quotas": quotas,
}


def _cuts(thresholds: NDArray[np.float64]) -> Decision:
    lowest = 1 / max(1, len(thresholds))
    cuts = [max(lowest, round(float(threshold), 6)) for threshold in thresholds]
    return [Fixed((code,), Cut(cut, "all")) for code, cut in enumerate(cuts)]


def _quotas(wanted: NDArray[np.float64], counts: Counts) -> Decision:
    rows = np.minimum(wanted, counts.by_class).astype(int)
    return [Quota((code,), int(n)) for code, n in enumerate(rows)]


def _target(rule: Mapping[str, Any], counts: Counts) -> NDArray[np.float64]:
    if rule["by"] == "uniform":
        return np.full(len(counts.n), 1 / len(counts.n))
    by_class = rule["labeled"] if rule["by"] == "labeled" else counts.by_class
    target: NDArray[np.float64] = np.asarray(by_class, dtype=float) / max(1, sum(by_class))
    return target
