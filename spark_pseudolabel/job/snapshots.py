"""The snapshots of an output: which one a start may freeze or read, and which ones outlive it."""

from __future__ import annotations

from collections.abc import Iterator

from spark_pseudolabel.config import Config
from spark_pseudolabel.output.state import has_ended
from spark_pseudolabel.spark.snapshot import Freezer
from spark_pseudolabel.store.files import Files
from spark_pseudolabel.store.generations import Generations
from spark_pseudolabel.store.inputs import FrozenInputs, FrozenSnapshot
from spark_pseudolabel.store.snapshots import Snapshots
from spark_pseudolabel.store.store import RoundStore


def freezer_of(
    files: Files, root: str, config: Config, proved: FrozenInputs | None
) -> Freezer | None:
    """Return what freezes the pool of a start; None where it reads no row of the pool.

    Parameters
    ----------
    files, root
        The output, which this process holds.
    config
        Of the run.
    proved
        What was frozen when the run began; None if it has not begun.
    """
    named = None if proved is None else proved.unlabeled.snapshot
    if proved is not None and _reads_nothing(files, root, config):
        return None
    return Freezer(
        Snapshots(files, root),
        begun=proved is not None,
        named=named,
        others=frozenset(frozen.id for frozen in _named(files, root)),
    )


def release(files: Files, root: str, config: Config) -> None:
    """Delete the snapshots that nothing reads any more, when a run or a generation has ended."""
    snapshots = Snapshots(files, root)
    if config.unlabeled.snapshot == "keep":
        left = set(snapshots.left)
        for frozen in _named(files, root):
            if frozen.id in left:
                snapshots.keep(frozen)
    snapshots.delete()


def _reads_nothing(files: Files, root: str, config: Config) -> bool:
    """Whether nothing is left to do, or only tables are to be built that hold no features."""
    if config.incremental is not None:
        return False
    store = RoundStore.open(files, root)
    return has_ended(store, config) and (
        store.views_are_current() or not store.settings.output.features
    )


def _named(files: Files, root: str) -> Iterator[FrozenSnapshot]:
    """Yield the snapshots that runs of an output name, if there is any that is not kept yet."""
    generations = Generations.read(files, root) if Snapshots(files, root).left else None
    if generations is None:
        return
    for number in (1, *generations.numbers):
        snapshot = generations.run(number).inputs.unlabeled.snapshot
        if snapshot is not None:
            yield snapshot
