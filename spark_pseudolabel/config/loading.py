"""A configuration as it was written: its values, and the line where each of them stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from spark_pseudolabel.errors import ConfigError, Problem

KeyPath = tuple[str, ...]

FREE_KEYS = frozenset({"options", "params", "conf"})
"""Mappings whose keys are not ours and may hold dots, such as ``spark.conf``."""

KEYS_OF_AUTO = frozenset({"precision", "certainty", "min_coverage"})
"""Keys of ``selection`` that name its policy where it names none itself."""

_KEYS_OF_ALL = frozenset({"stable_under", "require"})
"""Keys that every policy has, so that alone they leave it as it is without a section: auto."""

_EXCLUSIVE = (
    frozenset({"path", "table", "query", "from", "fraction"}),
    frozenset({"include", "exclude"}),
)


@dataclass(frozen=True)
class ConfigSource:
    """Values with their places.

    Parameters
    ----------
    data
        The mapping of sections.
    file
        None when it was built in Python.
    lines
        1-based line by path of keys.
    overridden
        Paths that came from the command line, so that the file has no line for them.
    """

    data: dict[str, Any]
    file: str | None = None
    lines: Mapping[KeyPath, int] = ()  # type: ignore[assignment]
    overridden: frozenset[KeyPath] = frozenset()

    @staticmethod
    def of(data: Mapping[str, Any]) -> ConfigSource:
        """Take values built in Python: paths become text, numpy scalars plain numbers."""
        return ConfigSource(data={str(key): _plain(value) for key, value in data.items()}, lines={})

    def problem(self, key: str | KeyPath, message: str) -> Problem:
        """Say what is wrong at a key, at its own line or at the nearest one above it."""
        path = _key_path(key) if isinstance(key, str) else key
        dotted = ".".join(path)
        if self.file is None or self._is_overridden(path):
            return Problem(dotted, message)
        return Problem(dotted, message, self.file, self._line(path))

    def value(self, path: KeyPath) -> Any:
        """Return what stands at a path; None where nothing does."""
        node: Any = self.data
        for key in path:
            node = _step(node, key)
        return node

    def _is_overridden(self, path: KeyPath) -> bool:
        return any(path[: len(prefix)] == prefix for prefix in self.overridden)

    def _line(self, path: KeyPath) -> int:
        starts = (path[:length] for length in range(len(path), 0, -1))
        return next((self.lines[start] for start in starts if start in self.lines), 1)


def read_yaml(path: str | Path) -> tuple[ConfigSource, list[Problem]]:
    """Read a file; keys that occur twice are problems, anything unreadable is an error.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not YAML, is empty or is not a mapping.
    """
    file = str(path)
    node, data = _load(_read_text(file), file)
    if data is None:
        message = 'is empty. "spark-pseudolabel init" writes an example.'
        raise ConfigError([Problem("", message, file, 1)])
    if not isinstance(data, dict):
        content = "a list" if isinstance(data, list) else repr(data)
        message = (
            f"must be a mapping of sections such as labeled, unlabeled, output. Got {content}."
        )
        raise ConfigError([Problem("", message, file, node.start_mark.line + 1)])
    lines: dict[KeyPath, int] = {}
    problems = list(_walk(node, (), lines, file))
    return ConfigSource({str(key): value for key, value in data.items()}, file, lines), problems


def read_overrides(
    source: ConfigSource, overrides: Sequence[str]
) -> tuple[ConfigSource, list[Problem]]:
    """Put ``a.b=value`` pairs over the values of a file.

    Another policy, or another kind of table, starts its section afresh: what the file said for
    the old one would not fit the new one.
    """
    pairs: list[tuple[KeyPath, Any]] = []
    problems: list[Problem] = []
    for override in overrides:
        key, equals, value = override.partition("=")
        try:
            if not equals or not all(key.split(".")):
                raise ValueError
            path, loader = _key_path(key.strip()), _Loader(value)
            pairs.append((path, _construct(loader, loader.get_single_node(), path)))
        except (ValueError, yaml.YAMLError):
            message = f"--set must be key=value with a YAML value. Got {override!r}."
            problems.append(Problem(key, message))
    data = _copy(source.data)
    for path, value in pairs:
        _make_room(data, path, value)
    for path, value in pairs:
        _put(data, path, value)
    overridden = frozenset(path for path, _ in pairs)
    return replace(source, data=data, overridden=overridden), problems


_MAX_NODES = 100_000


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-3 as a number, as YAML 1.2 does (PyYAML: text).

    Keys are text as it is written, so that labels may be keys: PyYAML makes False of ``no``, 1 of
    ``01`` and a date of ``2024-01-01``. Parameters of estimators are Python's, keyed by integers
    where labels are integers; there only ``no`` and its like are no booleans, as in YAML 1.2.
    """


def _construct(loader: _Loader, node: yaml.Node | None, path: KeyPath) -> Any:
    """Return the value at a path of the configuration."""
    if node is None:
        return None
    _keep_keys(node, path)
    return loader.construct_document(node)


