"""Labels spread over a graph by the executors, block by block.

Blocks lie on the workers' disks, and so does how far each has come. For a step, scores of nodes
that edges of other blocks end at are joined to these blocks, each of which then works by itself;
a few sums come to the driver, which says what comes next. Blocks are numbered, sums are added up
in their order, and which nodes a block has depends on the graph alone: so do the labels.

Every few steps all is written to the output. A run that is killed goes on from there.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark import RDD, Broadcast, SparkContext, StorageLevel
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from spark_pseudolabel.core.teachers.block_gradients import CellEquations, CellSums, Gradients
from spark_pseudolabel.core.teachers.block_scheme import Course, Scheme, parcels, received
from spark_pseudolabel.core.teachers.conjugate_gradients import Tell
from spark_pseudolabel.core.teachers.graph_blocks import (
    Block,
    Integers,
    Numbering,
    local_components,
    part_key,
    touching,
)
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.spark.graph_blocks import BLOCKS
from spark_pseudolabel.spark.packing import packed, packed_schema, unpacked
from spark_pseudolabel.spark.startup.freezing import freeze_imported
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import unglobbed
from spark_pseudolabel.store.milestones import Milestones

Values = NDArray[np.float64]

KEPT_EVERY = 10
"""Steps after which all is written to the output."""


@dataclass(frozen=True)
class _Sent:
    """What a block has sent to another one."""

    sender: int
    values: Values


@dataclass(frozen=True)
class _Ends:
    """Which nodes of a block others are to know, without its edges."""

    receivers: NDArray[np.int32]
    sent_starts: NDArray[np.int32]
    sent: NDArray[np.int32]


class Blocks:
    """The blocks of a graph, on the workers' disks.

    Parameters
    ----------
    spark
        The session.
    path
        What :func:`~spark_pseudolabel.spark.graph_blocks.write_blocks` has written.
    numbering
        Of the nodes.
    """

    def __init__(self, spark: SparkSession, path: str, numbering: Numbering):
        self.spark = spark
        self.numbering = numbering
        table = spark.read.schema(from_arrow_schema(BLOCKS)).parquet(unglobbed(path))
        self.each = self.placed(table.rdd.map(_block_of))
        self._ends = self.placed(self.each.map(_ends_of))

    @property
    def context(self) -> SparkContext:
        """Of the session."""
        return self.spark.sparkContext

    def placed(self, numbered: RDD[Any]) -> RDD[Any]:
        """Put what belongs to a block where the block is, and keep it."""
        there = numbered.partitionBy(self.numbering.n_blocks, int)
        return there.persist(StorageLevel.DISK_ONLY)

    def free(self) -> None:
        """Give the workers' disks back."""
        for rows in (self.each, self._ends):
            rows.unpersist()
        collect_garbage(self.context)

    def joined(
        self,
        states: RDD[Any],
        give: Callable[[Any], Values],
        take: Callable[[int, Block, Any, Values], Any],
    ) -> RDD[Any]:
        """Let each block know values of the nodes outside that its edges end at.

        Parameters
        ----------
        states
            Of each block's number, anything.
        give
            Makes values of a state, of shape (n, n_columns).
        take
            Gets number, block, state, and an array of shape (n_outside, n_columns).

        Returns
        -------
        RDD
            Of each block's number: what `take` returned.
        """
        sent = self._ends.union(states).mapPartitions(_sending(give))
        sent = sent.partitionBy(self.numbering.n_blocks, int)
        parts = self.each.union(states).union(sent)
        return parts.mapPartitions(_taking(give, take), preservesPartitioning=True)

    def with_states(self, states: RDD[Any], function: Callable[[int, Block, Any], Any]) -> RDD[Any]:
        """Call a function with number, block and state of each block; return what it gave."""

        def call(items: Iterable[tuple[int, Any]]) -> Iterator[Any]:
            blocks, states, _ = _sorted_out(items)
            with hold_threads(1):
                for number, block in blocks.items():
                    yield function(number, block, states[number])
            freeze_imported()

        return self.each.union(states).mapPartitions(call)


def collect_garbage(context: SparkContext) -> None:
    """Let Spark delete the files of exchanges that are over: it does so as the JVM frees objects.

    A driver that holds few objects would not for hours, and the workers' disks fill up.
    """
    context._jvm.System.gc()  # type: ignore[union-attr]


# --- what there is before labels spread


