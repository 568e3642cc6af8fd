"""One experiment: which rows have labels, which are the pool, which are only for measuring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.reference import Reference, rows_to_draw
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.evaluate.data import DataSet


@dataclass(frozen=True)
class Task:
    """Rows of one data set, dealt out.

    Parameters
    ----------
    data
        Where they come from.
    labeled
        Rows with labels.
    hashes
        ndarray of shape (n_labeled,): decides the folds.
    pool, pool_codes
        Rows without labels, and the truth about them, which no method may see.
    test, test_codes
        Rows to measure a model on.
    seed
        Of the draw and of the models.
    groups, pool_groups
        ndarrays of shape (n_labeled,) and (n_pool,): which rows were drawn together, as far as
        methods may know it; None: they are not told.
    """

    data: DataSet
    labeled: TrainingRows
    hashes: NDArray[np.int64]
    pool: pd.DataFrame
    pool_codes: NDArray[np.int32]
    test: pd.DataFrame
    test_codes: NDArray[np.int32]
    seed: int
    groups: NDArray[np.int64] | None = None
    pool_groups: NDArray[np.int64] | None = None

    @property
    def reference(self) -> pd.DataFrame:
        """The rows that preprocessing is learned from, as in a run."""
        return self._reference.X

    @property
    def spread(self) -> pd.DataFrame:
        """The same rows as far as they spread."""
        return self._reference.spread

    @cached_property
    def _reference(self) -> Reference:
        return Reference.of(self.labeled.X, self.pool.head(rows_to_draw(self.labeled.X)))


def draw(
    data: DataSet, n: int, seed: int, *, per_class: bool = False, n_pool: int, n_test: int
) -> Task:
    """Deal out rows at random.

    Parameters
    ----------
    n
        Labeled rows: in all, each class at least twice; or of each class.
    per_class
        The same number of every class, whatever its share of the pool.
    n_pool, n_test
        At most so many; of a small set, three in five of what is left are the pool.
    """
    chance = np.random.default_rng([seed, n])
    order = _order(data, chance)
    chosen = _first_of_each(data.codes, order, n) if per_class else _random(data.codes, order, n)
    rest = order[~np.isin(order, chosen)]
    n_pool = min(n_pool, len(rest) * 3 // 5)
    pool, test = rest[:n_pool], rest[n_pool : n_pool + n_test]
    return Task(
        data=data,
        labeled=TrainingRows(_rows(data.X, chosen), data.codes[chosen], None, 0),
        hashes=chance.permutation(len(chosen)).astype(np.int64),
        pool=_rows(data.X, pool),
        pool_codes=data.codes[pool],
        test=_rows(data.X, test),
        test_codes=data.codes[test],
        seed=seed,
        groups=None if data.groups is None else data.groups[chosen],
        pool_groups=None if data.groups is None else data.groups[pool],
    )


def with_copies(task: Task, share: float) -> Task:
    """Add copies of a share of the labeled rows, as rows of their own."""
    chance = np.random.default_rng([task.seed, 1])
    n = len(task.labeled.codes)
    again = np.append(np.arange(n), chance.permutation(n)[: round(share * n)])
    rows = replace(task.labeled, X=_rows(task.labeled.X, again), codes=task.labeled.codes[again])
    return replace(
        task,
        labeled=rows,
        hashes=chance.permutation(len(again)).astype(np.int64),
        groups=None if task.groups is None else task.groups[again],
    )


def without_groups(task: Task) -> Task:
    """Do not tell which rows were drawn together."""
    return replace(task, groups=None, pool_groups=None)


def masked(task: Task) -> Task:
    """Set every second numeric column of the pool to its median."""
    columns = [f.name for f in task.data.features if f.numeric][::2]
    return replace(task, pool=task.pool.assign(**task.pool[columns].median()))


def moved(task: Task) -> Task:
    """Move every second numeric column of the pool by two standard deviations."""
    columns = [f.name for f in task.data.features if f.numeric][::2]
    part = task.pool[columns]
    return replace(task, pool=task.pool.assign(**(part + 2 * part.std())))


SHIFTS: Mapping[str, Callable[[Task], Task]] = {"masked": masked, "moved": moved}


def _order(data: DataSet, chance: np.random.Generator) -> NDArray[np.intp]:
    """Return the rows in an order of chance, those of a group one after the other."""
    order = chance.permutation(len(data.codes))
    if data.groups is None:
        return order
    place = chance.permutation(int(data.groups.max()) + 1)
    return order[np.argsort(place[data.groups[order]], kind="stable")]


def _first_of_each(codes: NDArray[np.int32], order: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    return np.concatenate([order[codes[order] == code][:n] for code in range(codes.max() + 1)])


def _random(codes: NDArray[np.int32], order: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    two_of_each = _first_of_each(codes, order, 2)
    rest = order[~np.isin(order, two_of_each)]
    missing = np.isin(order[:n], two_of_each).sum() < len(two_of_each)
    return np.concatenate([two_of_each, rest[: n - len(two_of_each)]]) if missing else order[:n]


def _rows(X: pd.DataFrame, rows: NDArray[np.intp]) -> pd.DataFrame:
    return X.iloc[rows].reset_index(drop=True)
