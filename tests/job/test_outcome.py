"""What speaks against published labels, from the parts of a report."""

from __future__ import annotations

from typing import Any

import pytest

from spark_pseudolabel.job.outcome import Measured, outcome_warnings

SHARES = [
    {"class": "no", "labeled": 0.887, "predicted": 0.999, "published": 0.99906, "collapsed": False},
    {"class": "yes", "labeled": 0.113, "predicted": 0.001, "published": 0.00094, "collapsed": True},
]
EVEN = [one | {"collapsed": False} for one in SHARES]
USEFUL = {"n": 400, "accuracy": 0.95, "majority": 0.8}
USELESS = {"n": 400, "accuracy": 0.884, "majority": 0.883}
RESULT = {"class": "yes", "n": 40, "wrong": 9, "lower": 0.6, "upper": 0.9, "published": 35}


def certified(*by_class: dict[str, Any]) -> dict[str, Any]:
    return {"claimed": True, "precision": 0.95, "by_class": list(by_class)}


def final(**measured: Any) -> dict[str, Any]:
    return {"test": None, "validation": None, "oof": USEFUL} | measured


def checked(n: int, correct: int) -> dict[str, Any]:
    return USEFUL | {"labels": {"n": n, "correct": correct, "precision": correct / n}}


@pytest.mark.parametrize(
    ("measured", "codes"),
    [
        (Measured(final(), certified(), EVEN), []),
        (Measured(final(), None, SHARES), ["class_collapsed"]),
        (Measured(final(oof=USELESS), None, EVEN), ["hardly_better"]),
        # The strongest evidence counts: rows that no model and no choice has seen.
        (Measured(final(oof=USELESS, test=checked(100, 95)), None, EVEN), []),
        (Measured(final(), certified(RESULT), EVEN), ["class_below_precision"]),
        (Measured(final(), certified(RESULT | {"upper": 0.96}), EVEN), []),
        (Measured(final(), certified(RESULT | {"published": 0}), EVEN), []),
        (
            Measured(final(test=checked(1000, 807)), certified(), EVEN),
            ["certificate_contradicted"],
        ),
        (Measured(final(test=checked(100, 92)), certified(), EVEN), []),  # as chance may have it
        (Measured(final(test=checked(1000, 807)), None, EVEN), []),
        (Measured(final(oof=USELESS), None, []), []),  # nothing is published
    ],
)
def test_what_is_measured_is_held_against_the_labels(measured: Measured, codes: list[str]) -> None:
    found = outcome_warnings(measured)
    assert [one["code"] for one in found] == codes
    assert all(one["message"].endswith((".", "it.")) for one in found)


def test_collapsed_class_is_named_with_its_shares() -> None:
    (warning,) = outcome_warnings(Measured(final(), certified(), SHARES))
    assert warning["classes"] == ["yes"]
    assert "'yes' is 0.09% of the published and 0.10% of the predicted" in warning["message"]
    assert "11.3% of the labeled rows" in warning["message"]
