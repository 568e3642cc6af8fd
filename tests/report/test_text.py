"""What a person reads in the terminal: short lines that no data can make misbehave."""

from __future__ import annotations

import re
from typing import Any

import pytest

from spark_pseudolabel.report import guidance, text
from spark_pseudolabel.report.document import Report
from spark_pseudolabel.report.text import (
    render_explain,
    render_label,
    render_plan,
    render_status,
    render_text,
    render_verify,
)
from tests.report.builders import (
    adjusted,
    empty_pool,
    make_explained,
    make_plan,
    make_report,
    make_status,
    make_why,
    with_certificate,
    with_shift,
    with_teacher,
    without_measures,
)

DAMAGED = [{"path": "labels/part-0.parquet", "problem": "must hold 10 rows. Found 9."}]
VERIFIED = {"output": "out", "ok": False, "deep": True, "checked": 7, "problems": DAMAGED}
LABELED = {
    "input": "data/new",
    "output": "out/new",
    "rows": 10,
    "accepted": 7,
    "invalid": 1,
    "model": "model-0003",
}
PAGES = {
    "two classes": render_text(make_report()),
    "26 classes": render_text(make_report([chr(ord("A") + i) for i in range(26)])),
    "int labels": render_text(make_report([0, 1, 2])),
    "bool labels": render_text(make_report([False, True])),
    "hostile names": render_text(make_report(["<script>", "\x1b[31mred", "a\nb", "x" * 300])),
    "no rounds": render_text(make_report(n_rounds=0)),
    "many rounds": render_text(make_report(n_rounds=60)),
    "empty pool": render_text(empty_pool(make_report())),
    "nothing measured": render_text(without_measures(make_report())),
    "adjusted": render_text(adjusted(make_report([chr(ord("A") + i) for i in range(26)]))),
    "cross-fitted": render_text(adjusted(make_report(), calibrated=False)),
    "plan": render_plan(make_plan()),
    "status": render_status(make_status()),
    "verify": render_verify(VERIFIED),
    "explain": render_explain(make_explained()),
    "why": render_explain(make_explained() | {"why": make_why()}),
    "shift": render_text(with_shift(make_report())),
    "teacher": render_text(with_teacher(make_report())),
    "label": render_label(LABELED),
}


