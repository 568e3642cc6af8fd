"""The training frame: labeled rows, and rows that a model has labeled.

One function makes what every model after the first is fitted on, in runs and wherever a student is
measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import CLASS_SCORES, CODE, VALUE
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.teachers.cross_fitting import NEVER_HELD_OUT
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.weights import PseudoWeights


@dataclass(frozen=True)
class Weighting:
    """How accepted rows enter the training frame.

    Parameters
    ----------
    labels
        ``"hard"``: once, with the predicted class. ``"soft"``: once per class, weighted by its
        probability.
    pseudo
        What an accepted row weighs beside a labeled one's 1.0.
    """

    labels: Literal["hard", "soft"] = "hard"
    pseudo: PseudoWeights = field(default_factory=PseudoWeights)

    @property
    def needed(self) -> bool:
        """Whether the estimator has to take ``sample_weight``."""
        return self.labels == "soft" or self.pseudo.needed


Keys = Sequence[NDArray[Any]]
"""Key columns of some rows."""


def joined_rows(
    labeled: TrainingRows,
    X: pd.DataFrame,
    labels: NDArray[Any],
    weights: NDArray[np.float64],
    *,
    soft: bool = True,
    keys: tuple[Keys, Keys] | None = None,
    values: NDArray[np.float64] | None = None,
) -> TrainingRows:
    """Join labeled rows and rows that a model has labeled.

    Parameters
    ----------
    labeled
        Rows with given labels; they weigh 1 each unless they have weights.
    X
        DataFrame of shape (n, n_model_columns): rows of the pool.
    labels
        What the model says about them: ndarray of shape (n, n_classes), probabilities, or of shape
        (n,), class indices.
    weights
        ndarray of shape (n,).
    soft
        A line per class, weighted by its probability; or one line with the most probable class.
    keys
        Of the labeled and of the other rows, by which the lines are sorted; of equal ones the
        labeled come first. None: labeled rows first, each kind in its order.
    values
        ndarray of shape (n,): what the model says, where labels are numbers.
    """
    row, code, share = lines_of(labels, soft)
    own = np.ones(len(labeled.codes)) if labeled.weights is None else labeled.weights
    all_weights = np.concatenate([own, weights[row] * share])
    # Not every estimator takes weights, and equal ones say nothing.
    needed = labeled.weights is not None or not (all_weights == 1).all()
    order = np.arange(len(all_weights))
    if keys is not None:
        order = _key_order([keys[0], [column[row] for column in keys[1]]])
    return TrainingRows(
        X=pd.concat([labeled.X, X.iloc[row]], ignore_index=True).iloc[order],
        codes=np.concatenate([labeled.codes, code.astype(np.int32)])[order],
        weights=all_weights[order] if needed else None,
        n_pseudo=len(X),
        values=_joined(labeled.values, values, order),
        folds=_joined(labeled.folds, np.full(len(row), NEVER_HELD_OUT, dtype=np.int32), order),
    )


def _joined(
    of_labeled: NDArray[Any] | None, of_others: NDArray[Any] | None, order: NDArray[np.intp]
) -> NDArray[Any] | None:
    """Put together what labeled rows have, if they have it, and what the others do."""
    if of_labeled is None or of_others is None:
        return None
    joined: NDArray[Any] = np.concatenate([of_labeled, of_others])[order]
    return joined


def training_rows(
    labeled: pa.Table,
    pseudo: pa.Table | None,
    features: Sequence[Feature],
    keys: Sequence[str],
    weighting: Weighting,
    weights: NDArray[np.float64] | None = None,
    folds: NDArray[np.int32] | None = None,
) -> TrainingRows:
    """Join tables of labeled and accepted rows into one frame, ordered by key.

    Parameters
    ----------
    labeled
        Columns `keys`, the features, ``spl_code``; ``spl_value`` where labels are numbers.
    pseudo
        The same; ``spl_probabilities`` with soft labels. None for the seed model.
    features
        The model's input columns.
    keys
        Key columns.
    weighting
        How accepted rows enter.
    weights
        ndarray of shape (n_pseudo,): of the accepted rows, in their order; None: 1 each.
    folds
        ndarray of shape (n_labeled,), where labels are numbers; see :class:`TrainingRows`.
    """
    own = labeled_rows(labeled, features, folds)
    soft = weighting.labels == "soft" and pseudo is not None
    rows = labeled.slice(0, 0) if pseudo is None else pseudo
    return joined_rows(
        own,
        to_frame(rows, features),
        probabilities_of(rows) if soft else rows.column(CODE).to_numpy(),
        np.ones(rows.num_rows) if weights is None else weights,
        soft=soft,
        keys=(key_columns(labeled, keys), key_columns(rows, keys)),
        values=_values(rows),
    )


def labeled_rows(
    labeled: pa.Table, features: Sequence[Feature], folds: NDArray[np.int32] | None = None
) -> TrainingRows:
    """Return labeled rows alone as a training frame, in their order; see :func:`training_rows`."""
    codes, values = labeled.column(CODE).to_numpy().astype(np.int32), _values(labeled)
    folds = None if values is None else folds
    return TrainingRows(to_frame(labeled, features), codes, None, 0, values, folds)


def _values(rows: pa.Table) -> NDArray[np.float64] | None:
    """Return the labels of rows, where they are numbers."""
    return rows.column(VALUE).to_numpy() if VALUE in rows.column_names else None


def key_columns(rows: pa.Table, keys: Sequence[str]) -> Keys:
    """Return the key columns of a table, to be sorted by."""
    return [rows.column(key).to_numpy() for key in keys]


def probabilities_of(rows: pa.Table) -> NDArray[np.float64]:
    """Return the probabilities that are in a table, of shape (n_rows, n_classes)."""
    lists = rows.column(CLASS_SCORES).combine_chunks()
    P: NDArray[np.float64] = lists.flatten().to_numpy().reshape(rows.num_rows, -1)
    return P


_NEGLIGIBLE = 0.01


def soft_lines(
    P: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return row, class and share of each line by which soft labels enter a training frame.

    The least probable classes that together have at most one in a hundred get no line, which
    would cost fitting time; the shares of the others sum to 1. Bounded is what is left out, since
    of many classes each may be improbable. Students that are measured and the one that is kept
    learn by this one rule.

    Parameters
    ----------
    P
        ndarray of shape (n, n_classes): probabilities.

    Returns
    -------
    tuple
        Three ndarrays of one length: rows, class indices, shares in (0, 1].

    Examples
    --------
    >>> soft_lines(np.array([[0.995, 0.005], [0.25, 0.75]]))
    (array([0, 1, 1]), array([0, 0, 1]), array([1.  , 0.25, 0.75]))
    """
    # Stable, and from the last class on: of equal ones the first is kept, as the label is.
    order = np.argsort(P[:, ::-1], axis=1, kind="stable")
    together = np.take_along_axis(P[:, ::-1], order, axis=1).cumsum(axis=1)
    negligible = np.empty(P.shape, dtype=bool)
    np.put_along_axis(negligible, order, together <= _NEGLIGIBLE, axis=1)
    shares = np.where(negligible[:, ::-1], 0.0, P)
    shares = shares / shares.sum(axis=1, keepdims=True)
    row, code = np.nonzero(shares)
    return row, code, shares[row, code]


def _key_order(parts: Sequence[Keys]) -> NDArray[np.intp]:
    """Sort by the first key, then the next; of equal keys the earlier part comes first."""
    keys = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    return np.lexsort([_sortable(key) for key in reversed(keys)])


def _sortable(key: NDArray[Any]) -> NDArray[Any]:
    if key.dtype != object:
        return key
    # numpy's own strings take "a" and "a" with a NUL behind it for equal.
    ranks: NDArray[Any] = pc.rank(pa.array(key, pa.string()), tiebreaker="dense").to_numpy()
    return ranks


def lines_of(labels: NDArray[Any], soft: bool) -> tuple[Any, Any, Any]:
    """Return row, class and share of each line of the training frame.

    Parameters
    ----------
    labels
        What a model says of rows: ndarray of shape (n, n_classes), probabilities, or of shape
        (n,), class indices.
    soft
        Lines as of :func:`soft_lines`; or one with the most probable class.
    """
    if labels.ndim == 2 and soft:
        return soft_lines(labels)
    codes = labels if labels.ndim == 1 else labels.argmax(axis=1)
    return np.arange(len(labels)), codes, np.ones(len(labels))
