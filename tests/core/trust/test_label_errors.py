from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.cross_fitting import cross_fit, fold_of
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.trust.label_errors import LEVEL, LabelErrors, Suspect, check_labels

Codes = NDArray[np.int32]


def test_label_that_other_folds_do_not_believe_is_listed() -> None:
    P = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05], [0.9, 0.1]])
    codes = np.array([0, 0, 1, 1, 1, 0], dtype=np.int32)
    found = check_labels(P, codes)
    assert found.suspects == (Suspect(4, given=1, suggested=0, p_given=0.05, p_suggested=0.95),)
    assert (found.n, found.sure, found.torn) == (6, 1, 0)


def test_one_row_is_no_proof() -> None:
    assert LabelErrors(10, (Suspect(0, 0, 1, 0.1, 0.9),), sure=1, torn=0).explained
    assert not LabelErrors(10, (Suspect(0, 0, 1, 0.1, 0.9),), sure=9, torn=0).explained


@pytest.mark.parametrize("n", [0, 3])
def test_rows_without_a_score_and_classes_without_rows_are_left_out(n: int) -> None:
    P = np.array([[np.nan, np.nan, np.nan], [0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])[:n]
    found = check_labels(P, np.array([0, 0, 0], dtype=np.int32)[:n])
    assert (found.n, found.suspects, found.explained) == (max(0, n - 1), (), True)


def blobs(n: int, distance: float, seed: int) -> tuple[pd.DataFrame, Codes]:
    """Draw three normal classes, each moved along an axis of its own."""
    chance = np.random.default_rng(seed)
    true = chance.integers(0, 3, n).astype(np.int32)
    X = chance.normal(size=(n, 6))
    X[:, :3] += distance * np.eye(3)[true]
    return pd.DataFrame(X, columns=list("abcdef")), true


def flipped(true: Codes, rate: float, seed: int) -> tuple[Codes, NDArray[np.bool_]]:
    """Give a share of the rows another label."""
    chance = np.random.default_rng(seed + 1000)
    wrong = chance.random(len(true)) < rate
    return np.where(wrong, (true + chance.integers(1, 3, len(true))) % 3, true).astype("i4"), wrong


def checked(X: pd.DataFrame, codes: Codes, estimator: str) -> LabelErrors:
    features = [Feature(str(name), "numeric", "double") for name in X]
    folds = fold_of(codes, np.random.default_rng(0).permutation(len(codes)))
    learner = registered_estimator(estimator, {}, features, 0)
    rows = TrainingRows(X, codes, None, 0)
    classes = tuple(range(int(codes.max()) + 1))
    return check_labels(cross_fit(learner.fit, rows, folds, classes).P, codes)


@pytest.mark.parametrize("estimator", ["LogisticRegression", "RandomForestClassifier"])
@pytest.mark.parametrize("rate", [0.05, 0.15])
def test_planted_errors_are_found_and_hardly_anything_else(estimator: str, rate: float) -> None:
    X, true = blobs(600, 6.0, seed=1)
    codes, wrong = flipped(true, rate, seed=1)
    found = checked(X, codes, estimator)
    listed = np.array([suspect.row for suspect in found.suspects])
    assert wrong[listed].mean() >= 0.95
    assert wrong[listed].sum() / wrong.sum() >= 0.7
    assert all(true[suspect.row] == suspect.suggested for suspect in found.suspects[:10])
    assert not found.explained


@pytest.mark.parametrize("estimator", ["LogisticRegression", "RandomForestClassifier"])
def test_nothing_is_listed_where_clean_classes_lie_apart(estimator: str) -> None:
    found = checked(*blobs(600, 8.0, seed=2), estimator)
    assert found.suspects == ()
    assert found.explained


def normal_classes(
    n: int, share: float, distance: float, seed: int
) -> tuple[NDArray[np.float64], Codes]:
    """Draw two normal classes, the second with a share, and exact posteriors."""
    chance = np.random.default_rng(seed)
    codes = (chance.random(n) < share).astype(np.int32)
    x = chance.normal(size=n) + distance * (codes - 0.5)
    p = 1 / (1 + (1 - share) / share * np.exp(-distance * x))
    return np.column_stack([1 - p, p]), codes


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0, 4.0, 6.0])
def test_classes_that_only_overlap_explain_what_looks_wrong(distance: float, share: float) -> None:
    alarms = sum(
        not check_labels(*normal_classes(2000, share, distance, seed)).explained
        for seed in range(200)
    )
    assert alarms <= 200 * LEVEL + 3 * np.sqrt(200 * LEVEL)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_errors_among_classes_of_any_shares_are_noticed(share: float) -> None:
    P, true = normal_classes(2000, share, 5.0, 0)
    wrong = np.random.default_rng(1).random(2000) < 0.03
    found = check_labels(P, np.where(wrong, 1 - true, true).astype(np.int32))
    listed = np.array([suspect.row for suspect in found.suspects])
    assert wrong[listed].mean() > 0.85
    assert wrong[listed].sum() > 0.8 * wrong.sum()
    assert not found.explained


def test_overlapping_classes_raise_no_alarm_with_fitted_models() -> None:
    assert all(checked(*blobs(300, 2.0, seed), "LogisticRegression").explained for seed in range(8))


def test_rare_class_that_overlaps_raises_no_alarm_with_fitted_models() -> None:
    for seed in range(8):
        chance = np.random.default_rng(seed)
        codes = (chance.random(500) < 0.1).astype(np.int32)
        X = pd.DataFrame(chance.normal(size=(500, 2)) + codes[:, np.newaxis], columns=["a", "b"])
        assert checked(X, codes, "LogisticRegression").explained
