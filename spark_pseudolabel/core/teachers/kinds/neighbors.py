"""Teacher ``graph: neighbors``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from spark_pseudolabel.core.teachers.kind import (
    KeyPath,
    NamedEstimator,
    TeacherKind,
    default_committee,
)
from spark_pseudolabel.fields import Count, Flag, Level, Number, Section, wrong_section

if TYPE_CHECKING:
    from spark_pseudolabel.core.features import Feature
    from spark_pseudolabel.core.numbers import NumberTask
    from spark_pseudolabel.core.teachers.distant_graph import GraphSettings
    from spark_pseudolabel.core.teachers.teacher import Teacher


class NeighborSettings(Section):
    """Labels spread over the graph of all rows, each joined to its ``k`` nearest neighbors.

    ``method``: how they spread. ``weights``: what an edge weighs. ``alpha``: with ``spreading``,
    the share of a row's score that comes from its neighbors. ``max_iter`` and ``tol``: when it
    ends. ``standardize: false``: distances of numbers as they are.
    """

    graph: Literal["neighbors"]
    k: Annotated[Count, Field(le=100)] = 10
    method: Literal["propagation", "spreading", "poisson"] = "propagation"
    alpha: Level = 0.99
    max_iter: Count = 1000
    tol: Annotated[Number, Field(gt=0)] = 0.001
    weights: Literal["gaussian", "connectivity"] = "gaussian"
    standardize: Flag = True

    @property
    def settings(self) -> GraphSettings:
        """The same for the teacher."""
        from spark_pseudolabel.core.teachers.distant_graph import GraphSettings

        names = ("k", "method", "alpha", "max_iter", "tol", "weights", "standardize")
        return GraphSettings(**{name: getattr(self, name) for name in names})


class NeighborsKind(NeighborSettings, TeacherKind):
    """A graph of nearest neighbors that labels the pool; see :class:`NeighborSettings`.

    A model that scores new rows is its student, ``model``; with ``student: false`` there is none.

    ``around: committee``: correct and smooth; what spreads are the errors of a committee, and its
    labels. ``committee``: its estimators, those of teacher ``committee`` by default. ``alpha``: the
    share of a row's score that comes from its neighbors; without it, it is found out of fold.
    """

    key: ClassVar = "graph"
    of_numbers: ClassVar = True

    around: Literal["committee"] | None = None
    committee: Annotated[tuple[NamedEstimator, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _around_is_another_method(self) -> NeighborsKind:
        if self.around is None and self.committee is not None:
            raise wrong_section(
                "committee needs around: committee, which corrects and smooths it. To let a graph "
                "vote with a committee, write {committee: [...], graph: {graph: neighbors}}."
            )
        if self.around is not None and "method" in self.model_fields_set:
            raise wrong_section(
                "method must be left out with around: committee, where residuals spread and not "
                "labels."
            )
        return self

    @property
    def without_scale(self) -> bool:
        """Whether labels alone spread; around a committee its probabilities do."""
        return self.around is None

    @property
    def transductive(self) -> bool:
        """Always."""
        return True

    @property
    def parameters(self) -> dict[str, bool | int | float | str]:
        """All plain settings but those of methods that are not used."""
        settings = super().parameters
        unused = [] if self.around is None else ["method", "alpha"]
        return {key: value for key, value in settings.items() if key not in unused}

    @property
    def members(self) -> Mapping[KeyPath, NamedEstimator]:
        """Those of the committee that it is around."""
        voters = () if self.around is None else self._voters
        return {("committee", str(i)): member for i, member in enumerate(voters)}

    @property
    def _voters(self) -> tuple[NamedEstimator, ...]:
        return default_committee() if self.committee is None else self.committee

    def build(self, features: Sequence[Feature], random_state: int) -> Teacher:
        """Make the teacher."""
        if self.around is None:
            from spark_pseudolabel.core.teachers.neighbors import NeighborTeacher

            return NeighborTeacher(self.settings, tuple(features), random_state)
        from spark_pseudolabel.core.teachers.committee import registered_committee
        from spark_pseudolabel.core.teachers.correct_and_smooth import CorrectAndSmooth
        from spark_pseudolabel.core.teachers.smoothing import STRENGTHS, Strength

        named = [(member.estimator, member.params) for member in self._voters]
        committee = registered_committee(named, features, random_state)
        asked = "alpha" in self.model_fields_set
        strengths = (Strength(self.alpha, scaled=False),) if asked else STRENGTHS
        return CorrectAndSmooth(
            self.settings, tuple(features), random_state, committee=committee, strengths=strengths
        )

    def build_for_numbers(
        self, features: Sequence[Feature], random_state: int, task: NumberTask
    ) -> Teacher:
        """Make the teacher of numbers."""
        from spark_pseudolabel.core.teachers.neighbor_numbers import NeighborNumberTeacher

        return NeighborNumberTeacher(self.settings, tuple(features), random_state, task=task)
