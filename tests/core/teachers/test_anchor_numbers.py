"""Numbers that spread over an anchor graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.kernel import make_scorer, score_batch
from spark_pseudolabel.core.scored_rows import CODE, INVALID, SCORE
from spark_pseudolabel.core.teachers.anchor_graph import AnchorGraph, weights
from spark_pseudolabel.core.teachers.anchor_model import AnchorRegressor
from spark_pseudolabel.core.teachers.anchors import anchors_teacher
from spark_pseudolabel.core.teachers.numbers import NumberTeacher, graph_number_teacher
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.store.artifact import check_storable, dump_model, load_model
from tests.core.teachers.number_rows import CLASSES, task_of

FEATURES = tuple(Feature(name, "numeric", "double") for name in ("a", "b"))


def weights_of(n: int, anchors: int, seed: int, first: int = 0) -> csr_array:
    """Return weights of three anchors a row, of `anchors` from `first` on."""
    chance = np.random.default_rng(seed)
    nearest = np.array([chance.permutation(anchors)[:3] + first for _ in range(n)])
    return weights(nearest, chance.exponential(size=(n, 3)), 1.0, 2 * anchors)


def test_numbers_are_those_of_a_dense_solve_over_all_rows() -> None:
    labeled, pool = weights_of(15, 12, 0), weights_of(80, 12, 1)
    y, row_weights = np.random.default_rng(2).normal(5.0, 2.0, 15), np.linspace(0.5, 2.0, 15)
    found = AnchorRegressor().fit(labeled, y, row_weights, AnchorGraph.of(pool)).predict(pool)
    Z = np.vstack([pool.toarray(), labeled.toarray()])
    Z = Z[:, Z.any(axis=0)]
    graph = Z @ np.diag(1 / Z.sum(axis=0)) @ Z.T
    smoothness = Z.T @ (np.eye(len(Z)) - graph) @ Z / len(Z)
    # The least sum of squared errors on labeled rows and of differences between connected rows.
    root = np.linalg.cholesky(smoothness + 1e-13 * np.eye(Z.shape[1])).T
    fit = np.sqrt(row_weights / row_weights.sum())
    system = np.vstack([fit[:, None] * Z[80:], root])
    anchors = np.linalg.lstsq(system, np.append(fit * y, np.zeros(len(root))), rcond=None)[0]
    np.testing.assert_allclose(found, Z[:80] @ anchors, rtol=1e-6)


def test_a_constant_is_spread_as_it_is_and_nothing_where_no_label_reaches() -> None:
    labeled, near, apart = weights_of(9, 6, 0), weights_of(40, 6, 1), weights_of(40, 6, 2, first=6)
    graph = AnchorGraph.together([AnchorGraph.of(near), AnchorGraph.of(apart)])
    model = AnchorRegressor().fit(labeled, np.full(9, 7.5), None, graph)
    np.testing.assert_allclose(model.predict(near), 7.5, rtol=1e-9)
    assert np.isnan(model.predict(apart)).all()
    assert model.unreached(apart).all()
    assert not model.unreached(near).any()


def test_the_spread_of_a_row_is_that_of_its_anchors() -> None:
    labeled, pool = weights_of(15, 12, 0), weights_of(30, 12, 1)
    y = np.random.default_rng(2).normal(5.0, 2.0, 15)
    model = AnchorRegressor().fit(labeled, y, None, AnchorGraph.of(pool))
    anchors = model.predict(csr_array(np.eye(24)))
    Z = pool.toarray()
    apart = [np.cov(anchors[z > 0], aweights=z[z > 0], ddof=0) for z in Z]
    np.testing.assert_allclose(model.spread(pool), np.sqrt(apart), rtol=1e-6)


def smooth(n: int, seed: int) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Generate a curved function with little noise, where linear models are no help."""
    chance = np.random.default_rng(seed)
    X = pd.DataFrame(chance.uniform(-2, 2, (n, 2)), columns=["a", "b"])
    y = 100 + 10 * np.cos(2 * X["a"]) * np.cos(X["b"])
    return X, y.to_numpy() + 0.3 * chance.normal(size=n)


def given(n: int) -> TrainingRows:
    X, y = smooth(n, 0)
    folds = (np.arange(n) % 5).astype(np.int32)
    return TrainingRows(X, np.zeros(n, dtype=np.int32), None, 0, y, folds)


