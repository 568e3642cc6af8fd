import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import VotingClassifier

from spark_pseudolabel.core.feature import Feature
from spark_pseudolabel.core.teachers.anchors import anchors_teacher
from spark_pseudolabel.core.teachers.committee import registered_committee
from spark_pseudolabel.core.teachers.cross_fitting import MemberScore, fold_of, probabilities
from spark_pseudolabel.core.teachers.graph_member import CommitteeWithAnchors
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of

FEATURES = (Feature("x", "numeric", "double"), Feature("y", "numeric", "double"))
CLASSES = ("even", "odd")
N_LABELED = 60
BAYES = ("GaussianNB", {})


def table(clustered: bool):
    """Rows of clusters on a grid, the classes those of a chess board, or a noisy line."""
    draw = np.random.default_rng(0)
    if clustered:
        places = draw.integers(4, size=(900, 2))
        X = places + 0.12 * draw.normal(size=(900, 2))
        codes = places.sum(axis=1) % 2
    else:
        X = draw.normal(size=(900, 2))
        codes = X[:, 0] + draw.normal(size=900) > 0
    return pd.DataFrame(X, columns=["x", "y"]), codes.astype(np.int32)


@pytest.fixture(scope="module")
def on_clusters():
    """Rows of clusters, and the teacher fitted on some of them."""
    X, codes = table(clustered=True)
    committee, both = teachers(X, BAYES)
    rows = labeled(X, codes)
    folds = fold_of(rows.codes, np.arange(N_LABELED))
    return X, codes, committee, both, folds, both.cross_fit(rows, folds, CLASSES)


def teachers(X, *others):
    named = [("LogisticRegression", {}), *others]
    committee = registered_committee(named, FEATURES, 0).prepared(X)
    both = CommitteeWithAnchors(committee.members, anchors_teacher(FEATURES, 100, 3, 0))
    return committee, both.placed(X)


def labeled(X, codes):
    return TrainingRows(X[:N_LABELED], codes[:N_LABELED], None, 0)


def test_it_helps_where_classes_are_clusters(on_clusters) -> None:
    X, codes, committee, both, folds, fitted = on_clusters
    rows = labeled(X, codes)
    right = {
        name: (probabilities(model, X[N_LABELED:]).argmax(axis=1) == codes[N_LABELED:]).mean()
        for name, model in (
            ("both", fitted.mean_model(CLASSES)),
            ("alone", committee.cross_fit(rows, folds, CLASSES).mean_model(CLASSES)),
        )
    }
    assert right["alone"] < 0.65
    assert right["both"] > 0.95
    graph = fitted.members[-1]
    assert graph.weight > 0.5
    assert graph.accuracy is not None
    assert graph.accuracy > 0.85
    assert 0 < graph.coverage <= 1
    assert sum(member.weight for member in fitted.members) == pytest.approx(1)
    assert (both.voters, both.member_names) == (
        3,
        ["LogisticRegression", "GaussianNB", "graph: anchors"],
    )


def test_where_it_does_not_help_the_committee_is_what_it_is_without() -> None:
    X, codes = table(clustered=False)
    committee, both = teachers(X, BAYES)
    rows = labeled(X, codes)
    folds = fold_of(rows.codes, np.arange(N_LABELED))
    fitted, alone = (
        teacher.cross_fit(rows, folds, CLASSES, mean=True) for teacher in (both, committee)
    )
    assert fitted.members[-1].weight == 0
    assert np.array_equal(fitted.P, alone.P)
    models = (fitted.mean_model(CLASSES), alone.mean_model(CLASSES))
    P, expected = (probabilities(model, X) for model in models)
    assert np.array_equal(P, expected)
    # Nothing is left of the graph: the model is scikit-learn's own.
    assert (type(models[0]), fitted.voters) == (VotingClassifier, 2)
    assert len(members_of(models[0])) == 10


def test_where_no_column_tells_rows_apart_it_has_no_say() -> None:
    X, codes = table(clustered=True)
    X[["x", "y"]] = 1.0
    committee, both = teachers(X)  # the other one has no variance
    rows = labeled(X, codes)
    folds = fold_of(rows.codes, np.arange(N_LABELED))
    fitted, alone = (teacher.cross_fit(rows, folds, CLASSES) for teacher in (both, committee))
    assert np.array_equal(fitted.P, alone.P)
    assert fitted.members[-1] == MemberScore(0.0, 0.0, None)
    assert len(fitted.members) == len(both.member_names)


def test_without_a_held_out_row_nothing_speaks_for_it() -> None:
    X, _ = table(clustered=True)
    _, both = teachers(X, BAYES)
    rows = TrainingRows(X[:2], np.array([0, 1], dtype=np.int32), None, 0)
    fitted = both.cross_fit(rows, np.full(2, -1, dtype=np.int32), CLASSES, mean=True)
    assert (fitted.members, fitted.voters) == ((), 2)
    assert len(members_of(fitted.mean_model(CLASSES))) == 2


def test_no_member_of_a_fold_knows_its_labels(on_clusters) -> None:
    X, codes, _, both, folds, fitted = on_clusters
    other = codes[:N_LABELED].copy()
    other[folds == 1] = 1 - other[folds == 1]
    rows = TrainingRows(X[:N_LABELED], other, None, 0)
    again = both.cross_fit(rows, folds, CLASSES).models[1]
    for before, after in zip(members_of(fitted.models[1]), members_of(again), strict=True):
        assert np.array_equal(before.predict_proba(X), after.predict_proba(X))
