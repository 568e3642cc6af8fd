"""What was frozen of the inputs when a run began: what must not change while it lasts."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from spark_pseudolabel.store.facts import Content, Fact, Json, Size
from spark_pseudolabel.store.files import FileInfo


class SeenFile(NamedTuple):
    """One file of a table as a listing showed it; see :class:`.files.FileInfo`."""

    path: str
    bytes: int
    mtime_ns: int | None

    @classmethod
    def of(cls, info: FileInfo) -> SeenFile:
        """Take a file of a listing."""
        return cls(info.path, info.bytes, info.mtime_ns)


class FrozenRows(Fact):
    """Rows that the driver has collected.

    Parameters
    ----------
    rows
        How many.
    sha256
        Of keys, labels and features: the same for the same rows, however they were stored.
    groups
        SHA-256 of the group column; None where no column says which rows belong together.
    """

    rows: Size
    sha256: str
    groups: str | None = None


class FrozenTable(Fact):
    """A table that stays where it is.

    Parameters
    ----------
    columns
        Names and types, as Spark writes them; ``schema`` in the JSON.
    files
        None where it is no directory of files.
    """

    columns: str = Field(alias="schema")
    files: tuple[SeenFile, ...] | None = None


class FrozenSnapshot(Fact):
    """The copy of a pool that a run reads in its place.

    Parameters
    ----------
    id
        Names it in the output.
    content
        Fingerprint of its rows: the same for the same rows in any order.
    """

    id: str
    content: Content


class FrozenPool(FrozenTable):
    """The unlabeled rows.

    Parameters
    ----------
    columns, files
        As of any table.
    rows
        How many.
    ids_xor64
        A hash over all ids, in any order; None where there is no id column.
    snapshot
        What is read in its place; None: the pool itself.
    """

    rows: Size
    ids_xor64: int | None = None
    snapshot: FrozenSnapshot | None = None


class PinnedTable(Fact):
    """Which version of a table that keeps a log a run reads.

    Parameters
    ----------
    format
        Of the table.
    version
        Delta's version, or the id of Iceberg's snapshot.
    table
        The table's own id, by which one that was made anew in its place is told; None: not known.
    columns
        Of Iceberg the id of the schema, which changes without a snapshot.
    """

    format: Literal["delta", "iceberg"]
    version: int
    table: str | None = None
    columns: int | None = None

    @property
    def words(self) -> str:
        """Name it in messages."""
        called = "version" if self.format == "delta" else "snapshot"
        return f"{called} {self.version}"


class FrozenInputs(Fact):
    """The inputs of a run.

    Parameters
    ----------
    labeled, validation
        Rows with a given label that models are trained on, and those kept out of every fit.
    unlabeled
        The pool.
    test
        None without one.
    seen
        By table its files, so that a later start can tell at once that none changed. A file that
        was written again with the same rows is the same input.
    pinned
        By table that keeps a log, the version that is read from the first start to the last.
    """

    labeled: FrozenRows
    validation: FrozenRows
    unlabeled: FrozenPool
    test: FrozenTable | None = None
    seen: dict[str, tuple[SeenFile, ...]] = Field(default={})
    pinned: dict[str, PinnedTable] = Field(default={})

    def as_json(self) -> Json:
        """Return what is stored, before secrets are taken out."""
        return self.model_dump(mode="json", by_alias=True)

    def compared(self) -> Json:
        """Return what must be the same when a run is continued.

        A snapshot is compared where it is frozen anew.
        """
        return self.model_dump(
            mode="json", by_alias=True, exclude={"seen": True, "unlabeled": {"snapshot"}}
        )
