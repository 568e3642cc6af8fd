"""Rules without Spark: what their label model makes of them, and a model that learns from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.columns import VOTES
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.teachers.cross_fitting import probabilities
from spark_pseudolabel.core.teachers.label_model import RuleModel, majority_shares, precisions
from spark_pseudolabel.core.teachers.rules import Rules, look_at_votes, votes_feature
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.training_frame import joined_rows
from spark_pseudolabel.core.trust.priors import correct, shares
from spark_pseudolabel.evaluate.measured import RuleLabels
from spark_pseudolabel.evaluate.task import Task

THRESHOLD = 0.9
"""Above it the student learns the label model's labels, as a run without labels does."""

Condition = Callable[[pd.DataFrame], "pd.Series[bool]"]
RuleSet = Mapping[str, tuple[int, Condition]]
"""By name: the class that a rule votes for, and on which rows."""


def _says(pattern: str) -> Condition:
    return lambda rows: rows["text"].str.contains(pattern, case=False, regex=True)


def _among(column: str, *values: str) -> Condition:
    return lambda rows: rows[column].isin(values)


def _above(column: str, least: float) -> Condition:
    return lambda rows: rows[column] > least


def _below(column: str, most: float) -> Condition:
    return lambda rows: rows[column] < most


# Written down once, from what a person knows of such messages and people. Classes in the order of
# their labels: ham and spam, up to 50,000 a year and above.
RULES: Mapping[str, RuleSet] = {
    "sms": {
        "long_number": (1, _says(r"\d{5}")),
        "prize": (1, _says(r"\b(?:win|won|winner|prize|award|awarded|claim)\b")),
        "free": (1, _says(r"\bfree\b")),
        "address": (1, _says(r"www\.|https?:|\.com\b|\.co\.uk")),
        "price": (1, _says(r"£|\d+p\b")),
        "short": (0, lambda rows: rows["text"].str.len() < 50),
        "first_person": (0, _says(r"\b(?:i|i'm|im|my|me)\b")),
        "small_talk": (
            0,
            _says(r"\b(?:ok|lol|sorry|haha|love|home|tomorrow|tonight|later|dear)\b"),
        ),
    },
    "adult": {
        "degree": (1, _above("education_num", 12)),
        "postgraduate": (1, _above("education_num", 13)),
        "manager": (1, _among("occupation", "Exec-managerial")),
        "professional": (1, _among("occupation", "Prof-specialty")),
        "married_in_prime": (
            1,
            lambda rows: (
                rows["marital_status"].eq("Married-civ-spouse") & rows["age"].between(35, 60)
            ),
        ),
        "gain": (1, _above("capital_gain", 5000)),
        "loss": (1, _above("capital_loss", 1500)),
        "long_hours": (1, _above("hours_per_week", 49)),
        "incorporated": (1, _among("workclass", "Self-emp-inc")),
        "young": (0, _below("age", 25)),
        "never_married": (0, _among("marital_status", "Never-married")),
        "no_diploma": (0, _below("education_num", 9)),
        "part_time": (0, _below("hours_per_week", 31)),
        "service": (
            0,
            _among(
                "occupation",
                "Other-service",
                "Handlers-cleaners",
                "Priv-house-serv",
                "Farming-fishing",
            ),
        ),
        "own_child": (0, _among("relationship", "Own-child")),
        "separated": (0, _among("marital_status", "Divorced", "Separated", "Widowed")),
        "clerk": (0, _among("occupation", "Adm-clerical")),
        "school": (0, _among("education", "HS-grad")),
    },
}


