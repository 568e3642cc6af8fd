"""What pydantic found, in plain words: what must hold, what was found, what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import ErrorDetails, ValidationError

from spark_pseudolabel.config.loading import KEYS_OF_AUTO, ConfigSource, KeyPath, policy_of
from spark_pseudolabel.core.teachers.kinds import KINDS, kind_of
from spark_pseudolabel.errors import Problem

JsonSchema = dict[str, Any]


def section_problems(
    source: ConfigSource, name: str, error: ValidationError, node: JsonSchema, schema: JsonSchema
) -> list[Problem]:
    """Return one problem per wrong key of a section.

    Parameters
    ----------
    node
        JSON Schema of the section.
    schema
        JSON Schema of the whole configuration, for its definitions and other sections' keys.
    """
    by_path: dict[tuple[KeyPath, str], Problem] = {}
    for detail in error.errors(include_url=False):
        path, at = _follow(detail["loc"], node, schema)
        problem = _problem(source, (name, *path), detail, at, schema)
        # A union reports each of its members; they share one description.
        by_path.setdefault(((name, *path), problem.message), problem)
    return list(by_path.values())


def unknown_key(
    source: ConfigSource, path: KeyPath, node: JsonSchema, schema: JsonSchema
) -> Problem:
    """Say that a key is not known, with the nearest one, here or in another section."""
    known = sorted(_object(node, schema).get("properties", {}))
    if meant := nearest(path[-1], [*known, *_keys_that_choose(source, path)]):
        return source.problem(path, f"unknown key, did you mean {meant!r}?")
    namesakes = [dotted for dotted in _all_keys(schema) if dotted.split(".")[-1] == path[-1]]
    if ".".join(path) in namesakes:  # of another kind of the same section
        wanted = _kind_in_words(path[0], source.data[path[0]])
        return source.problem(path, f"is no key of {wanted}, which has {', '.join(known)}.")
    if namesakes:
        return source.problem(path, f"unknown key, did you mean {namesakes[0]!r}?")
    return source.problem(path, f"unknown key. Known here: {', '.join(known)}.")


def _keys_that_choose(source: ConfigSource, path: KeyPath) -> list[str]:
    """Return the keys that would make a section one of another kind, where nothing says which."""
    section = source.data.get(path[0])
    if len(path) != 2 or not isinstance(section, Mapping):
        return []
    if path[0] == "selection" and "policy" not in section:
        return sorted(KEYS_OF_AUTO)
    keys = sorted({kind.key for kind in KINDS})
    return keys if path[0] == "teacher" and not any(key in section for key in keys) else []


def _kind_in_words(name: str, section: Mapping[str, Any]) -> str:
    if name == "selection":
        return f"policy {policy_of(section)!r}"
    kind = kind_of(section)
    return f"{name} {kind.spelled()!r}" if kind is not None else name


def nearest(word: str, options: Iterable[str]) -> str | None:
    """Return the option that was probably meant: one with the same letters, else a close one."""
    options = list(options)
    for option in options:
        if sorted(option) == sorted(word):
            return option
    return next(iter(difflib.get_close_matches(word, options, n=1)), None)


def choice(options: Iterable[str], value: Any) -> str:
    """Say which words there are, and which one was probably meant."""
    options = list(options)
    meant = nearest(value, options) if isinstance(value, str) else None
    end = f", did you mean {meant!r}?" if meant else "."
    return f"must be {_one_of(options)}. Got {spell(value)}{end}"


def spell(value: Any) -> str:
    """Spell a value as YAML writes it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def describe(node: JsonSchema, schema: JsonSchema) -> str:
    """Say in words what a JSON Schema accepts, such as ``a whole number of at least 1``."""
    node = _deref(node, schema)
    members = node.get("anyOf") or node.get("oneOf")
    if members:
        return " or ".join(dict.fromkeys(describe(member, schema) for member in members))
    if "const" in node or "enum" in node:
        return _one_of(node["enum"] if "enum" in node else [node["const"]])
    match node.get("type"):
        case "number":
            return f"a number{_range(node)}"
        case "integer":
            return f"a whole number{_range(node)}"
        case "array":
            least = "a list of at least one" if node.get("minItems") else "a list of"
            return f"{least} {describe(node.get('items', {}), schema)}"
        case "string":
            return "text"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "object":
            keys = ", ".join(node.get("properties", {}))
            return f"a mapping with keys such as {keys}" if keys else "a mapping"
    return "another value"


