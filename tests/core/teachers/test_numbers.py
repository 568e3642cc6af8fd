from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.teachers.cross_fitting import NEVER_HELD_OUT
from spark_pseudolabel.core.teachers.numbers import (
    NumberTeacher,
    number_teacher,
    own_number_teacher,
)
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.registry import NUMBER_REGISTRY, Member
from tests.core.registry_rows import MIXED, mixed_rows
from tests.core.teachers.number_rows import CLASSES, FEATURES, labeled, made, task_of

RIDGE: tuple[Member, ...] = (("Ridge", {"alpha": 0.1}),)
TWO: tuple[Member, ...] = (*RIDGE, ("KNeighborsRegressor", {"n_neighbors": 3}))
FEW = {
    "RandomForestRegressor": {"n_estimators": 3},
    "ExtraTreesRegressor": {"n_estimators": 3},
    "GradientBoostingRegressor": {"n_estimators": 3},
    "HistGradientBoostingRegressor": {"max_iter": 3, "min_samples_leaf": 2},
    "XGBRegressor": {"n_estimators": 3},
    "LGBMRegressor": {"n_estimators": 3, "min_data_in_leaf": 2},
    "MLPRegressor": {"hidden_layer_sizes": [8], "solver": "lbfgs", "max_iter": 50},
}


def teacher(members: tuple[Member, ...] = RIDGE, **facts: object) -> NumberTeacher:
    values = labeled().values
    assert values is not None
    return number_teacher(members, FEATURES, 0, task_of(values, **facts))


def test_labels_are_surer_where_errors_are_smaller() -> None:
    says = teacher(tolerance=1.0).fit(labeled(), CLASSES).says(made(400, seed=1)[0])
    noisy = (made(400, seed=1)[0]["b"] > 0).to_numpy()
    assert says[~noisy, 1].mean() > says[noisy, 1].mean() + 0.3
    width = says[:, 3] - says[:, 2]
    assert np.median(width[noisy]) > 2 * np.median(width[~noisy])


def test_confidences_and_intervals_hold_on_new_rows() -> None:
    X, y = made(2000, seed=1)
    fitted = teacher(tolerance=1.0)
    model = fitted.cross_fit(labeled(300), labeled(300).folds, CLASSES, mean=True).whole
    assert model is not None
    says = model.says(X)
    right = fitted.task.is_right(y, says[:, 0])
    assert says[:, 1].mean() == pytest.approx(right.mean(), abs=0.05)
    assert ((says[:, 2] <= y) & (y <= says[:, 3])).mean() == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize(("members", "mean"), [(RIDGE, False), (TWO, True)])
def test_no_label_has_a_say_in_its_own_number(members: tuple[Member, ...], mean: bool) -> None:
    rows = labeled()
    assert rows.values is not None
    assert rows.folds is not None
    fitted = teacher(members).cross_fit(rows, rows.folds, CLASSES, mean=mean)
    inside = rows.folds == 2
    other = replace(rows, values=np.where(inside, rows.values + 50.0, rows.values))
    again = teacher(members).cross_fit(other, rows.folds, CLASSES, mean=mean)
    assert (fitted.numbers[inside, 0] == again.numbers[inside, 0]).all()
    assert (fitted.numbers[~inside, 0] != again.numbers[~inside, 0]).any()
    X, _ = made(20, seed=1)
    assert (fitted.models[2].predict(X) == again.models[2].predict(X)).all()


def test_a_fold_is_scored_as_its_rows_are() -> None:
    rows = labeled()
    assert rows.folds is not None
    for mean in (False, True):
        fitted = teacher(TWO).cross_fit(rows, rows.folds, CLASSES, mean=mean)
        assert fitted.P.shape == (len(rows.codes), 1)
        for fold in range(4):
            inside = rows.folds == fold
            assert (fitted.score(fold, rows.X[inside]) == fitted.P[inside]).all()
        assert (np.round(fitted.numbers[:, 1:2], 6) == fitted.P).all()


def test_the_mean_model_is_the_weighted_mean_of_fold_models() -> None:
    rows = labeled()
    fitted = teacher(TWO).cross_fit(rows, rows.folds, CLASSES, mean=True)
    X, _ = made(20, seed=1)
    each = [model.predict(X) for model in fitted.models]
    assert fitted.mean_model(CLASSES).predict(X) == pytest.approx(np.mean(each, axis=0), abs=1e-4)
    assert sum(member.weight for member in fitted.members) == pytest.approx(1)
    assert len(fitted.members) == 2


def test_means_of_models_are_measured_by_means() -> None:
    rows = labeled()
    single, mean = (
        teacher((("ExtraTreesRegressor", {"n_estimators": 1}),)).cross_fit(
            rows, rows.folds, CLASSES, mean=mean
        )
        for mean in (False, True)
    )
    assert rows.values is not None
    wrong = [np.abs(fitted.numbers[:, 0] - rows.values).mean() for fitted in (single, mean)]
    assert wrong[1] < 0.9 * wrong[0]


