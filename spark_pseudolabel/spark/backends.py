"""The backend of a run: what reads its pool. Chosen and built here, known nowhere else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from pyspark.sql import SparkSession
from pyspark.sql import types as T

from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.parts import Part
from spark_pseudolabel.core.scored_rows import Carried
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.spark.direct.narrow import is_piece, part_number
from spark_pseudolabel.spark.direct.pool import DirectPool
from spark_pseudolabel.spark.direct.source import PartSource
from spark_pseudolabel.spark.direct.survey import Scan
from spark_pseudolabel.spark.direct.tasks import has_rows_at
from spark_pseudolabel.spark.evaluation import (
    HeldOutRows,
    labels_against_truth,
    numbers_against_truth,
)
from spark_pseudolabel.spark.frame.pool import FramePool
from spark_pseudolabel.spark.frame.scoring import cells_of
from spark_pseudolabel.spark.frame.stored_rows import StoredRows
from spark_pseudolabel.spark.inputs.facts import Inputs
from spark_pseudolabel.spark.pool import Pool
from spark_pseudolabel.spark.reading.tables import refuse_unsafe_commits
from spark_pseudolabel.spark.scratch import Scratch
from spark_pseudolabel.spark.tasking import run_tasks
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.layout import scratch_dir
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import RoundStore


@dataclass(frozen=True)
class Backend:
    """A pool, and what is asked of it by way of what reads it.

    Parameters
    ----------
    pool
        The unlabeled rows.
    read_by
        Who reads them, in words.
    stored
        What rounds have written, as DataFrames.
    """

    pool: Pool
    read_by: str
    stored: StoredRows

    def check(
        self,
        rounds: Sequence[RoundManifest],
        test: HeldOutRows,
        classes: Sequence[Label],
        numbers: NumberTask | None,
    ) -> dict[str, int]:
        """Count accepted labels whose true label is known (``n``), and those that are right.

        Of labels that are numbers, `numbers` says when they are.
        """
        truth = test.truth(classes) if numbers is None else test.true_numbers()
        checked = None if truth is None else self.pool.check(rounds, truth, numbers)
        if checked is not None:
            return checked
        keys = [field.name for field in self.stored.keys]
        accepted = self.stored.accepted(rounds)
        if numbers is not None:
            return numbers_against_truth(accepted, test, keys, numbers)
        return labels_against_truth(accepted, test, keys, classes)


def open_backend(
    spark: SparkSession, inputs: Inputs, store: RoundStore, carried: Carried, random_state: int
) -> Backend:
    """Choose what reads the pool: workers by themselves where they can, else Spark.

    Parameters
    ----------
    spark, inputs, store
        Of the run.
    carried
        Which columns travel with scored rows.
    random_state
        Seed of the row hash.

    Raises
    ------
    InputError
        If Spark would have to commit files in a way that a lost task can spoil.
    """
    keys = T.StructType([inputs.pool.schema[key] for key in inputs.keys])
    stored = StoredRows(spark, store.root, keys, carried)
    n_classes = len(inputs.classes)
    scan = _scan(spark, inputs, store)
    if scan is None:
        refuse_unsafe_commits(spark)
        frame = FramePool(
            spark=spark,
            rows=inputs.pool.rows,
            n_rows=inputs.pool_rows,
            keys=inputs.keys,
            stored=stored,
            cells=cells_of(inputs.features),
            n_classes=n_classes,
            random_state=random_state,
        )
        why = inputs.no_scan or "earlier rounds were"
        return Backend(frame, f"through Spark, since {why}", stored)
    # Of this start alone.
    scratch = Scratch(store.files, join(store.root, scratch_dir(store.run_id, str(uuid4()))))
    direct = DirectPool(
        spark=spark,
        source=scan.source,
        parts=scan.parts,
        n_rows=inputs.pool_rows,
        root=store.root,
        scratch=scratch,
        n_classes=n_classes,
        random_state=random_state,
        carried=carried,
    )
    n_parts = len(scan.parts)
    parts = f"{n_parts:,} part{'' if n_parts == 1 else 's'}"
    pinned = inputs.frozen.pinned.get("unlabeled")
    of_version = "" if pinned is None else f", {pinned.words}"
    whose = "from its snapshot " if inputs.frozen.unlabeled.snapshot is not None else ""
    return Backend(direct, f"{whose}by the workers themselves, in {parts}{of_version}", stored)


def _scan(spark: SparkSession, inputs: Inputs, store: RoundStore) -> Scan | None:
    """Return how workers read the pool by themselves; None where Spark reads it.

    Also None where Spark has read it in an earlier round: what it has stored does not tell where
    in the pool's files a row is. So, too, where the pool was frozen anew and its rows lie in other
    places than rounds have found them in.
    """
    stored = [(*manifest.scored, *manifest.accepted)[:1] for manifest in store.rounds]
    by_spark = any(not is_piece(entry.path) for first in stored for entry in first)
    if by_spark or inputs.scan is None:
        return None
    moved = inputs.refrozen and store.rounds and not _same_places(spark, inputs.scan, store)
    return None if moved else inputs.scan


def _same_places(spark: SparkSession, scan: Scan, store: RoundStore) -> bool:
    """Whether the first round, which has scored all rows, has found them where they are now."""
    paths: dict[int, list[str]] = defaultdict(list)
    for entry in store.rounds[0].scored:
        paths[part_number(entry.path)].append(join(store.root, entry.path))
    if sorted(paths) != [part.number for part in scan.parts]:
        return False
    work = [(part, paths[part.number]) for part in scan.parts]
    look = partial(_is_in_place, source=scan.source)
    return all(run_tasks(spark, look, work))


def _is_in_place(task: tuple[Part, list[str]], source: PartSource) -> bool:
    part, paths = task
    return has_rows_at(part, paths, source)
