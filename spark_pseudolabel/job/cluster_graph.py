"""A committed graph that is too large for the driver: labels spread over it by the executors."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark import RDD, Broadcast
from pyspark.sql import SparkSession

from spark_pseudolabel.core.teachers.block_gradients import (
    Descent,
    DescentCourse,
    Gradients,
    HarmonicBlocks,
    PoissonBlocks,
    Scaled,
)
from spark_pseudolabel.core.teachers.block_labels import LabelSets, Reached, batches_of
from spark_pseudolabel.core.teachers.block_products import ProductBlocks, ProductsCourse, Spread
from spark_pseudolabel.core.teachers.conjugate_gradients import Tell
from spark_pseudolabel.core.teachers.distant_graph import GraphSettings
from spark_pseudolabel.core.teachers.exact_median import (
    Counts,
    at_rank,
    high_bits,
    low_bits,
    number_of,
    together,
)
from spark_pseudolabel.core.teachers.graph_blocks import (
    BLOCK_NODES,
    Block,
    Integers,
    Numbering,
    groups_of,
)
from spark_pseudolabel.core.teachers.graph_solvers import (
    LEAST_SCALE,
    MEDIAN_ODDS,
    Labels,
)
from spark_pseudolabel.spark.block_spreading import (
    Blocks,
    Spreading,
    cell_equations,
    numbers_of,
    shared,
    surroundings,
)
from spark_pseudolabel.spark.graph_blocks import Matrix, StoredEdges, cell_sizes, write_blocks
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.manifest import GraphManifest
from spark_pseudolabel.store.milestones import Milestones
from spark_pseudolabel.store.store import RoundStore

_COLUMNS = 16
"""Columns of scores that are solved for together."""

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class ClusterGraph:
    """The graph of all rows, on the workers; see :class:`~.neighbors.DistantGraph`.

    Parameters
    ----------
    spark
        The session.
    store
        Where it is committed.
    manifest
        Of the graph.
    """

    spark: SparkSession
    store: RoundStore
    manifest: GraphManifest

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all rows, ascending."""
        ids: NDArray[np.int64] = (
            read_bytes(self.store.read_file(self.manifest.ids)).column("ids").to_numpy()
        )
        return ids

    def spread(
        self, sets: Sequence[Labels], n_classes: int, settings: GraphSettings, tell: Tell
    ) -> Sequence[Probabilities]:
        """Spread labels; see :meth:`~.neighbors.DistantGraph.spread`."""
        matrix = _matrix(settings)
        sizes = cell_sizes(self.spark, self._edges)
        numbering = Numbering.of(sizes, BLOCK_NODES)
        blocks = Blocks(self.spark, self._blocks(sizes, numbering, matrix), numbering)
        try:
            labels = self._label_sets(blocks, sets, n_classes)
            P = [_on_disk((len(self.ids), n_classes)) for _ in sets]
            columns = n_classes if _by_products(settings) else n_classes - 1
            for some in batches_of(len(sets), columns, _COLUMNS):
                task = _Task(blocks, _some(labels, some), settings, tell)
                task.solve(self._milestones(task.name), [P[place] for place in some])
        finally:
            blocks.free()
        copies, originals = self._copies
        for of_set in P:
            of_set[copies] = of_set[originals]
        return P

    @property
    def _edges(self) -> StoredEdges:
        paths = [join(self.store.root, entry.path) for entry in self.manifest.edges]
        return StoredEdges(paths, self.manifest.ids.rows, self.manifest.k)

    def _milestones(self, name: str) -> Milestones:
        return Milestones(self.store.files, join(_progress(self.store, self.manifest), name))

    def _blocks(self, sizes: Integers, numbering: Numbering, matrix: Matrix) -> str:
        """Return the directory of the graph's blocks, which are made once."""
        made = self._milestones(f"{matrix.name}-{BLOCK_NODES}")
        kept = made.latest()
        if kept is not None:
            return kept.path
        with made.reaching(0) as path:
            write_blocks(self.spark, self._edges, sizes, numbering, matrix, path)
        made.reached(0, {})
        return path

    @cached_property
    def _copies(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Places of rows that are where another one is, ascending, and of the latter."""
        rows = self._edges.read(self.spark).select("copies", "originals")
        parts = [np.zeros((2, 0), np.int32)]
        for row in rows.toLocalIterator():
            parts.append(np.stack([np.frombuffer(row[i], np.int32) for i in (0, 1)]))
        copies, originals = np.concatenate(parts, axis=1)
        order = np.argsort(copies)
        return copies[order], originals[order]

    def _label_sets(self, blocks: Blocks, sets: Sequence[Labels], n_classes: int) -> LabelSets:
        """Return labels of rows as those of nodes."""
        copies, originals = self._copies
        places = np.concatenate([labels.nodes for labels in sets]).astype(np.int64)
        if len(copies):
            at = np.minimum(np.searchsorted(copies, places), len(copies) - 1)
            places = np.where(copies[at] == places, originals[at], places)
        known, place = np.unique(places, return_inverse=True)
        numbers = numbers_of(blocks, known)[place]
        ends = np.cumsum([len(labels.nodes) for labels in sets])
        codes = tuple(labels.codes for labels in sets)
        return LabelSets(n_classes, tuple(np.split(numbers, ends[:-1])), codes)


def forget_progress(store: RoundStore) -> None:
    """Delete how far labels had spread, once a run needs it no more."""
    if store.graph is not None:
        store.files.delete_tree(_progress(store, store.graph))


def _progress(store: RoundStore, graph: GraphManifest) -> str:
    """Return the directory beside the graph's files that holds it."""
    return join(store.root, f"{graph.ids.path.rpartition('/')[0]}/spreading")


@dataclass(frozen=True)
class _Task:
    """Some sets of labels to spread.

    Parameters
    ----------
    blocks
        The graph.
    labels
        The sets.
    settings, tell
        As of a teacher.
    """

    blocks: Blocks
    labels: LabelSets
    settings: GraphSettings
    tell: Tell

    @property
    def name(self) -> str:
        """What its milestones are called by: all that the solution depends on."""
        asked = self.settings
        digest = sha256(repr((asked, self.labels.n_classes, BLOCK_NODES)).encode())
        for numbers, codes in zip(self.labels.numbers, self.labels.codes, strict=True):
            digest.update(len(codes).to_bytes(8, "little"))
            digest.update(numbers.tobytes() + codes.tobytes())
        return f"{asked.method}-{digest.hexdigest()[:16]}"

    def solve(self, milestones: Milestones, targets: Sequence[Probabilities]) -> None:
        """Spread the labels, and write the probabilities of each set."""
        if _by_products(self.settings):
            self._multiply(milestones, targets)
        else:
            self._descend(milestones, targets)

    def _multiply(self, milestones: Milestones, targets: Sequence[Probabilities]) -> None:
        asked, blocks = self.settings, self.blocks
        alpha = asked.alpha if asked.method == "spreading" else None
        enough = asked.tol * max(1.0, blocks.numbering.n_nodes / 1000)
        with shared(blocks.context, ProductBlocks(self.labels, alpha)) as scheme:
            spreading = Spreading(blocks, scheme, Spread, milestones, self.tell)
            states = spreading.spread(ProductsCourse(enough, asked.max_iter))
            self._write(states, scheme, targets)
            states.unpersist()

    def _descend(self, milestones: Milestones, targets: Sequence[Probabilities]) -> None:
        asked, blocks = self.settings, self.blocks
        around = surroundings(blocks, self.labels.nodes)
        reached = Reached.of(self.labels, around.parts, *groups_of(around.pairs))
        poisson = asked.method == "poisson"
        kind: type[Gradients] = PoissonBlocks if poisson else HarmonicBlocks
        with shared(blocks.context, kind(blocks.numbering, self.labels, reached)) as scheme:
            cells = cell_equations(blocks, scheme)
            spreading = Spreading(blocks, scheme, Descent, milestones, self.tell)
            states = spreading.spread(DescentCourse(cells, asked.tol / 1000, asked.max_iter))
            scaled = (self._scaled(states, scheme, reached),) if poisson else ()
            self._write(states, scheme, targets, *scaled)
            states.unpersist()

    def _scaled(
        self, states: RDD[Any], scheme: Broadcast[PoissonBlocks], reached: Reached
    ) -> Scaled:
        """Find what Poisson's scores become probabilities by; see :class:`~.Poisson`."""

        def add(number: int, block: Block, state: Descent) -> Any:
            return scheme.value.component_sums(state, block)

        n_columns = self.labels.n_sets * (self.labels.n_classes - 1)
        total = np.zeros((len(reached.has), 1 + n_columns))
        for components, sums in self.blocks.with_states(states, add).collect():
            total[components] += sums
        means = total[:, 1:] / np.maximum(total[:, :1], np.finfo(np.float64).tiny)

        def high(number: int, block: Block, state: Descent) -> list[tuple[Counts, float]]:
            apart = scheme.value.apart(state, block, means)
            return [(high_bits(values), float(values.max(initial=0.0))) for values in apart]

        upper = self.blocks.with_states(states, high).collect()
        counts = [together([part[place][0] for part in upper]) for place in self._places]
        most = [max(part[place][1] for part in upper) for place in self._places]
        found = [at_rank(n, (int(n[1].sum()) - 1) // 2) if len(n[0]) else (0, 0) for n in counts]

        def low(number: int, block: Block, state: Descent) -> list[Counts]:
            apart = scheme.value.apart(state, block, means)
            return [low_bits(v, bits) for v, (bits, _) in zip(apart, found, strict=True)]

        lower = self.blocks.with_states(states, low).collect()
        factors = []
        for place, (bits, rank) in enumerate(found):
            rest = together([part[place] for part in lower])
            median = number_of(bits, at_rank(rest, rank)[0]) if len(rest[0]) else 0.0
            scale = max(median, most[place] * LEAST_SCALE, float(np.finfo(np.float64).tiny))
            factors.append(np.log(MEDIAN_ODDS) / scale)
        return Scaled(means, np.array(factors))

    @property
    def _places(self) -> range:
        return range(self.labels.n_sets)

    def _write(
        self,
        states: RDD[Any],
        scheme: Broadcast[Any],
        targets: Sequence[Probabilities],
        *scaled: Scaled,
    ) -> None:
        def look(number: int, block: Block, state: Any) -> tuple[NDArray[np.int32], Probabilities]:
            P = scheme.value.scores(state, block, *scaled)
            return block.nodes, P.astype(np.float32)

        found = self.blocks.with_states(states, look)
        for nodes, P in found.toLocalIterator(prefetchPartitions=True):
            for place, target in enumerate(targets):
                target[nodes] = P[:, place]


def _matrix(settings: GraphSettings) -> Matrix:
    """Return the edges that a method multiplies by; see :func:`~.graph_solvers.make_solver`."""
    gaussian = settings.weights == "gaussian"
    directed = not gaussian and settings.method != "poisson"
    return Matrix(gaussian, directed, loops=directed and settings.method == "propagation")


def _by_products(settings: GraphSettings) -> bool:
    gaussian = settings.weights == "gaussian"
    return settings.method == "spreading" or (settings.method == "propagation" and not gaussian)


def _some(labels: LabelSets, places: range) -> LabelSets:
    kept = slice(places.start, places.stop)
    return LabelSets(labels.n_classes, labels.numbers[kept], labels.codes[kept])


def _on_disk(shape: tuple[int, int]) -> Probabilities:
    """Return an array that lies in a file without a name, so that memory does not have to hold it.

    Of every set of labels there is one with a row for each of the graph's.
    """
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape).view(np.ndarray)
