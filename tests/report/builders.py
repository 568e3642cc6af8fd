"""Documents as a run would make them: a seed, three rounds (the last one discarded), warnings."""

from __future__ import annotations

from typing import Any

from spark_pseudolabel.report.document import ComparedRows, Generation, GenerationShift

BINS = 100


def make_report(
    classes: list[Any] | None = None, *, n_rounds: int = 3, discard_last: bool = True
) -> dict[str, Any]:
    """Build a ``report.json`` whose numbers add up, for any classes and number of rounds."""
    classes = ["<=50K", ">50K"] if classes is None else classes
    rounds: list[dict[str, Any]] = []
    candidates = 10_000 * len(classes)
    for number in range(1, n_rounds + 1):
        used = not (discard_last and number == n_rounds)
        rounds.append(make_round(number, classes, candidates, used=used))
        candidates -= rounds[-1]["accepted"]
    used_rounds = [r for r in rounds if r["used"]]
    pool = 10_000 * len(classes)
    accepted = sum(r["accepted"] for r in used_rounds)
    invalid = rounds[-1]["invalid"] if rounds else 0
    best = len(used_rounds)
    return {
        "schema_version": 1,
        "run_id": "5f0c2d6e9a4b4c39",
        "termination_condition": "validation_drop" if discard_last and rounds else "max_iter",
        "n_iter": n_rounds,
        "best_round": best,
        "classes": classes,
        "rounds": rounds,
        "seed": make_model(1, 0.842, test=0.8391),
        "final": make_model(
            best + 1,
            0.842 + 0.011 * min(best, 9),
            test=0.8391 + 0.01 * min(best, 9),
            correct=0.97,
        ),
        "rows": {
            "labeled": 400,
            "validation": 2_000,
            "pool": pool,
            "accepted": accepted,
            "rejected": pool - accepted - invalid,
            "invalid": invalid,
        },
        "certificate": None,
        "warnings": [
            {
                "code": "few_validation_rows",
                "message": "Class '>50K' has 24 validation rows: its metrics move by chance. "
                "Raise validation.fraction or label more rows of it.",
                "class": ">50K",
            }
        ],
        "paths": make_paths("out/income"),
        "config": {
            "labeled": {
                "path": "data/labeled.parquet",
                "format": "parquet",
                "label": "income",
            },
            "unlabeled": {"path": "data/pool", "format": "parquet"},
            "selection": {"policy": "threshold", "threshold": 0.9},
            "rounds": {"max": 10, "relabel": False},
            "output": {"path": "out/income", "features": False, "probabilities": False},
            "random_state": 0,
        },
        "environment": {"python": "3.11.7", "spark": "4.3.0", "scikit-learn": "1.9.1"},
        "elapsed_s": 47.25,
    }


def make_round(
    number: int, classes: list[Any], candidates: int, *, used: bool = True
) -> dict[str, Any]:
    """Build one round in which the cut is 0.9 and earlier classes are easier."""
    share = candidates // len(classes)
    counts = {
        label: make_counts(share, 6 - 3 * i / len(classes)) for i, label in enumerate(classes)
    }
    accepted = {label: sum(bins[90:]) for label, bins in counts.items()}
    scored = sum(sum(bins) for bins in counts.values())
    return {
        "round": number,
        "model": f"model-{number:04d}",
        "candidates": candidates,
        "accepted": sum(accepted.values()),
        "rejected": scored - sum(accepted.values()),
        "invalid": candidates - scored,
        "trained_on": sum(accepted.values()),
        "accepted_by_class": accepted,
        "threshold_by_class": dict.fromkeys(classes, 0.9),
        "used": used,
        "validation": make_metrics(0.842 + (0.011 * min(number, 9) if used else -0.02)),
        "seconds": {"fit": 3.21, "score": 1.9 / number, "select": 0.41, "commit": 0.28},
        "histogram": {"bins": BINS, "counts": counts},
    }


def make_reliability(adjusted: bool = True) -> dict[str, Any]:
    """Build confidences of 400 rows, too high by 0.1 before they are adjusted."""
    n = [0] * 5 + [20, 40, 60, 80, 200]
    right = [None] * 5 + [0.45, 0.55, 0.65, 0.75, 0.88]
    said = [None if share is None else round(share + 0.1, 2) for share in right]
    table = {"n": n, "accuracy": right}
    return {
        "raw": {**table, "confidence": said, "ece": 0.1},
        "adjusted": {**table, "confidence": right, "ece": 0.0} if adjusted else None,
    }


