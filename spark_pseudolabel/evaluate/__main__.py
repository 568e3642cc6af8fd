"""The command line of ``scripts/evaluate``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from spark_pseudolabel.core.adjustment import Method
from spark_pseudolabel.core.certify import Promise
from spark_pseudolabel.core.learner import registered_learner
from spark_pseudolabel.evaluate.accuracy import measure
from spark_pseudolabel.evaluate.certificates import certify_task
from spark_pseudolabel.evaluate.data import BUILT_IN, DataSet, load
from spark_pseudolabel.evaluate.shift import alarm, gate
from spark_pseudolabel.evaluate.tables import TABLES
from spark_pseudolabel.evaluate.task import SHIFTS, Task, draw

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "lr": ("LogisticRegression", {"max_iter": 1000}),
    "et": ("ExtraTreesClassifier", {"n_estimators": 50}),
}
PROMISES = {"all": Promise(), "class": Promise(per="class")}
CELLS = {
    "accuracy": ["overlap:100", "imbalance:100", "noise:500", "clean:80", "breast_cancer:60"],
    "certificate": ["imbalance:500:lr", "overlap:500:lr", "clean:500:et"],
    "drawn": ["imbalance:500", "overlap:300", "noise:200"],
    "shift": ["overlap:100", "noise:500"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a markdown table, write the single runs as JSON."""
    options = _parser().parse_args(arguments)
    measured = list(_runs(options))
    document = {"what": options.what, "command": _command(options), "runs": measured}
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(TABLES[options.what](measured) + "\n")


def _runs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for cell in options.cells or CELLS[options.what]:
        name, n, *model = cell.split(":")
        data = load(name, options.data)
        for seed in range(options.seeds):
            sys.stderr.write(f"{cell} {seed + 1}/{options.seeds}\n")
            kept = {"cell": cell, "seed": seed}
            yield kept | _RUNS[options.what](options, data, int(n), seed, *model)


def _accuracy(options: argparse.Namespace, data: DataSet, n: int, seed: int) -> dict[str, Any]:
    return measure(_draw(options, data, n, seed, per_class=options.per_class))


def _certificate(
    options: argparse.Namespace, data: DataSet, n: int, seed: int, model: str = "lr"
) -> dict[str, Any]:
    learner = registered_learner(*MODELS[model], data.features, seed)
    task = _draw(options, data, n, seed, per_class=options.per_class)
    return certify_task(learner, task, PROMISES, options.calibration)


def _drawn(options: argparse.Namespace, data: DataSet, n: int, seed: int) -> dict[str, Any]:
    per_class = n // len(data.classes)
    return {
        "random": alarm(_draw(options, data, n, seed, per_class=False)),
        "per_class": alarm(_draw(options, data, per_class, seed, per_class=True)),
    }


def _shift(options: argparse.Namespace, data: DataSet, n: int, seed: int) -> dict[str, Any]:
    task = _draw(options, data, n, seed, per_class=False)
    return {"none": gate(task)} | {name: gate(change(task)) for name, change in SHIFTS.items()}


_RUNS: dict[str, Callable[..., dict[str, Any]]] = {
    "accuracy": _accuracy,
    "certificate": _certificate,
    "drawn": _drawn,
    "shift": _shift,
}


def _draw(
    options: argparse.Namespace, data: DataSet, n: int, seed: int, *, per_class: bool
) -> Task:
    return draw(data, n, seed, per_class=per_class, n_pool=options.pool, n_test=options.test)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/evaluate",
        description="Measure methods on rows whose labels are known, in memory.",
        epilog=f"Cells are SET:LABELS, for certificates SET:LABELS:MODEL with {list(MODELS)}. "
        f"Sets that need no files: {list(BUILT_IN)}.",
    )
    parser.add_argument("what", choices=list(_RUNS))
    parser.add_argument("cells", nargs="*", help="default: a few on sets that need no files")
    parser.add_argument("--data", type=Path, help="folder with the original files of other sets")
    parser.add_argument("--seeds", type=int, default=3, help="draws per cell")
    parser.add_argument("--pool", type=int, default=4000, help="pool rows at most")
    parser.add_argument("--test", type=int, default=4000, help="test rows at most")
    parser.add_argument("--per-class", action="store_true", help="LABELS are of each class")
    parser.add_argument(
        "--calibration", choices=get_args(Method), help="of what is certified; default: none"
    )
    parser.add_argument("--json", type=Path, help="file for the single runs")
    return parser


def _command(options: argparse.Namespace) -> str:
    cells = " ".join(options.cells or CELLS[options.what])
    flags = f"--seeds {options.seeds} --pool {options.pool} --test {options.test}"
    per_class = " --per-class" if options.per_class else ""
    calibration = f" --calibration {options.calibration}" if options.calibration else ""
    return f"scripts/evaluate {options.what} {cells} {flags}{per_class}{calibration}"


if __name__ == "__main__":
    main()
