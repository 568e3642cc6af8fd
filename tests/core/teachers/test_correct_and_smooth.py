from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.feature import Feature
from spark_pseudolabel.core.nodes import NodeIds
from spark_pseudolabel.core.teachers.committee import registered_committee
from spark_pseudolabel.core.teachers.correct_and_smooth import CorrectAndSmooth
from spark_pseudolabel.core.teachers.cross_fitting import fold_of, probabilities
from spark_pseudolabel.core.teachers.distant_graph import GraphSettings
from spark_pseudolabel.core.teachers.node_votes import GivenRows, GraphRows, votes_on
from spark_pseudolabel.core.teachers.smoothing import STRENGTHS
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.errors import InputError
from tests.core.teachers.test_graph_solvers import graph_of

CLASSES = ["even", "odd"]
FEATURES = (Feature("x", "numeric", "double"), Feature("y", "numeric", "double"))
N_LABELED, N = 60, 1000
NODES = NodeIds(("id",), 0)


def table(clustered):
    """Clusters on a chess board; or a line, and distances that say nothing of it."""
    draw = np.random.default_rng(0)
    if clustered:
        places = draw.integers(3, size=(N, 2))
        X = places + 0.1 * draw.normal(size=(N, 2))
        codes = places.sum(axis=1) % 2
    else:
        X = draw.normal(size=(N, 2)) * [1, 1000]
        codes = X[:, 0] > 0
    rows = pd.DataFrame(X, columns=["x", "y"]).assign(id=np.arange(N))
    return rows, codes.astype(np.int32)


def joined(rows, members, kind=CorrectAndSmooth, **settings):
    """The teacher over the graph of all rows, the labeled ones on the driver."""
    ids = NODES.of(pa.RecordBatch.from_pandas(rows, preserve_index=False))
    by_id = np.argsort(ids)
    graph = replace(graph_of(rows[["x", "y"]].to_numpy()[by_id]), ids=ids[by_id])
    given, pool = (
        pa.RecordBatch.from_pandas(part, preserve_index=False)
        for part in (rows[:N_LABELED], rows[N_LABELED:])
    )

    def gather(look, together):
        return together([look([pool.slice(0, 500)]), look([pool.slice(500)])])

    committee = registered_committee(members, FEATURES, 0).prepared(rows[["x", "y"]])
    teacher = kind(GraphSettings(), FEATURES, 0, committee=committee, **settings)
    return teacher.joined(graph, None, GraphRows(gather, NODES, (GivenRows(NODES, given),)))


def labeled(rows, codes):
    ids = NODES.of(pa.RecordBatch.from_pandas(rows, preserve_index=False))
    X = rows[["x", "y"]].assign(**{NODE: ids})
    return TrainingRows(X[:N_LABELED], codes[:N_LABELED], None, 0), X


@pytest.fixture(scope="module")
def on_clusters():
    rows, codes = table(clustered=True)
    teacher = joined(rows, [("LogisticRegression", {}), ("GaussianNB", {})])
    given, X = labeled(rows, codes)
    folds = fold_of(given.codes, np.arange(N_LABELED))
    return rows, codes, teacher, given, X, folds, teacher.cross_fit(given, folds, CLASSES)


