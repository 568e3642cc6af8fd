"""What happens to a model's probabilities before they are used: calibration, then the pool's prior.

Plain numbers that are in a model's manifest. The same arithmetic in workers and on the driver;
how they are found is in :mod:`spark_pseudolabel.core.trust.calibration` and
:mod:`spark_pseudolabel.core.trust.priors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.trust.priors import correct

Method = Literal["sigmoid", "isotonic", "temperature"]
PriorSource = Literal["given", "estimated"]
Params = tuple[tuple[float, ...], ...]

FLOOR = 5e-7
"""What a probability that is rounded to zero counts as in a logarithm: half of the last decimal."""


@dataclass(frozen=True)
class Calibration:
    """A fitted map from probabilities to ones that mean what they say.

    Parameters
    ----------
    method
        ``"temperature"`` divides the logarithms by one number (Guo et al. 2017); the others work
        class by class against the rest and are normalized again.
    params
        ``temperature``: one list with one number. ``sigmoid``: slope and intercept for each class,
        on the logit. ``isotonic``: two lists for each class, scores ascending and what they become.
    """

    method: Method
    params: Params

    def apply(self, P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate probabilities of shape (n, n_classes); a row of NaN stays one."""
        return _APPLY[self.method](P, self.params)


@dataclass(frozen=True)
class PriorCorrection:
    """From the class shares that a model has learned from to those of the rows that it scores.

    Parameters
    ----------
    learned
        Share of each class among the rows that it was trained on, each with its weight.
    prior
        Share of each class in the pool.
    source
        Whether the prior was given or estimated.
    """

    learned: tuple[float, ...]
    prior: tuple[float, ...]
    source: PriorSource

    def apply(self, P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Correct probabilities of shape (n, n_classes)."""
        return correct(P, np.array(self.learned), np.array(self.prior))


@dataclass(frozen=True)
class Adjustment:
    """All that happens to the probabilities of one model; at least one of the two."""

    calibration: Calibration | None = None
    prior: PriorCorrection | None = None

    def apply(self, P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Adjust probabilities.

        Parameters
        ----------
        P
            ndarray of shape (n, n_classes), rounded as scores are: what lies beyond the last
            decimal depends on the batch and may decide nothing.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Not rounded; NaN where a row holds a number that is not finite, and 0 for each class
            where a model abstains, which is no score.
        """
        finite = np.isfinite(P).all(axis=1, keepdims=True)
        adjusted: NDArray[np.float64] = np.where(finite, P, np.nan)
        if self.calibration is not None:
            adjusted = self.calibration.apply(adjusted)
        if self.prior is not None:
            adjusted = self.prior.apply(adjusted)
        adjusted[~P.any(axis=1)] = 0.0
        return adjusted

    @classmethod
    def of(
        cls, calibration: Calibration | None, prior: PriorCorrection | None
    ) -> Adjustment | None:
        """Put the parts together; None where there is none."""
        return None if calibration is None and prior is None else cls(calibration, prior)


def logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log odds, finite at 0 and 1."""
    odds: NDArray[np.float64] = _log(p) - _log(1.0 - p)
    return odds


def _log(p: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithms: NDArray[np.float64] = np.log(np.maximum(p, FLOOR))
    return logarithms


def _temperature(P: NDArray[np.float64], params: Params) -> NDArray[np.float64]:
    from scipy.special import softmax  # who only reads manifests need not wait for it

    scaled: NDArray[np.float64] = softmax(_log(P) / params[0][0], axis=1)
    return scaled


def _sigmoid(P: NDArray[np.float64], params: Params) -> NDArray[np.float64]:
    from scipy.special import expit

    slopes, intercepts = np.array(params).T
    return _normalized(expit(slopes * logit(P) + intercepts), P)


def _isotonic(P: NDArray[np.float64], params: Params) -> NDArray[np.float64]:
    curves = zip(P.T, params[::2], params[1::2], strict=True)
    return _normalized(np.stack([np.interp(*curve) for curve in curves], axis=1), P)


def _normalized(scores: NDArray[np.float64], P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make rows sum to 1; a row of zeros goes back to what it was."""
    total = scores.sum(axis=1, keepdims=True)
    return np.where(total > 0, scores / np.where(total > 0, total, 1.0), P)


_APPLY: Mapping[Method, Callable[[NDArray[np.float64], Params], NDArray[np.float64]]] = {
    "temperature": _temperature,
    "sigmoid": _sigmoid,
    "isotonic": _isotonic,
}
