from __future__ import annotations

import numpy as np

from spark_pseudolabel.core.hygiene import Suspect, suspects


def test_label_that_other_folds_do_not_believe_is_listed() -> None:
    P = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05], [0.9, 0.1]])
    codes = np.array([0, 0, 1, 1, 1, 0], dtype=np.int32)
    assert suspects(P, codes) == [Suspect(4, given=1, suggested=0, p_given=0.05, p_suggested=0.95)]


def test_most_of_the_flipped_labels_are_found_and_the_clearest_come_first() -> None:
    chance = np.random.default_rng(0)
    true = chance.integers(0, 3, 300)
    flipped = np.zeros(300, dtype=bool)
    flipped[:15] = True
    codes = np.where(flipped, (true + 1) % 3, true).astype(np.int32)
    P = chance.dirichlet(np.ones(3), 300) * 0.2
    P[np.arange(300), true] += 0.8
    found = [suspect.row for suspect in suspects(P, codes)]
    assert len(set(found) & set(range(15))) >= 8
    assert set(found[:10]) <= set(range(15))


def test_rows_without_a_score_and_classes_without_rows_are_left_out() -> None:
    P = np.array([[np.nan, np.nan, np.nan], [0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    assert suspects(P, np.array([0, 0, 0], dtype=np.int32)) == []
