"""The settings of a run: all of them, and those that differ from what nobody has to say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spark_pseudolabel.config import parse_config, public
from spark_pseudolabel.errors import ConfigError
from spark_pseudolabel.report.document import label_key

Pairs = Sequence[tuple[str, str]]
"""Dotted keys and their values in words."""


@dataclass(frozen=True)
class Settings:
    """A configuration in words.

    Parameters
    ----------
    chosen
        Keys that have another value than a configuration has that says no more than it must:
        which tables, which column, where to.
    others
        All others, where something follows from them.
    """

    chosen: Pairs
    others: Pairs


def settings(config: Mapping[str, Any]) -> Settings:
    """Split a resolved configuration into what was chosen, and what holds by default.

    Examples
    --------
    >>> found = settings({"random_state": 7, "id": None, "output": {"path": "out"}})
    >>> found.chosen, found.others
    ([('random_state', '7'), ('output.path', 'out')], [('id', 'none')])
    """
    shown, usual = dict(flat(_in_force(config))), dict(flat(_usual(config)))
    chosen = [(key, value) for key, value in shown.items() if usual.get(key, "none") != value]
    of_these = {key for key, _ in chosen}
    return Settings(chosen, [pair for pair in shown.items() if pair[0] not in of_these])


def flat(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings as dotted keys."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from flat(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        yield key, ", ".join(map(_plain, value)) or "none"
    else:
        yield key, _plain(value)


def _usual(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration that says as little as it may, with what follows from the rest.

    How rows are selected and who teaches decides what other sections hold: whether there are
    validation rows, how many rounds. These two are compared by themselves.
    """
    decisive = ("mode", "selection", "teacher")
    chosen = {key: _said(config[key]) for key in decisive if config.get(key)}
    implied, default = _in_force(_parsed(config, chosen)), _parsed(config, {})
    of_kind = {
        name: _of_kind(config.get(name), default.get(name)) for name in ("selection", "teacher")
    }
    return {**implied, **of_kind, "mode": default.get("mode")}


def _said(section: object) -> object:
    """Return a section without keys of null: some name a kind wherever they stand."""
    if not isinstance(section, Mapping):
        return section
    return {key: value for key, value in section.items() if value is not None}


def _parsed(config: Mapping[str, Any], chosen: Mapping[str, Any]) -> Mapping[str, Any]:
    table = {"path": "a table"}
    labeled = None if config.get("labeled", table) is None else {**table, "label": "a column"}
    least = {"labeled": labeled, "unlabeled": table, "output": {"path": "an output"}}
    try:
        return public(parse_config({**least, **chosen}, check_estimators=False))
    except ConfigError:  # written by another version: then everything is shown
        return {}


def _of_kind(section: object, default: object) -> object:
    """Return what a section has by default, if it is one of the kind that is used by default."""
    if isinstance(section, Mapping) and isinstance(default, Mapping):
        same = section.get("policy") == default.get("policy") and set(section) <= set(default)
        return default if same else {}
    return default


def _in_force(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration without keys that nothing follows from in this run."""
    shown, teacher = dict(config), config.get("teacher")
    if isinstance(teacher, Mapping) and not teacher.get("student", True):
        shown["model"] = "none: no model learns from the teacher, which is the final model"
    for name, section in shown.items():
        if isinstance(section, Mapping) and "path" in section and section["path"] is None:
            unused = ("path", "format", "options")
            shown[name] = {key: value for key, value in section.items() if key not in unused}
    return shown


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return label_key(value)
    if isinstance(value, Mapping):
        # In order: whether it has been through a file must not show.
        return json.dumps(value, sort_keys=True) if value else "none"
    return str(value)
