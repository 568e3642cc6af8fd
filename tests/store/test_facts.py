"""Facts are written as JSON and read back as they were, also those of earlier versions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from spark_pseudolabel.core.adjustment import Adjustment, Calibration, PriorCorrection
from spark_pseudolabel.core.facts import (
    Claim,
    ClassResult,
    Comparison,
    LossComparison,
    NotCompared,
    PriorShift,
    Representativeness,
)
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.core.teachers.weights import RowWeights
from spark_pseudolabel.core.trust.guard import compare_scores
from spark_pseudolabel.store.facts import (
    AgainstBest,
    Histogram,
    ReadRows,
    RoundCertificate,
    RoundCounts,
    Shift,
    StoredReport,
    Training,
    Weights,
)
from spark_pseudolabel.store.manifest import canonical_json
from tests.store.builders import TRAINING

ROWS = Comparison(2, 3, 9, dropped=False, usable=True)
LOSSES = compare_scores(np.array([[0.6, 0.4]] * 9), np.array([[0.8, 0.2]] * 9), np.zeros(9, int))
SHIFT = Representativeness(
    auc=0.9,
    auc_limit=0.6,
    outside=0.2,
    shifted=True,
    n_labeled=10,
    n_pool=20,
    psi={"a": 0.1},
    unseen={},
    outside_by_chance=False,
)
CERTIFICATE = RoundCertificate(
    claimed=True,
    precision=0.95,
    certainty=0.9,
    per="class",
    source="held_out",
    n_calibration=90,
    n_pool=900,
    coverage=0.5,
    claims=(Claim((1,), 0.9, 80, 2, 0.01, 0.05, 0.96, 450, None),),
    refused=None,
    by_class=(ClassResult(1, 80, 2, 0.9, 0.99, 450),),
    prior_shift=PriorShift((0.5, 0.5), (0.4, 0.6), 0.3, even=True, drawn_per_class=False),
    prior=None,
    shift=SHIFT.short,
    inside_only=False,
    withheld=0,
)
FACTS: list[tuple[Any, Any]] = [
    (Plan, Plan({"policy": "k_best", "k": 1}, (Cut(0.5, ("part-0", 7)), None, Cut(1.0, "all")))),
    (Adjustment, Adjustment(Calibration("isotonic", ((0.1, 0.2), (0.0, 1.0))))),
    (Adjustment, Adjustment(None, PriorCorrection((0.1, 0.9), (0.3, 0.7), "given"))),
    (Weights, RowWeights("softmatch", 0.5, {1: (0.7, 0.2), 3: (0.6, 0.1)})),
    (Weights, RowWeights("confidence")),
    (Histogram, Counts.from_rows(3, [(0, 1000, 5), (2, 0, 1)])),
    (AgainstBest, ROWS),
    (AgainstBest, LOSSES),
    (AgainstBest, NotCompared(1, "shift")),
    (Shift, SHIFT),
    (RoundCertificate, CERTIFICATE),
    (Training, TRAINING),
]


@pytest.mark.parametrize(("kind", "fact"), FACTS)
def test_a_fact_reads_back_as_it_was(kind: Any, fact: Any) -> None:
    adapter = TypeAdapter(kind)
    written = canonical_json(adapter.dump_python(fact, mode="json"))
    found = adapter.validate_python(json.loads(written))
    assert (type(found), found) == (type(fact), fact)
    assert canonical_json(adapter.dump_python(found, mode="json")) == written


def test_classes_of_a_certificate_stand_under_their_short_name() -> None:
    (by_class,) = CERTIFICATE.model_dump(mode="json")["by_class"]
    assert (by_class["class"], "code" in by_class) == (1, False)


@pytest.mark.parametrize("against", [ROWS, LOSSES])
def test_a_refusal_is_written_only_where_there_is_one(against: Comparison | LossComparison) -> None:
    training = TRAINING.model_copy(update={"against_best": against})
    assert "refused" not in training.model_dump(mode="json")["against_best"]


def test_what_was_not_found_out_is_not_written() -> None:
    assert ReadRows().model_dump(mode="json") == {}
    written = TRAINING.model_dump(mode="json")
    assert set(written) & {"shift", "hygiene", "sampled_by_code"} == set()
    looked = TRAINING.model_copy(update={"shift": None})
    assert looked.model_dump(mode="json") == written | {"shift": None}
    assert "inside" not in TypeAdapter(Shift).dump_python(SHIFT)
    assert Training.model_validate(written).shift is None


def test_counts_of_an_earlier_version_lack_what_it_did_not_know() -> None:
    written = {
        "candidates": 3,
        "accepted": 2,
        "rejected": 1,
        "invalid": 0,
        "accepted_by_code": [1, 1],
        "changed": True,
        "flips": None,
    }
    counts = RoundCounts.model_validate(written)
    assert (counts.withheld, counts.taught_by_code) == (0, None)
    assert counts.model_dump(mode="json") == written


@pytest.mark.parametrize(
    "counted",
    [{"0": [[1001, 1]]}, {"0": [[-1, 1]]}, {"0": [[1, -1]]}, {"1": []}, {"0": [["x", 1]]}, [1], 7],
)
def test_a_histogram_holds_rows_of_classes_in_bins(counted: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Histogram).validate_python(counted)


@pytest.mark.parametrize("rounds", [7, [{"used": True}], [{"round": -1}], {"a": 1}])
def test_rounds_of_a_report_are_rounds(rounds: Any) -> None:
    with pytest.raises(ValidationError):
        StoredReport.of({"rounds": rounds})


def test_a_report_stays_as_it_was_written() -> None:
    document = {"rounds": [{"round": 1, "other": [1]}, {"round": 2, "used": False}], "more": {}}
    report = StoredReport.of(document)
    assert report.document == document
    assert [round.used for round in report.rounds] == [True, False]
