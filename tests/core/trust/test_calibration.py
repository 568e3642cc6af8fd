from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from spark_pseudolabel.core.adjustment import Calibration, Method
from spark_pseudolabel.core.trust.calibration import fit_calibration, fit_per_fold, reliability
from tests.core.scores import overconfident

METHODS: tuple[Method, ...] = ("sigmoid", "isotonic", "temperature")


def ece(P: np.ndarray, codes: np.ndarray) -> float:
    return reliability(P, codes).ece or 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_calibration_repairs_over_confidence_on_new_rows(method: Method, n_classes: int) -> None:
    calibration = fit_calibration(method, *overconfident(n_classes=n_classes))
    P, codes = overconfident(n_classes=n_classes, seed=1)
    assert ece(calibration.apply(P), codes) < 0.05 < 0.15 < ece(P, codes)


@pytest.mark.parametrize("method", METHODS)
def test_calibration_without_any_row_changes_nothing(method: Method) -> None:
    none = fit_calibration(method, np.full((3, 3), np.nan), np.arange(3, dtype=np.int32))
    P, _ = overconfident(50)
    assert np.allclose(none.apply(P), P, atol=1e-5)


def test_known_temperature_is_recovered() -> None:
    calibration = fit_calibration("temperature", *overconfident(20_000))
    assert calibration.params[0][0] == pytest.approx(4, rel=0.05)


def unsure(n: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows of two classes and what a model that knows them well, but dares nothing, says."""
    chance = np.random.default_rng(seed)
    codes = (chance.random(n) < 0.5).astype(np.int32)
    evidence = 4.0 * (2 * codes - 1) + chance.normal(0, np.sqrt(8), n)
    return np.round(softmax(np.outer(scale * evidence, [-0.5, 0.5]), axis=1), 6), codes


@pytest.mark.parametrize("scale", [0.3, 0.05, 0.01])
def test_model_that_dares_nothing_is_as_sure_as_it_is_right_after_calibration(scale: float) -> None:
    calibration = fit_calibration("temperature", *unsure(400, scale))
    P, codes = unsure(4000, scale, seed=1)
    assert P.max(axis=1).mean() < 0.8
    assert ece(calibration.apply(P), codes) < 0.03


def test_temperature_changes_no_label() -> None:
    calibration = fit_calibration("temperature", *overconfident(300))
    P, _ = overconfident(500, seed=1)
    assert (calibration.apply(P).argmax(axis=1) == P.argmax(axis=1)).all()


def test_rows_that_are_all_right_keep_their_order() -> None:
    P = np.array([[0.6, 0.4], [0.7, 0.3], [0.8, 0.2]] * 20)
    confidence = fit_calibration("temperature", P, np.zeros(60, dtype=np.int32)).apply(P)[:3, 0]
    assert len(np.unique(np.round(confidence, 6))) == 3


def test_isotonic_is_that_of_sklearn() -> None:
    P, codes = overconfident(400, n_classes=2)
    new, _ = overconfident(200, n_classes=2, seed=1)
    curves = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(P[:, code], codes == code)
        for code in range(2)
    ]
    expected = np.stack([curve.predict(new[:, code]) for code, curve in enumerate(curves)], axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.allclose(fit_calibration("isotonic", P, codes).apply(new), expected)


def test_sigmoid_is_that_of_sklearn() -> None:
    chance = np.random.default_rng(0)
    codes = (np.arange(600) % 2).astype(np.int32)
    X = chance.normal(size=(600, 1)) + codes[:, np.newaxis]
    model = LogisticRegression().fit(3 * X[:100], codes[:100])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid", ensemble=False)
    expected = theirs.fit(X[100:], codes[100:]).predict_proba(X)
    ours = fit_calibration("sigmoid", model.predict_proba(X[100:]), codes[100:])
    assert np.allclose(ours.apply(model.predict_proba(X)), expected, atol=2e-3)


@pytest.mark.parametrize("method", METHODS)
def test_two_classes_keep_their_order(method: Method) -> None:
    calibration = fit_calibration(method, *overconfident(300, n_classes=2))
    p = np.linspace(0, 1, 101)
    calibrated = calibration.apply(np.column_stack([1 - p, p]))[:, 1]
    assert (np.diff(calibrated) >= -1e-6).all()


def test_scores_that_mean_the_opposite_are_not_turned_round() -> None:
    P, codes = overconfident(300, n_classes=2)
    assert all(slope >= 0 for slope, _ in fit_calibration("sigmoid", P, 1 - codes).params)


@pytest.mark.parametrize(
    ("method", "same"),
    [("sigmoid", ((1.0, 0.0),)), ("isotonic", ((0.0, 1.0), (0.0, 1.0)))],
)
def test_class_that_is_in_no_fold_keeps_its_scores(
    method: Method, same: tuple[tuple[float, ...], ...]
) -> None:
    P, codes = overconfident(200)
    known = codes < 2
    assert fit_calibration(method, P[known], codes[known]).params[-len(same) :] == same


def test_class_that_nothing_supports_falls_back_to_the_raw_scores() -> None:
    P = np.array([[0.6, 0.4]] * 20)
    calibration = Calibration("isotonic", ((0.6, 0.7), (0.0, 0.0), (0.3, 0.4), (0.0, 0.0)))
    assert (calibration.apply(P) == P).all()


@pytest.mark.parametrize("method", METHODS)
def test_calibration_of_a_fold_has_not_seen_its_rows(method: Method) -> None:
    P, codes = overconfident(200)
    folds = (np.arange(200) % 4).astype(np.int32)
    found = fit_per_fold(method, P, codes, folds)
    spoiled = np.where(folds == 2, (codes + 1) % 3, codes).astype(np.int32)
    again = fit_per_fold(method, P, spoiled, folds)
    assert [a == b for a, b in zip(found, again, strict=True)] == [False, False, True, False]
    assert found[1] == fit_calibration(method, P[folds != 1], codes[folds != 1])


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_a_score_are_left_out_of_the_fit(method: Method) -> None:
    P, codes = overconfident(200)
    holes = P.copy()
    holes[:20] = np.nan
    assert fit_calibration(method, holes, codes) == fit_calibration(method, P[20:], codes[20:])


def test_reliability_without_rows_says_nothing() -> None:
    found = reliability(np.zeros((0, 2)), np.zeros(0, dtype=np.int32))
    assert found.ece is None
    assert found.confidence == (None,) * 10


def test_certain_and_right_is_perfectly_calibrated() -> None:
    assert reliability(np.array([[0.0, 1.0]] * 5), np.ones(5, dtype=np.int32)).ece == 0.0


def test_rows_without_a_class_have_no_confidence_to_hold_against_the_truth() -> None:
    P = np.array([[0.9, 0.1], [0.0, 0.0], [np.nan, np.nan]])
    assert sum(reliability(P, np.array([0, 0, 0])).n) == 1


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_a_model_abstains_from_say_nothing_of_its_scores(method: Method) -> None:
    P, codes = overconfident(200)
    without = np.zeros((150, P.shape[1]))
    more = fit_calibration(
        method, np.concatenate([P, without]), np.append(codes, np.ones(150, np.int32))
    )
    assert more == fit_calibration(method, P, codes)