REVIEWED: dict[str, Any] = {
    "review": {"commits": 2, "labels": 830, "certificate_holds": False},
    "audits": [
        {
            "round": 1,
            "rows": 831,
            "asked": 60,
            "answers": 60,
            "wrong": 0,
            "lower": 0,
            "upper": 59,
            "settled": False,
            "shown": None,
            "precision": 0.975,
            "at_least": 0.929,
            "at_most": 1.0,
            "more": 129,
            "holds": False,
        }
    ],
    "certified": [
        {
            "precision": 0.95,
            "certainty": 0.95,
            "round": 1,
            "cut": 0.9,
            "rows": 800,
            "coverage": 0.7,
            "answers": 300,
            "published": 790,
        }
    ],
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_lines_are_short_and_hold_no_control_characters(page: str) -> None:
    lines = page.splitlines()
    assert max(map(len, _wrapped(page))) <= 100
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert page.endswith("\n")
    assert not page.endswith("\n\n")


@pytest.mark.parametrize("columns", [80, 60])
def test_lines_fit_a_narrow_terminal_and_numbers_stay_whole(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(text, "width", lambda: columns)
    long_names = make_report(["a class with a name of many words, as surveys have them", ">50K"])
    pages = [
        render_text(make_report()),
        render_text(with_shift(adjusted(long_names))),
        render_plan(make_plan()),
        render_status(make_status()),
        render_status(make_status() | REVIEWED),
        render_text(make_report() | REVIEWED),
        render_verify(VERIFIED),
        render_explain(make_explained() | {"why": make_why()}),
    ]
    for page in pages:
        assert max(map(len, _wrapped(page))) <= columns
    assert "0.8531" in pages[0] or "0.8530" in pages[0]
    assert " 20,000 " in pages[0]


def test_labels_that_changed_since_are_not_called_certified() -> None:
    report = with_certificate(make_report())
    assert "Certified: precision" in render_text(report)
    changed = render_text(report | REVIEWED)
    assert "Certified: precision" not in changed
    assert "Was certified when the run ended: precision 0.95" in changed
    in_short = guidance.mail_line(Report.model_validate(report | REVIEWED))
    assert "nothing certified of the labels as they stand" in in_short


def test_an_audit_that_contradicts_a_certificate_is_the_verdict() -> None:
    refuted = REVIEWED["audits"][0] | {"shown": False, "settled": True, "holds": True}
    report = with_certificate(make_report()) | {"audits": [refuted]}
    assert render_text(report).startswith("An audit contradicts the certificate.")


def test_wrapped_keeps_indentation_and_leaves_what_to_do_next_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text, "width", lambda: 20)
    command = "Next: spark-pseudolabel review import out --answers ask"
    message = f"53 rows newly answered.\n  1 row that was skipped\n\n{command}\n"
    assert text.wrapped(message).split("\n") == [
        "53 rows newly",
        "answered.",
        "  1 row that was",
        "    skipped",
        "",
        command,
        "",
    ]


def _wrapped(page: str) -> list[str]:
    """Return the lines without commands, which stay whole so that they can be copied."""
    return [line for line in page.splitlines() if not re.match(r"    \S*spark-pseudolabel ", line)]


def test_verdict_comes_first_and_what_to_do_last() -> None:
    blocks = PAGES["two classes"].split("\n\n")
    titles = [block.splitlines()[0] for block in blocks]
    assert titles == [
        "Better than the seed model.",
        "Warnings",
        "Rounds",
        "Seed and final model",
        "Labels",
        "Outputs",
        "Next",
    ]


def test_says_what_was_gained_and_why_it_stopped() -> None:
    page = PAGES["two classes"]
    assert "Accuracy on 15,060 test rows: seed 0.8391, final 0.8591 (+2.0 points)." in page
    assert "18,152 of 20,000 pool rows got a label (90.8%)" in page
    assert "(validation_drop). Best: round 2." in page


def test_final_model_that_validation_rows_chose_is_said_to_be_the_best_of_them() -> None:
    chosen = make_report()
    chosen["final"] |= {"chosen_from": 4, "test": None}
    page = " ".join(render_text(chosen).split())
    assert "validation, best of 4 2,000" in page
    assert "within noise, best of 4)." in page
    assert "best of" not in render_text(make_report())


@pytest.mark.parametrize(
    ("gain", "word"),
    [
        (+0.05, "Better than the seed model."),
        (+0.001, "On a par with the seed model."),
        (-0.05, "Worse than the seed model."),
    ],
)
def test_verdict_minds_the_noise(gain: float, word: str) -> None:
    report = make_report()
    final = report["final"]
    accuracy = report["seed"]["test"]["accuracy"] + gain
    final = final | {"test": final["test"] | {"accuracy": accuracy}}
    assert render_text(report | {"final": final}).splitlines()[0] == word


@pytest.mark.parametrize(
    ("report", "word"),
    [
        (empty_pool(make_report()), "Nothing to label."),
        (make_report(n_rounds=0), "No rows labeled."),
        (without_measures(make_report()), "Not measured."),
    ],
)
def test_verdict_without_evidence_claims_nothing(report: dict[str, Any], word: str) -> None:
    assert render_text(report).splitlines()[0] == word


def test_says_what_a_confidence_is_worth() -> None:
    page = render_text(adjusted(make_report()))
    (ece,) = [line.split() for line in page.splitlines() if line.split()[:2] == ["3", "400"]]
    assert ece[2:] == ["0.1000", "0.0000"]
    (top,) = [line for line in page.splitlines() if line.strip().startswith("0.9 to 1")]
    assert top.split()[3:] == ["200", "98.0%", "88.0%", "200", "88.0%", "88.0%"]


def test_a_round_that_is_not_used_is_marked() -> None:
    block = next(b for b in PAGES["two classes"].split("\n\n") if b.startswith("Rounds\n"))
    assert [line.split()[0] for line in block.splitlines()[1:]] == ["round", "1", "2", "*3", "*"]


def test_many_rounds_are_shortened_in_the_middle() -> None:
    page = PAGES["many rounds"]
    assert "40 rounds left out here" in page
    assert "\n    *60 " in page


def test_counts_of_billions_still_fit() -> None:
    report = make_report()
    columns = ("candidates", "accepted", "rejected", "trained_on")
    huge = dict.fromkeys(columns, 12_345_678_901)
    rounds = [r | huge | {"invalid": 98_765_432_109} for r in report["rounds"]]
    page = render_text(report | {"rounds": rounds})
    assert "12.3G" in page
    assert max(map(len, page.splitlines())) <= 100


def test_labels_that_rounds_changed_are_counted() -> None:
    report = make_report(n_rounds=2)
    assert "Labels against the round before" not in render_text(report)
    report["rounds"][1]["flips"] = {"kept": 1234, "changed": 5, "added": 67, "dropped": 0}
    assert "round   kept  changed  added  dropped\n      2  1,234        5     67        0" in (
        render_text(report)
    )


@pytest.mark.parametrize("explained", [True, False])
def test_given_labels_that_look_wrong_are_named(explained: bool) -> None:
    report = make_report()
    names = report["classes"]
    report["given_labels"] = {
        "n": 400,
        "suspicious": 12,
        "p_value": 0.5 if explained else 1e-6,
        "explained": explained,
        "first": [
            {
                "id": "row\x1b7",
                "given": names[0],
                "suggested": names[1],
                "p_given": 0.01,
                "p_suggested": 0.97,
            }
        ],
        "file": "suspects",
    }
    page = render_text(report)
    assert "another label for 12 of 400 labeled rows" in page
    assert ("may be the reason" in page) is explained
    assert "row\\x1b7" in page


def test_letters_of_any_script_stay_and_columns_still_align() -> None:
    page = render_text(make_report(["\u4e2d\u6587", "caf\u00e9"]))
    assert "  \u4e2d\u6587      9,689" in page
    assert "  caf\u00e9      8,463" in page


def test_a_path_is_never_broken() -> None:
    path = f"s3a://bucket/{'deep/' * 40}labels"
    paths = make_report()["paths"] | {"labels": path}
    assert path in render_text(make_report() | {"paths": paths})


def test_plan_says_what_would_happen() -> None:
    page = PAGES["plan"]
    assert page.startswith("The config is good. `run` would start a new run; nothing was written.")
    assert "[dates_as_numbers] Column 'hired' becomes seconds." in page
    assert "  model      HistGradientBoostingClassifier(max_iter=200)" in page
    assert "  selection  threshold (threshold: 0.9)" in page


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("done", "done after 2 rounds because the last round accepted nothing new (no_change)"),
        ("resumable", "not finished, 2 rounds committed; run the same command again to continue"),
        ("running", "running, 2 rounds committed by process 7 on n1"),
        ("damaged", "damaged, 2 rounds committed"),
    ],
)
def test_status_says_what_to_do(state: str, said: str) -> None:
    page = render_status(make_status(state))
    assert said in " ".join(page.split())
    assert "HumanLabeled" in page


