"""How far Spark is with what runs now."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import cast

from pyspark import SparkContext
from pyspark.sql import SparkSession

from spark_pseudolabel.spark.startup.jvm import GONE

GROUP = "spark-pseudolabel"
# What `setJobGroup` sets in the calling thread.
_OF_JOBS = ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel")


@contextlib.contextmanager
def described(spark: SparkSession, what: str) -> Iterator[None]:
    """Name the jobs of a block in Spark's UI; an interrupt cancels them.

    Jobs after it are named as they were before: the session may be somebody else's.
    """
    context = spark.sparkContext
    before = {key: context.getLocalProperty(key) for key in _OF_JOBS}
    context.setJobGroup(GROUP, what, interruptOnCancel=True)
    try:
        yield
    except KeyboardInterrupt:
        context.cancelJobGroup(GROUP)
        raise
    finally:
        # The JVM may be gone, and an error on its way says so.
        with contextlib.suppress(*GONE):
            for key, value in before.items():
                context.setLocalProperty(key, cast(str, value))


def task_counter(context: SparkContext) -> Callable[[], tuple[int, int] | None]:
    """Return a function that tells (done, total) tasks of the running jobs, None if none run."""
    tracker = context.statusTracker()

    def count() -> tuple[int, int] | None:
        finished = total = 0
        for job_id in tracker.getActiveJobsIds():
            job = tracker.getJobInfo(job_id)
            for stage_id in job.stageIds if job else ():
                stage = tracker.getStageInfo(stage_id)
                finished += stage.numCompletedTasks if stage else 0
                total += stage.numTasks if stage else 0
        return (finished, total) if total else None

    return count
