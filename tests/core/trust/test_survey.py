from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.promised import LADDER
from spark_pseudolabel.core.trust.certificate import (
    CalibrationRows,
    Promise,
    certify,
    why_impossible,
)
from spark_pseudolabel.core.trust.ladder import highest
from spark_pseudolabel.core.trust.survey import Survey, survey
from spark_pseudolabel.evaluate.certificates import counts_of

Drawn = tuple[CalibrationRows, CalibrationRows, Counts]


def drawn(seed: int, n: int = 600, n_pool: int = 3000, worst: float = 0.5) -> Drawn:
    """Draw rows to test, the pool and its counts; the least sure are wrong most often."""
    chance = np.random.default_rng(seed)
    m = n + n_pool
    rank, codes = chance.random(m), chance.integers(0, 2, m).astype(np.int32)
    confidence, right = np.round(1 - rank / 2, 6), chance.random(m) >= worst * rank**3
    rows, pool = (
        CalibrationRows(codes[of], confidence[of], right[of]) for of in (slice(n), slice(n, None))
    )
    return rows, pool, counts_of(pool, 2)


def published(certificate_cuts: tuple[float | None, ...], pool: CalibrationRows) -> np.ndarray:
    cuts = np.array([2.0 if cut is None else cut for cut in certificate_cuts])
    accepted: np.ndarray = pool.confidence >= cuts[pool.codes]
    return accepted


def test_best_takes_the_highest_step_and_publishes_its_rows() -> None:
    rows, pool, counts = drawn(0)
    looked = survey(Promise.of_best(), counts, rows)
    found = certify(Promise.of_best(), counts, rows)
    step = highest(looked.ladder)
    assert step is not None
    assert found.claimed
    assert found.promise.precision == step.precision
    assert found.claims[0].rows == step.rows
    assert found.claims[0].bound >= step.precision
    plan = found.plan({"policy": "certified"}, 2)
    cuts = tuple(None if cut is None else cut.confidence for cut in plan.cuts)
    assert published(cuts, pool).sum() == step.rows
    assert found.coverage == pytest.approx(step.share)


def test_step_that_holds_for_fewer_rows_is_taken_where_these_are_enough() -> None:
    rows, _, counts = drawn(0)
    wide, narrow = (
        certify(Promise.of_best(min_coverage=least), counts, rows) for least in (0.9, 0.05)
    )
    assert wide.promise.precision < narrow.promise.precision
    assert wide.coverage >= 0.9 > narrow.coverage


def test_ladder_is_kept_in_at_least_95_percent_of_draws() -> None:
    draws, broken, steps_taken = 60, 0, set()
    for seed in range(draws):
        rows, pool, counts = drawn(seed, 300, 1000, worst=0.2 + 0.015 * seed)
        found = certify(Promise.of_best(), counts, rows)
        cuts = found.plan({}, 2).cuts
        accepted = published(tuple(None if c is None else c.confidence for c in cuts), pool)
        steps_taken.add(found.promise.precision if found.claimed else None)
        broken += bool(accepted.any() and pool.right[accepted].mean() < found.promise.precision)
    assert broken <= 6  # 5 % of 60 and two standard errors
    assert len(steps_taken) >= 2


def test_classes_share_the_risk_and_take_one_step() -> None:
    rows, _, counts = drawn(1, 2000, 4000)
    found = certify(Promise.of_best(per="class"), counts, rows)
    assert found.claimed
    assert len(found.claims) == 2
    assert all(claim.bound >= found.promise.precision for claim in found.claims)
    looked = survey(Promise.of_best(per="class"), counts, rows)
    assert sum(claim.rows for claim in found.claims) == highest(looked.ladder).rows  # type: ignore[union-attr]
    alone = certify(Promise.of_best(), counts, rows)
    assert found.coverage <= alone.coverage or found.promise.precision < alone.promise.precision


def test_class_that_can_not_be_shown_publishes_nothing_and_the_others_do() -> None:
    rows, _, counts = drawn(2, 2000, 4000)
    bad = CalibrationRows(rows.codes, rows.confidence, rows.right & (rows.codes == 0))
    found = certify(Promise.of_best(per="class"), counts, bad)
    assert [claim.cut is None for claim in found.claims] == [False, True]


