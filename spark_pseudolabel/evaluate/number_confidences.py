"""Ways to say how sure a number is, of which one is kept; compared in docs/numbers.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression

from spark_pseudolabel.core.teachers.number_errors import error_size
from spark_pseudolabel.core.teachers.number_model import NumberModel
from spark_pseudolabel.core.teachers.numbers import NumberCrossFit
from spark_pseudolabel.evaluate.number_task import NumberDraw

Vector = NDArray[np.float64]

_QUANTILES = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Said:
    """Confidences of labeled rows, by what has not seen their fold, and of the pool.

    Parameters
    ----------
    labeled, pool
        ndarrays of shape (n_labeled,) and (n_pool,).
    away
        ndarray of shape (n_pool,): half the width of the interval; None: there is none.
    """

    labeled: Vector
    pool: Vector
    away: Vector | None = None


@dataclass(frozen=True)
class Known:
    """What there is to tell how sure a number is.

    Parameters
    ----------
    value, spread, errors
        ndarrays of shape (n_labeled,): what is said of labeled rows by models that have not seen
        them, how far their parts are apart, and how far it is from the truth.
    pool_value, pool_spread
        The same of the pool.
    seen, pool_seen
        ndarrays of shape (n, n_columns): the row itself, what is said and the spread.
    folds
        ndarray of shape (n_labeled,).
    reach
        The tolerance.
    """

    value: Vector
    spread: Vector
    errors: Vector
    pool_value: Vector
    pool_spread: Vector
    seen: Vector
    pool_seen: Vector
    folds: NDArray[np.int32]
    reach: float


def known_of(fitted: NumberCrossFit, draw: NumberDraw) -> Known:
    """Collect it; columns of words are left out."""
    value, spread = np.empty(len(draw.y)), np.empty(len(draw.y))
    for fold, model in enumerate(fitted.unseen):
        assert isinstance(model, NumberModel)
        inside = draw.folds == fold
        value[inside], spread[inside] = model.middle(draw.labeled.X[inside])
    whole = fitted.mean_model(())
    pool = whole.middle(draw.pool)
    numbers = [X.select_dtypes("float64").to_numpy() for X in (draw.labeled.X, draw.pool)]
    return Known(
        value=value,
        spread=spread,
        errors=np.abs(draw.y - value),
        pool_value=pool[0],
        pool_spread=pool[1],
        seen=np.column_stack([numbers[0], value, spread]),
        pool_seen=np.column_stack([numbers[1], *pool]),
        folds=draw.folds,
        reach=draw.task.tolerance + 0.5 * draw.task.integer,
    )


Confidence = Callable[[Vector, Vector, Vector], Vector]
"""From what is seen of rows, their errors, and what is seen of other rows to confidences."""


def _apart(known: Known, confidence: Confidence) -> Said:
    labeled = np.empty(len(known.errors))
    for fold in np.unique(known.folds):
        inside = known.folds == fold
        labeled[inside] = confidence(known.seen[~inside], known.errors[~inside], known.seen[inside])
    return Said(labeled, confidence(known.seen, known.errors, known.pool_seen))


def isotonic_of_spread(known: Known, interval: float) -> Said:
    """Return the share of right labels as a falling function of the spread."""

    def confidence(seen: Vector, errors: Vector, of: Vector) -> Vector:
        curve = IsotonicRegression(y_min=0, y_max=1, increasing=False, out_of_bounds="clip")
        shares: Vector = curve.fit(seen[:, -1], errors <= known.reach).predict(of[:, -1])
        return shares

    return _apart(known, confidence)


def quantiles(known: Known, interval: float) -> Said:
    """Return at which quantile of the errors the tolerance lies, by boosted quantile regressors."""

    def bounds(seen: Vector, errors: Vector, of: Vector) -> Vector:
        each = [
            HistGradientBoostingRegressor(
                loss="quantile",
                quantile=level,
                max_iter=30,
                max_leaf_nodes=8,
                min_samples_leaf=10,
                early_stopping=False,
                random_state=0,
            )
            .fit(seen, errors)
            .predict(of)
            for level in _QUANTILES
        ]
        return np.sort(np.maximum(each, 0.0), axis=0)

    def confidence(seen: Vector, errors: Vector, of: Vector) -> Vector:
        levels, found = np.array([0.0, *_QUANTILES, 1.0]), bounds(seen, errors, of)
        rows = np.vstack([np.zeros(len(of)), found, 2 * found[-1] + 1e-9]).T
        return np.array([np.interp(known.reach, row, levels) for row in rows])

    said = _apart(known, confidence)
    # Conformalized (Romano et al. 2019): what the quantile misses, by rows of other folds.
    last = np.empty(len(known.errors))
    for fold in np.unique(known.folds):
        inside = known.folds == fold
        last[inside] = bounds(known.seen[~inside], known.errors[~inside], known.seen[inside])[-1]
    rank = min(int(np.ceil(interval * (len(last) + 1))), len(last)) - 1
    missed = np.sort(known.errors - last)[rank]
    widest = bounds(known.seen, known.errors, known.pool_seen)[-1]
    return Said(said.labeled, said.pool, np.maximum(widest + missed, 0.0))


def scaled_by_spread(known: Known, interval: float) -> Said:
    """Return what is kept, of a size of errors that depends on the spread alone."""
    return _scaled(known, interval, [-1])


def scaled_by_row(known: Known, interval: float) -> Said:
    """Return what is kept, of a size of errors that does not depend on the spread."""
    return _scaled(known, interval, list(range(known.seen.shape[1] - 1)))


def not_shrunk(known: Known, interval: float) -> Said:
    """Return what is kept, of trees that are believed wholly, and errors of other folds alone."""
    return _scaled(known, interval, list(range(known.seen.shape[1])))


def same_everywhere(known: Known, interval: float) -> Said:
    """Return one confidence for all, and the interval of CV+ for rows that are all alike."""
    share = float((known.errors <= known.reach).mean())
    rank = min(int(np.ceil(interval * (len(known.errors) + 1))), len(known.errors)) - 1
    n = len(known.pool_value)
    away = np.full(n, np.sort(known.errors)[rank])
    return Said(np.full(len(known.errors), share), np.full(n, share), away)


def _scaled(known: Known, interval: float, columns: list[int]) -> Said:
    seen, pool_seen = known.seen[:, columns], known.pool_seen[:, columns]
    scaled, size = np.empty(len(known.errors)), np.empty(len(known.errors))
    for fold in np.unique(known.folds):
        inside = known.folds == fold
        of_others = error_size(seen[~inside], known.errors[~inside], 1.0, 0)
        size[inside] = of_others.of(seen[inside])
    scaled = known.errors / size

    def below(errors: Vector, at: Vector) -> Vector:
        ordered = np.concatenate([[0.0], np.sort(errors), [errors.max() * 1.5 + 1e-12]])
        shares: Vector = np.interp(at, ordered, np.arange(len(errors) + 2) / (len(errors) + 1))
        return shares

    labeled = np.empty(len(scaled))
    for fold in np.unique(known.folds):
        inside = known.folds == fold
        labeled[inside] = below(scaled[~inside], known.reach / size[inside])
    pool_size = error_size(seen, known.errors, 1.0, 0).of(pool_seen)
    rank = min(int(np.ceil(interval * (len(scaled) + 1))), len(scaled)) - 1
    away = np.sort(scaled)[rank] * pool_size
    return Said(labeled, below(scaled, known.reach / pool_size), away)


OTHERS: Mapping[str, Callable[[Known, float], Said]] = {
    "same everywhere": same_everywhere,
    "not shrunk": not_shrunk,
    "isotonic of spread": isotonic_of_spread,
    "scaled by spread": scaled_by_spread,
    "scaled by row": scaled_by_row,
    "quantiles": quantiles,
}
"""Those that are not kept, by name."""

FEW = ("same everywhere", "not shrunk")
"""Those that what is kept stands between."""
