from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import softmax

from spark_pseudolabel.core.calibration import (
    Calibrator,
    Method,
    fit_calibrator,
    reliability,
)

METHODS: tuple[Method, ...] = ("none", "sigmoid", "isotonic", "temperature")


def overconfident(
    n: int = 3000, n_classes: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities that are those of the truth at a quarter of its temperature."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(n, n_classes))
    true = softmax(logits, axis=1)
    codes = (chance.random((n, 1)) > true.cumsum(axis=1)).sum(axis=1).astype(np.int32)
    return np.round(softmax(4 * logits, axis=1), 6), codes


def ece(P: np.ndarray, codes: np.ndarray) -> float:
    return reliability(P.max(axis=1), P.argmax(axis=1) == codes).ece or 0.0


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_calibration_repairs_over_confidence_on_new_rows(method: Method, n_classes: int) -> None:
    calibrator = fit_calibrator(method, *overconfident(n_classes=n_classes))
    P, codes = overconfident(n_classes=n_classes, seed=1)
    assert ece(calibrator.apply(P), codes) < 0.05 < 0.15 < ece(P, codes)


@pytest.mark.parametrize("method", METHODS)
def test_rows_stay_probabilities(method: Method) -> None:
    P = fit_calibrator(method, *overconfident(200)).apply(overconfident(50, seed=1)[0])
    assert np.allclose(P.sum(axis=1), 1.0, atol=1e-5)
    assert ((P >= 0) & (P <= 1)).all()


@pytest.mark.parametrize("method", METHODS)
def test_two_classes_keep_their_order(method: Method) -> None:
    calibrator = fit_calibrator(method, *overconfident(300, n_classes=2))
    p = np.linspace(0, 1, 101)
    calibrated = calibrator.apply(np.column_stack([1 - p, p]))[:, 1]
    assert (np.diff(calibrated) >= -1e-6).all()


def test_temperature_changes_no_label() -> None:
    calibrator = fit_calibrator("temperature", *overconfident(300))
    P, _ = overconfident(500, seed=1)
    assert calibrator.params[0][0] == pytest.approx(4, rel=0.3)
    clear = np.sort(P, axis=1)[:, -1] - np.sort(P, axis=1)[:, -2] > 1e-3
    assert (calibrator.apply(P).argmax(axis=1) == P.argmax(axis=1))[clear].all()


def test_scores_that_mean_the_opposite_are_not_turned_round() -> None:
    P, codes = overconfident(300, n_classes=2)
    assert all(slope >= 0 for slope, _ in fit_calibrator("sigmoid", P, 1 - codes).params)


@pytest.mark.parametrize("method", METHODS)
def test_calibrator_survives_the_manifest(method: Method) -> None:
    calibrator = fit_calibrator(method, *overconfident(100))
    assert Calibrator.from_dict(json.loads(json.dumps(calibrator.to_dict()))) == calibrator


def test_class_that_nothing_supports_falls_back_to_the_raw_scores() -> None:
    P = np.array([[0.6, 0.4]] * 20)
    calibrator = Calibrator("isotonic", ((0.6, 0.7), (0.0, 0.0), (0.3, 0.4), (0.0, 0.0)))
    assert (calibrator.apply(P) == P).all()


def test_reliability_without_rows_says_nothing() -> None:
    found = reliability(np.array([]), np.array([], dtype=bool))
    assert found.ece is None
    assert found.confidence == (None,) * 10


def test_certain_and_right_is_perfectly_calibrated() -> None:
    assert reliability(np.ones(5), np.ones(5, dtype=bool)).ece == 0.0
