"""The report as one self-contained page: no scripts, no addresses, pictures as inline SVG."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from spark_pseudolabel.report import (
    evidence,
    generations,
    guidance,
    leftover,
    promises,
    times,
    words,
)
from spark_pseudolabel.report.audit_text import certified_lines
from spark_pseudolabel.report.document import Report
from spark_pseudolabel.report.provenance import flat, settings
from spark_pseudolabel.report.review_text import review_lines
from spark_pseudolabel.report.tally import (
    accepted_by_class,
    class_names,
    confident,
    first_scored,
    last_accepting,
    left_out,
)

MOST_ROUNDS = 40
MOST_COLUMNS = 10


def render_html(report: Mapping[str, Any] | Report) -> str:
    """Render ``report.json`` as a page; the same report gives the same bytes."""
    data = Report.model_validate(report)
    figures, failure = _figures(data)
    page = _environment().get_template("report.html.j2")
    return page.render(
        report=data,
        verdict=words.verdict(data),
        certified=words.certificate(data),
        within=words.within(data.numbers),
        claims=words.claims(data),
        ladder=promises.ladder(data),
        promised=promises.promised(data),
        band=promises.band(data),
        missing=promises.missing(data),
        review=[*review_lines(data.review), *certified_lines(data.certified)],
        how_certified=guidance.how_certified(data),
        next_steps=guidance.next_steps(data),
        by_class=words.by_class(data),
        prior=words.prior(data),
        calibration_errors=words.calibration_errors(data),
        reliability=words.reliability(data),
        errors=words.errors(data),
        errors_on=words.errors_on(data),
        predicted=words.predicted(data),
        flips=words.flips(data),
        generations=generations.lines(data.generations),
        all_generations=generations.sums(data.all_generations),
        generation_notices=generations.notices(data.generations),
        given_labels=words.given_labels(data),
        shift=words.shift(data),
        teacher=words.taught_by(data),
        members=words.members(data),
        comparisons=words.comparisons(data),
        measured=words.measured(data),
        classes=_classes(data),
        by_round=left_out(data.rounds, MOST_COLUMNS),
        rounds=left_out(data.rounds, MOST_ROUNDS),
        cuts=_cuts(data),
        other_cuts=evidence.other_cuts(data),
        tested_on=evidence.tested_on(data),
        confused=evidence.confused(data),
        confused_on=evidence.confused_on(data),
        pairs_left_out=evidence.pairs_left_out(data),
        why_left=leftover.why_left(data),
        near_cut=leftover.near_cut(data),
        deciding=leftover.deciding(data),
        times=times.by_round(data),
        outside_s=times.outside_rounds(data),
        figures=figures,
        confidence_key=_confidence_key(data),
        accepted_key=_accepted_key(data),
        failure=failure,
        out=words.out_path(data),
        queue_folder=guidance.queue_folder(data),
        bar=_bar(data),
        settings=settings(data.config),
        versions=[
            *((each.table, words.pinned(each)) for each in data.pinned),
            *flat(data.environment),
        ],
    )


def _figures(report: Report) -> tuple[dict[str, list[Markup]], str | None]:
    """Draw the figures, or name what went wrong."""
    try:
        from spark_pseudolabel.report import figures

        drawn = figures.draw(report)
    except Exception as error:  # noqa: BLE001 - a broken plotting library costs only pictures
        return {}, type(error).__name__
    return {name: [*map(Markup, panels)] for name, panels in drawn.items()}, None


def _confidence_key(report: Report) -> list[tuple[str, str]]:
    """Say what is what in the histograms of confidences: a style of the page, and its words."""
    first, last = first_scored(report), last_accepting(report)
    key = [("first", f"candidates of round {first.round}")] if first is not None else []
    if last is not None and last is not first:
        key.append(("last", f"candidates of round {last.round}"))
    return [*key, ("cut", f"cut of round {last.round}")] if last is not None else key


def _accepted_key(report: Report) -> list[tuple[str, str]]:
    """Say what is what in the bars of accepted rows, where there are two kinds of them."""
    if all(r.used for r in report.rounds):
        return []
    return [("used", "round used"), ("unused", "round not used")]


@dataclass(frozen=True)
class _Class:
    """One line of the table of classes: rows accepted, their share, the last cut."""

    name: str
    accepted: int
    share: float | None
    cut: float | None


@dataclass(frozen=True)
class _Cuts:
    """Rows of the first round at or above some cuts."""

    at: Sequence[float]
    by_class: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class _Part:
    """A part of the pool."""

    name: str
    rows: int
    share: float


def _classes(report: Report) -> list[_Class]:
    """Return one line per class: rows accepted, their share, the last cut."""
    accepted = accepted_by_class(report)
    total = sum(accepted.values())
    last = last_accepting(report)
    cuts = last.threshold_by_class if last else {}
    return [
        _Class(name, n, n / total if total else None, cuts.get(name))
        for name, n in accepted.items()
    ]


def _cuts(report: Report) -> _Cuts | None:
    """Return how many rows of the first round lie at or above some cuts, per class."""
    first = first_scored(report)
    if first is None:
        return None
    cuts = evidence.CUTS
    by_class = {name: [confident(first, name, cut) for cut in cuts] for name in class_names(report)}
    return _Cuts(cuts, by_class)


def _bar(report: Report) -> list[_Part]:
    """Return the parts of the pool, each with its share; none of an empty pool."""
    rows = report.rows
    parts = [
        ("accepted", rows.accepted),
        ("rejected", rows.rejected),
        ("invalid", rows.invalid),
        ("abstained", rows.abstained),
    ]
    return [_Part(name, n, n / rows.pool) for name, n in parts if n]


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clean": words.clean,
        "count": words.count,
        "duration": words.seconds,
        "metric": words.metric,
        "percent": words.percent,
        "rows": words.rows,
        "shell_command": lambda arguments: shlex.join(["spark-pseudolabel", *arguments]),
        "shell_word": shlex.quote,
        "sql_string": lambda text: "'" + str(text).replace("'", "''") + "'",
        "python_string": repr,
    }
    environment.globals |= {
        "measured_on": words.measured_on,
        "metric_cells": words.metric_cells,
        "metric_columns": words.metric_columns,
        "rounds_word": words.rounds_word,
    }
    return environment


def _template(name: str) -> str:
    # Read through importlib: on a cluster the package may be a zip file.
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")
