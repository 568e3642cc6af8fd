"""What is said of a certificate, a student and labeled rows, and which rows are tested."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel.columns import CODE, HASH
from spark_pseudolabel.core.facts import Comparison, LossComparison, Reliability
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit, cross_fit, fold_of
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.trust.guard import compare, compare_scores
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import decide
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.shift import predict_sample
from spark_pseudolabel.job.teachers import require_usable
from spark_pseudolabel.job.warn import harmful_calibration, not_certified, why_unused
from spark_pseudolabel.report.document import Certificate, CertifiedClaim, PredictedPrior
from spark_pseudolabel.store.facts import Reliabilities

CODES = np.zeros(20, dtype=np.int32)


def judged(change: float, better: int, worse: int, noise: float = 0.0) -> LossComparison:
    """Compare a student whose probabilities differ so much with its teacher, on 20 rows."""
    p = np.full(20, 0.7)
    teacher, student = p.copy(), p + change
    student[::2], student[1::2] = student[::2] + noise, student[1::2] - noise * 0.7
    teacher[:better], student[:better] = 0.4, 0.4 + abs(change)
    teacher[20 - worse :], student[20 - worse :] = 0.6, 0.45
    P = (np.column_stack([each, 1 - each]) for each in (teacher, student))
    return compare_scores(*P, CODES)


@pytest.mark.parametrize(
    ("against", "why"),
    [
        (judged(-0.1, 0, 0), "is not lower: 0.5108 after 0.3567"),
        (judged(0.01, 0, 0, 0.2), "by no more than the standard error of the difference, 0.05"),
        (judged(0.2, 4, 0), "may be chance: right alone on 4, its teacher alone on 0"),
        (judged(0.2, 1, 3), "right alone on 1, its teacher alone on 3"),
        (
            compare(1, np.array([True, True]), np.array([False, True])),
            "not surely right on more validation rows than its teacher: right alone on 0",
        ),
    ],
)
def test_unused_student_is_told_the_condition_it_failed(
    against: Comparison | LossComparison, why: str
) -> None:
    assert not against.usable
    assert why in why_unused(against)


def uncertified(
    n_calibration: int = 50,
    refused: str | None = None,
    predicted: PredictedPrior | None = None,
    more_labels: int | None = None,
    outlook: Literal["labels", "unclear"] = "unclear",
) -> Certificate:
    """Return a certificate of labels "a" and "b" that claims nothing."""
    claim = CertifiedClaim(
        labels=["a", "b"],
        cut=None,
        n=10,
        wrong=1,
        p_value=0.4,
        level=0.05,
        bound=0.6,
        rows=0,
        more_labels=more_labels,
        outlook=outlook,
    )
    return Certificate(
        claimed=False,
        precision=0.95,
        certainty=0.95,
        per="all",
        source="out_of_fold",
        n_calibration=n_calibration,
        n_pool=2000,
        coverage=0.0,
        claims=[claim],
        refused=refused,
        prior_shift=predicted,
    )


def told(ece: float | None) -> Reliability:
    return Reliability((), (), (), ece)


@pytest.mark.parametrize(
    ("tested", "missing", "said"),
    [
        ("labeled", "labeled", "about 12 more labeled rows"),
        ("validation", "labeled", "50 validation rows tested"),
        ("validation", "validation", "about 12 more validation rows"),
    ],
)
def test_what_is_missing_is_said_of_the_rows_it_is_missing_of(
    tested: str, missing: str, said: str
) -> None:
    certificate = uncertified(n_calibration=50, more_labels=12, outlook="labels")
    found = not_certified(certificate, [], declared=False, tested=tested, missing=missing)
    assert said in found.message


def test_fewer_rows_than_any_claim_takes_are_said_to_be_too_few() -> None:
    message = not_certified(uncertified(4), [], declared=False, pool=2000).message
    assert "needs at least 59 labeled rows, all predicted right. There are 4." in message
    assert "a better model" not in message
    enough = not_certified(uncertified(59), [], declared=False).message
    assert "a better model, other features, a lower precision, or a person" in enough
    of_numbers = not_certified(uncertified(59), [], declared=False, numbers=True).message
    assert "a better model, other features, or a lower precision." in of_numbers


def test_label_without_a_tested_row_is_named() -> None:
    refused = uncertified(refused=decide.UNTESTED_LABELS)
    found = not_certified(refused, ["rare"], declared=True).as_json()
    assert (found["code"], found["labels"]) == ("untested_labels", ["rare"])
    assert "rare" in found["message"]


def test_rows_are_mixed_as_the_pool_before_those_outside_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 40 rows of each of two classes; of the pool nine in ten are of the first, and half of these
    # lie outside. Mixed first, 20 of the first and 4 of the second are tested; mixed last, 2.
    codes = np.repeat([0, 1], 40).astype(np.int32)
    inside = (codes == 1) | (np.arange(80) % 2 == 0)
    hashes = np.arange(80, dtype=np.int64) * 2**50
    labeled = pa.table({CODE: codes, "id": np.arange(80)})

    class Mixed(Setting):
        support = (None, inside)
        units = SimpleNamespace(labeled=np.arange(80))
        group_sizes = None

        def row_hashes(self, rows: pa.Table) -> NDArray[np.int64]:
            return hashes[rows.column("id").to_numpy()]

    config: Any = SimpleNamespace(unlabeled=SimpleNamespace(prior={"a": 0.9, "b": 0.1}))
    inputs: Any = SimpleNamespace(labeled=labeled)
    models: Any = SimpleNamespace(setting=Mixed(config, inputs), prior=np.array([0.9, 0.1]))
    fitted = CrossFit((), np.arange(80, dtype=np.int32) % 5, np.full((80, 2), 0.5))
    monkeypatch.setattr(decide, "kept_cross_fit", lambda models: (codes, fitted))
    monkeypatch.setattr(decide, "may_count", lambda models: inside)
    tested, rows = decide.calibration_rows(models, Certified(policy="certified"))
    assert np.bincount(tested).tolist() in ([20, 4], [20, 5])
    assert (len(rows), rows.only_ones) == (len(tested), 0)


def test_sampled_pool_is_predicted_fold_by_fold_without_rows_that_have_no_score() -> None:
    chance = np.random.default_rng(0)
    codes = (np.arange(100) % 2).astype(np.int32)
    features = (Feature("a", "numeric", "double"),)
    rows = TrainingRows(pd.DataFrame({"a": chance.normal(size=100) + codes}), codes, None, 0)
    teacher = registered_estimator("LogisticRegression", {}, features, 0)
    fitted = cross_fit(teacher.fit, rows, fold_of(codes, np.arange(100, dtype=np.int64)), (0, 1))
    hashes = chance.integers(-(2**63), 2**63, 50, dtype=np.int64)
    values = chance.normal(size=50)
    expected = fitted.score_apart(pd.DataFrame({"a": values[1:]}), hashes[1:]).argmax(axis=1)
    values[0] = np.inf
    setting: Any = SimpleNamespace(
        support=None,
        features_of=lambda number: features,
        config=SimpleNamespace(mode=None),
    )
    sample = pa.table({"a": values, HASH: hashes})
    models: Any = SimpleNamespace(setting=setting, asks=False)
    assert predict_sample(models, fitted, sample) == tuple(np.bincount(expected, minlength=2))
    setting.support = (SimpleNamespace(holds=lambda X: X["a"].to_numpy() > 0), None)
    assert sum(predict_sample(models, fitted, sample)) == (values[1:] > 0).sum()
    assert predict_sample(models, fitted, sample.slice(0, 1)) == (0, 0)


@pytest.mark.parametrize(("weight", "refused"), [(None, False), ("balanced", True)])
def test_an_estimator_that_feigns_shares_is_refused_where_they_are_estimated(
    weight: str | None, refused: bool
) -> None:
    own = make_pipeline(StandardScaler(), LogisticRegression(class_weight=weight))
    maker = EstimatorTeacher(own)
    setting: Any = SimpleNamespace(estimates_prior=True, weighting=SimpleNamespace(needed=False))
    if not refused:
        require_usable(maker, maker, setting)
        return
    with pytest.raises(InputError, match="logisticregression__class_weight must") as caught:
        require_usable(maker, maker, setting)
    assert caught.value.code == "feigned_shares"


def test_false_prior_is_said_to_be_what_pool_and_predictions_contradict() -> None:
    predicted = PredictedPrior(
        labeled=[0.5, 0.5], pool=[0.9, 0.1], p_value=3.4e-21, even=False, drawn_per_class=True
    )
    certificate = uncertified(refused="prior_disagrees", predicted=predicted)
    found = not_certified(certificate, [], declared=True)
    assert found.code == "prior_disagrees"
    assert "does not look as unlabeled.prior says" in found.message
    assert "(p = 3.4e-21)" in found.message
    assert "Precision 0.95 with certainty 0.95 can't be certified" in found.message


@pytest.mark.parametrize(
    ("method", "raw", "adjusted", "codes"),
    [
        ("temperature", 0.08, told(0.18), ["harmful_calibration"]),
        ("temperature", 0.08, told(0.09), []),
        ("isotonic", 0.08, told(None), []),
        ("none", 0.08, None, []),
    ],
)
def test_calibration_that_makes_confidences_worse_is_told(
    method: str, raw: float, adjusted: Reliability | None, codes: list[str]
) -> None:
    reliability = Reliabilities(raw=told(raw), adjusted=adjusted)
    assert [one.code for one in harmful_calibration(method, reliability)] == codes
