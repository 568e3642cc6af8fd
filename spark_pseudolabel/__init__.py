"""Distributed pseudo-labeling: a few labels and a very large table become a large labeled one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spark_pseudolabel.version import VERSION

if TYPE_CHECKING:
    from spark_pseudolabel.api import SelfTraining, SelfTrainingResult

__version__ = VERSION

__all__ = ["SelfTraining", "SelfTrainingResult", "__version__"]


def __getattr__(name: str) -> Any:
    # Executors import this package for its kernel; they must not need pyspark.sql or pydantic.
    if name in ("SelfTraining", "SelfTrainingResult"):
        from spark_pseudolabel import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
