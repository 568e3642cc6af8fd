"""Feature attribution: what each feature of a row does to the model's confidence in a label.

A feature's value is replaced by those of other rows, all else left as it is: the effect is how
much probability the label loses by not knowing the value (Robnik-Sikonja and Kononenko 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.core.features import Feature, to_matrix
from spark_pseudolabel.core.kernel import Scorer, score

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Attribution:
    """What a row's features do to the probability of one class.

    Parameters
    ----------
    probability
        Of the class, for the row; NaN where the model can't score it.
    base
        Its mean over the background rows.
    by_feature
        Per feature: probability minus the mean probability with values of the background in its
        place; 0 where the model ignores the feature. NaN as above.
    """

    probability: float
    base: float
    by_feature: dict[str, float]


def attribution_of(row: pa.Table, background: pa.Table, scorer: Scorer, code: int) -> Attribution:
    """Replace one feature of a row after the other.

    Parameters
    ----------
    row
        One row with the scorer's features.
    background
        Rows with these features, at least one.
    scorer
        The model; gives probabilities.
    code
        Index of the class.
    """
    features = scorer.features
    # Row 0 is the row, the others are the background.
    rows = pa.concat_tables([_plain(row.slice(0, 1), features), _plain(background, features)])
    own, *others = _probabilities(rows, scorer, code)
    n = len(others)
    by_feature: dict[str, float] = {}
    share = max(1, _ROWS_AT_ONCE // n)
    for start in range(0, len(features), share):
        names = [feature.name for feature in features[start : start + share]]
        replaced = _probabilities(_replaced(rows, names, n), scorer, code).reshape(len(names), n)
        by_feature |= {name: float(own) - _mean(p) for name, p in zip(names, replaced, strict=True)}
    return Attribution(float(own), _mean(np.asarray(others)), by_feature)


def _replaced(rows: pa.Table, names: Sequence[str], n: int) -> pa.Table:
    """Return row 0 n times for each name, with that column's values of the n other rows."""
    columns = {}
    for name in rows.column_names:
        place = np.zeros((len(names), n), dtype=np.int64)
        if name in names:
            place[names.index(name)] = np.arange(1, n + 1)
        columns[name] = rows.column(name).take(pa.array(place.ravel()))
    return pa.table(columns)


def _probabilities(rows: pa.Table, scorer: Scorer, code: int) -> NDArray[np.float64]:
    P: NDArray[np.float64] = score(rows, scorer).probabilities[:, code]
    return P


def _mean(probabilities: NDArray[np.float64]) -> float:
    known = probabilities[np.isfinite(probabilities)]
    return float(known.mean()) if known.size else float("nan")


def _plain(rows: pa.Table, features: Sequence[Feature]) -> pa.Table:
    """Give rows of different tables the same types: what a model sees of them."""
    return pa.table({feature.name: _column(rows, feature) for feature in features})


def _column(rows: pa.Table, feature: Feature) -> pa.Array | pa.ChunkedArray:
    if not feature.numeric:
        return rows.column(feature.name).cast(pa.string())
    matrix = to_matrix(rows, [feature])
    if feature.kind == "vector":
        return pa.array(list(matrix), pa.list_(pa.float64()))
    return pa.array(matrix[:, 0])
