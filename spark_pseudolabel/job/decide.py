"""The decision of a round: by a selection rule, or by what can be certified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE, VALUE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.facts import PriorShift, Representativeness
from spark_pseudolabel.core.kernel import score, withheld
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.exact import make_plan
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.core.selection.policy import RoundContext
from spark_pseudolabel.core.teachers.cross_fitting import NEVER_HELD_OUT
from spark_pseudolabel.core.trust.certificate import (
    CalibrationRows,
    Certificate,
    Promise,
    certify,
    why_impossible,
)
from spark_pseudolabel.core.trust.evidence import dependence_of
from spark_pseudolabel.core.trust.priors import missing, thinned
from spark_pseudolabel.core.trust.shift import prior_shift
from spark_pseudolabel.core.trust.survey import Survey, survey
from spark_pseudolabel.core.validation_split import only_ones
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.out_of_fold import kept_cross_fit, may_count
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.shift import predicted_in_pool, voids_certificate
from spark_pseudolabel.report.document import label_key
from spark_pseudolabel.spark.groups import group_numbers
from spark_pseudolabel.spark.pool import Scored
from spark_pseudolabel.store.facts import RoundCertificate

DRAWN_PER_CLASS = "drawn_per_class"
PRIOR_DISAGREES = "prior_disagrees"
UNTESTED_LABELS = "untested_labels"
SHIFT = "shift"
NO_POOL_GROUPS = "no_pool_groups"
GROUPS_DIFFER = "groups_differ"
_NAMED = 5


def require_possible(setting: Setting) -> None:
    """Refuse, before anything is fitted, a prior of other labels, and a hopeless certificate.

    Raises
    ------
    InputError
        Saying how many labeled rows it takes, or what has to be declared.
    """
    config, prior = setting.config, setting.given_prior
    chosen = config.certified
    if chosen is None:
        return
    if chosen.required and config.drawn == "per_class" and prior is None:
        raise InputError(
            "policy 'certified' must know how labeled rows relate to the pool. "
            "labeled.drawn: per_class says that their classes are not distributed as the pool's: "
            "give unlabeled.prior, the share of every label in the pool.",
            code="certificate_impossible",
            where="unlabeled.prior",
        )
    codes, hashes, units = _calibration(setting, chosen)
    if chosen.required and (names := untested_labels(setting)):
        raise InputError(
            f"The certificate can't be given: {untested(names)}",
            code="certificate_impossible",
            where="unlabeled.prior",
        )
    tested = units if prior is None else units[thinned(codes, hashes, prior)]
    n_rows = len(np.unique(tested))
    kind = "labeled" if chosen.scores == "out_of_fold" else "validation"
    why = why_impossible(promise_of(chosen), n_rows, kind, setting.inputs.pool_rows)
    if chosen.required and why is not None:
        if len(tested) < len(codes):
            why += f" They are what unlabeled.prior leaves to test of {len(codes):,}."
        if n_rows < len(tested):
            why += " Copies of a row count once, and so do rows of one group."
        raise InputError(
            f"The certificate can't be given: {why} Label more rows, or ask for less.",
            code="certificate_impossible",
            where="selection.precision",
        )


def untested_labels(setting: Setting) -> list[str]:
    """Return the labels that a given prior finds in the pool and no tested row has."""
    prior, chosen = setting.given_prior, setting.config.certified
    if prior is None or chosen is None:
        return []
    codes, _, _ = _calibration(setting, chosen)
    return [label_key(setting.inputs.classes[code]) for code in missing(codes, prior)]


def untested(names: Sequence[str]) -> str:
    """Say that a certificate needs rows of some labels."""
    shown = ", ".join(names[:_NAMED]) + (
        f" and {len(names) - _NAMED} others" * (len(names) > _NAMED)
    )
    return (
        "unlabeled.prior gives a share of the pool to labels of which no row can be tested: "
        f"{shown}. It takes two labeled rows of each, and with scores: held_out a validation row. "
        "Label more rows of them."
    )


def promise_of(chosen: Certified) -> Promise:
    """Return what a configuration promises of published labels."""
    if chosen.precision == "best":
        return Promise.of_best(chosen.certainty, chosen.per, chosen.enough)
    return Promise(chosen.precision, chosen.certainty, chosen.per, min_coverage=chosen.enough)


def decide(models: Models, number: int, scored: Scored) -> tuple[Plan, RoundCertificate | None]:
    """Decide the scored rows of a round; also return the certificate, where one is asked for."""
    setting, inputs = models.setting, models.setting.inputs
    chosen, labeled = setting.config.certified, _labeled_by_class(models)
    if chosen is None:
        return make_plan(setting.policy, scored, RoundContext(number, labeled)), None
    certificate, surveyed, prior_shift = _certify(models, chosen, scored.counts())
    plan = certificate.plan(chosen.to_rule(labeled), len(inputs.classes))
    shift, prior = models.store.models[0].training.shift, models.prior_correction
    return plan, RoundCertificate(
        claimed=certificate.claimed,
        precision=certificate.promise.precision,
        certainty=certificate.promise.certainty,
        per=certificate.promise.per,
        best=certificate.promise.best,
        min_coverage=certificate.promise.min_coverage,
        source=certificate.source,
        n_calibration=certificate.n_calibration,
        n_only_ones=certificate.n_only_ones,
        n_pool=certificate.n_pool,
        coverage=certificate.coverage,
        claims=certificate.claims,
        refused=certificate.refused,
        by_class=certificate.by_class,
        band=surveyed.band,
        ladder=surveyed.ladder,
        missing=surveyed.missing,
        instead=surveyed.instead,
        prior_shift=prior_shift,
        prior=None if prior is None else prior.prior,
        shift=None if shift is None else shift.short,
        inside_only=setting.config.withholds,
        stable_only=setting.config.selection.stable_under is not None,
        agreed_only=setting.config.selection.require is not None,
        withheld=scored.withheld.total,
    )


def _labeled_by_class(models: Models) -> list[int]:
    """Return labeled rows by class; of rules without any, what they find in the pool."""
    found = models.store.models[0].training.rules
    if found is None or models.setting.config.labeled is not None:
        return models.setting.labeled_by_class
    return [max(1, round(share * found.rows)) for share in found.prior]


def _certify(
    models: Models, chosen: Certified, pool: Counts
) -> tuple[Certificate, Survey, PriorShift]:
    setting, first = models.setting, models.store.models[0]
    codes, rows = calibration_rows(models, chosen)
    n_classes = len(setting.inputs.classes)
    once = slice(None) if rows.dependence is None else rows.dependence.once
    shift = prior_shift(
        np.bincount(codes[once][codes[once] >= 0], minlength=n_classes),
        np.bincount(rows.codes[once], minlength=n_classes),
        predicted_in_pool(first, pool) if chosen.scores == "out_of_fold" else pool.by_class,
        mixed=setting.config.unlabeled.prior is not None,
    )
    refused = _refused(setting, shift, first.training.shift)
    promise, labels = promise_of(chosen), given_rows(setting, chosen)
    certificate = certify(promise, pool, rows, chosen.scores, refused, labels)
    # Where nothing may be claimed, nothing is said of other promises either.
    surveyed = Survey() if refused is not None else survey(promise, pool, rows, labels)
    return certificate, surveyed, shift


def _refused(setting: Setting, classes: PriorShift, rows: Representativeness | None) -> str | None:
    """Return why nothing may be claimed, whatever the numbers say.

    Parameters
    ----------
    setting
        Of the run.
    classes, rows
        How predicted classes, and rows, of the pool differ from the labeled ones'.
    """
    if untested_labels(setting):
        return UNTESTED_LABELS
    if unlike := _unlike_pool(setting.config, classes):
        return unlike
    if voids_certificate(setting.config, rows):
        return SHIFT
    groups, sizes = setting.inputs.groups, setting.group_sizes
    if groups is None:
        return None
    if sizes is None:
        return NO_POOL_GROUPS
    return GROUPS_DIFFER if sizes.unlike(np.bincount(group_numbers(groups.labeled))) else None


def given_rows(setting: Setting, chosen: Certified) -> int:
    """Return the rows that a person has labeled so that there are rows to test.

    Of them a prior and `withhold` leave some out, and a split-off validation part is a share.
    """
    labeled: int = setting.inputs.labeled.num_rows - int(setting.selected.sum())
    validation: int = setting.inputs.validation.num_rows
    if chosen.scores == "out_of_fold":
        return labeled
    return validation if setting.config.validation.is_table else labeled + validation


def _unlike_pool(config: Config, shift: PriorShift) -> str | None:
    """Return why rows are no sample of the pool's classes; an estimated prior is no promise."""
    if config.unlabeled.prior is not None:
        # The rows are mixed as it says, and predictions show that the pool is not.
        return PRIOR_DISAGREES if shift.drawn_per_class else None
    declared = config.drawn == "per_class"
    return DRAWN_PER_CLASS if shift.drawn_per_class or declared else None


