from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from spark_pseudolabel.columns import UNREADABLE, VOTES
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.kernel import make_scorer, score_batch
from spark_pseudolabel.core.teachers import rules as module
from spark_pseudolabel.core.teachers.cross_fitting import NEVER_HELD_OUT, CrossFit
from spark_pseudolabel.core.teachers.label_model import Patterns
from spark_pseudolabel.core.teachers.rules import (
    Rules,
    VotesSeen,
    codes_of,
    look_at_votes,
    votes_feature,
)
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.artifact import dump_model, load_model

NAMES, LABELS, CLASSES = ("a", "b", "c", "d", "e"), ("x", "x", "y", "y", "y"), ("x", "y")
FEATURE = votes_feature(5)


def rows_of(n: int, seed: int = 0) -> tuple[pa.RecordBatch, np.ndarray]:
    """Rows with keys and votes, and the true codes."""
    chance = np.random.default_rng(seed)
    codes = chance.integers(2, size=n)
    own = codes[:, np.newaxis] == np.array([0, 0, 1, 1, 1])
    votes = (chance.random((n, 5)) < np.where(own, 0.4, 0.08)).astype(np.int8)
    return pa.RecordBatch.from_pydict({"id": range(n), VOTES: list(votes)}), codes


def teacher(batch: pa.RecordBatch) -> Rules:
    return Rules(NAMES, LABELS, 0).informed(look_at_votes([batch], FEATURE, 0))


def training(batch: pa.RecordBatch, codes: np.ndarray) -> TrainingRows:
    return TrainingRows(to_frame(batch, [FEATURE]), codes.astype(np.int32), None, 0)


@pytest.mark.parametrize("most", [20_000, 12])
def test_what_is_seen_depends_neither_on_dealing_nor_on_order(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PATTERNS", most)
    batch, _ = rows_of(5000)
    at_once = look_at_votes([batch], FEATURE, 7)
    parts = [
        look_at_votes([batch.slice(start, 300), batch.slice(start + 300, 200)], FEATURE, 7)
        for start in range(0, 5000, 500)
    ]
    halves = [VotesSeen.merged(parts[5:][::-1]), VotesSeen.merged(parts[:5])]
    assert VotesSeen.merged(halves) == at_once
    seen = at_once.patterns(5)
    assert len(seen.rows) <= most
    assert (at_once.level > 0) == (most == 12)
    assert 5000 / 2**at_once.level == pytest.approx(seen.rows.sum(), rel=0.5)


def test_counts_each_combination_of_votes() -> None:
    batch, _ = rows_of(3000)
    seen = look_at_votes([batch], FEATURE, 0).patterns(5)
    expected = Patterns.of(np.array(batch.column(VOTES).to_pylist()) > 0)
    order = np.lexsort(seen.votes.T[::-1])
    assert (seen.votes[order] == expected.votes).all()
    assert (seen.rows[order] == expected.rows).all()


def test_rows_that_cannot_be_read_are_not_counted() -> None:
    batch, _ = rows_of(10)
    reasons = pa.array(["torn", *[None] * 9])
    seen = look_at_votes([batch.append_column(UNREADABLE, reasons)], FEATURE, 0)
    assert seen.patterns(5).rows.sum() == 9


def test_a_label_does_not_influence_the_score_of_its_own_row() -> None:
    pool, _ = rows_of(3000)
    batch, codes = rows_of(60, seed=1)
    folds = np.arange(60, dtype=np.int32) % 5
    turned, voted = codes.copy(), np.array(batch.column(VOTES).to_pylist()).any(axis=1)
    turned[(folds == 2) & voted] ^= 1
    scored = [
        teacher(pool).cross_fit(training(batch, each), folds, CLASSES, mean=True).P
        for each in (codes, turned)
    ]
    held_out = folds == 2
    assert np.array_equal(scored[0][held_out], scored[1][held_out], equal_nan=True)
    assert not np.array_equal(scored[0][~held_out], scored[1][~held_out], equal_nan=True)


def test_rows_without_a_vote_are_never_held_out() -> None:
    pool, _ = rows_of(3000)
    batch, codes = rows_of(60, seed=1)
    fitted = teacher(pool).cross_fit(
        training(batch, codes), np.arange(60, dtype=np.int32) % 5, CLASSES
    )
    silent = np.array(batch.column(VOTES).to_pylist()).sum(axis=1) == 0
    assert silent.any()
    assert ((fitted.folds == NEVER_HELD_OUT) == silent).all()


def test_report_says_what_votes_are() -> None:
    pool, _ = rows_of(2000)
    batch, codes = rows_of(80, seed=1)
    rows = training(batch, codes)
    fitted = teacher(pool).cross_fit(rows, np.arange(80, dtype=np.int32) % 5, CLASSES, mean=True)
    found = teacher(pool).found(rows, CLASSES, fitted)
    votes = pd.DataFrame(pool.column(VOTES).to_pylist(), columns=list(NAMES)) > 0
    known = pd.DataFrame(batch.column(VOTES).to_pylist(), columns=list(NAMES)) > 0
    c, others, against = votes[votes["c"]], ["a", "b", "d", "e"], ["a", "b"]
    told = found.rules[2]
    assert (told.name, told.label) == ("c", "y")
    assert told.coverage == pytest.approx(votes["c"].mean())
    assert told.overlap == pytest.approx(c[others].any(axis=1).mean())
    assert told.conflict == pytest.approx(c[against].any(axis=1).mean())
    assert told.measured == pytest.approx((codes[known["c"]] == 1).mean())
    assert told.n_measured == known["c"].sum()
    assert sum(rule.weight for rule in found.rules) == pytest.approx(1)
    assert (found.method, found.rows, found.outvoted) == ("em", 2000, 0)
    assert found.better is not None
    alone = teacher(pool).found(training(batch.slice(0, 0), codes[:0]), CLASSES, None)
    assert (alone.better, alone.rules[0].measured) == (None, None)


def test_stored_model_scores_as_before_and_keeps_the_votes() -> None:
    pool, codes = rows_of(500)
    fitted = teacher(pool).cross_fit(
        training(pool, codes), np.arange(500, dtype=np.int32) % 5, CLASSES
    )
    model = fitted.mean_model(CLASSES)
    stored = dump_model(model)
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    scored = [score_batch(pool, make_scorer(m, [FEATURE], ["id"])) for m in (model, loaded)]
    assert scored[0].equals(scored[1])
    voted = [[j for j, vote in enumerate(row) if vote] for row in pool.column(VOTES).to_pylist()]
    assert scored[0].column("spl_voted").to_pylist() == voted
    silent = np.array([not votes for votes in voted])
    assert (scored[0].column("spl_code").is_null().to_numpy(zero_copy_only=False) == silent).all()


def test_labels_are_compared_as_text() -> None:
    assert codes_of(["1", True, "b"], ["1", "b", "true"]) == [0, 2, 1]
    with pytest.raises(InputError, match="'d' must be one of the labeled rows"):
        codes_of(["d"], ["a", "b"])


def test_no_pool_is_no_obstacle() -> None:
    batch, codes = rows_of(40)
    model = Rules(NAMES, LABELS, 0).informed(None).fit(training(batch, codes), CLASSES)
    assert model.predict_proba(to_frame(batch, [FEATURE])).shape == (40, 2)
    assert isinstance(
        Rules(NAMES, LABELS, 0).cross_fit(
            training(batch, codes), np.zeros(40, dtype=np.int32), CLASSES
        ),
        CrossFit,
    )
