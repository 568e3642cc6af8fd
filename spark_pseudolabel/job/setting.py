"""What follows from a configuration and its inputs, before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.adjustment import Method
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.nodes import NodeIds, NodeTable
from spark_pseudolabel.core.rounds import LoopLimits
from spark_pseudolabel.core.scored_rows import Carried
from spark_pseudolabel.core.selection.policy import CountingPolicy
from spark_pseudolabel.core.teachers.cross_fitting import NEVER_HELD_OUT, fold_of
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.training_frame import Weighting, labeled_rows
from spark_pseudolabel.core.teachers.weights import PseudoWeights
from spark_pseudolabel.core.trust.calibration import calibration_of
from spark_pseudolabel.core.trust.priors import may_estimate, thinned
from spark_pseudolabel.core.trust.support import Support, find_support
from spark_pseudolabel.core.trust.units import GroupSizes
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.units import RowUnits, units_in
from spark_pseudolabel.output.state import limits_of
from spark_pseudolabel.report.document import label_key
from spark_pseudolabel.spark.groups import group_sizes
from spark_pseudolabel.spark.inputs.facts import Inputs
from spark_pseudolabel.store.manifest import RoundManifest


@dataclass(frozen=True)
class Setting:
    """The configuration and the inputs of a run, and what they imply.

    Parameters
    ----------
    config, inputs
        Of the run.
    """

    config: Config
    inputs: Inputs

    @cached_property
    def like_sklearn(self) -> bool:
        """Whether the run does exactly what ``SelfTrainingClassifier`` does."""
        return self.config.mode == "sklearn"

    @cached_property
    def relabel(self) -> bool:
        """Whether every round decides the whole pool anew."""
        return self.config.rounds.relabel

    @cached_property
    def policy(self) -> CountingPolicy:
        """The policy that decides by counts; a certificate is asked for otherwise."""
        policy = self.config.selection
        assert isinstance(policy, CountingPolicy)
        return policy

    @cached_property
    def limits(self) -> LoopLimits:
        """How the configuration bounds the loop."""
        return limits_of(self.config, self.inputs.pool_rows)

    @cached_property
    def weighting(self) -> Weighting:
        """How accepted rows enter the training frame."""
        training = self.config.training
        weights = PseudoWeights(training.pseudo_weight, training.max_pseudo_weight)
        return Weighting(training.labels, weights)

    @cached_property
    def learned_rows(self) -> Literal["accepted", "taught"]:
        """Which stored rows the next model learns from."""
        return "accepted" if self.config.training.rows == "accepted" else "taught"

    @cached_property
    def carried(self) -> Carried:
        """Which columns are stored with every scored row."""
        has_prior = self.config.unlabeled.prior is not None
        return Carried(
            # The pool's scores are others than the model gives, so that both are kept.
            raw=self.calibration is not None or has_prior or self.estimates_prior,
            probabilities=self.weighting.labels == "soft" or self.config.output.probabilities,
            votes=bool(self.inputs.votes),
            numbers=self.inputs.numbers is not None,
        )

    def published(
        self, rounds: Sequence[RoundManifest], best_round: int
    ) -> tuple[RoundManifest, ...]:
        """Return the rounds whose labels stand: all up to the best, or, with relabel, it alone."""
        used = tuple(rounds[:best_round])
        return used[-1:] if self.relabel else used

    # --- the labeled rows

    def features_of(self, number: int) -> tuple[Feature, ...]:
        """Return what a model sees: rules their votes, and every other one the columns."""
        by_teacher = number == 1 or self.config.student is None
        return self.inputs.seed_features if by_teacher else self.inputs.features

    @cached_property
    def labeled(self) -> TrainingRows:
        """The labeled rows as a training frame, in the order of their keys."""
        folds = None if self.inputs.numbers is None else self.held_out
        return labeled_rows(self.inputs.labeled, self.inputs.features, folds)

    @cached_property
    def labeled_by_class(self) -> list[int]:
        """Labeled rows by class index."""
        codes = self.inputs.labeled.column(CODE).to_numpy()
        by_class: list[int] = np.bincount(codes, minlength=len(self.inputs.classes)).tolist()
        return by_class

    @cached_property
    def units(self) -> RowUnits:
        """Which rows with true labels are copies of one another, or of one group."""
        return units_in(self.inputs)

    @cached_property
    def selected(self) -> NDArray[np.bool_]:
        """Labeled rows that were chosen to be labeled, (n_labeled,): they measure nothing."""
        chosen = self.inputs.selected
        return np.zeros(self.inputs.labeled.num_rows, dtype=bool) if chosen is None else chosen

    @cached_property
    def folds(self) -> NDArray[np.int32]:
        """The fold of each labeled row whose models are fitted without it, (n_labeled,).

        Of a selected row only where it is a copy, or of the group, of a row that is measured, which
        its models must not know either.
        """
        codes = self.inputs.labeled.column(CODE).to_numpy()
        hashes, units = self.row_hashes(self.inputs.labeled), self.units.labeled
        drawn = ~self.selected
        folds = np.full(len(codes), NEVER_HELD_OUT, dtype=np.int32)
        folds[drawn] = fold_of(codes[drawn], hashes[drawn], units=units[drawn])
        of_unit = dict(zip(units[drawn].tolist(), folds[drawn].tolist(), strict=True))
        for row in np.flatnonzero(self.selected):
            folds[row] = of_unit.get(int(units[row]), NEVER_HELD_OUT)
        return folds

    @cached_property
    def held_out(self) -> NDArray[np.int32]:
        """The fold in which each labeled row is measured, :data:`NEVER_HELD_OUT` for none."""
        held: NDArray[np.int32] = np.where(self.selected, NEVER_HELD_OUT, self.folds)
        return held.astype(np.int32)

    @cached_property
    def group_sizes(self) -> GroupSizes | None:
        """How large the pool's groups are; None where it does not tell."""
        groups = self.inputs.groups
        return None if groups is None or groups.pool is None else group_sizes(groups.pool)

    @cached_property
    def support(self) -> tuple[Support, NDArray[np.bool_]] | None:
        """Where labeled rows are, and which of them are inside; None if no row is withheld."""
        if not self.config.withholds:
            return None
        labeled, features = self.inputs.labeled, self.inputs.features
        return find_support(
            to_frame(labeled, features),
            features,
            self.row_hashes(labeled),
            self.config.random_state,
            self.units.labeled,
        )

    def nodes(self, table: NodeTable) -> NodeIds:
        """Return how rows of a table get their node ids."""
        return NodeIds(self.inputs.keys, self.config.random_state, table)

    @property
    def node_rows(self) -> int:
        """Rows of a graph, at most: those of the pool and all with true labels on the driver."""
        inputs = self.inputs
        n_given: int = inputs.labeled.num_rows + inputs.validation.num_rows
        return inputs.pool_rows + n_given

    def row_hashes(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return what all chance about rows comes from: a hash of key and seed, shape (n_rows,)."""
        keys = [rows.column(key) for key in self.inputs.keys]
        return xxhash64([*keys, self.config.random_state])

    @cached_property
    def calibration(self) -> Method | None:
        """How confidences are calibrated; None: they are not."""
        method = self.config.calibration
        if method == "auto":
            return calibration_of(self.labeled_by_class)
        return None if method == "none" else method

    # --- the classes of the pool

    @cached_property
    def estimates_prior(self) -> bool:
        """Whether the pool's class shares are estimated: declared, not given, and enough rows."""
        if self.config.unlabeled.prior is not None or self.like_sklearn:
            return False
        enough = may_estimate(self.config.drawn, self.labeled_by_class)
        return self.inputs.pool_rows > 0 and enough

    @cached_property
    def given_prior(self) -> NDArray[np.float64] | None:
        """The pool's class shares by class index, None where they are not given.

        Raises
        ------
        InputError
            If they are not those of the labels.
        """
        shares, classes = self.config.unlabeled.prior, self.inputs.classes
        if shares is None:
            return None
        names = [label_key(label) for label in classes]
        if isinstance(classes[0], bool):
            shares = {name.lower(): share for name, share in shares.items()}
        if set(shares) != set(names):
            raise InputError(
                f"unlabeled.prior must name every label once: {', '.join(names)}. It names "
                f"{', '.join(shares)}.",
                code="bad_prior",
                where="unlabeled.prior",
            )
        return np.array([shares[name] for name in names])

    def mixed_as(
        self,
        prior: NDArray[np.float64] | None,
        rows: pa.Table,
        among: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.bool_]:
        """Return which rows with true labels to measure on.

        All of them, or, where the pool's prior is known, as many of each class that there is as it
        says: a model that is corrected to the pool looks worse than it is on rows whose classes are
        distributed otherwise.

        Parameters
        ----------
        prior
            ndarray of shape (n_classes,), the pool's class shares; None: not known.
        rows
            Keys and ``spl_code``.
        among
            ndarray of shape (n_rows,): the rows that may be chosen; None: all.
        """
        chosen = np.ones(rows.num_rows, dtype=bool) if among is None else among.copy()
        if prior is None:
            return chosen
        candidates = rows.filter(pa.array(chosen))
        codes = candidates.column(CODE).to_numpy().astype(np.int32)
        wanted = np.where(np.bincount(codes[codes >= 0], minlength=len(prior)) > 0, prior, 0.0)
        if wanted.any():
            chosen[chosen] = thinned(codes, self.row_hashes(candidates), wanted)
        return chosen
