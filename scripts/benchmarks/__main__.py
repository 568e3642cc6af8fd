"""Runs a benchmark, prints its table, and keeps the figures as JSON; see scripts/bench."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import asked as more
from benchmarks import (
    drops,
    graphs,
    kernels,
    labels,
    logs,
    parts,
    places,
    reviews,
    rounds,
    runs,
    scoring,
    snapshots,
    tables,
    timing,
)
from benchmarks import models as model_of
from benchmarks import numbers as number_labels
from benchmarks import starts as ids
from benchmarks.draw import draw_all

Figures = dict[str, Any]
_OF_RUN = ("seconds", "cpu_s", "peak_mb")
WARMING_ROWS, WARMING_TASKS = 20_000, 8


def main() -> None:
    """Run what the command line says."""
    options = _options()
    figures = BENCHMARKS[options.benchmark](options)
    document = {"benchmark": options.benchmark, "machine": _machine(), **_plain(options), **figures}
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def score(options: argparse.Namespace) -> Figures:
    """Score a pool once, in every way; rates, and each way's share of the limit."""
    made = tables.make(options.data, options.rows, options.layout)
    model = model_of.make(options.model).fit(*made.matrix("labeled"))
    with runs.session() as spark:
        few = tables.make(options.data, WARMING_ROWS, options.layout)
        small = scoring.ways(spark, few, model, ours=options.ours, tasks=WARMING_TASKS)
        ways = scoring.ways(spark, made, model, ours=options.ours)
        seconds = timing.alternate(ways, options.repeats, small)
    rates = {name: options.rows / s / 1e6 for name, s in timing.medians(seconds).items()}
    limit, direct = rates["two plain processes"], rates["direct scan"]
    _print(
        "way",
        ("M rows/s", "of the limit", "direct scan is"),
        {
            name: (f"{rate:.3f}", f"{rate / limit:.2f}", f"{direct / rate:.1f} x")
            for name, rate in rates.items()
        },
    )
    return {"seconds": seconds, "rates": rates}


def round_(options: argparse.Namespace) -> Figures:
    """Compare a whole round (score, count, plan, apply, commit) with its bare scan."""
    made = tables.make(options.data, options.rows, options.layout)
    with runs.session() as spark:
        seconds = rounds.whole_and_bare(spark, made, options.model, options.repeats)
    medians = timing.medians(seconds)
    ratio = medians["whole round"] / medians["bare scan"]
    _print("", ("seconds",), {name: (f"{value:.2f}",) for name, value in medians.items()})
    print(f"a whole round takes {ratio:.2f} x its bare scan")
    return {"seconds": seconds, "ratio": ratio}


def whole_runs(options: argparse.Namespace) -> Figures:
    """Run five rounds, everything included, against scikit-learn and the naive Spark recipe."""
    made = tables.make(options.data, options.rows, options.layout)
    medians = runs.compare(made, options.model, options.repeats, naive=options.naive)
    _print(
        "way",
        ("seconds", "MB", "accuracy"),
        {
            name: (
                f"{median['seconds']:.1f}",
                f"{median['peak_mb']:.0f}",
                f"{median['accuracy']:.4f}",
            )
            for name, median in medians.items()
        },
    )
    return {"runs": medians}


def small(options: argparse.Namespace) -> Figures:
    """Time a run on a thousand rows, and say how much of it is ours."""
    made = tables.make(options.data, 1_000, options.layout)
    timed = [runs.ours(made, "lr") for _ in range(options.repeats)]
    for run in timed:
        print(f"{run['seconds']:.1f} s, of which after JVM start and imports {run['own_s']:.1f} s")
    return {"runs": timed}


def memory(options: argparse.Namespace) -> Figures:
    """Measure peak memory and seconds per million rows of whole runs of growing size."""
    by_rows = {}
    for rows in (1_000_000, 4_000_000, 16_000_000):
        if rows <= options.rows:
            made = tables.make(options.data, rows, options.layout)
            by_rows[f"{rows:,}"] = runs.ours(made, options.model, heap="2g")
    _print(
        "rows",
        ("MB", "seconds"),
        {rows: (f"{run['peak_mb']:.0f}", f"{run['seconds']:.1f}") for rows, run in by_rows.items()},
    )
    return {"runs": by_rows}


def auto(options: argparse.Namespace) -> Figures:
    """Time a run of policy auto, from its start to its end, and the steps of its round."""
    made = tables.make(options.data, options.rows, options.layout)
    run = runs.ours(made, options.model, policy="auto")
    _print(
        "rows",
        ("seconds", "MB", "labels"),
        {
            f"{options.rows:,}": (
                f"{run['seconds']:.0f}",
                f"{run['peak_mb']:.0f}",
                f"{run['labels']:,}",
            )
        },
    )
    print("\n".join(f"{step}: {seconds:.1f} s" for step, seconds in run["rounds"][0].items()))
    return {"run": run}


