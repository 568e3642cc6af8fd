"""Counting scored rows and applying a plan to them: Spark counts, ``core.rules`` decides."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from spark_pseudolabel.columns import (
    CLASS_SCORES,
    CODE,
    FINGERPRINT,
    HASH,
    HIGHEST,
    IN_ROUND,
    INVALID,
    LOWEST,
    RAW_SCORE,
    SCORE,
    VALUE,
)
from spark_pseudolabel.core.hashing import xor_all
from spark_pseudolabel.core.sampling import HashLimits
from spark_pseudolabel.core.scored_rows import Withheld, label_columns
from spark_pseudolabel.core.selection.counts import Bin, Counts, Key, Tie, Values
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.errors import RunFailedError
from spark_pseudolabel.spark.frame.stored_rows import StoredRows
from spark_pseudolabel.spark.pool import Accepted, Overlap, content_of
from spark_pseudolabel.spark.reading.names import column, columns
from spark_pseudolabel.spark.reading.tables import with_hash
from spark_pseudolabel.store.files import unglobbed
from spark_pseudolabel.store.manifest import RoundManifest

BIN = "spl_bin"
_EARLIER = "spl_earlier"
_TIE = "spl_tie"
HELD_BACK = "spl_held_back"
ROWS_PER_FILE = 2_000_000


@dataclass(frozen=True)
class SparkCandidates:
    """The scored rows of a round, as :class:`spark_pseudolabel.core.selection.counts.Candidates`.

    Parameters
    ----------
    scored
        Stored scored rows; read again for every question, so they must not be recomputed.
    keys
        Their key columns.
    n_classes, random_state
        Of the run: number of classes, seed of the row hash.
    stored
        Committed rows.
    """

    scored: DataFrame
    keys: tuple[str, ...]
    n_classes: int
    random_state: int
    stored: StoredRows

    @cached_property
    def _grouped(self) -> list[Row]:
        # Of rows without a class every one may have a reason of its own.
        told = F.when(F.col(CODE).isNotNull(), F.col(INVALID)).otherwise(
            F.when(F.col(INVALID).isNotNull(), "")
        )
        held_back = told.alias(HELD_BACK)
        grouped = self.scored.groupBy(CODE, confidence_bin().alias(BIN), held_back)
        count, xor64 = F.count(F.lit(1)).alias("n"), F.bit_xor(FINGERPRINT).alias("xor64")
        return grouped.agg(count, xor64).collect()

    @property
    def _cells(self) -> list[tuple[int | None, int | None, str | None, int]]:
        return [(row[CODE], row[BIN], row[HELD_BACK], row["n"]) for row in self._grouped]

    @property
    def xor64(self) -> int:
        """A hash over keys and features of the rows as they were scored, in any order."""
        return xor_all(row["xor64"] or 0 for row in self._grouped)

    @property
    def _candidates(self) -> DataFrame:
        return self.scored.filter(F.col(INVALID).isNull())

    @property
    def files(self) -> None:
        """Unknown: Spark names its own files, and the directory holds no others."""

    @property
    def invalid(self) -> int:
        """Rows without a score."""
        return sum(
            n for code, _, held_back, n in self._cells if code is None and held_back is not None
        )

    @property
    def abstained(self) -> int:
        """Rows that the model gives no class."""
        return sum(n for code, _, held_back, n in self._cells if code is None and held_back is None)

    @property
    def withheld(self) -> Withheld:
        """Rows with a score that may not be accepted."""
        return Withheld.of(
            (reason, n)
            for code, _, reason, n in self._cells
            if code is not None and reason is not None
        )

    def why_invalid(self) -> str:
        """Return the reason of one of them, the same on every cluster; an action."""
        invalid = F.col(CODE).isNull() & F.col(INVALID).isNotNull()
        reasons = self.scored.filter(invalid).select(*columns(self.keys), INVALID)
        return str(reasons.orderBy(*columns(self.keys)).first()[INVALID])  # type: ignore[index]

    def counts(self) -> Counts:
        """Count valid candidates by class and bin; an action, once."""
        valid = [
            (code, bin_, n)
            for code, bin_, held_back, n in self._cells
            if code is not None and held_back is None
        ]
        return Counts.from_rows(self.n_classes, valid)  # type: ignore[arg-type]

    def values(self, bins: Sequence[Bin]) -> list[Values]:
        """Return the distinct confidences inside bins and their counts; one action."""
        # A class is in one quota only, so that a row is in one of the bins at most.
        number = {code: i for i, group in enumerate(bins) for code in group.codes}
        numbers = [number.get(code) for code in self._codes]
        wanted = [None if i is None else bins[i].bin for i in numbers]
        rows = (
            self._candidates.filter(confidence_bin() == _by_class(wanted, "int"))
            .groupBy(_by_class(numbers, "int").alias(BIN), SCORE)
            .count()
            .collect()
        )
        of_bin: dict[int, list[Any]] = defaultdict(list)
        for row in rows:
            of_bin[row[BIN]].append(row)
        return [
            (
                np.array([row[SCORE] for row in of_bin[i]]),
                np.array([row["count"] for row in of_bin[i]]),
            )
            for i in range(len(bins))
        ]

    def nth_keys(self, ties: Sequence[Tie]) -> list[Key]:
        """Return the n-th lowest key of every tie; two actions, which sort tied keys on disk."""
        number = {code: i for i, tie in enumerate(ties) for code in tie.codes}
        tied_at = [
            ties[number[code]].confidence if code in number else None for code in self._codes
        ]
        numbers = [number.get(code) for code in self._codes]
        tied = self._candidates.filter(F.col(SCORE) == _by_class(tied_at, "double"))
        keys = tied.select(_by_class(numbers, "int").alias(_TIE), *columns(self.keys))
        ordered = keys.sort(_TIE, *columns(self.keys)).rdd
        counts = ordered.mapPartitionsWithIndex(_count_ties).collect()
        places = [_place(counts, i, tie.n) for i, tie in enumerate(ties)]
        wanted: dict[int, list[int]] = defaultdict(list)
        for partition, place in places:
            wanted[partition].append(place)
        key_at = dict(
            ordered.mapPartitionsWithIndex(partial(_rows_at, places=dict(wanted))).collect()
        )
        return [key_at[place] for place in places]

    @property
    def _codes(self) -> range:
        return range(self.n_classes)

    def accept(self, plan: Plan, target: str, before: RoundManifest | None = None) -> Accepted:
        """Write what a plan accepts; see :class:`spark_pseudolabel.spark.pool.Scored`."""
        is_accepted = accepted_by(plan, self.keys)
        expected, left_xor64 = self._decided(is_accepted)
        chosen = with_hash(self.scored.filter(is_accepted), self.keys, self.random_state)
        further = (RAW_SCORE, CLASS_SCORES, VALUE, LOWEST, HIGHEST)
        scores = [name for name in further if name in self.scored.columns]
        accepted = chosen.select(
            *columns(self.keys), CODE, SCORE, HASH, IN_ROUND, FINGERPRINT, *scores
        )
        files = max(1, -(-self.counts().total // ROWS_PER_FILE))
        accepted.coalesce(files).write.mode("errorifexists").parquet(target)
        written = accepted.sparkSession.read.schema(accepted.schema).parquet(unglobbed(target))
        by_code, xor_a, xor_b = count_accepted(written, self.keys, self.n_classes)
        _require_written(by_code, expected, target)
        overlap = None
        if before is not None:
            overlap = overlap_of(written, self.stored.accepted([before]), self.keys)
        content = content_of(by_code, xor_a, xor_b)
        return Accepted(by_code, content, None, overlap, left_xor64)

    def _decided(self, is_accepted: Column) -> tuple[list[int], int]:
        """Count by class what a plan accepts, and hash what it leaves; an action."""
        is_left = F.col(CODE).isNotNull() & ~is_accepted
        rows = (
            self.scored.groupBy(CODE)
            .agg(
                F.count(F.when(is_accepted, 1)).alias("n"),
                F.bit_xor(F.when(is_left, F.col(FINGERPRINT))).alias("left"),
            )
            .collect()
        )
        by_code = [0] * self.n_classes
        for row in rows:
            if row[CODE] is not None:
                by_code[row[CODE]] = row["n"]
        return by_code, xor_all(row["left"] or 0 for row in rows)


def _require_written(by_code: Sequence[int], expected: Sequence[int], target: str) -> None:
    """Stop where other rows were written than a plan accepts.

    What a lost try of a task has left is read as if it belonged there, and would be published.
    """
    if list(by_code) != list(expected):
        raise RunFailedError(
            f"{target} must hold {sum(expected):,} accepted rows. It holds {sum(by_code):,}: a "
            "task that was lost or ran twice has left a file. Nothing was committed; run again.",
            code="rows_lost",
            where=target,
        )


def confidence_bin() -> Column:
    """Return the confidence's bin; the same arithmetic as ``core.counts.bin_of``."""
    return F.floor(F.rint(F.col(SCORE) * 1e6) / 1000).cast("int")


