"""The figures of the page: matplotlib drawings as inline SVG that follow the page's colors.

A figure is a list of panels, each an SVG of its own, which the page lays side by side where there
is room and below each other on a phone. What their colors mean the page says itself.

Drawn with ``Figure`` and never with pyplot, so that nothing global is touched and the same report
gives the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullLocator,
)
from scipy.stats import binomtest

from spark_pseudolabel.report import words
from spark_pseudolabel.report.document import (
    Histogram,
    Metrics,
    ReliabilityTable,
    Report,
    Round,
)
from spark_pseudolabel.report.leftover import deciding
from spark_pseudolabel.report.tally import (
    class_names,
    confident,
    first_scored,
    last_accepting,
    last_measured,
)

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"

MOST_CLASSES = 12
MOST_TICKS = 8
WIDE, NARROW = (424, 284), (209, 172)
"""Width and height of a panel in CSS pixels: two of the wide ones stand side by side, or four."""

# Each color stands for one of the page's CSS variables and is exchanged for it in the SVG.
INK, MUTED, LINE, PAGE = "#0000a1", "#0000a2", "#0000a3", "#0000a4"
ACCENT, SOFT, BAD = "#0000a5", "#0000a6", "#0000a7"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAGE: "--page",
    ACCENT: "--accent",
    SOFT: "--soft",
    BAD: "--bad",
}

STYLE: dict[str, object] = {
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 12.5,
    "axes.titley": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "font.size": 12,
    "font.family": "DejaVu Sans",
    "lines.linewidth": 2,
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "svg.fonttype": "none",
}


def draw(report: Report) -> dict[str, list[str]]:
    """Draw every figure the report has data for.

    Returns
    -------
    dict
        The SVG of each panel by the figure's name: ``metrics``, ``reliability``, ``accepted``,
        ``confidence``, ``left``, ``time``, ``promise``; absent without data.
    """
    figures: dict[str, Callable[[Report], list[Figure]]] = {
        "metrics": draw_metrics,
        "reliability": draw_reliability,
        "accepted": draw_accepted,
        "confidence": draw_confidence,
        "left": draw_left,
        "time": draw_time,
        "promise": draw_promise,
    }
    with _style():
        drawn = {name: drawing(report) for name, drawing in figures.items()}
        return {
            name: [to_svg(panel, f"{name}-{i}") for i, panel in enumerate(panels)]
            for name, panels in drawn.items()
            if panels
        }


# --- metric per round ---------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """Validation metrics of the model trained after a round; round 0 is the seed model."""

    round: int
    metrics: Metrics
    used: bool


def draw_metrics(report: Report) -> list[Figure]:
    """Draw accuracy and log-loss on the validation rows, per round, from the seed on."""
    seed = report.seed.validation
    if seed is None or seed.n == 0 or not report.rounds:
        return []
    points = [Point(0, seed, used=True)]
    points += [Point(r.round, r.validation, r.used) for r in report.rounds if r.validation]
    accuracy, ax = _panel(WIDE, right=44)
    _draw_metric(ax, points, report.best_round, "accuracy", better=1)
    ax.set_title("Accuracy (higher is better)", pad=12)
    _draw_band(ax, points)
    _keep_within(ax, 0, 1)
    log_loss, ax = _panel(WIDE, right=44)
    _draw_metric(ax, points, report.best_round, "log_loss", better=-1)
    ax.set_title("Log-loss (lower is better)", pad=12)
    _keep_within(ax, 0, np.inf)
    return [accuracy, log_loss]


def _keep_within(ax: Axes, lowest: float, highest: float) -> None:
    """Let the axis end where its values do: no accuracy is above 1, no log-loss below 0."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, lowest), min(high, highest))


def _draw_metric(ax: Axes, points: list[Point], best: int, name: str, *, better: int) -> None:
    values = [getattr(p.metrics, name) for p in points]
    _draw_line(ax, [(p.round, value) for p, value in zip(points, values, strict=True)], "-")
    size = 6 if len(points) <= 40 else 3
    for used, fill in ((True, ACCENT), (False, PAGE)):
        chosen = [(p.round, getattr(p.metrics, name)) for p in points if p.used is used]
        _draw_line(ax, chosen, "o", mfc=fill, ms=size)
    # The note stands on the better side, but for a value at the end of its axis, below the title.
    at_end = max(values) > 0.98 if better > 0 else min(values) < 0.02
    side = -better if at_end else better
    for p, value in zip(points, values, strict=True):
        if p.round == best:
            _note(ax, "best", p.round, value, side)
    _draw_seed(ax, getattr(points[0].metrics, name))
    ax.margins(y=0.25)
    ax.set_xlim(-0.5, points[-1].round + 0.5)
    ax.xaxis.set_major_locator(whole_numbers(0, points[-1].round))
    ax.set_xlabel("round")


