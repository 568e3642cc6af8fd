"""One experiment with numbers: which rows have labels, which are the pool, which only measure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.core.numbers import NUMBER, NumberTask, decimals_of
from spark_pseudolabel.core.teachers.anchors import anchors_teacher
from spark_pseudolabel.core.teachers.cross_fitting import FOLDS
from spark_pseudolabel.core.teachers.numbers import (
    NumberTeacher,
    graph_number_teacher,
    number_teacher,
)
from spark_pseudolabel.core.teachers.reference import Reference, rows_to_draw
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.evaluate.number_data import NumberSet
from spark_pseudolabel.registry import DEFAULT_NUMBER_COMMITTEE, Member

CLASSES = (NUMBER,)
INTERVAL = 0.95

NUMBER_LEARNERS: dict[str, tuple[Member, ...]] = {
    "auto": DEFAULT_NUMBER_COMMITTEE,
    "few": (
        ("Ridge", {}),
        ("ExtraTreesRegressor", {"n_estimators": 10, "min_samples_leaf": 2}),
    ),
    "ridge": (("Ridge", {}),),
    "hgb": (("HistGradientBoostingRegressor", {"max_iter": 50}),),
}
"""Members of teachers, by name; few is fitted in some hundredths of a second."""


ANCHORS = "anchors"
"""Name of a teacher that is a graph."""


@dataclass(frozen=True)
class NumberDraw:
    """Rows of one data set, dealt out.

    Parameters
    ----------
    data
        Where they come from.
    labeled
        Rows with labels, and their folds.
    pool, pool_y
        Rows without labels, and the truth about them, which no method may see.
    test, test_y
        Rows to measure a model on.
    seed
        Of the draw and of the models.
    """

    data: NumberSet
    labeled: TrainingRows
    pool: pd.DataFrame
    pool_y: NDArray[np.float64]
    test: pd.DataFrame
    test_y: NDArray[np.float64]
    seed: int

    @property
    def y(self) -> NDArray[np.float64]:
        """The labels."""
        assert self.labeled.values is not None
        return self.labeled.values

    @property
    def folds(self) -> NDArray[np.int32]:
        """The folds of the labeled rows."""
        assert self.labeled.folds is not None
        return self.labeled.folds

    @cached_property
    def task(self) -> NumberTask:
        """What is asked of labels, as a run takes it from the labeled rows."""
        sd = float(self.y.std(ddof=1))
        return NumberTask(
            tolerance=self.data.tolerance,
            relative=False,
            interval=INTERVAL,
            integer=self.data.integer,
            decimals=decimals_of(sd),
            sd=sd,
            mean=float(self.y.mean()),
        )

    def learner(self, name: str) -> NumberTeacher:
        """Make a teacher by its name: that of :data:`NUMBER_LEARNERS`, or :data:`ANCHORS`."""
        return self.anchors() if name == ANCHORS else self.teacher(NUMBER_LEARNERS[name])

    def anchors(self) -> NumberTeacher:
        """Make a teacher on an anchor graph over all rows."""
        graph = anchors_teacher(self.data.features, 1000, 3, self.seed, numbers=True)
        made = graph_number_teacher(graph, self.data.features, self.seed, self.task)
        X = self.labeled.X
        reference = Reference.of(X, self.pool.head(rows_to_draw(X)))
        placed = made.prepared(reference.X).placed(reference.spread)
        wanted = placed.pool_pass
        assert wanted is not None
        return placed.informed(wanted.look([pa.RecordBatch.from_pandas(self.pool)]))

    def teacher(self, members: tuple[Member, ...]) -> NumberTeacher:
        """Make a teacher that knows what needs no labels, as in a run."""
        made = number_teacher(members, self.data.features, self.seed, self.task)
        X = self.labeled.X
        return made.prepared(Reference.of(X, self.pool.head(rows_to_draw(X))).X)


def draw_numbers(data: NumberSet, n: int, seed: int, *, n_pool: int, n_test: int) -> NumberDraw:
    """Deal out rows at random.

    Parameters
    ----------
    n
        Labeled rows.
    n_pool, n_test
        At most so many; of a small set, three in five of what is left are the pool.
    """
    chance = np.random.default_rng([seed, n])
    order = chance.permutation(len(data.y))
    chosen, rest = order[:n], order[n:]
    n_pool = min(n_pool, len(rest) * 3 // 5)
    pool, test = rest[:n_pool], rest[n_pool : n_pool + n_test]
    folds = (chance.permutation(n) % FOLDS).astype(np.int32)
    return NumberDraw(
        data=data,
        labeled=TrainingRows(
            _rows(data.X, chosen), np.zeros(n, dtype=np.int32), None, 0, data.y[chosen], folds
        ),
        pool=_rows(data.X, pool),
        pool_y=data.y[pool],
        test=_rows(data.X, test),
        test_y=data.y[test],
        seed=seed,
    )


def _rows(X: pd.DataFrame, rows: NDArray[np.intp]) -> pd.DataFrame:
    return X.iloc[rows].reset_index(drop=True)
