"""The selection policies, one in each file of this folder.

A new one is a new file with one subclass of :class:`~..policy.Policy`, and its line in
``docs/selection.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from spark_pseudolabel.core.discovery import classes_in
from spark_pseudolabel.core.selection.policy import Policy

POLICIES: Mapping[str, type[Policy]] = {
    get_args(cls.model_fields["policy"].annotation)[0]: cls
    for cls in classes_in(__name__, __path__, Policy)
}
"""Every policy by its name."""


def read_policy(section: Mapping[str, Any]) -> Policy:
    """Read a policy from a resolved ``selection`` section, or from the rule of a stored plan."""
    parameters = {key: value for key, value in section.items() if key != "labeled"}
    return POLICIES[section["policy"]].model_validate(parameters)
