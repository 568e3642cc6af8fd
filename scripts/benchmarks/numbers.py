"""Numbers as labels beside two classes: one process, files in, narrow rows out, no Spark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq

from benchmarks.asked import scan
from benchmarks.tables import Tables
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.kernel import make_scorer
from spark_pseudolabel.core.numbers import NUMBER, NumberTask, decimals_of
from spark_pseudolabel.core.teachers.cross_fitting import FOLDS
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.numbers import number_teacher
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.registry import Member

_PAIRS: dict[str, tuple[Member, Member]] = {
    "lr": (("LogisticRegression", {}), ("Ridge", {})),
    "hgb": (
        ("HistGradientBoostingClassifier", {"early_stopping": False}),
        ("HistGradientBoostingRegressor", {"early_stopping": False}),
    ),
}
CLASSES, NUMBERS = "two classes", "numbers"


def ways(tables: Tables, model: str) -> dict[str, Callable[[], object]]:
    """Return two scans by name: of a model of two classes, and of one of numbers of its kind.

    The number is a sum of the columns with a noise that depends on one of them; the class is
    whether it is above its median.
    """
    kinds = [Feature(name, "numeric", "double") for name in tables.columns]
    labeled = pq.read_table(tables.root / "labeled.parquet")
    X = to_frame(labeled, kinds)
    draw, matrix = np.random.default_rng(0), X.to_numpy()
    y = matrix[:, :8].sum(axis=1) + draw.normal(size=len(X)) * np.exp(matrix[:, 8] / 4)
    rows = TrainingRows(X, (y > np.median(y)).astype(np.int32), None, 0)
    of_classes, of_numbers = _PAIRS[model]
    classifier = registered_estimator(*of_classes, kinds, 0).prepared(X).fit(rows, (0, 1))
    sd = float(y.std(ddof=1))
    task = NumberTask(sd / 4, False, 0.95, False, decimals_of(sd), sd, float(y.mean()))
    folds = (np.arange(len(X)) % FOLDS).astype(np.int32)
    given = replace(rows, codes=np.zeros(len(X), dtype=np.int32), values=y, folds=folds)
    teacher = number_teacher([of_numbers], kinds, 0, task).prepared(X)
    fitted = teacher.fit(given, (NUMBER,))
    return {
        CLASSES: scan(tables, make_scorer(classifier, kinds, ("id",))),
        NUMBERS: scan(tables, make_scorer(fitted, kinds, ("id",))),
    }
