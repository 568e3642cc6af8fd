"""Which rows with true labels are not independent of each other: copies, and rows of a group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.trust.units import Copies, copies_among, equal_rows, units_of
from spark_pseudolabel.spark.groups import group_numbers
from spark_pseudolabel.spark.inputs.facts import Inputs


@dataclass(frozen=True)
class RowUnits:
    """The units of labeled and validation rows, numbered together.

    Parameters
    ----------
    labeled, validation
        ndarrays of shape (n_labeled,) and (n_validation,): rows of one number are one unit.
    seen
        ndarray of shape (n_validation,): whether a labeled row is of the same unit.
    copies
        Labeled rows that equal another one in every feature; None: there are none.
    """

    labeled: NDArray[np.int64]
    validation: NDArray[np.int64]
    seen: NDArray[np.bool_]
    copies: Copies | None


def units_in(inputs: Inputs) -> RowUnits:
    """Look for copies and groups among the rows with true labels."""
    n = inputs.labeled.num_rows
    frames = [to_frame(rows, inputs.features) for rows in (inputs.labeled, inputs.validation)]
    equal = equal_rows(pd.concat(frames, ignore_index=True))
    units = units_of(equal, _groups(inputs))
    seen: NDArray[np.bool_] = np.isin(units[n:], units[:n])
    return RowUnits(units[:n], units[n:], seen, copies_among(equal[:n]))


def _groups(inputs: Inputs) -> NDArray[np.int64] | None:
    if inputs.groups is None:
        return None
    of_labeled, of_validation = inputs.groups.labeled, inputs.groups.validation
    n = inputs.validation.num_rows
    if of_validation is None:  # each a group of its own: nothing is known
        labeled = group_numbers(of_labeled)
        return np.append(labeled, labeled.max(initial=-1) + 1 + np.arange(n))
    return group_numbers(of_labeled, of_validation)
