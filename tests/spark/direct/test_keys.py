"""Ids of a pool that stand in no order: what both backends find out about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.core import uniqueness
from spark_pseudolabel.core.hashing import xor_all, xxhash64
from spark_pseudolabel.core.parts import parts_of
from spark_pseudolabel.spark.direct import keys as direct_keys
from spark_pseudolabel.spark.direct.keys import KeyFacts, PoolKeys, to_compare
from spark_pseudolabel.spark.direct.source import PartSource
from spark_pseudolabel.spark.direct.survey import Scan, read_footers, row_groups
from spark_pseudolabel.spark.frame import keys as frame_keys
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.inputs import survey
from spark_pseudolabel.spark.inputs.reading import read_inputs
from spark_pseudolabel.store.inputs import FrozenInputs
from spark_pseudolabel.store.manifest import normalized
from tests.spark.tables import config_for, labeled_frame, pool_frame, write

N = 6_000
Look = Callable[[pa.Array, pa.Array], PoolKeys]


def shuffled(values: list[Any]) -> list[Any]:
    return [values[i] for i in np.random.default_rng(1).permutation(len(values))]


UUIDS = [str(UUID(int=int(i) * 2**64 // N * 2**64)) for i in range(N)]


def scan_of(spark: SparkSession, folder: Path, ids: pa.Array) -> Scan:
    """Write ids into three files of several row groups; a part for each row group."""
    third = len(ids) // 3
    for i in range(3):
        some = ids[i * third : (i + 1) * third]
        pq.write_table(pa.table({"id": some}), folder / f"{i}.parquet", row_group_size=700)
    files, root = files_for(spark, str(folder))
    footers, _ = read_footers(spark, files, root, files.list(root))
    groups = [group for footer in footers for group in row_groups(footer)]
    return Scan(PartSource(root, ("id",)), parts_of(groups, max_rows=700))


@pytest.fixture(params=["workers, few rows", "workers", "Spark"])
def look(
    request: pytest.FixtureRequest,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Look:
    monkeypatch.setattr(uniqueness, "GROUP_ROWS", 2_000)
    monkeypatch.setattr(frame_keys, "_GROUP_BYTES", 20_000)
    if request.param == "workers":
        monkeypatch.setattr(direct_keys, "_ROWS_ON_DRIVER", 0)
        monkeypatch.setattr(direct_keys, "_MAX_TASKS", 4)

    def look(ids: pa.Array, known: pa.Array) -> PoolKeys:
        scan = scan_of(spark, tmp_path, ids)
        if request.param == "Spark":
            rows = spark.read.parquet(str(tmp_path)).repartition(3)
            return frame_keys.survey_keys(rows, "id", known)
        return direct_keys.survey_keys(spark, scan, pa.chunked_array([known]), None)

    return look


def keyed(values: list[Any]) -> pa.Array:
    return pa.array(values, pa.int64() if isinstance(values[0], int) else pa.string())


@pytest.mark.parametrize("values", [list(range(N)), UUIDS], ids=["integers", "uuids"])
def test_ids_in_no_order_are_proved_to_differ(look: Look, values: list[Any]) -> None:
    ids = keyed(shuffled(values))
    found = look(ids, ids[5:8])
    assert found == PoolKeys(N, 0, 3, xor_all(xxhash64([ids])), True)
    assert look(keyed(shuffled([*values[:-1], values[0]])), ids[:0]).unique is False


def test_ids_that_ascend_in_every_file_and_not_over_them_are_compared(look: Look) -> None:
    ids = [*range(0, N, 3), *range(1, N, 3), *range(2, N, 3)]
    assert look(keyed(ids), pa.array([], pa.int64())).unique
    ids[N // 3] = 300  # still ascending in its file, and the same as a row's of another
    ids[N // 3 + 1 : N // 3 + 110] = range(301, 301 + 327, 3)
    found = look(keyed(ids), pa.array([], pa.int64()))
    assert (found.unique, found.rows) == (False, N)


def test_different_ids_with_one_hash_are_told_apart(spark: SparkSession, tmp_path: Path) -> None:
    ids = keyed(["a", "b", "c", "c", "d", "e"])
    scan = scan_of(spark, tmp_path, ids)
    hashes = dict(zip(ids.to_pylist(), xxhash64([ids]).view(np.uint64).tolist(), strict=True))
    work = [(0, scan.parts)]
    # As if "a" and "b" had shared theirs.
    for names, differ in (("ab", True), ("abc", False)):
        shared = [(hashes[name], [0]) for name in names]
        assert direct_keys._differ(spark, scan.source, work, shared) is differ
        rows = spark.read.parquet(str(tmp_path))
        signed = [int(np.uint64(value).view(np.int64)) for value, _ in shared]
        assert frame_keys._differ(rows, "id", signed) is differ


def test_only_parts_whose_ranges_overlap_are_compared_again() -> None:
    def facts(part: int, lowest: int, highest: int, ascending: bool = True) -> KeyFacts:
        return KeyFacts(part, 1, 0, 0, 0, lowest, highest, ascending)

    apart = [facts(0, 0, 9), facts(1, 10, 19), facts(2, 30, 39)]
    assert to_compare(apart) == set()
    assert to_compare([*apart, facts(3, 15, 20)]) == {1, 3}
    assert to_compare([*apart, facts(3, 0, 25)]) == {0, 1, 3}
    assert to_compare([*apart, facts(3, 50, 70, False), facts(4, 60, 80, False)]) == set()
    assert to_compare([KeyFacts(0, 0, 0, 0, 0, None, None, True)]) == set()


@pytest.mark.parametrize("scan", ["auto", "spark"])
def test_a_start_on_the_same_files_proves_nothing_again(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scan: str
) -> None:
    pool = pool_frame().sample(frac=1, random_state=1)
    paths = write(tmp_path, labeled=labeled_frame(), pool=pool)
    config = config_for(tmp_path, unlabeled={"path": paths["pool"], "scan": scan})
    first = read_inputs(spark, config)
    proved = FrozenInputs.model_validate(normalized(first.frozen.as_json()))

    def looked(*_: Any) -> PoolKeys:
        raise AssertionError("the ids were looked at again")

    with monkeypatch.context() as patch:
        patch.setattr(survey, "survey_keys", looked)
        patch.setattr(frame_keys, "survey_keys", looked)
        again = read_inputs(spark, config, proved=proved)
        assert again.frozen == first.frozen
        assert (again.scan is None) == (first.scan is None)
        # Other labeled rows might be among the pool's.
        write(tmp_path, labeled=labeled_frame()[:-1])
        with pytest.raises(AssertionError, match="again"):
            read_inputs(spark, config, proved=proved)
