"""Teacher ``committee``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from spark_pseudolabel.core.teachers.kind import (
    KeyPath,
    NamedEstimator,
    TeacherKind,
    default_committee,
)
from spark_pseudolabel.core.teachers.kinds.anchors import AnchorSettings
from spark_pseudolabel.core.teachers.kinds.neighbors import NeighborSettings

if TYPE_CHECKING:
    from spark_pseudolabel.core.features import Feature
    from spark_pseudolabel.core.numbers import NumberTask
    from spark_pseudolabel.core.teachers.teacher import Teacher


class CommitteeKind(TeacherKind):
    """Who makes model 1 instead of ``model``, which is the student then.

    ``committee``: these estimators vote, cross-fitted, each with the weight that its out-of-fold
    scores earn. ``graph``: a graph that votes with them, where their vote gains from it.
    ``student``: false where no model learns from the committee, which is the final model then.
    """

    key: ClassVar = "committee"
    labels_stand: ClassVar = False
    of_numbers: ClassVar = True

    committee: Annotated[tuple[NamedEstimator, ...], Field(min_length=1)] = default_committee()
    graph: Annotated[AnchorSettings | NeighborSettings, Field(discriminator="graph")] | None = None

    @property
    def transductive(self) -> bool:
        """Where the graph knows rows and not features."""
        return isinstance(self.graph, NeighborSettings)

    @property
    def parameters(self) -> dict[str, bool | int | float | str]:
        """Those of the graph."""
        settings = {} if self.graph is None else self.graph.model_dump()
        return {f"graph.{key}": value for key, value in settings.items() if key != "graph"}

    @property
    def members(self) -> Mapping[KeyPath, NamedEstimator]:
        """Those that vote."""
        return {(self.key, str(i)): member for i, member in enumerate(self.committee)}

    @property
    def said(self) -> Sequence[NamedEstimator]:
        """Those that vote."""
        named = list(super().said)
        if self.graph is None:
            return named
        settings = self.graph.model_dump(exclude={"graph"})
        return [*named, NamedEstimator(estimator=f"graph: {self.graph.graph}", params=settings)]

    @property
    def voters(self) -> int:
        """Those that vote; where rows are looked up, what they say is not known any more."""
        return 1 if self.transductive else len(self.committee) + (self.graph is not None)

    def build(self, features: Sequence[Feature], random_state: int) -> Teacher:
        """Make the committee, each member with the preprocessing that it needs."""
        from spark_pseudolabel.core.teachers.committee import registered_committee

        named = [(member.estimator, member.params) for member in self.committee]
        committee = registered_committee(named, features, random_state)
        if self.graph is None:
            return committee
        if isinstance(self.graph, NeighborSettings):
            from spark_pseudolabel.core.teachers.neighbor_member import CommitteeWithNeighbors

            settings = self.graph.settings
            return CommitteeWithNeighbors(
                settings, tuple(features), random_state, committee=committee
            )
        from spark_pseudolabel.core.teachers.graph_member import CommitteeWithAnchors

        return CommitteeWithAnchors(committee.members, self.graph.made(features, random_state))

    def build_for_numbers(
        self, features: Sequence[Feature], random_state: int, task: NumberTask
    ) -> Teacher:
        """Make the committee of regressors."""
        from spark_pseudolabel.core.teachers.numbers import number_teacher

        named = [(member.estimator, member.params) for member in self.committee]
        return number_teacher(named, features, random_state, task)
