"""An estimator with everything around it that fitting and scoring need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import joblib
import pandas as pd
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.estimators import (
    build_estimator,
    final_step,
    weights_supported,
)
from spark_pseudolabel.core.teachers.preprocessing import (
    describe,
    fit_columns,
    split,
    with_preprocessing,
)
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows, fit
from spark_pseudolabel.registry import info_of


@dataclass(frozen=True)
class EstimatorTeacher(Teacher):
    """One estimator, with its preprocessing.

    Parameters
    ----------
    estimator
        Unfitted, its preprocessing included.
    encoded_labels
        Fit on class indices instead of labels.
    named
        Fit on named columns, or on the bare matrix as scikit-learn's own self-training does.
    default_columns
        Whether the first step of `estimator` is the default preprocessing, which needs no labels.
    columns
        That step, fitted once for all fits; None: it is fitted with the estimator.
    """

    estimator: BaseEstimator
    encoded_labels: bool = False
    named: bool = True
    default_columns: bool = False
    columns: BaseEstimator | None = None

    @property
    def name(self) -> str:
        """The class of its last step."""
        return type(final_step(self.estimator)).__name__

    @property
    def estimators(self) -> Sequence[BaseEstimator]:
        """Just the one."""
        return [self.estimator]

    @property
    def takes_weights(self) -> bool:
        """Whether its last step does."""
        return weights_supported(self.estimator)

    @property
    def preprocessing(self) -> Sequence[str]:
        """Its steps before the last, one line each."""
        return describe(self.estimator)

    @property
    def needs_reference(self) -> bool:
        """Whether it learns anything that needs no labels; see :meth:`prepared`."""
        columns, _ = split(self.estimator)
        return self.default_columns and any(
            step != "passthrough" for _, step, _ in getattr(columns, "transformers", ())
        )

    @property
    def warm(self) -> bool:
        """Whether every fit continues from the model before it."""
        return not self.named and bool(getattr(final_step(self.estimator), "warm_start", False))

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> BaseEstimator:
        """Fit a model on a training frame; see :func:`.training.fit`."""
        return fit(
            self.estimator,
            rows,
            classes,
            encoded_labels=self.encoded_labels,
            named=self.named,
            previous=previous if self.warm else None,
            columns=self.columns,
        )

    def prepared(
        self, X: pd.DataFrame, fitted: dict[str, BaseEstimator] | None = None
    ) -> EstimatorTeacher:
        """Fit the default preprocessing, once and for all models; others stay as they are."""
        if not self.needs_reference:
            return self
        columns, _ = split(self.estimator)
        known = {} if fitted is None else fitted
        key = joblib.hash(columns)
        if key not in known:
            known[key] = fit_columns(columns, X, known)
        return replace(self, columns=known[key])


def registered_estimator(
    name: str,
    params: Mapping[str, Any],
    features: Sequence[Feature],
    random_state: int,
    *,
    like_sklearn: bool = False,
) -> EstimatorTeacher:
    """Make a teacher of one estimator from the registry.

    Parameters
    ----------
    name, params
        The estimator; see :func:`spark_pseudolabel.core.teachers.estimators.check_estimator`.
    features
        What it is fitted on; decides the default preprocessing.
    random_state
        Seed of the estimator, unless `params` has one.
    like_sklearn
        No preprocessing, no names, raw probabilities: exactly what ``SelfTrainingClassifier``
        does with the estimator.
    """
    info = info_of(name)
    estimator = build_estimator(name, params, random_state)
    if like_sklearn:
        return EstimatorTeacher(estimator, info.encoded_labels, named=False)
    estimator = with_preprocessing(estimator, info, features, random_state)
    return EstimatorTeacher(estimator, info.encoded_labels, default_columns=True)
