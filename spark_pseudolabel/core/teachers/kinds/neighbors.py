"""Teacher ``graph: neighbors``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from spark_pseudolabel.core.teachers.kind import TeacherKind
from spark_pseudolabel.fields import Count, Flag, Level, Number

if TYPE_CHECKING:
    from spark_pseudolabel.core.features import Feature
    from spark_pseudolabel.core.teachers.teacher import Teacher


class NeighborsKind(TeacherKind):
    """Labels spread over the graph of all rows, each joined to its ``k`` nearest neighbors.

    ``method``: how they spread. ``weights``: what an edge weighs. ``alpha``: with ``spreading``,
    the share of a row's score that comes from its neighbors. ``max_iter`` and ``tol``: when it
    ends. ``standardize: false``: distances of numbers as they are. A model that scores new rows is
    its student, ``model``; with ``student: false`` there is none.
    """

    key: ClassVar = "graph"
    transductive: ClassVar = True

    graph: Literal["neighbors"]
    k: Annotated[Count, Field(le=100)] = 10
    method: Literal["propagation", "spreading", "poisson"] = "propagation"
    alpha: Level = 0.99
    max_iter: Count = 1000
    tol: Annotated[Number, Field(gt=0)] = 0.001
    weights: Literal["gaussian", "connectivity"] = "gaussian"
    standardize: Flag = True

    def build(self, features: Sequence[Feature], random_state: int) -> Teacher:
        """Make the teacher."""
        from spark_pseudolabel.core.teachers.neighbors import GraphSettings, NeighborTeacher

        names = ("k", "method", "alpha", "max_iter", "tol", "weights", "standardize")
        settings = GraphSettings(**{name: getattr(self, name) for name in names})
        return NeighborTeacher(settings, tuple(features), random_state)