def make_counts(n: int, steepness: float) -> list[int]:
    """Spread n rows over the bins, rising to a confidence of 1, nothing below one half."""
    weights = [0.0] * 50 + [((b + 1) / BINS) ** (2 * steepness) for b in range(50, BINS)]
    return [int(n * weight / sum(weights)) for weight in weights]


def make_metrics(accuracy: float, n: int = 2_000) -> dict[str, Any]:
    """Build metrics that hang together."""
    return {
        "n": n,
        "accuracy": accuracy,
        "balanced_accuracy": accuracy - 0.06,
        "f1_macro": accuracy - 0.05,
        "log_loss": round(1.2 * (1 - accuracy), 6),
    }


def make_model(
    number: int, accuracy: float, *, test: float, correct: float | None = None
) -> dict[str, Any]:
    """Build one measured model; ``correct`` is the precision of the labels on the test table."""
    labels = None
    if correct is not None:
        labels = {"n": 10_000, "correct": int(10_000 * correct), "precision": correct}
    return {
        "model": f"model-{number:04d}",
        "validation": make_metrics(accuracy),
        "oof": None,
        "test": make_metrics(test, 15_060) | {"labels": labels},
    }


def make_paths(out: str) -> dict[str, str]:
    """Build the outputs' places."""
    return {
        "labels": f"{out}/labels",
        "training": f"{out}/training",
        "invalid": f"{out}/invalid",
        "model": f"{out}/model/model.skops",
        "report_html": f"{out}/report.html",
        "report_json": f"{out}/report.json",
    }


