"""The edges that workers have found, dealt to blocks of nodes.

Two joins on narrow rows that each hold thousands of edges as bytes: an edge goes to where its
neighbor is known, for the neighbor's number and scale, and from there to the blocks of both ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from spark_pseudolabel.core.teachers.graph_blocks import (
    Block,
    Edges,
    Integers,
    Numbering,
    build_block,
)
from spark_pseudolabel.core.teachers.neighbor_graph import FoundNeighbors
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.spark.frame.scoring import gathered
from spark_pseudolabel.spark.neighbors import EDGES, found_neighbors
from spark_pseudolabel.spark.packing import packed, packed_schema
from spark_pseudolabel.spark.startup.freezing import freeze_imported
from spark_pseudolabel.store.files import unglobbed

BLOCKS = packed_schema(Block)
"""A block in each row: its number, and its arrays."""

_KNOWN = pa.schema(
    [
        ("part", pa.int32()),
        ("nodes", pa.binary()),
        ("numbers", pa.binary()),
        ("last", pa.binary()),
        ("wanted", pa.binary()),
        ("left", pa.binary()),
        ("left_last", pa.binary()),
        ("squared", pa.binary()),
    ]
)
"""Nodes of a part with their number and the squared distance to their last neighbor, and edges to
nodes of the part: those nodes, and of the other ends the same."""

_DEALT = pa.schema(
    [
        ("block", pa.int32()),
        ("numbers", pa.binary()),
        ("places", pa.binary()),
        ("left", pa.binary()),
        ("right", pa.binary()),
        ("weights", pa.binary()),
    ]
)
"""Nodes of a block, and edges with an end in it."""

ROWS_PER_TASK = 50_000
"""Rows whose edges are looked up and dealt together."""
_TASKS_PER_CORE = 3


@dataclass(frozen=True)
class Matrix:
    """Which edges a graph has, and what they weigh.

    Parameters
    ----------
    gaussian
        See :meth:`~.neighbor_graph.NeighborGraph.symmetric`; else each weighs 1.
    directed
        As in :meth:`~.neighbor_graph.NeighborGraph.directed`, but for the edges to the node itself.
    loops
        Whether each node has one.
    """

    gaussian: bool
    directed: bool = False
    loops: bool = False

    @property
    def name(self) -> str:
        """What its files are called by."""
        parts = {"gaussian": self.gaussian, "directed": self.directed, "loops": self.loops}
        return "-".join(["blocks", *(name for name, is_so in parts.items() if is_so)])


@dataclass(frozen=True)
class StoredEdges:
    """The committed edges.

    Parameters
    ----------
    paths
        Their files, of the schema :data:`~spark_pseudolabel.spark.neighbors.EDGES`.
    n_rows
        How many rows there are, copies included.
    k
        Neighbors of each.
    """

    paths: Sequence[str]
    n_rows: int
    k: int

    def read(self, spark: SparkSession) -> DataFrame:
        """Return them as rows of Spark's."""
        return spark.read.schema(from_arrow_schema(EDGES)).parquet(*map(unglobbed, self.paths))

    def found(self, batches: Iterable[pa.RecordBatch]) -> Iterator[FoundNeighbors]:
        """Yield them in a worker."""
        for batch in batches:
            yield from found_neighbors(pa.Table.from_batches([batch]), self.k)


def cell_sizes(spark: SparkSession, edges: StoredEdges) -> Integers:
    """Count the nodes of each cell, in the order of the cells."""

    def look(batches: Iterable[pa.RecordBatch]) -> Integers:
        counts = [np.bincount(part.cells) for part in edges.found(batches)]
        return together(counts)

    def together(counts: Sequence[Integers]) -> Integers:
        total = np.zeros(max(map(len, counts), default=0), dtype=np.int64)
        for some in counts:
            total[: len(some)] += some
        return total

    sizes = gathered(edges.read(spark), look, together)
    assert sizes is not None
    return sizes


