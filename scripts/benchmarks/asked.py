"""What is asked of rows besides a confidence: one process, files in, narrow rows out, no Spark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow.parquet as pq

from benchmarks.tables import CLASSES, Tables
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.kernel import Scorer, make_scorer, score_batch
from spark_pseudolabel.core.teachers.committee import registered_committee
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.core.trust.agreement import Agreement
from spark_pseudolabel.core.trust.stability import draw_corruptions
from spark_pseudolabel.registry import DEFAULT_COMMITTEE, Member

_BATCH_ROWS = 10_000
_ESTIMATORS: dict[str, Member] = {
    "lr": ("LogisticRegression", {}),
    "hgb": ("HistGradientBoostingClassifier", {"early_stopping": False}),
}
_FIVE: list[Member] = [*DEFAULT_COMMITTEE, ("GaussianNB", {})]


def ways(tables: Tables, model: str) -> dict[str, Callable[[], object]]:
    """Return scans by name: plain and with stability, and of a committee and its five members."""
    kinds = [Feature(name, "numeric", "double") for name in tables.columns]
    labeled = pq.read_table(tables.root / "labeled.parquet")
    X = to_frame(labeled, kinds)
    rows = TrainingRows(X, labeled.column("y").to_numpy().astype("int32"), None, 0)
    classes = tuple(range(CLASSES))
    by_name: dict[str, Scorer] = {}
    for name, members in {"model": [_ESTIMATORS[model]], "committee": _FIVE}.items():
        teacher = registered_committee(members, kinds, 0).prepared(X)
        fitted = teacher.fit(rows, classes)
        by_name[name] = make_scorer(fitted, kinds, ("id",))
    for number, member in enumerate(members_of(by_name["committee"].model)):
        by_name[f"member {number}"] = make_scorer(member, kinds, ("id",))
    corruptions = draw_corruptions(X, kinds, ("id",), 0, copies=5, swap=0.15, noise=0.1)
    by_name["stable under 5 copies"] = replace(by_name["model"], stability=corruptions)
    agreement = Agreement(len(_FIVE), "all")
    by_name["all members agree"] = replace(by_name["committee"], agreement=agreement)
    return {name: scan(tables, scorer) for name, scorer in by_name.items()}


def scan(tables: Tables, scorer: Scorer) -> Callable[[], object]:
    """Return what scores all rows of the pool in this process and counts them."""
    columns = ["id", *tables.columns]

    def score() -> int:
        n = 0
        with hold_threads(1):
            for file in sorted(tables.pool.glob("*.parquet")):
                parts = pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=columns)
                n += sum(score_batch(batch, scorer).num_rows for batch in parts)
        return n

    return score
