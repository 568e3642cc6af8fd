"""The report of a run, put together from its manifests."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from spark_pseudolabel.config import public
from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.label_errors import duplicates, given_labels
from spark_pseudolabel.job.outcome import Measured, class_shares, outcome_warnings
from spark_pseudolabel.job.shift import predicted_prior, shift_action
from spark_pseudolabel.job.warn import trust_warnings
from spark_pseudolabel.report.document import SCHEMA_VERSION, Report, document, label_key
from spark_pseudolabel.spark.direct.pool import DirectPool
from spark_pseudolabel.spark.evaluation import HeldOutRows, labels_against_truth
from spark_pseudolabel.store.layout import REPORT_HTML, REPORT_JSON, model_name
from spark_pseudolabel.store.manifest import ModelManifest, RoundManifest
from spark_pseudolabel.version import VERSION

HISTOGRAM_BINS = 100
LIBRARIES = ("pyspark", "pyarrow", "pandas", "numpy", "scikit-learn", "skops")


def make_report(run: Run, end: Finish, elapsed_s: float) -> dict[str, Any]:
    """Return the document of ``report.json``; scores the test table if there is one."""
    models = run.store.models
    seed, final = (_model(run, models[number], end) for number in (0, end.best_round))
    certificate, shares = _certificate(run), class_shares(run, end)
    measured = Measured(final, certificate, shares)
    report = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.store.run_id,
        "termination_condition": end.reason,
        "n_iter": end.n_iter,
        "best_round": end.best_round,
        "classes": list(run.inputs.classes),
        "rounds": [_round(run, manifest, end) for manifest in run.store.rounds],
        "seed": seed,
        "final": final,
        "rows": _rows(run, end),
        "prior": _prior(run),
        "certificate": certificate,
        "shift": _shift(run),
        "given_labels": given_labels(run),
        "duplicates": duplicates(run),
        "class_shares": shares,
        "warnings": _warnings(run, end, measured),
        "paths": _paths(run.config.output.path),
        "config": public(run.config),
        "environment": _environment(run),
        "elapsed_s": round(elapsed_s, 3),
    }
    return document(Report, report)


def _prior(run: Run) -> dict[str, Any] | None:
    if run.prior is None:
        return None
    return {"shares": _by_class(run, list(run.prior.prior)), "source": run.prior.source}


def _certificate(run: Run) -> dict[str, Any] | None:
    """Return the certificate with labels in place of their indices."""
    found = run.store.rounds[-1].certificate if run.store.rounds else None
    if found is None:
        return None
    claims = [_claim(run, claim) for claim in found["claims"]]
    by_class = [
        result | {"class": run.inputs.classes[result["class"]]}
        for result in found.get("by_class", [])
    ]
    return {**found, "claims": claims, "by_class": by_class}


def _shift(run: Run) -> dict[str, Any] | None:
    """Return what was measured before anything was scored, and what the first scores add."""
    found = run.store.models[0].training.get("shift")
    if found is None:
        return None
    return {**found, "action": shift_action(run), "prior_shift": predicted_prior(run)}


def _claim(run: Run, claim: Mapping[str, Any]) -> dict[str, Any]:
    labels = [run.inputs.classes[code] for code in claim["codes"]]
    return {"labels": labels, **{key: value for key, value in claim.items() if key != "codes"}}


def _round(run: Run, manifest: RoundManifest, end: Finish) -> dict[str, Any]:
    following = run.store.models[manifest.number]
    decided_by = run.store.models[manifest.number - 1]
    counts = manifest.counts
    cuts = manifest.plan["cuts"]
    return {
        "round": manifest.number,
        "model": model_name(manifest.number),
        **{key: counts[key] for key in ("candidates", "accepted", "rejected", "invalid")},
        "withheld": counts.get("withheld", 0),
        "trained_on": following.training["rows_pseudo"],
        "accepted_by_class": _by_class(run, counts["accepted_by_code"]),
        "flips": counts["flips"],
        "threshold_by_class": _by_class(run, [cut and cut["confidence"] for cut in cuts]),
        "used": manifest.number <= end.best_round,
        "validation": following.validation,
        "seconds": {**decided_by.seconds, **manifest.seconds},
        "histogram": {
            "bins": HISTOGRAM_BINS,
            "counts": _by_class(
                run, Counts.from_dict(manifest.histogram).coarse(HISTOGRAM_BINS).tolist()
            ),
        },
        "reliability": decided_by.reliability,
    }


def _by_class(run: Run, values: list[Any]) -> dict[str, Any]:
    keys = [label_key(label) for label in run.inputs.classes]
    return dict(zip(keys, values, strict=True))


def _model(run: Run, manifest: ModelManifest, end: Finish) -> dict[str, Any]:
    return {
        "model": model_name(manifest.number),
        "validation": manifest.validation,
        "chosen_from": _chosen_from(run, end) if manifest.number == end.best_round + 1 else 1,
        "oof": manifest.oof,
        "test": _test(run, manifest.number, end),
        "adjustment": manifest.adjustment,
    }


def _chosen_from(run: Run, end: Finish) -> int:
    """Count the models that the final one was the best of, on the rows that measure it."""
    n_models = len(run.store.models)
    measured = run.inputs.validation.num_rows > 0 or run.config.cross_fitted
    chosen = end.reason in ("validation_drop", "oof_drop") or run.limits.keep_best
    student = run.config.one_round and run.config.student is not None
    return n_models if measured and (chosen or student) else 1


def _test(run: Run, number: int, end: Finish) -> dict[str, Any] | None:
    if run.inputs.test is None:
        return None
    scorer = run.scorer(number, probabilities=True)
    metrics = run.inputs.test.evaluate(scorer, run.inputs.classes)
    is_final = number == end.best_round + 1
    return {**metrics.to_dict(), "labels": _label_check(run, end) if is_final else None}


def _label_check(run: Run, end: Finish) -> dict[str, Any] | None:
    if run.config.id is None or run.inputs.test is None:
        return None
    found = _against_truth(run, run.published_rounds(end.best_round), run.inputs.test)
    if not found["n"]:
        return None
    return {**found, "precision": found["correct"] / found["n"]}


def _against_truth(run: Run, rounds: Sequence[RoundManifest], test: HeldOutRows) -> dict[str, int]:
    truth = test.truth(run.inputs.classes)
    if truth is not None and isinstance(run.pool, DirectPool):
        return run.pool.check(rounds, truth)
    return labels_against_truth(
        run.stored.accepted(rounds), test, run.inputs.keys, run.inputs.classes
    )


def _rows(run: Run, end: Finish) -> dict[str, int]:
    used = run.published_rounds(end.best_round)
    accepted = sum(manifest.counts["accepted"] for manifest in used)
    invalid = sum(manifest.counts["invalid"] for manifest in used)
    return {
        "labeled": run.inputs.labeled.num_rows,
        "validation": run.inputs.validation.num_rows,
        "pool": run.inputs.pool_rows,
        "accepted": accepted,
        "rejected": run.inputs.pool_rows - accepted - invalid,
        "invalid": invalid,
        # What was withheld once is a candidate again, and withheld again.
        "withheld": used[-1].counts.get("withheld", 0) if used else 0,
    }


def _warnings(run: Run, end: Finish, measured: Measured) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [note.to_dict() for note in run.inputs.notes]
    if end.reason == "validation_drop":
        found.append(
            {
                "code": "validation_drop",
                "message": f"Round {end.n_iter} made the model worse on the validation rows, "
                f"beyond noise. Rounds after {end.best_round} are not used; the final model is "
                f"{model_name(end.best_round + 1)}. It was chosen by these rows, so that its "
                "figures on them flatter it.",
            }
        )
    found += trust_warnings(run, end, measured.certificate)
    rows = _rows(run, end)
    if rows["invalid"]:
        found.append(
            {
                "code": "invalid_rows",
                "message": f"{rows['invalid']:,} rows could not be scored. They and the reasons "
                "are in invalid/.",
            }
        )
    k = getattr(run.config.selection, "k", None)
    if run.like_sklearn and k is not None and k > run.inputs.pool_rows > 0:
        found.append(
            {
                "code": "k_best_too_large",
                "message": f"selection.k is {k}, larger than the pool of "
                f"{run.inputs.pool_rows} rows: all rows are labeled in round 1.",
            }
        )
    found += _silent_classes(run, end, rows["accepted"])
    return found + outcome_warnings(measured)


def _silent_classes(run: Run, end: Finish, accepted: int) -> list[dict[str, Any]]:
    if not accepted:
        return []
    totals = [
        sum(column)
        for column in zip(
            *(m.counts["accepted_by_code"] for m in run.published_rounds(end.best_round)),
            strict=True,
        )
    ]
    silent = [label for label, n in zip(run.inputs.classes, totals, strict=True) if n == 0]
    if not silent:
        return []
    return [
        {
            "code": "class_without_labels",
            "message": f"No row got the label {' or '.join(map(repr, silent))}: the pool has none, "
            "or the model is not sure enough of any for this rule. `Where is the threshold?` in "
            "report.html shows how sure it is; more labeled rows of the class make it surer.",
            "classes": silent,
        }
    ]


def _paths(out: str) -> dict[str, str]:
    names: Mapping[str, str] = {
        "labels": "labels",
        "undecided": "undecided",
        "training": "training",
        "invalid": "invalid",
        "suspects": "suspects",
        "model": "model/model.skops",
        "report_html": REPORT_HTML,
        "report_json": REPORT_JSON,
    }
    return {key: f"{out.rstrip('/')}/{name}" for key, name in names.items()}


def _environment(run: Run) -> dict[str, Any]:
    return {
        "spark_pseudolabel": VERSION,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "spark_master": run.spark.sparkContext.master,
        "spark_app_id": run.spark.sparkContext.applicationId,
    }