def ready(rows: TrainingRows, pool: pd.DataFrame, tolerance: float = 2.0) -> NumberTeacher:
    assert rows.values is not None
    graph = anchors_teacher(FEATURES, 300, 3, 0, numbers=True)
    teacher = graph_number_teacher(graph, FEATURES, 0, task_of(rows.values, tolerance))
    for estimator in teacher.estimators:
        check_storable(estimator)
    both = pd.concat([rows.X, pool], ignore_index=True)
    teacher = teacher.prepared(both).placed(both)
    wanted = teacher.pool_pass
    assert wanted is not None
    batch = pa.RecordBatch.from_pandas(pool)
    return teacher.informed(wanted.together([wanted.look([batch]), wanted.look([])]))


def test_a_smooth_function_is_known_with_confidences_and_bounds_that_hold() -> None:
    X, y = smooth(3000, 1)
    rows = given(300)
    teacher = ready(rows, X)
    fitted = teacher.cross_fit(rows, rows.folds, CLASSES, mean=True)
    assert fitted.whole is not None
    says = fitted.whole.says(X)
    error = np.sqrt(((says[:, 0] - y) ** 2).mean())
    assert error < 0.4 * y.std()
    right = teacher.task.is_right(y, says[:, 0])
    assert says[:, 1].mean() == pytest.approx(right.mean(), abs=0.05)
    # Of 0.9, and more where models that have not seen two folds know less than their mean.
    assert 0.87 < ((says[:, 2] <= y) & (y <= says[:, 3])).mean() < 0.97
    sure = says[:, 1] > np.quantile(says[:, 1], 0.8)
    assert right[sure].mean() > right.mean()


def test_no_label_has_a_say_in_its_own_number() -> None:
    rows = given(100)
    assert rows.values is not None
    assert rows.folds is not None
    teacher = ready(rows, smooth(500, 1)[0])
    inside = rows.folds == 2
    other = replace(rows, values=np.where(inside, rows.values + 50.0, rows.values))
    fits = [teacher.cross_fit(of, rows.folds, CLASSES, mean=True) for of in (rows, other)]
    np.testing.assert_array_equal(*[fit.numbers[inside, 0] for fit in fits])
    assert (fits[0].numbers[~inside, 0] != fits[1].numbers[~inside, 0]).any()


def test_rows_that_no_label_reaches_are_left_open_in_and_out_of_storage() -> None:
    rows = given(100)
    near, _ = smooth(1000, 1)
    apart = near + 1000.0
    pool = pd.concat([near, apart], ignore_index=True)
    teacher = ready(rows, pool)
    model = teacher.fit(rows, CLASSES)
    stored = dump_model(model)
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    odd = pd.concat([pool, pd.DataFrame({"a": [np.nan, np.inf], "b": [0.0, 0.0]})])
    batch = pa.RecordBatch.from_pandas(odd, preserve_index=False)
    scored = score_batch(batch, make_scorer(loaded, FEATURES)).to_pandas()
    assert score_batch(batch, make_scorer(model, FEATURES)).to_pandas().equals(scored)
    assert scored[CODE][:1000].eq(0).all()
    assert scored[SCORE][:1000].between(0, 1, inclusive="right").all()
    assert scored[[CODE, SCORE, INVALID]][1000:2000].isna().all(axis=None)
    assert scored[INVALID].notna().tolist() == [False] * 2001 + [
        True
    ]  # what is missing is filled in


def test_a_labeled_row_that_others_do_not_reach_has_no_number_out_of_fold() -> None:
    rows = given(100)
    far = rows.X.copy()
    far.loc[7] += 1000.0
    rows = replace(rows, X=far)
    near, _ = smooth(500, 1)
    fitted = ready(rows, pd.concat([near, near + 1000.0], ignore_index=True)).cross_fit(
        rows, rows.folds, CLASSES, mean=True
    )
    assert np.isnan(fitted.numbers[7, [0, 2, 3]]).all()
    assert fitted.P[7, 0] == 0
    assert np.isfinite(np.delete(fitted.numbers, 7, axis=0)).all()


def test_an_empty_pool_leaves_the_labeled_rows() -> None:
    rows = given(60)
    graph = anchors_teacher(FEATURES, 300, 3, 0, numbers=True)
    teacher = graph_number_teacher(graph, FEATURES, 0, task_of(np.asarray(rows.values)))
    teacher = teacher.prepared(rows.X).placed(rows.X).informed(None)
    assert teacher.adapted == {"anchors": 20}
    batch = pa.RecordBatch.from_pandas(rows.X)
    said = teacher.fit(rows, CLASSES).predict(to_frame(batch, FEATURES))
    assert np.abs(said - rows.values).mean() < 5