def _problem(
    source: ConfigSource, path: KeyPath, detail: ErrorDetails, node: JsonSchema, schema: JsonSchema
) -> Problem:
    match detail["type"]:
        case "extra_forbidden":
            return unknown_key(source, path, node, schema)
        case "missing":
            return source.problem(path, f"required key is missing: {describe(node, schema)}.")
        case "said":
            return source.problem(path, detail["msg"])
        case "union_tag_invalid" | "union_tag_not_found":
            key = detail["ctx"]["discriminator"].strip("'")
            tags = [str(tag) for tag in _by_tag(node, schema)]
            return source.problem((*path, key), choice(tags, source.value((*path, key))))
    return source.problem(path, _must_be(source.value(path), node, schema))


def _must_be(value: Any, node: JsonSchema, schema: JsonSchema) -> str:
    node = _deref(node, schema)
    if "enum" in node:
        return choice(node["enum"], value)
    wanted = describe(node, schema)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        wanted = wanted.removeprefix("a number ") if " in " in wanted else wanted
    if node.get("type") == "string" and value == "":
        return "must be text that is not empty."
    hint = " Put it in quotes." if node.get("type") == "string" and _is_scalar(value) else ""
    return f"must be {wanted}. Got {spell(value)}.{hint}"


def _follow(
    loc: tuple[int | str, ...], node: JsonSchema, schema: JsonSchema
) -> tuple[KeyPath, JsonSchema]:
    """Walk from a section to the key of an error; the tags of unions are no keys."""
    path: list[str] = []
    for step in loc:
        inner = _object(node, schema)
        if step in (tagged := _by_tag(node, schema)):
            node = tagged[step]
            continue
        if "oneOf" in node and "discriminator" not in node:  # this step says which member
            node = node if step == loc[-1] else inner
            continue
        if step in inner.get("properties", {}):
            node = inner["properties"][step]
        elif isinstance(inner.get("additionalProperties"), dict):
            node = inner["additionalProperties"]
        elif isinstance(step, int) and "items" in inner:
            node = inner["items"]
        elif step == loc[-1] and inner.get("additionalProperties") is False:
            path.append(str(step))  # an unknown key: its section tells which ones there are
            break
        else:
            continue
        path.append(str(step))
    return tuple(path), node


def _by_tag(node: JsonSchema, schema: JsonSchema) -> dict[int | str, JsonSchema]:
    """Return the members of a union in a section that a key of theirs tells apart, by its value."""
    for member in node.get("anyOf", []):
        if "discriminator" in member:
            mapping = member["discriminator"]["mapping"]
            return {tag: _deref({"$ref": ref}, schema) for tag, ref in mapping.items()}
    return {}


def _object(node: JsonSchema, schema: JsonSchema) -> JsonSchema:
    """Return the member of a union that has keys or items; the node itself elsewhere."""
    node = _deref(node, schema)
    members = node.get("anyOf", [])
    if "discriminator" not in node:  # of selection, whose policy chooses among its members
        members = members or node.get("oneOf", [])
    members = [_deref(member, schema) for member in members]
    return next((m for m in members if m.get("type") in ("object", "array")), node)


def _deref(node: JsonSchema, schema: JsonSchema) -> JsonSchema:
    if "$ref" not in node:
        return node
    return dict(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])


def _all_keys(schema: JsonSchema) -> Iterator[str]:
    for section, node in schema["properties"].items():
        yield section
        node = _deref(node, schema)
        for member in [node, *node.get("anyOf", []), *node.get("oneOf", [])]:
            yield from (f"{section}.{key}" for key in _deref(member, schema).get("properties", {}))


def _range(node: JsonSchema) -> str:
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    if low is None:
        return ""
    if high is None:
        return f" {'of at least' if 'minimum' in node else 'above'} {_short(low)}"
    left, right = "[" if "minimum" in node else "(", "]" if "maximum" in node else ")"
    return f" in {left}{_short(low)}, {_short(high)}{right}"


def _short(bound: float) -> str:
    # Some versions of pydantic give the bounds of a number as floats, some as they were written.
    return str(int(bound)) if bound == int(bound) else str(bound)


def _one_of(options: Iterable[Any]) -> str:
    spelled = [spell(option) for option in options]
    return spelled[0] if len(spelled) == 1 else f"one of {', '.join(spelled)}"


def _is_scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, (dict, list))
