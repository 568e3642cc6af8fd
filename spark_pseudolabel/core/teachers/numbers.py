"""Teachers of numbers: one estimator or several, cross-fitted, with the errors that they make.

Every model knows how wrong models like it are on rows that they have not seen. So there are three
kinds of fits of the members, each made once: on all rows, without a fold, and without two. What
the mean of the fold models is wrong by is measured as in :func:`.cross_fitting.cross_fit_mean`:
each fold by the mean of models none of which has seen it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.teachers.cross_fitting import (
    NEVER_HELD_OUT,
    CrossFit,
    MemberScore,
    rounded,
    subset,
)
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.core.teachers.number_errors import ErrorSize, Sizes, learn_sizes
from spark_pseudolabel.core.teachers.number_model import (
    NO_COLUMNS,
    NumberModel,
    scale_input,
)
from spark_pseudolabel.core.teachers.number_vote import mean_weights
from spark_pseudolabel.core.teachers.preprocessing import split
from spark_pseudolabel.core.teachers.teacher import PoolPass, Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.registry import Member, info_of


@dataclass(frozen=True)
class NumberCrossFit(CrossFit):
    """The models of all folds, and what they say about the rows they have not seen.

    Parameters
    ----------
    numbers
        ndarray of shape (n, 4): what is published of each row, from
        :meth:`~.number_model.NumberModel.says` of models that have not seen it; NaN without a fold.
    whole
        The mean of the models of all folds.
    each
        ndarray of shape (n_members, n): what every member says of each row when it is fitted
        without the row's fold; NaN without a fold.
    """

    numbers: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    whole: NumberModel | None = None
    each: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))

    def score(self, fold: int, X: Any) -> NDArray[np.float64]:
        """Return the confidences of rows that are scored as those of a fold are, rounded."""
        model = (self.unseen or self.models)[fold]
        P = rounded(model.says(X)[:, 1:2])
        return rounded(self.adjustments[fold].apply(P)) if self.adjustments else P

    def mean_model(self, classes: Sequence[Label]) -> BaseEstimator:
        """Return the mean of the fold models, which knows its own errors."""
        return self.models[0] if self.whole is None else self.whole


@dataclass(frozen=True)
class NumberTeacher(Teacher):
    """Estimators whose numbers are averaged, or one of them.

    Parameters
    ----------
    members
        By name, at least one; a graph is the only one.
    standard
        Names of those that are fitted on standardized labels.
    sight
        Estimator whose preprocessing prepares what the size of errors depends on; its last step is
        not used. None: rows have texts alone.
    sight_names
        The columns that it depends on.
    task
        What is asked of labels.
    random_state
        Seed of what learns the size of errors.
    """

    members: Mapping[str, Teacher]
    standard: frozenset[str]
    sight: EstimatorTeacher | None
    sight_names: tuple[str, ...]
    task: NumberTask
    random_state: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return "A committee" if self.voters > 1 else next(iter(self.members.values())).name

    @property
    def estimators(self) -> Sequence[BaseEstimator]:
        """Those of all members."""
        return [part for member in self.members.values() for part in member.estimators]

    @property
    def voters(self) -> int:
        """Every member."""
        return len(self.members)

    @property
    def member_names(self) -> Sequence[str]:
        """Those of its estimators, where they are several."""
        return [member.name for member in self.members.values()] if self.voters > 1 else []

    @property
    def needs_reference(self) -> bool:
        """Whether a member does, or what sees the size of errors."""
        parts = [*self.members.values(), *([] if self.sight is None else [self.sight])]
        return any(part.needs_reference for part in parts)

    @property
    def takes_weights(self) -> bool:
        """Whether every member does."""
        return all(member.takes_weights for member in self.members.values())

    @property
    def preprocessing(self) -> Sequence[str]:
        """That of a single member, one line each."""
        return next(iter(self.members.values())).preprocessing if self.voters == 1 else ()

    def prepared(self, X: pd.DataFrame, fitted: dict[str, BaseEstimator] | None = None) -> Self:
        """Fit the preprocessing of all members once."""
        known = {} if fitted is None else fitted
        members = {name: m.prepared(X, known) for name, m in self.members.items()}
        sight = None if self.sight is None else self.sight.prepared(X, known)
        return replace(self, members=members, sight=sight)

    def placed(self, X: pd.DataFrame) -> Self:
        """Let every member learn where rows are."""
        return replace(self, members={name: m.placed(X) for name, m in self.members.items()})

    @property
    def adapted(self) -> Mapping[str, int]:
        """Settings of a single member."""
        return next(iter(self.members.values())).adapted if self.voters == 1 else {}

    @property
    def pool_pass(self) -> PoolPass | None:
        """What a single member wants to know."""
        return next(iter(self.members.values())).pool_pass if self.voters == 1 else None

    def informed(self, seen: Any) -> Self:
        """Let a single member take in what it wanted to know."""
        return replace(self, members={name: m.informed(seen) for name, m in self.members.items()})

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> NumberModel:
        """Fit on all rows; errors are those of models that have not seen a fold of them."""
        return _Fits(self, rows, classes).whole()

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> NumberCrossFit:
        """Fit one model per fold, to say what rows are that the models have not seen.

        Parameters
        ----------
        rows, folds, classes, mean
            As in :meth:`.teacher.Teacher.cross_fit`.
        """
        fits = _Fits(self, replace(rows, folds=folds), classes)
        return fits.crossed(mean=mean)


def number_teacher(
    members: Sequence[Member], features: Sequence[Feature], random_state: int, task: NumberTask
) -> NumberTeacher:
    """Make a teacher of numbers from the registry, each member with the preprocessing it needs.

    Parameters
    ----------
    members
        Estimators; the same one may be in it twice, with other parameters.
    features
        What it is fitted on.
    random_state
        Seed of everything that takes one.
    task
        What is asked of labels.
    """
    named = {f"{number}_{name}": (name, params) for number, (name, params) in enumerate(members)}
    teachers = {
        key: registered_estimator(name, params, features, random_state)
        for key, (name, params) in named.items()
    }
    standard = (key for key, (name, _) in named.items() if info_of(name).standard_labels)
    return _teacher(teachers, frozenset(standard), features, random_state, task)


def own_number_teacher(
    estimator: BaseEstimator, features: Sequence[Feature], random_state: int, task: NumberTask
) -> NumberTeacher:
    """Make a teacher of one estimator of the caller's, with whatever preprocessing it has.

    Parameters
    ----------
    estimator
        Unfitted.
    features, random_state, task
        As in :func:`number_teacher`.
    """
    own = {"0_own": EstimatorTeacher(estimator)}
    return _teacher(own, frozenset(), features, random_state, task)


def graph_number_teacher(
    graph: Teacher, features: Sequence[Feature], random_state: int, task: NumberTask
) -> NumberTeacher:
    """Make a teacher of a graph through which numbers spread.

    Parameters
    ----------
    graph
        Its models give numbers, or abstain.
    features, random_state, task
        As in :func:`number_teacher`.
    """
    return _teacher({_GRAPH: graph}, frozenset([_GRAPH]), features, random_state, task)


_GRAPH = "0_graph"


def _teacher(
    members: Mapping[str, Teacher],
    standard: frozenset[str],
    features: Sequence[Feature],
    random_state: int,
    task: NumberTask,
) -> NumberTeacher:
    # Words would be read twice, and say little of errors that the spread does not.
    seen = [feature for feature in features if feature.kind != "text"]
    return NumberTeacher(
        members,
        standard,
        registered_estimator(_SIGHT, {}, seen, random_state) if seen else None,
        tuple(column for feature in seen for column in feature.columns),
        task,
        random_state,
    )


_SIGHT = "ExtraTreesRegressor"
"""What learns the size of errors is of this kind, and shares its preprocessing."""


@dataclass(frozen=True)
class _Part:
    """A fitted member, and how what it says becomes a number."""

    columns: Any
    estimator: Any
    center: float
    size: float


class _Fits:
    """Fits of a teacher's members on parts of rows, each made once, and models made of them."""

    def __init__(
        self, teacher: NumberTeacher, rows: TrainingRows, classes: Sequence[Label]
    ) -> None:
        assert rows.values is not None
        assert rows.folds is not None
        self.teacher, self.rows, self.classes = teacher, rows, classes
        self.y, self.folds = rows.values, rows.folds
        self.n_folds = int(self.folds.max(initial=-1)) + 1
        self.held_out = self.folds != NEVER_HELD_OUT
        self._made: dict[tuple[int, ...], list[_Part]] = {}

    def without(self, *folds: int) -> list[_Part]:
        """Return the members, fitted without some folds."""
        left_out = tuple(sorted(set(folds)))
        if left_out not in self._made:
            chosen = ~np.isin(self.folds, left_out)
            self._made[left_out] = self._fit(subset(self.rows, chosen))
        return self._made[left_out]

    def _fit(self, rows: TrainingRows) -> list[_Part]:
        assert rows.values is not None
        parts = []
        with warnings.catch_warnings():
            # Members are bounded, and weighed by what they came to.
            warnings.simplefilter("ignore", ConvergenceWarning)
            for name, member in self.teacher.members.items():
                center, size = 0.0, 1.0
                if name in self.teacher.standard:
                    center, size = self.teacher.task.mean, self.teacher.task.sd
                scaled = replace(rows, values=(rows.values - center) / size)
                columns, last = split(member.fit(scaled, self.classes))
                parts.append(_Part(columns, last, center, size))
        return parts

    def whole(self) -> NumberModel:
        """Return the model that is fitted on all rows."""
        every = range(self.n_folds)
        weights = {fold: self._weights(fold) for fold in every}
        errors = self._errors({fold: [self.without(fold)] for fold in every}, weights)
        return self._model([self.without()], [self._weights()], errors.of_all)

    def crossed(self, *, mean: bool) -> NumberCrossFit:
        """Return the models of all folds, and what is said of each fold without it."""
        every = range(self.n_folds)
        if not every:
            nothing = np.full((len(self.y), 4), np.nan)
            return NumberCrossFit((self.whole(),), self.folds, nothing[:, 1:2], numbers=nothing)
        groups = {
            fold: [self.without(fold, other) for other in (every if mean else [fold])]
            for fold in every
        }
        weights = {fold: self._weights(fold, by_two=mean) for fold in every}
        errors = self._errors(groups, weights)
        models, unseen = [], []
        numbers = np.full((len(self.y), 4), np.nan)
        numbers[errors.abstained, 1] = 0.0
        for fold, group in groups.items():
            known, inside = errors.without(fold), errors.known & (self.folds == fold)
            models.append(self._model([self.without(fold)], [weights[fold]], known))
            unseen.append(self._model(group, [weights[fold]] * len(group), known))
            of_fold = errors.folds == fold
            numbers[inside] = unseen[-1].published(
                errors.value[of_fold], known.size.of(errors.seen[of_fold])
            )
        fits = [self.without(fold) for fold in every]
        return NumberCrossFit(
            tuple(models),
            self.folds,
            rounded(numbers[:, 1:2]),
            unseen=tuple(unseen) if mean else (),
            members=self._member_scores(list(weights.values())),
            numbers=numbers,
            whole=self._model(fits, list(weights.values()), errors.of_all),
            each=self._unseen,
        )

    @cached_property
    def _unseen(self) -> NDArray[np.float64]:
        """What each member says about rows when it is fitted without their fold."""
        return self._said({fold: self.without(fold) for fold in range(self.n_folds)})

    def _said(self, by_fold: Mapping[int, list[_Part]]) -> NDArray[np.float64]:
        """Let some fits say what rows of a fold each are, member by member."""
        each = np.full((self.teacher.voters, len(self.y)), np.nan)
        for fold, parts in by_fold.items():
            inside = self.folds == fold
            if not inside.any():
                continue
            each[:, inside] = self._bare([(part, 1.0) for part in parts]).members_says(
                self.rows.X[inside]
            )
        return each

    def _weights(self, fold: int | None = None, *, by_two: bool = False) -> NDArray[np.float64]:
        """Weigh members by what they say about rows that they have not seen.

        Without a fold, if one is given: its rows do not count, and where there are fits without
        two folds anyway they have taught none of those that are weighed.
        """
        if self.teacher.voters == 1:
            return np.ones(1)
        each = self._unseen
        if fold is not None and by_two:
            others = [other for other in range(self.n_folds) if other != fold]
            each = self._said({other: self.without(fold, other) for other in others})
        known = self.held_out if fold is None else self.held_out & (self.folds != fold)
        return mean_weights(each[:, known], self.y[known])

    def _errors(
        self,
        groups: Mapping[int, Sequence[list[_Part]]],
        weights: Mapping[int, NDArray[np.float64]],
    ) -> _Errors:
        """Measure the errors of means of models that have not seen a fold, fold by fold."""
        value, spread = np.full(len(self.y), np.nan), np.full(len(self.y), np.nan)
        abstained = np.zeros(len(self.y), dtype=bool)
        for fold, group in groups.items():
            inside = self.folds == fold
            if not inside.any():
                continue
            mean = self._mean(group, [weights[fold]] * len(group))
            value[inside], spread[inside] = mean.middle(self.rows.X[inside])
            abstained[inside] = mean.abstained(self.rows.X[inside])
        known, task = np.isfinite(value), self.teacher.task
        seen = scale_input(self._sight(known), value[known], spread[known], task)
        return _Errors(
            known,
            abstained,
            np.abs(self.y - value)[known],
            value[known],
            seen,
            self.folds[known],
            task.sd,
            self.teacher.random_state,
        )

    @cached_property
    def _sight_columns(self) -> Any:
        """Preprocessing of what the size of errors depends on; None: rows as they are."""
        sight = self.teacher.sight
        if sight is None or sight.columns is not None:
            return None if sight is None else sight.columns
        columns, _ = split(sight.estimator)
        return None if columns is None else clone(columns).fit(self.rows.X)

    def _sight(self, known: NDArray[np.bool_]) -> NDArray[np.float64]:
        X = self.rows.X[known]
        if not len(X):
            return np.empty((0, 0))
        if self._sight_columns is not None:
            return np.asarray(self._sight_columns.transform(X), dtype=np.float64)
        return np.asarray(X[list(self.teacher.sight_names)], dtype=np.float64)

    def _mean(
        self, groups: Sequence[list[_Part]], weights: Sequence[NDArray[np.float64]]
    ) -> NumberModel:
        """Put the mean of some fits together, without the members that weigh nothing."""
        return self._bare(
            [
                (part, float(weight) / len(groups))
                for parts, of_parts in zip(groups, weights, strict=True)
                for part, weight in zip(parts, of_parts, strict=True)
                if weight > 0
            ]
        )

    def _bare(self, weighted: Sequence[tuple[_Part, float]]) -> NumberModel:
        columns: list[Any] = []
        places = []
        for part, _ in weighted:
            if part.columns is None:
                places.append(NO_COLUMNS)
                continue
            if not any(part.columns is known for known in columns):
                columns.append(part.columns)
            places.append(next(i for i, known in enumerate(columns) if part.columns is known))
        return NumberModel.of(
            self.teacher.task,
            {
                "columns": columns,
                "estimators": [part.estimator for part, _ in weighted],
                "places": np.array(places, dtype=np.int64),
                "weights": np.array([weight for _, weight in weighted]),
                "centers": np.array([part.center for part, _ in weighted]),
                "sizes": np.array([part.size for part, _ in weighted]),
            },
        )

    def _model(
        self,
        groups: Sequence[list[_Part]],
        weights: Sequence[NDArray[np.float64]],
        errors: _Known,
    ) -> NumberModel:
        """Put the mean of some fits and the errors of their like together."""
        model = self._mean(groups, weights)
        own = self._sight_columns
        place = NO_COLUMNS
        if own is not None:
            known = [i for i, columns in enumerate(model.columns_) if columns is own]
            place = known[0] if known else len(model.columns_)
            model.columns_ += [] if known else [own]
        model.scale_, model.floor_ = errors.size.trees, errors.size.floor
        model.scale_place_ = place
        model.scale_names_ = list(self.teacher.sight_names) if own is None else []
        model.errors_ = errors.scaled
        return model

    def _member_scores(self, weights: Sequence[NDArray[np.float64]]) -> tuple[MemberScore, ...]:
        if not weights:
            return ()
        known, task = self.held_out, self.teacher.task
        shares = np.mean(weights, axis=0)
        scores = []
        for share, of_member in zip(shares, self._unseen[:, known], strict=True):
            finite = np.isfinite(of_member)
            right = task.is_right(self.y[known], task.published(of_member))[finite]
            accuracy = float(right.mean()) if finite.any() else None
            scores.append(MemberScore(float(share), float(finite.mean()), accuracy))
        return tuple(scores)


