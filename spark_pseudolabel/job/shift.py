"""Whether the labeled rows stand for the pool, looked at before anything is scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.kernel import without_odd_vectors
from spark_pseudolabel.core.representative import SAMPLE, representativeness
from spark_pseudolabel.core.training import TrainingRows
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.honest import row_hashes
from spark_pseudolabel.spark.sample import sample_rows

_NAMED = 3


def measure_shift(run: Run, labeled: TrainingRows) -> dict[str, Any] | None:
    """Compare labeled rows with a sample of the pool, and warn where they differ.

    Returns
    -------
    dict or None
        What was measured; None where the pool is empty.
    """
    inputs = run.inputs
    if not inputs.pool_rows:
        return None
    sample = sample_rows(
        inputs.pool.rows, inputs.keys, inputs.pool_rows, SAMPLE, run.config.random_state
    )
    hashes = np.concatenate([row_hashes(run, inputs.labeled), sample.column(HASH).to_numpy()])
    features = inputs.features
    whole = without_odd_vectors(sample.combine_chunks().to_batches()[0], features)[0]
    pool = to_frame(whole, features)
    seed = run.config.random_state
    found = representativeness(_finite(labeled.X), _finite(pool), features, hashes, seed)
    measured = found.to_dict()
    if found.shifted:
        run.events.event("warning", **shift_warning(measured))
    return measured


def shift_warning(measured: dict[str, Any]) -> dict[str, Any]:
    """Say how the pool differs, in a sentence that names the columns that differ most."""
    largest = sorted(measured["psi"].items(), key=lambda item: -item[1])[:_NAMED]
    columns = ", ".join(f"{name} (PSI {value:.2f})" for name, value in largest)
    return {
        "code": "shift",
        "message": "The pool is unlike the labeled rows: a model tells them apart with an AUC of "
        f"{measured['auc']:.2f} (up to {measured['auc_limit']:.2f} is chance), and "
        f"{measured['outside']:.0%} of the pool lies outside of what is labeled. Most different: "
        f"{columns}. Figures on labeled rows, a certificate too, hold for rows like them; label "
        "rows drawn at random from the pool.",
        "auc": measured["auc"],
        "outside": measured["outside"],
    }


def _finite(X: pd.DataFrame) -> pd.DataFrame:
    """Let an infinite number be a missing one: it would spoil every distance."""
    return X.replace([np.inf, -np.inf], np.nan)
