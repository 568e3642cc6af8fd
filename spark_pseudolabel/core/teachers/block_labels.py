"""What labels say before they spread over blocks: of the nodes that have one, and around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.graph_blocks import Integers, part_key

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LabelSets:
    """Several sets of labels, such as those of the folds.

    Parameters
    ----------
    n_classes
        Number of classes.
    numbers, codes
        One ndarray of shape (n_labels,) for each set: the numbers of nodes, of which one may have
        several labels, and class indices.
    """

    n_classes: int
    numbers: tuple[Integers, ...]
    codes: tuple[NDArray[np.int32], ...]

    @property
    def n_sets(self) -> int:
        """How many there are."""
        return len(self.numbers)

    @property
    def nodes(self) -> Integers:
        """The numbers of all nodes with a label in any set, ascending."""
        return np.unique(np.concatenate([np.zeros(0, np.int64), *self.numbers]))

    def shares(self, place: int) -> tuple[Integers, Floats]:
        """Return the nodes of a set, each once, and the shares of their labels by class."""
        nodes, of_label = np.unique(self.numbers[place], return_inverse=True)
        Y = np.zeros((len(nodes), self.n_classes))
        np.add.at(Y, (of_label, self.codes[place]), 1.0)
        return nodes, Y / Y.sum(axis=1, keepdims=True)

    def put(self, target: Floats, first: int) -> None:
        """Write the shares of a block's labels into an array of shape (n, n_sets, n_classes)."""
        for place in range(self.n_sets):
            nodes, Y = self.shares(place)
            here = (nodes >= first) & (nodes < first + len(target))
            target[nodes[here] - first, place] = Y[here]

    def unlabeled(self, first: int, n: int) -> NDArray[np.bool_]:
        """Return which nodes of a block have no label in each set, shape (n, n_sets)."""
        free = np.ones((n, self.n_sets), dtype=bool)
        for place, nodes in enumerate(self.numbers):
            here = nodes[(nodes >= first) & (nodes < first + n)]
            free[here - first, place] = False
        return free


@dataclass(frozen=True)
class Reached:
    """The connected components that have a label, and what their labels are.

    Parameters
    ----------
    parts, components
        ndarrays of shape (n_parts,): keys of parts of blocks, ascending, and the number of the
        component that each is of; parts without a label in any set are left out.
    has
        ndarray of bool, shape (n_components, n_sets, n_classes): which labels there are.
    means
        ndarray of the same shape: the mean of the shares of the nodes with labels; 0 without any.
    """

    parts: Integers
    components: NDArray[np.int32]
    has: NDArray[np.bool_]
    means: Floats

    @classmethod
    def of(
        cls,
        labels: LabelSets,
        part_of_node: Integers,
        keys: Integers,
        groups: Integers,
    ) -> Reached:
        """Find out which components have which labels.

        Parameters
        ----------
        labels
            The sets.
        part_of_node
            ndarray of shape (n_nodes,): the keys of the parts that ``labels.nodes`` are in.
        keys, groups
            From :func:`~.graph_blocks.groups_of`.
        """
        of_labeled = _group(part_of_node, keys, groups)
        known, number = np.unique(of_labeled, return_inverse=True)
        parts = np.unique(np.concatenate([part_of_node, keys[np.isin(groups, known)]]))
        components = np.searchsorted(known, _group(parts, keys, groups)).astype(np.int32)
        sums = np.zeros((len(known), labels.n_sets, labels.n_classes))
        for place in range(labels.n_sets):
            nodes, Y = labels.shares(place)
            np.add.at(sums[:, place], number[np.searchsorted(labels.nodes, nodes)], Y)
        total = sums.sum(axis=2, keepdims=True)
        return cls(parts, components, sums > 0, sums / np.where(total > 0, total, 1.0))

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Whether the labels of a component are of less than two classes, (n_components, n_sets).

        Then no equation has to be solved there.
        """
        few: NDArray[np.bool_] = self.has.sum(axis=2) < 2
        return few

    def of_nodes(self, block: int, local: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the component of each node of a block, -1 of one without a label.

        Parameters
        ----------
        block
            Its number.
        local
            From :func:`~.graph_blocks.local_components`.
        """
        keys = part_key(np.int64(block), np.arange(local.max(initial=-1) + 1))
        places = np.minimum(np.searchsorted(self.parts, keys), len(self.parts) - 1)
        of_part = np.where(self.parts[places] == keys, self.components[places], -1)
        return of_part[local].astype(np.int32)


def _group(parts: Integers, keys: Integers, groups: Integers) -> Integers:
    """Return the least key that each part is connected with: itself where it touches no other."""
    if not len(keys):
        return parts
    places = np.minimum(np.searchsorted(keys, parts), len(keys) - 1)
    return np.where(keys[places] == parts, groups[places], parts)


def batches_of(n_sets: int, n_classes: int, columns: int) -> Sequence[range]:
    """Deal sets of labels to batches of at most so many classes together, at least one set each.

    Examples
    --------
    >>> batches_of(5, 4, 8)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    at_once = max(1, columns // n_classes)
    return [range(n, min(n_sets, n + at_once)) for n in range(0, n_sets, at_once)]
