"""The figures of the page: matplotlib drawings as inline SVG that follow the page's colors.

Drawn with ``Figure`` and never with pyplot, so that nothing global is touched and the same report
gives the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.stats import binomtest

from spark_pseudolabel.report import words
from spark_pseudolabel.report.document import Histogram, Metrics, Report, Round
from spark_pseudolabel.report.tally import class_names, first_scored, last_accepting

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"

MOST_CLASSES = 12
WIDTH_PX = 880
PANELS_ACROSS = 4

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
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "font.size": 12,
    "font.family": "DejaVu Sans",
    "legend.frameon": False,
    "legend.labelcolor": INK,
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


def draw(report: Report) -> dict[str, str]:
    """Draw every figure the report has data for.

    Returns
    -------
    dict
        SVG by name: ``rows``, ``metrics``, ``accepted``, ``confidence``; absent without data.
    """
    figures: dict[str, Callable[[Report], Figure | None]] = {
        "rows": draw_rows,
        "metrics": draw_metrics,
        "accepted": draw_accepted,
        "confidence": draw_confidence,
    }
    with _style():
        drawn = {name: drawing(report) for name, drawing in figures.items()}
        return {name: to_svg(figure, name) for name, figure in drawn.items() if figure}


# --- what became of the pool --------------------------------------------------------------


def draw_rows(report: Report) -> Figure | None:
    """Draw one bar over the whole pool: accepted, rejected, invalid."""
    rows = report.rows
    if rows.pool == 0:
        return None
    figure, ax = _figure(96)
    parts = [("accepted", rows.accepted, ACCENT), ("rejected", rows.rejected, SOFT)]
    parts += [("invalid", rows.invalid, BAD)] if rows.invalid else []
    left = 0
    for name, n, color in parts:
        label = f"{name} {words.count(n)} ({words.percent(n / rows.pool)})"
        ax.barh(
            [0], [n], left=left, color=color, edgecolor=PAGE, linewidth=1.5, label=label
        )
        left += n
    ax.set_xlim(0, rows.pool)
    ax.set_axis_off()
    ax.legend(
        loc="upper left", bbox_to_anchor=(0, 0), ncols=3, borderaxespad=0.2, **_SWATCH
    )
    return figure


_SWATCH = {"handlelength": 0.9, "handleheight": 0.9, "borderpad": 0, "columnspacing": 3}


# --- metric per round ---------------------------------------------------------------------


def draw_metrics(report: Report) -> Figure | None:
    """Draw accuracy and log-loss on the validation rows, per round, beside the seed's."""
    measured = [r for r in report.rounds if r.validation]
    if not measured or not report.seed.validation:
        return None
    figure = _blank(270)
    left, right = figure.subplots(1, 2)
    _draw_metric(left, report, measured, "accuracy", "Accuracy (higher is better)")
    _draw_band(left, measured)
    if report.seed.validation.log_loss is None:
        right.set_axis_off()
    else:
        _draw_metric(right, report, measured, "log_loss", "Log-loss (lower is better)")
    return figure


def _draw_metric(
    ax: Axes, report: Report, measured: list[Round], name: str, title: str
) -> None:
    values = [getattr(r.validation, name) for r in measured]
    numbers = [r.round for r in measured]
    ax.plot(numbers, [np.nan if v is None else v for v in values], color=ACCENT)
    for r, value in zip(measured, values, strict=True):
        if value is not None:
            _draw_point(ax, r, value, best=r.round == report.best_round)
    _draw_seed(ax, getattr(report.seed.validation, name))
    ax.set_title(title, pad=12)
    _round_axis(ax, numbers[-1])
    ax.margins(y=0.18)


def _draw_point(ax: Axes, r: Round, value: float, *, best: bool) -> None:
    fill = ACCENT if r.used else PAGE
    ax.plot([r.round], [value], "o", markersize=6, color=ACCENT, markerfacecolor=fill)
    if best:
        _note(ax, "best", r.round, value)


def _draw_seed(ax: Axes, value: float | None) -> None:
    if value is None:
        return
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


def _draw_band(ax: Axes, measured: list[Round]) -> None:
    bands = [_interval(r.validation) for r in measured if r.validation]
    low, high = zip(*bands, strict=True)
    ax.fill_between(
        [r.round for r in measured], low, high, color=ACCENT, alpha=0.14, linewidth=0
    )


def _interval(metrics: Metrics) -> tuple[float, float]:
    """Return the exact 95 % interval of an accuracy."""
    if metrics.n == 0:
        return 0.0, 1.0
    right = round(metrics.accuracy * metrics.n)
    interval = binomtest(right, metrics.n).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


# --- accepted per class per round ---------------------------------------------------------


