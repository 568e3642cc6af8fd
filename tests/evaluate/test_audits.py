"""Short forms of the measured promises of audits: see docs/review.md."""

import numpy as np

from spark_pseudolabel.evaluate.audits import ROUNDS, audit_large, audit_rounds


def test_fifty_rounds_with_a_look_after_each_answer_keep_all_bounds() -> None:
    runs = [audit_rounds(seed) for seed in range(20)]
    assert sum(run.broken for run in runs) <= 2
    assert all(run.answers >= 40 * ROUNDS for run in runs)


def test_hardly_more_answers_than_one_look_takes_show_a_clean_set() -> None:
    for percent, most in ((0.0, 100), (1.0, 155)):
        runs = [audit_large(percent, seed) for seed in range(60)]
        assert np.median([run.answers for run in runs]) <= most
        assert all(run.shown for run in runs)
        assert sum(run.broken for run in runs) <= 5