def _keep_keys(node: yaml.Node, path: KeyPath) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _keep_keys(item, path)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and _is_text(key, of_python="params" in path):
            key.tag = _TEXT
        _keep_keys(value, (*path, str(key.value)))


def _is_text(key: yaml.ScalarNode, *, of_python: bool) -> bool:
    if key.tag == "tag:yaml.org,2002:merge":
        return False
    boolean = key.tag == "tag:yaml.org,2002:bool"
    return not of_python or (boolean and key.value.lower() not in ("true", "false"))


_TEXT = "tag:yaml.org,2002:str"


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+"),
    list("-+.0123456789"),
)


def _read_text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError([Problem("", "must be a YAML file in UTF-8.", file, 1)]) from None
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"Configuration {file!r} cannot be read: {reason}."
        raise ConfigError([Problem("", message)], code="unreadable_config") from None


def _load(text: str, file: str) -> tuple[Any, Any]:
    """Return the node, for its lines, and the values made from it."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            _require_small(node, file)
            return node, _construct(loader, node, ())
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError([_not_yaml(file, error)], code="bad_yaml") from None
    except RecursionError:
        problem = Problem("", "is nested too deeply.", file, 1)
        raise ConfigError([problem], code="bad_yaml") from None
    except ValueError as error:  # a value that is none, such as the date 2024-13-01
        problem = Problem("", f"is not YAML: {error}.", file, 1)
        raise ConfigError([problem], code="bad_yaml") from None


def _require_small(node: yaml.Node | None, file: str) -> None:
    """Refuse what aliases blow up: a few lines may stand for billions of values, or for no end."""
    waiting, n_nodes = [node], 0
    while waiting:
        current = waiting.pop()
        n_nodes += 1
        if n_nodes > _MAX_NODES:
            message = f"must hold at most {_MAX_NODES:,} values, aliases counted where they stand."
            raise ConfigError([Problem("", message, file, 1)], code="bad_yaml")
        if isinstance(current, yaml.MappingNode):
            waiting += [node for pair in current.value for node in pair]
        elif isinstance(current, yaml.SequenceNode):
            waiting += current.value


def _not_yaml(file: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Problem("", f"is not YAML: {reason}.", file, mark.line + 1 if mark else 1)


def _walk(
    node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: str
) -> Iterator[Problem]:
    """Note the line of every key, and report keys that occur twice in one mapping."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, str(index))] = item.start_mark.line + 1
            yield from _walk(item, (*path, str(index)), lines, file)
    if not isinstance(node, yaml.MappingNode):
        return
    line_of: dict[str, int] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in line_of:
            message = f"occurs twice, first on line {line_of[key]}. Leave one of them out."
            yield Problem(".".join((*path, key)), message, file, line)
        line_of.setdefault(key, line)
        lines[(*path, key)] = line
        yield from _walk(value_node, (*path, key), lines, file)


def policy_of(selection: Mapping[str, Any]) -> Any:
    """Return the policy that a section names, or, where it names none, the one it has keys of."""
    only_of_all = bool(selection) and selection.keys() <= _KEYS_OF_ALL
    by_keys = "auto" if only_of_all or KEYS_OF_AUTO & selection.keys() else "threshold"
    return selection.get("policy", by_keys)


def _key_path(key: str) -> KeyPath:
    parts = key.split(".")
    for depth, part in enumerate(parts[:-1]):
        if depth and part in FREE_KEYS:
            return (*parts[: depth + 1], ".".join(parts[depth + 1 :]))
    return tuple(parts)


def _make_room(data: dict[str, Any], path: KeyPath, value: Any) -> None:
    section = data.get(path[0])
    if len(path) != 2 or not isinstance(section, dict) or value is None:
        return
    if path == ("selection", "policy") and policy_of(section) != value:
        data["selection"] = {}
    for rivals in (group for group in _EXCLUSIVE if path[1] in group):
        for rival in rivals - {path[1]}:
            section.pop(rival, None)


def _put(data: dict[str, Any], path: KeyPath, value: Any) -> None:
    for key in path[:-1]:
        on_or_off = key == "incremental" and isinstance(data.get(key), bool)
        if data.get(key) is None or on_or_off:
            data[key] = {}
        data = data[key]
        if not isinstance(data, dict):
            return  # reported as a problem of the section, which must be a mapping
    data[path[-1]] = value


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, dict) else value


def _step(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, Sequence) and not isinstance(value, str) and key.isdigit():
        return value[int(key)] if int(key) < len(value) else None
    return None


def _plain_key(key: Any) -> str | int:
    """Return a key of a mapping; parameters of an estimator may be keyed by labels."""
    key = _plain(key)
    return key if isinstance(key, int) else str(key)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # numpy scalars, without importing numpy
    return value.item() if hasattr(value, "item") and hasattr(value, "dtype") else value
