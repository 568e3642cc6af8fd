"""The nearest neighbors of all rows, found by the executors.

Rows travel in blocks: one row of Spark's holds the ids and vectors of thousands of nodes as bytes.
A vector of its own columns would be turned over number by number on every way to Python and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import node_vectors
from spark_pseudolabel.core.nodes import NodeIds
from spark_pseudolabel.core.sampling import sample_limit
from spark_pseudolabel.core.teachers.graph_vectors import VectorMaker
from spark_pseudolabel.core.teachers.neighbor_graph import FoundNeighbors
from spark_pseudolabel.core.teachers.neighbor_search import (
    MAX_CELLS,
    ROWS_PER_CELL,
    Grid,
    Sketch,
    cells_of,
    cells_to_search,
    distinct_rows,
    find_centers,
    nearest,
    nearest_cells,
    nearest_found,
    neighbors_in_cell,
    spatial_order,
    values_hash,
)
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.frame.scoring import gathered
from spark_pseudolabel.spark.startup.freezing import freeze_imported
from spark_pseudolabel.store.files import unglobbed

BLOCK = pa.schema([("ids", pa.binary()), ("vectors", pa.binary()), ("invalid", pa.int64())])
"""Some nodes: ids (int64) and vectors (int32), and how many rows beside them are none."""

EDGES = pa.schema(
    [
        ("part", pa.int32()),
        ("nodes", pa.binary()),
        ("cells", pa.binary()),
        ("places", pa.binary()),
        ("neighbors", pa.binary()),
        ("squared", pa.binary()),
        ("copies", pa.binary()),
        ("originals", pa.binary()),
    ]
)
"""Some rows; see :class:`FoundNeighbors`."""

_SENT = pa.schema(
    [
        ("cell", pa.int32()),
        ("own", pa.binary()),
        ("own_vectors", pa.binary()),
        ("others", pa.binary()),
        ("other_cells", pa.binary()),
        ("other_vectors", pa.binary()),
    ]
)
"""The rows of a cell, and those of other cells that look for neighbors in it."""

_QUERIES = 500
_SAMPLE, _SAMPLE_OF_CELL = 20_000, 20
_SENT_BYTES, _SENT_ROWS = 64 * 2**20, 200_000
_ROWS_PER_TASK = 50_000
_TASKS_PER_CORE = 3


def vector_blocks(
    batches: Iterable[pa.RecordBatch],
    features: Sequence[Feature],
    nodes: NodeIds,
    vectors: VectorMaker,
) -> Iterator[pa.RecordBatch]:
    """Turn rows into blocks of nodes; in a worker."""
    for batch in batches:
        ids, X, reasons = node_vectors(batch, features, nodes, vectors)
        yield _batch(BLOCK, [ids.tobytes(), X.tobytes(), len(reasons)])


@dataclass(frozen=True)
class Search:
    """How neighbors are looked for.

    Parameters
    ----------
    ids
        ndarray of shape (n,): all node ids, ascending.
    centers
        ndarray of shape (n_cells, n_dimensions).
    n_searched
        In how many cells, the nearest, the neighbors of a row are looked for.
    k
        Number of neighbors.
    recall
        Share of the exact neighbors of some rows that is found so.
    invalid
        Rows of the pool that are no nodes.
    """

    ids: NDArray[np.int64]
    centers: Grid
    n_searched: int
    k: int
    recall: float
    invalid: int


@dataclass(frozen=True)
class _Seen:
    """What a look at the nodes has shown: all ids, and the vectors of those with the lowest."""

    ids: NDArray[np.int64]
    sampled: NDArray[np.int64]
    sample: Grid
    sketch: Sketch
    invalid: int


@dataclass(frozen=True)
class _Around:
    """The vectors in cells, and the nearest ones of some queries: cells, distances and hashes."""

    sketch: Sketch
    cells: NDArray[np.int32]
    squared: NDArray[np.float64]
    hashes: NDArray[np.int64]


def plan_search(spark: SparkSession, paths: Sequence[str], n_rows: int, k: int) -> Search:
    """Find out how neighbors are best looked for, by two looks at all nodes.

    Parameters
    ----------
    spark
        The session.
    paths
        Files of :func:`vector_blocks`.
    n_rows
        How many nodes there are, at most.
    k
        Number of neighbors.

    Raises
    ------
    InputError
        If two rows have the same id.
    """
    blocks = _read(spark, paths)
    most_cells = int(np.clip(n_rows // ROWS_PER_CELL, 1, MAX_CELLS))
    wanted = max(_SAMPLE, _SAMPLE_OF_CELL * most_cells)
    look = partial(_look, limit=sample_limit(wanted, n_rows))
    seen = gathered(blocks, look, _seen_together)
    assert seen is not None
    order = np.argsort(seen.sampled)
    sample = seen.sample[order][:wanted]
    _require_apart(seen.ids)
    with hold_threads(1):
        n_cells = min(most_cells, max(1, seen.sketch.n_distinct // ROWS_PER_CELL))
        centers = find_centers(sample, n_cells)
        queries = sample[distinct_rows(sample)[0][:_QUERIES]]
        near = nearest_cells(queries, centers, len(centers))
    around = gathered(
        blocks,
        partial(_look_around, queries=queries, centers=centers, k=k),
        partial(_around_together, k=k),
    )
    assert around is not None
    sizes = around.sketch.sizes(len(centers))
    n_searched, recall = cells_to_search(near, sizes, k, around.cells)
    return Search(seen.ids, centers, n_searched, k, recall, seen.invalid)


def write_edges(spark: SparkSession, paths: Sequence[str], search: Search, target: str) -> None:
    """Find the neighbors of all nodes and write them, of the schema :data:`EDGES`.

    Parameters
    ----------
    spark
        The session.
    paths
        Files of :func:`vector_blocks`.
    search
        How.
    target
        Directory to be made.
    """
    shared = spark.sparkContext.broadcast(search)
    cores = spark.sparkContext.defaultParallelism
    n_tasks = max(_TASKS_PER_CORE * cores, len(search.ids) // _ROWS_PER_TASK)

    def send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with hold_threads(1):
            yield from _sent(batches, shared.value)
        freeze_imported()

    def find(received: pa.Table) -> pa.Table:
        with hold_threads(1):
            found = _found(received, shared.value, n_tasks)
        freeze_imported()
        return found

    def merge(received: pa.Table) -> pa.Table:
        return _merged(received, shared.value.k)

    try:
        sent = _read(spark, paths).mapInArrow(send, from_arrow_schema(_SENT))
        by_cell = sent.repartition(min(n_tasks, len(search.centers)), "cell").groupBy("cell")
        found = by_cell.applyInArrow(find, from_arrow_schema(EDGES))
        by_part = found.repartition(n_tasks, "part").groupBy("part")
        edges = by_part.applyInArrow(merge, from_arrow_schema(EDGES))
        edges.write.mode("errorifexists").parquet(target)
    finally:
        shared.destroy()


def found_neighbors(edges: pa.Table, k: int) -> list[FoundNeighbors]:
    """Read what :func:`write_edges` wrote."""
    return [_found_row(row, k) for row in edges.to_pylist()]


def _found_row(row: Mapping[str, bytes], k: int) -> FoundNeighbors:
    return FoundNeighbors(
        np.frombuffer(row["nodes"], np.int32),
        np.frombuffer(row["cells"], np.int32),
        np.frombuffer(row["places"], np.int32),
        np.frombuffer(row["neighbors"], np.int32).reshape(-1, k),
        np.frombuffer(row["squared"], np.float32).reshape(-1, k),
        np.frombuffer(row["copies"], np.int32),
        np.frombuffer(row["originals"], np.int32),
    )


def _read(spark: SparkSession, paths: Sequence[str]) -> DataFrame:
    schema = from_arrow_schema(BLOCK)
    return spark.read.schema(schema).parquet(*map(unglobbed, paths))


def _require_apart(ids: NDArray[np.int64]) -> None:
    if (np.diff(ids) == 0).any():
        raise InputError(
            "Two rows have the same hash of id and random_state, by which a graph tells them "
            "apart. Choose another random_state.",
            code="same_hash",
            where="random_state",
        )


# --- in workers


def _nodes_of(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[NDArray[np.int64], Grid, int]]:
    """Yield ids, vectors and invalid rows of blocks."""
    for batch in batches:
        for ids, vectors, invalid in zip(*map(pa.Array.to_pylist, batch.columns), strict=True):
            of_block = np.frombuffer(ids, np.int64)
            if len(of_block):
                X = np.frombuffer(vectors, np.int32).reshape(len(of_block), -1)
                yield of_block, X, invalid
            else:
                yield of_block, np.zeros((0, 0), np.int32), invalid


def _look(batches: Iterable[pa.RecordBatch], limit: int | None) -> _Seen:
    ids, sampled, sample, invalid = [], [], [], 0
    sketch = _nowhere(np.zeros(0, np.int64))
    for of_block, X, refused in _nodes_of(batches):
        low = slice(None) if limit is None else of_block <= limit
        ids.append(of_block)
        invalid += refused
        if len(of_block):
            sampled.append(of_block[low])
            sample.append(X[low])
            sketch = Sketch.together([sketch, _nowhere(values_hash(X))])
    return _Seen(
        np.sort(np.concatenate(ids)),
        np.concatenate([np.zeros(0, np.int64), *sampled]),
        np.concatenate(sample) if sample else np.zeros((0, 0), np.int32),
        sketch,
        invalid,
    )


def _nowhere(hashes: NDArray[np.int64]) -> Sketch:
    return Sketch.of(hashes, np.zeros(len(hashes), np.int32))


def _seen_together(seen: Sequence[_Seen]) -> _Seen:
    samples = [part.sample for part in seen if len(part.sample)]
    return _Seen(
        np.sort(np.concatenate([part.ids for part in seen])),
        np.concatenate([part.sampled for part in seen]),
        np.concatenate(samples) if samples else np.zeros((0, 0), np.int32),
        Sketch.together([part.sketch for part in seen]),
        sum(part.invalid for part in seen),
    )


def _look_around(
    batches: Iterable[pa.RecordBatch],
    queries: Grid,
    centers: Grid,
    k: int,
) -> _Around:
    """Count the vectors of each cell, and find the nearest ones of each query."""
    parts = [_around_block(X, queries, centers, k) for _, X in _whole(batches)]
    return _around_together([_nothing_around(len(queries)), *parts], k)


def _nothing_around(n_queries: int) -> _Around:
    return _Around(
        _nowhere(np.zeros(0, np.int64)),
        np.zeros((n_queries, 0), np.int32),
        np.zeros((n_queries, 0)),
        np.zeros((n_queries, 0), np.int64),
    )


def _around_block(X: Grid, queries: Grid, centers: Grid, k: int) -> _Around:
    X = X[distinct_rows(X)[0]]
    cells, hashes = cells_of(X, centers), values_hash(X)
    # One more than asked for: a query is its own nearest row.
    found, squared = nearest(queries, X, min(k + 1, len(X)))
    squared = np.where(squared == 0, np.inf, squared)
    return _Around(Sketch.of(hashes, cells), cells[found], squared, hashes[found])


def _around_together(parts: Sequence[_Around], k: int) -> _Around:
    """Keep the nearest vectors, each once; a cell of -1 where there are less than k."""
    found = [
        np.concatenate([getattr(part, name) for part in parts], axis=1)
        for name in ("cells", "squared", "hashes")
    ]
    by_hash = np.argsort(found[2], axis=1, kind="stable")
    cells, squared, hashes = (np.take_along_axis(values, by_hash, axis=1) for values in found)
    squared[:, 1:][hashes[:, 1:] == hashes[:, :-1]] = np.inf
    order = np.lexsort((hashes, squared))[:, :k]
    cells, squared, hashes = (
        np.take_along_axis(values, order, axis=1) for values in (cells, squared, hashes)
    )
    cells = np.where(np.isfinite(squared), cells, -1)
    return _Around(Sketch.together([part.sketch for part in parts]), cells, squared, hashes)


def _whole(
    batches: Iterable[pa.RecordBatch], n_rows: int = _ROWS_PER_TASK
) -> Iterator[tuple[NDArray[np.int64], Grid]]:
    """Yield ids and vectors of blocks, some of them together so that most have `n_rows`."""
    ids: list[NDArray[np.int64]] = []
    vectors: list[Grid] = []
    for of_block, X, _ in _nodes_of(batches):
        if len(of_block):
            ids.append(of_block)
            vectors.append(X)
        if sum(map(len, ids)) >= n_rows:
            yield np.concatenate(ids), np.concatenate(vectors)
            ids, vectors = [], []
    if ids:
        yield np.concatenate(ids), np.concatenate(vectors)


def _sent(batches: Iterable[pa.RecordBatch], search: Search) -> Iterator[pa.RecordBatch]:
    """Send each row to its own cell, and to the others in which its neighbors are looked for."""
    for ids, X in _whole(batches, _SENT_ROWS):
        ids, X = ids[np.argsort(ids)], X[np.argsort(ids)]
        row_bytes = (8 + X.itemsize * X.shape[1]) * search.n_searched
        step = max(1, _SENT_BYTES // row_bytes)
        for start in range(0, len(ids), step):
            rows = slice(start, start + step)
            yield _sent_rows(ids[rows], X[rows], search)


def _sent_rows(ids: NDArray[np.int64], X: Grid, search: Search) -> pa.RecordBatch:
    near = nearest_cells(X, search.centers, search.n_searched)
    nodes = np.searchsorted(search.ids, ids).astype(np.int32)
    # Of rows alike the one with the lowest id has neighbors for all of them.
    first, _ = distinct_rows(X)
    own, others = near[:, 0], near[first, 1:].ravel()
    by_own, by_other = np.argsort(own, kind="stable"), np.argsort(others, kind="stable")
    guests = first[by_other // max(1, search.n_searched - 1)]
    cells = np.union1d(own, others)
    starts = np.searchsorted(own[by_own], np.append(cells, len(search.centers)))
    guest_starts = np.searchsorted(others[by_other], np.append(cells, len(search.centers)))
    columns = (
        (nodes[by_own], starts),
        (X[by_own], starts),
        (nodes[guests], guest_starts),
        (own[guests], guest_starts),
        (X[guests], guest_starts),
    )
    of_cells = [pa.array(cells), *(_ranges(values, places) for values, places in columns)]
    return pa.RecordBatch.from_arrays(of_cells, schema=_SENT)


def _ranges(values: NDArray[Any], starts: NDArray[np.intp]) -> pa.Array:
    """Return the bytes of ranges of rows, which follow each other, from each start to the next."""
    offsets = (starts * (values.nbytes // max(1, len(values)))).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.binary(), len(starts) - 1, buffers)


def _found(received: pa.Table, search: Search, n_parts: int) -> pa.Table:
    """Find the neighbors that rows have in a cell, and deal the rows to parts."""
    cell = received.column("cell")[0].as_py()
    own, others, cells = (_numbers(received, name) for name in ("own", "others", "other_cells"))
    X, X_others = (
        _numbers(received, name).reshape(-1, search.centers.shape[1])
        for name in ("own_vectors", "other_vectors")
    )
    by_node = np.argsort(own)
    own, X = own[by_node], X[by_node]
    first, like = distinct_rows(X)
    is_copy = first[like] != np.arange(len(own))
    copies, originals = own[is_copy], own[first[like[is_copy]]]
    own, X = own[first], X[first]
    found, squared = neighbors_in_cell(X, X_others, search.k)
    neighbors = np.where(found < 0, -1, own[np.maximum(found, 0)] if len(own) else -1)
    nodes = np.concatenate([own, others])
    homes = np.concatenate([np.full(len(own), cell, np.int32), cells])
    places = np.full(len(nodes), -1, dtype=np.int32)  # of others, their own cell tells
    places[spatial_order(X)] = np.arange(len(own))
    columns = (nodes, homes, places, neighbors.astype(np.int32), squared.astype(np.float32))
    n = len(search.ids)
    in_parts = _dealt(nodes, columns, n, n_parts)
    copies_in_parts = _dealt(copies, (copies, originals), n, n_parts)
    batches = [
        _batch(EDGES, [part, *map(np.ndarray.tobytes, (*rows, *alike))])
        for part, (rows, alike) in enumerate(zip(in_parts, copies_in_parts, strict=True))
        if len(rows[0]) or len(alike[0])
    ]
    return pa.Table.from_batches(batches, EDGES)


def _dealt(
    nodes: NDArray[np.int32], columns: Sequence[NDArray[Any]], n_nodes: int, n_parts: int
) -> list[tuple[NDArray[Any], ...]]:
    """Deal rows of some columns to parts, by the places of their nodes among all."""
    part_of = nodes.astype(np.int64) * n_parts // n_nodes
    order = np.argsort(part_of, kind="stable")
    starts = np.searchsorted(part_of[order], np.arange(n_parts + 1))
    return [
        tuple(values[order[start:stop]] for values in columns) for start, stop in pairwise(starts)
    ]


def _merged(received: pa.Table, k: int) -> pa.Table:
    """Put together what was found of the nodes of a part in several cells."""
    rows = [_found_row(row, k) for row in received.to_pylist()]
    nodes, cells, places, neighbors, squared, copies, originals = (
        np.concatenate([getattr(row, field.name) for row in rows]) for field in fields(rows[0])
    )
    # A copy was sent to other cells where the row that it is like was in another batch.
    kept = np.isin(nodes, copies, invert=True)
    nodes, cells, places, neighbors, squared = (
        values[kept] for values in (nodes, cells, places, neighbors, squared)
    )
    at_home = places >= 0
    order = np.argsort(nodes[at_home])
    distinct, neighbors, squared = nearest_found(nodes, neighbors, squared, k)
    columns = (
        *(distinct, cells[at_home][order], places[at_home][order], neighbors, squared),
        *(copies, originals),
    )
    part = received.column("part")[0].as_py()
    return pa.Table.from_batches([_batch(EDGES, [part, *(values.tobytes() for values in columns)])])


def _numbers(received: pa.Table, name: str) -> NDArray[np.int32]:
    return np.frombuffer(b"".join(received.column(name).to_pylist()), np.int32)


def _batch(schema: pa.Schema, values: Sequence[object]) -> pa.RecordBatch:
    columns = [pa.array([value], field.type) for value, field in zip(values, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
