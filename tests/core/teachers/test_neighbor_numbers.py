from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.teachers.distant_graph import GraphSettings
from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph
from spark_pseudolabel.core.teachers.neighbor_numbers import NeighborNumberTeacher
from spark_pseudolabel.core.teachers.neighbors import MAX_EDGES
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.artifact import dump_model, load_model
from tests.core.teachers.number_rows import CLASSES, task_of
from tests.core.teachers.test_anchor_numbers import smooth
from tests.core.teachers.test_graph_solvers import graph_of

N_LABELED, N = 300, 3000


@pytest.fixture(scope="module")
def rows() -> tuple[NeighborGraph, TrainingRows, np.ndarray]:
    """Return a graph of rows, those with labels, and all true numbers, in the order of the ids."""
    X, y = smooth(N, 0)
    graph = graph_of(X.to_numpy())
    nodes = pd.DataFrame({NODE: graph.ids[:N_LABELED]})
    codes, folds = np.zeros(N_LABELED, dtype=np.int32), np.arange(N_LABELED) % 5
    given = TrainingRows(nodes, codes, None, 0, y[:N_LABELED], folds.astype(np.int32))
    return graph, given, y


def teacher_on(graph: NeighborGraph, y: np.ndarray, **chosen: str) -> NeighborNumberTeacher:
    settings = GraphSettings(**chosen)  # type: ignore[arg-type]
    return NeighborNumberTeacher(settings, (), 0, task=task_of(y, 1.0)).joined(graph)


@pytest.mark.parametrize("weights", ["gaussian", "connectivity"])
def test_a_smooth_function_is_known_with_confidences_and_bounds_that_hold(rows, weights) -> None:
    graph, given, y = rows
    teacher = teacher_on(graph, y[:N_LABELED], weights=weights)
    fitted = teacher.cross_fit(given, given.folds, CLASSES, mean=True)
    model = fitted.mean_model(CLASSES)
    stored = dump_model(model)
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    assert loaded.transductive
    pool = pd.DataFrame({NODE: graph.ids[N_LABELED:]})
    says = loaded.says(pool)
    np.testing.assert_array_equal(says, model.says(pool))
    y = y[N_LABELED:]
    assert np.sqrt(((says[:, 0] - y) ** 2).mean()) < 0.5 * y.std()
    right = teacher.task.is_right(y, says[:, 0])
    # Errors are those of models that have seen three fifths of the labels, which here tell much.
    assert right.mean() - 0.15 < says[:, 1].mean() < right.mean() + 0.02
    assert 0.87 < ((says[:, 2] <= y) & (y <= says[:, 3])).mean() < 0.97
    sure = np.argsort(-says[:, 1])[: len(y) // 5]
    assert right[sure].mean() > right.mean()
    unknown = loaded.says(pd.DataFrame({NODE: [10**9]}))
    assert unknown[0, 1] == 0
    assert np.isnan(unknown[0, [0, 2, 3]]).all()


def test_labels_are_kept_and_have_no_say_in_their_own_number_out_of_fold(rows) -> None:
    graph, given, y = rows
    teacher = teacher_on(graph, y[:N_LABELED])
    assert teacher.fit(given, CLASSES).predict(given.X) == pytest.approx(y[:N_LABELED], abs=1e-5)
    inside = given.folds == 2
    other = replace(given, values=np.where(inside, given.values + 50.0, given.values))
    fits = [teacher.cross_fit(of, given.folds, CLASSES, mean=True) for of in (given, other)]
    np.testing.assert_array_equal(*[fit.numbers[inside, 0] for fit in fits])
    assert (fits[0].numbers[~inside, 0] != fits[1].numbers[~inside, 0]).any()


def test_a_graph_that_the_driver_does_not_hold_is_refused_by_name(rows) -> None:
    graph, _, y = rows
    teacher = teacher_on(graph, y)
    teacher.require_rows(MAX_EDGES // 10)
    with pytest.raises(InputError, match=r"at most 12,000,000 rows.* graph: anchors"):
        teacher.require_rows(MAX_EDGES // 10 + 1)