def accepted_by(plan: Plan, keys: Sequence[str]) -> Column:
    """Return the plan's decision as a condition on scored rows.

    Rows with a reason, invalid and withheld ones, are not accepted. What is compared with is looked
    up by class: a condition for each of some hundred cuts is more than Spark's optimizer takes.
    """
    cuts = [cut if cut is not None else Cut(math.inf) for cut in plan.cuts]
    own = _by_class([cut.confidence for cut in cuts], "double")
    chosen = F.col(SCORE) > own
    at = F.col(SCORE) == own
    if any(cut.ties == "all" for cut in cuts):
        chosen |= at & _by_class([cut.ties == "all" for cut in cuts], "boolean")
    last = [cut.ties if isinstance(cut.ties, tuple) else None for cut in cuts]
    if any(key is not None for key in last):
        chosen |= at & _not_after(keys, last)
    return F.col(INVALID).isNull() & F.coalesce(chosen, F.lit(False))


def _by_class(values: Sequence[Any], kind: str) -> Column:
    """Return a row's value among one for each class."""
    return F.get(F.array(*[F.lit(value).cast(kind) for value in values]), F.col(CODE))


def _not_after(keys: Sequence[str], last: Sequence[Key | None]) -> Column:
    """Whether a row's key is at most its class's, compared field by field; null where none is."""
    values = [None if key is None else key[0] for key in last]
    is_number = any(isinstance(value, int) for value in values)
    key, value = column(keys[0]), _by_class(values, "bigint" if is_number else "string")
    if len(keys) == 1:
        return key <= value
    rest = [None if key is None else key[1:] for key in last]
    return (key < value) | ((key == value) & _not_after(keys[1:], rest))


