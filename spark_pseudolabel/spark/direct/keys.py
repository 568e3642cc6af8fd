"""What the workers find out about the keys of a pool: how many, which, whether one occurs twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from spark_pseudolabel.core.hashing import xor_all, xxhash64
from spark_pseudolabel.core.parts import Part
from spark_pseudolabel.core.uniqueness import Hashes, ascend, group_count, in_groups, repeated
from spark_pseudolabel.spark.direct.source import PartSource, open_file, read_part
from spark_pseudolabel.spark.direct.survey import Scan
from spark_pseudolabel.spark.tasking import exchange, run_tasks
from spark_pseudolabel.store.arrow_files import ArrowFiles

# Up to here hashes come to the driver: what a shuffle costs to begin is more than they do.
_ROWS_ON_DRIVER = 1_000_000
# Tasks of an exchange; a group gets something from each of them.
_MAX_TASKS = 4_000
# Hashes that different ids share are a handful, however many ids there are.
MAX_SHARED = 1_000
_MAX_KEYS = 4 * MAX_SHARED


@dataclass(frozen=True)
class PoolKeys:
    """What is known of the keys of a pool.

    Parameters
    ----------
    rows, nulls, known
        Number of rows, of rows without a key, of rows whose key is a labeled or validation row's.
    xor64
        A hash over all keys, the same in any order.
    unique
        Whether no key occurs twice.
    """

    rows: int
    nulls: int
    known: int
    xor64: int
    unique: bool


@dataclass(frozen=True)
class KeyFacts:
    """What there is to know of the keys of a part.

    Parameters
    ----------
    part
        Its number.
    rows, nulls, known, xor64
        As in :class:`PoolKeys`.
    lowest, highest
        The range of the keys; None if there are none.
    ascending
        Whether each is greater than the one before, which then need not be compared.
    """

    part: int
    rows: int
    nulls: int
    known: int
    xor64: int
    lowest: Any
    highest: Any
    ascending: bool


@dataclass(frozen=True)
class _TaskHashes:
    """Hashes of the keys of a task's parts, ascending."""

    task: int
    hashes: Hashes


@dataclass(frozen=True)
class _Group:
    """What was given to a group: facts, and hashes that occur twice with the tasks they are of."""

    facts: list[KeyFacts]
    shared: list[tuple[int, list[int]]]


_Task = tuple[int, Sequence[Part]]


def key_hashes(spark: SparkSession, scan: Scan) -> Hashes:
    """Return the hashes of all keys of a pool, ascending: 8 bytes for each row on the driver."""

    def hash_keys(part: Part) -> bytes:
        batches = [rows.batch for rows in read_part(scan.source, part, features=())]
        of_part = [xxhash64([batch.column(scan.source.keys[0])]) for batch in batches]
        return np.concatenate([np.zeros(0, dtype=np.int64), *of_part]).tobytes()

    answers = run_tasks(spark, hash_keys, scan.parts)
    return np.sort(np.frombuffer(b"".join(answers), dtype=np.uint64))


def survey_keys(
    spark: SparkSession, scan: Scan, known: pa.ChunkedArray, probe: str | None
) -> PoolKeys:
    """Let the workers look at all keys of a pool, and at the output.

    Keys that ascend from part to part, as tables that were written in order have them, need one
    look. Others are compared by their hashes, 8 bytes for each row, which the workers exchange;
    the keys themselves are read again where two hashes are equal.

    Parameters
    ----------
    spark, scan
        Session and pool.
    known
        Keys that must not occur.
    probe
        A file that the driver wrote: whoever does not see it can't write to the output.
    """
    known_keys = known.combine_chunks() if isinstance(known, pa.ChunkedArray) else known
    groups = _survey(spark, scan.source, scan.parts, known_keys, probe, every=False)
    facts = [part_facts for group in groups for part_facts in group.facts]
    shared = [repeated_hash for group in groups for repeated_hash in group.shared]
    unique = _differ(spark, scan.source, _tasks(scan.parts), shared)
    numbers = to_compare(facts)
    if unique and numbers:
        parts = [part for part in scan.parts if part.number in numbers]
        groups = _survey(spark, scan.source, parts, known_keys, None, every=True)
        shared = [repeated_hash for group in groups for repeated_hash in group.shared]
        unique = _differ(spark, scan.source, _tasks(parts), shared)
    return PoolKeys(
        rows=sum(part_facts.rows for part_facts in facts),
        nulls=sum(part_facts.nulls for part_facts in facts),
        known=sum(part_facts.known for part_facts in facts),
        xor64=xor_all(part_facts.xor64 for part_facts in facts),
        unique=unique,
    )


def require_reach(spark: SparkSession, scan: Scan, probe: str | None) -> None:
    """Try whether workers can open the pool and see the output, where its keys are known.

    Raises
    ------
    OSError, InputError
        As :func:`survey_keys` does.
    """
    source, parts = scan.source, scan.parts[: spark.sparkContext.defaultParallelism]

    def reach(part: Part) -> None:
        _require_seen(probe)
        with open_file(source, part.groups[0]):
            pass

    run_tasks(spark, reach, parts)


