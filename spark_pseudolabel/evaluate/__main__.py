"""The command line of ``scripts/evaluate``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from spark_pseudolabel.core.adjustment import Method
from spark_pseudolabel.evaluate.accuracy import GROUPS, measure
from spark_pseudolabel.evaluate.asked import ask_task
from spark_pseudolabel.evaluate.audits import audit_large, audit_rounds, audit_task
from spark_pseudolabel.evaluate.certificates import certify_task
from spark_pseudolabel.evaluate.data import BUILT_IN, DataSet, load
from spark_pseudolabel.evaluate.guarded import runs_of, student_of, teacher_of
from spark_pseudolabel.evaluate.learners import ESTIMATORS, LEARNERS, estimator_of, learner_of
from spark_pseudolabel.evaluate.measured import (
    Alarms,
    Asking,
    Audited,
    CalibrationErrors,
    Certificates,
    Gates,
    Guarded,
    MeasuredRun,
    NumberErrors,
    NumberPromises,
    Priors,
    Promises,
    RuleLabels,
    Scores,
    Students,
)
from spark_pseudolabel.evaluate.number_data import NUMBERS, load_numbers
from spark_pseudolabel.evaluate.number_task import (
    ANCHORS,
    NUMBER_LEARNERS,
    NumberDraw,
    draw_numbers,
)
from spark_pseudolabel.evaluate.numbers import errors_of, promises_of
from spark_pseudolabel.evaluate.promises import promise_task
from spark_pseudolabel.evaluate.quick import as_numbers
from spark_pseudolabel.evaluate.reliable import prior_of, reliability_of
from spark_pseudolabel.evaluate.rules import measure as measure_rules
from spark_pseudolabel.evaluate.rules import without_labels
from spark_pseudolabel.evaluate.shift import alarm, gate
from spark_pseudolabel.evaluate.tables import TABLES
from spark_pseudolabel.evaluate.task import SHIFTS, Task, draw, with_copies, without_groups

_SOME = 100
"""Rows that are drawn and lose their labels, where there are to be none."""
CELLS = {
    "accuracy": ["overlap:100", "imbalance:100", "noise:500", "clean:80", "breast_cancer:60"],
    "certificate": ["imbalance:500:lr", "overlap:500:lr", "clean:500:et"],
    "promise": [
        "coins:300:memory",
        "overlap:500:quick",
        "imbalance:500:quick",
        "clean:1000:quick",
        "mixed:600:quick",
    ],
    "guard": ["noise:100:lr", "noise:100:et", "imbalance:100:lr", "overlap:100:et"],
    "drawn": ["imbalance:500", "overlap:300", "noise:200"],
    "shift": ["overlap:100", "noise:500"],
    "student": ["overlap:500:tree", "noise:300:lr"],
    "reliability": ["overlap:500:tree", "noise:300:knn"],
    "prior": ["imbalance:500/class:tree", "imbalance:500/class:lr"],
    "rules": ["sms:0:svc", "adult:0:lr"],
    "audit": ["rounds", "labels:0", "labels:1", "labels:2", "imbalance:100/class:lr"],
    "asking": ["imbalance:500:lr", "rare:300:lr"],
    "numbers": ["friedman:100", "heteroscedastic:500", "diabetes:100"],
    "number_promises": ["friedman:300", "heteroscedastic:300", "diabetes:200"],
    "number_confidences": ["heteroscedastic:300"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a markdown table, write the single runs as JSON."""
    options = _parser().parse_args(arguments)
    measured: list[MeasuredRun] = []
    for run in _stored(options) if options.read else _runs(options):
        measured.append(run)
        if options.json:
            runs = [run.model_dump(mode="json", by_alias=True) for run in measured]
            document = {"what": options.what, "command": _command(options), "runs": runs}
            options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(TABLES[options.what](measured) + "\n")


def _stored(options: argparse.Namespace) -> Iterator[MeasuredRun]:
    kind, _ = _KINDS[options.what]
    for file in options.read:
        for run in json.loads(file.read_text(encoding="utf-8"))["runs"]:
            yield kind.model_validate(run)


