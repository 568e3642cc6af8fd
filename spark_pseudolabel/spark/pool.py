"""The unlabeled rows, and what a run does with them; two backends do it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import pyarrow as pa
from pyspark import RDD
from pyspark.sql import SparkSession

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.core.kernel import Scorer, Seen
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.sampling import HashLimits
from spark_pseudolabel.core.scored_rows import Withheld
from spark_pseudolabel.core.selection.counts import Candidates
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.tasking import Refused
from spark_pseudolabel.store.facts import Content
from spark_pseudolabel.store.manifest import RoundManifest

RowsByFile = Mapping[str, int]
"""Rows of each file that a step wrote, by its name."""

StoredKind = Literal["accepted", "taught"]
"""Rows that models learn from."""


Transform = Callable[[pa.Table], pa.Table]
"""Turns accepted or scored rows into rows of a published table, in a worker."""

RowTransform = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
"""Turns rows of the pool into other rows, in a worker."""


@dataclass(frozen=True)
class Publication:
    """A table made of stored rows.

    Parameters
    ----------
    kind
        Which rows.
    rounds
        Whose.
    transform, schema
        What becomes of them.
    target
        Directory to be made.
    features
        Whether they are joined with the pool's columns before they are transformed.
    more
        Further rows of the schema, from the driver.
    """

    kind: Literal["accepted", "scored"]
    rounds: Sequence[RoundManifest]
    transform: Transform
    schema: pa.Schema
    target: str
    features: bool = False
    more: pa.Table | None = None


@dataclass(frozen=True)
class Overlap:
    """Rows accepted in a round and in the one before.

    Parameters
    ----------
    rows
        All of them.
    changed
        Those with another label than before.
    """

    rows: int
    changed: int


@dataclass(frozen=True)
class Accepted:
    """The accepted rows of a round, counted from what was written.

    Parameters
    ----------
    by_code
        Rows per class.
    content
        Their fingerprint.
    files
        What was written; None: all that lies there.
    overlap
        With the round that was asked about; None: with none.
    left_xor64
        A hash over keys and features of the rows that are left for the next round, in any order;
        None where the files of the pool tell whether they changed.
    """

    by_code: list[int]
    content: Content
    files: RowsByFile | None
    overlap: Overlap | None = None
    left_xor64: int | None = None


class Scored(Candidates, Protocol):
    """The scored rows of a round."""

    @property
    def invalid(self) -> int:
        """Rows without a score."""
        ...

    @property
    def abstained(self) -> int:
        """Rows that the model gives no class, to be scored again in the next round."""
        ...

    @property
    def withheld(self) -> Withheld:
        """Rows with a score that may not be accepted, and are in no count."""
        ...

    def why_invalid(self) -> str:
        """Return the reason of one of them, the same on every cluster."""
        ...

    @property
    def files(self) -> RowsByFile | None:
        """What was written; None: all that lies there."""
        ...

    @property
    def xor64(self) -> int | None:
        """A hash over keys and features of the rows; see :attr:`Accepted.left_xor64`."""
        ...

    def accept(self, plan: Plan, target: str, before: RoundManifest | None = None) -> Accepted:
        """Write the rows that a plan accepts below `target`, and count what was written.

        Parameters
        ----------
        plan
            The decision.
        target
            Directory to be made.
        before
            The round whose accepted rows are to be compared, by key.
        """
        ...


class Pool(Protocol):
    """The pool of a run."""

    @property
    def spark(self) -> SparkSession:
        """The session that reads it."""
        ...

    def score(
        self, scorer: Scorer, number: int, rounds: Sequence[RoundManifest], target: str
    ) -> Scored:
        """Score the rows that are left, and write narrow rows below `target`.

        Parameters
        ----------
        scorer
            The model of the round.
        number
            Of the round.
        rounds
            The committed rounds whose accepted rows are not scored again; none of them: all rows.
        target
            Directory to be made.
        """
        ...

    def sample(self, n: int) -> pa.Table:
        """Collect the `n` rows with the lowest hash of their key, with features and hash.

        All rows of a smaller pool; of one with rows, that is. In the order of the hash.
        """
        ...

    def gather(
        self,
        look: Callable[[Iterable[pa.RecordBatch]], Seen],
        together: Callable[[Sequence[Seen]], Seen],
        features: Sequence[str] | None = None,
    ) -> Seen | None:
        """Look at all rows in the workers, once, and put together what was seen.

        Parameters
        ----------
        look
            Gets keys and features of some rows.
        together
            Puts together what it returned, on workers and on the driver. The order of rows, how
            many of them a call gets and the order of calls depend on the cluster: results may not.
        features
            Those that `look` gets; None: all of them.

        Returns
        -------
        object
            None of a pool without rows.
        """
        ...

    def write_rows(
        self, transform: RowTransform, schema: pa.Schema, target: str
    ) -> RowsByFile | None:
        """Write what workers make of all rows into Parquet files below `target`.

        Parameters
        ----------
        transform
            Gets batches of keys and features, and yields batches of the schema.
        schema
            Of what is written.
        target
            Directory to be made.

        Returns
        -------
        Mapping or None
            What was written; None: all that lies there.
        """
        ...

    def fetch(
        self, rounds: Sequence[RoundManifest], limits: HashLimits, kind: StoredKind = "accepted"
    ) -> pa.Table | None:
        """Collect rows within hash limits, with their features and hash; None if none.

        Parameters
        ----------
        rounds
            Whose rows.
        limits
            Up to which hash.
        kind
            Those that were accepted, or those that a student is taught; the same in every call.
        """
        ...

    def deal(
        self,
        rounds: Sequence[RoundManifest],
        limits: HashLimits,
        deal: Callable[[Iterable[pa.Table]], Iterator[tuple[int, bytes]]],
        kind: StoredKind = "accepted",
    ) -> RDD[tuple[int, bytes | Refused]]:
        """Let workers deal the rows that :meth:`fetch` would bring; nothing is read yet.

        Parameters
        ----------
        rounds, limits, kind
            As of :meth:`fetch`.
        deal
            Runs on workers, on some of the rows at a time; yields numbers and what belongs there.
        """
        ...

    def publish(self, table: Publication) -> RowsByFile | None:
        """Write a table made of stored rows, at least one file.

        Returns
        -------
        Mapping or None
            What was written; None: all that lies there.
        """
        ...

    def check(
        self,
        rounds: Sequence[RoundManifest],
        truth: pa.Table,
        numbers: NumberTask | None = None,
    ) -> dict[str, int] | None:
        """Count accepted labels whose true label is known (``n``), and those that are right.

        Parameters
        ----------
        rounds
            Whose accepted rows.
        truth
            Keys and ``spl_code``, or ``spl_value`` where labels are numbers.
        numbers
            What is asked of them then.

        Returns
        -------
        Mapping or None
            None where a join in Spark is what it takes.
        """
        ...


def lowest(hashed: pa.Table, n: int, keys: Sequence[str]) -> pa.Table:
    """Return the `n` rows with the lowest hash, in its order; ties by key."""
    order = [(column, "ascending") for column in (HASH, *keys)]
    return hashed.sort_by(order).slice(0, n)


def content_of(by_code: Sequence[int], xor_a: int, xor_b: int) -> Content:
    """Return the fingerprint of accepted rows as manifests keep it."""
    return Content(rows=sum(by_code), xor64_a=xor_a, xor64_b=xor_b)


def changed_pool() -> InputError:
    """Return the error for a pool that is not what an earlier scan of it has read."""
    return InputError(
        "The rows of unlabeled are not those that an earlier round of this run has read: its "
        "table, query or DataFrame has changed, or gives other values each time that it is read, "
        "as by rand() or uuid(). Restore it, or write it to files, name these by unlabeled.path, "
        "and start with a new output.path.",
        code="inputs_changed",
        where="unlabeled",
    )
