"""Whether the labeled rows stand for the pool, looked at before anything is scored."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.facts import PriorShift, Representativeness
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.kernel import without_odd_vectors
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit
from spark_pseudolabel.core.trust.shift import SAMPLE, prior_shift, representativeness
from spark_pseudolabel.core.trust.units import first_of
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.out_of_fold import (
    kept_cross_fit,
    may_count,
    reasons_apart,
    score_sample,
)
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.report.document import Notice
from spark_pseudolabel.spark.groups import first_of_groups
from spark_pseudolabel.store.manifest import ModelManifest

_NAMED = 3
_CONSEQUENCES = {
    "warn": "",
    "stop": " Nothing is labeled (shift.action: stop).",
    "withhold": " Rows outside are not published (shift.action: withhold).",
}


def pool_sample(models: Models) -> pa.Table | None:
    """Fetch the pool rows that labeled ones are compared with; None where nothing is compared."""
    config = models.setting.config
    tested = config.cross_fitted and config.certified is not None
    if not models.setting.inputs.pool_rows or not (config.measures_shift or tested):
        return None
    return models.sample(SAMPLE)


def measure_shift(setting: Setting, sample: pa.Table | None) -> Representativeness | None:
    """Compare labeled rows with a sample of the pool.

    Returns
    -------
    Representativeness or None
        None without a sample, or where it is not asked for.
    """
    if not setting.config.measures_shift or sample is None:
        return None
    return compare_with_labeled(setting, sample)


def compare_with_labeled(setting: Setting, sample: pa.Table) -> Representativeness | None:
    """Compare labeled rows with a sample of the pool; None where there are too few."""
    inputs, features = setting.inputs, setting.inputs.features
    # A class-balanced sample differs from the pool, whatever it was drawn from; copies
    # are nearer to each other than pool rows can be to any, and so are rows of one group.
    chosen = setting.mixed_as(setting.given_prior, inputs.labeled, ~setting.selected)
    hashes = setting.row_hashes(inputs.labeled)
    chosen[chosen] = first_of(setting.units.labeled[chosen], hashes[chosen])
    if chosen.sum() < 2:
        return None
    if inputs.groups is not None and inputs.groups.pool is not None:
        once = first_of_groups(inputs.groups.pool, sample, inputs.keys)
        sample = sample.filter(pa.array(once))
    whole = without_odd_vectors(sample.combine_chunks().to_batches()[0], features)[0]
    labeled, pool = to_frame(inputs.labeled, features), to_frame(whole, features)
    of_pool = whole.column(HASH).to_numpy()

    def compare(
        labeled_rows: NDArray[np.bool_], pool_rows: NDArray[np.bool_]
    ) -> Representativeness:
        of_both = np.concatenate([hashes[labeled_rows], of_pool[pool_rows]])
        rows = (
            labeled[labeled_rows].reset_index(drop=True),
            pool[pool_rows].reset_index(drop=True),
        )
        return representativeness(*rows, features, of_both, setting.config.random_state)

    shift = compare(chosen, np.ones(len(pool), dtype=bool))
    if shift.shifted and setting.support is not None:
        support, inside = setting.support
        labeled_rows, pool_rows = chosen & inside, support.holds(pool)
        if min(labeled_rows.sum(), pool_rows.sum()) > 1:
            shift = replace(shift, inside=compare(labeled_rows, pool_rows).short)
    return shift


def voids_certificate(config: Config, shift: Representativeness | None) -> bool:
    """Whether labeled rows stand so little for what would be published that nothing is claimed.

    Where rows far from any labeled one are withheld, that is asked of the rows that remain.
    """
    if shift is None or not shift.shifted:
        return False
    return not config.withholds or shift.inside is None or shift.inside.shifted


def shift_warning(config: Config, shift: Representativeness) -> Notice:
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
        f"from the pool.{_CONSEQUENCES[shift_action(config)]}{_of_certificate(config, shift)}",
        auc=shift.auc,
        outside=shift.outside,
    )


def _of_certificate(config: Config, shift: Representativeness) -> str:
    if config.certified is None or shift_action(config) == "stop":
        return ""
    if voids_certificate(config, shift):
        return (
            " So nothing is certified, and no label is published; shift: {action: off} does not "
            "look and certifies all the same."
        )
    return " The rows that remain are like the labeled ones: the certificate is about them."


def predict_sample(models: Models, fitted: CrossFit, sample: pa.Table) -> tuple[int, ...]:
    """Count sampled pool rows by predicted class, each predicted as a labeled row is.

    Without rows that can't be scored, and those that would be withheld.

    Parameters
    ----------
    models
        Of the run.
    fitted
        The fold models and what happens to their scores.
    sample
        From :func:`pool_sample`.
    """
    setting = models.setting
    rows, X, P = score_sample(setting, fitted, sample)
    if models.asks and len(X):
        folds = rows.column(HASH).to_numpy() % len(fitted.models)
        reasons = reasons_apart(models, fitted, pa.Table.from_batches([rows]), folds)
        P = P[reasons.is_null().to_numpy(zero_copy_only=False)]
    elif setting.support is not None and len(X):
        P = P[setting.support[0].holds(X)]
    return tuple(np.bincount(P.argmax(axis=1), minlength=P.shape[1]).tolist())


def predicted_in_pool(first: ModelManifest, scanned: Counts) -> NDArray[np.int64]:
    """Return pool rows by predicted class, to compare out-of-fold predictions with.

    Those of the sample; of all rows, which the mean of the folds' models has `scanned`, in a run
    that has kept no sample.
    """
    sampled = first.training.sampled_by_code
    return scanned.by_class if sampled is None else np.array(sampled)


def predicted_prior(models: Models) -> PriorShift | None:
    """Compare predicted classes of labeled rows and pool.

    Returns
    -------
    PriorShift or None
        As the certificate has it, where there is one; None where labeled rows have no out-of-fold
        scores, or nothing was scored.
    """
    store, setting = models.store, models.setting
    if not store.rounds:
        return None
    first = store.rounds[0]
    if first.certificate is not None:
        return first.certificate.prior_shift
    if not setting.config.cross_fitted:
        return None
    codes, fitted = kept_cross_fit(models)
    measured = setting.mixed_as(models.prior, setting.inputs.labeled, fitted.held_out)
    measured &= may_count(models)
    n_classes = len(setting.inputs.classes)
    return prior_shift(
        np.bincount(codes[measured & (codes >= 0)], minlength=n_classes),
        np.bincount(fitted.adjusted[measured].argmax(axis=1), minlength=n_classes),
        predicted_in_pool(store.models[0], first.histogram),
        mixed=setting.config.unlabeled.prior is not None,
    )


def shift_action(config: Config) -> Literal["warn", "stop", "withhold"]:
    """Return what follows from a shift."""
    shift = config.shift
    return "warn" if shift is None or shift.action == "off" else shift.action
