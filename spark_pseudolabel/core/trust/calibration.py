"""Calibration on out-of-fold scores, and how well a confidence tells the share of right labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from spark_pseudolabel.core.adjustment import Calibration, Method, Params, logit
from spark_pseudolabel.core.facts import Reliability
from spark_pseudolabel.core.trust.guard import log_losses
from spark_pseudolabel.core.trust.metrics import LOG_LOSS_FLOOR
from spark_pseudolabel.core.trust.priors import estimate_prior, shares

RELIABILITY_BINS = 10

ROWS_OF_CURVE, ROWS_OF_SCALE = 20, 5
"""Labeled rows of each class from which on isotonic curves, and one scale, of scores that have none
make confidences better (docs/teachers.md)."""

# No bound that a fit should reach: a linear model of few texts is right nine times in ten and says
# 0.52, which takes a temperature of 0.04.
_COLDEST, _HOTTEST = 1e-3, 20.0


def calibration_of(rows_by_class: Sequence[int]) -> Method | None:
    """Return how scores that have no scale are calibrated, unless a configuration says how.

    Parameters
    ----------
    rows_by_class
        Labeled rows of each class.

    Returns
    -------
    Method or None
        ``isotonic`` where every class has :data:`ROWS_OF_CURVE` rows, ``temperature``, which is one
        number, where it has :data:`ROWS_OF_SCALE`; else None.

    Examples
    --------
    >>> [calibration_of([n, 90]) for n in (4, 5, 19, 20)]
    [None, 'temperature', 'temperature', 'isotonic']
    """
    fewest = min(rows_by_class, default=0)
    if fewest >= ROWS_OF_CURVE:
        return "isotonic"
    return "temperature" if fewest >= ROWS_OF_SCALE else None


def fit_calibration(
    method: Method, P: NDArray[np.float64], codes: NDArray[np.int32]
) -> Calibration:
    """Fit a calibration.

    Parameters
    ----------
    method
        One of ``temperature``, ``sigmoid``, ``isotonic``.
    P
        ndarray of shape (n, n_classes): rounded probabilities given by models that have not seen
        the rows; rows of NaN are left out, and so are those that a model abstained from, of 0.
    codes
        ndarray of shape (n,), the true class indices.
    """
    known = np.isfinite(P).all(axis=1) & P.any(axis=1)
    return Calibration(method, _FIT[method](P[known], codes[known]))


def fit_per_fold(
    method: Method, P: NDArray[np.float64], codes: NDArray[np.int32], folds: NDArray[np.int32]
) -> tuple[Calibration, ...]:
    """Fit, for each fold, a calibration on the rows of all other folds.

    A calibration that has seen a row tells nothing of how it treats rows that it has not seen.

    Parameters
    ----------
    method, P, codes
        As :func:`fit_calibration`.
    folds
        ndarray of shape (n,), from :func:`spark_pseudolabel.core.teachers.cross_fitting.fold_of`.
    """
    n_folds = int(folds.max(initial=-1)) + 1
    others = [folds != fold for fold in range(n_folds)]
    return tuple(
        fit_calibration(method, P[in_other_folds], codes[in_other_folds])
        for in_other_folds in others
    )


def pool_prior(
    labeled: NDArray[np.float64], codes: NDArray[np.int32], pool: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Estimate the pool's class shares where the labels are a class-balanced sample.

    An overconfident model counts too many rows for the classes that it sees most of, so scores are
    calibrated first. What is found on labeled rows holds for rows that are scored in the same way.

    Parameters
    ----------
    labeled
        ndarray of shape (n, n_classes): scores of labeled rows by models that have not seen them;
        rows of NaN are left out.
    codes
        ndarray of shape (n,): their true class indices; every class is there.
    pool
        ndarray of shape (m, n_classes): from
        :meth:`spark_pseudolabel.core.teachers.cross_fitting.CrossFit.score_apart`.

    Returns
    -------
    ndarray of shape (n_classes,)
        The labeled rows' own shares where there is no row of the pool.
    """
    learned = shares(codes, labeled.shape[1])
    if not len(pool):
        return learned
    return estimate_prior(fit_calibration("temperature", labeled, codes).apply(pool), learned)