def _count_ties(partition: int, rows: Iterable[Row]) -> Iterator[tuple[int, dict[int, int]]]:
    counts: dict[int, int] = defaultdict(int)
    for row in rows:
        counts[row[0]] += 1
    yield partition, dict(counts)


def _place(counts: Sequence[tuple[int, dict[int, int]]], tie: int, n: int) -> tuple[int, int]:
    """Return the partition and the place in it of the n-th row of a tie; all are in order."""
    for partition, of_tie in counts:
        n_tied = of_tie.get(tie, 0)
        if n <= n_tied:
            before = sum(rows for other, rows in of_tie.items() if other < tie)
            return partition, before + n - 1
        n -= n_tied
    raise IndexError(f"a tie has {n} rows fewer than were counted")


def _rows_at(
    partition: int, rows: Iterable[Row], places: dict[int, list[int]]
) -> Iterator[tuple[tuple[int, int], Key]]:
    wanted = set(places.get(partition, ()))
    for place, row in enumerate(rows if wanted else ()):
        if place in wanted:
            yield (partition, place), tuple(row)[1:]


def within(limits: HashLimits) -> Column:
    """Return the condition that a row is used, by the hash limits of its class."""
    if limits is None:
        return F.lit(True)
    per_class = F.array(*[F.lit(limit).cast("bigint") for limit in limits])
    return F.coalesce(F.col(HASH) <= F.get(per_class, F.col(CODE)), F.lit(False))


def count_accepted(
    accepted: DataFrame, keys: Sequence[str], n_classes: int
) -> tuple[list[int], int, int]:
    """Count accepted rows by class and fingerprint them; an action.

    Returns
    -------
    tuple
        Rows per class, and two hashes over all rows: the same for the same labels in any order.
    """
    labeled = F.xxhash64(*columns(keys), *label_columns(accepted.columns))
    rows = (
        accepted.groupBy(CODE)
        .agg(
            F.count(F.lit(1)).alias("n"),
            F.bit_xor(labeled).alias("a"),
            F.bit_xor(F.xxhash64(labeled)).alias("b"),
        )
        .collect()
    )
    by_code = [0] * n_classes
    xor_a = xor_b = 0
    for row in rows:
        by_code[row[CODE]] = row["n"]
        xor_a ^= row["a"]
        xor_b ^= row["b"]
    return by_code, xor_a, xor_b


def overlap_of(accepted: DataFrame, before: DataFrame, keys: Sequence[str]) -> Overlap:
    """Count rows that were accepted before, too, and those with another label; an action."""
    label = label_columns(accepted.columns)[-1]  # a number, where there is one
    earlier = before.select(*columns(keys), F.col(label).alias(_EARLIER))
    shared = accepted.select(*columns(keys), label).join(earlier, on=list(keys), how="inner")
    changed = F.count(F.when(F.col(label) != F.col(_EARLIER), 1))
    row = shared.agg(F.count(F.lit(1)).alias("n"), changed.alias("changed")).collect()[0]
    return Overlap(row["n"], row["changed"])
