"""The keys of a pool that only Spark can read: how many, which, whether one occurs twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_pseudolabel.core.hashing import xor_all, xxhash64
from spark_pseudolabel.core.uniqueness import in_groups, repeated
from spark_pseudolabel.spark.direct.keys import MAX_SHARED, PoolKeys
from spark_pseudolabel.spark.reading.names import column, map_in_arrow

Batches = Iterable[pa.RecordBatch]

# Of the id column, as Spark estimates it: some 4 million numbers, or 2 million texts.
_GROUP_BYTES = 64 * 2**20
_MAX_GROUPS = 2_000
# What Spark says about tables of which it knows nothing is beyond any disk.
_UNKNOWN_BYTES = 10**16
_GROUPS_OF_UNKNOWN = 64
# Hashes that a task keeps before it shares them out.
_AT_ONCE = 1_000_000

_FACTS = pa.schema([(name, pa.int64()) for name in ("rows", "nulls", "known", "xor64")])
_GIVEN = _FACTS.append(pa.field("group", pa.int32())).append(pa.field("run", pa.binary()))
_TAKEN = _FACTS.append(pa.field("shared", pa.list_(pa.int64())))
_GIVEN_TYPE = "rows long, nulls long, known long, xor64 long, group int, run binary"
_TAKEN_TYPE = "rows long, nulls long, known long, xor64 long, shared array<long>"


def survey_keys(rows: DataFrame, key: str, known: pa.Array) -> PoolKeys:
    """Look at all keys; an action, in which their hashes are exchanged and nothing else.

    Parameters
    ----------
    rows
        The pool.
    key
        Its id column, bigint or string.
    known
        Keys that must not occur.
    """
    ids = rows.select(column(key))
    n_groups = _group_count(ids)
    sent = map_in_arrow(ids, _sending(known, n_groups), _GIVEN_TYPE)
    facts = sent.repartition(n_groups, "group").mapInArrow(_summarize_group, _TAKEN_TYPE).collect()
    shared = [value for row in facts for value in row["shared"]]
    return PoolKeys(
        rows=sum(row["rows"] for row in facts),
        nulls=sum(row["nulls"] for row in facts),
        known=sum(row["known"] for row in facts),
        xor64=xor_all(row["xor64"] for row in facts),
        unique=_differ(ids, key, shared),
    )


def count_keys(rows: DataFrame, key: str) -> tuple[int, int]:
    """Return how many rows there are and a hash over all keys, the same in any order; an action."""
    hashes = F.xxhash64(column(key))
    row = rows.agg(F.count(F.lit(1)).alias("rows"), F.bit_xor(hashes).alias("xor64")).collect()[0]
    return int(row["rows"]), int(row["xor64"] or 0)


def _group_count(ids: DataFrame) -> int:
    """Return into how many groups hashes are shared out, told without a look at the rows."""
    plan: Any = ids._jdf.queryExecution().optimizedPlan()
    size = int(str(plan.stats().sizeInBytes()))
    if size > _UNKNOWN_BYTES:
        return _GROUPS_OF_UNKNOWN
    return max(1, min(_MAX_GROUPS, -(-size // _GROUP_BYTES)))


def _sending(known: pa.Array, n_groups: int) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def give(batches: Batches) -> Iterator[pa.RecordBatch]:
        waiting: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
        for batch in batches:
            keys = batch.column(0)
            hashes = xxhash64([keys])
            waiting.append(hashes)
            n_known = int(pc.sum(pc.is_in(keys, value_set=known)).as_py() or 0)
            facts = [len(keys), keys.null_count, n_known, xor_all(hashes)]
            yield _batch(_GIVEN, [[*facts, 0, None]])
            if sum(map(len, waiting)) >= _AT_ONCE:
                yield _shared_out(waiting, n_groups)
                waiting = []
        if waiting:
            yield _shared_out(waiting, n_groups)

    return give


def _shared_out(
    hashes: list[np.ndarray[tuple[int], np.dtype[np.int64]]], n_groups: int
) -> pa.RecordBatch:
    runs = in_groups(np.concatenate(hashes), n_groups)
    return _batch(_GIVEN, [[0, 0, 0, 0, group, run.tobytes()] for group, run in runs])


def _summarize_group(batches: Batches) -> Iterator[pa.RecordBatch]:
    rows = pa.Table.from_batches(batches, schema=_GIVEN)
    facts = [pc.sum(rows.column(name)).as_py() or 0 for name in ("rows", "nulls", "known")]
    runs = [np.frombuffer(run, dtype=np.uint64) for run in rows.column("run").to_pylist() if run]
    shared = repeated(runs)[: MAX_SHARED + 1].view(np.int64).tolist()
    yield _batch(_TAKEN, [[*facts, xor_all(rows.column("xor64").to_pylist()), shared]])


def _batch(schema: pa.Schema, rows: list[list[object]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _differ(ids: DataFrame, key: str, shared: list[int]) -> bool:
    """Whether all keys whose hashes are equal are different."""
    if not shared:
        return True
    if len(shared) > MAX_SHARED:
        return False
    same = ids.filter(F.xxhash64(column(key)).isin(shared)).limit(4 * MAX_SHARED).collect()
    return len(same) < 4 * MAX_SHARED and len({row[0] for row in same}) == len(same)
