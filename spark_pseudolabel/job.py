"""A run: the loop over rounds, which decides nothing itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession
from sklearn.base import BaseEstimator

from spark_pseudolabel.config import Config, identity
from spark_pseudolabel.core.rounds import Finish, FitModel, ScoreRound, next_step
from spark_pseudolabel.given import keep_given
from spark_pseudolabel.progress import Events, SilentEvents
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.inputs import Frames, Inputs, read_inputs
from spark_pseudolabel.spark.progress import task_counter
from spark_pseudolabel.steps import Steps
from spark_pseudolabel.store.lease import hold
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.version import VERSION


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Parameters
    ----------
    report
        The document of ``report.json``.
    resumed
        Whether it went on from rounds that an earlier start had committed.
    already_done
        Whether there was nothing left to do.
    """

    report: dict[str, Any]
    resumed: bool
    already_done: bool


def run(
    spark: SparkSession,
    config: Config,
    *,
    events: Events | None = None,
    frames: Frames | None = None,
    estimator: BaseEstimator | None = None,
    trusted: Sequence[str] = (),
) -> Result:
    """Run a configuration to its end, or go on where an earlier start of it stopped.

    Parameters
    ----------
    spark
        A session from :func:`spark_pseudolabel.spark.session.get_session` or ``prepare``.
    config
        What to do.
    events
        Who listens.
    frames
        DataFrames of the sections that say ``from: dataframe``.
    estimator
        Used as it is, instead of the one that the configuration names.
    trusted
        Import paths of types in `estimator` that may be stored and loaded.

    Raises
    ------
    InputError
        Exit code 3: inputs, output or environment do not hold what the configuration says.
    OutputBusyError
        Exit code 4: another run holds the output.
    StoredStateError
        Exit code 5: what is stored in the output is damaged.
    """
    events = events or SilentEvents()
    files, root = files_for(spark, config.output.path)
    _announce(spark, events)
    with hold(files, root, owner=spark.sparkContext.applicationId):
        with events.stage(0, "read inputs"):
            inputs = read_inputs(spark, config, frames)
        store = RoundStore.begin(files, root, identity(config), inputs.frozen, VERSION)
        store.spark = _spark_facts(spark)
        keep_given(store, inputs.labeled, inputs.validation, inputs.keys)
        steps = Steps(spark, config, inputs, store, events, estimator, tuple(trusted))
        return _to_the_end(steps, inputs, store, events)


def _to_the_end(steps: Steps, inputs: Inputs, store: RoundStore, events: Events) -> Result:
    started = time.monotonic()
    committed = len(store.rounds)
    resumed = bool(store.models)
    events.event(
        "inputs",
        labeled=inputs.labeled.num_rows,
        validation=inputs.validation.num_rows,
        pool=inputs.pool_rows,
        classes=list(inputs.classes),
    )
    if resumed and store.final is None:
        events.event("resume", round=committed + 1, committed=committed)
    while True:
        match next_step(steps.model_facts(), steps.round_facts(), steps.limits):
            case FitModel(number):
                steps.fit_model(number)
            case ScoreRound(number):
                steps.score_round(number)
            case Finish() as end:
                already_done = steps.is_finished(end)
                report = steps.finish(end, time.monotonic() - started)
                return Result(report, resumed, already_done)


def _announce(spark: SparkSession, events: Events) -> None:
    context = spark.sparkContext
    events.event(
        "session", app_id=context.applicationId, ui_url=context.uiWebUrl, master=context.master
    )
    events.watch(task_counter(context))


def _spark_facts(spark: SparkSession) -> dict[str, str]:
    context = spark.sparkContext
    return {"app_id": context.applicationId, "master": context.master, "version": spark.version}