def without_measures(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a run that had neither validation rows nor a test table."""
    bare = {"validation": None, "oof": None, "test": None}
    rounds = [r | {"validation": None} for r in report["rounds"]]
    rows = report["rows"] | {"validation": 0}
    return report | {
        "seed": report["seed"] | bare,
        "final": report["final"] | bare,
        "rounds": rounds,
        "rows": rows,
        "warnings": [],
    }


def adjusted(report: dict[str, Any], *, calibrated: bool = True) -> dict[str, Any]:
    """Return the report of a cross-fitted run, calibrated and corrected to a prior, or neither."""
    rounds = [r | {"reliability": make_reliability(calibrated)} for r in report["rounds"]]
    shares = dict.fromkeys(report["classes"], 1 / len(report["classes"]))
    prior = {"shares": shares, "source": "estimated"} if calibrated else None
    return report | {"rounds": rounds, "prior": prior}


def empty_pool(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a run whose pool held no rows."""
    rows = {"labeled": 400, "validation": 2_000}
    return report | {
        "rounds": [],
        "n_iter": 0,
        "best_round": 0,
        "termination_condition": "all_labeled",
        "final": report["seed"],
        "rows": rows | dict.fromkeys(("pool", "accepted", "rejected", "invalid"), 0),
        "warnings": [],
    }


def with_teacher(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a run whose pool an anchor graph labeled, beside another model."""
    members = [
        {"name": "anchors", "weight": 0.75, "coverage": 0.9, "accuracy": 0.955},
        {"name": "rules", "weight": 0.25, "coverage": 0.0, "accuracy": None},
    ]
    teacher = {
        "kind": "anchors",
        "parameters": {"anchors": 599, "class_mass": False},
        "members": members,
        "abstained": 1_234,
        "recall": None,
    }
    return report | {"teacher": teacher}


def with_shift(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a run whose pool differs, and that withheld rows."""
    shift = {
        "action": "withhold",
        "n_labeled": 400,
        "n_pool": 2_000,
        "auc": 0.871,
        "auc_limit": 0.585,
        "psi": {"age": 1.25, "hours": 0.02},
        "unseen": {"job": 0.31, "country": 0.0},
        "outside": 0.274,
        "outside_by_chance": False,
        "shifted": True,
        "prior_shift": None,
    }
    return report | {"shift": shift, "rows": report["rows"] | {"withheld": 512}}


def with_certificate(report: dict[str, Any], *, claimed: bool = True) -> dict[str, Any]:
    """Return the report of a run whose 600 labeled rows were tested, 498 of them above the cut."""
    claim = {
        "labels": report["classes"],
        "cut": 0.913 if claimed else None,
        "n": 498,
        "wrong": 12,
        "p_value": 0.003 if claimed else 0.4,
        "level": 0.05,
        "bound": 0.961 if claimed else 0.93,
        "rows": report["rows"]["accepted"] if claimed else 0,
        "more_labels": None if claimed else 1_200,
        "outlook": None if claimed else "labels",
    }
    certificate = {
        "claimed": claimed,
        "precision": 0.95,
        "certainty": 0.95,
        "per": "all",
        "source": "out_of_fold",
        "n_calibration": 600,
        "n_pool": report["rows"]["pool"],
        "coverage": report["rows"]["accepted"] / report["rows"]["pool"] if claimed else 0.0,
        "claims": [claim],
        "refused": None,
    }
    return report | {"certificate": certificate}


def with_mistakes(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a run whose seed model was asked about 500 labeled rows, out of fold."""
    n, right = [0] * 100, [0] * 100
    n[60], n[80], n[92], n[98] = 80, 120, 200, 100
    right[60], right[80], right[92], right[98] = 60, 110, 191, 99
    one, other = report["classes"][:2]
    confused = [
        {"given": one, "predicted": other, "rows": 30},
        {"given": other, "predicted": one, "rows": 10},
    ]
    mistakes = {
        "source": "oof",
        "n": n,
        "right": right,
        "by_class": {one: 300, other: 200},
        "confused": confused,
    }
    return report | {"seed": report["seed"] | {"mistakes": mistakes}}


BAND = ((0.1, 0.971), (0.2, 0.969), (0.4, 0.953), (0.6, 0.931), (0.8, 0.905), (1.0, 0.862))


def with_promises(report: dict[str, Any], *, shown: str = "best") -> dict[str, Any]:
    """Return the report of a certified run with what it could promise.

    Parameters
    ----------
    shown
        ``"best"``: at 0.9; ``"given"``: 0.95 can't be shown, and 0.9 can; ``"few"``: no step holds
        for enough rows; ``"none"``: no step holds for any.
    """
    report = with_certificate(report, claimed=shown == "best")
    pool = report["rows"]["pool"]
    of = {"best": 0.8, "given": 0.8, "few": 0.0666, "none": 0.0}[shown]
    steps = {0.99: 0.0, 0.975: 0.0, 0.95: 0.0, 0.9: of, 0.85: of, 0.8: of}
    ladder = [
        {
            "precision": precision,
            "rows": round(share * pool),
            "share": share,
            "certified": share >= 0.2,
            "more_labels": 4_200 if precision == 0.95 else None,
            "outlook": "labels" if precision == 0.95 else None if share else "unclear",
        }
        for precision, share in steps.items()
    ]
    band = [
        {"share": share, "rows": round(share * pool), "lower": lower, "cut": 1 - share / 2}
        for share, lower in BAND
    ]
    missing = [
        {"class": name, "n": 300, "wrong": 9 + 40 * code, "more_labels": None if code else 700}
        | {"outlook": "model" if code else "labels"}
        for code, name in enumerate(report["classes"])
    ]
    best = shown != "given"
    instead = {"precision": 0.9, "rows": round(of * pool), "setting": "selection.precision=0.9"}
    certificate = report["certificate"] | {
        "precision": {"best": 0.9, "given": 0.95}.get(shown, 0.8),
        "best": best,
        "min_coverage": 0.2,
        "band": band,
        "ladder": ladder,
        "missing": missing,
        "instead": None if best else instead,
    }
    return report | {"certificate": certificate}


def make_audit(*, settled: bool = False, holds: bool = True, number: int = 1) -> dict[str, Any]:
    """Build what 120 answers of an audit have shown."""
    return {
        "round": number,
        "rows": 18_152,
        "asked": 200,
        "answers": 120,
        "wrong": 3,
        "lower": 41,
        "upper": 1_089,
        "settled": settled,
        "shown": True if settled else None,
        "precision": 0.95,
        "at_least": 0.94,
        "at_most": 0.9977,
        "more": 37,
        "holds": holds,
    }


def make_why() -> dict[str, Any]:
    """Build what ``explain --why`` adds."""
    values = [("job", "clerk", 0.31), ("age", 39, -0.12), ("v", None, 0.0)]
    return {
        "model": "model-0003",
        "label": ">50K",
        "confidence": 0.95,
        "stored_confidence": 0.95,
        "base": 0.24,
        "background": 100,
        "features": [{"feature": f, "value": v, "effect": e} for f, v, e in values],
        "final": {"model": "model-0004", "label": "<=50K", "confidence": 0.61},
    }


def with_expected(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan that says what could be promised."""
    certificate = with_promises(make_report())["certificate"]
    promise = {"rows": 600, "estimator": "LogisticRegression", "certainty": 0.95}
    return plan | {"promise": promise | {k: certificate[k] for k in ("band", "ladder")}}


def make_plan() -> dict[str, Any]:
    """Build the document of ``plan``."""
    return {
        "rows": {"labeled": 400, "validation": 100, "pool": 32_000, "test": None},
        "classes": {"<=50K": 304, ">50K": 96},
        "label_type": "string",
        "id": ["row_id"],
        "features": [
            {"name": "age", "kind": "numeric", "type": "int"},
            {"name": "hired", "kind": "datetime", "type": "timestamp"},
        ],
        "model": {
            "estimator": "HistGradientBoostingClassifier",
            "params": {"max_iter": 200},
            "student": {"estimator": "LogisticRegression", "params": {}},
            "preprocessing": ["encode categories", "timestamps to seconds"],
        },
        "selection": {"policy": "threshold", "threshold": 0.9},
        "rounds": {"max": 10, "relabel": False},
        "partitions": 8,
        "output": {"path": "out/income", "state": "new"},
        "warnings": [{"code": "dates_as_numbers", "message": "Column 'hired' becomes seconds."}],
    }


def make_status(state: str = "resumable") -> dict[str, Any]:
    """Build the document of ``status`` of a run with two committed rounds."""
    short = ("round", "model", "candidates", "accepted", "rejected", "invalid", "validation")
    rounds = [{key: r[key] for key in short} for r in make_report()["rounds"][:2]]
    return {
        "output": "out/income",
        "run_id": "5f0c2d6e9a4b4c39",
        "state": state,
        "termination_condition": "no_change" if state == "done" else None,
        "rounds": rounds,
        "best_round": 2 if state == "done" else None,
        "counters": {
            "TotalLabeled": 18_552,
            "HumanLabeled": 400,
            "MachineLabeled": 18_152,
            "FailedNonRetryableError": 45,
            "Unlabeled": 1_803,
        },
        "lease": {"host": "n1", "pid": 7, "since": "2026-11-21T05:00:00Z", "live": True},
        "last_error": None,
    }


def make_explained(n_rounds: int = 3) -> dict[str, Any]:
    """Build the document of ``explain`` for a row that the last round accepted."""
    steps = [
        {
            "round": number,
            "model": f"model-{number:04d}",
            "label": ">50K",
            "confidence": 0.8 + 0.15 * number / n_rounds,
            "cut": 0.9,
            "rule": "threshold 0.9",
            "accepted": number == n_rounds,
            "reason": "above the cut" if number == n_rounds else "not above the cut",
            "file": f"_runs/x/round-{number:04d}/accepted/part-0.parquet",
        }
        for number in range(1, n_rounds + 1)
    ]
    return {
        "id": "17",
        "kind": "accepted",
        "label": ">50K",
        "given_label": None,
        "confidence": 0.95,
        "round": n_rounds,
        "model": f"model-{n_rounds:04d}",
        "history": steps,
        "text": f"Row 17 was labeled '>50K' in round {n_rounds} with confidence 0.95.",
    }


def make_generation(number: int, *, auc: float | None = None, **changes: object) -> Generation:
    """Return a generation, the separability of its rows from those before it if given."""
    compared = (
        None if auc is None else ComparedRows(auc=auc, auc_limit=0.6, outside=0, shifted=auc > 0.6)
    )
    return Generation.model_validate(
        {
            "generation": number,
            "run_id": "r",
            "outcome": "labeled",
            "inputs": 1,
            "rows": 1000,
            "accepted": 900,
            "shift": None if compared is None else GenerationShift(reference=compared),
            "refit": False,
            "model": "model-0002",
            **changes,
        }
    )
