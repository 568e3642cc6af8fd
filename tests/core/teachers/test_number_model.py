from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.teachers.number_model import LEAST, NumberModel, reaches
from spark_pseudolabel.core.teachers.numbers import number_teacher
from spark_pseudolabel.store.artifact import dump_model, load_model
from tests.core.teachers.number_rows import CLASSES, FEATURES, labeled, made, task_of

X = pd.DataFrame({"a": np.arange(40.0)})


def model(task: NumberTask, slopes: tuple[float, ...] = (1.0,), size: float = 1.0) -> NumberModel:
    """Say a times each slope; errors of 1 to 99 hundredths of `size` have been seen."""
    parts = [LinearRegression().fit(X, slope * X["a"]) for slope in slopes]
    n = len(parts)
    return NumberModel.of(
        task,
        {
            "columns": [],
            "estimators": parts,
            "places": np.full(n, -1),
            "weights": np.full(n, 1 / n),
            "centers": np.zeros(n),
            "sizes": np.ones(n),
            "scale": None,
            "scale_place": -1,
            "scale_names": [],
            "floor": size,
            "errors": np.arange(1, 100) / 100,
        },
    )


def task(tolerance: float = 0.5, **facts: object) -> NumberTask:
    return task_of(X["a"].to_numpy(), tolerance, **facts)


def test_confidence_is_the_share_of_errors_within_the_tolerance() -> None:
    assert model(task(0.5)).says(X)[:, 1] == pytest.approx(0.5)
    assert model(task(0.5), size=2.0).says(X)[:, 1] == pytest.approx(0.25)
    assert model(task(0.995)).says(X)[:, 1].max() < 1
    assert model(task(2.0)).says(X)[:, 1].max() == 1


@pytest.mark.parametrize("tolerance", [0.3, 0.89, 0.91, 1.3])
def test_a_label_is_as_sure_as_the_interval_where_that_is_within_the_tolerance(
    tolerance: float,
) -> None:
    says = model(task(tolerance, interval=0.9)).says(X)
    within = (says[:, 3] - says[:, 0] <= tolerance).all()
    assert within == (says[:, 1] >= 0.9).all()


def test_a_share_of_the_number_is_a_larger_tolerance_for_larger_ones() -> None:
    says = model(task(0.02, relative=True)).says(X)
    assert (np.diff(says[:, 1]) > 0).all()
    assert says[0, 1] == LEAST  # at 0 only 0 is right
    assert says[25, 1] == pytest.approx((25 * 0.02 / 1.02 + 25 * 0.02 / 0.98) / 2, abs=1e-6)


def test_reach_of_a_share_is_where_the_true_number_may_be() -> None:
    asked, v = task(0.2, relative=True), np.array([10.0, -10.0])
    below, above = reaches(asked, v)
    for away, right in ((0.999, True), (1.001, False)):
        assert asked.is_right(v * (1 - away * below / 10), v).tolist() == [right, right]
        assert asked.is_right(v * (1 + away * above / 10), v).tolist() == [right, right]
    assert reaches(task(1.0, relative=True), np.array([3.0]))[1] == np.inf


def test_whole_numbers_are_published_with_whole_bounds_inside_the_interval() -> None:
    says = model(task(1.0, integer=True, decimals=0), slopes=(1.13,), size=3.0).says(X)
    assert (says[:, [0, 2, 3]] == np.rint(says[:, [0, 2, 3]])).all()
    away = np.interp(0.9, np.arange(101) / 100, np.append(np.arange(100) / 100, 1.485)) * 3
    exact = 1.13 * X["a"].to_numpy()
    assert (says[:, 2] == np.ceil(exact - away)).all()
    assert (says[:, 3] == np.floor(exact + away)).all()
    # |y - v| <= 1 holds for whole numbers up to what is rounded to them: 1.5.
    assert says[:, 1] == pytest.approx(0.5)


def test_parts_are_averaged_and_brought_back_to_the_scale_of_labels() -> None:
    averaged = model(task(), slopes=(1.0, 3.0))
    averaged.centers_, averaged.sizes_ = np.array([5.0, 0.0]), np.array([2.0, 1.0])
    a = X["a"].to_numpy()
    assert averaged.members_says(X) == pytest.approx(np.array([5 + 2 * a, 3 * a]))
    assert averaged.predict(X) == pytest.approx(2.5 + 2.5 * a)
    assert averaged.classes_.tolist() == ["number"]


def test_nothing_is_said_where_a_part_says_nothing() -> None:
    broken = model(task())
    broken.estimators_ = [_Broken()]
    says = broken.says(X)
    assert np.isnan(says[3]).all()
    assert np.isfinite(np.delete(says, 3, axis=0)).all()


class _Broken:
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return np.where(rows["a"] == 3, np.nan, 1.0)


def test_what_is_stored_says_the_same() -> None:
    rows = labeled()
    members = [("Ridge", {}), ("HistGradientBoostingRegressor", {"max_iter": 5})]
    teacher = number_teacher(members, FEATURES, 0, task_of(rows.values))
    fitted = teacher.cross_fit(rows, rows.folds, CLASSES, mean=True).mean_model(CLASSES)
    stored = dump_model(fitted)
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    new, _ = made(50, seed=1)
    assert (loaded.says(new) == fitted.says(new)).all()
    # A row is said the same alone as among others.
    assert (loaded.says(new.iloc[:1]) == fitted.says(new)[:1]).all()
