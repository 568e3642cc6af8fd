"""Teacher ``committee``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from spark_pseudolabel.core.teachers.kind import KeyPath, NamedEstimator, TeacherKind
from spark_pseudolabel.registry import DEFAULT_COMMITTEE

if TYPE_CHECKING:
    from spark_pseudolabel.core.features import Feature
    from spark_pseudolabel.core.teachers.teacher import Teacher


class CommitteeKind(TeacherKind):
    """Who makes model 1 instead of ``model``, which is the student then.

    ``committee``: these estimators vote, cross-fitted, each with the weight that its out-of-fold
    scores earn. ``student``: false where no model learns from the committee, which is the final
    model then.
    """

    key: ClassVar = "committee"
    labels_stand: ClassVar = False

    committee: Annotated[tuple[NamedEstimator, ...], Field(min_length=1)] = tuple(
        NamedEstimator(estimator=name, params=dict(params)) for name, params in DEFAULT_COMMITTEE
    )

    @property
    def members(self) -> Mapping[KeyPath, NamedEstimator]:
        """Those that vote."""
        return {(self.key, str(i)): member for i, member in enumerate(self.committee)}

    @property
    def voters(self) -> int:
        """Those that vote."""
        return len(self.committee)

    def build(self, features: Sequence[Feature], random_state: int) -> Teacher:
        """Make the committee, each member with the preprocessing that it needs."""
        from spark_pseudolabel.core.teachers.committee import registered_committee

        members = [(member.estimator, member.params) for member in self.committee]
        return registered_committee(members, features, random_state)