def committee(options: argparse.Namespace) -> Figures:
    """Compare one scan with a committee of three with the scans of its members."""
    made = tables.make(options.data, options.rows, options.layout)
    with runs.session() as spark:
        seconds = rounds.committee_and_members(spark, made, options.repeats)
    medians = timing.medians(seconds)
    _print("scan", ("seconds",), {name: (f"{value:.2f}",) for name, value in medians.items()})
    ratio = medians.pop("committee") / sum(medians.values())
    print(f"the committee takes {ratio:.2f} x the sum of its members")
    return {"medians": medians, "all": seconds, "ratio": ratio}


def asked(options: argparse.Namespace) -> Figures:
    """Compare scans that ask more of rows than a confidence with plain ones, in one process."""
    made = tables.make(options.data, options.rows, options.layout)
    seconds = timing.alternate(more.ways(made, options.model), options.repeats)
    medians = timing.medians(seconds)
    _print("scan", ("seconds",), {name: (f"{value:.2f}",) for name, value in medians.items()})
    members = sum(value for name, value in medians.items() if name.startswith("member"))
    stable = medians["stable under 5 copies"] / medians["model"]
    agreed = medians["all members agree"] / members
    print(f"stability with 5 copies takes {stable:.2f} x one scan")
    print(f"a committee of 5 that has to agree takes {agreed:.2f} x the sum of its members")
    return {"medians": medians, "all": seconds, "stable": stable, "agreed": agreed}


def numbers(options: argparse.Namespace) -> Figures:
    """Compare a scan that labels with numbers with one of two classes, by CPU, in one process."""
    made = tables.make(options.data, options.rows, options.layout)
    ways = number_labels.ways(made, options.model)
    seconds = timing.alternate(ways, options.repeats, clock=time.process_time)
    medians = timing.medians(seconds)
    ratio = medians[number_labels.NUMBERS] / medians[number_labels.CLASSES]
    _print("scan", ("CPU seconds",), {name: (f"{value:.2f}",) for name, value in medians.items()})
    print(f"numbers take {ratio:.2f} x two classes")
    return {"medians": medians, "all": seconds, "ratio": ratio}


def kernel(options: argparse.Namespace) -> Figures:
    """Compare compiled trees with their libraries' own predict, by CPU time in one process."""
    made = tables.make(options.data, WARMING_ROWS, "wide")
    measured = {
        name: kernels.compare(made, name, options.rows, options.repeats)
        for name in model_of.NAMES
        if name != "lr"
    }
    _print(
        "model",
        ("library", "compiled", "ratio", "difference"),
        {
            name: (
                f"{min(each['seconds']['library']):.2f} s",
                f"{min(each['seconds']['compiled']):.2f} s",
                f"{each['ratio']:.1f} x",
                f"{each['difference']:.2g}",
            )
            for name, each in measured.items()
        },
    )
    return {"models": measured}


def later(options: argparse.Namespace) -> Figures:
    """Compare the scan of a round with the share of rows that is left."""
    made = tables.make(options.data, options.rows, options.layout)
    with runs.session() as spark:
        by_share = rounds.by_share(spark, made, options.model, options.repeats)
    _print(
        "rows left",
        ("seconds", "row groups read"),
        {
            share: (f"{timed['seconds']:.2f}", str(timed["groups"]))
            for share, timed in by_share.items()
        },
    )
    return {"by_share": by_share}


def driver(options: argparse.Namespace) -> Figures:
    """Run a start and a round over tiny files that are a part each: the driver's side of them."""
    measured = parts.many_parts(options.data, options.parts)
    print(f"{options.parts:,} parts")
    steps = {name: (f"{value:,.2f}",) for name, value in measured["seconds"].items()}
    _print("step", ("seconds",), steps)
    _print("", ("MB",), {name: (f"{value:,.0f}",) for name, value in measured["sizes"].items()})
    return measured


def starts(options: argparse.Namespace) -> Figures:
    """Compare starts on ids in order with starts on ids in none, and with later starts."""
    seconds = ids.compare(options.data, options.rows, options.repeats)
    medians = timing.medians(seconds)
    _print("start", ("seconds",), {name: (f"{value:.2f}",) for name, value in medians.items()})
    for kind in ("integers", "uuids"):
        mixed, ascending = (
            medians[f"{kind}, {way}: first start"] for way in ("mixed", "ascending")
        )
        print(f"{kind} in no order take {mixed / ascending:.2f} x the start of those in order")
    return {"seconds": seconds}