def to_compare(facts: Iterable[KeyFacts]) -> set[int]:
    """Return the parts whose keys only hashes can tell apart, after those that do not ascend.

    Parts whose ranges overlap; not those which have all been compared because they do not ascend.

    Parameters
    ----------
    facts
        Of all parts.

    Returns
    -------
    set of int
        Their numbers.
    """
    numbers: set[int] = set()
    overlapping: list[KeyFacts] = []
    highest: Any = None
    with_keys = [part_facts for part_facts in facts if part_facts.lowest is not None]
    for part_facts in sorted(with_keys, key=lambda part_facts: part_facts.lowest):
        if overlapping and part_facts.lowest > highest:
            numbers |= _not_compared(overlapping)
            overlapping = []
        highest = max(highest, part_facts.highest) if overlapping else part_facts.highest
        overlapping.append(part_facts)
    return numbers | _not_compared(overlapping)


def survey_part(
    part: Part, source: PartSource, known: pa.Array
) -> tuple[KeyFacts, NDArray[np.int64]]:
    """Look at the keys of a part; return what there is to know, and their hashes."""
    batches = [rows.batch for rows in read_part(source, part, features=())]
    nothing = np.zeros(0, dtype=np.int64)
    if not batches:
        return KeyFacts(part.number, 0, 0, 0, 0, None, None, True), nothing
    rows = pa.Table.from_batches(batches)
    if source.by_place:
        return KeyFacts(part.number, rows.num_rows, 0, 0, 0, None, None, True), nothing
    keys = rows.column(source.keys[0]).combine_chunks()
    limits = pc.min_max(keys).as_py()
    hashes = xxhash64([keys])
    facts = KeyFacts(
        part=part.number,
        rows=rows.num_rows,
        nulls=keys.null_count,
        known=int(pc.sum(pc.is_in(keys, value_set=known)).as_py() or 0),
        xor64=xor_all(hashes),
        lowest=limits["min"],
        highest=limits["max"],
        ascending=ascend(keys),
    )
    return facts, hashes


def _not_compared(overlapping: Sequence[KeyFacts]) -> set[int]:
    if len(overlapping) < 2 or not any(part_facts.ascending for part_facts in overlapping):
        return set()
    return {part_facts.part for part_facts in overlapping}


def _tasks(parts: Sequence[Part]) -> list[_Task]:
    at_once = -(-len(parts) // _MAX_TASKS) or 1
    chunks = [parts[start : start + at_once] for start in range(0, len(parts), at_once)]
    return list(enumerate(chunks))


def _survey(
    spark: SparkSession,
    source: PartSource,
    parts: Sequence[Part],
    known: pa.Array,
    probe: str | None,
    *,
    every: bool,
) -> list[_Group]:
    """Look at the keys of parts, and bring together hashes: of every part, or where need be."""
    rows = sum(part.rows for part in parts)
    n_groups = group_count(rows)

    def give(task: _Task) -> Iterator[tuple[int, KeyFacts | _TaskHashes]]:
        _require_seen(probe)
        number, of_task = task
        to_share = []
        for part in of_task:
            facts, hashes = survey_part(part, source, known)
            yield part.number % n_groups, facts
            if every or not facts.ascending:
                to_share.append(hashes)
        if to_share:
            for group, run in in_groups(np.concatenate(to_share), n_groups):
                yield group, _TaskHashes(number, run)

    work = _tasks(parts)
    if rows > _ROWS_ON_DRIVER:
        return exchange(spark, give, work, _grouped, n_groups)
    answers = run_tasks(spark, _listing(give), work)
    return [_grouped([value for _, value in chain.from_iterable(answers)])]


def _listing(give: Callable[[_Task], Iterable[Any]]) -> Callable[[_Task], list[Any]]:
    return lambda task: list(give(task))


def _grouped(values: Sequence[KeyFacts | _TaskHashes]) -> _Group:
    facts = [value for value in values if isinstance(value, KeyFacts)]
    runs = [value for value in values if isinstance(value, _TaskHashes)]
    shared = repeated([run.hashes for run in runs])[: MAX_SHARED + 1]
    tasks: list[set[int]] = [set() for _ in shared]
    for run in runs if len(shared) else ():
        for place in np.flatnonzero(np.isin(shared, run.hashes)):
            tasks[place].add(run.task)
    return _Group(facts, list(zip(shared.tolist(), map(sorted, tasks), strict=True)))


def _differ(
    spark: SparkSession,
    source: PartSource,
    work: Sequence[_Task],
    shared: Sequence[tuple[int, list[int]]],
) -> bool:
    """Whether all keys whose hashes are equal are different."""
    if not shared:
        return True
    if len(shared) > MAX_SHARED:
        return False
    values = np.array([value for value, _ in shared], dtype=np.uint64).view(np.int64)
    concerned = sorted({task for _, tasks in shared for task in tasks})

    def keys_of(task: _Task) -> list[Any]:
        keys: list[Any] = []
        for part in task[1]:
            for rows in read_part(source, part, features=()):
                column = rows.batch.column(source.keys[0])
                keys += column.filter(pa.array(np.isin(xxhash64([column]), values))).to_pylist()
            if len(keys) > _MAX_KEYS:  # no chance makes so many
                break
        return keys[: _MAX_KEYS + 1]

    keys = list(chain.from_iterable(run_tasks(spark, keys_of, [work[n] for n in concerned])))
    return len(keys) <= _MAX_KEYS and len(set(keys)) == len(keys)


def _require_seen(probe: str | None) -> None:
    if probe is not None and not ArrowFiles.for_uri(probe).exists(probe):
        raise FileNotFoundError(f"workers don't see the output: {probe} is missing")