def votes_of(rules: RuleSet, rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rules vote on which rows, shape (n_rows, n_rules)."""
    votes = [when(rows).fillna(False).to_numpy(bool) for _, when in rules.values()]
    return np.stack(votes, axis=1)


def without_labels(task: Task) -> Task:
    """Take the labels away."""
    none = replace(task.labeled, X=task.labeled.X.iloc[:0], codes=task.labeled.codes[:0])
    return replace(task, labeled=none, hashes=task.hashes[:0])


def measure(task: Task, learner: Teacher, *, known_prior: bool = False) -> RuleLabels:
    """Let rules label the pool, a model learn from that, and measure all on the test rows.

    Parameters
    ----------
    task
        Rows; labeled ones count where there are any.
    learner
        Who makes the student.
    known_prior
        Whether the label model is told the pool's class shares.
    """
    rules, classes = RULES[task.data.name], task.data.classes
    codes = np.array([code for code, _ in rules.values()])
    pool, test, known = (votes_of(rules, X) for X in (task.pool, task.test, task.labeled.X))
    prior = shares(task.pool_codes, len(classes)) if known_prior else None
    model, teacher = _label_model(task, rules, pool, known, prior)
    covered: NDArray[np.bool_] = np.logical_or.reduce(test, axis=1)
    truth = task.test_codes
    P = model.predict_proba(test.astype(float))
    majority = majority_shares(test, codes, len(classes))
    student = _student(task, learner, model, pool, prior)
    everywhere = np.ones(len(truth), dtype=np.bool_)
    # Where no rule votes, the most common class by the label model is all that is left to say.
    common = np.eye(len(classes))[model.prior_.argmax()]
    patterns = teacher.patterns
    estimated = precisions(model.predict_proba(patterns.votes.astype(float)), patterns, codes)
    true = np.array([(task.pool_codes[pool[:, j]] == code).mean() for j, code in enumerate(codes)])
    reference = dawid_skene(pool, codes, len(classes), prior)
    return RuleLabels(
        method=model.method_,
        coverage=float(covered.mean()),
        majority=_right(majority, truth, covered),
        label_model=_right(P, truth, covered),
        student=_right(student, truth, covered),
        all_rows=(
            _right(np.where(covered[:, np.newaxis], majority, common), truth, everywhere),
            _right(np.where(covered[:, np.newaxis], P, common), truth, everywhere),
            _right(student, truth, everywhere),
        ),
        from_reference=None
        if len(known) or model.method_ != "em"
        else float(np.abs(estimated - reference).max()),
        from_truth=float(np.abs(estimated - true).max()),
    )


def _label_model(
    task: Task,
    rules: RuleSet,
    pool: NDArray[np.bool_],
    known: NDArray[np.bool_],
    prior: NDArray[np.float64] | None,
) -> tuple[RuleModel, Rules]:
    feature = votes_feature(len(rules))
    batch = pa.RecordBatch.from_pydict(
        {"id": np.arange(len(pool)), VOTES: list(pool.astype(np.int8))}
    )
    teacher = Rules(tuple(rules), tuple(code for code, _ in rules.values()), task.seed)
    teacher = teacher.informed(look_at_votes([batch], feature, task.seed)).expecting(prior)
    labeled = pa.RecordBatch.from_pydict(
        {VOTES: pa.array(list(known.astype(np.int8)), pa.list_(pa.int8()))}
    )
    rows = TrainingRows(to_frame(labeled, [feature]), task.labeled.codes, None, 0)
    return teacher.fit(rows, task.data.classes), teacher


def _student(
    task: Task,
    learner: Teacher,
    model: RuleModel,
    pool: NDArray[np.bool_],
    prior: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return what a model that has learned the label model's labels says of the test rows."""
    P = model.predict_proba(pool.astype(float))
    sure = P.max(axis=1) > THRESHOLD
    rows = joined_rows(task.labeled, task.pool[sure], P[sure], np.ones(int(sure.sum())), soft=False)
    scores = probabilities(learner.fit(rows, task.data.classes), task.test)
    if prior is None:
        return scores
    return correct(scores, shares(rows.codes, len(prior)), prior)


def _right(P: NDArray[np.float64], codes: NDArray[np.int32], among: NDArray[np.bool_]) -> float:
    """Return how many rows in a hundred are right; where classes tie, as many as chance hits."""
    most = P[among] == P[among].max(axis=1, keepdims=True)
    hit = most[np.arange(among.sum()), codes[among]] / most.sum(axis=1)
    return 100 * float(hit.mean())


def dawid_skene(
    votes: NDArray[np.bool_],
    rule_codes: NDArray[np.int64],
    n_classes: int,
    prior: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return rules' accuracies by Dawid and Skene's EM from the majority vote, row by row.

    Written for itself, to be compared with: "no vote" is an answer like others.
    """
    n = np.stack([votes[:, rule_codes == code].sum(axis=1) for code in range(n_classes)], axis=1)
    most = (n == n.max(axis=1, keepdims=True)) & (n > 0)
    silent = ~votes.any(axis=1)
    P = most / np.maximum(most.sum(axis=1, keepdims=True), 1)
    P[silent] = P[~silent].mean(axis=0)
    for _ in range(1000):
        part = P.mean(axis=0) if prior is None else prior
        voted = np.maximum(P.T @ votes, 1e-9) / P.sum(axis=0)[:, np.newaxis]
        logs = np.tile(np.log(part), (len(votes), 1))
        for rule in range(len(rule_codes)):
            p = np.minimum(voted[:, rule], 1 - 1e-9)
            logs += np.where(votes[:, [rule]], np.log(p), np.log(1 - p))
        before, P = P, np.exp(logs - logs.max(axis=1, keepdims=True))
        P = P / P.sum(axis=1, keepdims=True)
        if np.abs(P - before).max() < 1e-7:
            break
    return np.array([P[votes[:, j], code].mean() for j, code in enumerate(rule_codes)])
