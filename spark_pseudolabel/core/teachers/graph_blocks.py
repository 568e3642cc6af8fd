"""A graph in blocks: each holds some thousand nodes, their edges, and what it tells other blocks.

Nodes are numbered cell by cell, so that rows near each other mostly follow each other; a block is
a range of cells. What its nodes are joined to outside is a list of nodes of other blocks, whose
scores are all that has to travel while labels spread. Which nodes a block has depends on the graph
alone, so that sums within blocks, and sums of these in their order, are the same on any cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from spark_pseudolabel.core.teachers.neighbor_search import RUN

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK_NODES = 65_536
"""Nodes of a block, unless its last cell is large."""


@dataclass(frozen=True)
class Numbering:
    """Where cells and blocks of nodes begin.

    Parameters
    ----------
    cells
        ndarray of shape (n_cells + 1,): the first node of each cell, none of which is empty, and
        the number of nodes.
    blocks
        ndarray of shape (n_blocks + 1,): likewise of the blocks.
    """

    cells: Integers
    blocks: Integers

    @classmethod
    def of(cls, sizes: Integers, block_nodes: int = BLOCK_NODES) -> Numbering:
        """Put cells of some sizes together to blocks.

        Examples
        --------
        >>> numbering = Numbering.of(np.array([3, 0, 2, 4, 1]), block_nodes=4)
        >>> numbering.cells.tolist(), numbering.blocks.tolist()
        ([0, 3, 5, 9, 10], [0, 5, 9, 10])
        """
        cells = np.append(0, np.cumsum(sizes[sizes > 0]))
        blocks = [0]
        for end in cells[1:].tolist():
            if end - blocks[-1] >= block_nodes or end == cells[-1]:
                blocks.append(end)
        return cls(cells.astype(np.int64), np.array(blocks, dtype=np.int64))

    @property
    def n_nodes(self) -> int:
        """How many there are."""
        return int(self.cells[-1])

    @property
    def n_blocks(self) -> int:
        """How many there are."""
        return len(self.blocks) - 1

    def block_of(self, numbers: Integers) -> Integers:
        """Return the block of each node."""
        return np.searchsorted(self.blocks, numbers, side="right") - 1

    def cell_of(self, numbers: Integers) -> Integers:
        """Return the cell of each node."""
        return np.searchsorted(self.cells, numbers, side="right") - 1


@dataclass(frozen=True)
class Block:
    """Some nodes and their edges.

    Parameters
    ----------
    first
        The number of its first node.
    nodes
        ndarray of shape (n,): the places of its nodes' rows among all ids.
    starts, columns, weights
        The edges of its nodes as a sparse matrix of shape (n, n + n_outside): by compressed rows,
        own nodes before those of other blocks.
    incoming
        ndarray of shape (n,): sums of the weights of edges to each node, without those from itself.
    outside
        ndarray of shape (n_outside,): the numbers of the other blocks' nodes, ascending.
    receivers, sent_starts, sent
        Which blocks are to know scores of this one, and of which nodes: receiver i of
        ``sent[sent_starts[i] : sent_starts[i + 1]]``, places in the block.
    """

    first: int
    nodes: NDArray[np.int32]
    starts: NDArray[np.int32]
    columns: NDArray[np.int32]
    weights: Floats
    incoming: Floats
    outside: Integers
    receivers: NDArray[np.int32]
    sent_starts: NDArray[np.int32]
    sent: NDArray[np.int32]

    @property
    def n_nodes(self) -> int:
        """How many nodes it has."""
        return len(self.nodes)

    @cached_property
    def matrix(self) -> csr_array:
        """The edges, of shape (n, n + n_outside)."""
        shape = (self.n_nodes, self.n_nodes + len(self.outside))
        return csr_array((self.weights, self.columns, self.starts), shape=shape)

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """The place of the node that each edge is of."""
        return np.repeat(np.arange(self.n_nodes, dtype=np.int32), np.diff(self.starts))

    @property
    def degree(self) -> Floats:
        """Sums of the weights of each node's edges, shape (n,)."""
        sums = np.bincount(self.rows, self.weights, minlength=self.n_nodes)
        return sums.astype(np.float64)


@dataclass(frozen=True)
class Edges:
    """Edges with an end in a block.

    Parameters
    ----------
    left, right
        ndarrays of shape (n,): the numbers of their ends; right is one of the nearest of left.
    weights
        ndarray of shape (n,).
    """

    left: Integers
    right: Integers
    weights: Floats

    def both_ways(self) -> Edges:
        """Return each edge in both directions, once: a weight tells nothing of the direction."""
        left = np.concatenate([self.left, self.right])
        right = np.concatenate([self.right, self.left])
        weights = np.concatenate([self.weights, self.weights])
        order = np.lexsort((right, left))
        left, right, weights = left[order], right[order], weights[order]
        first = np.ones(len(left), dtype=bool)
        first[1:] = (np.diff(left) != 0) | (np.diff(right) != 0)
        return Edges(left[first], right[first], weights[first])

    def one_way(self, loops: Integers) -> Edges:
        """Return the edges in order, and one of weight 1 from each of some nodes to itself."""
        left, right = (np.concatenate([ends, loops]) for ends in (self.left, self.right))
        weights = np.concatenate([self.weights, np.ones(len(loops))])
        order = np.lexsort((right, left))
        return Edges(left[order], right[order], weights[order])


