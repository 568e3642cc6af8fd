from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.adjustment import Adjustment, Calibration, Method, PriorCorrection
from spark_pseudolabel.core.trust.calibration import fit_calibration
from tests.core.scores import overconfident

METHODS: tuple[Method, ...] = ("sigmoid", "isotonic", "temperature")


@pytest.mark.parametrize("method", METHODS)
def test_rows_stay_probabilities(method: Method) -> None:
    edge = np.array([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    P = fit_calibration(method, *overconfident(200)).apply(
        np.vstack([overconfident(50, seed=1)[0], edge])
    )
    assert np.allclose(P.sum(axis=1), 1.0)
    assert ((P >= 0) & (P <= 1)).all()


def test_prior_is_corrected_after_calibration() -> None:
    prior = PriorCorrection((0.5, 0.5), (0.9, 0.1), "given")
    calibration = Calibration("temperature", ((2.0,),))
    P = np.array([[0.2, 0.8]])
    halved = np.sqrt(P) * [0.9, 0.1]
    expected = halved / halved.sum()
    assert Adjustment(calibration, prior).apply(P) == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_row_that_is_not_finite_stays_without_a_score(method: Method) -> None:
    adjustment = Adjustment(fit_calibration(method, *overconfident(100, n_classes=2)))
    found = adjustment.apply(np.array([[0.5, 0.5], [np.inf, 0.0], [np.nan, 1.0]]))
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, False]


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_abstains_still_does_after_it(method: Method) -> None:
    P, codes = overconfident(100, n_classes=2)
    prior = PriorCorrection((0.5, 0.5), (0.9, 0.1), "given")
    adjustment = Adjustment(fit_calibration(method, P, codes), prior)
    found = adjustment.apply(np.array([[0.0, 0.0], [0.0, 1.0]]))
    assert not found[0].any()
    assert found[1].sum() == pytest.approx(1.0)
