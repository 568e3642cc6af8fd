"""What a teacher is: who makes a model that gives rows a class and a confidence, or abstains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.facts import RulesFound
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit, cross_fit, cross_fit_mean
from spark_pseudolabel.core.teachers.training import Label, TrainingRows

if TYPE_CHECKING:  # they import this module
    from spark_pseudolabel.core.teachers.conjugate_gradients import Tell
    from spark_pseudolabel.core.teachers.distant_graph import DistantGraph
    from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph
    from spark_pseudolabel.core.teachers.node_votes import GraphRows


@dataclass(frozen=True)
class PoolPass:
    """What a teacher wants to know of all rows of the pool.

    Parameters
    ----------
    look
        Runs on workers: gets batches of keys and features, and returns what it finds out.
    together
        Puts several of its results together. Neither may depend on how rows are dealt to calls,
        nor on the order of calls: sums are of whole numbers.
    features
        The columns beside the keys that `look` gets; None: all features.
    """

    look: Callable[[Iterable[pa.RecordBatch]], Any]
    together: Callable[[Sequence[Any]], Any]
    features: tuple[str, ...] | None = None


class Teacher(ABC):
    """How models are made: what they need, how they are fitted, cross-fitted and described.

    A model is a fitted classifier with ``classes_`` and ``predict_proba``, stored with skops. It
    abstains from a row by giving each class the probability 0.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @property
    def estimators(self) -> Sequence[BaseEstimator]:
        """The unfitted estimators that are fitted and stored, to be checked before any fit."""
        return ()

    @property
    def voters(self) -> int:
        """How many models of different kinds have a say in each of its models: their places."""
        return 1

    @property
    def needs_reference(self) -> bool:
        """Whether it learns anything from rows without labels; see :meth:`prepared`."""
        return False

    @property
    def takes_weights(self) -> bool:
        """Whether every estimator takes ``sample_weight``."""
        return True

    @property
    def warm(self) -> bool:
        """Whether every fit continues from the model before it."""
        return False

    @property
    def transductive(self) -> bool:
        """Whether its models know the rows of the run alone, by node ids in place of features."""
        return False

    @property
    def takes_features(self) -> bool:
        """Whether labeled rows come with their features, be it beside their node ids."""
        return True

    @property
    def preprocessing(self) -> Sequence[str]:
        """What happens to columns before an estimator sees them, one line each."""
        return ()

    @property
    def member_names(self) -> Sequence[str]:
        """What the models are called that it is made of; empty where it is one."""
        return ()

    @property
    def adapted(self) -> Mapping[str, int]:
        """Settings that rows have changed once it is :meth:`placed`, as they are used."""
        return {}

    def joined(
        self,
        graph: NeighborGraph | DistantGraph,
        tell: Tell | None = None,
        rows: GraphRows | None = None,
    ) -> Self:
        """Take in the graph of all rows, if it is transductive.

        Parameters
        ----------
        graph
            Of them.
        tell
            Is told of progress.
        rows
            The same by their features, for one that :attr:`takes_features`.
        """
        return self

    def require_rows(self, n_rows: int, n_classes: int = 2) -> None:
        """Refuse rows of which no model can be made, before anything is fitted.

        Parameters
        ----------
        n_rows
            Those with and without labels.
        n_classes
            Of the labels.

        Raises
        ------
        InputError
            Naming the key of the configuration.
        """
        return

    def prepared(
        self,
        X: pd.DataFrame,
        fitted: dict[str, BaseEstimator] | None = None,
    ) -> Self:
        """Learn what needs no labels, once and for all models.

        Parameters
        ----------
        X
            Rows with and without labels; see :mod:`spark_pseudolabel.core.teachers.reference`.
        fitted
            Preprocessing, and parts of it, that other teachers have fitted on the same rows, which
            is shared with those that need the same; what is fitted here is added.
        """
        return self

    def placed(self, X: pd.DataFrame) -> Self:
        """Learn where rows are, once and for all models, after it is :meth:`prepared`.

        Parameters
        ----------
        X
            The same rows as far as they spread: numbers far from all labeled rows are not moved
            near them, which would be another scale, and another shape.
        """
        return self

    def shown(self, pool: pd.DataFrame) -> Self:
        """Take in a sample of the pool once it is :meth:`prepared`; most learn nothing of it.

        Parameters
        ----------
        pool
            The part of the rows of :meth:`prepared` that have no label, in an order of chance.
        """
        return self

    @property
    def pool_pass(self) -> PoolPass | None:
        """What it wants to know of all pool rows once it is :meth:`placed`; None: nothing."""
        return None

    def informed(self, seen: Any) -> Self:
        """Take in what the :attr:`pool_pass` came to; None where the pool has no row."""
        return self

    def expecting(self, prior: NDArray[np.float64] | None) -> Self:
        """Take in the pool's class shares, of shape (n_classes,), where they are given.

        Only of a teacher whose models have learned shares of the pool: scores of others are
        corrected to them.
        """
        return self

    @property
    def learns_prior(self) -> bool:
        """Whether its models are mixed as the pool is, so that no score is to be corrected."""
        return False

    def found(
        self, rows: TrainingRows, classes: Sequence[Label], fitted: CrossFit | None
    ) -> RulesFound | None:
        """Return what it has found out about its members; None: nothing.

        Parameters
        ----------
        rows, classes
            As in :meth:`fit`.
        fitted
            The same rows scored out of fold; None without labeled rows.
        """
        return None

    @abstractmethod
    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> BaseEstimator:
        """Fit a model.

        Parameters
        ----------
        rows
            The training frame, its codes by `classes`.
        classes
            The labels, ascending.
        previous
            The model before, to go on from where the teacher is :attr:`warm`.
        """

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> CrossFit:
        """Fit one model per fold, to score labeled rows by models that have not seen them.

        Parameters
        ----------
        rows, classes
            As in :meth:`fit`.
        folds
            ndarray of shape (n_rows,), from :func:`~.cross_fitting.fold_of`.
        mean
            Whether the mean of the models is what is used, and measured; see
            :func:`~.cross_fitting.cross_fit_mean`.
        """
        return (cross_fit_mean if mean else cross_fit)(self.fit, rows, folds, classes)
