"""A plan applied to many scored rows at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE, INVALID, SCORE
from spark_pseudolabel.core.counts import Key
from spark_pseudolabel.core.rules import Cut, Plan


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
    mask = np.zeros(len(codes), dtype=bool)
    for cut in {cut for cut in plan.cuts if cut is not None}:
        mine = [code for code, other in enumerate(plan.cuts) if other == cut]
        of_classes = codes >= 0 if len(mine) == len(plan.cuts) else np.isin(codes, mine)
        mask |= of_classes & _above(cut, confidences, scored, keys)
    return mask


def _above(
    cut: Cut, confidences: NDArray[np.float64], scored: pa.Table, keys: Sequence[str]
) -> NDArray[np.bool_]:
    if cut.ties == "all":
        return confidences >= cut.confidence
    above = confidences > cut.confidence
    tied = np.flatnonzero(confidences == cut.confidence)
    if isinstance(cut.ties, tuple) and len(tied):
        above[tied] = _not_after(scored.select(list(keys)).take(tied), cut.ties)
    return above


def _not_after(rows: pa.Table, last: Key) -> NDArray[np.bool_]:
    """Whether a row's key is at most `last`, compared column by column."""
    after = np.zeros(rows.num_rows, dtype=bool)
    same = np.ones(rows.num_rows, dtype=bool)
    for column, value in zip(rows.columns, last, strict=True):
        after |= same & _numpy(pc.greater(column, value))
        same &= _numpy(pc.equal(column, value))
    return ~after


def _numpy(flags: pa.ChunkedArray) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = flags.to_numpy()
    return values