def test_status_tells_the_last_error() -> None:
    error = {"exit_code": 3, "code": "missing_path", "message": "data/x must exist."}
    page = render_status(make_status() | {"last_error": error})
    assert "Last error\n[missing_path] data/x must exist." in page


def test_verify_lists_the_problems() -> None:
    assert "out is damaged: 1 problem in 7 files checked" in PAGES["verify"]
    assert "labels/part-0.parquet: must hold 10 rows. Found 9." in PAGES["verify"]
    whole = render_verify(VERIFIED | {"ok": True, "problems": []})
    assert whole == "out is whole: 7 files checked (contents read).\n"


@pytest.mark.parametrize("n_rounds", [1, 3, 200])
def test_explain_takes_at_most_twenty_lines(n_rounds: int) -> None:
    page = render_explain(make_explained(n_rounds))
    assert len(page.splitlines()) <= 20
    assert page.startswith("Row 17 was labeled")
    assert "above the cut" in page


def test_why_names_the_features_and_what_the_final_model_says() -> None:
    assert "  job      clerk  +0.3100" in PAGES["why"]
    assert "  v        -      +0.0000" in PAGES["why"]
    assert "The final model, model-0004, says '<=50K' (0.6100)." in PAGES["why"]
    assert "not the values" not in PAGES["why"]


def test_a_shift_is_told_by_what_differs_most() -> None:
    page = PAGES["shift"]
    assert "Labeled rows do not stand for the pool" in page
    assert "(512 withheld, far from any labeled row)" in " ".join(page.split())
    assert page.index("PSI of age") < page.index("PSI of hours")
    assert "new categories of job" in page
    assert "new categories of country" not in page  # it has none


def test_the_teacher_is_told_with_its_members() -> None:
    page = " ".join(PAGES["teacher"].split())
    assert "The pool was labeled by anchors (anchors 599, class_mass false)." in page
    assert "It abstained from 1,234 pool rows." in page
    assert "anchors 0.7500 90.0% 0.9550 rules 0.2500 0.0% -" in page


def test_label_says_how_many_and_where() -> None:
    said = "10 rows of data/new labeled by model-0003: 7 above the cut, 1 could not be scored."
    assert PAGES["label"].startswith(said)
    assert "out/new" in PAGES["label"]


def test_label_says_how_often_the_model_abstained() -> None:
    page = render_label(LABELED | {"abstained": 4})
    assert "4 from which the model abstained" in " ".join(page.split())


