"""From a file or a mapping to a configuration: every section checked, every problem reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import ValidationError

from spark_pseudolabel.config.checks import (
    CHECKS,
    Check,
    Parts,
    no_code,
    no_dataframes,
    prior_is_of_the_rows,
)
from spark_pseudolabel.config.defaults import chosen_selection, recommended, resolved
from spark_pseudolabel.config.documents import config_schema
from spark_pseudolabel.config.estimators import unfit_estimators, unfit_members
from spark_pseudolabel.config.loading import ConfigSource, policy_of, read_overrides, read_yaml
from spark_pseudolabel.config.numbers import numbers_fit, with_regressors
from spark_pseudolabel.config.problems import JsonSchema, choice, section_problems, unknown_key
from spark_pseudolabel.config.sections import Config, with_reviews
from spark_pseudolabel.core.selection.policies import POLICIES
from spark_pseudolabel.core.teachers.kinds import KINDS, kind_of
from spark_pseudolabel.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


def load_config(
    path: str | Path,
    overrides: Sequence[str] = (),
    allow_import: Sequence[str] = (),
    *,
    check_estimators: bool = True,
) -> Config:
    """Read a YAML file.

    Parameters
    ----------
    path
        The file.
    overrides
        ``a.b=value`` pairs that win over the file; values are read as YAML.
    allow_import
        Import paths of estimators outside the registry that may be imported.
    check_estimators
        Whether estimators' classes and parameters are looked up, which takes seconds for the import
        of scikit-learn. Their names are checked in any case.

    Raises
    ------
    ConfigError
        With every problem of the file and of the overrides.
    """
    source, problems = read_yaml(path)
    source = _with_reviews(source)
    source, set_problems = read_overrides(source, overrides)
    return _parse(
        source,
        [*problems, *set_problems],
        allow_import,
        dataframes=False,
        estimators=check_estimators,
    )


def parse_config(
    data: Mapping[str, Any],
    allow_import: Sequence[str] = (),
    *,
    estimator: BaseEstimator | None = None,
    check_estimators: bool = True,
) -> Config:
    """Check a configuration that was built in Python.

    Parameters
    ----------
    data
        The same keys as in a file; tables may also be ``{"from": "dataframe"}``.
    allow_import
        Import paths of estimators outside the registry that may be imported.
    estimator
        Used as it is instead of the one that ``model`` names, which is not looked up then.
    check_estimators
        As of :func:`load_config`.
    """
    return _parse(
        _with_reviews(ConfigSource.of(data)),
        [],
        allow_import,
        dataframes=True,
        estimators=check_estimators,
        estimator=estimator,
    )


def _with_reviews(source: ConfigSource) -> ConfigSource:
    """Let ``labeled`` be one section where it is a list, so that keys of it can be overridden."""
    if "labeled" not in source.data:
        return source
    labeled = with_reviews(source.data["labeled"])
    return replace(source, data={**source.data, "labeled": labeled})


def _parse(
    source: ConfigSource,
    problems: Sequence[Problem],
    allow_import: Sequence[str],
    *,
    dataframes: bool,
    estimators: bool,
    estimator: BaseEstimator | None = None,
) -> Config:
    checks: list[Check] = [*CHECKS, numbers_fit, partial(prior_is_of_the_rows, estimator=estimator)]
    if not dataframes:
        checks += [no_dataframes, partial(no_code, overridden=source.overridden)]
    parts, of_sections = _check_sections(source)
    parts = with_regressors(parts)
    selection, why = chosen_selection(source, parts)
    parts = recommended(parts | selection, allow_import, estimator)
    crossed = [source.problem(key, text) for check in checks for key, text in check(parts)]
    unfit = unfit_estimators(source, parts, allow_import, estimator, look_up=estimators)
    unfit_voters = unfit_members(source, parts, allow_import, look_up=estimators)
    if everything := [*problems, *of_sections, *crossed, *unfit, *unfit_voters]:
        raise ConfigError(sorted(everything, key=lambda problem: problem.line or 0))
    config = Config(**resolved(parts))
    config._why_selection = why
    return config


def _check_sections(source: ConfigSource) -> tuple[Parts, list[Problem]]:
    """Check each section alone, so that one wrong section does not hide another's problems."""
    schema = config_schema()
    parts: Parts = {}
    problems = [
        unknown_key(source, (key,), schema, schema)
        for key in source.data
        if key not in Config.model_fields
    ]
    for name, field in Config.model_fields.items():
        if name in source.data:
            part, problems_of_section = _check_section(source, name, schema)
            problems += problems_of_section
            parts |= {} if problems_of_section else {name: part}
        elif field.is_required():
            problems.append(source.problem(name, "required section is missing."))
        else:
            parts[name] = field.get_default()
    return parts, problems


def _check_section(
    source: ConfigSource, name: str, schema: JsonSchema
) -> tuple[Any, list[Problem]]:
    field, value = Config.model_fields[name], source.data[name]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
    node = schema["properties"][name]
    if name in _KINDS and isinstance(value, Mapping):
        kind = _KINDS[name](source, value)
        if isinstance(kind, Problem):
            return None, [kind]
        adapter, node = TypeAdapter(kind), kind.model_json_schema()
        value = {"policy": policy_of(value), **value} if name == "selection" else value
    try:
        return adapter.validate_python(value), []
    except ValidationError as error:
        return None, section_problems(source, name, error, node, schema)


def _kind_of_selection(
    source: ConfigSource, section: Mapping[str, Any]
) -> type[BaseModel] | Problem:
    policy = policy_of(section)
    if policy in list(POLICIES):
        return POLICIES[policy]
    return source.problem("selection.policy", choice(POLICIES, policy))


def _kind_of_teacher(source: ConfigSource, section: Mapping[str, Any]) -> type[BaseModel] | Problem:
    if (kind := kind_of(section)) is not None:
        return kind
    key = next(kind.key for kind in KINDS if kind.key in section)
    known = [value for kind in KINDS if kind.key == key for value in kind.values()]
    return source.problem(f"teacher.{key}", choice(known, section[key]))


_KINDS: Mapping[str, Callable[[ConfigSource, Mapping[str, Any]], type[BaseModel] | Problem]] = {
    "selection": _kind_of_selection,
    "teacher": _kind_of_teacher,
}
"""Sections of several kinds, each of which has keys of its own."""
