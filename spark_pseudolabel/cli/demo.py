"""The demonstration: handwritten digits that come with scikit-learn, most of them unlabeled."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.program import command

if TYPE_CHECKING:
    import pyarrow as pa

    from spark_pseudolabel.report.document import ModelResult, Report

SEED = 0
TEST_SHARE = 0.25
LABELED_SHARE = 0.2
"""Of the rows that are not test rows, as in the sources: 80 % are unlabeled."""


def write_demo(output: str | Path) -> Path:
    """Write the tables and the configuration where they are not there yet.

    Returns
    -------
    Path
        The configuration.
    """
    data = Path(output) / "data"
    config = Path(output) / "demo.yaml"
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not all((data / name).exists() for name in _FILES):
            _write_tables(data)
        if not config.exists():
            _write_aside(config, lambda path: path.write_text(_config(output), encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"The demo writes to {str(output)!r}, which is not possible: {error.strerror}. "
            "Name another directory with --output.",
            where=str(output),
        ) from error
    return config


def summary(report: Report, config: Path, *, already_done: bool) -> str:
    """Tell what came out: the accuracy of both models, the places, the next command."""
    out = config.parent / "out"
    lines = [f"Nothing to do: {out} is finished.", ""] if already_done else []
    lines += [
        _headline(report),
        "",
        f"  Seed model   test accuracy {_test_accuracy(report.seed)}",
        f"  Final model  test accuracy {_test_accuracy(report.final)}",
        "",
        f"  Labels  {report.paths.labels}",
        f"  Model   {report.paths.model}",
        f"  Report  {report.paths.report_html}",
        "",
        f"Next: {command('status', str(out))}",
        f"      {command('plan', str(config))}    (then put your own tables in it)",
    ]
    return "\n".join(lines)


_FILES = ("labeled.parquet", "pool", "test.parquet")


def _headline(report: Report) -> str:
    rows, n = report.rows, report.n_iter
    n_labeled = rows.labeled + rows.validation
    return (
        f"{n_labeled:,} labeled digits and {rows.pool:,} unlabeled ones: {rows.accepted:,} got a "
        f"label in {n} round{'' if n == 1 else 's'} ({report.termination_condition})."
    )


def _test_accuracy(model: ModelResult) -> str:
    assert model.test is not None  # the configuration names a test table
    return f"{model.test.accuracy:.4f} on {model.test.n:,} rows"


def _write_tables(data: Path) -> None:
    import numpy as np
    import pyarrow.parquet as pq

    digits = _digits()
    order = np.random.default_rng(SEED).permutation(digits.num_rows)
    n_test = round(TEST_SHARE * len(order))
    n_labeled = round(LABELED_SHARE * (len(order) - n_test))
    test, labeled, pool = np.split(order, [n_test, n_test + n_labeled])
    tables = {
        "test.parquet": digits.take(np.sort(test)),
        "labeled.parquet": digits.take(np.sort(labeled)),
        "pool/part-0.parquet": digits.take(np.sort(pool)).drop_columns("digit"),
    }
    for name, table in tables.items():
        if not (data / name).exists():
            (data / name).parent.mkdir(exist_ok=True)
            _write_aside(data / name, partial(pq.write_table, table))


def _digits() -> pa.Table:
    import numpy as np
    import pyarrow as pa
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    pixels = {f"pixel_{i // 8}_{i % 8}": X[:, i] for i in range(X.shape[1])}
    return pa.table({"row_id": np.arange(len(y)), **pixels, "digit": y.astype(np.int64)})


def _write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Write under another name first, so that half a file is never found later."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(aside)
        aside.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()


def _config(output: str | Path) -> str:
    def at(name: str) -> str:
        # A JSON string is a YAML string, whatever the path holds.
        return json.dumps(str(Path(output) / name), ensure_ascii=False)

    return f"""\
# Written by "spark-pseudolabel demo". Run it again with: spark-pseudolabel run THIS_FILE
labeled:
  path: {at("data/labeled.parquet")}
  label: digit
unlabeled:
  path: {at("data/pool")}
validation:
  fraction: 0  # a fifth of so few labels would measure noise, and is missed in training
test:
  path: {at("data/test.parquet")}
id: row_id
model:
  estimator: RandomForestClassifier
  params: {{n_estimators: 100}}
selection:
  policy: threshold
  threshold: 0.4  # chosen on this very data set: an example, no advice
rounds:
  max: 5
output:
  path: {at("out")}
random_state: {SEED}
"""
