"""Teacher ``tri_training``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from spark_pseudolabel.core.teachers.kind import KeyPath, NamedEstimator, PeerEstimator, TeacherKind

if TYPE_CHECKING:
    from spark_pseudolabel.core.features import Feature
    from spark_pseudolabel.core.teachers.teacher import Teacher

_LEARNERS = 3


class TriTrainingKind(TeacherKind):
    """Three models of one estimator, each taught the pool rows that the other two agree on.

    ``tri_training``: the estimator; without one, extremely randomized trees. ``student``: as with a
    committee.
    """

    key: ClassVar = "tri_training"

    tri_training: PeerEstimator

    @property
    def members(self) -> Mapping[KeyPath, NamedEstimator]:
        """The one that all three are."""
        return {(self.key,): self.tri_training.named}

    @property
    def voters(self) -> int:
        """Three."""
        return _LEARNERS

    def build(self, features: Sequence[Feature], random_state: int) -> Teacher:
        """Make the teacher; its learners differ in their bootstrap samples and seeds."""
        from spark_pseudolabel.core.teachers.estimator import registered_estimator
        from spark_pseudolabel.core.teachers.tri_training import TriTraining

        named = self.tri_training.named
        learners = {
            f"{k}_{named.estimator}": registered_estimator(
                named.estimator, named.params, features, random_state + k
            )
            for k in range(_LEARNERS)
        }
        return TriTraining(learners, random_state)
