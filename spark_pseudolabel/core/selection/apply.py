"""A plan applied to many scored rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE, INVALID, SCORE
from spark_pseudolabel.core.selection.plan import Plan


def candidate_codes(scored: pa.Table) -> NDArray[np.int32]:
    """Return the class of every row that a plan may accept, -1 for others.

    Others are invalid rows, which have no class, and withheld ones, which have a reason
    (``spl_reason``) beside it. Rows that were accepted once have no such column any more.
    """
    codes: NDArray[np.int32] = scored.column(CODE).fill_null(-1).to_numpy()
    if INVALID not in scored.column_names:
        return codes
    held_back = scored.column(INVALID)
    if held_back.null_count == len(held_back):
        return codes
    return np.where(held_back.is_null().to_numpy(), codes, np.int32(-1))


def accepted_mask(plan: Plan, scored: pa.Table, keys: Sequence[str]) -> NDArray[np.bool_]:
    """Decide rows as :meth:`Plan.accepts` does one by one.

    Parameters
    ----------
    plan
        The decision of the round.
    scored
        Columns `keys`, ``spl_code``, ``spl_confidence`` and, unless accepted, ``spl_reason``.
    keys
        Key columns, compared in this order where rows tie.

    Returns
    -------
    ndarray of shape (n_rows,)
        True for accepted rows; invalid and withheld rows are not accepted.
    """
    codes = candidate_codes(scored)
    confidences = scored.column(SCORE).fill_null(np.nan).to_numpy()
    # By class, not cut by cut: there may be a cut for each of thousands of classes.
    limits, all_tied = _limits(plan)
    own = limits[codes]
    mask: NDArray[np.bool_] = (confidences > own) | (all_tied[codes] & (confidences == own))
    mask &= codes >= 0
    keyed = np.array([cut is not None and isinstance(cut.ties, tuple) for cut in plan.cuts])
    if keyed.any():
        tied = np.flatnonzero((codes >= 0) & keyed[codes] & (confidences == own))
        mask[tied] = _not_after_own(plan, codes[tied], scored.select(list(keys)).take(tied))
    return mask


def not_after(rows: pa.Table, last: Sequence[Any]) -> NDArray[np.bool_]:
    """Tell which rows' keys are at most `last`, compared column by column.

    Parameters
    ----------
    rows
        Key columns.
    last
        For each column a value, or an array of a value for each row.
    """
    after = np.zeros(rows.num_rows, dtype=bool)
    same = np.ones(rows.num_rows, dtype=bool)
    for column, value in zip(rows.columns, last, strict=True):
        after |= same & _numpy(pc.greater(column, value))
        same &= _numpy(pc.equal(column, value))
    return ~after


def _limits(plan: Plan) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return by class the confidence of the cut, and whether all rows at it are accepted."""
    limits = [np.inf if cut is None else cut.confidence for cut in plan.cuts]
    return np.array(limits), np.array([cut is not None and cut.ties == "all" for cut in plan.cuts])


def _not_after_own(plan: Plan, codes: NDArray[np.int32], rows: pa.Table) -> NDArray[np.bool_]:
    """Tell which rows' keys are at most the last key of the cut of their class."""
    last: list[pa.Array] = []
    for place, column in enumerate(rows.columns):
        values = [
            cut.ties[place] if cut is not None and isinstance(cut.ties, tuple) else None
            for cut in plan.cuts
        ]
        last.append(pa.array(values, column.type).take(pa.array(codes)))
    return not_after(rows, last)


def _numpy(flags: pa.ChunkedArray) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = flags.to_numpy()
    return values