def calibration_rows(
    models: Models, chosen: Certified
) -> tuple[NDArray[np.int32], CalibrationRows]:
    """Return true codes and the rows to test, which no model in question has seen.

    Without those that would be withheld in the pool: a certificate is about published rows.
    """
    setting, inputs, also_labeled = models.setting, models.setting.inputs, None
    if chosen.scores == "out_of_fold":
        rows, units = inputs.labeled, setting.units.labeled
        codes, fitted = kept_cross_fit(models)
        P = fitted.adjusted
        # To the pool's prior first: it is that of the whole pool, not of the rows inside.
        tested = setting.mixed_as(models.prior, rows, fitted.held_out) & may_count(models)
    else:
        rows, units, also_labeled = inputs.validation, setting.units.validation, setting.units.seen
        scorer = models.asking(models.scorer(1, probabilities=True, table="validation"))
        scores = score(rows, scorer)
        codes, P = rows.column(CODE).to_numpy().astype(np.int32), scores.probabilities
        if inputs.numbers is not None:
            codes = inputs.numbers.codes(rows.column(VALUE).to_numpy(), scores.said[:, 0])
        tested = setting.mixed_as(models.prior, rows, scores.code >= 0)
        tested[list(withheld(rows, scorer, scores))] = False
        also_labeled = also_labeled[tested]
    hashes = setting.row_hashes(rows)[tested]
    dependence = dependence_of(units[tested], hashes, setting.group_sizes, also_labeled)
    alone = _only_ones(setting, chosen)
    return codes[tested], CalibrationRows.from_scores(P[tested], codes[tested], alone, dependence)


