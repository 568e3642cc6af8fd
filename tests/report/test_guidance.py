"""What a report leads to: the next command, the certificate explained, one line for a mail."""

from __future__ import annotations

from typing import Any

import pytest

from spark_pseudolabel.report.document import Report
from spark_pseudolabel.report.guidance import (
    how_certified,
    mail_line,
    next_steps,
    nothing_done,
)
from tests.report.builders import (
    empty_pool,
    make_audit,
    make_generation,
    make_report,
    with_certificate,
    with_promises,
)


def _report(**changes: Any) -> Report:
    return Report.model_validate({**make_report(), **changes})


def test_labels_that_are_there_are_to_be_checked_by_a_person_first() -> None:
    first, *others = next_steps(_report())
    assert first.arguments[:3] == ("review", "export", "out/income")
    assert first.arguments[3:5] == ("--audit", "200")
    assert [step.arguments[0] for step in others] == ["labels", "verify"]


@pytest.mark.parametrize("accepted", [True, False])
def test_people_are_not_sent_to_ask_about_numbers(accepted: bool) -> None:
    asked = {"tolerance": 1.0, "spelled": "1.0", "relative": False, "interval": 0.95}
    numbers = {**asked, "integer": False, "mean": 0.0, "sd": 1.0}
    report = _report(numbers=numbers)
    if not accepted:
        rows = report.rows.model_copy(update={"accepted": 0, "rejected": report.rows.pool})
        report = report.model_copy(update={"rows": rows})
    steps = [step.arguments[0] for step in next_steps(report)]
    assert steps == (["labels", "verify"] if accepted else ["verify"])


@pytest.mark.parametrize(
    ("audits", "first"),
    [
        ([make_audit()], ("review", "import")),
        ([make_audit(settled=True)], ("labels", "out/income")),
        ([make_audit(settled=True, holds=False)], ("review", "export")),
    ],
)
def test_an_audit_goes_on_until_it_is_settled(
    audits: list[dict[str, Any]], first: tuple[str, str]
) -> None:
    assert next_steps(_report(audits=audits))[0].arguments[:2] == first


def test_without_a_label_a_person_is_the_way_on() -> None:
    report = with_certificate(make_report(), claimed=False)
    report["rows"] |= {"accepted": 0, "rejected": report["rows"]["pool"]}
    certify, queue = next_steps(Report.model_validate(report))
    assert certify.arguments[3:7] == ("--certify", "0.95", "--budget", "300")
    assert queue.arguments[3:5] == ("--queue", "200")


def test_an_empty_pool_asks_for_nothing() -> None:
    assert next_steps(Report.model_validate(empty_pool(make_report()))) == []


def test_a_certificate_says_why_fewer_rows_were_tested_than_there_are() -> None:
    rows, found = how_certified(Report.model_validate(with_certificate(make_report())))
    assert rows.startswith("600 labeled rows could be tested, each scored by models that have not")
    assert "498 lie at or above the cut, and 12 of them are wrong" in found
    assert found.endswith("Hence at least 96.1% are right, at that level.")


def test_a_certificate_that_claims_nothing_says_what_a_claim_would_take() -> None:
    report = Report.model_validate(with_certificate(make_report(), claimed=False))
    found = how_certified(report)[1]
    assert "498 lie at the strictest cut that was tried" in found
    assert found.endswith("a claim takes 0.05 at most, so that nothing is claimed.")


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (
            make_report(),
            "spark-pseudolabel: validation_drop, 18,152 of 20,000 pool rows labeled (90.8%), "
            "nothing promised, accuracy 0.8591, 3 rounds in 47.2 s, 1 warning: out/income",
        ),
        (
            with_certificate(make_report()) | {"warnings": []},
            "spark-pseudolabel: validation_drop, 18,152 of 20,000 pool rows labeled (90.8%), "
            "precision 0.95 certified with certainty 0.95, 3 rounds in 47.2 s: out/income",
        ),
    ],
)
def test_one_line_sums_a_run_up(report: dict[str, Any], line: str) -> None:
    assert mail_line(Report.model_validate(report)) == line


def test_the_line_stays_one_whatever_a_path_holds() -> None:
    config = make_report()["config"] | {"output": {"path": "out\nFrom: x"}}
    assert "\n" not in mail_line(_report(config=config))


def test_a_precision_that_was_chosen_is_explained_by_bounds_that_hold_together() -> None:
    best = how_certified(Report.model_validate(with_promises(make_report())))
    assert "at most, a small one since the cut was chosen among all. Hence" in best[1]
    none = how_certified(Report.model_validate(with_promises(make_report(), shown="few")))
    assert none[1].endswith(
        "no precision from 0.8 on is shown for 20.0% of the pool, so that nothing is claimed."
    )


def test_a_run_that_found_nothing_to_do_says_so_in_its_line() -> None:
    report = _report()
    assert mail_line(report, before=True).startswith("spark-pseudolabel: nothing to do, ")
    assert nothing_done(report, "out") == "Nothing to do: out is finished."
    later = report.model_copy(update={"generations": [make_generation(1), make_generation(2)]})
    line = mail_line(later, before=True)
    assert line.startswith("spark-pseudolabel: nothing new since generation 2, ")
    assert "report of generation 2" in nothing_done(later, "out")
