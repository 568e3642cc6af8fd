"""Which classes a model confuses, and how often it is right at which confidence."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.facts import Mistakes

BINS = 100
MOST_PAIRS = 50


def mistakes_of(
    codes: NDArray[np.int32], P: NDArray[np.float64], source: Literal["oof", "validation"]
) -> Mistakes | None:
    """Count right labels by confidence, and mistakes by pair of classes.

    Parameters
    ----------
    codes
        ndarray of shape (n,), the true class indices; rows of -1, a label that the model does not
        know, are wrong at their confidence, and belong to no pair.
    P
        ndarray of shape (n, n_classes); rows of NaN are left out, and those of 0, from which the
        model abstained, have no confidence.
    source
        Which rows these are.

    Returns
    -------
    Mistakes or None
        None without a row.

    Examples
    --------
    >>> P = np.array([[0.95, 0.05], [0.9, 0.1], [0.55, 0.45], [0.0, 0.0]])
    >>> found = mistakes_of(np.array([0, 1, 1, 1]), P, "oof")
    >>> found.pairs, found.by_code, sum(found.n[90:]), sum(found.right[90:])
    (((1, 0, 2),), (1, 3), 2, 1)
    """
    known = np.isfinite(P).all(axis=1)
    P, codes = P[known], codes[known]
    if not len(codes):
        return None
    n_classes = P.shape[1]
    by_code = np.bincount(codes[codes >= 0], minlength=n_classes)
    if n_classes == 1:  # of right numbers, which every row is asked to be in
        by_code = np.array([len(codes)])
    spoken = P.any(axis=1)
    P, codes = P[spoken], codes[spoken]
    predicted, confidence = P.argmax(axis=1), P.max(axis=1, initial=0.0)
    # As rows of the pool are counted: 0.29 times 100 is less than 29 in floating point.
    bins = np.minimum(np.rint(confidence * 1e6).astype(np.int64) * BINS // 10**6, BINS - 1)
    right = predicted == codes
    return Mistakes(
        source=source,
        n=_counts(bins),
        right=_counts(bins[right]),
        by_code=tuple(map(int, by_code)),
        pairs=_pairs(codes, predicted, n_classes),
    )


def _counts(bins: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(map(int, np.bincount(bins, minlength=BINS)))


def _pairs(
    codes: NDArray[np.int32], predicted: NDArray[np.int64], n_classes: int
) -> tuple[tuple[int, int, int], ...]:
    wrong = (predicted != codes) & (codes >= 0)
    cells, rows = np.unique(
        codes[wrong].astype(np.int64) * n_classes + predicted[wrong], return_counts=True
    )
    # The most common first, of equally common ones the lower pair.
    first = np.lexsort((cells, -rows))[:MOST_PAIRS]
    return tuple(
        (int(cell) // n_classes, int(cell) % n_classes, int(n))
        for cell, n in zip(cells[first], rows[first], strict=True)
    )
