"""The short form of what certifying by asking publishes: see docs/review.md."""

from spark_pseudolabel.evaluate.asked import ask_task
from spark_pseudolabel.evaluate.data import load
from spark_pseudolabel.evaluate.learners import learner_of
from spark_pseudolabel.evaluate.task import draw


def test_budgets_and_promises_are_kept() -> None:
    tasks = [draw(load("coins", None), 200, seed, n_pool=4000, n_test=10) for seed in range(2)]
    runs = [ask_task(learner_of("memory", task).teacher, task, orders=2) for task in tasks]
    for budget in (300, 1000):
        asked = [each for run in runs for each in run.budgets[str(budget)]]
        assert all(each.answers <= budget for each in asked)
        assert sum(each.broken for each in asked) <= 1
        mean = sum(each.coverage for each in asked) / len(asked)
        assert mean >= 0.4 * sum(run.oracle for run in runs) / len(runs)
