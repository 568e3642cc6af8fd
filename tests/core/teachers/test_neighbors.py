import numpy as np
import pandas as pd
import pytest

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.feature import Feature
from spark_pseudolabel.core.teachers.cross_fitting import fold_of
from spark_pseudolabel.core.teachers.distant_graph import GraphSettings
from spark_pseudolabel.core.teachers.graph_vectors import DIMENSIONS, VectorMaker
from spark_pseudolabel.core.teachers.neighbor_search import LIMIT
from spark_pseudolabel.core.teachers.neighbors import NeighborTeacher
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.artifact import dump_model, load_model
from tests.core.teachers.test_graph_solvers import moons

CLASSES = ["inner", "outer"]
NUMBERS = tuple(Feature(f"x{i}", "numeric", "double") for i in range(80))


def labeled(graph, y, rows):
    X = pd.DataFrame({NODE: graph.ids[rows]})
    return TrainingRows(X, y[rows].astype(np.int32), None, 0)


@pytest.fixture(scope="module")
def graph_and_rows():
    graph, y = moons(1200)
    return graph, y, np.sort(np.random.default_rng(3).choice(len(y), 24, replace=False))


@pytest.mark.parametrize("method", ["propagation", "spreading", "poisson"])
@pytest.mark.parametrize("mean", [False, True])
def test_a_hidden_label_does_not_influence_the_score_of_its_row(graph_and_rows, method, mean):
    graph, y, rows = graph_and_rows
    teacher = NeighborTeacher(GraphSettings(method=method), (), 0).joined(graph)
    folds = fold_of(y[rows].astype(np.int32), np.arange(len(rows)))
    fitted = teacher.cross_fit(labeled(graph, y, rows), folds, CLASSES, mean=mean)
    fold = folds == 2
    other = y.copy()
    other[rows[fold]] = 1 - other[rows[fold]]
    again = teacher.cross_fit(labeled(graph, other, rows), folds, CLASSES, mean=mean)
    assert np.array_equal(fitted.P[fold], again.P[fold])
    assert not np.array_equal(fitted.P[~fold], again.P[~fold])


def test_folds_in_one_go_are_the_folds_one_by_one(graph_and_rows):
    graph, y, rows = graph_and_rows
    teacher = NeighborTeacher(GraphSettings(method="poisson"), (), 0).joined(graph)
    folds = fold_of(y[rows].astype(np.int32), np.arange(len(rows)))
    together = teacher.cross_fit(labeled(graph, y, rows), folds, CLASSES)
    alone = teacher.fit(labeled(graph, y, rows[folds != 1]), CLASSES)
    held_out = labeled(graph, y, rows[folds == 1]).X
    assert np.allclose(together.P[folds == 1], alone.predict_proba(held_out), atol=1e-4)


def test_a_stored_model_knows_its_nodes_and_abstains_from_others(graph_and_rows):
    graph, y, rows = graph_and_rows
    teacher = NeighborTeacher(GraphSettings(), (), 0).joined(graph)
    model = teacher.fit(labeled(graph, y, rows), CLASSES)
    stored = dump_model(model)
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    some = pd.DataFrame({NODE: [*graph.ids[rows], 17]})
    P = loaded.predict_proba(some)
    assert np.array_equal(P, model.predict_proba(some))
    assert P[:-1].argmax(axis=1).tolist() == y[rows].tolist()
    assert not P[-1].any()


def frame(n_columns, n_rows=500):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(n_rows, n_columns)) @ np.diag(10.0 ** np.arange(n_columns) % 1e4 + 1)
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(n_columns)])


@pytest.mark.parametrize("n_columns", [3, 80])
@pytest.mark.parametrize("standardize", [True, False])
def test_vectors_of_rows_do_not_depend_on_the_rows_beside_them(n_columns, standardize):
    X = frame(n_columns)
    vectors = VectorMaker.fit(X, NUMBERS[:n_columns], 0, standardize=standardize, known={})
    whole = vectors.of(X)
    parts = np.concatenate([vectors.of(X[i : i + 7]) for i in range(0, len(X), 7)])
    assert np.array_equal(whole, parts)
    assert whole.shape == (len(X), min(n_columns, DIMENSIONS))
    assert np.abs(vectors.of(X * 1e9)).max() == LIMIT


def test_distances_are_those_of_the_columns():
    X = frame(4)
    Z = ((X - X.mean()) / X.std(ddof=0)).to_numpy()
    vectors = VectorMaker.fit(X, NUMBERS[:4], 0, standardize=True, known={})
    grid = vectors.of(X).astype(np.float64) * vectors.unit
    assert np.abs((grid[1:] - grid[:-1]) - (Z[1:] - Z[:-1])).max() < 1e-4


@pytest.mark.parametrize("n_columns", [3, 80])
def test_rows_without_a_place_say_nothing_of_the_others(n_columns):
    X, features = frame(n_columns), NUMBERS[:n_columns]
    holes = X.copy()
    holes.iloc[::5, 1] = np.nan
    holes.iloc[1, 0] = np.inf
    whole = holes[np.isfinite(holes).all(axis=1)]
    vectors = VectorMaker.fit(holes, features, 0, standardize=False, known={})
    alone = VectorMaker.fit(whole, features, 0, standardize=False, known={})
    assert np.array_equal(vectors.of(whole), alone.of(whole))
    assert len(np.unique(vectors.of(whole), axis=0)) == len(whole)


@pytest.mark.parametrize("standardize", [True, False])
def test_rows_in_one_place_are_refused_before_any_neighbor_is_looked_for(standardize):
    same = pd.DataFrame({"x0": np.full(50, 3.0), "x1": np.full(50, -1.0)})
    teacher = NeighborTeacher(GraphSettings(standardize=standardize), NUMBERS[:2], 0)
    with pytest.raises(InputError, match="graph: neighbors needs a column that tells rows apart"):
        teacher.placed(same)
    assert teacher.placed(same.assign(x1=np.arange(50.0))).vectors is not None


@pytest.mark.parametrize(
    ("settings", "n_rows", "key"),
    [
        (GraphSettings(k=10), 10, "teacher.k"),
        (GraphSettings(k=10), 3_000_000_000, "graph: anchors"),
        (GraphSettings(standardize=False), 100, "teacher.standardize"),
    ],
)
def test_what_cannot_be_a_graph_is_refused_by_name(settings, n_rows, key):
    teacher = NeighborTeacher(settings, (Feature("word", "category", "string"),), 0)
    with pytest.raises(InputError, match=key):
        teacher.require_rows(n_rows)