def test_rows_without_a_fold_are_learned_from_and_never_measured() -> None:
    rows = labeled(60)
    assert rows.values is not None
    assert rows.folds is not None
    far = made(60, seed=5)
    joined = TrainingRows(
        X=type(rows.X)(np.concatenate([rows.X, far[0]]), columns=rows.X.columns),
        codes=np.zeros(120, dtype=np.int32),
        weights=np.repeat([1.0, 0.5], 60),
        n_pseudo=60,
        values=np.concatenate([rows.values, far[1] + 1000.0]),
        folds=np.concatenate([rows.folds, np.full(60, NEVER_HELD_OUT)]).astype(np.int32),
    )
    fitted = teacher().cross_fit(joined, joined.folds, CLASSES)
    assert np.isnan(fitted.numbers[60:]).all()
    assert np.isfinite(fitted.numbers[:60]).all()
    assert fitted.numbers[:60, 0].mean() > 300
    assert len(teacher().fit(joined, CLASSES).errors_) == 60


def test_without_folds_there_is_one_model() -> None:
    rows = labeled(30)
    none = np.full(30, NEVER_HELD_OUT, dtype=np.int32)
    fitted = teacher().cross_fit(rows, none, CLASSES, mean=True)
    assert len(fitted.models) == 1
    assert np.isnan(fitted.P).all()
    assert np.isfinite(fitted.mean_model(CLASSES).says(rows.X)).all()


def test_folds_and_batches_may_be_empty() -> None:
    rows = labeled(30)
    assert rows.folds is not None
    gap = np.where(rows.folds == 1, NEVER_HELD_OUT, rows.folds).astype(np.int32)
    fitted = teacher(TWO).cross_fit(rows, gap, CLASSES, mean=True)
    assert np.isfinite(fitted.numbers[gap >= 0]).all()
    assert fitted.mean_model(CLASSES).says(rows.X[:0]).shape == (0, 4)


def test_categories_without_folds_need_no_errors() -> None:
    X = to_frame(mixed_rows(), MIXED)
    y = np.arange(len(X), dtype=np.float64)
    none = np.full(len(X), NEVER_HELD_OUT, dtype=np.int32)
    rows = TrainingRows(X, np.zeros(len(X), dtype=np.int32), None, 0, y, none)
    model = number_teacher(RIDGE, MIXED, 0, task_of(y)).prepared(X).fit(rows, CLASSES)
    assert np.isfinite(model.says(X)).all()


@pytest.mark.parametrize("name", NUMBER_REGISTRY)
def test_every_estimator_learns_numbers_of_mixed_rows(name: str) -> None:
    extra = NUMBER_REGISTRY[name].extra
    if extra is not None:
        pytest.importorskip(extra)
    batch = mixed_rows()
    X = to_frame(batch, MIXED)
    y = 1e6 + 1000.0 * (np.arange(len(X)) % 2)
    folds = (np.arange(len(X)) // 2 % 2).astype(np.int32)
    rows = TrainingRows(X, np.zeros(len(X), dtype=np.int32), None, 0, y, folds)
    made = number_teacher([(name, FEW.get(name, {}))], MIXED, 0, task_of(y)).prepared(X)
    model = made.fit(rows, CLASSES)
    says = model.says(X)
    assert np.isfinite(says).all()
    assert np.corrcoef(says[:, 0], y)[0, 1] > 0.5
    assert (model.says(X.iloc[:7]) == says[:7]).all()


def test_standard_labels_make_penalties_independent_of_the_unit() -> None:
    rows = labeled()
    X, _ = made(20, seed=1)
    assert rows.values is not None
    for name in ("ElasticNet", "HuberRegressor"):
        said = []
        for unit in (1.0, 1e-3):
            y = rows.values * unit
            model = number_teacher([(name, {})], FEATURES, 0, task_of(y)).fit(
                replace(rows, values=y), CLASSES
            )
            said.append(model.predict(X) / unit)
        assert said[0] == pytest.approx(said[1], rel=1e-3)


def test_texts_alone_have_an_expected_size_of_errors_too() -> None:
    note = Feature("note", "text", "string")
    rows = labeled(80)
    words = np.where(rows.X["a"] > 0, "much more", "much less")
    texts = replace(rows, X=rows.X.assign(note=words.astype(object))[["note"]])
    assert rows.values is not None
    model = number_teacher(RIDGE, [note], 0, task_of(rows.values)).fit(texts, CLASSES)
    assert np.isfinite(model.says(texts.X)).all()


def test_an_estimator_of_the_caller_is_used_as_it_is() -> None:
    rows = labeled()
    assert rows.values is not None
    own = make_pipeline(StandardScaler(), LinearRegression())
    model = own_number_teacher(own, FEATURES, 0, task_of(rows.values)).fit(rows, CLASSES)
    assert model.predict(rows.X) == pytest.approx(
        own.fit(rows.X, rows.values).predict(rows.X), abs=1e-4
    )


class _Nothing(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # they have no types
    """Says no number of rows whose `a` is above 1."""

    def fit(self, X: object, y: object) -> _Nothing:
        self.fitted_ = True
        return self

    def predict(self, X: object) -> np.ndarray:
        a = X["a"].to_numpy()  # type: ignore[index]
        return np.where(a > 1, np.nan, a)


def test_rows_that_no_number_is_said_of_are_not_measured() -> None:
    rows = labeled()
    assert rows.values is not None
    assert rows.folds is not None
    fitted = own_number_teacher(_Nothing(), FEATURES, 0, task_of(rows.values)).cross_fit(
        rows, rows.folds, CLASSES, mean=True
    )
    unsaid = (rows.X["a"] > 1).to_numpy()
    assert np.isnan(fitted.numbers[unsaid]).all()
    assert np.isfinite(fitted.numbers[~unsaid]).all()
    assert fitted.members[0].coverage == pytest.approx((~unsaid).mean())
