"""Whether the labeled rows stand for the pool, looked at before anything is scored."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.core.facts import PriorShift, Representativeness
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.kernel import without_odd_vectors
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit
from spark_pseudolabel.core.trust.shift import SAMPLE, prior_shift, representativeness
from spark_pseudolabel.core.trust.units import first_of
from spark_pseudolabel.job.adjust import kept_cross_fit, like_given_prior, like_pool
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.out_of_fold import score_sample
from spark_pseudolabel.report.document import Notice
from spark_pseudolabel.spark.groups import first_of_groups

_NAMED = 3
_CONSEQUENCES = {
    "warn": "",
    "stop": " Nothing is labeled (shift.action: stop).",
    "withhold": " Rows outside are not published (shift.action: withhold).",
}


def pool_sample(run: Run) -> pa.Table | None:
    """Fetch the pool rows that labeled ones are compared with; None where nothing is compared."""
    config = run.config
    tested = config.cross_fitted and config.certified is not None
    if not run.inputs.pool_rows or not (config.measures_shift or tested):
        return None
    return run.sample(SAMPLE)


def measure_shift(run: Run, sample: pa.Table | None) -> Representativeness | None:
    """Compare labeled rows with a sample of the pool, and warn where they differ.

    Returns
    -------
    Representativeness or None
        None without a sample, or where nobody wants to know.
    """
    if not run.config.measures_shift or sample is None:
        return None
    inputs, features = run.inputs, run.inputs.features
    # Rows that were drawn per class differ from the pool, whatever they were drawn from; copies
    # are nearer to each other than pool rows can be to any, and so are rows of one group.
    chosen = like_given_prior(run, inputs.labeled)
    hashes = run.row_hashes(inputs.labeled)
    chosen[chosen] = first_of(run.units.labeled[chosen], hashes[chosen])
    if chosen.sum() < 2:
        return None
    if inputs.groups is not None and inputs.groups.pool is not None:
        once = first_of_groups(inputs.groups.pool, sample, inputs.keys)
        sample = sample.filter(pa.array(once))
    whole = without_odd_vectors(sample.combine_chunks().to_batches()[0], features)[0]
    labeled, pool = to_frame(inputs.labeled, features), to_frame(whole, features)
    of_pool = whole.column(HASH).to_numpy()

    def compare(mine: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Representativeness:
        of_both = np.concatenate([hashes[mine], of_pool[theirs]])
        rows = (labeled[mine].reset_index(drop=True), pool[theirs].reset_index(drop=True))
        return representativeness(*rows, features, of_both, run.config.random_state)

    shift = compare(chosen, np.ones(len(pool), dtype=bool))
    if shift.shifted and run.support is not None:
        mine, theirs = chosen & run.support[1], run.support[0].holds(pool)
        if min(mine.sum(), theirs.sum()) > 1:
            shift = replace(shift, inside=compare(mine, theirs).short)
    if shift.shifted:
        run.events.event("warning", **shift_warning(run, shift).model_dump())
    return shift


def voids_certificate(run: Run) -> bool:
    """Whether labeled rows stand so little for what would be published that nothing is claimed.

    Where rows far from any labeled one are withheld, that is asked of the rows that remain.
    """
    shift = run.store.models[0].training.shift
    return shift is not None and _voids(run, shift)


def _voids(run: Run, shift: Representativeness) -> bool:
    if not shift.shifted:
        return False
    return not run.config.withholds or shift.inside is None or shift.inside.shifted


def shift_warning(run: Run, shift: Representativeness) -> Notice:
    """Say how the pool differs, in a sentence that names the columns that differ most."""
    largest = sorted(shift.psi.items(), key=lambda item: -item[1])[:_NAMED]
    columns = ", ".join(f"{name} (PSI {value:.2f})" for name, value in largest)
    chance = ", as chance may have it" if shift.outside_by_chance else ""
    return Notice.about(
        "shift",
        "The pool is unlike the labeled rows: a model tells them apart with an AUC of "
        f"{shift.auc:.2f} (up to {shift.auc_limit:.2f} is chance), and "
        f"{shift.outside:.0%} of the pool lies outside of what is labeled{chance}. Most "
        "different: "
        f"{columns}. Figures on labeled rows hold for rows like them; label rows drawn at random "
        f"from the pool.{_CONSEQUENCES[shift_action(run)]}{_of_certificate(run, shift)}",
        auc=shift.auc,
        outside=shift.outside,
    )


def _of_certificate(run: Run, shift: Representativeness) -> str:
    if run.config.certified is None or shift_action(run) == "stop":
        return ""
    if _voids(run, shift):
        return (
            " So nothing is certified, and no label is published; shift: {action: off} does not "
            "look and certifies all the same."
        )
    return " The rows that remain are like the labeled ones: the certificate is about them."


def predict_sample(run: Run, fitted: CrossFit, sample: pa.Table) -> tuple[int, ...]:
    """Count sampled pool rows by predicted class, each predicted as a labeled row is.

    Without rows that can't be scored, and those that would be withheld.

    Parameters
    ----------
    run
        The run.
    fitted
        The fold models and what happens to their scores.
    sample
        From :func:`pool_sample`.
    """
    X, P = score_sample(run, fitted, sample)
    if run.support is not None and len(X):
        P = P[run.support[0].holds(X)]
    return tuple(np.bincount(P.argmax(axis=1), minlength=P.shape[1]).tolist())


def predicted_in_pool(run: Run, scanned: Counts) -> NDArray[np.int64]:
    """Return pool rows by predicted class, to compare out-of-fold predictions with.

    Those of the sample; of all rows, which the mean of the folds' models has `scanned`, in a run
    that has kept no sample.
    """
    sampled = run.store.models[0].training.sampled_by_code
    return scanned.by_class if sampled is None else np.array(sampled)


def predicted_prior(run: Run) -> PriorShift | None:
    """Compare predicted classes of labeled rows and pool.

    Returns
    -------
    PriorShift or None
        As the certificate has it, where there is one; None where labeled rows have no honest
        scores, or nothing was scored.
    """
    if not run.store.rounds:
        return None
    first = run.store.rounds[0]
    if first.certificate is not None:
        return first.certificate.prior_shift
    if not run.config.cross_fitted:
        return None
    codes, fitted = kept_cross_fit(run)
    kept, n_classes = like_pool(run, run.inputs.labeled, fitted.held_out), len(run.inputs.classes)
    if run.support is not None:
        kept &= run.support[1]
    return prior_shift(
        np.bincount(codes[kept], minlength=n_classes),
        np.bincount(fitted.adjusted[kept].argmax(axis=1), minlength=n_classes),
        predicted_in_pool(run, first.histogram),
        mixed=run.config.unlabeled.prior is not None,
    )


def shift_action(run: Run) -> Literal["warn", "stop", "withhold"]:
    """Return what follows from a shift."""
    shift = run.config.shift
    return "warn" if shift is None or shift.action == "off" else shift.action