def reliability(
    P: NDArray[np.float64], codes: NDArray[np.int32], bins: int = RELIABILITY_BINS
) -> Reliability:
    """Hold confidences of rows with true labels against the truth.

    Parameters
    ----------
    P
        ndarray of shape (n, n_classes); rows of NaN are left out, and so are those that a model
        abstained from, of 0.
    codes
        ndarray of shape (n,), the true class indices.
    bins
        How many.

    Examples
    --------
    >>> P = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45]])
    >>> found = reliability(P, np.array([0, 1, 0]), bins=2)
    >>> found.n, round(found.ece, 3)
    ((0, 3), 0.15)
    """
    known = np.isfinite(P).all(axis=1) & P.any(axis=1)
    P, codes = P[known], codes[known]
    confidence, right = P.max(axis=1, initial=0.0), P.argmax(axis=1) == codes
    bin_ = np.minimum((confidence * bins).astype(int), bins - 1)
    n = np.bincount(bin_, minlength=bins)
    stated = np.bincount(bin_, weights=confidence, minlength=bins)
    observed = np.bincount(bin_, weights=right, minlength=bins)
    return Reliability(
        n=tuple(int(count) for count in n),
        confidence=_means(stated, n),
        accuracy=_means(observed, n),
        ece=float(np.abs(stated - observed).sum() / n.sum()) if n.sum() else None,
    )


def _means(total: NDArray[Any], n: NDArray[Any]) -> tuple[float | None, ...]:
    return tuple(float(t / count) if count else None for t, count in zip(total, n, strict=True))


def _fit_temperature(P: NDArray[np.float64], codes: NDArray[np.int32]) -> Params:
    """Fit as if there were a further row that may be of any class.

    Scores that are all right would otherwise have the coldest temperature there is, and lose their
    order to rounding; Platt (1999), section 2.2, smooths the targets of the sigmoid for that.
    """
    if not len(codes):
        return ((1.0,),)
    unknown = 1 / (len(codes) + 1)

    def loss(log_temperature: float) -> float:
        tried = Calibration("temperature", ((float(np.exp(log_temperature)),),)).apply(P)
        of_any = -np.log(np.maximum(tried, LOG_LOSS_FLOOR)).mean()
        return float((1 - unknown) * log_losses(tried, codes).mean() + unknown * of_any)

    bounds = (float(np.log(_COLDEST)), float(np.log(_HOTTEST)))
    solution = minimize_scalar(loss, bounds=bounds, method="bounded")
    return ((float(np.exp(solution.x)),),)


def _fit_sigmoid(P: NDArray[np.float64], codes: NDArray[np.int32]) -> Params:
    return tuple(_platt(logit(P[:, code]), codes == code) for code in range(P.shape[1]))


def _platt(score: NDArray[np.float64], is_class: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit slope and intercept to the smoothed targets of Platt (1999), section 2.2."""
    positive, negative = int(is_class.sum()), int((~is_class).sum())
    if not positive:
        return 1.0, 0.0  # a class whose only row is in no fold: nothing is known of its scores
    target = np.where(is_class, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(ab: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = ab[0] * score + ab[1]
        error = expit(z) - target
        value = float((np.logaddexp(0.0, z) - target * z).sum())
        return value, np.array([(error * score).sum(), error.sum()])

    # A falling sigmoid would turn the order of the scores round.
    solution = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]
    )
    return float(solution.x[0]), float(solution.x[1])


def _fit_isotonic(P: NDArray[np.float64], codes: NDArray[np.int32]) -> Params:
    params: list[tuple[float, ...]] = []
    for code in range(P.shape[1]):
        params += _steps(P[:, code], codes == code)
    return tuple(params)


def _steps(score: NDArray[np.float64], is_class: NDArray[np.bool_]) -> Params:
    if not is_class.any():
        return (0.0, 1.0), (0.0, 1.0)  # as with the sigmoid
    curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, is_class)
    return tuple(tuple(map(float, v)) for v in (curve.X_thresholds_, curve.y_thresholds_))


_FIT: Mapping[Method, Callable[[NDArray[np.float64], NDArray[np.int32]], Params]] = {
    "temperature": _fit_temperature,
    "sigmoid": _fit_sigmoid,
    "isotonic": _fit_isotonic,
}