@dataclass(frozen=True)
class _Known:
    """What is known of errors.

    Parameters
    ----------
    size
        What size to expect.
    scaled
        ndarray of shape (n_errors,): errors of rows of every fold, each divided by the size that
        rows of other folds lead to expect; ascending.
    """

    size: ErrorSize
    scaled: NDArray[np.float64]


@dataclass(frozen=True)
class _Errors:
    """Errors of models on rows that they have not seen, and what these show.

    All models have one distribution of scaled errors. Were it that of other folds, a fold in which
    more numbers are wrong would have more right ones in the others and be the surer for it; a
    confidence is a rising function of the expected size this way, the same for labeled rows and
    for the pool, and whoever orders rows by it orders them by a size that their own errors had no
    say in.

    Parameters
    ----------
    known
        ndarray of shape (n_rows,): the n rows of which something is said.
    abstained
        ndarray of shape (n_rows,): those from which a model abstains.
    errors, value
        ndarrays of shape (n,): absolute errors, and what is said.
    seen
        ndarray of shape (n, n_columns): what the size of errors depends on.
    folds
        ndarray of shape (n,).
    sd, random_state
        As in :func:`~.number_errors.error_size`.
    """

    known: NDArray[np.bool_]
    abstained: NDArray[np.bool_]
    errors: NDArray[np.float64]
    value: NDArray[np.float64]
    seen: NDArray[np.float32]
    folds: NDArray[np.int32]
    sd: float
    random_state: int

    @property
    def of_all(self) -> _Known:
        """What all of them show."""
        return _Known(self._sizes.whole, self._scaled)

    def without(self, fold: int) -> _Known:
        """Return what they show, with sizes learned without those of a fold."""
        sizes = self._sizes
        return _Known(sizes.without.get(fold, sizes.whole), self._scaled)

    @cached_property
    def _scaled(self) -> NDArray[np.float64]:
        return np.sort(self._sizes.scaled)

    @cached_property
    def _sizes(self) -> Sizes:
        return learn_sizes(self.seen, self.errors, self.folds, self.sd, self.random_state)
