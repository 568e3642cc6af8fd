"""The decision of a round: by a selection rule, or by what can be certified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.facts import PriorShift
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.kernel import score
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.exact import make_plan
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.core.selection.policy import RoundContext
from spark_pseudolabel.core.teachers.cross_fitting import NEVER_HELD_OUT, fold_of
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
from spark_pseudolabel.core.validation_split import only_ones
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.adjust import given_prior, kept_cross_fit, like_pool
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.shift import predicted_in_pool, voids_certificate
from spark_pseudolabel.job.units import units_in
from spark_pseudolabel.report.document import label_key
from spark_pseudolabel.spark.groups import group_numbers
from spark_pseudolabel.spark.inputs import Inputs
from spark_pseudolabel.spark.pool import Scored
from spark_pseudolabel.store.facts import RoundCertificate

DRAWN_PER_CLASS = "drawn_per_class"
PRIOR_DISAGREES = "prior_disagrees"
UNTESTED_LABELS = "untested_labels"
SHIFT = "shift"
NO_POOL_GROUPS = "no_pool_groups"
GROUPS_DIFFER = "groups_differ"
_NAMED = 5


def require_possible(config: Config, inputs: Inputs) -> None:
    """Refuse, before anything is fitted, a prior of other labels, and a hopeless certificate.

    Raises
    ------
    InputError
        Saying how many labeled rows it takes, or what has to be declared.
    """
    prior = given_prior(config, inputs)
    chosen = config.certified
    if chosen is None:
        return
    if chosen.required and config.labeled.drawn == "per_class" and prior is None:
        raise InputError(
            "policy 'certified' must know how labeled rows relate to the pool. "
            "labeled.drawn: per_class says that their classes are not distributed as the pool's: "
            "give unlabeled.prior, the share of every label in the pool.",
            code="certificate_impossible",
            where="unlabeled.prior",
        )
    codes, hashes, units = _calibration(config, inputs, chosen)
    if chosen.required and (names := untested_labels(config, inputs)):
        raise InputError(
            f"The certificate can't be given: {untested(names)}",
            code="certificate_impossible",
            where="unlabeled.prior",
        )
    tested = units if prior is None else units[thinned(codes, hashes, prior)]
    n_rows = len(np.unique(tested))
    kind = "labeled" if chosen.scores == "out_of_fold" else "validation"
    why = why_impossible(promise_of(chosen), n_rows, kind, inputs.pool_rows)
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


def untested_labels(config: Config, inputs: Inputs) -> list[str]:
    """Return the labels that a given prior finds in the pool and no tested row has."""
    prior = given_prior(config, inputs)
    if prior is None or config.certified is None:
        return []
    codes, _, _ = _calibration(config, inputs, config.certified)
    return [label_key(inputs.classes[code]) for code in missing(codes, prior)]


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
    return Promise(chosen.precision, chosen.certainty, chosen.per)


def decide(run: Run, number: int, scored: Scored) -> tuple[Plan, RoundCertificate | None]:
    """Decide the scored rows of a round; also return the certificate, where one is asked for."""
    chosen = run.config.certified
    if chosen is None:
        return make_plan(run.policy, scored, RoundContext(number, run.labeled_by_class)), None
    certificate, prior_shift = _certify(run, chosen, scored.counts())
    plan = certificate.plan(chosen.to_rule(run.labeled_by_class), len(run.inputs.classes))
    shift = run.store.models[0].training.shift
    return plan, RoundCertificate(
        claimed=certificate.claimed,
        precision=certificate.promise.precision,
        certainty=certificate.promise.certainty,
        per=certificate.promise.per,
        source=certificate.source,
        n_calibration=certificate.n_calibration,
        n_only_ones=certificate.n_only_ones,
        n_pool=certificate.n_pool,
        coverage=certificate.coverage,
        claims=certificate.claims,
        refused=certificate.refused,
        by_class=certificate.by_class,
        prior_shift=prior_shift,
        prior=None if run.prior is None else run.prior.prior,
        shift=None if shift is None else shift.short,
        inside_only=run.config.withholds,
        withheld=scored.withheld,
    )


def _certify(run: Run, chosen: Certified, pool: Counts) -> tuple[Certificate, PriorShift]:
    codes, rows = _calibration_rows(run, chosen)
    n_classes = len(run.inputs.classes)
    once = slice(None) if rows.dependence is None else rows.dependence.once
    shift = prior_shift(
        np.bincount(codes[once][codes[once] >= 0], minlength=n_classes),
        np.bincount(rows.codes[once], minlength=n_classes),
        predicted_in_pool(run, pool) if chosen.scores == "out_of_fold" else pool.by_class,
        mixed=run.config.unlabeled.prior is not None,
    )
    refused = _refused(run, shift)
    labels = _given_rows(run, chosen)
    return certify(promise_of(chosen), pool, rows, chosen.scores, refused, labels), shift


def _refused(run: Run, shift: PriorShift) -> str | None:
    """Return why nothing may be claimed, whatever the numbers say."""
    if untested_labels(run.config, run.inputs):
        return UNTESTED_LABELS
    if unlike := _unlike_pool(run, shift):
        return unlike
    if voids_certificate(run):
        return SHIFT
    if run.inputs.groups is None:
        return None
    sizes = run.group_sizes
    if sizes is None:
        return NO_POOL_GROUPS
    labeled = group_numbers(run.inputs.groups.labeled)
    return GROUPS_DIFFER if sizes.unlike(np.bincount(labeled)) else None


def _given_rows(run: Run, chosen: Certified) -> int:
    """Return the rows that a person has labeled so that there are rows to test.

    Of them a prior and `withhold` leave some out, and a split-off validation part is a share.
    """
    labeled: int = run.inputs.labeled.num_rows
    validation: int = run.inputs.validation.num_rows
    if chosen.scores == "out_of_fold":
        return labeled
    return validation if run.config.validation.is_table else labeled + validation


def _unlike_pool(run: Run, shift: PriorShift) -> str | None:
    """Return why rows are no sample of the pool's classes; an estimated prior is no promise."""
    if run.config.unlabeled.prior is not None:
        # The rows are mixed as it says, and predictions show that the pool is not.
        return PRIOR_DISAGREES if shift.drawn_per_class else None
    declared = run.config.labeled.drawn == "per_class"
    return DRAWN_PER_CLASS if shift.drawn_per_class or declared else None