@dataclass(frozen=True)
class Surroundings:
    """Which parts of blocks are connected, and where some nodes are.

    Parameters
    ----------
    pairs
        ndarrays of shape (n_pairs, 2), of each block those of
        :func:`~spark_pseudolabel.core.teachers.graph_blocks.touching`.
    parts
        ndarray of shape (n_nodes,): the part of each of the nodes asked for.
    """

    pairs: Sequence[Integers]
    parts: Integers


def numbers_of(blocks: Blocks, places: NDArray[np.int64]) -> Integers:
    """Return the numbers of the nodes whose rows have some places among all ids, ascending.

    Raises
    ------
    ValueError
        If a place is that of no node.
    """

    def look(item: tuple[int, Block]) -> tuple[Integers, Integers]:
        _, block = item
        found = np.flatnonzero(np.isin(block.nodes, places))
        return block.nodes[found].astype(np.int64), found + block.first

    answers = blocks.each.map(look).collect()
    found, numbers = (np.concatenate([answer[i] for answer in answers]) for i in (0, 1))
    if len(found) != len(places):
        raise ValueError("every labeled row must be in the graph")
    ordered: Integers = numbers[np.argsort(found)]
    return ordered


def surroundings(blocks: Blocks, nodes: Integers) -> Surroundings:
    """Find out which parts of blocks touch each other, and which ones some nodes are in.

    Parameters
    ----------
    blocks
        The graph.
    nodes
        Numbers, ascending.
    """
    numbering = blocks.numbering

    def parts(number: int, block: Block) -> NDArray[np.int32]:
        return local_components(block)

    def give(own: NDArray[np.int32]) -> Values:
        return own[:, np.newaxis].astype(np.float64)

    def look(number: int, block: Block, own: NDArray[np.int32], outside: Values) -> Any:
        pairs = touching(block, number, numbering, own, outside[:, 0].astype(np.int64))
        here = nodes[(nodes >= block.first) & (nodes < block.first + block.n_nodes)]
        return pairs, part_key(np.int64(number), own[here - block.first])

    begun = blocks.each.map(_numbered(parts), preservesPartitioning=True)
    answers = dict(blocks.joined(begun, give, look).collect())
    each = [answers[number] for number in range(numbering.n_blocks)]
    return Surroundings([pairs for pairs, _ in each], np.concatenate([keys for _, keys in each]))


def cell_equations(blocks: Blocks, scheme: Broadcast[Gradients]) -> CellEquations:
    """Put the equations between cells together."""

    def sums(number: int, block: Block) -> CellSums:
        return scheme.value.cell_sums(number, block)

    answers = dict(blocks.each.map(_numbered(sums)).collect())
    parts = [answers[number] for number in range(blocks.numbering.n_blocks)]
    with hold_threads(1):
        return CellEquations.of(len(blocks.numbering.cells) - 1, parts)


# --- spreading


