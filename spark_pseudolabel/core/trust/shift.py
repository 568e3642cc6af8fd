"""Whether the labeled rows stand for the pool: what a certificate and a student rely on.

Every measure compares two samples that would look alike if the labels had been drawn from the
pool at random; each says how much difference chance alone explains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2
from sklearn.metrics import roc_auc_score

from spark_pseudolabel.core.facts import PriorShift, Representativeness
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.cross_fitting import fold_of
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.trust.support import find_support, finite, outside_by_chance

SAMPLE = 2000
"""Pool rows that are enough for every measure here."""

_AUC_MARGIN, _AUC_Z = 0.05, 3.0
_OUTSIDE = 0.1
_PRIOR_LEVEL, _PRIOR_LEVEL_IF_EVEN = 1e-4, 0.01
_PSI_BINS = 10
_PSI_EDGES = np.linspace(0, 1, _PSI_BINS + 1)[1:-1]
_PSI_FLOOR = 1e-4
_ALIKE = 1.1


def representativeness(
    labeled: pd.DataFrame,
    pool: pd.DataFrame,
    features: Sequence[Feature],
    hashes: NDArray[np.int64],
    random_state: int,
) -> Representativeness:
    """Compare labeled rows with a random sample of the pool.

    Parameters
    ----------
    labeled, pool
        Model input; of the pool some :data:`SAMPLE` rows.
    features
        The columns.
    hashes
        ndarray of shape (n_labeled + n_pool,): a hash of each row's key; decides the folds.
    random_state
        Seed of the model.
    """
    labeled, pool = finite(labeled), finite(pool)
    auc = separability(labeled, pool, features, hashes, random_state)
    n, m = len(labeled), len(pool)
    support, _ = find_support(labeled, features, hashes[:n], random_state)
    outside = float((~support.holds(pool)).mean())
    by_chance = outside <= _OUTSIDE or outside_by_chance(
        labeled, pool, features, hashes, random_state
    )
    chance = math.sqrt((n + m + 1) / (12 * n * m))
    # Scores out of fold are no independent ranks: of 4 rows their AUC varies 1.4 times as much.
    chance *= math.sqrt((n + 1) / max(1, n - 1))
    limit = min(1.0, 0.5 + _AUC_MARGIN + _AUC_Z * chance)
    return Representativeness(
        n_labeled=n,
        n_pool=m,
        auc=auc,
        auc_limit=limit,
        psi={str(name): psi(labeled[name], pool[name]) for name in _comparable(labeled, features)},
        unseen={f.name: unseen(labeled[f.name], pool[f.name]) for f in _of(features, "category")},
        outside=outside,
        outside_by_chance=by_chance,
        shifted=auc > limit or (outside > _OUTSIDE and not by_chance),
    )


def separability(
    labeled: pd.DataFrame,
    pool: pd.DataFrame,
    features: Sequence[Feature],
    hashes: NDArray[np.int64],
    random_state: int,
) -> float:
    """Return the out-of-fold AUC of a model that tells labeled rows from pool rows.

    0.5 where there are too few rows of one kind to tell.
    """
    if min(len(labeled), len(pool)) < 2:
        return 0.5
    rows = TrainingRows(
        X=pd.concat([labeled, pool], ignore_index=True),
        codes=np.repeat([0, 1], [len(labeled), len(pool)]).astype(np.int32),
        weights=None,
        n_pseudo=0,
    )
    params = {"n_estimators": 50, "min_samples_leaf": 5}
    learner = registered_estimator("ExtraTreesClassifier", params, features, random_state)
    fitted = learner.cross_fit(rows, fold_of(rows.codes, hashes, n_folds=3), (0, 1))
    return float(roc_auc_score(rows.codes[fitted.held_out], fitted.P[fitted.held_out, 1]))


def psi(labeled: pd.Series, pool: pd.Series) -> float:
    """Return the population stability index of one column.

    Numbers are cut at the pool's deciles; missing values are a bin of their own.
    """
    n, m = (_shares(column, pool) for column in (labeled, pool))
    return float(((n - m) * np.log(n / m)).sum())


def unseen(labeled: pd.Series, pool: pd.Series) -> float:
    """Return the share of pool rows with a category that no labeled row has."""
    return float((pool.notna() & ~pool.isin(labeled.dropna().unique())).mean())


def prior_shift(
    given: NDArray[np.int64],
    labeled: NDArray[np.int64],
    pool: NDArray[np.int64],
    *,
    mixed: bool = False,
) -> PriorShift:
    """Compare predicted classes on labeled rows and pool.

    Parameters
    ----------
    given
        ndarray of shape (n_classes,): labeled rows by their given label.
    labeled
        The same by their out-of-fold prediction.
    pool
        Pool rows by prediction.
    mixed
        Whether the labeled rows were mixed as a given prior says the pool is. Nobody draws such
        rows at random, so that less of a difference is needed to doubt the prior.
    """
    even = bool(given.min() > 1 and given.max() <= _ALIKE * given.min())
    p = _homogeneity(labeled, pool)
    limit = _PRIOR_LEVEL_IF_EVEN if even or mixed else _PRIOR_LEVEL
    n, m = labeled / max(1, labeled.sum()), pool / max(1, pool.sum())
    return PriorShift(tuple(map(float, n)), tuple(map(float, m)), p, even, bool(p < limit))


def _homogeneity(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return the p-value of Pearson's test for two rows of counts."""
    table = np.stack([first, second]).astype(float)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    return float(chi2.sf(statistic, table.shape[1] - 1))


def _shares(column: pd.Series, reference: pd.Series) -> NDArray[np.float64]:
    if column.dtype == object:
        names = sorted({str(value) for value in reference})
        counts = column.map(str).value_counts().reindex(names, fill_value=0).to_numpy()
        counts = np.append(counts, len(column) - counts.sum())
    else:
        given = reference.dropna().to_numpy()
        # Of a column that is missing everywhere only how often it is missing can be compared.
        edges = np.unique(np.quantile(given, _PSI_EDGES)) if len(given) else given
        known = column.dropna().to_numpy()
        counts = np.bincount(np.searchsorted(edges, known), minlength=len(edges) + 1)
        counts = np.append(counts, len(column) - len(known))
    shares: NDArray[np.float64] = np.maximum(counts / len(column), _PSI_FLOOR)
    return shares


def _comparable(labeled: pd.DataFrame, features: Sequence[Feature]) -> list[str]:
    texts = {feature.name for feature in _of(features, "text")}
    return [name for name in labeled if name not in texts]


def _of(features: Sequence[Feature], kind: str) -> list[Feature]:
    return [feature for feature in features if feature.kind == kind]
