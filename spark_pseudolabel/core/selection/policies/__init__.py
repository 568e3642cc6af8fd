"""The selection policies, one in each file of this folder.

A new one is a new file with one subclass of :class:`~..policy.Policy`, and its line in
``docs/selection.md``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, get_args

from spark_pseudolabel.core.selection.policy import Policy


def _policies() -> dict[str, type[Policy]]:
    modules = (
        importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)
    )
    classes = (
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Policy)
        and value.__module__ == module.__name__
    )
    return {get_args(cls.model_fields["policy"].annotation)[0]: cls for cls in classes}


POLICIES: Mapping[str, type[Policy]] = _policies()
"""Every policy by its name."""


def read_policy(section: Mapping[str, Any]) -> Policy:
    """Read a policy from a resolved ``selection`` section, or from the rule of a stored plan."""
    parameters = {key: value for key, value in section.items() if key != "labeled"}
    return POLICIES[section["policy"]].model_validate(parameters)
