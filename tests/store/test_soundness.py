"""Numbers of a stored model that lead out of its arrays are seen before anything follows them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from spark_pseudolabel.core.teachers.estimators import build_estimator
from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.store.artifact import dump_model, load_model
from spark_pseudolabel.store.soundness import problem_of_model, tree_problem

rng = np.random.default_rng(0)
X = rng.random((300, 4))
X[:, 3] = rng.integers(0, 5, 300)
Y = (X[:, 0] > 0.5).astype(int) + (X[:, 3] > 2)

Change = Callable[[Any], None]


def reloaded(model: Any) -> Any:
    """Store a model and load it as a manifest that vouches for it would have it."""
    stored = dump_model(model)
    return load_model(stored.data, stored.sha256, stored.trusted_types)


def of_tree(name: str, position: int, value: int) -> Change:
    """Put a number into the nodes of a decision tree."""

    def change(estimator: Any) -> None:
        tree = getattr(estimator, "tree_", None) or estimator.estimators_.ravel()[0].tree_
        state = tree.__getstate__()
        if name == "max_depth":
            state[name] = value
        else:
            state["nodes"][name][position] = value
        tree.__setstate__(state)

    return change


def over_more_features(estimator: Any) -> None:
    tree = estimator.tree_
    _, (_, n_classes, n_outputs), state = tree.__reduce__()
    estimator.tree_ = type(tree)(99, n_classes, n_outputs)
    estimator.tree_.__setstate__(state)


def of_histogram(name: str, position: int, value: int) -> Change:
    def change(estimator: Any) -> None:
        estimator._predictors[0][0].nodes[name][position] = value

    return change


def of_first_categorical(value: int) -> Change:
    def change(estimator: Any) -> None:
        for of_round in estimator._predictors:
            for predictor in of_round:
                split = np.flatnonzero(predictor.nodes["is_categorical"])
                predictor.nodes["bitset_idx"][split[:1]] = value

    return change


def of_search(part: int, value: int, field: str | None = None) -> Change:
    """Put a number into the arrays of a space tree."""

    def change(estimator: Any) -> None:
        state = list(estimator._tree.__getstate__())
        array = np.array(state[part])
        (array if field is None else array[field])[0] = value
        state[part] = array
        estimator._tree.__setstate__(tuple(state))

    return change


def set_attribute(path: str, position: Any, value: Any) -> Change:
    def change(estimator: Any) -> None:
        array = np.array(getattr(estimator, path))
        array[position] = value
        setattr(estimator, path, array)

    return change


def bad_index(estimator: Any) -> None:
    estimator.coef_.indices[0] = 10**6


def without_first_member_of_rounds(estimator: Any) -> None:
    estimator.n_trees_per_iteration_ = 1


def other_columns(estimator: Any) -> None:
    estimator.n_features_in_ = 2


def drop_bins(estimator: Any) -> None:
    estimator._bin_mapper.is_categorical_ = np.zeros(1, dtype=np.uint8)


TREE = DecisionTreeClassifier(max_depth=3)
HIST = HistGradientBoostingClassifier(max_iter=2, categorical_features=[3])
FORGED: dict[str, tuple[Any, Change]] = {
    "tree: child behind the end": (TREE, of_tree("left_child", 0, 10**6)),
    "tree: negative child": (TREE, of_tree("right_child", 0, -7)),
    "tree: child is itself": (TREE, of_tree("left_child", 0, 0)),
    "tree: child before its parent": (TREE, of_tree("left_child", 1, 1)),
    "tree: two parents": (TREE, of_tree("right_child", 0, 1)),
    "tree: feature behind the end": (TREE, of_tree("feature", 0, 99)),
    "tree: negative feature": (TREE, of_tree("feature", 0, -5)),
    "tree: over more features": (TREE, over_more_features),
    "tree: deeper than it says": (TREE, of_tree("max_depth", 0, 1)),
    "forest: a member over more features": (
        RandomForestClassifier(3, max_depth=2),
        lambda forest: other_columns(forest.estimators_[1]),
    ),
    "boosting: feature behind the end": (
        GradientBoostingClassifier(n_estimators=2),
        of_tree("feature", 0, 99),
    ),
    "boosting: more trees than outputs": (
        GradientBoostingClassifier(n_estimators=2),
        without_first_member_of_rounds,
    ),
    "boosting: of other columns": (GradientBoostingClassifier(n_estimators=2), other_columns),
    "histograms: child behind the end": (HIST, of_histogram("left", 0, 10**6)),
    "histograms: child is itself": (HIST, of_histogram("right", 0, 0)),
    "histograms: feature behind the end": (HIST, of_histogram("feature_idx", 0, 77)),
    "histograms: set behind the end": (HIST, of_first_categorical(1_000)),
    "histograms: number split by categories": (HIST, of_histogram("is_categorical", 0, 1)),
    "histograms: bins of other columns": (HIST, drop_bins),
    "neighbors: row behind the end": (KNeighborsClassifier(), of_search(1, 10**9)),
    "neighbors: node behind the end": (KNeighborsClassifier(), of_search(2, 10**9, "idx_end")),
    "neighbors: class behind the end": (
        KNeighborsClassifier(algorithm="brute"),
        set_attribute("_y", 0, 99),
    ),
    "support vectors: more than there are": (
        SVC(),
        set_attribute("_n_support", 0, 10**6),
    ),
    "sparse: column behind the end": (
        make_pipeline(OneHotEncoder(), LogisticRegression()),
        lambda pipeline: bad_index(pipeline[-1].sparsify()),
    ),
    "inside of others": (
        BaggingClassifier(TREE, n_estimators=2),
        lambda bagging: of_tree("left_child", 0, 10**6)(bagging.estimators_[1]),
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_an_index_outside_of_its_array_is_refused_when_a_model_is_loaded(name: str) -> None:
    estimator, change = FORGED[name]
    model = clone(estimator).fit(X, Y)
    assert problem_of_model(model) is None
    change(model)
    with pytest.raises(StoredStateError, match="is not whole"):
        reloaded(model)


@pytest.mark.parametrize(
    ("params", "before", "after"),
    [
        ({}, "left_child=1 ", "left_child=999999 "),
        ({}, "split_feature=0", "split_feature=77"),
        ({}, "num_tree_per_iteration=3", "num_tree_per_iteration=99"),
        ({}, "max_feature_idx=3", "max_feature_idx=-1"),
        ({"linear_tree": True}, "leaf_features=", "leaf_features=55 "),
    ],
)
def test_a_forged_lightgbm_model_is_refused_before_it_is_parsed(
    params: dict[str, Any], before: str, after: str
) -> None:
    model = build_estimator(
        "LGBMClassifier", {"n_estimators": 3, "n_jobs": 1, **params}, random_state=0
    )
    stored = dump_model(model.fit(X, Y))
    with zipfile.ZipFile(io.BytesIO(stored.data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = members["schema.json"].decode()
    assert before in schema
    members["schema.json"] = schema.replace(before, after, 1).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    data = buffer.getvalue()
    with pytest.raises(StoredStateError, match="LightGBM's model"):
        load_model(data, hashlib.sha256(data).hexdigest(), stored.trusted_types)


@pytest.mark.parametrize(
    ("key", "value"),
    [("left_children", 10**6), ("left_children", 0), ("split_indices", 99), ("tree_info", 44)],
)
def test_a_forged_xgboost_model_is_refused(key: str, value: int) -> None:
    model = build_estimator("XGBClassifier", {"n_estimators": 2, "n_jobs": 1}, random_state=0).fit(
        X, Y
    )
    document = json.loads(bytes(model.get_booster().save_raw("json")))
    trees = document["learner"]["gradient_booster"]["model"]
    (trees if key == "tree_info" else trees["trees"][0])[key][0] = value

    class Forged(type(model.get_booster())):  # type: ignore[misc]
        def save_raw(self, raw_format: str = "json") -> bytearray:
            return bytearray(json.dumps(document).encode())

    model._Booster = Forged()
    assert problem_of_model(model) is not None


def test_a_tree_whose_nodes_lie_in_any_order_is_one_where_a_library_reuses_numbers() -> None:
    sides = np.array([2, -1, 1, -1, -1]), np.array([4, -1, 3, -1, -1])
    inner, asked = np.array([True, False, True, False, False]), np.zeros(5, dtype=int)
    assert tree_problem(sides, inner, asked, 1, later=False) is None
    assert tree_problem(sides, inner, asked, 1) is not None
