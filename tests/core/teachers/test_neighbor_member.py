from dataclasses import replace

import numpy as np
import pytest

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.teachers.cross_fitting import fold_of, probabilities
from spark_pseudolabel.core.teachers.distant_graph import GraphSettings
from spark_pseudolabel.core.teachers.neighbor_member import CommitteeWithNeighbors
from spark_pseudolabel.core.teachers.neighbors import NeighborTeacher
from spark_pseudolabel.core.teachers.node_scores import NodeScores
from tests.core.teachers.test_correct_and_smooth import (
    CLASSES,
    FEATURES,
    N_LABELED,
    joined,
    labeled,
    table,
)

MEMBERS = [("LogisticRegression", {}), ("GaussianNB", {})]


@pytest.fixture(scope="module")
def on_clusters():
    rows, codes = table(clustered=True)
    teacher = joined(rows, MEMBERS, CommitteeWithNeighbors)
    given, X = labeled(rows, codes)
    folds = fold_of(given.codes, np.arange(N_LABELED))
    return codes, teacher, given, X, folds, teacher.cross_fit(given, folds, CLASSES, mean=True)


def test_it_helps_where_classes_are_clusters(on_clusters):
    codes, teacher, _, X, folds, fitted = on_clusters
    model = fitted.mean_model(CLASSES)
    assert isinstance(model, NodeScores)
    P = probabilities(model, X[[NODE]])
    assert (P.argmax(axis=1) == codes)[N_LABELED:].mean() > 0.95
    assert np.allclose(P.sum(axis=1), 1, atol=1e-5)
    *others, graph = fitted.members
    assert graph.weight > 0.5
    assert sum(member.weight for member in fitted.members) == pytest.approx(1)
    assert (graph.accuracy or 0) > max(member.accuracy or 0 for member in others)
    assert list(teacher.member_names) == ["LogisticRegression", "GaussianNB", "graph: neighbors"]
    for fold in range(5):
        of_fold = folds == fold
        seen = fitted.score(fold, X[[NODE]][:N_LABELED][of_fold])
        assert np.array_equal(seen, fitted.P[of_fold])


def test_the_vote_that_is_looked_up_is_that_of_its_members(on_clusters):
    _, teacher, given, X, _, _ = on_clusters
    model = teacher.fit(given, CLASSES)
    graph = NeighborTeacher(GraphSettings(), FEATURES, 0).joined(teacher.nodes)
    own = replace(given, X=given.X.drop(columns=NODE))
    spread = graph.fit(given, CLASSES).predict_proba(X[[NODE]])
    committee = teacher.committee.fit(own, CLASSES).predict_proba(X[["x", "y"]])
    expected = np.where(spread.any(axis=1, keepdims=True), (2 * committee + spread) / 3, committee)
    assert np.abs(model.predict_proba(X[[NODE]]) - expected).max() < 1e-5


def test_where_distances_say_nothing_it_has_hardly_a_say():
    rows, codes = table(clustered=False)
    teacher = joined(rows, MEMBERS, CommitteeWithNeighbors)
    given, X = labeled(rows, codes)
    folds = fold_of(given.codes, np.arange(N_LABELED))
    fitted = teacher.cross_fit(given, folds, CLASSES)
    assert fitted.members[-1].weight < 0.01
    own = replace(given, X=given.X.drop(columns=NODE))
    alone = teacher.committee.cross_fit(own, folds, CLASSES)
    expected = probabilities(alone.mean_model(CLASSES), X[["x", "y"]])
    assert np.abs(fitted.mean_model(CLASSES).predict_proba(X[[NODE]]) - expected).max() < 0.05
