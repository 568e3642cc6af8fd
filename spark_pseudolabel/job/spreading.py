"""The committed graph on the driver, and how far labels have spread over it."""

from __future__ import annotations

import time

from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph
from spark_pseudolabel.errors import RunFailedError
from spark_pseudolabel.progress import Events
from spark_pseudolabel.spark.neighbors import found_neighbors
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.manifest import GraphManifest
from spark_pseudolabel.store.store import RoundStore

_TELL_S = 10.0


def read_graph(store: RoundStore, manifest: GraphManifest) -> NeighborGraph:
    """Return the committed graph.

    Raises
    ------
    RunFailedError
        If its files do not hold every row once.
    """
    ids = read_bytes(store.read_file(manifest.ids)).column("ids").to_numpy()
    found = [
        part
        for entry in manifest.edges
        for part in found_neighbors(
            read_bytes(store.files.read(join(store.root, entry.path))), manifest.k
        )
    ]
    try:
        return NeighborGraph.of(ids, found)
    except ValueError as error:
        raise RunFailedError(
            f"{error} Rows were lost while the graph was built; start with a new output.path.",
            code="rows_lost",
        ) from error


class SpreadingTold:
    """Tells now and then how far labels have spread.

    Parameters
    ----------
    events
        Who listens.
    """

    def __init__(self, events: Events):
        self._events = events
        self._told = time.monotonic()

    def __call__(self, products: int, change: float) -> None:
        """Take note of the products made so far, and the change or residual."""
        if time.monotonic() - self._told >= _TELL_S:
            self._told = time.monotonic()
            self._events.event("spreading", products=products, change=change)
