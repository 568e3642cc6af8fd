"""A committee: models of different kinds whose probabilities are averaged, the better ones more.

A fitted committee is scikit-learn's own ``VotingClassifier``, so that a stored one loads where
this package is not installed. It is put together here from members that were fitted one by one:
``VotingClassifier.fit`` hands no weights to a pipeline.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.vote import soft_vote
from spark_pseudolabel.registry import Member


@dataclass(frozen=True)
class Committee(Teacher):
    """Estimators that vote.

    Parameters
    ----------
    members
        By name, at least one.
    """

    members: Mapping[str, EstimatorTeacher]

    @property
    def name(self) -> str:
        """What messages call it."""
        return "A committee"

    @property
    def estimators(self) -> Sequence[BaseEstimator]:
        """Those of all members."""
        return [member.estimator for member in self.members.values()]

    @property
    def voters(self) -> int:
        """Every member."""
        return len(self.members)

    @property
    def member_names(self) -> Sequence[str]:
        """Those of its estimators."""
        return [member.name for member in self.members.values()]

    @property
    def needs_reference(self) -> bool:
        """Whether a member does."""
        return any(member.needs_reference for member in self.members.values())

    @property
    def takes_weights(self) -> bool:
        """Whether every member does."""
        return all(member.takes_weights for member in self.members.values())

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> VotingClassifier:
        """Fit every member on the same training frame, weights included."""
        with warnings.catch_warnings():
            # Members are bounded, and weighed by what they came to.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = {name: member.fit(rows, classes) for name, member in self.members.items()}
        return soft_vote(fitted, classes)

    def prepared(self, X: pd.DataFrame, fitted: dict[str, BaseEstimator] | None = None) -> Self:
        """Fit the preprocessing of all members once."""
        known = {} if fitted is None else fitted
        members = {name: m.prepared(X, known) for name, m in self.members.items()}
        return replace(self, members=members)


def registered_committee(
    members: Sequence[Member], features: Sequence[Feature], random_state: int
) -> Committee:
    """Make a committee from the registry, each member with the preprocessing it needs.

    Parameters
    ----------
    members
        Estimators; the same one may be in it twice, with other parameters.
    features
        What it is fitted on.
    random_state
        Seed of every member that takes one.
    """
    return Committee(
        {
            f"{number}_{name}": registered_estimator(name, params, features, random_state)
            for number, (name, params) in enumerate(members)
        }
    )