def test_no_step_claims_nothing_and_says_what_it_takes() -> None:
    rows, _, counts = drawn(3, 600)
    bad = CalibrationRows(rows.codes, rows.confidence, np.arange(600) % 2 > 0)
    found = certify(Promise.of_best(), counts, bad)
    looked = survey(Promise.of_best(), counts, bad)
    assert not found.claimed
    assert found.promise.precision == LADDER[-1]
    assert found.claims[0].outlook == "model"
    assert [step.certified for step in looked.ladder] == [False] * 6
    assert looked.ladder[-1].outlook == "model"
    assert 0.4 < looked.band[-1].lower < 0.5
    assert [part.outlook for part in looked.missing] == ["model", "model"]


def test_few_rows_are_told_how_many_more_each_step_takes() -> None:
    rows, _, counts = drawn(4, 40, worst=0.0)
    looked = survey(Promise.of_best(), counts, rows)
    more = [step.more_labels for step in looked.ladder if not step.certified]
    assert None not in more
    assert more == sorted(more, reverse=True)  # type: ignore[type-var]
    assert survey(Promise.of_best(), counts, rows, labels=400).ladder[0].more_labels == 10 * more[0]  # type: ignore[operator]


def test_classes_are_told_apart_in_what_they_miss() -> None:
    rows, _, counts = drawn(5, 400, worst=0.0)
    one_bad = CalibrationRows(
        rows.codes, rows.confidence, (rows.codes == 0) | (rows.confidence > 2)
    )
    good, bad = survey(Promise(0.95), counts, one_bad).missing
    assert (good.wrong, good.more_labels, good.outlook) == (0, None, None)
    assert bad.wrong == bad.n == (rows.codes == 1).sum()
    assert (bad.more_labels, bad.outlook) == (None, "model")


def test_promise_that_is_broken_names_one_that_can_be_kept() -> None:
    rows, _, counts = drawn(6, 600)
    given = Promise(0.995)
    assert not certify(given, counts, rows).claimed
    looked = survey(given, counts, rows)
    assert looked.instead is not None
    step = highest(looked.ladder)
    assert (looked.instead.precision, looked.instead.rows) == (step.precision, step.rows)  # type: ignore[union-attr]
    again = certify(Promise(looked.instead.precision), counts, rows)
    assert looked.instead.given == (again.coverage * counts.total >= looked.instead.rows)


def test_step_that_a_given_number_would_miss_is_to_be_asked_for_as_the_best() -> None:
    # The strictest cut fails at once, looser ones would not: tested one by one, that is the end.
    rows, _, counts = drawn(7, 900, worst=0.0)
    strict = np.argsort(-rows.confidence)[:70]
    right = rows.right.copy()
    right[strict[::3]] = False
    odd = CalibrationRows(rows.codes, rows.confidence, right)
    looked = survey(Promise(0.99), counts, odd)
    assert looked.instead is not None
    assert looked.instead.precision == 0.95
    assert not looked.instead.given
    assert certify(Promise.of_best(), counts, odd).coverage * counts.total == looked.instead.rows


def test_promise_that_is_kept_needs_no_other() -> None:
    rows, _, counts = drawn(8, 600)
    assert certify(Promise(0.9), counts, rows).claimed
    assert survey(Promise(0.9), counts, rows).instead is None
    assert survey(Promise.of_best(), counts, rows).instead is None


def test_band_of_classes_is_one_over_all_labels() -> None:
    rows, _, counts = drawn(9, 600)
    of_all, of_each = (survey(p, counts, rows) for p in (Promise(), Promise(per="class")))
    assert of_all.band == of_each.band
    assert of_all.band[-1].rows == counts.total


def test_refused_certificate_has_no_step() -> None:
    rows, _, counts = drawn(10, 600)
    found = certify(Promise.of_best(), counts, rows, refused="shift")
    assert (found.claimed, found.coverage, found.promise.precision) == (False, 0.0, LADDER[-1])
    assert Survey() == Survey((), (), (), None)


def test_fewest_rows_are_those_with_which_a_band_shows_the_least_step() -> None:
    said = why_impossible(Promise.of_best(), 20)
    assert said is not None
    assert "at least 21 labeled rows" in said
    assert why_impossible(Promise.of_best(), 21) is None
    for n, claimed in ((20, False), (21, True)):
        rows, _, counts = drawn(11, n, worst=0.0)
        assert certify(Promise.of_best(min_coverage=1.0), counts, rows).claimed == claimed