def test_what_a_committee_gets_wrong_is_put_right_near_labels(on_clusters):
    _, codes, teacher, given, X, folds, fitted = on_clusters
    voted = teacher.committee.cross_fit(
        replace(given, X=given.X.drop(columns=NODE)), folds, CLASSES
    )
    alone = probabilities(voted.mean_model(CLASSES), X[["x", "y"]])
    both = probabilities(fitted.mean_model(CLASSES), X[[NODE]])
    right = [(P.argmax(axis=1) == codes)[N_LABELED:].mean() for P in (alone, both)]
    assert right[1] > right[0] + 0.1
    assert np.allclose(both.sum(axis=1), 1, atol=1e-5)
    # Labels stand where they are known, and are not known where they are hidden.
    assert np.array_equal(both[:N_LABELED], np.eye(2)[given.codes])
    hidden = fitted.unseen[0].predict_proba(X[[NODE]])
    assert np.array_equal(hidden[:N_LABELED][folds != 0], np.eye(2)[given.codes[folds != 0]])
    assert np.allclose(fitted.P[folds == 0], np.round(hidden[:N_LABELED][folds == 0], 6))
    *members, graph = fitted.members
    assert graph.weight == fitted.settled["smooth"] > 0
    assert graph.weight + sum(member.weight for member in members) == pytest.approx(1)
    assert (graph.accuracy or 0) > max(member.accuracy or 0 for member in members)
    assert len(teacher.member_names) == len(fitted.members) == 3


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_hidden_label_does_not_influence_the_score_of_its_row(strength):
    rows, codes = table(clustered=True)
    teacher = joined(rows, [("GaussianNB", {})], strengths=(strength,))
    given, X = labeled(rows, codes)
    folds = fold_of(given.codes, np.arange(N_LABELED))
    fold = folds == 2
    other = replace(given, codes=np.where(fold, 1 - given.codes, given.codes).astype(np.int32))
    fitted, again = (teacher.cross_fit(some, folds, CLASSES, mean=True) for some in (given, other))
    assert np.array_equal(fitted.P[fold], again.P[fold])
    assert not np.array_equal(fitted.P[~fold], again.P[~fold])
    pool = X[[NODE]][N_LABELED:]
    assert np.array_equal(fitted.score(2, pool), again.score(2, pool))


def test_where_neighbors_do_not_help_the_committees_word_stands():
    rows, codes = table(clustered=False)
    teacher = joined(rows, [("LogisticRegression", {})])
    given, X = labeled(rows, codes)
    folds = fold_of(given.codes, np.arange(N_LABELED))
    fitted = teacher.cross_fit(given, folds, CLASSES, mean=True)
    assert (fitted.settled, fitted.members[-1].weight) == ({"smooth": 0.0}, 0.0)
    own = replace(given, X=given.X.drop(columns=NODE))
    voted = teacher.committee.cross_fit(own, folds, CLASSES, mean=True)
    assert np.abs(fitted.P - voted.P).max() < 2e-6
    expected = probabilities(voted.mean_model(CLASSES), X[["x", "y"]])
    assert np.abs(fitted.mean_model(CLASSES).predict_proba(X[[NODE]]) - expected).max() < 2e-6


def test_votes_on_rows_do_not_depend_on_how_they_are_dealt(on_clusters):
    rows, _, teacher, given, *_ = on_clusters
    model = teacher.committee.fit(replace(given, X=given.X.drop(columns=NODE)), CLASSES)
    broken = rows[N_LABELED:].reset_index(drop=True)
    broken.loc[7, "x"] = np.inf
    pool = pa.RecordBatch.from_pandas(broken, preserve_index=False)
    ids = NODES.of(pool)

    def votes(size):
        def gather(look, together):
            starts = range(0, len(broken), size)
            return together([look([pool.slice(i, size)]) for i in reversed(starts)])

        return votes_on(GraphRows(gather, NODES, ()), [model, model], FEATURES, CLASSES).of(ids)

    P = votes(len(broken))
    assert np.array_equal(P, votes(77))
    assert np.array_equal(P[0], P[1])
    assert np.flatnonzero(~P[0].any(axis=1)).tolist() == [7]
    expected = model.predict_proba(broken.drop(index=7)[["x", "y"]])
    assert np.abs(np.delete(P[0], 7, axis=0) - expected).max() < 1e-5


def test_more_probabilities_than_fit_are_refused_by_name():
    teacher = CorrectAndSmooth(
        GraphSettings(), FEATURES, 0, committee=registered_committee([], FEATURES, 0)
    )
    teacher.require_rows(1_000_000, 10)
    with pytest.raises(InputError, match=r"teacher graph: neighbors .* at most 714,285 rows"):
        teacher.require_rows(1_000_000, 100)
    with pytest.raises(InputError, match=r"teacher\.k"):
        teacher.require_rows(10, 2)
