"""Rules as a teacher: each votes for one label or not at all, and a label model weighs the votes.

The votes are one vector column of the tables, ``spl_votes``, which Spark evaluates while it reads
them; models of this teacher see nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import UNREADABLE, VOTES
from spark_pseudolabel.core.facts import RuleFacts, RulesFound
from spark_pseudolabel.core.feature import Feature
from spark_pseudolabel.core.features import to_matrix
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.teachers.cross_fitting import NEVER_HELD_OUT, CrossFit
from spark_pseudolabel.core.teachers.label_model import (
    KnownVotes,
    Patterns,
    Rates,
    RuleModel,
    dependent_rules,
    majority_shares,
    precisions,
    vote_weights,
    votes_in,
)
from spark_pseudolabel.core.teachers.teacher import PoolPass, Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.errors import InputError

MAX_PATTERNS = 20_000
"""Combinations of votes that rates are found from; of more, a sample of the rows is taken."""


def votes_feature(n_rules: int) -> Feature:
    """Return the column of votes as what models of this teacher see."""
    return Feature(VOTES, "vector", "array<tinyint>", n_rules)


def label_text(label: Label) -> str:
    """Return a label as text, by which a configuration's and a table's are compared."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def codes_of(labels: Sequence[Label], classes: Sequence[Label]) -> list[int]:
    """Return the class index of each rule's label.

    Raises
    ------
    InputError
        If a label is not among the classes.
    """
    index = {label_text(label): code for code, label in enumerate(classes)}
    unknown = [label for label in labels if label_text(label) not in index]
    if unknown:
        raise InputError(
            f"teacher.rules: the label {unknown[0]!r} must be one of the labeled rows. These have "
            f"{', '.join(map(repr, classes))}.",
            code="unknown_label",
            where="teacher.rules",
        )
    return [index[label_text(label)] for label in labels]


