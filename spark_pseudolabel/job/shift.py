"""Whether the labeled rows stand for the pool, looked at before anything is scored."""

from __future__ import annotations

from typing import Any

import numpy as np

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.core.counts import Counts
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.kernel import without_odd_vectors
from spark_pseudolabel.core.representative import SAMPLE, prior_shift, representativeness
from spark_pseudolabel.job.adjust import kept_cross_fit, like_pool
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.spark.progress import described

_NAMED = 3
_CONSEQUENCES = {
    "warn": "",
    "stop": " Nothing is labeled (shift.action: stop).",
    "withhold": " Rows outside are not published (shift.action: withhold).",
}


def measure_shift(run: Run) -> dict[str, Any] | None:
    """Compare labeled rows with a sample of the pool, and warn where they differ.

    Returns
    -------
    dict or None
        What was measured; None where the pool is empty, or nobody wants to know.
    """
    inputs = run.inputs
    if not run.config.measures_shift or not inputs.pool_rows:
        return None
    with described(run.spark, "pool sample"):
        sample = run.pool.sample(SAMPLE)
    hashes = np.concatenate([run.row_hashes(inputs.labeled), sample.column(HASH).to_numpy()])
    features = inputs.features
    whole = without_odd_vectors(sample.combine_chunks().to_batches()[0], features)[0]
    labeled, pool = to_frame(inputs.labeled, features), to_frame(whole, features)
    found = representativeness(labeled, pool, features, hashes, run.config.random_state)
    measured = found.to_dict()
    if found.shifted:
        run.events.event("warning", **shift_warning(run, measured))
    return measured


def shift_warning(run: Run, measured: dict[str, Any]) -> dict[str, Any]:
    """Say how the pool differs, in a sentence that names the columns that differ most."""
    largest = sorted(measured["psi"].items(), key=lambda item: -item[1])[:_NAMED]
    columns = ", ".join(f"{name} (PSI {value:.2f})" for name, value in largest)
    return {
        "code": "shift",
        "message": "The pool is unlike the labeled rows: a model tells them apart with an AUC of "
        f"{measured['auc']:.2f} (up to {measured['auc_limit']:.2f} is chance), and "
        f"{measured['outside']:.0%} of the pool lies outside of what is labeled. Most different: "
        f"{columns}. Figures on labeled rows, a certificate too, hold for rows like them; label "
        f"rows drawn at random from the pool.{_CONSEQUENCES[shift_action(run)]}",
        "auc": measured["auc"],
        "outside": measured["outside"],
    }


def predicted_prior(run: Run) -> dict[str, Any] | None:
    """Compare predicted classes of labeled rows and pool.

    Returns
    -------
    dict or None
        As the certificate has it, where there is one; None where labeled rows have no honest
        scores, or nothing was scored.
    """
    if not run.store.rounds:
        return None
    first = run.store.rounds[0]
    if first.certificate is not None:
        found: dict[str, Any] = first.certificate["prior_shift"]
        return found
    if not run.config.cross_fitted:
        return None
    codes, fitted = kept_cross_fit(run)
    kept, n_classes = like_pool(run, run.inputs.labeled, fitted.held_out), len(run.inputs.classes)
    return prior_shift(
        np.bincount(codes[kept], minlength=n_classes),
        np.bincount(fitted.adjusted[kept].argmax(axis=1), minlength=n_classes),
        Counts.from_dict(first.histogram).by_class,
    ).to_dict()


def shift_action(run: Run) -> str:
    """Return what follows from a shift."""
    return run.config.shift.action if run.config.shift is not None else "warn"
