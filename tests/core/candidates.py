"""Scored rows in memory, as ``Candidates``: what Spark's answers are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.selection.counts import (
    Bin,
    Candidates,
    Counts,
    Key,
    Tie,
    Values,
    bin_of,
)
from spark_pseudolabel.core.selection.exact import make_plan
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.selection.policies import read_policy
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext


@dataclass(frozen=True)
class Rows:
    """Candidates by column.

    Parameters
    ----------
    codes, confidences
        ndarrays of shape (n,).
    keys
        One tuple per row.
    n_classes
        Classes of the model, of which some may have no row.
    """

    codes: NDArray[np.int64]
    confidences: NDArray[np.float64]
    keys: tuple[Key, ...]
    n_classes: int

    @classmethod
    def of(cls, *rows: tuple[int, float, Any], n_classes: int = 2) -> Rows:
        """Build from (code, confidence, id) triples."""
        codes, confidences, keys = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(
            np.asarray(codes, dtype=np.int64),
            np.asarray(confidences, dtype=np.float64),
            tuple(key if isinstance(key, tuple) else (key,) for key in keys),
            n_classes,
        )

    @classmethod
    def random(cls, seed: int, n_classes: int = 3) -> Rows:
        """Draw up to 200 rows with few distinct confidences, so that many tie."""
        chance = np.random.default_rng(seed)
        n, distinct = int(chance.integers(1, 200)), int(chance.integers(1, 30))
        values = np.round(chance.random(distinct), 6)
        return cls(
            chance.integers(0, n_classes, n),
            chance.choice(values, n),
            tuple((int(key),) for key in chance.permutation(10 * n)[:n]),
            n_classes,
        )

    def shuffled(self, seed: int) -> Rows:
        order = np.random.default_rng(seed).permutation(len(self.codes))
        keys = tuple(self.keys[i] for i in order)
        return Rows(self.codes[order], self.confidences[order], keys, self.n_classes)

    def accepted(self, plan: Plan) -> set[Key]:
        """Return the keys of the rows that a plan accepts."""
        rows = zip(self.codes, self.confidences, self.keys, strict=True)
        return {key for code, confidence, key in rows if plan.accepts(code, confidence, key)}

    def best(self, n: int, codes: Sequence[int]) -> set[Key]:
        """Return the keys of the n most confident rows of these classes, ties by lower key."""
        rows = zip(self.codes, self.confidences, self.keys, strict=True)
        ranked = sorted((-confidence, key) for code, confidence, key in rows if code in codes)
        return {key for _, key in ranked[:n]}

    def counts(self) -> Counts:
        bins = bin_of(self.confidences)
        return Counts.from_rows(
            self.n_classes, ((c, b, 1) for c, b in zip(self.codes, bins, strict=True))
        )

    def values(self, bins: Sequence[Bin]) -> list[Values]:
        return [self._values(one) for one in bins]

    def _values(self, asked: Bin) -> Values:
        inside = np.isin(self.codes, asked.codes) & (bin_of(self.confidences) == asked.bin)
        values, counts = np.unique(self.confidences[inside], return_counts=True)
        # In no useful order, as from Spark.
        order = np.random.default_rng(0).permutation(len(values))
        return values[order], counts[order]

    def nth_keys(self, ties: Sequence[Tie]) -> list[Key]:
        return [self._nth_key(tie) for tie in ties]

    def _nth_key(self, tie: Tie) -> Key:
        tied = np.flatnonzero(np.isin(self.codes, tie.codes) & (self.confidences == tie.confidence))
        return sorted(self.keys[row] for row in tied)[tie.n - 1]


def rows_of(*classes: list[float]) -> Rows:
    """Build from the confidences of each class."""
    triples = [
        (code, confidence, (code, i))
        for code, confidences in enumerate(classes)
        for i, confidence in enumerate(confidences)
    ]
    return Rows.of(*triples, n_classes=len(classes))


def plan_for(rule: Mapping[str, Any], candidates: Candidates, round_number: int) -> Plan:
    """Make the plan of a rule as a configuration, and a stored plan, has it."""
    policy = read_policy(rule)
    assert isinstance(policy, CountingPolicy)
    return make_plan(policy, candidates, RoundContext(round_number, rule.get("labeled", ())))
