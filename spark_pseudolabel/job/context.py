"""A run in progress, as the loop and the steps of it see it."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import SparkSession

from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.training import Trainer
from spark_pseudolabel.progress import Events
from spark_pseudolabel.spark.backends import Backend
from spark_pseudolabel.store.store import RoundStore


@dataclass(frozen=True)
class Run:
    """A run in progress; a step takes of it what it uses.

    Parameters
    ----------
    spark
        The session.
    setting
        Configuration and inputs, and what follows from them.
    store
        What is committed, and the way to commit more.
    models
        Fitted ones, and who makes them.
    backend
        The pool, and what reads it.
    trainer
        Who brings the rows and the maker of a model together.
    events
        Who listens.
    model_name
        What labels call its models, by their number.
    """

    spark: SparkSession
    setting: Setting
    store: RoundStore
    models: Models
    backend: Backend
    trainer: Trainer
    events: Events
    model_name: str = "model-{:04d}"