@dataclass(frozen=True)
class Spreading:
    """One way to spread labels, under way.

    Parameters
    ----------
    blocks
        The graph.
    scheme
        What blocks do.
    kind
        Of their states.
    milestones
        Where these are kept.
    tell
        Is told the number of products, and the change or residual.
    """

    blocks: Blocks
    scheme: Broadcast[Scheme[Any, Any, Any]]
    kind: type[Any]
    milestones: Milestones
    tell: Tell

    def spread(self, course: Course[Any, Any]) -> RDD[Any]:
        """Go on from what is kept, or begin; return the last state of each block."""
        states, course, kept = self._begin(course)
        before: RDD[Any] | None = None
        while True:
            sums = self._told(states)
            if before is not None:
                before.unpersist()
            with hold_threads(1):
                told = course.after(sums)
            self.tell(course.made, told.change)
            if told.step is None:
                return states if kept == course.made else self._keep(states, course)
            course = told.course
            states, before = self._advanced(states, told.step), states
            if course.made % KEPT_EVERY == 0:
                states, kept = self._keep(states, course), course.made

    def _begin(self, course: Course[Any, Any]) -> tuple[RDD[Any], Course[Any, Any], int | None]:
        """Return states, course, and the number of the milestone that they are of."""
        latest = self.milestones.latest()
        if latest is not None:
            course = course.resumed(latest.remembered)
            return self._read(latest.path), course, course.made
        scheme = self.scheme

        def start(number: int, block: Block) -> Any:
            return scheme.value.start(number, block)

        begun = self.blocks.each.map(_numbered(start), preservesPartitioning=True)
        return self._advanced(begun, None), course, None

    def _advanced(self, states: RDD[Any], step: Any) -> RDD[Any]:
        scheme = self.scheme

        def give(state: Any) -> Values:
            values: Values = scheme.value.sent(state, step)
            return values

        def take(number: int, block: Block, state: Any, outside: Values) -> Any:
            return scheme.value.advanced(state, block, step, outside)

        return self.blocks.joined(states, give, take).persist(StorageLevel.DISK_ONLY)

    def _told(self, states: RDD[Any]) -> list[Any]:
        scheme = self.scheme

        def ask(numbered: tuple[int, Any]) -> tuple[int, Any]:
            with hold_threads(1):
                return numbered[0], scheme.value.told(numbered[1])

        return [told for _, told in sorted(states.map(ask).collect(), key=_first)]

    def _keep(self, states: RDD[Any], course: Course[Any, Any]) -> RDD[Any]:
        """Write states, and read them again: what led to them is forgotten."""
        with self.milestones.reaching(course.made) as path:
            schema = from_arrow_schema(packed_schema(self.kind))
            rows = states.map(_row_of)
            table = self.blocks.spark.createDataFrame(rows, schema, verifySchema=False)
            table.write.mode("overwrite").parquet(path)
        self.milestones.reached(course.made, course.remembered())
        states.unpersist()
        collect_garbage(self.blocks.context)
        failpoint("graph.spreading")
        return self._read(path)

    def _read(self, path: str) -> RDD[Any]:
        schema, kind = from_arrow_schema(packed_schema(self.kind)), self.kind
        table = self.blocks.spark.read.schema(schema).parquet(unglobbed(path))

        def state(row: Any) -> tuple[int, Any]:
            return unpacked(kind, row)

        return self.blocks.placed(table.rdd.map(state))


@contextlib.contextmanager
def shared(context: SparkContext, value: Any) -> Iterator[Broadcast[Any]]:
    """Send a value to the executors for as long as the block lasts."""
    broadcast = context.broadcast(value)
    try:
        yield broadcast
    finally:
        broadcast.destroy()


# --- in workers


def _block_of(row: Any) -> tuple[int, Block]:
    number, block = unpacked(Block, row)
    return number, block


def _ends_of(item: tuple[int, Block]) -> tuple[int, _Ends]:
    number, block = item
    return number, _Ends(block.receivers, block.sent_starts, block.sent)


def _row_of(numbered: tuple[int, Any]) -> tuple[Any, ...]:
    return tuple(packed(*numbered).values())


def _numbered(function: Callable[[int, Block], Any]) -> Callable[[tuple[int, Block]], Any]:
    def call(item: tuple[int, Block]) -> tuple[int, Any]:
        with hold_threads(1):
            return item[0], function(*item)

    return call


def _first(numbered: tuple[int, Any]) -> int:
    return numbered[0]


def _sending(give: Callable[[Any], Values]) -> Callable[..., Iterator[tuple[int, _Sent]]]:
    """Yield what each block sends, by the number of who is to know it."""

    def call(items: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, _Sent]]:
        ends: dict[int, _Ends] = {}
        states: dict[int, Any] = {}
        for number, item in items:
            (ends if isinstance(item, _Ends) else states)[number] = item
        with hold_threads(1):
            for number, state in states.items():
                for receiver, part in parcels(ends[number], give(state)):
                    yield receiver, _Sent(number, part)
        freeze_imported()

    return call


def _sorted_out(
    items: Iterable[tuple[int, Any]],
) -> tuple[dict[int, Block], dict[int, Any], dict[int, list[tuple[int, Values]]]]:
    blocks: dict[int, Block] = {}
    states: dict[int, Any] = {}
    sent: dict[int, list[tuple[int, Values]]] = defaultdict(list)
    for number, item in items:
        if isinstance(item, Block):
            blocks[number] = item
        elif isinstance(item, _Sent):
            sent[number].append((item.sender, item.values))
        else:
            states[number] = item
    return blocks, states, sent


def _taking(
    give: Callable[[Any], Values], take: Callable[[int, Block, Any, Values], Any]
) -> Callable[..., Iterator[tuple[int, Any]]]:
    def call(items: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        blocks, states, sent = _sorted_out(items)
        with hold_threads(1):
            for number, block in blocks.items():
                state, parts = states[number], sent[number]
                # Columns that nobody has sent are counted on the own ones.
                width = (parts[0][1] if parts else give(state)).shape[1]
                yield number, take(number, block, state, received(block, parts, width))
        freeze_imported()

    return call
