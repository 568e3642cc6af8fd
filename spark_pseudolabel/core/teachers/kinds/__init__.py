"""The kinds of teachers that section ``teacher`` may name, one in each file of this folder.

A new one is a new file with one subclass of :class:`~..kind.TeacherKind`, and its lines in
``docs/teachers.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spark_pseudolabel.core.discovery import classes_in
from spark_pseudolabel.core.teachers.kind import TeacherKind
from spark_pseudolabel.core.teachers.kinds.committee import CommitteeKind

KINDS: Sequence[type[TeacherKind]] = tuple(
    classes_in(__name__, __path__, TeacherKind)  # type: ignore[type-abstract]
)
"""Every kind."""

DEFAULT = CommitteeKind
"""The kind of a section without a key that says so."""


def kind_of(section: Mapping[str, Any]) -> type[TeacherKind] | None:
    """Return the kind that a section names; None where its key has a value of no kind.

    A mapping says no kind where a word does: it is the settings of a member of the default kind,
    and null is that there is none.
    """
    named = [kind for kind in KINDS if _is_named(kind, section)] or [DEFAULT]
    # A word says more than a key that another kind has, too.
    by_word = [kind for kind in named if kind.values()]
    return next(
        (kind for kind in by_word or named if not by_word or section[kind.key] in kind.values()),
        None,
    )


def _is_named(kind: type[TeacherKind], section: Mapping[str, Any]) -> bool:
    if kind.key not in section:
        return False
    return not kind.values() or not isinstance(section[kind.key], Mapping | None)
