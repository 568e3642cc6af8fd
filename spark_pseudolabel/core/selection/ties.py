"""The n-th lowest key among many, found without bringing them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from spark_pseudolabel.core.selection.counts import Key, Tie

_SAMPLE_KEYS = 4_096
"""Keys that an answer holds, for all ties together."""

_MIN_SAMPLE = 16
_SPLITTERS = 8
"""A sample has this many keys for each key that is counted against."""


@dataclass(frozen=True)
class Span:
    """Keys of a tie in which its `n`-th lowest is looked for.

    Parameters
    ----------
    tie
        The tie; its `n` counts within the span.
    after, upto
        The span's keys are greater than the first and at most the second; None: no limit.
    """

    tie: Tie
    after: Key | None = None
    upto: Key | None = None


@dataclass(frozen=True)
class Sample:
    """Keys of a span, thinned out.

    Parameters
    ----------
    keys
        Ascending; the greatest of the span is the last.
    weights
        For how many keys each stands: itself, and those that were left out before it.
    """

    keys: tuple[Key, ...] = ()
    weights: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether no key was left out."""
        return len(self.keys) == sum(self.weights)

    def thinned(self, most: int) -> Sample:
        """Return at most `most` of the keys, which stand for about as many each."""
        if len(self.keys) <= most:
            return self
        reached = np.cumsum(self.weights)
        marks = np.linspace(0, reached[-1], most + 1)[1:]
        chosen = np.unique(np.minimum(np.searchsorted(reached, marks), len(self.keys) - 1))
        weights = np.diff(reached[chosen], prepend=0)
        return Sample(tuple(self.keys[place] for place in chosen), tuple(weights.tolist()))


class Questions(Protocol):
    """What can be asked of keys, wherever they are; an answer to each span."""

    def samples(self, spans: Sequence[Span], most: int) -> list[Sample]:
        """Return at most `most` keys of every span."""
        ...

    def counts_upto(
        self, spans: Sequence[Span], limits: Sequence[Sequence[Key]]
    ) -> list[list[int]]:
        """Return how many keys of each span are at most each of some keys."""
        ...


def merged(samples: Sequence[Sample], most: int) -> Sample:
    """Put samples of parts of a span together."""
    pairs = sorted(
        pair for sample in samples for pair in zip(sample.keys, sample.weights, strict=True)
    )
    keys, weights = zip(*pairs, strict=True) if pairs else ((), ())
    return Sample(keys, weights).thinned(most)


def sample_size(n_spans: int) -> int:
    """Return how many keys of each span an answer may hold."""
    return max(_MIN_SAMPLE, _SAMPLE_KEYS // max(1, n_spans))


def nth_keys(ties: Sequence[Tie], questions: Questions) -> list[Key]:
    """Find the n-th lowest key of every tie.

    A few thousand keys are answered with at once. More of them are narrowed down: keys of a sample
    are counted against, and the span between two of them that holds the wanted one is looked at
    next. Keys must not occur twice.

    Parameters
    ----------
    ties
        At least `n` keys each.
    questions
        Answered where the keys are.
    """
    answers: dict[int, Key] = {}
    spans = {place: Span(tie) for place, tie in enumerate(ties)}
    while spans:
        samples = questions.samples(list(spans.values()), sample_size(len(spans)))
        wide: dict[int, Sample] = {}
        for (place, span), sample in zip(spans.items(), samples, strict=True):
            if sample.whole:
                answers[place] = sample.keys[span.tie.n - 1]
            else:
                wide[place] = sample
        spans = {place: spans[place] for place in wide}
        if spans:
            # Not the last: what lies up to it is the whole span.
            splitters = [
                Sample(wide_sample.keys[:-1], wide_sample.weights[:-1])
                .thinned(len(wide_sample.keys) // _SPLITTERS)
                .keys
                for wide_sample in wide.values()
            ]
            counts = questions.counts_upto(list(spans.values()), splitters)
            spans = {
                place: _narrowed(span, keys, n)
                for (place, span), keys, n in zip(spans.items(), splitters, counts, strict=True)
            }
    return [answers[place] for place in range(len(ties))]


def _narrowed(span: Span, keys: Sequence[Key], counts: Sequence[int]) -> Span:
    """Return the part of a span between two of some keys that holds the wanted one."""
    place = int(np.searchsorted(counts, span.tie.n))
    before = counts[place - 1] if place else 0
    return Span(
        replace(span.tie, n=span.tie.n - before),
        after=keys[place - 1] if place else span.after,
        upto=keys[place] if place < len(keys) else span.upto,
    )