def test_plan_lists_rules() -> None:
    rules = [{"name": f"r{i}", "label": i > 3, "when": f"x > {i}"} for i in range(90)]
    rules[0]["when"], plan = None, make_plan()
    page = render_plan(plan | {"model": plan["model"] | {"rules": rules}})
    assert "Rules\n" in page
    assert "r1    false" in page
    assert "x > 1" in page
    assert "a function in Python" in page
    assert "more rules" in page
    assert "Rules" not in render_plan(plan)


def test_label_by_quota_counts_no_row_as_accepted() -> None:
    page = render_label(LABELED | {"accepted": None, "invalid": 0})
    assert page.startswith("10 rows of data/new labeled by model-0003.\n")


def certified(**parts: Any) -> dict[str, Any]:
    """Build the report of a certified run that nothing speaks against, but for some parts."""
    report = make_report(discard_last=False)
    seed = report["seed"] | {"test": report["final"]["test"] | {"labels": None}}
    certificate = {
        "claimed": True,
        "precision": 0.95,
        "certainty": 0.95,
        "per": "all",
        "source": "out_of_fold",
        "n_calibration": 400,
        "n_pool": 20_000,
        "coverage": 0.5,
        "claims": [],
        "refused": None,
        **parts.pop("certificate", {}),
    }
    return report | {"seed": seed, "certificate": certificate, "warnings": [], **parts}


SHIFTED = {
    "auc": 0.9,
    "auc_limit": 0.55,
    "outside": 0.6,
    "outside_by_chance": False,
    "shifted": True,
    "action": "withhold",
    "n_labeled": 400,
    "n_pool": 2000,
    "psi": {},
    "unseen": {},
}
SILENT = {key: SHIFTED[key] for key in ("auc", "auc_limit", "outside")} | {"shifted": False}
LOW = {"class": ">50K", "n": 90, "wrong": 30, "lower": 0.57, "upper": 0.75, "published": 40}
PRIOR = {"labeled": [0.5, 0.5], "pool": [0.9, 0.1], "p_value": 0.0, "even": True}
RARE = {"class": ">50K", "labeled": 0.1, "predicted": 0.001, "published": 0.001}


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({}, "Certified labels."),
        ({"shift": SHIFTED}, "Pool unlike the labeled rows."),
        ({"shift": SHIFTED | {"inside": SILENT}}, "Certified labels."),
        ({"certificate": {"by_class": [LOW]}}, "A class falls short."),
        (
            {"certificate": {"prior_shift": PRIOR | {"drawn_per_class": True}}},
            "Labeled rows mixed otherwise.",
        ),
        ({"class_shares": [RARE | {"collapsed": True}]}, "A class is hardly labeled."),
        (
            {"duplicates": {"rows": 41, "groups": 20, "example": [1, 2], "conflicting": 0}},
            "Many labeled rows are copies.",
        ),
        (
            {"warnings": [{"code": "certificate_contradicted", "message": "No."}]},
            "Test rows contradict the certificate.",
        ),
        ({"warnings": [{"code": "prior_disagrees", "message": "No."}]}, "Pool mixed otherwise"),
    ],
)
def test_verdict_looks_at_all_that_is_known(parts: dict[str, Any], word: str) -> None:
    assert render_text(certified(**parts)).startswith(word)


def test_heads_of_class_tables_stay_whole_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text, "width", lambda: 80)
    shares = [RARE | {"class": "a long name of a class", "collapsed": False}]
    by_class = [LOW | {"class": "a long name of a class"}]
    page = render_text(certified(certificate={"by_class": by_class}, class_shares=shares))
    lines = page.splitlines()
    assert lines[lines.index("Certified labels by class") + 1].split() == (
        ["class", "tested", "wrong", "at", "least", "right", "at", "most", "published"]
    )
    assert "of predicted" in lines[lines.index("Share of each class") + 1]


def test_verdict_of_a_certificate_minds_the_test_rows() -> None:
    report = certified()
    test = report["final"]["test"]
    few_right = {"n": 1000, "correct": 807, "precision": 0.807}
    final = report["final"] | {"test": test | {"labels": few_right}}
    assert render_text(report | {"final": final}).startswith("Test rows fall short.")
    always = report["final"] | {"test": test | {"majority": test["accuracy"]}}
    assert render_text(report | {"final": always}).startswith("Hardly better than one label.")


def test_classes_of_a_certificate_are_tabulated() -> None:
    page = render_text(certified(certificate={"by_class": [LOW]}))
    (line,) = [line for line in page.splitlines() if line.split()[1:3] == ["90", "30"]]
    assert line.split() == [">50K", "90", "30", "57.0%", "75.0%", "40"]
