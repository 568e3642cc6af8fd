"""Training: a model fitted on labeled rows and on those of the pool that have a label by now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import CODE, HASH, IN_ROUND, SCORE
from spark_pseudolabel.core.features import odd_numbers, to_frame
from spark_pseudolabel.core.sampling import (
    HashLimits,
    hash_limits,
    low_limits,
    proportional_shares,
    within,
)
from spark_pseudolabel.core.teachers.lines import learnable
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import LearnedRows, TrainingRows
from spark_pseudolabel.core.teachers.training_frame import training_rows
from spark_pseudolabel.core.teachers.weights import RowWeights
from spark_pseudolabel.errors import InputError, PseudoLabelError, StoredStateError
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.spark.inputs.facts import Inputs
from spark_pseudolabel.spark.pool import Pool, StoredKind
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.following import revoked_keys
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import RoundStore


@dataclass(frozen=True)
class PseudoRows:
    """Rows of the pool that a model has learned from.

    Parameters
    ----------
    table
        Keys, features, code and what else travels with them; None: no row.
    weights
        ndarray of shape (n_rows,): what each weighed.
    """

    table: pa.Table | None
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """A fitted model, and what it was fitted on.

    Parameters
    ----------
    model
        Fitted.
    rows
        What is known of them.
    limits
        By class the highest hash of the pool rows in it, None for no row; None: all of them.
    weighting
        What pool rows weigh.
    pseudo
        The pool rows among them, or as many of them as measure what such a model is worth.
    """

    model: BaseEstimator
    rows: LearnedRows
    limits: HashLimits
    weighting: RowWeights
    pseudo: PseudoRows

    @classmethod
    def of_labeled(cls, model: BaseEstimator, rows: TrainingRows) -> Trained:
        """Return a model that was fitted on labeled rows alone."""
        return cls(model, rows, None, RowWeights(), PseudoRows(None, np.zeros(0)))


class Trainer(Protocol):
    """Who brings the rows and the maker of a model together."""

    def train(self, maker: Teacher, previous: BaseEstimator | None) -> Trained:
        """Fit a model on the labeled rows and on those of the committed rounds.

        Parameters
        ----------
        maker
            Who fits it, with all learned that needs no labels.
        previous
            The model to go on from; None: none.

        Raises
        ------
        InputError
            If the rows are such that no fit is possible.
        """
        ...


@dataclass(frozen=True)
class DriverTrainer:
    """Training on rows that are held in the driver's memory, up to ``training.max_rows``.

    Parameters
    ----------
    setting, store, pool
        Of the run.
    """

    setting: Setting
    store: RoundStore
    pool: Pool

    def train(self, maker: Teacher, previous: BaseEstimator | None) -> Trained:
        """Fetch the rows, and fit; see :class:`Trainer`."""
        setting, inputs = self.setting, self.setting.inputs
        limits, weighting, pseudo = self.pseudo(setting.config.training.max_rows)
        features = setting.features_of(len(self.store.rounds) + 1)
        rows = training_rows(
            inputs.labeled,
            pseudo.table,
            features,
            inputs.keys,
            setting.weighting,
            pseudo.weights,
            setting.labeled.folds,
        )
        failpoint("train.collected")
        with fit_errors(inputs, maker.name, rows):
            model = maker.fit(rows, inputs.classes, previous)
        failpoint("model.fitted")
        return Trained(model, rows, limits, weighting, pseudo)

    def pseudo(self, max_rows: int | None) -> tuple[HashLimits, RowWeights, PseudoRows]:
        """Fetch the rows of the pool that a model sees beside the labeled ones, and weigh them.

        Parameters
        ----------
        max_rows
            Of a training frame, in all; None: no bound.

        Returns
        -------
        tuple
            By class the highest hash, what rows weigh, and the rows; see :class:`Trained`.
        """
        setting = self.setting
        rounds = setting.published(self.store.rounds, len(self.store.rounds))
        limits, table = self.pool_rows(rounds, max_rows) if rounds else (None, None)
        if table is not None and setting.features_of(1) != setting.inputs.features:
            # The first model has not seen these numbers.
            table = learnable(table, setting.inputs.features)
        table = self._standing(table)
        weighting, weights = self._weights(table)
        return limits, weighting, PseudoRows(table, weights)

    def pool_rows(
        self, rounds: Sequence[RoundManifest], max_rows: int | None
    ) -> tuple[HashLimits, pa.Table | None]:
        """Fetch the rows that a model sees: those with the lowest hash, by class.

        Parameters
        ----------
        rounds
            Whose rows.
        max_rows
            See :meth:`pseudo`.

        Returns
        -------
        tuple
            By class the highest hash, and the rows; see :class:`Trained`.

        Raises
        ------
        StoredStateError
            If there are fewer than the rounds say.
        """
        kind = self.setting.learned_rows
        by_code = np.sum([r.counts.by_code(kind) for r in rounds], axis=0).tolist()
        n_labeled = self.setting.inputs.labeled.num_rows
        room = None if max_rows is None else max(0, max_rows - n_labeled)
        if room is None or sum(by_code) <= room:
            return None, self.pool.fetch(rounds, None, kind)
        shares = proportional_shares(by_code, room)
        if not any(shares):
            return [None] * len(shares), None
        slack, rows = 1.0, None
        while rows is None or _too_few(rows, shares):
            if slack > 2 * sum(by_code):  # all rows were asked for
                raise lost_rows(self.store, sum(by_code), kind)
            rows = self.pool.fetch(rounds, low_limits(by_code, room, slack), kind)
            slack *= 2  # hashes are even: once is nearly always enough
        codes, hashes = (rows.column(name).to_numpy() for name in (CODE, HASH))
        limits = hash_limits(codes, hashes, shares)
        # All are here: to fetch them again would be one more scan, where Spark reads the pool.
        return limits, rows.filter(pa.array(within(codes, hashes, limits)))

    def _standing(self, table: pa.Table | None) -> pa.Table | None:
        """Leave out rows whose label people have taken back since a round accepted them."""
        if table is None or not self.store.reviews:
            return table
        revoked = revoked_keys(self.store)
        gone = revoked.contains([table.column(key) for key in self.setting.inputs.keys])
        return None if gone.all() else table.filter(pa.array(~gone))

    def _weights(self, table: pa.Table | None) -> tuple[RowWeights, NDArray[np.float64]]:
        """Settle what pool rows weigh in a fit; also return the weight of each."""
        if table is None:
            return RowWeights(), np.zeros(0)
        confidence, rounds = (table.column(name).to_numpy() for name in (SCORE, IN_ROUND))
        pools = {manifest.number: manifest.histogram for manifest in self.store.rounds}
        n_labeled = self.setting.inputs.labeled.num_rows
        settled = self.setting.weighting.pseudo.settled(confidence, rounds, pools, n_labeled)
        return settled, settled.of(confidence, rounds)


def lost_rows(store: RoundStore, n_rows: int, kind: StoredKind) -> StoredStateError:
    """Return the error for fewer rows than the committed rounds say."""
    return StoredStateError(
        f"The committed rounds must hold {n_rows:,} {kind} rows of the pool, and fewer were "
        "found: files of the output or of the pool are not what they were. `verify --deep` shows "
        "more.",
        code="rows_lost",
        where=store.root,
    )


@contextmanager
def fit_errors(inputs: Inputs, name: str, rows: TrainingRows | None) -> Iterator[None]:
    """Tell what a fit can't cope with as an error of the input: another try would not help.

    Parameters
    ----------
    inputs
        Of the run.
    name
        Who fits.
    rows
        What is fitted on; None where the driver does not have it.
    """
    try:
        yield
    except (MemoryError, OSError, PseudoLabelError):
        raise
    except Exception as error:
        raise _refused(inputs, name, rows, error) from error


def _refused(inputs: Inputs, name: str, rows: TrainingRows | None, error: Exception) -> InputError:
    """Blame the values that an estimator may not take, by column and id, or say what it said."""
    message = next(iter(str(error).splitlines()), "") or type(error).__name__
    labeled = inputs.labeled
    if odd := odd_numbers(to_frame(labeled, inputs.features)):
        key = [f"{key} {labeled.column(key)[odd[0].row].as_py()!r}" for key in inputs.keys]
        where = f"the labeled row with {', '.join(key)}"
    elif rows is not None and (odd := odd_numbers(rows.X)):
        where = "a row of the pool that is to be learned from"
    else:
        return InputError(f"{name} can't be fitted on these rows: {message}", code="fit_failed")
    others = f", and {len(odd) - 1:,} more such values" if len(odd) > 1 else ""
    return InputError(
        f"{name} can't be fitted: column {odd[0].column!r} has {odd[0].value} in {where}{others} "
        f"({message}). Let them be null, or leave the column out by features.exclude.",
        code="fit_failed",
        where=odd[0].column,
    )


def _too_few(rows: pa.Table, shares: Sequence[int]) -> bool:
    have = np.bincount(rows.column(CODE).to_numpy(), minlength=len(shares))
    return bool((have < np.asarray(shares)).any())
