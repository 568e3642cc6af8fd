from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.adjustment import Adjustment, Calibration
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.committee import registered_committee
from spark_pseudolabel.core.teachers.cross_fitting import (
    NEVER_HELD_OUT,
    CrossFit,
    adjusted_by_fold,
    cross_fit,
    cross_fit_mean,
    fold_of,
    probabilities,
)
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote, weights_of
from spark_pseudolabel.core.trust.calibration import (
    fit_calibration,
    fit_per_fold,
    pool_prior,
    reliability,
)

FEATURES = (Feature("a", "numeric", "double"), Feature("b", "numeric", "double"))


def naive_bayes() -> EstimatorTeacher:
    return registered_estimator("GaussianNB", {}, FEATURES, 0)


def labeled(n: int = 90, n_classes: int = 3) -> TrainingRows:
    chance = np.random.default_rng(0)
    codes = (np.arange(n) % n_classes).astype(np.int32)
    X = pd.DataFrame(chance.normal(size=(n, 2)) + codes[:, np.newaxis], columns=["a", "b"])
    return TrainingRows(X, codes, None, 0)


def hashes(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(n).astype(np.int64)


@pytest.mark.parametrize("n_folds", [2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_folds_are_even_and_leave_every_class_to_learn_from(seed: int, n_folds: int) -> None:
    chance = np.random.default_rng(seed)
    codes = chance.choice(6, 80, p=[0.5, 0.2, 0.2, 0.05, 0.03, 0.02]).astype(np.int32)
    folds = fold_of(codes, hashes(80, seed), n_folds)
    sizes = np.bincount(folds[folds >= 0], minlength=n_folds)
    assert sizes.max() - sizes.min() <= 1
    for code in np.unique(codes):
        of_class = np.bincount(folds[(codes == code) & (folds >= 0)], minlength=n_folds)
        assert of_class.max() - of_class.min() <= 1
        for fold in range(n_folds):
            assert (codes[folds != fold] == code).any()


def test_folds_do_not_depend_on_the_order_of_rows() -> None:
    codes, keys = np.arange(40, dtype=np.int32) % 3, hashes(40)
    order = np.random.default_rng(1).permutation(40)
    assert (fold_of(codes[order], keys[order]) == fold_of(codes, keys)[order]).all()


def test_only_row_of_a_class_is_never_held_out() -> None:
    codes = np.array([0, 0, 0, 1], dtype=np.int32)
    assert fold_of(codes, hashes(4))[3] == NEVER_HELD_OUT


def test_every_row_is_scored_by_the_model_that_has_not_seen_it() -> None:
    rows = labeled()
    folds = fold_of(rows.codes, hashes(90), 3)
    found = cross_fit(
        registered_estimator("GaussianNB", {}, FEATURES, 0).fit, rows, folds, (0, 1, 2)
    )
    assert len(found.models) == 3
    for fold, model in enumerate(found.models):
        held_out = folds == fold
        assert (found.P[held_out] == np.round(model.predict_proba(rows.X[held_out]), 6)).all()


def test_row_without_fold_has_no_score() -> None:
    rows = labeled(9, 2)
    codes = rows.codes.copy()
    codes[0] = 2
    rows = TrainingRows(rows.X, codes, None, 0)
    learner = registered_estimator("GaussianNB", {}, FEATURES, 0)
    found = cross_fit(learner.fit, rows, fold_of(codes, hashes(9), 2), (0, 1, 2))
    assert found.held_out.tolist() == [False] + 8 * [True]
    assert (np.isfinite(found.P).all(axis=1) == found.held_out).all()


def test_mean_model_is_flat_and_means_what_it_says() -> None:
    rows = labeled()
    members = (("GaussianNB", {}), ("LogisticRegression", {}))
    committee = registered_committee(members, FEATURES, 0)
    found = cross_fit(committee.fit, rows, fold_of(rows.codes, hashes(90), 3), ("a", "b", "c"))
    mean = found.mean_model(("a", "b", "c"))
    assert len(members_of(mean)) == 6
    expected = np.mean([model.predict_proba(rows.X) for model in found.models], axis=0)
    assert np.allclose(probabilities(mean, rows.X), expected, atol=1e-6)


def test_scores_are_adjusted_by_what_belongs_to_their_fold() -> None:
    rows = labeled()
    folds = fold_of(rows.codes, hashes(90), 3)
    plain = cross_fit(
        registered_estimator("GaussianNB", {}, FEATURES, 0).fit, rows, folds, (0, 1, 2)
    )
    warm = tuple(Adjustment(Calibration("temperature", ((1.0 + i,),))) for i in range(3))
    fitted = replace(plain, adjustments=warm)
    assert plain.adjusted is plain.P
    for fold in range(3):
        inside = folds == fold
        expected = np.round(warm[fold].apply(plain.P[inside]), 6)
        assert (fitted.adjusted[inside] == expected).all()
        assert (fitted.score(fold, rows.X[inside]) == expected).all()
        assert (plain.score(fold, rows.X[inside]) == plain.P[inside]).all()


def weighted_fit() -> tuple[TrainingRows, np.ndarray, CrossFit]:
    rows = labeled(120)
    members = (("GaussianNB", {}), ("DecisionTreeClassifier", {"max_depth": 1}))
    folds = fold_of(rows.codes, hashes(120), 3)
    committee = registered_committee(members, FEATURES, 0)
    return rows, folds, cross_fit(committee.fit, rows, folds, (0, 1, 2))


def test_better_member_weighs_more_in_every_fold() -> None:
    _, _, found = weighted_fit()
    for model in found.models:
        bayes, stump = weights_of(model)
        assert bayes > 0.6 > 0.4 > stump


def test_row_has_no_say_in_the_weights_it_is_scored_with() -> None:
    rows, folds, before = weighted_fit()
    codes = rows.codes.copy()
    # Only labels that the two members of the other folds never see may change.
    chosen = np.flatnonzero(folds == 0)
    codes[chosen] = (codes[chosen] + 1) % 3
    models = [members_of(model) for model in before.models]

    class Same:
        def __init__(self) -> None:
            self.left = [soft_vote(dict(zip("ab", of, strict=True)), (0, 1, 2)) for of in models]

        def fit(self, rows: TrainingRows, classes: object) -> BaseEstimator:
            return self.left.pop(0)

    after = cross_fit(Same().fit, TrainingRows(rows.X, codes, None, 0), folds, (0, 1, 2))
    assert weights_of(after.models[0]) == weights_of(before.models[0])
    assert weights_of(after.models[1]) != weights_of(before.models[1])


def test_one_row_of_each_class_makes_a_model_and_no_score() -> None:
    rows = labeled(3)
    folds = fold_of(rows.codes, hashes(3))
    members = (("GaussianNB", {}), ("DecisionTreeClassifier", {}))
    committee = registered_committee(members, FEATURES, 0)
    found = cross_fit(committee.fit, rows, folds, (0, 1, 2))
    assert not found.held_out.any()
    assert np.isnan(found.P).all()
    mean = found.mean_model((0, 1, 2))
    assert (mean.predict(rows.X) == rows.codes).all()
    assert not cross_fit_mean(committee.fit, rows, folds, (0, 1, 2)).held_out.any()


class Recorded:
    """Fits models, and remembers which rows each has seen by their first column."""

    def __init__(self, name: str = "GaussianNB", fewest: int = 0) -> None:
        self.learner, self.fewest = registered_estimator(name, {}, FEATURES, 0), fewest
        self.seen: dict[int, set[float]] = {}
        self.classes: list[set[int]] = []

    def fit(self, rows: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
        if len(rows.codes) < self.fewest:
            raise ValueError("too few rows")
        model = self.learner.fit(rows, classes)
        self.seen[id(model)] = set(rows.X["a"])
        self.classes.append(set(rows.codes.tolist()))
        return model


def test_fold_is_scored_by_the_mean_of_as_many_models_none_of_which_has_seen_it() -> None:
    rows, learner = labeled(), Recorded()
    folds = fold_of(rows.codes, hashes(90))
    found = cross_fit_mean(learner.fit, rows, folds, (0, 1, 2))
    assert len(learner.seen) == 5 + 10
    assert len(members_of(found.mean_model((0, 1, 2)))) == 5
    for fold, model in enumerate(found.unseen):
        held_out = folds == fold
        parts = members_of(model)
        assert len(parts) == 5
        for part in parts:
            assert not learner.seen[id(part)] & set(rows.X["a"][held_out])
        expected = np.mean([part.predict_proba(rows.X[held_out]) for part in parts], axis=0)
        assert np.allclose(found.P[held_out], expected, atol=1e-6)
        assert (found.score(fold, rows.X[held_out]) == found.P[held_out]).all()


def test_every_model_knows_a_class_of_two_rows_and_none_scores_a_row_that_it_has_seen() -> None:
    rows = labeled(40, 2)
    codes = rows.codes.copy()
    codes[:2], codes[2] = 2, 3
    rows, learner = TrainingRows(rows.X, codes, None, 0), Recorded()
    folds = fold_of(codes, hashes(40))
    found = cross_fit_mean(learner.fit, rows, folds, (0, 1, 2, 3))
    assert all(classes == {0, 1, 2, 3} for classes in learner.classes)
    assert len(learner.seen) == 5 + 10 + 1  # the pair that holds both rows makes two models
    for fold, model in enumerate(found.unseen):
        for part in members_of(model):
            assert not learner.seen[id(part)] & set(rows.X["a"][folds == fold])


def test_model_of_a_fold_stands_alone_where_an_estimator_needs_more_rows() -> None:
    rows, learner = labeled(30), Recorded(fewest=20)
    folds = fold_of(rows.codes, hashes(30))
    plain = cross_fit(learner.fit, rows, folds, (0, 1, 2))
    assert (cross_fit_mean(learner.fit, rows, folds, (0, 1, 2)).P == plain.P).all()


def test_committees_of_a_fold_have_the_weights_that_its_rows_had_no_say_in() -> None:
    rows, folds, plain = weighted_fit()
    members = (("GaussianNB", {}), ("DecisionTreeClassifier", {"max_depth": 1}))
    found = cross_fit_mean(registered_committee(members, FEATURES, 0).fit, rows, folds, (0, 1, 2))
    for fold, model in enumerate(found.unseen):
        weights = np.reshape(weights_of(model), (3, 2))
        assert weights == pytest.approx(np.tile(weights_of(plain.models[fold]), (3, 1)) / 3)


def two_classes(n: int, share: float, seed: int) -> TrainingRows:
    """Draw rows of two classes that overlap, the second with a share."""
    chance = np.random.default_rng(seed)
    codes = (np.arange(n) < share * n).astype(np.int32)
    X = pd.DataFrame(chance.normal(size=(n, 2)) + codes[:, np.newaxis], columns=["a", "b"])
    return TrainingRows(X, codes, None, 0)


@pytest.mark.parametrize("name", ["DecisionTreeClassifier", "GaussianNB"])
def test_prior_is_estimated_from_models_that_are_sure_of_every_row(name: str) -> None:
    rows, pool = two_classes(1000, 0.5, 0), two_classes(3000, 0.1, 1)
    learner = registered_estimator(name, {}, FEATURES, 0)
    fitted = cross_fit_mean(learner.fit, rows, fold_of(rows.codes, hashes(1000)), (0, 1))
    P = fitted.score_apart(pool.X, hashes(3000))
    assert pool_prior(fitted.P, rows.codes, P)[1] == pytest.approx(0.1, abs=0.025)
    assert pool_prior(fitted.P, rows.codes, P[:0]).tolist() == [0.5, 0.5]


def test_labeled_rows_tell_how_sure_and_how_right_the_mean_of_trees_is() -> None:
    # One tree says 0 or 1 and is right on two rows in three; five of them are another model.
    rows, pool = two_classes(600, 0.5, 0), two_classes(3000, 0.5, 1)
    learner = registered_estimator("DecisionTreeClassifier", {}, FEATURES, 0)
    folds = fold_of(rows.codes, hashes(600))
    found = cross_fit_mean(learner.fit, rows, folds, (0, 1))
    published = probabilities(found.mean_model((0, 1)), pool.X)
    one_by_one = cross_fit(learner.fit, rows, folds, (0, 1)).P

    def ece(P: np.ndarray, of: TrainingRows) -> float:
        value = reliability(P, of.codes).ece
        assert value is not None
        return value

    assert ece(one_by_one, rows) > ece(published, pool) + 0.1
    assert abs(ece(found.P, rows) - ece(published, pool)) < 0.03
    for method in ("temperature", "sigmoid", "isotonic"):
        calibrated = fit_calibration(method, found.P, rows.codes).apply(published)
        of_folds = fit_per_fold(method, found.P, rows.codes, folds)
        reported = adjusted_by_fold(found.P, folds, [Adjustment(each) for each in of_folds])
        assert ece(calibrated, pool) < ece(reported, rows) + 0.02


def test_pool_row_is_scored_by_the_model_of_one_fold() -> None:
    rows = labeled()
    learner = registered_estimator("GaussianNB", {}, FEATURES, 0)
    fitted = cross_fit(learner.fit, rows, fold_of(rows.codes, hashes(90)), (0, 1, 2))
    keys = np.array([-6, 3, 10, 2**62, -(2**63)], dtype=np.int64)
    P = fitted.score_apart(rows.X.head(5), keys)
    for row, key in enumerate(keys.tolist()):
        assert (P[row] == fitted.score(key % 5, rows.X[row : row + 1])[0]).all()


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_a_unit_share_a_fold_and_every_fold_model_knows_every_class(seed: int) -> None:
    chance = np.random.default_rng(seed)
    codes = np.sort(chance.choice(4, 300, p=[0.6, 0.3, 0.08, 0.02])).astype(np.int32)
    units = chance.integers(0, 150, 300)
    folds = fold_of(codes, hashes(300, seed), units=units)
    for unit in np.unique(units):
        assert len(set(folds[units == unit])) == 1
    for fold in range(5):
        assert set(codes[folds != fold]) == set(codes)
    sizes = np.bincount(folds[folds >= 0], minlength=5)
    assert sizes.max() - sizes.min() <= 12
    order = chance.permutation(300)
    again = fold_of(codes[order], hashes(300, seed)[order], units=units[order])
    assert (again == folds[order]).all()


def test_class_that_is_one_unit_is_never_held_out() -> None:
    codes = np.array([0, 0, 0, 0, 1, 1, 1], dtype=np.int32)
    units = np.array([0, 1, 2, 3, 4, 4, 4])
    assert (fold_of(codes, hashes(7), units=units)[4:] == NEVER_HELD_OUT).all()
    assert (fold_of(codes, hashes(7), units=np.zeros(7, int)) == NEVER_HELD_OUT).all()


def test_units_of_one_row_change_nothing() -> None:
    codes = (np.arange(60) % 3).astype(np.int32)
    alone = np.arange(60)[::-1].copy()
    assert (fold_of(codes, hashes(60), units=alone) == fold_of(codes, hashes(60))).all()


def test_members_are_measured_on_rows_that_they_have_not_seen() -> None:
    rows = labeled()
    folds = fold_of(rows.codes, hashes(90), 3)
    committee = registered_committee([("GaussianNB", {}), ("LogisticRegression", {})], FEATURES, 0)
    fitted = cross_fit(committee.fit, rows, folds, (0, 1, 2))
    assert sum(member.weight for member in fitted.members) == pytest.approx(1)
    alone = cross_fit(naive_bayes().fit, rows, folds, (0, 1, 2))
    right = (alone.P.argmax(axis=1) == rows.codes).mean()
    assert fitted.members[0].accuracy == alone.members[0].accuracy == pytest.approx(right)
    assert (alone.members[0].weight, alone.members[0].coverage) == (1, 1)
