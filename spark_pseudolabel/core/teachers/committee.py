"""A committee: models of different kinds whose probabilities are averaged, the better ones more.

A fitted committee is scikit-learn's own ``VotingClassifier``, so that a stored one loads where
this package is not installed. It is put together here from members that were fitted one by one:
``VotingClassifier.fit`` hands no weights to a pipeline.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelEncoder

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import Scorer, make_scorer
from spark_pseudolabel.core.teachers.estimators import weights_supported
from spark_pseudolabel.core.teachers.learner import Learner, registered_learner
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.registry import Member


@dataclass(frozen=True)
class Committee:
    """How a committee is fitted; stands where a :class:`Learner` of one estimator does.

    Parameters
    ----------
    members
        Learners by name, at least one.
    """

    members: Mapping[str, Learner]

    @property
    def needs_reference(self) -> bool:
        """Whether a member does; see :attr:`Learner.needs_reference`."""
        return any(learner.needs_reference for learner in self.members.values())

    @property
    def weighted(self) -> bool:
        """Whether every member takes ``sample_weight``."""
        return all(weights_supported(learner.estimator) for learner in self.members.values())

    def fit(self, rows: TrainingRows, classes: Sequence[Label]) -> VotingClassifier:
        """Fit every member on the same training frame, weights included."""
        with warnings.catch_warnings():
            # Members are bounded, and weighed by what they came to.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = {name: learner.fit(rows, classes) for name, learner in self.members.items()}
        return soft_vote(fitted, classes)

    def prepared(
        self, X: pd.DataFrame, fitted: dict[str, BaseEstimator] | None = None
    ) -> Committee:
        """Fit the preprocessing of all members once; see :meth:`Learner.prepared`."""
        known = {} if fitted is None else fitted
        return Committee({name: one.prepared(X, known) for name, one in self.members.items()})

    def scorer(
        self,
        model: BaseEstimator,
        features: Sequence[Feature],
        keys: Sequence[str] = (),
        *,
        probabilities: bool = False,
    ) -> Scorer:
        """Prepare a fitted committee for scoring; see :class:`Scorer`."""
        return make_scorer(model, features, keys, probabilities=probabilities)


def registered_committee(
    members: Sequence[Member], features: Sequence[Feature], random_state: int
) -> Committee:
    """Make a committee from the registry, each member with the preprocessing it needs.

    Parameters
    ----------
    members
        Estimators; the same one may stand in it twice, with other parameters.
    features
        What it is fitted on.
    random_state
        Seed of every member that takes one.
    """
    return Committee(
        {
            f"{number}_{name}": registered_learner(name, params, features, random_state)
            for number, (name, params) in enumerate(members)
        }
    )


def soft_vote(
    models: Mapping[str, BaseEstimator],
    classes: Sequence[Label],
    weights: Sequence[float] | None = None,
) -> VotingClassifier:
    """Put fitted models together as one that predicts their mean probabilities.

    Parameters
    ----------
    models
        Fitted classifiers by name; all know the same classes, in the same order, be it by index.
    classes
        The labels, ascending.
    weights
        Of the models, in their order; None for equal ones.
    """
    # The fitted members stand in one place only: trees are stored as often as they are named.
    unfitted = [(name, clone(model)) for name, model in models.items()]
    vote = VotingClassifier(
        unfitted, voting="soft", weights=None if weights is None else [float(w) for w in weights]
    )
    vote.estimators_ = list(models.values())
    vote.le_ = LabelEncoder().fit(np.asarray(classes))
    vote.classes_ = vote.le_.classes_
    return vote


def weights_of(model: BaseEstimator) -> list[float]:
    """Return the weights of a committee's members, which sum to 1; a single model has them all."""
    given = model.weights if isinstance(model, VotingClassifier) else None
    weights = np.ones(len(members_of(model))) if given is None else np.asarray(given)
    return [float(weight) for weight in weights / weights.sum()]


def members_of(model: BaseEstimator) -> list[BaseEstimator]:
    """Return the members of a fitted committee; a single model is its own only member."""
    return list(model.estimators_) if isinstance(model, VotingClassifier) else [model]
