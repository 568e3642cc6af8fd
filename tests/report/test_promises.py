"""What a run could promise, in words and as a figure."""

from __future__ import annotations

from typing import Any

import pytest

from spark_pseudolabel.report import promises, words
from spark_pseudolabel.report.document import Report
from spark_pseudolabel.report.figures import draw_promise
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.report.text import render_plan, render_text
from tests.report.builders import (
    BAND,
    make_plan,
    make_report,
    with_certificate,
    with_expected,
    with_promises,
)


def reported(shown: str, **changes: Any) -> Report:
    report = with_promises(make_report(), shown=shown)
    certificate = report["certificate"] | changes
    return Report.model_validate(report | {"certificate": certificate})


def test_ladder_says_what_is_published_and_what_more_takes() -> None:
    ladder = promises.ladder(reported("best"))
    assert ladder is not None
    said = {line[0]: line[1:] for line in ladder.body}
    assert said["0.9"] == ["16,000", "80.0%", "is published"]
    assert said["0.85"] == ["16,000", "80.0%", "nothing more"]
    assert said["0.95"] == ["-", "-", "about 4,200 more labels"]
    assert said["0.99"][-1] == "not clear"


def test_band_is_tabulated_at_round_shares() -> None:
    band = promises.band(reported("best"))
    assert band is not None
    assert [line[0] for line in band.body] == [
        "10.0%",
        "20.0%",
        "40.0%",
        "60.0%",
        "80.0%",
        "100.0%",
    ]
    assert band.body[-1] == ["100.0%", "20,000", "0.500", "86.2%"]


def test_classes_say_what_they_miss() -> None:
    missing = promises.missing(reported("none"))
    assert missing is not None
    assert missing.head[-1] == "for 0.8 it takes"
    assert [line[-1] for line in missing.body] == [
        "about 700 more labels",
        "a better model or features",
    ]


def test_promise_that_can_be_kept_is_named_with_what_to_say() -> None:
    assert promises.other_promise(reported("given").certificate) == (  # type: ignore[arg-type]
        "0.95 can't be shown; 0.90 can, for 16,000 rows: --set selection.precision=0.9, with "
        "another output.path."
    )
    few = promises.other_promise(reported("few").certificate)  # type: ignore[arg-type]
    assert few.startswith("0.9 can be shown for 1,332 rows only, 6.7% of the pool: --set ")
    assert few.endswith("--set selection.min_coverage=0.066, with another output.path.")
    assert promises.other_promise(reported("none").certificate) == ""  # type: ignore[arg-type]
    assert promises.other_promise(reported("best").certificate) == ""  # type: ignore[arg-type]


def test_test_that_fails_early_is_no_contradiction() -> None:
    found = {"precision": 0.975, "rows": 9_000, "setting": "selection.precision=best"}
    said = promises.other_promise(reported("given", instead=found).certificate)  # type: ignore[arg-type]
    assert said.startswith(
        "0.95 fails at the first of the cuts that are tested one after the other"
    )
    assert "0.975 can be shown for 9,000 rows: --set selection.precision=best" in said


def test_what_holds_together_is_said() -> None:
    assert "the promise of the published rows with them" in promises.promised(reported("best"))[0]
    assert promises.promised(reported("none"))[0].endswith("hold together.")
    assert "is tested by itself" in promises.promised(reported("given"))[0]
    assert "of every class" in promises.promised(reported("best", per="class"))[0]


def test_goal_of_the_best_names_the_least_that_will_do() -> None:
    assert words.certificate(reported("best")).startswith(
        "Certified: precision 0.9, the best that can be shown, with certainty 0.95 over all labels"
    )
    assert words.certificate(reported("none")).startswith(
        "Not certified: a precision of 0.8 or more with certainty 0.95 for 20.0% of the pool"
    )


@pytest.mark.parametrize("shown", ["best", "given", "few", "none"])
def test_text_and_page_show_it(shown: str) -> None:
    report = reported(shown)
    text, page = render_text(report), render_html(report)
    assert "What can be promised" in text
    assert ("for 0.8 it takes" in text) == (shown in ("few", "none"))
    assert 'id="promises"' in page
    assert "At least so many labels are right" in page
    assert all(len(line) <= 100 for line in text.splitlines() if "/" not in line)


def test_certificate_of_an_earlier_version_shows_none_of_it() -> None:
    report = Report.model_validate(with_certificate(make_report()))
    assert promises.ladder(report) is None
    assert promises.band(report) is None
    assert promises.missing(report) is None
    assert promises.promised(report) == []
    assert draw_promise(report) == []
    assert "What can be promised" not in render_text(report)
    assert 'id="promises"' not in render_html(report)


def test_plan_says_what_its_estimate_rests_on() -> None:
    text = render_plan(with_expected(make_plan()))
    assert "What could be promised" in text
    assert "An estimate from 600 labeled rows alone, by LogisticRegression in folds" in text
    assert "about 4,200 more labels" in text
    assert "What could be promised" not in render_plan(make_plan())


def test_curve_and_its_promise_lie_within_the_axes() -> None:
    (figure,) = draw_promise(reported("best"))
    low, high = figure.axes[0].get_ylim()
    assert high == 1
    assert low <= min(lower for _, lower in BAND)