def write_blocks(
    spark: SparkSession,
    edges: StoredEdges,
    sizes: Integers,
    numbering: Numbering,
    matrix: Matrix,
    target: str,
) -> None:
    """Deal edges to blocks and write these, of the schema :data:`BLOCKS`.

    Parameters
    ----------
    spark
        The session.
    edges
        The committed ones.
    sizes
        From :func:`cell_sizes`.
    numbering
        Of the nodes.
    matrix
        What is made of the edges.
    target
        Directory to be made.
    """
    first_of_cell = np.append(0, np.cumsum(sizes))
    cores = spark.sparkContext.defaultParallelism
    n_parts = min(edges.n_rows, max(_TASKS_PER_CORE * cores, edges.n_rows // ROWS_PER_TASK))
    n_tasks = min(n_parts, numbering.n_blocks)

    def ask(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for found in edges.found(batches):
            yield from _asked(found, first_of_cell, matrix, edges.n_rows, n_parts)
        freeze_imported()

    def deal(received: pa.Table) -> pa.Table:
        return _dealt_edges(received, numbering, matrix)

    def build(received: pa.Table) -> pa.Table:
        with hold_threads(1):
            return _built(received, numbering, matrix)

    asked = edges.read(spark).mapInArrow(ask, from_arrow_schema(_KNOWN))
    by_part = asked.repartition(n_parts, "part").groupBy("part")
    dealt = by_part.applyInArrow(deal, from_arrow_schema(_DEALT))
    by_block = dealt.repartition(n_tasks, "block").groupBy("block")
    built = by_block.applyInArrow(build, from_arrow_schema(BLOCKS))
    built.write.mode("overwrite").parquet(target)


# --- in workers


def _asked(
    found: FoundNeighbors, first_of_cell: Integers, matrix: Matrix, n_rows: int, n_parts: int
) -> Iterator[pa.RecordBatch]:
    """Send nodes, and edges by the place of the neighbor, to the parts that know it."""
    k = found.neighbors.shape[1] - matrix.directed  # there the node itself is the first of k
    there = np.isfinite(found.squared) & (found.neighbors >= 0)
    last = np.where(there, found.squared, np.float32(0)).max(axis=1)
    numbers = (first_of_cell[found.cells] + found.places).astype(np.int32)
    wanted = found.neighbors[:, :k][there[:, :k]]
    of_row = np.nonzero(there[:, :k])[0]
    squared = found.squared[:, :k][there[:, :k]]
    nodes = _parts_of(found.nodes, (found.nodes, numbers, last), n_rows, n_parts)
    ends = (wanted, numbers[of_row], last[of_row], squared)
    edges = _parts_of(wanted, ends, n_rows, n_parts)
    for part in range(n_parts):
        if len(nodes[part][0]) or len(edges[part][0]):
            yield _row(_KNOWN, part, (*nodes[part], *edges[part]))


def _parts_of(
    places: NDArray[np.int32], columns: Sequence[NDArray[Any]], n_rows: int, n_parts: int
) -> list[tuple[NDArray[Any], ...]]:
    return _split(places.astype(np.int64) * n_parts // n_rows, columns, n_parts)


def _split(
    to: Integers, columns: Sequence[NDArray[Any]], n_targets: int
) -> list[tuple[NDArray[Any], ...]]:
    """Deal rows of some columns to numbered targets."""
    order = np.argsort(to, kind="stable")
    starts = np.searchsorted(to[order], np.arange(n_targets + 1))
    return [tuple(values[order[low:high]] for values in columns) for low, high in pairwise(starts)]


def _dealt_edges(received: pa.Table, numbering: Numbering, matrix: Matrix) -> pa.Table:
    """Weigh the edges to nodes of a part, and send both to their blocks."""
    nodes, numbers, wanted, left = (
        _numbers(received, name, np.int32) for name in ("nodes", "numbers", "wanted", "left")
    )
    last, left_last, squared = (
        _numbers(received, name, np.float32) for name in ("last", "left_last", "squared")
    )
    order = np.argsort(nodes)
    end = order[np.searchsorted(nodes[order], wanted)]
    right = numbers[end]
    weights = np.ones(len(right))
    if matrix.gaussian:
        scales = np.sqrt(left_last.astype(np.float64)) * np.sqrt(last[end].astype(np.float64))
        weights = np.exp(-4.0 * squared / np.maximum(scales, np.finfo(float).tiny))
    own = _split(numbering.block_of(numbers), (numbers, nodes), numbering.n_blocks)
    of_left, of_right = numbering.block_of(left), numbering.block_of(right)
    crossing = of_left != of_right
    to = np.concatenate([of_left, of_right[crossing]])
    ends = [np.concatenate([values, values[crossing]]) for values in (left, right, weights)]
    edges = _split(to, ends, numbering.n_blocks)
    rows = [
        _row(_DEALT, block, (*own[block], *edges[block]))
        for block in range(numbering.n_blocks)
        if len(own[block][0]) or len(edges[block][0])
    ]
    return pa.Table.from_batches(rows, _DEALT)


def _built(received: pa.Table, numbering: Numbering, matrix: Matrix) -> pa.Table:
    """Make a block of all that was sent to it."""
    number = received.column("block")[0].as_py()
    numbers, places, left, right = (
        _numbers(received, name, np.int32) for name in ("numbers", "places", "left", "right")
    )
    weights = _numbers(received, "weights", np.float64)
    edges = Edges(left.astype(np.int64), right.astype(np.int64), weights)
    if matrix.directed:
        edges = edges.one_way(np.sort(numbers).astype(np.int64) if matrix.loops else _NONE)
    else:
        edges = edges.both_ways()
    block = build_block(number, numbering, places[np.argsort(numbers)], edges)
    return pa.Table.from_pylist([packed(number, block)], BLOCKS)


_NONE = np.zeros(0, dtype=np.int64)


def _numbers(received: pa.Table, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    numbers: NDArray[Any] = np.frombuffer(b"".join(received.column(name).to_pylist()), dtype)
    return numbers


def _row(schema: pa.Schema, key: int, columns: Sequence[NDArray[Any]]) -> pa.RecordBatch:
    values = [key, *(column.tobytes() for column in columns)]
    arrays = [pa.array([value], field.type) for value, field in zip(values, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
