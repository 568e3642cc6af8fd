from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.teachers.cross_fitting import fold_of, probabilities
from spark_pseudolabel.evaluate.certificates import certify_task
from spark_pseudolabel.evaluate.data import load
from spark_pseudolabel.evaluate.learners import LEARNERS, learner_of
from spark_pseudolabel.evaluate.reliable import reliability_of
from spark_pseudolabel.evaluate.task import draw, with_copies


@pytest.mark.parametrize("name", ["lr", "anchors", "propagation", "spreading", "poisson", "tri_lr"])
def test_teachers_label_the_pool_and_rows_they_have_not_seen(name: str) -> None:
    assert name in LEARNERS
    task = with_copies(draw(load("wine", None), 40, 0, n_pool=80, n_test=1), 0.3)
    learner = learner_of(name, task)
    rows, classes = learner.task.labeled, task.data.classes
    fitted = learner.teacher.cross_fit(rows, fold_of(rows.codes, task.hashes), classes, mean=True)
    assert (fitted.P.argmax(axis=1) == rows.codes).mean() > 0.85
    P = probabilities(fitted.mean_model(classes), learner.task.pool)
    assert (P.argmax(axis=1) == task.pool_codes).mean() > 0.85


def test_a_graph_in_memory_is_certified_and_measured_on_the_rows_themselves() -> None:
    task = draw(load("imbalance", None), 300, 0, n_pool=500, n_test=1)
    learner = learner_of("propagation", task)
    found = certify_task(learner.teacher, task, seen=learner.task)
    assert found.pool.ece is not None
    assert found.fixed.coverage > 0.5
    assert learner.task.pool.shape == (500, 1)
    assert np.array_equal(learner.task.pool_codes, task.pool_codes)
    reported = reliability_of(learner.teacher, learner.task)
    assert all(errors.published is not None for errors in reported.each)
