from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from spark_pseudolabel.evaluate.data import DataSet
from spark_pseudolabel.evaluate.learners import estimator_of
from spark_pseudolabel.evaluate.rules import RULES, dawid_skene, measure, votes_of, without_labels
from spark_pseudolabel.evaluate.tables import rules as table_of
from spark_pseudolabel.evaluate.task import Task, draw

HAM = ("ok", "i", "love", "home", "tonight", "sorry", "haha", "dear")
SPAM = ("free", "prize", "win", "www.x.com", "12345", "claim", "award", "50p")
BOTH = ("call", "text", "now", "you", "the", "for", "this", "and", "with", "about")


def messages(n: int = 2400) -> DataSet:
    """Texts of which a few words tell the class, each with chance of its own."""
    chance = np.random.default_rng(0)
    codes = (chance.random(n) < 0.35).astype(np.int32)
    texts = []
    for code in codes:
        own = [word for word in (SPAM if code else HAM) if chance.random() < 0.3]
        other = [word for word in (HAM if code else SPAM) if chance.random() < 0.04]
        rest = list(chance.choice(BOTH, 8 + 4 * code))
        texts.append(" ".join([*rest, *own, *other]))
    return DataSet("sms", pd.DataFrame({"text": pd.Series(texts, dtype=object)}), codes)


@pytest.fixture(scope="module")
def task() -> Task:
    return draw(messages(), 60, 0, n_pool=1200, n_test=600)


def test_rules_are_measured_beside_an_independent_label_model(task: Task) -> None:
    task = without_labels(task)
    assert not len(task.labeled.codes)
    found = measure(task, estimator_of("lr", task))
    assert found.method == "em"
    assert found.coverage > 0.85
    assert found.label_model >= found.majority > 85
    assert found.student > 85
    assert found.from_reference is not None
    assert found.from_reference < 0.02
    assert found.from_truth < 0.1
    assert all(on_all <= 100 for on_all in found.all_rows)
    assert "| sms:0:lr | 1 |" in table_of([found.of("sms:0:lr", 0)])


def test_labels_count_where_there_are_any(task: Task) -> None:
    found = measure(task, estimator_of("lr", task), known_prior=True)
    assert found.from_reference is None
    assert found.label_model > 85


def test_reference_finds_how_right_rules_are(task: Task) -> None:
    rules = RULES["sms"]
    votes = votes_of(rules, task.pool)
    codes = np.array([code for code, _ in rules.values()])
    true = [(task.pool_codes[votes[:, j]] == code).mean() for j, code in enumerate(codes)]
    assert np.abs(dawid_skene(votes, codes, 2) - true).max() < 0.1
