"""Runs summed up as markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from spark_pseudolabel.evaluate.guarded import GUARDS, Guard
from spark_pseudolabel.evaluate.measured import (
    Alarms,
    Asking,
    Audited,
    CalibrationErrors,
    Certificates,
    Gates,
    Guarded,
    MeasuredRun,
    NumberConfidence,
    NumberErrors,
    NumberPromises,
    Priors,
    Promises,
    Realized,
    RuleLabels,
    Scores,
    Students,
)
from spark_pseudolabel.evaluate.methods import STUDENTS
from spark_pseudolabel.evaluate.reliable import METHODS

AnyRun = TypeVar("AnyRun", bound=MeasuredRun)

# Each method against what it has to beat: points of accuracy on the same rows.
PAIRS = (
    ("committee", "cv_pick"),
    ("equal", "cv_pick"),
    ("auto", "cv_pick"),
    ("auto", "equal"),
    ("auto", "sklearn_0.75"),
    ("auto", "sklearn_0.9"),
    ("auto", "tri_training"),
    ("sklearn_0.75", "cv_pick"),
    ("sklearn_0.9", "cv_pick"),
    ("one_shot", "cv_pick"),
    ("agreement", "committee"),
    ("tri_training", "committee"),
    *((taught, alone) for taught in ("tri trees", "co trees") for alone in ("trees", "auto")),
    ("auto + anchors", "auto"),
    ("auto + anchors always", "auto"),
    ("correct and smooth", "auto"),
    *((f"student {name}", name) for name in STUDENTS),
    *((f"{kind} {name}", "auto") for kind in ("student", "guarded") for name in STUDENTS),
)
_HARM = -0.5


def accuracy(runs: Sequence[Scores]) -> str:
    """Return mean accuracies by cell, and below them each method against another."""
    methods = list(dict.fromkeys(m for run in runs for m in run.accuracy))
    cells = _by_cell(runs)
    means = [[cell, len(of), *(_accuracy(of, m) for m in methods)] for cell, of in cells.items()]
    pairs = [
        [f"{new} - {old}", *_lift(_by_cell(with_both), new, old)]
        for new, old in PAIRS
        if (with_both := [run for run in runs if {new, old} <= run.accuracy.keys()])
    ]
    heads = ["difference", "runs", "mean of cells", "standard error", "cells better / worse by 0.3"]
    tail = ["worst cell", "worst run", "runs below -0.5"]
    return _table(["cell", "runs", *methods], means) + "\n\n" + _table([*heads, *tail], pairs)


def _accuracy(runs: Sequence[Scores], method: str) -> str:
    known = [run.accuracy[method] for run in runs if method in run.accuracy]
    return f"{_mean(known):.1f}" if known else ""


def rules(runs: Sequence[RuleLabels]) -> str:
    """Return how right votes, label model and student are by cell, and rules' accuracies."""
    rows = [
        [
            cell,
            len(of),
            f"{_mean(run.coverage for run in of):.0%}",
            "/".join(sorted({run.method for run in of})),
            f"{_mean(run.majority for run in of):.2f}",
            f"{_mean(run.label_model for run in of):.2f}",
            f"{_mean(run.student for run in of):.2f}",
            *(f"{_mean(run.all_rows[i] for run in of):.2f}" for i in range(3)),
            _most(run.from_reference for run in of),
            _most(run.from_truth for run in of),
        ]
        for cell, of in _by_cell(runs).items()
    ]
    head = ["cell", "runs", "covered", "method", "majority vote", "label model", "student"]
    accuracies = ["accuracies from Dawid-Skene", "from the truth"]
    everywhere = [f"{name}, all rows" for name in head[-3:]]
    return _table([*head, *everywhere, *accuracies], rows)


def _most(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.3f}" if known else "-"


def certificate(runs: Sequence[Certificates]) -> str:
    """Return coverage and broken promises by cell, and how often labels were asked for in vain."""
    rows = [
        [
            cell,
            len(of),
            *_kept([run.all for run in of]),
            *_kept([run.class_ for run in of]),
            *_kept([run.fixed for run in of]),
            _in_vain(of),
            f"{_mean(run.pool.ece for run in of):.3f}",
        ]
        for cell, of in _by_cell(runs).items()
    ]
    columns = ("cov", "broken", "of those claimed")
    heads = [f"{kind}: {column}" for kind in ("all", "class", "> 0.9") for column in columns]
    return _table(["cell", "runs", *heads, "labels asked for in vain", "ECE on the pool"], rows)


