"""The report of a run, put together from its manifests."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from spark_pseudolabel.core.counts import Counts
from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.report.document import SCHEMA_VERSION, Report, document, label_key
from spark_pseudolabel.spark.evaluation import evaluate, labels_against_truth
from spark_pseudolabel.spark.inputs import TRUE_LABEL
from spark_pseudolabel.spark.scoring import broadcast
from spark_pseudolabel.store.layout import REPORT_HTML, REPORT_JSON, model_name
from spark_pseudolabel.version import VERSION

if TYPE_CHECKING:
    from spark_pseudolabel.steps import Steps
    from spark_pseudolabel.store.manifest import ModelManifest, RoundManifest

HISTOGRAM_BINS = 100
LIBRARIES = ("pyspark", "pyarrow", "pandas", "numpy", "scikit-learn", "skops")


def make_report(steps: Steps, end: Finish, elapsed_s: float) -> dict[str, Any]:
    """Return the document of ``report.json``; scores the test table if there is one."""
    models = steps.store.models
    report = {
        "schema_version": SCHEMA_VERSION,
        "run_id": steps.store.run_id,
        "termination_condition": end.reason,
        "n_iter": end.n_iter,
        "best_round": end.best_round,
        "classes": list(steps.inputs.classes),
        "rounds": [_round(steps, manifest, end) for manifest in steps.store.rounds],
        "seed": _model(steps, models[0], end),
        "final": _model(steps, models[end.best_round], end),
        "rows": _rows(steps, end),
        "certificate": None,
        "warnings": _warnings(steps, end),
        "paths": _paths(steps.config.output.path),
        "config": steps.config.model_dump(mode="json", by_alias=True, exclude={"spark"}),
        "environment": _environment(steps),
        "elapsed_s": round(elapsed_s, 3),
    }
    return document(Report, report)


def _round(steps: Steps, manifest: RoundManifest, end: Finish) -> dict[str, Any]:
    following = steps.store.models[manifest.number]
    decided_by = steps.store.models[manifest.number - 1]
    counts = manifest.counts
    cuts = manifest.plan["cuts"]
    return {
        "round": manifest.number,
        "model": model_name(manifest.number),
        **{key: counts[key] for key in ("candidates", "accepted", "rejected", "invalid")},
        "trained_on": following.training["rows_pseudo"],
        "accepted_by_class": _by_class(steps, counts["accepted_by_code"]),
        "threshold_by_class": _by_class(steps, [cut and cut["confidence"] for cut in cuts]),
        "used": manifest.number <= end.best_round,
        "validation": following.validation,
        "seconds": {
            "fit": decided_by.seconds["fit"],
            "commit": 0.0,
            **manifest.seconds,
        },
        "histogram": {
            "bins": HISTOGRAM_BINS,
            "counts": _by_class(
                steps, Counts.from_dict(manifest.histogram).coarse(HISTOGRAM_BINS).tolist()
            ),
        },
    }


def _by_class(steps: Steps, values: list[Any]) -> dict[str, Any]:
    keys = [label_key(label) for label in steps.inputs.classes]
    return dict(zip(keys, values, strict=True))


def _model(steps: Steps, manifest: ModelManifest, end: Finish) -> dict[str, Any]:
    return {
        "model": model_name(manifest.number),
        "validation": manifest.validation,
        "oof": None,
        "test": _test(steps, manifest.number, end),
    }


def _test(steps: Steps, number: int, end: Finish) -> dict[str, Any] | None:
    if steps.inputs.test is None:
        return None
    scorer = steps.scorer(number, (TRUE_LABEL,), probabilities=True)
    with broadcast(steps.spark.sparkContext, scorer) as shared:
        metrics = evaluate(steps.inputs.test, shared, steps.inputs.classes)
    is_final = number == end.best_round + 1
    return {**metrics.to_dict(), "labels": _label_check(steps, end) if is_final else None}


def _label_check(steps: Steps, end: Finish) -> dict[str, Any] | None:
    from spark_pseudolabel.results import used_rounds

    if steps.config.id is None or steps.inputs.test is None:
        return None
    accepted = steps.accepted(used_rounds(steps, end))
    found = labels_against_truth(
        accepted, steps.inputs.test, steps.inputs.keys, steps.inputs.classes
    )
    if not found["n"]:
        return None
    return {**found, "precision": found["correct"] / found["n"]}


def _rows(steps: Steps, end: Finish) -> dict[str, int]:
    from spark_pseudolabel.results import used_rounds

    used = used_rounds(steps, end)
    accepted = sum(manifest.counts["accepted"] for manifest in used)
    invalid = sum(manifest.counts["invalid"] for manifest in used)
    return {
        "labeled": steps.inputs.labeled.num_rows,
        "validation": steps.inputs.validation.num_rows,
        "pool": steps.inputs.pool_rows,
        "accepted": accepted,
        "rejected": steps.inputs.pool_rows - accepted - invalid,
        "invalid": invalid,
    }


def _warnings(steps: Steps, end: Finish) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if end.reason == "validation_drop":
        found.append(
            {
                "code": "validation_drop",
                "message": f"Round {end.n_iter} made the model worse on the validation rows, "
                f"beyond noise. Rounds after {end.best_round} are not used; the final model is "
                f"{model_name(end.best_round + 1)}.",
            }
        )
    rows = _rows(steps, end)
    if rows["invalid"]:
        found.append(
            {
                "code": "invalid_rows",
                "message": f"{rows['invalid']:,} rows could not be scored. They and the reasons "
                "are in invalid/.",
            }
        )
    k = getattr(steps.config.selection, "k", None)
    if steps.like_sklearn and k is not None and k > steps.inputs.pool_rows > 0:
        found.append(
            {
                "code": "k_best_too_large",
                "message": f"selection.k is {k}, larger than the pool of "
                f"{steps.inputs.pool_rows} rows: all rows are labeled in round 1.",
            }
        )
    found += _silent_classes(steps, end, rows["accepted"])
    return found


def _silent_classes(steps: Steps, end: Finish, accepted: int) -> list[dict[str, Any]]:
    from spark_pseudolabel.results import used_rounds

    if not accepted:
        return []
    totals = [
        sum(column)
        for column in zip(
            *(m.counts["accepted_by_code"] for m in used_rounds(steps, end)), strict=True
        )
    ]
    silent = [label for label, n in zip(steps.inputs.classes, totals, strict=True) if n == 0]
    if not silent:
        return []
    return [
        {
            "code": "class_without_labels",
            "message": f"No row was labeled {silent}: the pool has none, or the rule is too "
            "strict for what the model knows of them. Look at the confidence histogram.",
            "classes": silent,
        }
    ]


def _paths(out: str) -> dict[str, str]:
    names: Mapping[str, str] = {
        "labels": "labels",
        "training": "training",
        "invalid": "invalid",
        "model": "model/model.skops",
        "report_html": REPORT_HTML,
        "report_json": REPORT_JSON,
    }
    return {key: f"{out.rstrip('/')}/{name}" for key, name in names.items()}


def _environment(steps: Steps) -> dict[str, Any]:
    return {
        "spark_pseudolabel": VERSION,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "spark_master": steps.spark.sparkContext.master,
        "spark_app_id": steps.spark.sparkContext.applicationId,
    }