def _draw_line(ax: Axes, points: list[tuple[int, float]], form: str, **look: Any) -> None:
    # Not clipped: at the end of an axis half of a point would be missing.
    x, y = [x for x, _ in points], [y for _, y in points]
    ax.plot(x, y, form, color=ACCENT, clip_on=False, **look)


def _draw_seed(ax: Axes, value: float) -> None:
    ax.axhline(value, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
    ax.annotate(
        "seed",
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        color=MUTED,
        va="center",
        annotation_clip=False,
    )


def _draw_band(ax: Axes, points: list[Point]) -> None:
    low, high = zip(*(_interval(p.metrics) for p in points), strict=True)
    ax.fill_between([p.round for p in points], low, high, color=ACCENT, alpha=0.14, linewidth=0)


def _interval(metrics: Metrics) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy (Wilson: in closed form, hence fast)."""
    return _wilson(round((metrics.accuracy or 0) * metrics.n), metrics.n)


def _wilson(right: int, n: int) -> tuple[float, float]:
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


# --- confidence against the truth ----------------------------------------------------------


def draw_reliability(report: Report) -> list[Figure]:
    """Draw the share of right labels against the confidence: of the model itself, and adjusted."""
    measured = last_measured(report)
    if measured is None or not sum(measured.raw.n):
        return []
    tables = {"As the model says": measured.raw, "Adjusted": measured.adjusted}
    panels = []
    for title, table in tables.items():
        if table is not None:
            figure, ax = _panel(WIDE, right=12)
            _draw_reliability(ax, table)
            ax.set_title(title, pad=12)
            panels.append(figure)
    return panels


def _draw_reliability(ax: Axes, table: ReliabilityTable) -> None:
    total, edges = sum(table.n), np.linspace(0, 1, len(table.n) + 1)
    ax.stairs(np.array(table.n) / total, edges, fill=True, color=SOFT, linewidth=0)
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
    points = [
        (stated, right, *_wilson(round(right * n), n))
        for n, stated, right in zip(table.n, table.confidence, table.accuracy, strict=True)
        if stated is not None and right is not None
    ]
    stated, right, low, high = (np.array(column) for column in zip(*points, strict=True))
    ax.vlines(stated, low, high, color=ACCENT, linewidth=1.4)
    ax.plot(stated, right, "o", color=ACCENT, ms=6, clip_on=False)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence")


# --- what could be promised ---------------------------------------------------------------


def draw_promise(report: Report) -> list[Figure]:
    """Draw the lower bound of the precision against the share of the pool, all of it together."""
    certified = report.certificate
    if certified is None or not certified.band:
        return []
    figure, ax = _panel(WIDE, right=44)
    share, lower = ([getattr(p, name) for p in certified.band] for name in ("share", "lower"))
    floor = max(0.0, min(0.75, 0.05 * np.floor(20 * min(lower))))
    # Below the line no bound is broken: the shaded part is what may be promised.
    ax.fill_between(share, floor, lower, color=ACCENT, alpha=0.14, linewidth=0)
    ax.plot(share, lower, "-", color=ACCENT)
    ax.axhline(certified.precision, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
    ax.annotate(
        f"{certified.precision:g}",
        (1, certified.precision),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        color=MUTED,
        va="center",
        annotation_clip=False,
    )
    if certified.claimed:
        ax.axvline(certified.coverage, color=BAD, linewidth=1.4)
    ax.set(xlim=(0, 1), ylim=(floor, 1), xlabel="share of the pool, the surest rows first")
    ax.set_title("At least so many labels are right", pad=12)
    return [figure]


# --- accepted per class per round ---------------------------------------------------------


def draw_accepted(report: Report) -> list[Figure]:
    """Draw, per class, the rows accepted in each round; unused rounds in the soft color."""
    if not any(r.accepted for r in report.rounds):
        return []
    names = largest(
        report, lambda name: sum(r.accepted_by_class.get(name, 0) for r in report.rounds)
    )
    highest = max(r.accepted_by_class.get(name, 0) for r in report.rounds for name in names)
    panels = []
    for name in names:
        figure, ax = _panel(NARROW)
        _draw_bars(ax, [r for r in report.rounds if r.used], name, ACCENT)
        _draw_bars(ax, [r for r in report.rounds if not r.used], name, SOFT)
        _round_axis(ax, len(report.rounds))
        ax.set_ylim(0, highest * 1.05)
        ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.yaxis.set_major_formatter(FuncFormatter(_tick))
        ax.set_xlabel("round")
        ax.set_title(_short(name))
        panels.append(figure)
    return panels


def _draw_bars(ax: Axes, rounds: Sequence[Round], name: str, color: str) -> None:
    if not rounds:
        return
    heights = [r.accepted_by_class.get(name, 0) for r in rounds]
    edges = np.repeat([r.round for r in rounds], 2) + np.tile([-0.36, 0.36], len(rounds))
    # One path with gaps of height 0 keeps a page of hundreds of rounds small.
    with_gaps = np.insert(heights, range(1, len(heights)), 0)
    ax.stairs(with_gaps, edges, fill=True, color=color, linewidth=0)


# --- confidence per class -----------------------------------------------------------------


def draw_confidence(report: Report) -> list[Figure]:
    """Draw, per class, the candidates by confidence: round 1 and the last used round, its cut."""
    first, last = first_scored(report), last_accepting(report)
    if first is None or first.histogram is None:
        return []
    names = largest(report, lambda name: confident(first, name, 0))
    bins = readable_bins(first.histogram)
    drawn = [_panel(NARROW) for _ in names]
    highest = 0.0
    for name, (_, ax) in zip(names, drawn, strict=True):
        _draw_confidence(ax, first, last, name, bins)
        ax.set_title(_short(name))
        ax.set_xlabel("confidence")
        ax.set_yscale("log")
        ax.set_xlim(_lowest(first.histogram), 1)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.yaxis.set_major_locator(LogLocator(numticks=4))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(_tick))
        highest = max(highest, ax.get_ylim()[1])
    for _, ax in drawn:
        # One scale for all, which shows a power of ten above the 1 however few rows there are.
        ax.set_ylim(0.7, max(12, highest))
    return [figure for figure, _ in drawn]


def readable_bins(histogram: Histogram) -> int:
    """Return how many bins to draw: few rows in many bins look like grass."""
    sizes = [sum(counts) for counts in histogram.counts.values()]
    most = max(sizes, default=0)
    bins = 20 if most < 1_000 else 50 if most < 10_000 else 100
    return bins if histogram.bins % bins == 0 else histogram.bins


def _draw_confidence(ax: Axes, first: Round, last: Round | None, name: str, bins: int) -> None:
    _draw_histogram(ax, first, name, bins, fill=True, color=SOFT, linewidth=0)
    if last is not None and last is not first:
        _draw_histogram(ax, last, name, bins, color=ACCENT, linewidth=1.4)
    cut = last.threshold_by_class.get(name) if last else None
    if cut is not None:
        ax.axvline(cut, color=BAD, linewidth=1.4)


def _draw_histogram(ax: Axes, r: Round, name: str, bins: int, **look: Any) -> None:
    counts = r.histogram.counts.get(name, []) if r.histogram else []
    if any(counts):
        merged = np.reshape(counts, (bins, -1)).sum(axis=1)
        # A log axis has no zero to stand on: bins of one row must still show.
        ax.stairs(merged, np.linspace(0, 1, bins + 1), baseline=0.5, **look)


def _lowest(histogram: Histogram) -> float:
    """Return the lower edge of the lowest bin in use, to the tenth."""
    filled = [i for counts in histogram.counts.values() for i, n in enumerate(counts) if n]
    return (10 * min(filled, default=0) // histogram.bins) / 10


# --- what is left ---------------------------------------------------------------------------


def draw_left(report: Report) -> list[Figure]:
    """Draw the rows below their class's cut in the last accepting round, by confidence."""
    last = deciding(report)
    if last is None or last.histogram is None or last.accepted + last.invalid >= last.candidates:
        return []
    histogram = last.histogram
    bins = np.sum([histogram.counts.get(name, []) for name in class_names(report)], axis=0)
    left = np.array(bins, dtype=float)
    for name in class_names(report):
        cut = last.threshold_by_class.get(name)
        if cut is not None:
            above = int(np.ceil(cut * histogram.bins - 1e-9))
            left[above:] -= np.array(histogram.counts.get(name, []))[above:]
    merged = left.reshape(-1, max(1, histogram.bins // 20)).sum(axis=1)
    if not merged.any():
        return []
    figure, ax = _panel(WIDE, left=56)
    ax.stairs(merged, np.linspace(0, 1, len(merged) + 1), fill=True, color=SOFT, linewidth=0)
    ax.set_xlim(_lowest(histogram), 1)
    ax.set_xlabel("confidence")
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(_tick))
    return [figure]


# --- time -----------------------------------------------------------------------------------

STAGE_COLORS = {"fit": SOFT, "score": ACCENT, "select": MUTED, "commit": INK}


def draw_time(report: Report) -> list[Figure]:
    """Draw the seconds of each round, the stages on top of each other."""
    if len(report.rounds) < 2:
        return []
    figure, ax = _panel(WIDE, left=56)
    numbers = [r.round for r in report.rounds]
    edges = np.repeat(numbers, 2) + np.tile([-0.36, 0.36], len(numbers))
    base = np.zeros(len(numbers))
    for stage, color in STAGE_COLORS.items():
        top = base + [getattr(r.seconds, stage) for r in report.rounds]
        gaps = range(1, len(numbers))
        ax.stairs(
            np.insert(top, gaps, 0),
            edges,
            baseline=np.insert(base, gaps, 0),
            fill=True,
            color=color,
            linewidth=0,
        )
        base = top
    _round_axis(ax, numbers[-1])
    ax.set_ylim(0, None)
    ax.set_xlabel("round")
    ax.set_title("seconds", pad=10)
    return [figure]


# --- the common parts ---------------------------------------------------------------------


def largest(report: Report, size: Callable[[str], int]) -> list[str]:
    """Return the classes to draw: all in the model's order, or the largest MOST_CLASSES."""
    names = class_names(report)
    chosen = sorted(names, key=lambda name: (-size(name), name))[:MOST_CLASSES]
    return [name for name in names if name in chosen]


def _panel(
    size: tuple[int, int], *, top: int = 30, bottom: int = 46, left: int = 46, right: int = 6
) -> tuple[Figure, Axes]:
    """Lay a panel out by hand, in CSS pixels: automatic layout costs a second of drawing a figure.

    One SVG unit is one pixel, as matplotlib counts 72 to the inch.
    """
    width, height = size
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    ax = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    )
    return figure, ax


def _tick(n: float, _: int) -> str:
    return words.short_count(int(n))


def _round_axis(ax: Axes, last: int) -> None:
    ax.set_xlim(0.5, last + 0.5)
    ax.xaxis.set_major_locator(whole_numbers(1, last))


def whole_numbers(first: int, last: int) -> Locator:
    """Return where an axis of rounds has its ticks: at all of few, at round ones of many."""
    if last - first < MOST_TICKS:
        return FixedLocator(range(first, last + 1))
    return MaxNLocator(MOST_TICKS, integer=True)


def _note(ax: Axes, text: str, x: float, y: float, side: int) -> None:
    va: Any = "bottom" if side > 0 else "top"
    ax.annotate(text, (x, y), xytext=(0, 7 * side), textcoords="offset points", ha="center", va=va)


def _short(name: str, most: int = 20) -> str:
    name = words.clean(name)
    return name if len(name) <= most else f"{name[: most - 1]}\u2026"


@contextmanager
def _style() -> Iterator[None]:
    """Draw in our own style whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # The browser draws the text; only its width is measured, with a font that may lack glyphs.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        yield


def to_svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG element for the page, the same bytes each time."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _inline(ElementTree.fromstring(file.getvalue()), name)


def _inline(root: ElementTree.Element, name: str) -> str:
    """Strip what only a file of its own needs and tie the colors to the page's."""
    drawing = ElementTree.Element("svg", {"viewBox": root.attrib["viewBox"]})
    drawing.extend(child for child in root if child.tag != f"{SVG}metadata")
    # The file's style rules would hold for the whole page, which has its own copy of them.
    for definitions in drawing.iter(f"{SVG}defs"):
        definitions[:] = [child for child in definitions if child.tag != f"{SVG}style"]
    needed = {target for element in drawing.iter() for target in _targets(element)}
    for element in drawing.iter():
        element.tag = element.tag.removeprefix(SVG)
        element.attrib = {
            key.removeprefix(XLINK): _adapted(key, value, name)
            for key, value in element.attrib.items()
            if key != "id" or value in needed
        }
    return ElementTree.tostring(drawing, "unicode")


def _targets(element: ElementTree.Element) -> list[str]:
    return [
        target
        for value in element.attrib.values()
        for target in re.findall(r"(?:^|url\()#([a-zA-Z][\w-]*)", value)
    ]


def _adapted(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    value = re.sub(r"(^|url\()#(?=[a-zA-Z])", rf"\1#{name}-", value)
    return re.sub(r"#0000a\d", lambda color: f"var({VARIABLES[color[0]]})", value)