def build_block(
    number: int, numbering: Numbering, places: NDArray[np.int32], edges: Edges
) -> Block:
    """Make a block.

    Parameters
    ----------
    number
        Of the block.
    numbering
        Of all nodes.
    places
        ndarray of shape (n,): of its nodes, in their order, the places of their rows.
    edges
        From :meth:`Edges.both_ways` or :meth:`Edges.one_way`: all with an end in the block.
    """
    low, high = numbering.blocks[number : number + 2].tolist()
    n = high - low
    from_here = (edges.left >= low) & (edges.left < high)
    to_here = (edges.right >= low) & (edges.right < high)
    rows, ends = edges.left[from_here] - low, edges.right[from_here]
    inside = to_here[from_here]
    outside = np.unique(ends[~inside])
    columns = np.where(inside, ends - low, n + np.searchsorted(outside, ends))
    arriving = to_here & (edges.left != edges.right)
    # Whose block is to know which of the nodes here, each once.
    known_to = numbering.block_of(edges.left[to_here & ~from_here])
    pairs = np.unique(known_to * n + (edges.right[to_here & ~from_here] - low))
    receivers, sent_starts = np.unique(pairs // n, return_index=True)
    return Block(
        first=low,
        nodes=places,
        starts=np.append(0, np.cumsum(np.bincount(rows, minlength=n))).astype(np.int32),
        columns=columns.astype(np.int32),
        weights=edges.weights[from_here],
        incoming=np.bincount(
            edges.right[arriving] - low, edges.weights[arriving], minlength=n
        ).astype(np.float64),
        outside=outside,
        receivers=receivers.astype(np.int32),
        sent_starts=np.append(sent_starts, len(pairs)).astype(np.int32),
        sent=(pairs % n).astype(np.int32),
    )


def local_components(block: Block) -> NDArray[np.int32]:
    """Return the number of the connected part of the block that each of its nodes is in."""
    n = block.n_nodes
    _, of_node = connected_components(block.matrix[:, :n], directed=True, connection="weak")
    components: NDArray[np.int32] = of_node.astype(np.int32)
    return components


def touching(
    block: Block, number: int, numbering: Numbering, own: NDArray[np.int32], others: Integers
) -> Integers:
    """Return which parts of other blocks the parts of a block are joined to.

    Parameters
    ----------
    block, number, numbering
        The block.
    own
        From :func:`local_components`.
    others
        ndarray of shape (n_outside,): of each node outside, the part of its block.

    Returns
    -------
    ndarray of shape (n_pairs, 2)
        Two parts of blocks each, by :func:`part_key`.
    """
    n = block.n_nodes
    leaving = block.columns >= n
    ends = block.columns[leaving] - n
    mine = part_key(np.int64(number), own[block.rows[leaving]])
    theirs = part_key(numbering.block_of(block.outside), others)[ends]
    pairs: Integers = np.unique(np.stack([mine, theirs], axis=1), axis=0)
    return pairs


def part_key(block: Integers | np.int64, part: NDArray[np.integer]) -> Integers:
    """Return one number for a block's number and that of a connected part of it.

    Examples
    --------
    >>> int(part_key(np.int64(2), np.array([3]))[0] - 2**33)
    3
    """
    keys: Integers = (np.asarray(block, dtype=np.int64) << 32) + part.astype(np.int64)
    return keys


def runs_of(cells: Integers) -> Integers:
    """Return where runs of :data:`~.neighbor_search.RUN` nodes begin, none across cells.

    Parameters
    ----------
    cells
        ndarray of shape (n_cells + 1,): where the cells begin, and the end.

    Examples
    --------
    >>> runs_of(np.array([0, 40, 50])).tolist()
    [0, 32, 40, 50]
    """
    in_cell = np.arange(cells[-1]) - np.repeat(cells[:-1], np.diff(cells))
    return np.append(np.flatnonzero(in_cell % RUN == 0), cells[-1])


def groups_of(pairs: Sequence[Integers]) -> tuple[Integers, Integers]:
    """Put parts of blocks that touch each other together.

    Parameters
    ----------
    pairs
        From :func:`touching`, of all blocks.

    Returns
    -------
    tuple
        The keys of the parts, ascending, and the least key of what each is connected with.
    """
    every = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    keys, ends = np.unique(every, return_inverse=True)
    ends = ends.reshape(-1, 2)
    joined = csr_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), (len(keys),) * 2)
    _, of_key = connected_components(joined, directed=False)
    _, first = np.unique(of_key, return_index=True)
    return keys, keys[first][of_key]
