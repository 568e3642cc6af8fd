"""Charts of the figures that were kept as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

_OURS = {"direct scan", "DataFrame (mapInArrow)", "ours"}
_COLORS = {True: "#1f77b4", False: "#b0b7bf"}


def draw_all(directory: Path) -> list[Path]:
    """Draw every ``score-*.json`` and ``runs-*.json`` of a directory, as SVG beside it."""
    drawn = []
    for path in sorted(directory.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        bars = _bars(document)
        if bars:
            drawn.append(path.with_suffix(".svg"))
            _draw(bars[0], bars[1], _title(document), drawn[-1])
    return drawn


def _bars(document: dict[str, Any]) -> tuple[dict[str, float], str] | None:
    if document["benchmark"] == "score":
        return document["rates"], "million rows per second (more is better)"
    if document["benchmark"] == "runs":
        seconds = {name: run["seconds"] for name, run in document["runs"].items()}
        return seconds, "seconds for five rounds (less is better)"
    return None


def _title(document: dict[str, Any]) -> str:
    return f"{document['model'].upper()}, {document['layout']}, {document['rows']:,} rows"


def _draw(bars: dict[str, float], unit: str, title: str, path: Path) -> None:
    figure = Figure(figsize=(7, 0.6 + 0.35 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    names = list(reversed(bars))
    drawn = axes.barh(
        names, [bars[name] for name in names], color=[_COLORS[name in _OURS] for name in names]
    )
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    # No date and no random ids: the same figures give the same file.
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})
