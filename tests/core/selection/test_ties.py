from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from spark_pseudolabel.core.selection import ties
from spark_pseudolabel.core.selection.counts import Key, Tie
from spark_pseudolabel.core.selection.ties import Sample, Span, merged, nth_keys, sample_size


@dataclass
class Places:
    """Keys of ties (by class) in several places, of which each answers for itself."""

    keys: dict[int, list[list[Key]]]
    most: list[int] = field(default_factory=list)

    def _there(self, span: Span) -> list[list[Key]]:
        return [
            sorted(
                key
                for key in place
                if (span.after is None or key > span.after)
                and (span.upto is None or key <= span.upto)
            )
            for place in self.keys[span.tie.codes[0]]
        ]

    def samples(self, spans: Sequence[Span], most: int) -> list[Sample]:
        found = [
            merged([Sample(tuple(k), (1,) * len(k)).thinned(most) for k in self._there(s)], most)
            for s in spans
        ]
        self.most += [len(one.keys) for one in found]
        return found

    def counts_upto(
        self, spans: Sequence[Span], limits: Sequence[Sequence[Key]]
    ) -> list[list[int]]:
        return [
            [sum(key <= limit for place in self._there(span) for key in place) for limit in some]
            for span, some in zip(spans, limits, strict=True)
        ]


@pytest.mark.parametrize("n", [1, 2, 777, 3_000])
@pytest.mark.parametrize("order", ["mixed", "one place after the other", "all in one place"])
def test_the_nth_key_of_many_is_found_with_few_of_them_at_once(
    monkeypatch: pytest.MonkeyPatch, n: int, order: str
) -> None:
    monkeypatch.setattr(ties, "_SAMPLE_KEYS", 64)
    keys = [("b", i) if i % 3 else ("a", i) for i in range(3_000)]
    expected = sorted(keys)[n - 1]
    if order == "mixed":
        keys = [keys[i] for i in np.random.default_rng(0).permutation(len(keys))]
    cut = len(keys) if order == "all in one place" else 250
    places = Places({0: [keys[i : i + cut] for i in range(0, len(keys), cut)], 1: [[("c", 1)], []]})
    found = nth_keys([Tie((0,), 0.9, n), Tie((1,), 0.8, 1)], places)
    assert found == [expected, ("c", 1)]
    assert max(places.most) <= sample_size(1)


def test_a_thinned_sample_stands_for_all_keys_and_keeps_the_last() -> None:
    sample = Sample(tuple((i,) for i in range(1_000)), (1,) * 1_000)
    assert sample.whole
    thin = sample.thinned(10)
    assert (len(thin.keys), sum(thin.weights), thin.keys[-1]) == (10, 1_000, (999,))
    assert not thin.whole
    assert merged([], 10) == Sample()
    both = merged([thin, Sample(((5_000,),), (1,))], 20)
    assert (sum(both.weights), both.keys[-1]) == (1_001, (5_000,))