def _runs(options: argparse.Namespace) -> Iterator[MeasuredRun]:
    for cell in options.cells or CELLS[options.what]:
        if options.what == "audit" and (simulated := _simulated(cell)) is not None:
            for seed in range(options.first, options.first + options.seeds):
                yield simulated(seed).of(cell, seed)
            continue
        name, labels, *model = cell.split(":")
        if options.what in _OF_NUMBERS:
            yield from _number_runs(options, cell, name, int(labels), model)
            continue
        changes = [_VARIANTS[word] for word in model if word in _VARIANTS]
        data = load(name, options.data)
        if "quick" in model:
            data = as_numbers(data)
        for seed in range(options.first, options.first + options.seeds):
            sys.stderr.write(f"{cell} {seed}\n")
            task = _draw(options, data, labels, seed)
            for change in changes:
                task = change(task)
            models = [word for word in model if word not in _VARIANTS]
            _, measure_one = _KINDS[options.what]
            yield measure_one(options, task, *models).of(cell, seed)


def _number_runs(
    options: argparse.Namespace, cell: str, name: str, labels: int, models: Sequence[str]
) -> Iterator[MeasuredRun]:
    data = load_numbers(name, options.data)
    for seed in range(options.first, options.first + options.seeds):
        sys.stderr.write(f"{cell} {seed}\n")
        drawn = draw_numbers(data, labels, seed, n_pool=options.pool, n_test=options.test)
        _, measure_one = _KINDS[options.what]
        yield measure_one(drawn, *models).of(cell, seed)


def _draw(options: argparse.Namespace, data: DataSet, labels: str, seed: int) -> Task:
    """Draw ``LABELS`` (0: none), ``LABELS/class``, ``LABELS@POOL`` or ``LABELS/class@POOL``."""
    given, _, pool = labels.partition("@")
    n, _, kind = given.partition("/")
    n_pool = int(pool) if pool else options.pool
    per_class = kind == "class"
    task = draw(
        data, int(n) or _SOME, seed, per_class=per_class, n_pool=n_pool, n_test=options.test
    )
    return task if int(n) else without_labels(task)


_VARIANTS: dict[str, Callable[[Task], Task]] = {
    "copies10": partial(with_copies, share=0.1),
    "copies30": partial(with_copies, share=0.3),
    "twice": partial(with_copies, share=1.0),
    "nokey": without_groups,
}


def _accuracy(options: argparse.Namespace, task: Task) -> Scores:
    return measure(task, options.methods)


def _certificate(options: argparse.Namespace, task: Task, model: str = "lr") -> Certificates:
    learner = learner_of(model, task)
    first = float("nan") if options.prior == "true" else options.prior and float(options.prior)
    return certify_task(
        learner.teacher,
        task,
        options.calibration,
        first,
        gated=not options.no_gate,
        seen=learner.task,
    )


def _promise(options: argparse.Namespace, task: Task, model: str = "quick") -> Promises:
    learner = learner_of(model, task)
    return promise_task(learner.teacher, task, learner.task)


def _guard(options: argparse.Namespace, task: Task, model: str = "lr") -> Guarded:
    return runs_of(estimator_of(model, task), task)


def _student(
    options: argparse.Namespace, task: Task, model: str = "lr", student: str | None = None
) -> Students:
    teacher = teacher_of(estimator_of(model, task), task)
    return Students(student=student_of(estimator_of(student or model, task), teacher, task))


def _reliability(options: argparse.Namespace, task: Task, model: str = "lr") -> CalibrationErrors:
    learner = learner_of(model, task)
    return reliability_of(learner.teacher, learner.task)


def _prior(options: argparse.Namespace, task: Task, model: str = "lr") -> Priors:
    return prior_of(estimator_of(model, task), task)


def _rules(options: argparse.Namespace, task: Task, model: str = "lr") -> RuleLabels:
    return measure_rules(task, estimator_of(model, task), known_prior=options.prior == "true")


def _drawn(options: argparse.Namespace, task: Task) -> Alarms:
    per_class = len(task.labeled.codes) // len(task.data.classes)
    as_many = draw(
        task.data,
        per_class,
        task.seed,
        per_class=True,
        n_pool=options.pool,
        n_test=options.test,
    )
    return Alarms(random=alarm(task), per_class=alarm(as_many))


def _shift(options: argparse.Namespace, task: Task) -> Gates:
    masked, moved = (gate(SHIFTS[name](task)) for name in ("masked", "moved"))
    return Gates(none=gate(task), masked=masked, moved=moved)


def _audit(options: argparse.Namespace, task: Task, model: str = "lr") -> Audited:
    learner = learner_of(model, task)
    return audit_task(learner.teacher, learner.task)


