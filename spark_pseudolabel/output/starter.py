"""The configuration that ``init --from`` writes: what was found in a table, filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePath

from spark_pseudolabel.config.example import EXAMPLE
from spark_pseudolabel.output.first_look import Look
from spark_pseudolabel.program import NAME as PROGRAM
from spark_pseudolabel.wording import counted as rows

_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*")
_NOT_TEXT = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
_TO_FILL_IN = "FILL IN: the rows without labels"
_MOST_CLASSES = 5


def starter(look: Look, called: str) -> str:
    """Write a configuration for a table; it runs as it is unless the look's notes say otherwise.

    Parameters
    ----------
    look
        At the table.
    called
        The name of the file that it is written to.
    """
    counted = "" if look.whole else f" among the first {look.rows:,} rows"
    lines = [
        f"# {PROGRAM}: written by `init --from`.",
        f"#   {PROGRAM} plan {called}    looks at the tables, writes nothing",
        f"#   {PROGRAM} run {called}     runs, or continues where it was stopped",
        "# Paths are relative to the directory the command is started in. Every key can be",
        "# overridden: --set selection.precision=0.9",
        *(f"# Mind: {' '.join(note.split())}" for note in look.notes),
        "",
        f"labeled:                       # {rows(look.labeled, 'row')} with a label{counted}",
        f"  path: {_text(look.path)}",
        f"  format: {look.format}",
        *_options(look),
        f"  label: {_text(look.label)}{_comment(_classes(look))}",
        "  # drawn: random              # or per_class: how the rows were chosen to be labeled",
        "",
        *_unlabeled(look, counted),
        "",
        *_id(look),
        "",
        *_features(look),
        "",
        _optional(),
        "output:",
        f"  path: {_text(f'out/{_stem(look.path)}')}",
        "  features: false              # true: the feature columns stand beside the labels",
        "",
        "random_state: 0",
        "",
        '# spark: {master: "local[*]", conf: {spark.driver.memory: 4g}}',
    ]
    return "\n".join(lines) + "\n"


def _options(look: Look) -> list[str]:
    if not look.options:
        return []
    pairs = ", ".join(f"{key}: {json.dumps(value)}" for key, value in look.options.items())
    return [f"  options: {{{pairs}}}"]


def _classes(look: Look) -> str:
    named = [f"{name} {n:,}" for name, n in [*look.classes.items()][:_MOST_CLASSES]]
    more = len(look.classes) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more > 0 else "")


def _unlabeled(look: Look, counted: str) -> list[str]:
    if look.unlabeled:
        return [
            "unlabeled:                     # the pool:",
            f"  from: labeled                # {rows(look.unlabeled, 'row')} without one{counted}",
        ]
    return [
        'unlabeled:                     # the pool; or {table: db.pool}, or {query: "select ..."}',
        f"  path: {_text(_TO_FILL_IN)}",
    ]


def _id(look: Look) -> list[str]:
    if look.id is not None:
        return [f"id: {_text(look.id)}{_comment(f'unique in {look.rows_with_id:,} rows')}"]
    if look.format == "parquet":
        return ["# id: ...                      # none was found: a row is its file and position"]
    return ["# id: ...                      # none was found, and one is needed: fill in"]


def _features(look: Look) -> list[str]:
    """Write section features where there is anything to say."""
    if not look.texts and not look.unreadable:
        return [
            "# features: {exclude: [name]}  # or include; default: all columns but id and label"
        ]
    lines = ["features:                      # all columns but id and label"]
    if look.texts:
        lines.append(f"  text: {_list(look.texts)}{_comment('sentences, read as words')}")
    if look.unreadable:
        why = "numbers with separators or units: write them plainly to use them"
        lines.append(f"  exclude: {_list(look.unreadable)}{_comment(why)}")
    return lines


def _optional() -> str:
    """Return what the example says in comments of all other sections."""
    return EXAMPLE[EXAMPLE.index("# selection:") : EXAMPLE.index("output:\n")]


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, names))}]"


def _comment(text: str) -> str:
    # What a table holds may break lines, or turn them around.
    plain = "".join(c if c.isprintable() else " " for c in text)
    return f"  # {plain}"


def _text(value: str) -> str:
    """Spell a text as YAML, which takes JSON's strings for its own.

    Examples
    --------
    >>> _text("data/pool"), _text("y"), _text("a: b")
    ('data/pool', '"y"', '"a: b"')
    """
    plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT
    return value if plain else json.dumps(value, ensure_ascii=False)


def _stem(path: str) -> str:
    name = PurePath(path.rstrip("/")).name or "labels"
    return re.sub(r"\W+", "_", name.split(".")[0]) or "labels"
