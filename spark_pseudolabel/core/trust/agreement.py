"""Agreement: whether the members of a vote name the class that the vote names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Require = Literal["all", "majority"]


@dataclass(frozen=True)
class Agreement:
    """How many members have to name the class.

    The mean of several committees, one for each fold, is stored as one flat vote: committee after
    committee. A member is what stands at the same place in each of them, and says their mean.

    Parameters
    ----------
    members
        Of a committee.
    require
        ``"all"`` of them, or a ``"majority"``: more than half. One that abstains has no say.
    """

    members: int
    require: Require

    def said(
        self, each: Sequence[NDArray[np.float64]], weights: Sequence[float] | None
    ) -> list[NDArray[np.float64]]:
        """Return what each member says, as probabilities of shape (n_rows, n_classes).

        Parameters
        ----------
        each
            What each part of the flat vote says.
        weights
            Of the parts; None for equal ones.
        """
        weights = [1.0] * len(each) if weights is None else list(weights)
        return [
            _mean(each[k :: self.members], weights[k :: self.members]) for k in range(self.members)
        ]

    def holds(
        self, said: Sequence[NDArray[np.float64]], code: NDArray[np.int32]
    ) -> NDArray[np.bool_]:
        """Say for which rows members agree with the vote.

        Parameters
        ----------
        said
            From :meth:`said`, rounded: the last bits of a sum depend on the batch.
        code
            ndarray of shape (n_rows,): the class of the vote, -1 for none.
        """
        agree, speak = np.zeros(len(code), dtype=int), np.zeros(len(code), dtype=int)
        for P in said:
            best = P.max(axis=1)
            agree += (best > 0) & (P[np.arange(len(code)), code] == best)
            speak += best > 0
        enough = agree == speak if self.require == "all" else 2 * agree > speak
        holds: NDArray[np.bool_] = enough & (agree > 0) & (code >= 0)
        return holds


def _mean(each: Sequence[NDArray[np.float64]], weights: Sequence[float]) -> NDArray[np.float64]:
    """Return the weighted mean; zeros, an abstention, of a member that has no weight."""
    if not any(weights):
        return np.zeros_like(each[0])
    mean: NDArray[np.float64] = np.average(np.asarray(each), axis=0, weights=weights)
    return mean
