"""Calibration: probabilities that mean what they say, fitted on out-of-fold scores.

A calibrator maps a row of probabilities to another one. Sigmoid and isotonic work class by class
against the rest and are normalized again, as in scikit-learn's ``CalibratedClassifierCV``;
temperature (Guo et al. 2017) changes no label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, softmax
from sklearn.isotonic import IsotonicRegression

from spark_pseudolabel.core.kernel import DECIMALS
from spark_pseudolabel.core.metrics import LOG_LOSS_FLOOR

Method = Literal["none", "sigmoid", "isotonic", "temperature"]

RELIABILITY_BINS = 10
_COLDEST, _HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class Calibrator:
    """A fitted calibration.

    Parameters
    ----------
    method
        How it was fitted.
    params
        Plain numbers: one list per class for ``sigmoid`` (slope, intercept); two for
        ``isotonic`` (scores, calibrated scores); one with one number for ``temperature``.
    """

    method: Method
    params: tuple[tuple[float, ...], ...] = ()

    def apply(self, P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate probabilities of shape (n, n_classes); rounded as scores are."""
        calibrated: NDArray[np.float64] = np.round(_APPLY[self.method](P, self.params), DECIMALS)
        return calibrated

    def to_dict(self) -> dict[str, Any]:
        """Return the form kept in manifests."""
        return {"method": self.method, "params": [list(row) for row in self.params]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibrator:
        """Read what :meth:`to_dict` wrote."""
        return cls(data["method"], tuple(tuple(row) for row in data["params"]))


def fit_calibrator(method: Method, P: NDArray[np.float64], codes: NDArray[np.int32]) -> Calibrator:
    """Fit a calibrator.

    Parameters
    ----------
    method
        ``"none"`` leaves scores as they are.
    P
        ndarray of shape (n, n_classes): probabilities given by models that have not seen the
        rows. A certificate needs other rows, or the raw scores.
    codes
        ndarray of shape (n,), the true class indices.
    """
    return Calibrator(method, _FIT[method](P, codes))


@dataclass(frozen=True)
class Reliability:
    """Confidence against the share of right labels.

    Parameters
    ----------
    n, confidence, accuracy
        Per bin of equal width over [0, 1]: rows, their mean confidence and share of right
        labels; None where a bin is empty.
    ece
        Expected calibration error: the mean distance of the two, weighted by rows; None without
        rows.
    """

    n: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    ece: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the form kept in manifests and reports."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def reliability(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = RELIABILITY_BINS
) -> Reliability:
    """Hold confidences of rows with true labels against the truth.

    Examples
    --------
    >>> found = reliability(np.array([0.95, 0.95, 0.55]), np.array([True, False, True]), bins=2)
    >>> found.n, round(found.ece, 3)
    ((0, 3), 0.15)
    """
    bin_ = np.minimum((confidence * bins).astype(int), bins - 1)
    n = np.bincount(bin_, minlength=bins)
    said = np.bincount(bin_, weights=confidence, minlength=bins)
    was = np.bincount(bin_, weights=right, minlength=bins)
    return Reliability(
        n=tuple(int(count) for count in n),
        confidence=_means(said, n),
        accuracy=_means(was, n),
        ece=float(np.abs(said - was).sum() / n.sum()) if n.sum() else None,
    )


Params = tuple[tuple[float, ...], ...]


def _means(total: NDArray[Any], n: NDArray[Any]) -> tuple[float | None, ...]:
    return tuple(float(t / count) if count else None for t, count in zip(total, n, strict=True))


def _fit_nothing(P: NDArray[np.float64], codes: NDArray[np.int32]) -> Params:
    return ()


def _fit_temperature(P: NDArray[np.float64], codes: NDArray[np.int32]) -> Params:
    logits = _log(P)
    rows = np.arange(len(codes))

    def loss(log_temperature: float) -> float:
        scaled = softmax(logits / np.exp(log_temperature), axis=1)[rows, codes]
        return float(-np.log(np.maximum(scaled, LOG_LOSS_FLOOR)).sum())

    bounds = (float(np.log(_COLDEST)), float(np.log(_HOTTEST)))
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    return ((float(np.exp(found.x)),),)


def _fit_sigmoid(P: NDArray[np.float64], codes: NDArray[np.int32]) -> Params:
    return tuple(_platt(_logit(P[:, code]), codes == code) for code in range(P.shape[1]))


def _platt(score: NDArray[np.float64], is_class: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit slope and intercept to the smoothed targets of Platt (1999), section 2.2."""
    positive, negative = int(is_class.sum()), int((~is_class).sum())
    target = np.where(is_class, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(ab: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = ab[0] * score + ab[1]
        error = expit(z) - target
        value = float((np.logaddexp(0.0, z) - target * z).sum())
        return value, np.array([(error * score).sum(), error.sum()])

    # A falling sigmoid would turn the order of the scores round.
    found = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]
    )
    return float(found.x[0]), float(found.x[1])


def _fit_isotonic(P: NDArray[np.float64], codes: NDArray[np.int32]) -> Params:
    params: list[tuple[float, ...]] = []
    for code in range(P.shape[1]):
        curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        curve.fit(P[:, code], codes == code)
        params += [
            tuple(float(v) for v in curve.X_thresholds_),
            tuple(float(v) for v in curve.y_thresholds_),
        ]
    return tuple(params)


def _apply_nothing(P: NDArray[np.float64], params: Params) -> NDArray[np.float64]:
    return P


def _apply_temperature(P: NDArray[np.float64], params: Params) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = softmax(_log(P) / params[0][0], axis=1)
    return scaled


def _apply_sigmoid(P: NDArray[np.float64], params: Params) -> NDArray[np.float64]:
    scores = [expit(a * _logit(P[:, code]) + b) for code, (a, b) in enumerate(params)]
    return _normalized(np.stack(scores, axis=1), P)


def _apply_isotonic(P: NDArray[np.float64], params: Params) -> NDArray[np.float64]:
    scores = [
        np.interp(P[:, code], params[2 * code], params[2 * code + 1]) for code in range(P.shape[1])
    ]
    return _normalized(np.stack(scores, axis=1), P)


def _normalized(scores: NDArray[np.float64], P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make rows sum to 1; a row of zeros goes back to what it was."""
    total = scores.sum(axis=1, keepdims=True)
    return np.where(total > 0, scores / np.where(total > 0, total, 1.0), P)


def _log(P: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithms: NDArray[np.float64] = np.log(np.maximum(P, LOG_LOSS_FLOOR))
    return logarithms


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return _log(p) - _log(1.0 - p)


_FIT: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.int32]], Params]] = {
    "none": _fit_nothing,
    "sigmoid": _fit_sigmoid,
    "isotonic": _fit_isotonic,
    "temperature": _fit_temperature,
}
_APPLY: Mapping[str, Callable[[NDArray[np.float64], Params], NDArray[np.float64]]] = {
    "none": _apply_nothing,
    "sigmoid": _apply_sigmoid,
    "isotonic": _apply_isotonic,
    "temperature": _apply_temperature,
}
