"""One input column of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FeatureKind = Literal["numeric", "boolean", "date", "timestamp", "category", "text", "vector"]


@dataclass(frozen=True)
class Feature:
    """One input column of the model.

    Parameters
    ----------
    name
        Column name in the tables.
    kind
        How its values become model input: numbers, booleans, dates (days since 1970-01-01) and
        timestamps (seconds since then, UTC) become one float64 column; a vector becomes `width`
        float64 columns; categories and texts stay strings.
    type
        The column's Spark type as it was found, such as ``bigint``.
    width
        Number of model columns; more than 1 for vectors only.
    """

    name: str
    kind: FeatureKind
    type: str
    width: int = 1

    @property
    def numeric(self) -> bool:
        """Whether the values become float64 columns."""
        return self.kind not in ("category", "text")

    @property
    def columns(self) -> list[str]:
        """Names of the model columns this feature becomes."""
        if self.kind != "vector":
            return [self.name]
        return [f"{self.name}_{i}" for i in range(self.width)]


@dataclass(frozen=True)
class Pack(Feature):
    """Numbers of several columns that travel as one vector, and are taken apart again here.

    Parameters
    ----------
    names
        The model columns, in order.
    """

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, features: Sequence[Feature], name: str) -> Pack:
        """Pack one-column features into a vector column `name`."""
        names = tuple(feature.name for feature in features)
        return cls(name, "vector", "array<double>", len(names), names)

    @property
    def columns(self) -> list[str]:
        """Names of the model columns."""
        return list(self.names)
