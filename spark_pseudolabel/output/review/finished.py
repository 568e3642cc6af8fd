"""A finished run, opened for people: its rows, its classes and what was done since its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.output.preflight import require_finished
from spark_pseudolabel.report.document import label_key
from spark_pseudolabel.report.guidance import review_folder
from spark_pseudolabel.store.facts import Label
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.following import follow, key_columns
from spark_pseudolabel.store.generations import Generations
from spark_pseudolabel.store.given_rows import read_given
from spark_pseudolabel.store.lease import hold
from spark_pseudolabel.store.manifest import FileEntry, FinalManifest, RoundManifest, damaged
from spark_pseudolabel.store.published import require_published
from spark_pseudolabel.store.store import RoundStore


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended.

    Parameters
    ----------
    out
        Its output, as the user named it.
    store
        Its memory.
    """

    out: str
    store: RoundStore

    @property
    def final(self) -> FinalManifest:
        """The latest end."""
        assert self.store.final is not None
        return self.store.final

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that identify a row of the pool."""
        return key_columns(self.store)

    @property
    def classes(self) -> tuple[Label, ...]:
        """The labels, by their index."""
        return self.store.models[0].classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels as text."""
        return tuple(label_key(label) for label in self.classes)

    @property
    def random_state(self) -> int:
        """From which all that is drawn follows."""
        return self.store.settings.random_state

    @property
    def has_generations(self) -> bool:
        """Whether rows were labeled beside those of the run itself."""
        generations = Generations.read(self.store.files, self.store.root)
        return generations is not None and generations.count > 1

    @property
    def next_folder(self) -> str:
        """Where the next rows to ask about may go, as the report says it after an import."""
        return review_folder(self.out, len(self.store.reviews) + 1)

    @property
    def used_rounds(self) -> tuple[RoundManifest, ...]:
        """The rounds whose labels stand, at the end of the run."""
        used = self.store.rounds[: self.final.best_round or 0]
        return used[-1:] if self.store.settings.rounds.relabel else used

    @cached_property
    def key_schema(self) -> pa.Schema:
        """The key columns in the types that they are stored in."""
        given = read_given(self.store)
        assert given is not None  # written before any model
        return pa.schema([given.schema.field(key) for key in self.keys])

    @cached_property
    def given_keys(self) -> pa.Table:
        """Keys and classes of the rows with a given label."""
        given = read_given(self.store)
        assert given is not None
        return given.select([*self.keys, CODE])

    def batches_of(
        self, entries: Sequence[FileEntry], columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """Yield columns of narrow files, in the order of the files; absent columns are left out.

        Raises
        ------
        StoredStateError
            If a file is not as it was written.
        """
        for entry in entries:
            path = join(self.store.root, entry.path)
            try:
                with self.store.files.open_input(path) as stream:
                    parquet = pq.ParquetFile(stream, page_checksum_verification=True)
                    names = [name for name in columns if name in parquet.schema_arrow.names]
                    yield from parquet.iter_batches(columns=names, use_threads=False)
            except (OSError, pa.ArrowException) as error:
                raise damaged(path, f"is not as it was written: {error}") from error

    def codes(
        self, labels: pa.Array | pa.ChunkedArray
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return published labels as indices of classes, -1 for none of them."""
        known = pa.array(self.classes, labels.type)
        found = pc.index_in(labels, value_set=known).fill_null(-1)
        codes: np.ndarray[tuple[int], np.dtype[np.int64]] = np.asarray(found).astype(np.int64)
        return codes


def require_classes(run: FinishedRun, option: str) -> None:
    """Refuse what people are asked or say of classes, where labels are numbers.

    Raises
    ------
    InputError
        Naming the option.
    """
    if run.store.models[0].numbers is not None:
        raise InputError(
            f"{option} is about classes, and the labels of {run.out} are numbers. Labels that are "
            "numbers are taken back by review revoke --round or --ids.",
            code="numbers",
            where=option,
        )


@contextlib.contextmanager
def reviewing(out: str, opened: Opened) -> Iterator[FinishedRun]:
    """Hold a finished run's output, its tables brought up to date before and after.

    Raises
    ------
    InputError
        If there is no run, or it is not finished.
    StoredStateError
        If tables lack rows, which only a run can bring back.
    OutputBusyError
        If another process holds the output.
    """
    files, root = opened
    require_finished(RoundStore.open(files, root), out)
    with hold(files, root, owner="review"):
        # Opened again: what another one committed until just now is in it.
        run = FinishedRun(out, RoundStore.open(files, root))
        follow(run.store)
        # Rows that are not there would be told from as if they had no label.
        require_published(run.store, out, ("labels", "undecided"))
        yield run