def _simulated(cell: str) -> Callable[[int], Audited] | None:
    """Return audits of generated labels: of fifty rounds, or of so many per cent wrong ones."""
    name, _, percent = cell.partition(":")
    if name == "rounds":
        return audit_rounds
    return partial(audit_large, float(percent)) if name == "labels" else None


def _asking(options: argparse.Namespace, task: Task, model: str = "lr") -> Asking:
    learner = learner_of(model, task)
    return ask_task(learner.teacher, learner.task)


def _number_confidences(draw: NumberDraw, learner: str = "few") -> NumberPromises:
    return promises_of(draw, learner, others=True)


_OF_NUMBERS = {"numbers", "number_promises", "number_confidences"}
"""What is measured of labels that are numbers."""

_KINDS: dict[str, tuple[type[MeasuredRun], Callable[..., MeasuredRun]]] = {
    "accuracy": (Scores, _accuracy),
    "certificate": (Certificates, _certificate),
    "promise": (Promises, _promise),
    "guard": (Guarded, _guard),
    "drawn": (Alarms, _drawn),
    "shift": (Gates, _shift),
    "student": (Students, _student),
    "reliability": (CalibrationErrors, _reliability),
    "prior": (Priors, _prior),
    "rules": (RuleLabels, _rules),
    "audit": (Audited, _audit),
    "asking": (Asking, _asking),
    "numbers": (NumberErrors, errors_of),
    "number_promises": (NumberPromises, promises_of),
    "number_confidences": (NumberPromises, _number_confidences),
}
"""What a run of each kind says, and what makes it."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/evaluate",
        description="Measure methods on rows whose labels are known, in memory.",
        epilog=f"Cells are SET:LABELS, or SET:LABELS/class for so many of each class, and with "
        f"@POOL behind the labels a pool of that size; where one model is measured "
        f"SET:LABELS:MODEL with {list(ESTIMATORS)}, certificates and reliability with any of "
        f"{list(LEARNERS)}; for students that are another model than their "
        f"teacher SET:LABELS:TEACHER:STUDENT; any of them with :VARIANT behind it, of "
        f"{list(_VARIANTS)}: labeled rows that are copies, sessions without their key. The model "
        f"memory, for certificates of coins and coin_sessions, reads its scores from the rows; "
        f"quick, for promises, is fitted in less than a millisecond. "
        f"Of audit besides: rounds, fifty of one run, and labels:P, of which P per cent are wrong. "
        f"Sets that need no files: {list(BUILT_IN)}; of numbers: {list(NUMBERS)}, with a model of "
        f"{[*NUMBER_LEARNERS, ANCHORS]} behind the labels.",
    )
    parser.add_argument("what", choices=list(_KINDS))
    parser.add_argument("cells", nargs="*", help="default: a few on sets that need no files")
    parser.add_argument("--data", type=Path, help="folder with the original files of other sets")
    parser.add_argument("--seeds", type=int, default=3, help="draws per cell")
    parser.add_argument(
        "--methods", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="of accuracy"
    )
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    parser.add_argument("--pool", type=int, default=4000, help="pool rows at most")
    parser.add_argument("--test", type=int, default=4000, help="test rows at most")
    parser.add_argument(
        "--calibration", choices=get_args(Method), help="of what is certified; default: none"
    )
    parser.add_argument(
        "--no-gate",
        action="store_true",
        help="certify also where labeled rows do not stand for the pool",
    )
    parser.add_argument(
        "--prior",
        help="of what is certified, or of rules: true, or (not of rules) a share of the first "
        "class; default: none",
    )
    parser.add_argument(
        "--read", nargs="+", type=Path, help="files of runs to print instead of measuring"
    )
    parser.add_argument("--json", type=Path, help="file for the single runs")
    return parser


def _command(options: argparse.Namespace) -> str:
    cells = " ".join(options.cells or CELLS[options.what])
    given = {name: getattr(options, name) for name in ("first", "seeds", "pool", "test")}
    given |= {"calibration": options.calibration} if options.calibration else {}
    flag = " --no-gate" if options.no_gate else ""
    given |= {"prior": options.prior} if options.prior else {}
    flags = " ".join(f"--{name} {value}" for name, value in given.items())
    return f"scripts/evaluate {options.what} {cells} {flags}{flag}"


if __name__ == "__main__":
    main()
