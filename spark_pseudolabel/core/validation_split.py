"""Which labeled rows are kept for validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def validation_mask(
    codes: NDArray[np.int32], hashes: NDArray[np.int64], fraction: float
) -> NDArray[np.bool_]:
    """Take the same share of every class, the rows with the lowest hash.

    Parameters
    ----------
    codes
        ndarray of shape (n,), class indices.
    hashes
        ndarray of shape (n,), a hash of (row id, random_state).
    fraction
        Share f in [0, 1).

    Returns
    -------
    ndarray of shape (n,)
        True for validation rows: of each class ``round(f * n_c)`` rows, at least 1 and at most
        ``n_c - 1`` where the class has 2 rows or more, none of a class with 1 row.
    """
    mask = np.zeros(len(codes), dtype=bool)
    if fraction == 0:
        return mask
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        mask[rows[np.argsort(hashes[rows], kind="stable")[: _share(len(rows), fraction)]]] = True
    return mask


def group_validation_mask(
    codes: NDArray[np.int32],
    groups: Sequence[Any],
    group_hashes: NDArray[np.int64],
    fraction: float,
) -> NDArray[np.bool_]:
    """Take whole groups, in the order of their hash, while that brings classes nearer their share.

    Where each of them is too large for that, the one that goes least beyond is taken. No group is
    where each has all rows of a class, which is then to be learned from: the mask has no row.

    Parameters
    ----------
    codes
        ndarray of shape (n,), class indices.
    groups
        The group of each row; all rows of a group end on one side.
    group_hashes
        ndarray of shape (n,), a hash of (group, random_state), the same within a group.
    fraction
        Share f in [0, 1).
    """
    mask = np.zeros(len(codes), dtype=bool)
    if fraction == 0:
        return mask
    names, index = np.unique(np.asarray([str(group) for group in groups]), return_inverse=True)
    per_group = np.zeros((len(names), int(codes.max()) + 1))
    np.add.at(per_group, (index, codes), 1)
    missing = np.array([float(_share(int(n), fraction)) for n in per_group.sum(axis=0)])
    remaining = per_group.sum(axis=0)
    first_row = np.array([np.flatnonzero(index == i)[0] for i in range(len(names))])
    order = np.argsort(group_hashes[first_row], kind="stable")
    wanted = missing.copy()
    for group in order:
        rows = per_group[group]
        nearer = np.abs(missing - rows).sum() < np.abs(missing).sum()
        if nearer and _keeps_every_class(remaining, rows):
            mask |= index == group
            missing -= rows
            remaining -= rows
    possible = [group for group in order if _keeps_every_class(remaining, per_group[group])]
    if not mask.any() and possible:
        mask = index == min(possible, key=lambda group: np.abs(wanted - per_group[group]).sum())
    return mask


def _keeps_every_class(remaining: NDArray[np.float64], rows: NDArray[np.float64]) -> bool:
    return bool((remaining - rows)[remaining > 0].min() > 0)


def only_ones(labeled: NDArray[np.int32], validation: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which labeled rows are the only one of their class, that validation rows lack, too.

    A split by class leaves them with the labeled rows, so that no validation row shows what a
    model makes of a class it has not seen.

    Parameters
    ----------
    labeled, validation
        ndarrays of shape (n,) and (m,): class indices; -1 for a validation row of no class.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> only_ones(np.array([0, 0, 1, 2]), np.array([0, 2])).tolist()
    [False, False, True, False]
    """
    counts = np.bincount(np.concatenate([labeled, validation[validation >= 0]]))
    alone: NDArray[np.bool_] = counts[labeled] == 1
    return alone


def _share(n: int, fraction: float) -> int:
    if n < 2:
        return 0
    return min(max(1, round(fraction * n)), n - 1)