def graph(options: argparse.Namespace) -> Figures:
    """Run a graph as teacher on rows with few labels; compare with a linear model on these."""
    shape = graphs.SHAPES[options.shape]
    root = graphs.make(options.data, options.rows, shape)
    teacher: dict[str, Any] = {"graph": "anchors", "anchors": options.anchors}
    if options.method is not None:
        teacher = {"graph": "neighbors", "method": options.method}
    done = graphs.run(root, shape, teacher, options.master)
    _print(
        "rows",
        ("seconds", "MB", "right", "linear model"),
        {
            f"{options.rows:,}": (
                f"{done['seconds']:.0f}",
                f"{done['peak_mb']:.0f}",
                f"{done['right']:.5f}",
                f"{done['linear']:.4f}",
            )
        },
    )
    print("\n".join(f"{step}: {seconds:.1f} s" for step, seconds in done["round"].items()))
    print(f"labels and confidences: sha256 {done['labels_sha256']}")
    return {"run": done}


def few_labels(options: argparse.Namespace) -> Figures:
    """Compare an anchor graph with scikit-learn's propagation on small sets with few labels."""
    measured = [
        {"set": name, "per_class": per_class, **right}
        for name, per_class, right in labels.cells(options.draws)
    ]
    methods = tuple(key for key in measured[0] if key not in ("set", "per_class"))
    _print(
        "set, labels a class",
        methods,
        {
            f"{cell['set']}, {cell['per_class']}": tuple(f"{100 * cell[m]:.1f}" for m in methods)
            for cell in measured
        },
    )
    return {"cells": measured}


def review(options: argparse.Namespace) -> Figures:
    """Export queues of up to a million rows as tasks for Label Studio."""
    made = tables.make(options.data, options.rows, options.layout)
    measured = reviews.exports(made)
    _print(
        "tasks",
        ("seconds", "MB", "MB written"),
        {
            n: (
                f"{each['seconds']:.0f}",
                f"{each['peak_mb']:.0f}",
                f"{each['written_mb']:.0f}",
            )
            for n, each in measured.items()
        },
    )
    return {"exports": measured}


def table_logs(options: argparse.Namespace) -> Figures:
    """Open and score a pool as a Delta and as an Iceberg table, and their files alone."""
    made = tables.make(options.data, options.rows, options.layout)
    model = model_of.make(options.model).fit(*made.matrix("labeled"))
    with runs.session() as spark:
        few = tables.make(options.data, WARMING_ROWS, options.layout)
        scanned = timing.alternate(
            logs.ways(spark, made, model), options.repeats, logs.ways(spark, few, model)
        )
        opened = timing.alternate(
            logs.opening(spark, made), options.repeats, logs.opening(spark, few)
        )
    scans, opens = timing.medians(scanned), timing.medians(opened)
    _print(
        "",
        ("M rows/s", "of its files", "seconds to open"),
        {
            name: (
                f"{options.rows / s / 1e6:.3f}",
                f"{scans.get(logs.files_of(name), s) / s:.2f}",
                f"{opens[name]:.2f}",
            )
            for name, s in scans.items()
        },
    )
    return {"scan_seconds": scanned, "open_seconds": opened}


def snapshot(options: argparse.Namespace) -> Figures:
    """Compare runs on a pool that is frozen first with such as read it through Spark each time."""
    made = tables.make(options.data, options.rows, options.layout)
    measured = snapshots.compare(made, options.source, options.rounds, options.repeats)
    medians = {
        how: {key: statistics.median(one[key] for one in of_way) for key in _OF_RUN}
        for how, of_way in measured.items()
    }
    _print(
        f"{options.source}, {options.rounds} rounds",
        ("seconds", "CPU seconds", "MB"),
        {
            f"snapshot: {how}": (
                f"{median['seconds']:.1f}",
                f"{median['cpu_s']:.1f}",
                f"{median['peak_mb']:.0f}",
            )
            for how, median in medians.items()
        },
    )
    ratio = {key: medians["never"][key] / medians["auto"][key] for key in ("seconds", "cpu_s")}
    print(
        f"frozen first it is {ratio['seconds']:.2f} x as fast, {ratio['cpu_s']:.2f} x by CPU time"
    )
    return {"runs": measured, "ratio": ratio}