@dataclass(frozen=True)
class VotesSeen:
    """How often combinations of votes occur in a sample of rows that holds few enough of them.

    A row is in the sample of level n where the hash of its key begins with n bits of 0, one row
    in 2ⁿ. Which level leaves few enough combinations does not depend on how rows are dealt.

    Parameters
    ----------
    level
        Of the sample.
    rows
        By level and packed votes: rows of that combination whose hash begins with as many zeros.
    """

    level: int
    rows: Mapping[tuple[int, bytes], int]

    @classmethod
    def merged(cls, parts: Sequence[VotesSeen]) -> VotesSeen:
        """Put samples together, each thinned to the smallest one's level and further as needed."""
        level, rows = max(part.level for part in parts), Counter[tuple[int, bytes]]()
        for part in parts:
            rows.update(part.rows)
        return cls(level, rows).thinned()

    def thinned(self) -> VotesSeen:
        """Return the largest sample of no more combinations than :data:`MAX_PATTERNS`."""
        level, rows = self.level, {k: n for k, n in self.rows.items() if k[0] >= self.level}
        while len({votes for _, votes in rows}) > MAX_PATTERNS:
            level += 1
            rows = {key: n for key, n in rows.items() if key[0] >= level}
        return VotesSeen(level, rows)

    def patterns(self, n_rules: int) -> Patterns:
        """Return the combinations, in an order of their own."""
        counts = Counter[bytes]()
        for (_, votes), n in self.rows.items():
            counts[votes] += n
        packed = np.frombuffer(b"".join(sorted(counts)), dtype=np.uint8)
        packed = packed.reshape(len(counts), (n_rules + 7) // 8)
        bits = np.unpackbits(packed, axis=1, count=n_rules)
        rows = np.array([counts[votes] for votes in sorted(counts)], dtype=np.float64)
        return Patterns(bits.astype(bool), rows)


def look_at_votes(
    batches: Iterable[pa.RecordBatch], feature: Feature, random_state: int
) -> VotesSeen:
    """Count combinations of votes; runs on workers.

    Parameters
    ----------
    batches
        Keys and the column of votes.
    feature
        That column.
    random_state
        Seed of the row hash.
    """
    seen = VotesSeen(0, {})
    for batch in batches:
        if UNREADABLE in batch.schema.names:  # such a row is invalid, and what it holds unknown
            batch = batch.filter(batch.column(UNREADABLE).is_null()).drop_columns([UNREADABLE])
        keys = [name for name in batch.schema.names if name != feature.name]
        hashes = xxhash64([*[batch.column(key) for key in keys], random_state])
        votes = np.packbits(votes_in(to_matrix(batch, [feature])), axis=1)
        levels = _leading_zeros(hashes)
        lines = np.column_stack([levels.astype(np.uint8), votes])[levels >= seen.level]
        distinct, counts = np.unique(lines, axis=0, return_counts=True)
        counted = {
            (int(line[0]), line[1:].tobytes()): int(n)
            for line, n in zip(distinct, counts, strict=True)
        }
        seen = VotesSeen.merged([seen, VotesSeen(seen.level, counted)])
    return seen


def _leading_zeros(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many bits of 0 a hash begins with; 31 at most, of two in a thousand million."""
    upper = (hashes.view(np.uint64) >> np.uint64(33)).astype(np.float64)
    return 31 - np.ceil(np.log2(upper + 1)).astype(np.int64)


@dataclass(frozen=True)
class Rules(Teacher):
    """Rules that vote, and the label model that learns from all rows how far to trust each.

    Parameters
    ----------
    names, labels
        Of the rules, in the order of their votes.
    random_state
        Seed of the row hash.
    seen
        Combinations of votes in the pool; None before the pass, and of a pool without rows.
    prior
        ndarray of shape (n_classes,): the pool's class shares where they are given.
    """

    names: tuple[str, ...]
    labels: tuple[Label, ...]
    random_state: int
    seen: VotesSeen | None = None
    prior: NDArray[np.float64] | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return "The label model"

    @property
    def pool_pass(self) -> PoolPass:
        """Combinations of votes are counted on all rows."""
        look = partial(
            look_at_votes, feature=votes_feature(len(self.names)), random_state=self.random_state
        )
        return PoolPass(look, VotesSeen.merged, features=(VOTES,))

    def informed(self, seen: VotesSeen | None) -> Rules:
        """Take in the combinations."""
        return replace(self, seen=seen)

    def expecting(self, prior: NDArray[np.float64] | None) -> Rules:
        """Take in the pool's class shares."""
        return replace(self, prior=prior)

    @property
    def learns_prior(self) -> bool:
        """The label model estimates the pool's class shares, or has them given."""
        return True

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> RuleModel:
        """Fit the label model on the pool's votes and on those on labeled rows."""
        known = KnownVotes(votes_in(rows.X), rows.codes)
        model = RuleModel(codes_of(self.labels, classes))
        return model.fit_patterns(self.patterns, classes, known, self.prior)

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> CrossFit:
        """Fit one label model per fold, to score rows whose label it has not seen.

        A row without a vote has no score, whatever its label, and is never held out.
        """
        voted = votes_in(rows.X).any(axis=1)
        folds = np.where(voted, folds, NEVER_HELD_OUT).astype(np.int32)
        return super().cross_fit(rows, folds, classes, mean=mean)

    @property
    def patterns(self) -> Patterns:
        """The combinations of votes in the pool."""
        seen = self.seen or VotesSeen(0, {})
        return seen.patterns(len(self.names))

    def found(
        self, rows: TrainingRows, classes: Sequence[Label], fitted: CrossFit | None
    ) -> RulesFound:
        """Return what a report says of the rules.

        Parameters
        ----------
        rows, classes
            The labeled rows, which may be none, and all labels.
        fitted
            Their out-of-fold scores; None without any.
        """
        patterns, known = self.patterns, votes_in(rows.X)
        model = self.fit(rows, classes)
        codes, rates = np.asarray(model.rule_codes), Rates(model.rates_, model.prior_)
        P = model.predict_proba(patterns.votes.astype(np.float64))
        majority = majority_shares(patterns.votes, codes, len(classes))
        chosen = P.argmax(axis=1)
        of_chosen = majority[np.arange(len(majority)), chosen]
        covered = np.where(patterns.covered, patterns.rows, 0.0)
        n_covered = max(1.0, float(covered.sum()))
        best = majority.max(axis=1, initial=0.0)
        better, worse = _against_majority(known, rows.codes, codes, fitted)
        return RulesFound(
            method=model.method_,
            why=model.why_,
            rows=int(patterns.rows.sum()),
            prior=tuple(rates.prior.tolist()),
            rules=self._rules(patterns, precisions(P, patterns, codes), model, known, rows.codes),
            dependent=dependent_rules(patterns, codes, len(classes), self.names, self.prior),
            disagree=float(covered[of_chosen < best].sum() / n_covered),
            outvoted=float(covered[of_chosen == 0].sum() / n_covered),
            better=better,
            worse=worse,
        )

    def _rules(
        self,
        patterns: Patterns,
        estimated: NDArray[np.float64],
        model: RuleModel,
        known: NDArray[np.bool_],
        known_codes: NDArray[np.int32],
    ) -> tuple[RuleFacts, ...]:
        codes = np.asarray(model.rule_codes)
        weights = _shares(_weights(model))
        n = max(1.0, float(patterns.rows.sum()))
        facts = []
        for j, (name, label) in enumerate(zip(self.names, self.labels, strict=True)):
            votes = patterns.votes[:, j]
            others = np.delete(patterns.votes, j, axis=1)[votes]
            against = others[:, np.delete(codes, j) != codes[j]]
            rows, n_votes = patterns.rows[votes], max(1.0, float(patterns.rows[votes].sum()))
            right = known_codes[known[:, j]] == codes[j]
            facts.append(
                RuleFacts(
                    name=name,
                    label=label,
                    weight=float(weights[j]),
                    coverage=float(rows.sum() / n),
                    overlap=float(rows[others.any(axis=1)].sum() / n_votes),
                    conflict=float(rows[against.any(axis=1)].sum() / n_votes),
                    estimated=None if np.isnan(estimated[j]) else min(1.0, float(estimated[j])),
                    measured=float(right.mean()) if len(right) else None,
                    n_measured=len(right),
                )
            )
        return tuple(facts)


def _weights(model: RuleModel) -> NDArray[np.float64]:
    if model.method_ == "majority":
        return np.ones(len(model.rule_codes))
    weights = vote_weights(Rates(model.rates_, model.prior_), np.asarray(model.rule_codes))
    return np.maximum(weights, 0.0)


def _shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum()
    shares: NDArray[np.float64] = weights / total if total else weights
    return shares


def _against_majority(
    votes: NDArray[np.bool_],
    codes: NDArray[np.int32],
    rule_codes: NDArray[np.int64],
    fitted: CrossFit | None,
) -> tuple[int | None, int | None]:
    """Count labeled rows that the label model alone has right, and that the majority alone has."""
    if fitted is None or not fitted.held_out.any():
        return None, None
    held_out = fitted.held_out
    majority = majority_shares(votes[held_out], rule_codes, fitted.P.shape[1])
    by_model = fitted.P[held_out].argmax(axis=1) == codes[held_out]
    by_majority = majority.argmax(axis=1) == codes[held_out]
    return int((by_model & ~by_majority).sum()), int((~by_model & by_majority).sum())
