"""scikit-learn's self-training on a whole pool in one process: ROOT LAYOUT ROWS MODEL."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.semi_supervised import SelfTrainingClassifier

from benchmarks import models
from benchmarks.runs import ROUNDS, THRESHOLD
from benchmarks.tables import Tables, to_matrix


def main() -> None:
    """Read, fit, and print the accuracy on the test rows."""
    root, layout, rows, model = sys.argv[1:]
    tables = Tables(Path(root), layout, int(rows))
    X, y = tables.matrix("labeled")
    pool = to_matrix(pq.read_table(tables.pool), layout)
    unlabeled = np.full(len(pool), -1)
    training = SelfTrainingClassifier(models.make(model), threshold=THRESHOLD, max_iter=ROUNDS)
    training.fit(np.concatenate([X, pool]), np.concatenate([y, unlabeled]))
    X_test, y_test = tables.matrix("test")
    sys.stdout.write(f"{(training.predict(X_test) == y_test).mean()}\n")


if __name__ == "__main__":
    main()