def _only_ones(setting: Setting, chosen: Certified) -> int:
    """Count labeled rows that stand for a tail of labels that no tested row has.

    With a given prior each label has a tested row, or nothing is claimed. Validation rows that are
    a table of their own are a sample as they are; those that were split off miss every one of
    these rows, and a share of them, which chance might have left out, is not enough.
    """
    config, inputs = setting.config, setting.inputs
    if config.unlabeled.prior is not None:
        return 0
    labeled, validation = (
        rows.column(CODE).to_numpy().astype(np.int32)
        for rows in (inputs.labeled, inputs.validation)
    )
    if chosen.scores == "out_of_fold":
        validation = validation[:0]
    elif config.validation.is_table:
        return 0
    units = setting.units.labeled
    alone = only_ones(labeled, validation)
    if chosen.scores == "out_of_fold":
        alone = (setting.folds == NEVER_HELD_OUT) & ~setting.selected
    if setting.support is not None:
        alone = alone & setting.support[1]
    return len(np.unique(units[alone]))


def _calibration(
    setting: Setting, chosen: Certified
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Return codes, hashes and units of the rows that will be tested."""
    rows, units = setting.inputs.validation, setting.units.validation
    known = ~setting.units.seen
    if chosen.scores == "out_of_fold":
        rows, units = setting.inputs.labeled, setting.units.labeled
    codes = rows.column(CODE).to_numpy().astype(np.int32)
    hashes = setting.row_hashes(rows)
    if chosen.scores == "out_of_fold":
        known = setting.held_out != NEVER_HELD_OUT
    return codes[known], hashes[known], units[known]
