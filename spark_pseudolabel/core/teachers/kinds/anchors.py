"""Teacher ``graph: anchors``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from spark_pseudolabel.core.teachers.kind import TeacherKind
from spark_pseudolabel.fields import Count, Flag, Section, wrong_section

if TYPE_CHECKING:
    from spark_pseudolabel.core.features import Feature
    from spark_pseudolabel.core.numbers import NumberTask
    from spark_pseudolabel.core.teachers.anchors import AnchorsTeacher
    from spark_pseudolabel.core.teachers.teacher import Teacher


class AnchorSettings(Section):
    """An anchor graph: labels spread along the clusters of the pool, new rows included.

    ``anchors``: the most centers that k-means puts into a sample of the pool. ``neighbors``: how
    many of them, the nearest ones, a row is described by. ``class_mass``: whether every class
    gets the share of the pool that it has among the labeled rows.
    """

    graph: Literal["anchors"]
    # Beyond, the system of equations takes longer than the pool.
    anchors: Annotated[Count, Field(le=5000)] = 1000
    neighbors: Count = 3
    class_mass: Flag = False

    @model_validator(mode="after")
    def _enough_anchors(self) -> AnchorSettings:
        if self.anchors < self.neighbors:
            raise wrong_section(
                f"anchors must be at least neighbors, {self.neighbors}. Got {self.anchors}."
            )
        return self

    def made(self, features: Sequence[Feature], random_state: int) -> AnchorsTeacher:
        """Make the teacher, with the preprocessing that distances need."""
        from spark_pseudolabel.core.teachers.anchors import anchors_teacher

        return anchors_teacher(
            features, self.anchors, self.neighbors, random_state, class_mass=self.class_mass
        )


class AnchorsKind(AnchorSettings, TeacherKind):
    """An anchor graph that labels the pool by itself; see :class:`AnchorSettings`."""

    key: ClassVar = "graph"
    of_numbers: ClassVar = True

    def build(self, features: Sequence[Feature], random_state: int) -> Teacher:
        """Make the teacher."""
        return self.made(features, random_state)

    def build_for_numbers(
        self, features: Sequence[Feature], random_state: int, task: NumberTask
    ) -> Teacher:
        """Make the teacher of numbers."""
        from spark_pseudolabel.core.teachers.anchors import anchors_teacher
        from spark_pseudolabel.core.teachers.numbers import graph_number_teacher

        graph = anchors_teacher(features, self.anchors, self.neighbors, random_state, numbers=True)
        return graph_number_teacher(graph, features, random_state, task)
