"""What of the pool is new since the last generation."""

from __future__ import annotations

from pyspark.sql import SparkSession

from spark_pseudolabel.config import Config
from spark_pseudolabel.core.uniqueness import Hashes
from spark_pseudolabel.output.new_files import NewFiles, compared, is_listed, is_logged, logged
from spark_pseudolabel.spark.inputs.facts import NewRows
from spark_pseudolabel.spark.reading.logged import version_of
from spark_pseudolabel.spark.reading.tables import list_data
from spark_pseudolabel.store import seen
from spark_pseudolabel.store.generations import End, Entries
from spark_pseudolabel.store.inputs import SeenFile
from spark_pseudolabel.store.store import RoundStore


def find_new(spark: SparkSession, config: Config, store: RoundStore, end: End) -> NewFiles:
    """List the pool, or ask the log of its table, and take out what generations have read.

    Raises
    ------
    InputError
        If a file that was read has another length now: which of its rows are new can't be told.
    """
    if not is_listed(config):
        return NewFiles(None)
    read = seen.read_files(store, end.files)
    if is_logged(config):
        return logged(version_of(spark, config.unlabeled), read)
    listed = [SeenFile.of(info) for info in list_data(spark, str(config.unlabeled.path))]
    return compared(listed, read)


def new_rows(
    store: RoundStore, config: Config, paths: frozenset[str] | None, segments: Entries
) -> NewRows:
    """Return which rows are new: those of some files whose ids no generation has seen."""
    if config.id is None:
        return NewRows(paths)

    def known(hashes: Hashes) -> seen.Mask:
        return seen.known(store, segments, hashes)

    return NewRows(paths, known)
