"""Rows to be learned from as lines of plain numbers, dealt to shards by the hash of their id.

So travels what no single process holds: workers prepare columns as the model does and deal the
lines; who learns reads shard after shard. Neither depends on who has read which rows: a shard is
a range of hashes, and within it lines are in the order of hash and id.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse
from sklearn import config_context
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import CODE, HASH, IN_ROUND, SCORE, WEIGHED
from spark_pseudolabel.core.features import Feature, odd_numbers, to_frame
from spark_pseudolabel.core.kernel import without_odd_vectors
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.core.teachers.training_frame import Weighting, lines_of, probabilities_of
from spark_pseudolabel.core.teachers.weights import RowWeights
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.errors import InputError

LINES_PER_SHARD = 50_000
"""Of shards that are read one after another: what a learner holds at once, about."""

_VALUES, _PLACES, _FIRST = "spl_values", "spl_places", "spl_first"
_WIDTH = b"spl_width"
_LINES_AT_ONCE = 65_536
# Spark hands them over by hundreds, whatever they hold.
_CHUNK_BYTES = 64 * 2**10

Matrix: TypeAlias = Any
"""An ndarray of shape (n, n_columns), or scipy's ``csr_matrix``, which has no types."""


def n_shards_of(n_rows: int) -> int:
    """Return into how many shards rows are dealt that are read one after another.

    Examples
    --------
    >>> n_shards_of(0), n_shards_of(50_000), n_shards_of(4_000_000)
    (1, 1, 80)
    """
    return max(1, -(-n_rows // LINES_PER_SHARD))


def shards_of(hashes: NDArray[np.int64], n_shards: int) -> NDArray[np.int64]:
    """Return the shard of each row: equal ranges of hashes, ascending.

    Examples
    --------
    >>> shards_of(np.array([-(2**63), -1, 0, 2**63 - 1]), 2).tolist()
    [0, 0, 1, 1]
    """
    above = hashes.view(np.uint64) ^ np.uint64(2**63)
    shards: NDArray[np.int64] = (((above >> np.uint64(32)) * np.uint64(n_shards)) >> 32).astype(
        np.int64
    )
    return shards


def learnable(table: pa.Table, features: Sequence[Feature]) -> pa.Table:
    """Leave out rows with a number that no model takes: infinite, or in an odd vector.

    A rule may vote on a row that is invalid to any model of its columns.
    """
    if not table.num_rows:
        return table
    rows, odd = without_odd_vectors(table.combine_chunks().to_batches()[0], features)
    numbers = to_frame(rows, features).select_dtypes("float64")
    takes = ~np.isinf(numbers.to_numpy()).any(axis=1)
    takes[list(odd)] = False
    return table.filter(pa.array(takes))


@dataclass(frozen=True)
class Encoder:
    """Makes lines of rows, and deals them.

    Parameters
    ----------
    features, keys
        Of the rows.
    columns
        Fitted preprocessing of the model.
    weighting
        How rows of the pool enter.
    weights
        What each weighs, before all are bounded together.
    n_shards
        How many shards there are.
    single
        Whether numbers are kept in single precision, which is what the learner computes with.
    checked
        Whether rows may hold numbers that no model takes; these are left out.
    revoked
        Rows whose label people have taken back; these are left out. None: there are none.
    """

    features: tuple[Feature, ...]
    keys: tuple[str, ...]
    columns: BaseEstimator
    weighting: Weighting
    weights: RowWeights
    n_shards: int
    single: bool = False
    checked: bool = False
    revoked: KeySet | None = None

    @property
    def takes_all(self) -> bool:
        """Whether no row is left out."""
        return not self.checked and self.revoked is None

    def deal(self, tables: Iterable[pa.Table]) -> Iterator[tuple[int, bytes]]:
        """Yield shards and some of their lines, as Arrow streams.

        Parameters
        ----------
        tables
            Rows of the pool as :meth:`spark_pseudolabel.spark.pool.Pool.fetch` returns them.
        """
        for rows in map(self._taken, _together(tables)):
            if rows.num_rows:
                yield from self._dealt(self._of_pool(rows))

    def deal_labeled(self, rows: pa.Table) -> Iterator[tuple[int, bytes]]:
        """Yield the same of labeled rows: keys, features, ``spl_code`` and ``spl_hash``."""
        n = rows.num_rows
        line, round_0 = np.arange(n), np.zeros(n, dtype=np.int32)
        codes = rows.column(CODE).to_numpy()
        yield from self._dealt(self._lines(rows, line, codes, np.ones(n), round_0))

    def _taken(self, rows: pa.Table) -> pa.Table:
        rows = learnable(rows, self.features) if self.checked else rows
        if self.revoked is None:
            return rows
        gone = self.revoked.contains([rows.column(key) for key in self.keys])
        return rows.filter(pa.array(~gone))

    def _of_pool(self, rows: pa.Table) -> pa.Table:
        soft = self.weighting.labels == "soft"
        labels = probabilities_of(rows) if soft else rows.column(CODE).to_numpy()
        line, codes, share = lines_of(labels, soft)
        rounds = rows.column(IN_ROUND).to_numpy()
        weights = self.weights.of(rows.column(SCORE).to_numpy(), rounds)
        return self._lines(rows, line, codes, weights[line] * share, rounds[line])

    def _lines(
        self,
        rows: pa.Table,
        line: NDArray[np.intp],
        codes: NDArray[np.integer],
        weights: NDArray[np.float64],
        rounds: NDArray[np.int32],
    ) -> pa.Table:
        first = np.zeros(len(line), dtype=bool)
        first[np.unique(line, return_index=True)[1]] = True
        taken = rows.select([*self.keys, HASH]).take(pa.array(line))
        named = {name: taken.column(name) for name in taken.column_names}
        numbers = {
            CODE: pa.array(codes.astype(np.int32)),
            WEIGHED: pa.array(weights),
            IN_ROUND: pa.array(rounds.astype(np.int32)),
            _FIRST: pa.array(first),
        }
        matrix = self._matrix(rows)
        values = _columns_of(matrix if len(line) == rows.num_rows else matrix[line])
        width = {_WIDTH: str(matrix.shape[1]).encode()}
        return pa.table({**named, **numbers, **values}).replace_schema_metadata(width)

    def _matrix(self, rows: pa.Table) -> Matrix:
        # Whoever has set the process to get DataFrames means other models.
        X = to_frame(rows, self.features)
        if np.isinf(X.select_dtypes("float64").to_numpy()).any():
            raise _infinite(X)
        with config_context(transform_output="default"), hold_threads(1):
            prepared = self.columns.transform(X)
        matrix = prepared.tocsr() if issparse(prepared) else np.asarray(prepared)
        with np.errstate(over="ignore"):  # to infinity, which is refused
            matrix = matrix.astype(np.float32 if self.single else np.float64, copy=False)
        if np.isinf(matrix.data if issparse(matrix) else matrix).any():
            raise _infinite(X)
        return matrix

    def _dealt(self, lines: pa.Table) -> Iterator[tuple[int, bytes]]:
        shards = shards_of(lines.column(HASH).to_numpy(), self.n_shards)
        order = np.argsort(shards, kind="stable")
        lines, shards = lines.take(pa.array(order)), shards[order]
        starts = np.flatnonzero(np.diff(shards, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(shards)], strict=True):
            yield int(shards[start]), _stream(lines.slice(start, end - start))


@dataclass(frozen=True)
class ShardFacts:
    """What is known of a shard once it is sorted.

    Parameters
    ----------
    lines
        How many it has; a row with soft labels is in several.
    n_pseudo
        Rows of the pool among them.
    labeled, pseudo
        What lines of labeled rows, and of those of the pool, weigh together, by class.
    sha256
        Of all lines.
    """

    lines: int
    n_pseudo: int
    labeled: tuple[float, ...]
    pseudo: tuple[float, ...]
    sha256: str

    @classmethod
    def of(cls, lines: pa.Table, n_classes: int) -> ShardFacts:
        """Look at a sorted shard."""
        if not lines.num_rows:
            return cls(0, 0, (0.0,) * n_classes, (0.0,) * n_classes, "")
        codes, weights, rounds, first = (
            lines.column(name).to_numpy() for name in (CODE, WEIGHED, IN_ROUND, _FIRST)
        )
        of_pool = rounds > 0
        digest = hashlib.sha256(_stream(lines))
        return cls(
            lines.num_rows,
            int((first & of_pool).sum()),
            _sums(codes[~of_pool], weights[~of_pool], n_classes),
            _sums(codes[of_pool], weights[of_pool], n_classes),
            digest.hexdigest(),
        )


def sorted_lines(streams: Iterable[bytes], keys: Sequence[str]) -> pa.Table:
    """Put the lines of a shard in order: by hash, id, and labeled ones first.

    Returns
    -------
    Table
        Without the ids; of no line, one without columns.
    """
    lines = joined_streams(streams)
    if not lines.num_rows:
        return lines
    order = [(name, "ascending") for name in (HASH, *keys, IN_ROUND, CODE)]
    # Only what is sorted by goes through the sort.
    places = lines.select([name for name, _ in order]).append_column(
        "spl_place", pa.array(np.arange(lines.num_rows))
    )
    return lines.drop_columns(list(keys)).take(
        places.sort_by(order).column("spl_place").combine_chunks()
    )


def joined_streams(streams: Iterable[bytes]) -> pa.Table:
    """Put streams of lines together again, in their order; of none, a table without columns."""
    tables = [pa.ipc.open_stream(stream).read_all() for stream in streams]
    return pa.concat_tables(tables).combine_chunks() if tables else pa.table({})


def chunks_of(lines: pa.Table) -> Iterator[bytes]:
    """Cut sorted lines into Arrow streams of some kilobytes."""
    n = max(1, int(lines.num_rows * _CHUNK_BYTES / max(lines.nbytes, 1)))
    for start in range(0, lines.num_rows, n):
        yield _stream(lines.slice(start, n))


@dataclass(frozen=True)
class LineWeights:
    """What turns the weights of lines into those that they have in a fit.

    Parameters
    ----------
    scale
        Of rows of the pool, which keeps them within their bound.
    by_code
        Of each class; None: 1.
    needed
        Whether a line may weigh something else than 1.
    """

    scale: float = 1.0
    by_code: tuple[float, ...] | None = None
    needed: bool = False


@dataclass(frozen=True)
class Lines:
    """Some lines as a learner takes them.

    Parameters
    ----------
    X
        Matrix of shape (n_lines, n_columns), sparse where the preprocessing's is.
    codes
        ndarray of shape (n_lines,): class indices.
    weights
        ndarray of shape (n_lines,), or None where every line weighs 1.
    """

    X: Matrix
    codes: NDArray[np.int32]
    weights: NDArray[np.float64] | None

    @classmethod
    def of(cls, streams: Iterable[bytes], weights: LineWeights) -> Lines:
        """Read one or more chunks of a shard."""
        table = joined_streams(streams)
        codes, weighed, rounds = (
            table.column(name).to_numpy() for name in (CODE, WEIGHED, IN_ROUND)
        )
        if not weights.needed:
            return cls(_matrix_of(table), codes, None)
        weighed = np.where(rounds > 0, weighed * weights.scale, weighed)
        if weights.by_code is not None:
            weighed = weighed * np.asarray(weights.by_code)[codes]
        return cls(_matrix_of(table), codes, weighed)

    @property
    def rows(self) -> pa.Array:
        """The lines as lists of numbers, of a dense matrix."""
        n, width = self.X.shape
        places = np.arange(0, n * width + 1, width, dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(places), pa.array(self.X.ravel()))

    @property
    def places(self) -> tuple[pa.Array, pa.Array] | None:
        """The lines as lists of places and of numbers; None of a dense matrix."""
        if not issparse(self.X):
            return None
        starts = pa.array(self.X.indptr.astype(np.int32))
        indices = pa.array(self.X.indices.astype(np.int32))
        return (
            pa.ListArray.from_arrays(starts, indices),
            pa.ListArray.from_arrays(starts, pa.array(self.X.data)),
        )


@dataclass(frozen=True)
class DealtRows:
    """The rows of one fit, as far as anybody but the learner needs to know them.

    Parameters
    ----------
    shards
        Facts of each.
    weights
        Of lines, before classes weigh.
    """

    shards: tuple[ShardFacts, ...]
    weights: LineWeights = LineWeights()

    @property
    def lines(self) -> int:
        """How many there are."""
        return sum(shard.lines for shard in self.shards)

    @property
    def n_pseudo(self) -> int:
        """Rows of the pool among them."""
        return sum(shard.n_pseudo for shard in self.shards)

    @property
    def pseudo_weight(self) -> float:
        """What all lines of the pool weigh, before they are scaled."""
        return math.fsum(weight for shard in self.shards for weight in shard.pseudo)

    def by_code(self) -> NDArray[np.float64]:
        """Return what lines weigh together, by class."""
        labeled, pseudo = (
            np.array([math.fsum(of_class) for of_class in zip(*of_shards, strict=True)])
            for of_shards in (
                [shard.labeled for shard in self.shards],
                [shard.pseudo for shard in self.shards],
            )
        )
        weights: NDArray[np.float64] = labeled + self.weights.scale * pseudo
        return weights

    def shares(self, n_classes: int) -> NDArray[np.float64]:
        """Return the class shares by weight, of shape (n_classes,)."""
        weights = self.by_code()
        part: NDArray[np.float64] = weights / weights.sum()
        return part

    def sha256(self) -> str:
        """Hash all lines and what they weigh."""
        parts = [shard.sha256 for shard in self.shards] + [repr(self.weights.scale)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def balanced(self) -> tuple[float, ...]:
        """Return ``class_weight="balanced"``: total weight / (classes * weight of the class)."""
        weights = self.by_code()
        return tuple((weights.sum() / (len(weights) * weights)).tolist())


def _infinite(X: pd.DataFrame) -> InputError:
    odd = odd_numbers(X)
    what, where = (odd[0].value, odd[0].column) if odd else ("a number that is too large", None)
    named = f"column {where!r}" if odd else "a column"
    return InputError(
        f"A row that is to be learned from has {what} in {named}, and no engine takes it. Let it "
        "be null, or leave the column out by features.exclude.",
        code="fit_failed",
        where=where,
    )


def _together(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join small tables and cut large ones: a line's stream has a schema of a kilobyte."""
    waiting: list[pa.Table] = []
    for table in tables:
        for start in range(0, table.num_rows, _LINES_AT_ONCE):
            waiting.append(table.slice(start, _LINES_AT_ONCE))
            if sum(rows.num_rows for rows in waiting) >= _LINES_AT_ONCE:
                yield pa.concat_tables(waiting)
                waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _columns_of(matrix: Matrix) -> dict[str, pa.Array]:
    if not issparse(matrix):
        values = pa.array(np.ascontiguousarray(matrix).ravel())
        return {_VALUES: pa.FixedSizeListArray.from_arrays(values, matrix.shape[1])}
    matrix.sort_indices()
    starts = pa.array(matrix.indptr.astype(np.int32))
    return {
        _VALUES: pa.ListArray.from_arrays(starts, pa.array(matrix.data)),
        _PLACES: pa.ListArray.from_arrays(starts, pa.array(matrix.indices.astype(np.int32))),
    }


def _matrix_of(table: pa.Table) -> Matrix:
    width = int(table.schema.metadata[_WIDTH])
    values = table.column(_VALUES).chunk(0)
    numbers = values.flatten().to_numpy()
    if _PLACES not in table.column_names:
        return numbers.reshape(table.num_rows, width)
    starts = values.offsets.to_numpy()
    places = table.column(_PLACES).chunk(0).flatten().to_numpy()
    return csr_matrix((numbers, places, starts - starts[0]), shape=(table.num_rows, width))


def _sums(
    codes: NDArray[np.int32], weights: NDArray[np.float64], n_classes: int
) -> tuple[float, ...]:
    # fsum is exact: which lines there are decides, not their order.
    return tuple(math.fsum(weights[codes == code]) for code in range(n_classes))


def _stream(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())
