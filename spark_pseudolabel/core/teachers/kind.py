"""What a kind of teacher is: its keys in section ``teacher``, and the teacher made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

from pydantic import Field, model_validator

from spark_pseudolabel.fields import Flag, Section, Text, wrong_section
from spark_pseudolabel.registry import DEFAULT_COMMITTEE, DEFAULT_PEER

if TYPE_CHECKING:  # scikit-learn takes seconds to import, and the configuration needs none of it
    from spark_pseudolabel.core.features import Feature
    from spark_pseudolabel.core.numbers import NumberTask
    from spark_pseudolabel.core.teachers.teacher import Teacher


Params = dict[str, Any]
"""What an estimator takes, whatever that is."""


class NamedEstimator(Section):
    """An estimator by its name in the registry or an allowed import path, and its parameters."""

    estimator: Text
    params: Params = Field(default={})


class PeerEstimator(Section):
    """The estimator of models that teach each other; trees that vary, unless it is named."""

    estimator: Text | None = None
    params: Params = Field(default={})

    @property
    def named(self) -> NamedEstimator:
        """The estimator that it is."""
        name, params = (self.estimator, self.params) if self.estimator else DEFAULT_PEER
        return NamedEstimator(estimator=name, params=dict(params))

    @model_validator(mode="after")
    def _params_of_one(self) -> PeerEstimator:
        if self.params and self.estimator is None:
            raise wrong_section("params needs estimator: say whose parameters they are.")
        return self


KeyPath = tuple[str, ...]


def default_committee() -> tuple[NamedEstimator, ...]:
    """Return who votes in a committee that nobody has named."""
    return tuple(
        NamedEstimator(estimator=name, params=dict(params)) for name, params in DEFAULT_COMMITTEE
    )


class TeacherKind(Section, ABC):
    """A kind of teacher as ``teacher`` names it: its fields are the keys of that section.

    ``student``: false where no model learns from the teacher, which is the final model then.
    """

    key: ClassVar[str]
    """The field by which a section is recognized as this kind, be it by its value alone."""

    needs_labels: ClassVar[bool] = True
    """Whether it learns from labeled rows, so that there have to be some."""

    labels_stand: ClassVar[bool] = True
    """Whether its labels are published also where a model that learns from them is worse.

    It says nothing about labels of rules that the model sees no columns of, or of a graph. A
    committee's are those of the same kinds of models, and there it is a warning.
    """

    of_numbers: ClassVar[bool] = False
    """Whether it labels with numbers, too."""

    student_by_default: ClassVar[bool] = False
    """Whether a model learns from it also where policy ``auto`` would let the teacher be final."""

    student: Flag = True

    @classmethod
    def values(cls) -> tuple[str, ...]:
        """Return what the field :attr:`key` says in this kind; empty where it may say anything."""
        annotation = cls.model_fields[cls.key].annotation
        return get_args(annotation) if get_origin(annotation) is Literal else ()

    @classmethod
    def spelled(cls) -> str:
        """Return what messages call this kind: ``committee``, ``graph: anchors``."""
        return f"{cls.key}: {cls.values()[0]}" if cls.values() else cls.key

    @property
    def name(self) -> str:
        """What reports call this kind."""
        return next(iter(self.values()), self.key)

    @property
    def transductive(self) -> bool:
        """Whether its models know the rows of the run alone: only a student scores others."""
        return False

    @property
    def without_scale(self) -> bool:
        """Whether its scores order rows, and do not say how probably they are right."""
        return False

    @property
    def parameters(self) -> dict[str, bool | int | float | str]:
        """Settings that reports repeat: all plain ones."""
        settings = self.model_dump(exclude={"student", self.key})
        return {
            key: value
            for key, value in settings.items()
            if isinstance(value, bool | int | float | str)
        }

    @property
    def members(self) -> Mapping[KeyPath, NamedEstimator]:
        """The estimators in it, by the keys of the section that name them."""
        return {}

    @property
    def said(self) -> Sequence[NamedEstimator]:
        """What a plan says of those in it, be they estimators or not."""
        return list(self.members.values())

    @property
    def voters(self) -> int:
        """How many models of different kinds have a say in each of its models."""
        return 1

    @property
    def columns(self) -> Sequence[str]:
        """The feature columns that the section names."""
        return ()

    @abstractmethod
    def build(self, features: Sequence[Feature], random_state: int) -> Teacher:
        """Make the teacher.

        Parameters
        ----------
        features
            What models are fitted on.
        random_state
            Seed of whatever takes one.
        """

    def build_for_numbers(
        self, features: Sequence[Feature], random_state: int, task: NumberTask
    ) -> Teacher:
        """Make the teacher, if it labels with numbers.

        Parameters
        ----------
        features, random_state
            As in :meth:`build`.
        task
            What is asked of labels.
        """
        raise TypeError(f"{self.spelled()} labels with classes only.")