def promise(runs: Sequence[Promises]) -> str:
    """Return how often band, ladder and a given promise are broken, and other ladders, by cell."""
    cells = _by_cell(runs)
    kept = [
        [
            cell,
            len(of),
            *(_share(getter(run) for run in of) for getter in _BROKEN.values()),
            *(_slack(of, i) for i in range(len(of[0].band.lower))),
        ]
        for cell, of in cells.items()
    ]
    heads = [f"{name} broken" for name in _BROKEN]
    slack = [f"bound at {share:.0%} (true)" for share in (0.2, 0.5, 1.0)]
    names = ["band", *runs[0].others]
    steps = [
        [
            cell,
            *(
                _steps([run.best if name == "band" else run.others[name] for run in of])
                for name in names
            ),
            _steps([run.class_ for run in of]),
        ]
        for cell, of in cells.items()
    ]
    first = _table(["cell", "runs", *heads, *slack], kept)
    return first + "\n\n" + _table(["cell", *names, "band, of each class"], steps)


_BROKEN: dict[str, Callable[[Promises], bool]] = {
    "band": lambda run: run.band.broken,
    "best": lambda run: run.best.broken,
    "best of each class": lambda run: run.class_.broken,
    "given 0.95": lambda run: run.given_broken,
    "band or given": lambda run: run.both_broken,
}


def _share(flags: Iterable[bool]) -> str:
    known = list(flags)
    return f"{sum(known)} ({sum(known) / len(known):.1%})"


def _slack(runs: Sequence[Promises], i: int) -> str:
    lower, true = (_mean(getattr(run.band, name)[i] for run in runs) for name in ("lower", "true"))
    return f"{lower:.3f} ({true:.3f})"


def _steps(found: Sequence[Realized]) -> str:
    """Say how often each step is taken, and how much of the pool is published in the mean."""
    taken = Counter("none" if one.precision is None else f"{one.precision:g}" for one in found)
    shares = " ".join(f"{step}: {n / len(found):.0%}" for step, n in sorted(taken.items()))
    return f"{_mean(one.coverage for one in found):.3f} of the pool; {shares}"


def _in_vain(runs: Sequence[Certificates]) -> str:
    """Count refusals that ask for labels, of those where no cut of the pool is good enough."""
    hopeless = [run.all for run in runs if not run.all.reachable]
    refused = [realized for realized in hopeless if realized.precision is None]
    return f"{sum(realized.more_labels for realized in refused)} of {len(refused)}"


def drawn(runs: Sequence[Alarms]) -> str:
    """Return how often labels were taken for a class-balanced sample."""
    fired: dict[str, Callable[[Alarms], bool]] = {
        "random": lambda run: run.random.alarm,
        "per_class": lambda run: run.per_class.alarm,
    }
    return _alarms(runs, fired)


def shift(runs: Sequence[Gates]) -> str:
    """Return how often the gate fired, by what was done to the pool."""
    fired: dict[str, Callable[[Gates], bool]] = {
        "none": lambda run: run.none.shifted,
        "masked": lambda run: run.masked.shifted,
        "moved": lambda run: run.moved.shifted,
    }
    return _alarms(runs, fired)


def reliability(runs: Sequence[CalibrationErrors]) -> str:
    """Return the reported calibration error beside the published one, by calibration."""
    rows = [
        [
            cell,
            len(of),
            *(
                f"{_mean(errors):.3f}"
                for of_method in zip(*(run.each for run in of), strict=True)
                for errors in (
                    [error.reported for error in of_method],
                    [error.published for error in of_method],
                )
            ),
        ]
        for cell, of in _by_cell(runs).items()
    ]
    heads = [f"{method}: {kind}" for method in METHODS for kind in ("reported", "published")]
    return _table(["cell", "runs", *heads], rows)


def prior(runs: Sequence[Priors]) -> str:
    """Return estimated class shares beside the true ones, of the class that is rarest."""
    rows = []
    for cell, of in _by_cell(runs).items():
        rarest = int(np.argmin(of[0].true))
        true = np.array([run.true[rarest] for run in of])
        estimated = np.array([run.estimated[rarest] for run in of])
        error = np.abs(estimated - true).max()
        figures = (f"{value:.3f}" for value in (true.mean(), estimated.mean(), error))
        rows.append([cell, len(of), *figures])
    return _table(["cell", "runs", "true share", "estimated", "largest error"], rows)


