"""The kinds of teachers that section ``teacher`` may name, one in each file of this folder.

A new one is a new file with one subclass of :class:`~..kind.TeacherKind`, and its lines in
``docs/selection.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spark_pseudolabel.core.discovery import classes_in
from spark_pseudolabel.core.teachers.kind import TeacherKind
from spark_pseudolabel.core.teachers.kinds.committee import CommitteeKind

KINDS: Mapping[str, type[TeacherKind]] = {
    cls.key: cls
    for cls in classes_in(__name__, __path__, TeacherKind)  # type: ignore[type-abstract]
}
"""Every kind by the key of the section that says so."""

DEFAULT = CommitteeKind.key
"""The kind of a section without such a key."""


def kind_of(section: Mapping[str, Any]) -> str:
    """Return the kind whose key a section has."""
    return next((key for key in KINDS if key in section), DEFAULT)
