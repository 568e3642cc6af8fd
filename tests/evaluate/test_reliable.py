from __future__ import annotations

import pytest

from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.evaluate.data import load
from spark_pseudolabel.evaluate.guarded import student_of, teacher_of
from spark_pseudolabel.evaluate.measured import Students
from spark_pseudolabel.evaluate.reliable import METHODS, prior_of, reliability_of
from spark_pseudolabel.evaluate.tables import prior, reliability, student
from spark_pseudolabel.evaluate.task import draw


@pytest.fixture(scope="module")
def tree() -> EstimatorTeacher:
    return registered_estimator("DecisionTreeClassifier", {}, load("overlap", None).features, 0)


def test_reported_calibration_error_is_that_of_the_pool(tree: EstimatorTeacher) -> None:
    found = reliability_of(tree, draw(load("overlap", None), 400, 0, n_pool=2000, n_test=1))
    assert len(found.each) == len(METHODS)
    for errors in found.each:
        assert errors.published is not None
        assert errors.reported is not None
        assert errors.published <= errors.reported + 0.04
    assert "| overlap:400 | 1 |" in reliability([found.of("overlap:400", 0)])


def test_estimated_prior_of_trees_is_near_the_true_one() -> None:
    data = load("imbalance", None)
    learner = registered_estimator("DecisionTreeClassifier", {}, data.features, 0)
    found = prior_of(learner, draw(data, 200, 0, per_class=True, n_pool=3000, n_test=1))
    assert found.estimated == pytest.approx(found.true, abs=0.04)
    assert "| imbalance | 1 |" in prior([found.of("imbalance", 0)])


def test_tree_does_not_take_the_place_of_five(tree: EstimatorTeacher) -> None:
    task = draw(load("overlap", None), 300, 0, n_pool=500, n_test=1000)
    run = Students(cell="overlap:300", student=student_of(tree, teacher_of(tree, task), task))
    table = student([Students.model_validate_json(run.model_dump_json())])
    assert "| overlap:300 | 1 | 0 of 1 | 0 of 1 | 0 of 0 |" in table