def _calibration_rows(run: Run, chosen: Certified) -> tuple[NDArray[np.int32], CalibrationRows]:
    """Return true codes and the rows to test, which no model in question has seen.

    Without those that would be withheld in the pool: a certificate is about published rows.
    """
    seen = None
    if chosen.scores == "out_of_fold":
        rows, units = run.inputs.labeled, run.units.labeled
        codes, fitted = kept_cross_fit(run)
        P = fitted.adjusted
        # To the pool's prior first: it is that of the whole pool, not of the rows inside.
        kept = like_pool(run, rows, fitted.held_out)
        if run.support is not None:
            kept &= run.support[1]
    else:
        rows, units, seen = run.inputs.validation, run.units.validation, run.units.seen
        scores = score(rows, run.scorer(1, probabilities=True))
        codes, P = rows.column(CODE).to_numpy().astype(np.int32), scores.probabilities
        kept = like_pool(run, rows, scores.code >= 0)
        if run.support is not None:
            kept &= run.support[0].holds(to_frame(rows, run.inputs.features))
        seen = seen[kept]
    sizes = run.group_sizes
    dependence = dependence_of(units[kept], run.row_hashes(rows)[kept], sizes, seen)
    alone = _only_ones(run, chosen)
    return codes[kept], CalibrationRows.from_scores(P[kept], codes[kept], alone, dependence)


def _only_ones(run: Run, chosen: Certified) -> int:
    """Count labeled rows that stand for a tail of labels that no tested row has.

    With a given prior each label has a tested row, or nothing is claimed. Validation rows that are
    a table of their own are a sample as they are; those that were split off miss every one of
    these rows, and a share of them, which chance might have left out, is not enough.
    """
    if run.config.unlabeled.prior is not None:
        return 0
    labeled, validation = (
        rows.column(CODE).to_numpy().astype(np.int32)
        for rows in (run.inputs.labeled, run.inputs.validation)
    )
    if chosen.scores == "out_of_fold":
        validation = validation[:0]
    elif run.config.validation.is_table:
        return 0
    units = run.units.labeled
    alone = only_ones(labeled, validation)
    if chosen.scores == "out_of_fold":
        hashes = run.row_hashes(run.inputs.labeled)
        alone = fold_of(labeled, hashes, units=units) == NEVER_HELD_OUT
    if run.support is not None:
        alone = alone & run.support[1]
    return len(np.unique(units[alone]))


def _calibration(
    config: Config, inputs: Inputs, chosen: Certified
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Return codes, hashes and units of the rows that will be tested."""
    found = units_in(inputs)
    rows, units, known = inputs.validation, found.validation, ~found.seen
    if chosen.scores == "out_of_fold":
        rows, units = inputs.labeled, found.labeled
    codes = rows.column(CODE).to_numpy().astype(np.int32)
    hashes = xxhash64([*[rows.column(key) for key in inputs.keys], config.random_state])
    if chosen.scores == "out_of_fold":
        known = fold_of(codes, hashes, units=units) != NEVER_HELD_OUT
    return codes[known], hashes[known], units[known]
