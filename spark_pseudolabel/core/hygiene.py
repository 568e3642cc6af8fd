"""Given labels that are probably wrong, by confident learning (Northcutt et al. 2021).

They are listed for a person to look at and never changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suspect:
    """A labeled row whose label the models of the other folds do not believe.

    Parameters
    ----------
    row
        Its position.
    given, suggested
        Class indices.
    p_given, p_suggested
        Out-of-fold probabilities of the two.
    """

    row: int
    given: int
    suggested: int
    p_given: float
    p_suggested: float

    def to_dict(self) -> dict[str, Any]:
        """Return the form kept in reports."""
        return asdict(self)


def suspects(P: NDArray[np.float64], codes: NDArray[np.int32]) -> list[Suspect]:
    """List labels that are probably wrong, the clearest first.

    A row belongs to the most probable class among those that are at least as probable as they are,
    on average, for the rows given that label; it is a suspect when that is not its own label.

    Parameters
    ----------
    P
        ndarray of shape (n, n_classes): out-of-fold probabilities; rows with NaN are left out.
    codes
        ndarray of shape (n,): the given labels.
    """
    scored = np.flatnonzero(np.isfinite(P).all(axis=1))
    candidates = np.where(P[scored] >= _self_confidence(P[scored], codes[scored]), P[scored], -1.0)
    best = candidates.argmax(axis=1)
    off = (candidates.max(axis=1) > 0) & (best != codes[scored])
    found = [
        Suspect(
            row=int(row),
            given=int(codes[row]),
            suggested=int(code),
            p_given=float(P[row, codes[row]]),
            p_suggested=float(P[row, code]),
        )
        for row, code in zip(scored[off], best[off], strict=True)
    ]
    return sorted(found, key=lambda suspect: (suspect.p_given - suspect.p_suggested, suspect.row))


def _self_confidence(P: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return per class the mean probability of the class over the rows given that label."""
    own = P[np.arange(len(codes)), codes]
    n = np.bincount(codes, minlength=P.shape[1])
    total = np.bincount(codes, weights=own, minlength=P.shape[1])
    # A class without rows gives no measure: nothing may be moved to it.
    return np.where(n > 0, total / np.maximum(n, 1), np.inf)
