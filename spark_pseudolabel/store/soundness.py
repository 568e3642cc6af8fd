"""Whether the numbers inside a loaded model stay within its arrays.

Trees, neighbor searches and support vectors are followed by compiled code that checks no index:
a crafted one reads or writes elsewhere in the process, or never ends. A fitted model keeps to the
rules below by construction, so that they refuse no model that was fitted.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CATEGORY_WORDS = 8
"""Words of 32 bits in a set of categories of HistGradientBoosting: 256 of them."""
_XGBOOST_LEAF = -1
_LIGHTGBM = "tree\n"


def problem_of_model(model: Any) -> str | None:
    """Say what in a model points outside of its own arrays.

    Parameters
    ----------
    model
        A loaded estimator; all that it is made of is looked at.

    Returns
    -------
    str or None
        One clause, or None for a model that keeps within its arrays.
    """
    for part in _parts(model):
        for kind, check in _checks():
            if isinstance(part, kind) and (problem := _checked(check, part)):
                return f"{type(part).__name__} {problem}"
    return None


def problem_of_text(schema: Any) -> str | None:
    """Say what is wrong with LightGBM's models among the values of a stored model.

    They are parsed by compiled code while a model is loaded, hence looked at before.

    Parameters
    ----------
    schema
        The parsed ``schema.json`` of a skops archive.
    """
    for text in _texts(schema):
        if text.startswith(_LIGHTGBM) and (problem := _checked(_lightgbm_problem, text)):
            return f"LightGBM's model {problem}"
    return None


def tree_problem(
    children: tuple[NDArray[np.int64], NDArray[np.int64]],
    inner: NDArray[np.bool_],
    feature: NDArray[np.int64],
    n_features: int,
    *,
    later: bool = True,
) -> str | None:
    """Say why nodes are no tree over the features of a row.

    Parameters
    ----------
    children
        Left and right child of every node; what they hold at leaves is not looked at.
    inner
        Which nodes have children.
    feature
        Column that a node asks for.
    n_features
        How many columns a row has.
    later
        Whether a child must come after its parent, as most libraries number nodes.

    Returns
    -------
    str or None
        One clause; None for a tree, which ends below every row.
    """
    left, right = (side[inner] for side in children)
    below, n_nodes = np.concatenate([left, right]), len(inner)
    parents = np.flatnonzero(inner)
    if n_nodes == 0:
        return "has no nodes"
    if len(below) and (below.min() < 1 or below.max() >= n_nodes):
        return f"has a child outside of its {n_nodes:,} nodes"
    if later and bool((np.minimum(left, right) <= parents).any()):
        return "has a child that does not come after its parent"
    if len(np.unique(below)) != len(below):
        return "has a node with two parents"
    asked_features = feature[inner]
    if len(asked_features) and (asked_features.min() < 0 or asked_features.max() >= n_features):
        return f"asks for a feature outside of its {n_features:,}"
    return None


# --- what a model is made of


def _parts(model: Any) -> Iterator[Any]:
    seen_ids: set[int] = set()
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if id(part) in seen_ids or isinstance(part, (str, bytes, int, float, type, type(None))):
            continue
        seen_ids.add(id(part))
        yield part
        waiting.extend(_inside(part))


def _inside(part: Any) -> Iterator[Any]:
    if isinstance(part, Mapping):
        yield from part.values()
    elif isinstance(part, (list, tuple, set, frozenset)):
        yield from part
    elif isinstance(part, np.ndarray):
        yield from part.ravel().tolist() if part.dtype == object else ()
    elif isinstance(part, functools.partial):
        yield from (*part.args, part.keywords)
    else:
        yield from getattr(part, "__dict__", {}).values()


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, str):
            yield part
            if part.startswith('"'):  # JSON within JSON
                yield json.loads(part)


def _checked(check: Callable[[Any], str | None], part: Any) -> str | None:
    try:
        return check(part)
    except Exception as error:  # noqa: BLE001  whatever a forged state leads to
        return f"is not whole ({type(error).__name__}: {error})"


@functools.cache
def _sklearn_checks() -> tuple[tuple[Any, Callable[[Any], str | None]], ...]:
    from scipy.sparse import sparray, spmatrix
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._gb import BaseGradientBoosting
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import (
        BaseHistGradientBoosting,
    )
    from sklearn.neighbors import BallTree, KDTree
    from sklearn.neighbors._base import NeighborsBase
    from sklearn.svm._base import BaseLibSVM
    from sklearn.tree import BaseDecisionTree

    return (
        (BaseDecisionTree, _decision_tree_problem),
        (BaseForest, _forest_problem),
        (BaseGradientBoosting, _boosting_problem),
        (BaseHistGradientBoosting, _hist_boosting_problem),
        ((BallTree, KDTree), _space_tree_problem),
        (NeighborsBase, _neighbors_problem),
        (BaseLibSVM, _svm_problem),
        ((spmatrix, sparray), _sparse_problem),
    )


def _checks() -> Iterator[tuple[Any, Callable[[Any], str | None]]]:
    yield from _sklearn_checks()
    # Imported only where a model of it has been loaded.
    if (xgboost := sys.modules.get("xgboost")) is not None:
        yield xgboost.Booster, _xgboost_problem


# --- scikit-learn


def _decision_tree_problem(estimator: Any) -> str | None:
    tree = getattr(estimator, "tree_", None)
    if tree is None:
        return None
    left, right = (side.astype(np.int64) for side in (tree.children_left, tree.children_right))
    if tree.n_features != estimator.n_features_in_:
        return "has a tree over other features than its own"
    # Compiled code takes a node without a left child for a leaf.
    inner = left != -1
    problem = tree_problem((left, right), inner, tree.feature, tree.n_features)
    return problem or _depth_problem(left, right, inner, int(tree.max_depth))


def _depth_problem(
    left: NDArray[np.int64], right: NDArray[np.int64], inner: NDArray[np.bool_], most: int
) -> str | None:
    level, depth = np.zeros(1, dtype=np.int64), 0
    while len(parents := level[inner[level]]):
        level, depth = np.concatenate([left[parents], right[parents]]), depth + 1
        if depth > most:
            return f"is deeper than the {most:,} levels that it says"
    return None


def _forest_problem(forest: Any) -> str | None:
    members = getattr(forest, "estimators_", ())
    if any(member.n_features_in_ != forest.n_features_in_ for member in members):
        return "has a tree over other features than its own"
    return None


def _boosting_problem(boosting: Any) -> str | None:
    if not hasattr(boosting, "estimators_"):
        return None
    if boosting.estimators_.shape[1] != boosting.n_trees_per_iteration_:
        return "has another number of trees in a round than of outputs"
    trees = boosting.estimators_.ravel()
    if any(tree.n_features_in_ != boosting.n_features_in_ for tree in trees):
        return "has a tree over other features than its own"
    return None


def _hist_boosting_problem(boosting: Any) -> str | None:
    n_features = getattr(boosting, "_n_features", None)
    if n_features is None:
        return None
    mapper = boosting._bin_mapper
    categorical = np.asarray(mapper.is_categorical_).astype(bool)
    if len(categorical) != n_features:
        return "has bins for other features than its own"
    for of_round in boosting._predictors:
        if len(of_round) != boosting.n_trees_per_iteration_:
            return "has another number of trees in a round than of outputs"
        for predictor in of_round:
            if problem := _predictor_problem(predictor, categorical):
                return problem
    return None


def _predictor_problem(predictor: Any, categorical: NDArray[np.bool_]) -> str | None:
    nodes, sets = predictor.nodes, predictor.raw_left_cat_bitsets
    if nodes.ndim != 1 or sets.ndim != 2 or sets.shape[1] != _CATEGORY_WORDS:
        return "has arrays of another shape than its own"
    inner = nodes["is_leaf"] == 0
    sides = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    features = nodes["feature_idx"].astype(np.int64)
    if problem := tree_problem(sides, inner, features, len(categorical)):
        return problem
    by_category = inner & (nodes["is_categorical"] != 0)
    if not categorical[features[by_category]].all():
        return "splits a number by categories"
    if len(used := nodes["bitset_idx"][by_category].astype(np.int64)) and used.max() >= len(sets):
        return "asks for a set of categories that it does not have"
    return None


def _space_tree_problem(tree: Any) -> str | None:
    data, order, nodes, bounds = (np.asarray(array) for array in tree.__getstate__()[:4])
    n_rows, n_nodes = len(data), len(nodes)
    if len(order) != n_rows or not np.array_equal(np.sort(order), np.arange(n_rows)):
        return "does not hold each of its rows once"
    if bounds.shape[1] != n_nodes or bounds.shape[2] not in (data.shape[1], 1):
        return "has bounds of another shape than its nodes"
    start, end = nodes["idx_start"].astype(np.int64), nodes["idx_end"].astype(np.int64)
    if n_nodes == 0 or start.min() < 0 or end.max() > n_rows or bool((start > end).any()):
        return "has a node outside of its rows"
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    if len(inner) and 2 * int(inner.max()) + 2 >= n_nodes:
        return "has a node without its children"
    state, weights = tree.__getstate__(), tree.__getstate__()[12]
    distance = state[11].__getstate__()
    vectors = [part for part in distance if isinstance(part, np.ndarray)]
    if any(vector.size not in (0, 1, data.shape[1]) for vector in vectors):
        return "has a distance over other features than its own"
    if weights is not None and len(weights) != n_rows:
        return "has weights of other rows than its own"
    return None


def _neighbors_problem(estimator: Any) -> str | None:
    if not hasattr(estimator, "_fit_X"):
        return None
    n_rows = estimator._fit_X.shape[0]
    tree, codes = getattr(estimator, "_tree", None), np.asarray(getattr(estimator, "_y", ()))
    if tree is not None and len(tree.__getstate__()[0]) != n_rows:
        return "searches other rows than its own"
    if estimator.n_samples_fit_ != n_rows:
        return "has another number of rows than it says"
    classes = getattr(estimator, "classes_", None)
    if classes is None or isinstance(classes, list):
        return None
    if len(codes) != n_rows or (n_rows and (codes.min() < 0 or codes.max() >= len(classes))):
        return "has a row without one of its classes"
    return None


def _svm_problem(machine: Any) -> str | None:
    if not hasattr(machine, "support_"):
        return None
    n_classes, n_vectors = len(machine.classes_), len(machine.support_)
    pairs = n_classes * (n_classes - 1) // 2
    # Without it, predict_proba raises and never asks for these numbers.
    has_platt = machine.probability is True
    right = (
        len(machine._n_support) == n_classes
        and bool((machine._n_support >= 0).all())
        and int(machine._n_support.sum()) == n_vectors
        and machine.support_vectors_.shape == (n_vectors, machine.n_features_in_)
        and machine._dual_coef_.shape == (n_classes - 1, n_vectors)
        and machine.dual_coef_.shape == (n_classes - 1, n_vectors)
        and len(machine._intercept_) == pairs
        and len(machine._probA) == len(machine._probB)
        and len(machine._probA) in ((pairs,) if has_platt else (0, pairs))
    )
    return None if right else "has arrays of another shape than its support vectors"


def _sparse_problem(matrix: Any) -> str | None:
    if matrix.format in ("csr", "csc"):
        matrix.check_format(full_check=True)
        return None
    return None if matrix.nnz == 0 else f"is of format {matrix.format!r}"


# --- libraries with formats of their own


def _xgboost_problem(booster: Any) -> str | None:
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    sizes, gbtree = learner["learner_model_param"], learner["gradient_booster"]
    n_features = int(sizes["num_feature"])
    n_groups = max(1, int(sizes["num_class"])) * max(1, int(sizes.get("num_target", 1)))
    model = gbtree["model"] if "model" in gbtree else gbtree.get("gbtree", {}).get("model")
    if model is None or "trees" not in model:  # a linear model: two arrays that it reads whole
        return None
    trees, groups = model["trees"], np.asarray(model["tree_info"], dtype=np.int64)
    if len(groups) != len(trees) or (len(groups) and not 0 <= groups.min() <= groups.max()):
        return "has trees without an output"
    if len(groups) and groups.max() >= n_groups:
        return f"has a tree for an output outside of its {n_groups:,}"
    for tree in trees:
        if problem := _xgboost_tree_problem(tree, n_features):
            return problem
    return None


def _xgboost_tree_problem(tree: Mapping[str, Any], n_features: int) -> str | None:
    n_nodes = int(tree["tree_param"]["num_nodes"])
    per_node = ("left_children", "right_children", "split_indices", "split_conditions")
    if any(len(tree[name]) != n_nodes for name in per_node):
        return "has arrays of another length than its nodes"
    left, right, features = (np.asarray(tree[name], dtype=np.int64) for name in per_node[:3])
    # Pruned nodes leave numbers that later ones take.
    if problem := tree_problem(
        (left, right), left != _XGBOOST_LEAF, features, n_features, later=False
    ):
        return problem
    nodes, start, size = (
        np.asarray(tree.get(f"categories{name}", ()), dtype=np.int64)
        for name in ("_nodes", "_segments", "_sizes")
    )
    if not len(nodes) == len(start) == len(size):
        return "has sets of categories without a node"
    n_categories = len(tree.get("categories", ()))
    outside = (nodes < 0) | (nodes >= n_nodes) | (start < 0) | (size < 0)
    if bool((outside | (start + size > n_categories)).any()):
        return "asks for a set of categories that it does not have"
    return None


def _lightgbm_problem(text: str) -> str | None:
    header, *sections = text.partition("\nend of trees")[0].split("\nTree=")
    facts = _lines(header)
    n_features = int(facts["max_feature_idx"]) + 1
    if facts["num_tree_per_iteration"] != facts["num_class"]:
        return "has another number of trees in a round than of outputs"
    for section in sections:
        if problem := _lightgbm_tree_problem(_lines(section), n_features):
            return problem
    return None


def _lightgbm_tree_problem(tree: Mapping[str, str], n_features: int) -> str | None:
    n_leaves, n_sets = int(tree["num_leaves"]), int(tree["num_cat"])
    n_nodes = n_leaves - 1
    if n_nodes < 0 or len(_numbers(tree, "leaf_value")) != n_leaves:
        return "has arrays of another length than its leaves"
    if n_nodes == 0:
        return None
    names = ("left_child", "right_child", "split_feature", "decision_type", "threshold")
    left, right, features, kind, cut = (_numbers(tree, name) for name in names)
    if any(len(array) != n_nodes for array in (left, right, features, kind, cut)):
        return "has arrays of another length than its nodes"
    # A negative child is leaf number -child - 1: leaves come behind the nodes here.
    sides = [
        np.where(side < 0, n_nodes - side - 1, side).astype(np.int64) for side in (left, right)
    ]
    inner = np.arange(n_nodes + n_leaves) < n_nodes
    padded = [
        np.concatenate([side, np.zeros(n_leaves, dtype=np.int64)]) for side in (*sides, features)
    ]
    problem = tree_problem((padded[0], padded[1]), inner, padded[2].astype(np.int64), n_features)
    if problem:
        return problem
    by_category = (kind.astype(np.int64) & 1) == 1
    limits = _numbers(tree, "cat_boundaries").astype(np.int64)
    masks = _numbers(tree, "cat_threshold")
    if n_sets and (len(limits) != n_sets + 1 or limits[0] != 0 or limits[-1] > len(masks)):
        return "has arrays of another length than its sets of categories"
    if bool((np.diff(limits) < 0).any()) or bool(((cut < 0) | (cut >= n_sets))[by_category].any()):
        return "asks for a set of categories that it does not have"
    linear = _numbers(tree, "leaf_features")
    if len(linear) and (linear.min() < 0 or linear.max() >= n_features):
        return f"asks for a feature outside of its {n_features:,}"
    return None


def _lines(section: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in section.splitlines())
    return {key: value for key, _, value in pairs}


def _numbers(tree: Mapping[str, str], key: str) -> NDArray[np.float64]:
    return np.array([float(number) for number in tree.get(key, "").split()])
