"""How large the errors of a model of numbers are, and where: learned from rows it has not seen.

What a model is wrong by depends on the row: labels are noisier in some places than in others, and
where its parts disagree something is not known. A few shallow trees learn the mean absolute error
from the row, the number and the parts' spread; the errors divided by it are alike everywhere, so
that their distribution says how probable an error below the tolerance is (locally weighted
residuals: Papadopoulos et al. 2008, Lei et al. 2018). Where errors are alike anyway, trees only
add noise, and one size is expected of all rows. docs/numbers.md has what was compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from spark_pseudolabel.core.teachers.number_model import mean_of_trees

FEWEST_ROWS = 20
"""Of fewer errors nothing is learned but their size."""

TREES = 10
_LEAVES, _ROWS_OF_LEAF = 16, 5
_LEAST = 0.2
"""Of the median error: no error is expected to be smaller, so that no row is taken for certain."""

SHARES = (0.25, 0.5, 0.75, 1.0)
"""What trees may have to say beside the size that is the same everywhere."""

_SURELY = 1.645
"""Trees are used if their gain is so many of its standard errors: surely, at the level 0.05."""


@dataclass(frozen=True)
class ErrorSize:
    """What size of error is expected of a row, beside the mean one.

    Parameters
    ----------
    trees
        Fitted; None: the same everywhere.
    floor
        The least that is expected, above 0.
    """

    trees: ExtraTreesRegressor | None
    floor: float

    def of(self, Z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the size for rows of shape (n, n_columns)."""
        if self.trees is None:
            return np.full(len(Z), self.floor)
        expected: NDArray[np.float64] = np.maximum(mean_of_trees(self.trees, Z), self.floor)
        return expected


@dataclass(frozen=True)
class Sizes:
    """What is learned of errors, of all and without each fold.

    Parameters
    ----------
    scaled
        ndarray of shape (n,): the errors, each divided by what rows of other folds lead to expect.
    whole
        What all of them lead to expect.
    without
        What the other folds lead to expect, by fold.
    """

    scaled: NDArray[np.float64]
    whole: ErrorSize
    without: Mapping[int, ErrorSize]


def error_size(
    Z: NDArray[np.floating],
    errors: NDArray[np.float64],
    sd: float,
    random_state: int,
    share: float = 1.0,
) -> ErrorSize:
    """Learn the size of errors, in units of their mean.

    Parameters
    ----------
    Z
        ndarray of shape (n, n_columns), from :func:`~.number_model.scale_input`.
    errors
        ndarray of shape (n,): absolute errors of models that have not seen the rows.
    sd
        Standard deviation of the labels: what is expected without any error to learn from.
    random_state
        Seed of the trees.
    share
        What the trees have to say, in [0, 1]; the rest is the same everywhere.

    Returns
    -------
    ErrorSize
        Around 1, relative to the mean error; where there is no error to learn from, `sd` itself.
    """
    if not len(errors):
        return ErrorSize(None, sd)
    mean = float(errors.mean())
    if len(errors) < FEWEST_ROWS or not mean or not share:
        return ErrorSize(None, 1.0)
    trees = ExtraTreesRegressor(
        TREES,
        min_samples_leaf=_ROWS_OF_LEAF,
        max_leaf_nodes=_LEAVES,
        random_state=random_state,
    )
    floor = (1 - share) + share * max(_LEAST * float(np.median(errors)) / mean, 1e-9)
    return ErrorSize(trees.fit(Z, (1 - share) + share * errors / mean), floor)


def learn_sizes(
    Z: NDArray[np.floating],
    errors: NDArray[np.float64],
    folds: NDArray[np.int32],
    sd: float,
    random_state: int,
) -> Sizes:
    """Learn the size of errors of all rows, and without each fold.

    What the trees have to say of rows of a fold is settled without its errors: by trees that have
    seen neither the fold nor another one, on the rows of the other one.

    Parameters
    ----------
    Z, errors, sd, random_state
        As in :func:`error_size`.
    folds
        ndarray of shape (n,).
    """
    present: list[int] = np.unique(folds).tolist()
    fits: dict[frozenset[int], ErrorSize] = {}

    def expected(*left_out: int) -> NDArray[np.float64]:
        """Return what is expected of the last fold's rows without any of the folds."""
        key = frozenset(left_out)
        if key not in fits:
            seen = ~np.isin(folds, left_out)
            fits[key] = error_size(Z[seen], errors[seen], sd, random_state)
        return fits[key].of(Z[folds == left_out[-1]])

    def learned(*left_out: int) -> ErrorSize:
        others = [fold for fold in present if fold not in left_out]
        share = 1.0
        if len(present) > 2:
            sizes = np.concatenate([expected(*left_out, fold) for fold in others])
            share = tree_share(np.concatenate([errors[folds == fold] for fold in others]), sizes)
        seen = np.isin(folds, others)
        return error_size(Z[seen], errors[seen], sd, random_state, share)

    without = {fold: learned(fold) for fold in present}
    scaled = np.empty(len(errors))
    for fold, size in without.items():
        scaled[folds == fold] = errors[folds == fold] / size.of(Z[folds == fold])
    return Sizes(scaled, learned(), without)


def tree_share(errors: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """Say how far trees are to be believed that tell where errors are larger.

    By the likelihood of an error with a double exponential distribution, whose scale is estimated
    by the mean absolute error; its unit is left open, and fitted.

    Parameters
    ----------
    errors
        ndarray of shape (n,): absolute errors.
    sizes
        ndarray of shape (n,): what trees that have not seen them expect, around 1.

    Returns
    -------
    float
        0 if no share of :data:`SHARES` is surely better than 0, else the best one.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> sizes, noise = draw.choice([0.5, 1.5], 200), np.abs(draw.normal(size=200))
    >>> tree_share(noise, sizes), tree_share(noise * sizes, sizes)
    (0.0, 1.0)
    """
    if not errors.any():
        return 0.0
    same = _losses(errors, np.ones(len(errors)))
    losses = {share: _losses(errors, 1 - share + share * sizes) for share in SHARES}
    best = min(losses, key=lambda share: float(losses[share].mean()))
    gain = same - losses[best]
    surely = gain.mean() > _SURELY * gain.std() / np.sqrt(len(gain))
    return best if surely else 0.0


def _losses(errors: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled = errors / sizes
    unit = scaled.mean()
    losses: NDArray[np.float64] = np.log(unit * sizes) + scaled / unit
    return losses