def draw_accepted(report: Report) -> Figure | None:
    """Draw, per class, the rows accepted in each round; discarded rounds in the soft color."""
    if not any(r.accepted for r in report.rounds):
        return None
    names = largest(report, lambda r, name: r.accepted_by_class.get(name, 0))
    figure, panels = _panels(names, 118)
    for ax, name in panels:
        _draw_steps(ax, report.rounds, name)
        ax.set_title(_short(name))
        _round_axis(ax, len(report.rounds))
        ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.yaxis.set_major_formatter(
            FuncFormatter(lambda n, _: words.short_count(int(n)))
        )
    return figure


def _draw_steps(ax: Axes, rounds: Sequence[Round], name: str) -> None:
    for used, color in ((True, ACCENT), (False, SOFT)):
        heights = [
            r.accepted_by_class.get(name, 0) if r.used is used else 0 for r in rounds
        ]
        # One path for all rounds keeps a page of hundreds of rounds small.
        edges = np.repeat([r.round for r in rounds], 2) + np.tile(
            [-0.36, 0.36], len(rounds)
        )
        values = np.insert(heights, range(1, len(heights)), 0)
        ax.stairs(values, edges, fill=True, color=color, linewidth=0)


# --- confidence per class -----------------------------------------------------------------


def draw_confidence(report: Report) -> Figure | None:
    """Draw, per class, the candidates by confidence: round 1 and the last used round, its cut."""
    first, last = first_scored(report), last_accepting(report)
    if first is None or first.histogram is None:
        return None
    names = largest(report, lambda r, name: sum(_counts(r, name)) if r is first else 0)
    figure, panels = _panels(names, 128)
    low = _lowest(first.histogram)
    for ax, name in panels:
        _draw_histogram(ax, first, name, fill=True)
        if last is not None and last is not first:
            _draw_histogram(ax, last, name, fill=False)
        _draw_cut(ax, last or first, name)
        ax.set_title(_short(name))
        ax.set_yscale("log")
        ax.set_xlim(low, 1.0)
        ax.set_ylim(bottom=0.7)
        ax.yaxis.set_major_formatter(
            FuncFormatter(lambda n, _: words.short_count(int(n)))
        )
    return figure


def _draw_histogram(ax: Axes, r: Round, name: str, *, fill: bool) -> None:
    counts = _counts(r, name)
    if not any(counts):
        return
    edges = np.linspace(0, 1, len(counts) + 1)
    if fill:
        ax.stairs(counts, edges, fill=True, color=SOFT, linewidth=0, baseline=0.5)
    else:
        ax.stairs(counts, edges, color=ACCENT, linewidth=1.4, baseline=0.5)


def _draw_cut(ax: Axes, r: Round, name: str) -> None:
    cut = r.threshold_by_class.get(name)
    if cut is not None:
        ax.axvline(cut, color=BAD, linewidth=1.4)


def _counts(r: Round, name: str) -> list[int]:
    return r.histogram.counts.get(name, []) if r.histogram else []


def _lowest(histogram: Histogram) -> float:
    """Return the lower edge of the lowest bin in use, to the tenth."""
    filled = [
        i for counts in histogram.counts.values() for i, n in enumerate(counts) if n
    ]
    return np.floor(10 * min(filled, default=0) / histogram.bins) / 10


# --- the common parts ---------------------------------------------------------------------


def largest(report: Report, size: Callable[[Round, str], int]) -> list[str]:
    """Return the classes to draw: all in the model's order, or the largest MOST_CLASSES."""
    names = class_names(report)
    if len(names) <= MOST_CLASSES:
        return names
    total = {name: sum(size(r, name) for r in report.rounds) for name in names}
    chosen = set(sorted(names, key=lambda name: (-total[name], name))[:MOST_CLASSES])
    return [name for name in names if name in chosen]


def _blank(height_px: int) -> Figure:
    # One SVG unit per CSS pixel: matplotlib counts 72 to the inch.
    return Figure(figsize=(WIDTH_PX / 72, height_px / 72), dpi=72, layout="constrained")


def _figure(height_px: int) -> tuple[Figure, Axes]:
    figure = _blank(height_px)
    return figure, figure.subplots()


def _panels(names: list[str], height_px: int) -> tuple[Figure, list[tuple[Axes, str]]]:
    across = min(PANELS_ACROSS, max(2, len(names)))
    down = -(-len(names) // across)
    figure = _blank(height_px * down + 24)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for ax in grid.flat[len(names) :]:
        ax.set_axis_off()
    return figure, list(zip(grid.flat, names, strict=False))


def _round_axis(ax: Axes, last: int) -> None:
    ax.set_xlim(0.5, last + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(min(last, 10), integer=True))


def _note(ax: Axes, text: str, x: float, y: float) -> None:
    ax.annotate(text, (x, y), xytext=(0, 9), textcoords="offset points", ha="center")


def _short(name: str, most: int = 24) -> str:
    name = words.clean(name)
    return name if len(name) <= most else f"{name[: most - 1]}\u2026"


@contextmanager
def _style() -> Iterator[None]:
    """Draw in our own style whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # The browser draws the text; only its width is measured, with a font that may lack glyphs.
        warnings.filterwarnings(
            "ignore", message=r"Glyph .* missing from", category=UserWarning
        )
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
