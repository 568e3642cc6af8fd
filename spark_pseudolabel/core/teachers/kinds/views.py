"""Teacher ``views``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from spark_pseudolabel.core.teachers.kind import KeyPath, NamedEstimator, PeerEstimator, TeacherKind
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.fields import Text, wrong_section

if TYPE_CHECKING:
    from spark_pseudolabel.core.features import Feature
    from spark_pseudolabel.core.teachers.teacher import Teacher


class ViewsKind(PeerEstimator, TeacherKind):
    """Co-training: two models, each of columns of its own, label pool rows for both.

    ``views``: two lists of columns without a common one; a column in neither is not used.
    ``estimator``, ``params``: of both; without one, extremely randomized trees. ``student``: as
    with a committee.
    """

    key: ClassVar = "views"

    views: tuple[tuple[Text, ...], ...]

    @property
    def members(self) -> Mapping[KeyPath, NamedEstimator]:
        """The one that both are."""
        return {(): self.named}

    @property
    def voters(self) -> int:
        """One for each view."""
        return len(self.views)

    @property
    def columns(self) -> Sequence[str]:
        """Those of both views."""
        return [name for view in self.views for name in view]

    @model_validator(mode="after")
    def _two_views(self) -> ViewsKind:
        if len(self.views) != 2 or not all(self.views):
            raise wrong_section("views must be two lists of columns, [[a, b], [c]], none empty.")
        twice = [name for name, n in Counter(self.columns).items() if n > 1]
        if twice:
            raise wrong_section(
                f"views must name every column once: what two models say of the same column is no "
                f"second opinion. {', '.join(map(repr, twice))} stands twice."
            )
        return self

    def build(self, features: Sequence[Feature], random_state: int) -> Teacher:
        """Make the teacher.

        Raises
        ------
        InputError
            If a view names a column that is no feature.
        """
        from spark_pseudolabel.core.teachers.co_training import CoTraining, seeing
        from spark_pseudolabel.core.teachers.estimator import registered_estimator

        known = {feature.name: feature for feature in features}
        if missing := [name for name in self.columns if name not in known]:
            raise InputError.missing_columns("teacher.views: what models see", missing, list(known))
        members = {}
        for k, names in enumerate(self.views):
            view = [known[name] for name in names]
            member = registered_estimator(
                self.named.estimator, self.named.params, view, random_state
            )
            columns = [column for feature in view for column in feature.columns]
            members[f"view_{k}"] = seeing(member, columns)
        return CoTraining(members, random_state)