def student(runs: Sequence[Students]) -> str:
    """Return how many students the guard lets through, and how many of them it should have."""
    used = GUARDS["student"]["surely better"]
    rows = []
    for cell, of in [*_by_cell(runs).items(), ("all", runs)]:
        pairs = [run.student for run in of]
        lifts = np.array([new.accuracy - teacher.accuracy for teacher, new in pairs])
        let = np.array([used(models, False) > 0 for models in pairs])
        mean = f"{lifts[let].mean():+.2f}" if let.any() else ""
        rows.append(
            [
                cell,
                len(of),
                f"{(lifts >= 0).sum()} of {len(of)}",
                f"{let.sum()} of {len(of)}",
                f"{(lifts[let] >= 0).sum()} of {let.sum()}",
                mean,
            ]
        )
    heads = ["cell", "runs", "students as accurate", "let through", "of these as accurate"]
    return _table([*heads, "their mean difference"], rows)


def guard(runs: Sequence[Guarded]) -> str:
    """Return what each guard makes of students and of rounds, by what was done to the pool."""
    heads = ["run", "pool", "guard", "runs", "new model used", "as accurate", "mean", "worst run"]
    rows = [
        [kind, pool, name, *_guarded(runs, kind, pool, rule)]
        for kind, rules in GUARDS.items()
        for pool in ("none", "masked", "moved")
        for name, rule in rules.items()
    ]
    return _table([*heads, "runs below -0.5"], rows)


def _guarded(runs: Sequence[Guarded], kind: str, pool: str, rule: Guard) -> list[str]:
    pools = [run.pools[pool] for run in runs]
    models = [run.student if kind == "student" else run.rounds for run in pools]
    ends = [rule(of, run.shifted) for of, run in zip(models, pools, strict=True)]
    lifts = np.array(
        [of[end].accuracy - of[0].accuracy for of, end in zip(models, ends, strict=True)]
    )
    used = np.array(ends) > 0
    return [
        str(len(lifts)),
        f"{100 * used.mean():.0f} %",
        f"{(lifts[used] >= 0).sum()} of {used.sum()}",
        f"{lifts.mean():+.2f}",
        f"{lifts.min():+.1f}",
        f"{100 * (lifts < _HARM).mean():.0f} %",
    ]


def audit(runs: Sequence[Audited]) -> str:
    """Return how often a bound failed, and how many answers settled 0.95."""
    rows = []
    for cell, of in _by_cell(runs).items():
        broken = sum(run.broken for run in of)
        answers = np.array([run.answers for run in of])
        settled = [sum(run.shown is way for run in of) for way in (True, False)]
        rows.append([cell, len(of), f"{broken}", f"{np.median(answers):.0f}", *settled])
    heads = ["cell", "runs", "with a bound that failed", "answers (median)"]
    return _table([*heads, "0.95 shown", "refuted"], rows)


def asking(runs: Sequence[Asking]) -> str:
    """Return what is certified by asking, by cell and budget."""
    rows = []
    for cell, of in _by_cell(runs).items():
        oracle = float(np.mean([run.oracle for run in of]))
        for budget in of[0].budgets:
            asked = [each for run in of for each in run.budgets[budget]]
            coverage = _mean(each.coverage for each in asked)
            broken = sum(each.broken for each in asked)
            rows.append(
                [
                    cell,
                    budget,
                    len(of),
                    f"{len(asked) - broken} of {len(asked)}",
                    f"{oracle:.2f}",
                    f"{coverage:.2f}",
                    f"{coverage / oracle:.2f}" if oracle else "",
                    sum(each.precision is None for each in asked),
                    f"{_mean(each.answers for each in asked):.0f}",
                    f"{_mean(each.sittings for each in asked):.1f}",
                ]
            )
    heads = ["cell", "budget", "draws", "promise kept", "best cut", "published", "of the best cut"]
    return _table([*heads, "nothing published", "answers", "exports"], rows)


_RATIOS = (
    ("auto", "cv_pick"),
    ("auto", "sklearn HGB"),
    ("auto", "sklearn ridge"),
    ("student Ridge", "Ridge"),
    ("student HistGradientBoostingRegressor", "HistGradientBoostingRegressor"),
    ("anchors", "auto"),
    ("anchors", "mean"),
)


