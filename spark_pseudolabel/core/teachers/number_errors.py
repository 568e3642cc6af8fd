"""How large the errors of a model of numbers are, and where: learned from rows it has not seen.

What a model is wrong by depends on the row: labels are noisier in some places than in others, and
where its parts disagree something is not known. A few shallow trees learn the mean absolute error
from the row, the number and the parts' spread; the errors divided by it are alike everywhere, so
that their distribution says how probable an error below the tolerance is (locally weighted
residuals: Papadopoulos et al. 2008, Lei et al. 2018). docs/regression.md has what was compared.
"""

from __future__ import annotations

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

_NONE = 1e-9
"""Of the labels' standard deviation: the size of error of a model that made none."""


@dataclass(frozen=True)
class ErrorSize:
    """What size of error is expected of a row.

    Parameters
    ----------
    trees
        Fitted; None: the same everywhere.
    floor
        The least that is expected, above 0.
    """

    trees: ExtraTreesRegressor | None
    floor: float

    def of(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the size for rows of shape (n, n_columns)."""
        if self.trees is None:
            return np.full(len(Z), self.floor)
        expected: NDArray[np.float64] = np.maximum(mean_of_trees(self.trees, Z), self.floor)
        return expected


def error_size(
    Z: NDArray[np.float64], errors: NDArray[np.float64], sd: float, random_state: int
) -> ErrorSize:
    """Learn the size of errors.

    Parameters
    ----------
    Z
        ndarray of shape (n, n_columns), from :func:`~.number_model.scale_input`.
    errors
        ndarray of shape (n,): absolute errors of models that have not seen the rows.
    sd
        Standard deviation of the labels.
    random_state
        Seed of the trees.
    """
    least = _NONE * sd
    if len(errors) < FEWEST_ROWS or not errors.any():
        mean = float(errors.mean()) if len(errors) else sd
        return ErrorSize(None, max(mean, least))
    trees = ExtraTreesRegressor(
        TREES,
        min_samples_leaf=_ROWS_OF_LEAF,
        max_leaf_nodes=_LEAVES,
        random_state=random_state,
    )
    return ErrorSize(trees.fit(Z, errors), max(_LEAST * float(np.median(errors)), least))


def scaled_apart(
    Z: NDArray[np.float64],
    errors: NDArray[np.float64],
    folds: NDArray[np.int32],
    sd: float,
    random_state: int,
) -> tuple[NDArray[np.float64], dict[int, ErrorSize]]:
    """Divide each error by the size that rows of other folds lead to expect.

    Parameters
    ----------
    Z, errors, sd, random_state
        As in :func:`error_size`.
    folds
        ndarray of shape (n,).

    Returns
    -------
    tuple
        The scaled errors, of shape (n,), and what was learned without each fold.
    """
    scaled = np.empty(len(errors))
    sizes: dict[int, ErrorSize] = {}
    for fold in np.unique(folds).tolist():
        inside = folds == fold
        sizes[fold] = error_size(Z[~inside], errors[~inside], sd, random_state)
        scaled[inside] = errors[inside] / sizes[fold].of(Z[inside])
    return scaled, sizes
