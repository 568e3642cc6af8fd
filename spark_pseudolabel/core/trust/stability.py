"""Stability: whether a row keeps its label when its values are corrupted.

Consistency for tables. A row is corrupted as SCARF does (Bahri et al. 2022): some of its values are
replaced by what other rows have in the same columns, and noise is added besides. A label that
hangs on one value, or lies at a border, does not survive that.

What happens to a row follows from its key alone, so that it is the same on any cluster and in any
batch: a hash of key and copy chooses one of some hundred corruptions, which are drawn before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtri

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.hashing import xxhash64

MARGINAL_ROWS = 1_000
"""Pool rows whose values stand for those of a column."""

_MOST, _LEAST = 1024, 64
_CELLS = 2**20
"""Corruptions to choose from, fewer where rows are wide: all of them are sent to every worker."""

_WORDS = 256
"""Words of a text after which those that are dropped repeat."""

_SWAP, _VALUE, _NOISE, _WORD = range(4)


@dataclass(frozen=True)
class Stability:
    """How rows are corrupted.

    Parameters
    ----------
    copies
        Of each row, all of which have to keep its label.
    keys
        Key columns.
    seed
        Of all chance in it.
    keep
        ndarray of shape (n_corruptions, n_numbers): which numbers stay, but for noise.
    add
        ndarray of the same shape: what is added to those, and what the others become.
    categories
        By column, which corruptions replace it, and by what.
    texts
        By column, ndarray of shape (n_corruptions, n_words): which words stay.
    """

    copies: int
    keys: tuple[str, ...]
    seed: int
    keep: NDArray[np.bool_]
    add: NDArray[np.float64]
    categories: Mapping[str, tuple[NDArray[np.bool_], NDArray[np.object_]]]
    texts: Mapping[str, NDArray[np.bool_]]

    def hashes(self, rows: pa.RecordBatch | pa.Table) -> NDArray[np.int64]:
        """Return what decides about each row, of shape (n_rows,)."""
        return xxhash64([*[rows.column(key) for key in self.keys], self.seed])

    def corrupted(self, X: pd.DataFrame, hashes: NDArray[np.int64], copy: int) -> pd.DataFrame:
        """Return a corrupted copy of rows.

        Parameters
        ----------
        X
            Model input: numbers first, as :func:`~spark_pseudolabel.core.features.to_frame` has it.
        hashes
            From :meth:`hashes`.
        copy
            Its number, from 0.
        """
        chosen = xxhash64([copy], start=hashes).view(np.uint64) % np.uint64(len(self.keep))
        n_numbers = self.keep.shape[1]
        values = X.iloc[:, :n_numbers].to_numpy()
        numbers = self.add[chosen]
        numbers += np.where(self.keep[chosen], values, 0.0)
        corrupted = pd.DataFrame(numbers, columns=X.columns[:n_numbers], copy=False)
        for name in X.columns[n_numbers:]:
            strings = X[name].to_numpy(dtype=object)
            if name in self.categories:
                replaced, by = self.categories[name]
                strings = np.where(replaced[chosen], by[chosen], strings)
            elif name in self.texts:
                texts = zip(strings, self.texts[name][chosen], strict=True)
                strings = np.array([_without_words(*pair) for pair in texts], dtype=object)
            corrupted[name] = strings
        return corrupted


def draw_corruptions(
    marginals: pd.DataFrame,
    features: Sequence[Feature],
    keys: Sequence[str],
    seed: int,
    *,
    copies: int,
    swap: float,
    noise: float,
) -> Stability:
    """Draw how rows are corrupted.

    Parameters
    ----------
    marginals
        Model input: rows of the pool. Missing values are no values: they replace none.
    features
        The columns.
    keys
        Key columns.
    seed
        Of all chance in it.
    copies
        Of each row.
    swap
        How often a value is replaced by that of another row, and a word of a text is dropped.
    noise
        Standard deviation of what is added to numbers, dates and timestamps, as a multiple of
        their column's.
    """
    numeric = [f for f in features if f.numeric]
    names = [column for feature in numeric for column in feature.columns]
    n = min(_MOST, max(_LEAST, _CELLS // max(1, len(names))))
    chance = _Chance(n, seed)
    keep, add = np.ones((n, len(names)), dtype=bool), np.zeros((n, len(names)))
    # A flag is one thing or the other.
    noisy = [feature.kind != "boolean" for feature in numeric for _ in feature.columns]
    for place, (name, is_noisy) in enumerate(zip(names, noisy, strict=True)):
        values = marginals[name].to_numpy()
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        replaced = chance.uniform(name, _SWAP) < swap
        keep[:, place] = ~replaced
        add[replaced, place] = values[chance.below(name, len(values))[replaced]]
        if is_noisy:
            add[:, place] += noise * values.std() * ndtri(chance.uniform(name, _NOISE))
    categories, texts = {}, {}
    for name in (f.name for f in features if f.kind == "category"):
        known = marginals[name].dropna().to_numpy(dtype=object)
        if len(known):
            by = known[chance.below(name, len(known))]
            categories[name] = (chance.uniform(name, _SWAP) < swap, by)
    for name in (f.name for f in features if f.kind == "text"):
        words = [chance.uniform(name, _WORD + word) for word in range(_WORDS)]
        texts[name] = np.stack(words, axis=1) >= swap
    return Stability(copies, tuple(keys), seed, keep, add, categories, texts)


@dataclass(frozen=True)
class _Chance:
    """Random numbers by hashes: those of numpy may change with its version, and a run goes on."""

    n: int
    seed: int

    def uniform(self, name: str, number: int) -> NDArray[np.float64]:
        """Return numbers in (0, 1), of shape (n,), the same for the same name and number.

        Evenly spaced, in an order of chance: shares and quantiles are then what they should be.
        """
        places = pa.array(np.arange(self.n))
        hashes = xxhash64([pa.repeat(pa.scalar(name), self.n), places, number, self.seed])
        ranks = np.argsort(np.argsort(hashes, kind="stable")).astype(np.float64)
        return (ranks + 0.5) / self.n

    def below(self, name: str, n_values: int) -> NDArray[np.intp]:
        """Return places among some values."""
        return (self.uniform(name, _VALUE) * n_values).astype(np.intp)


def _without_words(text: str, kept: NDArray[np.bool_]) -> str:
    words = text.split()
    if len(words) > len(kept):
        kept = np.resize(kept, len(words))
    return " ".join(compress(words, kept))
