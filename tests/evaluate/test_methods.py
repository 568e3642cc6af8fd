from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.trust.guard import Losses
from spark_pseudolabel.evaluate import methods
from spark_pseudolabel.evaluate.accuracy import measure
from spark_pseudolabel.evaluate.certificates import certify_task
from spark_pseudolabel.evaluate.data import load
from spark_pseudolabel.evaluate.guarded import GUARDS, runs_of
from spark_pseudolabel.evaluate.known import MemoryTeacher
from spark_pseudolabel.evaluate.measured import Certificates, Promises, Scores, Seen
from spark_pseudolabel.evaluate.promises import promise_task
from spark_pseudolabel.evaluate.quick import QuickTeacher, as_numbers
from spark_pseudolabel.evaluate.shift import alarm
from spark_pseudolabel.evaluate.tables import PAIRS, accuracy, certificate, guard, promise
from spark_pseudolabel.evaluate.task import draw, with_copies, without_groups


def test_certificate_is_held_against_the_truth() -> None:
    data = load("imbalance", None)
    task = draw(data, 900, 0, n_pool=2000, n_test=1)
    found = certify_task(registered_estimator("LogisticRegression", {}, data.features, 0), task)
    assert found.all.coverage > 0.2
    assert found.all.broken is False
    assert "0 of 1" in certificate([found.of("clean", 0)])
    stored = found.model_dump(mode="json", by_alias=True)
    assert (set(stored) >= {"all", "class", "fixed"}, Certificates(**stored)) == (True, found)


def test_promises_are_held_against_the_truth() -> None:
    data = as_numbers(load("mixed", None))
    assert all(feature.numeric for feature in data.features)
    found = [
        promise_task(QuickTeacher(), draw(data, 400, seed, n_pool=1500, n_test=1)).of("mixed", seed)
        for seed in range(12)
    ]
    # Of twelve, five per cent and two standard errors.
    assert sum(run.band.broken for run in found) <= 2
    assert sum(run.best.broken for run in found) <= 2
    assert all(
        low <= true
        for run in found
        for low, true in zip(run.band.lower, run.band.true, strict=True)
    )
    assert any(run.best.precision is not None for run in found)
    stored = found[0].model_dump(mode="json", by_alias=True)
    assert Promises(**stored) == found[0]
    assert "of the pool; " in promise(found)


def test_what_a_model_knows_by_heart_is_no_evidence() -> None:
    copies = with_copies(draw(load("coins", None), 1000, 0, n_pool=1000, n_test=1), 1.0)
    sessions = draw(load("coin_sessions", None), 1000, 0, n_pool=1000, n_test=1)
    tasks = (copies, sessions, without_groups(sessions))
    broken = [certify_task(MemoryTeacher(), task, gated=False).all.broken for task in tasks]
    assert broken == [False, False, True]  # without the key only the gate could help


def test_calibration_mends_what_a_confidence_says_of_the_pool() -> None:
    data = load("noise", None)
    task = draw(data, 400, 0, n_pool=2000, n_test=1)
    learner = registered_estimator("GaussianNB", {}, data.features, 0)
    raw, calibrated = (
        certify_task(learner, task, method).pool.ece for method in (None, "temperature")
    )
    assert raw is not None
    assert calibrated is not None
    assert calibrated < raw - 0.02


def test_labels_drawn_per_class_are_noticed() -> None:
    data = load("imbalance", None)
    assert not alarm(draw(data, 200, 0, n_pool=1000, n_test=1)).alarm
    assert alarm(draw(data, 100, 0, per_class=True, n_pool=1000, n_test=1)).alarm


@pytest.mark.parametrize("seed", [10, 12, 14])
def test_models_that_disagree_are_no_reason_for_an_alarm(seed: int) -> None:
    # The mean of five trees predicts the larger classes more often than any one of them does.
    tree = ("DecisionTreeClassifier", {"max_depth": None})
    task = draw(load("imbalance", None), 1000, seed, n_pool=4000, n_test=1)
    assert not alarm(task, tree).alarm
    as_many = draw(load("imbalance", None), 300, seed, per_class=True, n_pool=4000, n_test=1)
    assert alarm(as_many, tree).alarm


def test_every_method_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    members = (
        ("LogisticRegression", {"max_iter": 1000}),
        ("ExtraTreesClassifier", {"n_estimators": 5}),
        ("HistGradientBoostingClassifier", {"max_iter": 3}),
    )
    monkeypatch.setattr(methods, "DEFAULT_COMMITTEE", members)
    found = measure(draw(load("wine", None), 30, 0, n_pool=60, n_test=60))
    assert {name for pair in PAIRS for name in pair} <= set(found.accuracy)
    assert all(0 <= value <= 100 for value in found.accuracy.values())
    assert np.isfinite(list(found.log_loss.values())).all()
    table = accuracy([Scores.model_validate_json(found.of("wine:30", 0).model_dump_json())])
    assert table.count("\n") == 5 + len(PAIRS)


def _model(accuracy: float, *p_true: float) -> Seen:
    P = np.column_stack([p_true, 1 - np.array(p_true)])
    seen = Losses.of(P, np.zeros(len(p_true), dtype=np.int32))
    return Seen(
        accuracy=accuracy,
        log_loss=seen.log.tolist(),
        squared=seen.squared.tolist(),
        right=seen.right.astype(int).tolist(),
    )


def test_guards_keep_what_they_say() -> None:
    seed, better, worse = (
        _model(80.0, *[0.6, 0.45] * 8),
        _model(81.0, *[0.7, 0.6] * 7, 0.6, 0.4),
        _model(70.0, *[0.4, 0.45] * 8),
    )
    for models, used in (([seed, better], 1), ([seed, worse], 0)):
        assert GUARDS["student"]["surely better"](models, True) == used
        assert GUARDS["student"]["surely better, and the gate"](models, True) == 0
        assert GUARDS["student"]["none"](models, False) == 1
    assert GUARDS["rounds"]["loss not higher"]([seed, better, worse], False) == 1
    # Eight rows got worse and none better: 1 in 256.
    assert GUARDS["rounds"]["paired test"]([seed, worse, better], False) == 0


def test_students_and_rounds_run_on_every_pool() -> None:
    data = load("wine", None)
    learner = registered_estimator("GaussianNB", {}, data.features, 0)
    found = runs_of(learner, draw(data, 60, 0, n_pool=60, n_test=50))
    assert list(found.pools) == ["none", "masked", "moved"]
    for one in found.pools.values():
        assert [len(model.right) for model in one.student] == [60, 60]
        assert 1 <= len(one.rounds) <= 4
    seeds = {one.student[0].accuracy for one in found.pools.values()}
    assert len(seeds) == 1  # no pool changes the teacher
    assert "| student | masked |" in guard([found.of("wine:60", 0)])