def draw(options: argparse.Namespace) -> Figures:
    """Draw what was kept as JSON in docs/benchmarks."""
    drawn = draw_all(Path(__file__).parents[2] / "docs" / "benchmarks")
    print("\n".join(path.name for path in drawn))
    return {}


def incremental(options: argparse.Namespace) -> Figures:
    """Label a thousand drops of a thousand rows, one after the other; compare early and late."""
    with runs.session() as spark:
        folder = options.data / "drops"
        seconds = drops.many(spark, folder, options.drops, options.drop_rows, options.timed)
    costs = {f"drop {drop:,}": drops.around(seconds, drop) for drop in (10, options.drops)}
    _print(
        "",
        ("seconds", "CPU seconds"),
        {name: (f"{cost['wall']:.2f}", f"{cost['cpu']:.2f}") for name, cost in costs.items()},
    )
    first, last = costs.values()
    ratio = {name: last[name] / first[name] for name in first}
    print(f"the last drop costs {ratio['wall']:.2f} x the 10th, {ratio['cpu']:.2f} x its CPU")
    return {"costs": costs, "ratio": ratio, "seconds": seconds}


def training(options: argparse.Namespace) -> Figures:
    """Let the final model learn from all rows, in each place; the driver's memory and accuracy."""
    sizes = [rows for rows in (250_000, 1_000_000, 4_000_000) if rows <= options.rows]
    done: Figures = {}
    for rows in sizes or [options.rows]:
        made = tables.make(options.data, rows, options.layout)
        for way in places.WAYS if options.way is None else [options.way]:
            run = places.learn(made, way, options.master)
            done[f"{rows:,} {way}"] = run
            print(f"{rows:,} {way}: {run}", file=sys.stderr, flush=True)
    columns = ("rows", "seconds", "fit_s", "accuracy", "python_mb", "jvm_mb", "workers_mb")
    cells = {name: tuple(f"{run[column]:,.4g}" for column in columns) for name, run in done.items()}
    _print("pool", columns, cells)
    return {"runs": done}


BENCHMARKS: Mapping[str, Callable[[argparse.Namespace], Figures]] = {
    "score": score,
    "round": round_,
    "runs": whole_runs,
    "small": small,
    "memory": memory,
    "auto": auto,
    "committee": committee,
    "asked": asked,
    "numbers": numbers,
    "kernel": kernel,
    "later": later,
    "driver": driver,
    "starts": starts,
    "graph": graph,
    "labels": few_labels,
    "incremental": incremental,
    "review": review,
    "logs": table_logs,
    "snapshot": snapshot,
    "training": training,
    "draw": draw,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--layout", choices=("wide", "array"), default="wide")
    parser.add_argument("--model", choices=model_of.NAMES, default="lr")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shape", choices=graphs.SHAPES, default="moons", help="graph: of rows")
    parser.add_argument("--master", default="local[2]", help="graph, training: of Spark")
    parser.add_argument("--way", choices=places.WAYS, help="training: only this one")
    parser.add_argument("--draws", type=int, default=20, help="labels")
    parser.add_argument("--anchors", type=int, default=500, help="graph")
    methods = ("propagation", "spreading", "poisson")
    parser.add_argument("--method", choices=methods, help="graph: of neighbors, not of anchors")
    parser.add_argument("--drops", type=int, default=1_000, help="incremental")
    parser.add_argument("--timed", type=int, help="incremental: label so few drops of each end")
    parser.add_argument("--drop-rows", type=int, default=1_000, help="incremental")
    parser.add_argument("--source", choices=snapshots.SOURCES, default="csv", help="snapshot")
    parser.add_argument("--rounds", type=int, default=runs.ROUNDS, help="snapshot: at most")
    parser.add_argument("--parts", type=int, default=40_000)
    parser.add_argument("--naive", action="store_true", help="also the naive Spark recipe")
    parser.add_argument("--ours", action="store_true", help="score: only the limit and our ways")
    parser.add_argument("--data", type=Path, default=Path("../bench-data"))
    parser.add_argument("--json")
    options = parser.parse_args()
    options.data = options.data.resolve()
    return options


def _plain(options: argparse.Namespace) -> Figures:
    return {key: value for key, value in vars(options).items() if key not in ("data", "json")}


def _machine() -> Figures:
    return {"cores": os.cpu_count(), "python": platform.python_version()}


def _print(first: str, columns: tuple[str, ...], rows: Mapping[str, tuple[str, ...]]) -> None:
    width = max(len(first), *(len(name) for name in rows)) + 2
    print(first.ljust(width) + "".join(column.rjust(16) for column in columns))
    for name, cells in rows.items():
        print(name.ljust(width) + "".join(cell.rjust(16) for cell in cells))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