def numbers(runs: Sequence[NumberErrors]) -> str:
    """Return test errors by cell as ratios, and below them what they come to over all cells."""
    cells = _by_cell(runs)
    ratios = {
        (new, old): {
            cell: float(np.mean([run.rmse[new] / run.rmse[old] for run in of]))
            for cell, of in cells.items()
        }
        for new, old in _RATIOS
    }
    names = [f"{new} / {old}" for new, old in _RATIOS]
    rows = [
        [cell, len(of), f"{_mean(run.rmse['auto'] for run in of):.4g}"]
        + [f"{of_cell[cell]:.3f}" for of_cell in ratios.values()]
        for cell, of in cells.items()
    ]
    every = [np.array(list(of_cell.values())) for of_cell in ratios.values()]
    geometric = [f"{np.exp(np.log(each).mean()):.3f}" for each in every]
    worst = [f"{each.max():.3f}" for each in every]
    rows += [["geometric mean", len(runs), "", *geometric], ["worst cell", "", "", *worst]]
    return _table(["cell", "runs", "RMSE of auto", *names], rows)


def number_promises(runs: Sequence[NumberPromises]) -> str:
    """Return what is certified, and how intervals hold, by cell and by confidence."""
    rows = []
    for cell, of in _by_cell(runs).items():
        for name in of[0].methods:
            each = [run.methods[name] for run in of]
            within = f"{_mean(run.within for run in of):.2f}"
            rows.append([cell, len(of), within, name, *_confidence(each)])
    heads = ["cell", "draws", "within", "confidence", "broken", "certified", "best cut", "Brier"]
    return _table([*heads, "ECE", "interval", "width / sd"], rows)


def _confidence(each: Sequence[NumberConfidence]) -> list[str]:
    broken = sum(one.certified.broken for one in each)
    means = [
        _mean(one.certified.coverage for one in each),
        _mean(one.best for one in each),
        _mean(one.brier for one in each),
        _mean(one.ece for one in each),
    ]
    figures = [f"{broken} of {len(each)}", *(f"{mean:.3f}" for mean in means)]
    if each[0].interval is None:
        return [*figures, "", ""]
    interval, width = _mean(one.interval for one in each), _mean(one.width for one in each)
    return [*figures, f"{interval:.3f}", f"{width:.2f}"]


TABLES: Mapping[str, Callable[[Sequence[Any]], str]] = {
    "accuracy": accuracy,
    "certificate": certificate,
    "promise": promise,
    "guard": guard,
    "drawn": drawn,
    "shift": shift,
    "student": student,
    "reliability": reliability,
    "prior": prior,
    "rules": rules,
    "audit": audit,
    "asking": asking,
    "numbers": numbers,
    "number_promises": number_promises,
    "number_confidences": number_promises,
}


def _by_cell(runs: Sequence[AnyRun]) -> dict[str, list[AnyRun]]:
    cells: dict[str, list[AnyRun]] = {}
    for run in runs:
        cells.setdefault(run.cell, []).append(run)
    return cells


def _lift(cells: Mapping[str, Sequence[Scores]], new: str, old: str) -> list[str]:
    runs = {
        cell: [run.accuracy[new] - run.accuracy[old] for run in of] for cell, of in cells.items()
    }
    means = np.array([np.mean(of) for of in runs.values()])
    single = np.concatenate([np.asarray(of) for of in runs.values()])
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else float("nan")
    return [
        str(len(single)),
        f"{means.mean():+.2f}",
        f"{error:.2f}",
        f"{(means > 0.3).sum()} / {(means < -0.3).sum()} of {len(means)}",
        f"{means.min():+.1f}",
        f"{single.min():+.1f}",
        f"{100 * (single < _HARM).mean():.0f} %",
    ]


def _kept(runs: Sequence[Realized]) -> tuple[str, str, str]:
    broken = sum(run.broken for run in runs)
    claimed = sum(run.precision is not None for run in runs)
    coverage = f"{_mean(run.coverage for run in runs):.2f}"
    return coverage, f"{broken} of {len(runs)}", f"{broken} of {claimed}"


def _alarms(runs: Sequence[AnyRun], fired: Mapping[str, Callable[[AnyRun], bool]]) -> str:
    rows = [
        [cell, *(f"{sum(map(has_fired, of))} of {len(of)}" for has_fired in fired.values())]
        for cell, of in _by_cell(runs).items()
    ]
    return _table(["cell", *fired], rows)


def _mean(values: Iterable[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
