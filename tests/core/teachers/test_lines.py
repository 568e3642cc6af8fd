"""Lines hold what the training frame holds, whoever deals them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from spark_pseudolabel.columns import CLASS_SCORES, CODE, HASH, IN_ROUND, SCORE
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.core.teachers.lines import (
    DealtRows,
    Encoder,
    Lines,
    LineWeights,
    ShardFacts,
    chunks_of,
    learnable,
    shards_of,
    sorted_lines,
)
from spark_pseudolabel.core.teachers.preprocessing import split, with_preprocessing
from spark_pseudolabel.core.teachers.training_frame import Weighting, training_rows
from spark_pseudolabel.core.teachers.weights import PseudoWeights, RowWeights
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.registry import info_of

FEATURES = (
    Feature("x", "float", "double"),
    Feature("color", "category", "string"),
)
N, CLASSES = 300, 3


def rows(n: int, seed: int, start: int = 0) -> pa.Table:
    chance = np.random.default_rng(seed)
    P = chance.dirichlet(np.ones(CLASSES) / 2, size=n)
    ids = np.arange(start, start + n)
    return pa.table(
        {
            "id": pa.array(ids),
            "x": pa.array(np.where(chance.random(n) < 0.1, np.nan, chance.normal(size=n))),
            "color": pa.array(chance.choice(["red", "green", "blue", None], size=n).tolist()),
            CODE: pa.array(P.argmax(axis=1).astype(np.int32)),
            SCORE: pa.array(P.max(axis=1).round(6)),
            HASH: pa.array(xxhash64([pa.array(ids), 0])),
            IN_ROUND: pa.array(chance.integers(1, 3, size=n).astype(np.int32)),
            CLASS_SCORES: pa.array(P.tolist()),
        }
    )


LABELED, POOL = rows(40, seed=1), rows(N, seed=2, start=1000)


def encoder(labels: Literal["hard", "soft"] = "hard", **changes: object) -> Encoder:
    estimator = with_preprocessing(
        LogisticRegression(), info_of("LogisticRegression"), FEATURES, random_state=0
    )
    columns, _ = split(estimator)
    assert columns is not None
    made = Encoder(
        features=FEATURES,
        keys=("id",),
        columns=columns.fit(to_frame(POOL, FEATURES)),
        weighting=Weighting(labels, PseudoWeights("confidence")),
        weights=RowWeights("confidence"),
        n_shards=4,
    )
    return replace(made, **changes)


def dealt(by: Encoder, pieces: list[pa.Table]) -> list[pa.Table]:
    """Deal rows as tasks would, each with a piece of them; return the shards in order."""
    shards: dict[int, list[bytes]] = defaultdict(list)
    for piece in pieces:
        for number, stream in by.deal([piece]):
            shards[number].append(stream)
    for number, stream in by.deal_labeled(LABELED):
        shards[number].append(stream)
    return [sorted_lines(shards[number], by.keys) for number in range(by.n_shards)]


def as_rows(X: object, codes: NDArray[np.int32], weights: NDArray[np.float64]) -> list[object]:
    dense = X.toarray() if issparse(X) else X  # type: ignore[attr-defined]
    frame = pd.DataFrame(np.column_stack([dense, codes, weights]).round(9))
    return sorted(map(tuple, frame.to_numpy().tolist()))


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_lines_are_those_of_the_training_frame(labels: Literal["hard", "soft"]) -> None:
    by = encoder(labels)
    weights = LineWeights(needed=True)
    lines = [Lines.of(list(chunks_of(shard)), weights) for shard in dealt(by, [POOL])]
    frame = training_rows(
        LABELED,
        POOL,
        FEATURES,
        ["id"],
        by.weighting,
        by.weights.of(POOL.column(SCORE).to_numpy(), POOL.column(IN_ROUND).to_numpy()),
    )
    assert frame.weights is not None
    expected = as_rows(by.columns.transform(frame.X), frame.codes, frame.weights)
    found = [
        row
        for shard in lines
        if shard.weights is not None
        for row in as_rows(shard.X, shard.codes, shard.weights)
    ]
    assert sorted(found) == expected
    facts = DealtRows(tuple(ShardFacts.of(shard, CLASSES) for shard in dealt(by, [POOL])))
    assert (facts.lines, facts.n_pseudo) == (len(frame.codes), N)
    assert facts.shares(CLASSES) == pytest.approx(frame.shares(CLASSES))


def test_who_has_dealt_which_rows_changes_nothing() -> None:
    by = encoder("soft")
    whole, mixed = POOL, POOL.take(np.random.default_rng(3).permutation(N))
    pieces = [mixed.slice(start, 7) for start in range(0, N, 7)]
    for one, other in zip(dealt(by, [whole]), dealt(by, pieces), strict=True):
        assert one.equals(other)


def test_rows_whose_label_was_taken_back_are_not_dealt() -> None:
    gone = POOL.slice(0, 90)
    by = encoder(revoked=KeySet.of([gone.column("id")]))
    assert not by.takes_all
    pieces = [POOL.slice(start, 45) for start in range(0, N, 45)]
    for one, other in zip(dealt(by, pieces), dealt(encoder(), [POOL.slice(90)]), strict=True):
        assert one.equals(other)


def test_shards_are_ranges_of_hashes_so_that_their_number_changes_no_order() -> None:
    orders = [
        pa.concat_tables(dealt(encoder(n_shards=n), [POOL])).column(HASH).to_pylist()
        for n in (1, 3, 8)
    ]
    assert orders[0] == orders[1] == orders[2] == sorted(orders[0])


def test_equal_hashes_go_to_the_lower_id_and_labeled_rows_first() -> None:
    same = pa.array(np.zeros(N, dtype=np.int64))
    pool = POOL.set_column(POOL.column_names.index(HASH), HASH, same)
    shard = dealt(encoder(n_shards=1), [pool.slice(N // 2), pool.slice(0, N // 2)])[0]
    tied = shard.filter(pa.compute.equal(shard.column(HASH), 0))
    assert tied.column(CODE).to_pylist() == POOL.column(CODE).to_pylist()


def test_every_hash_has_a_shard() -> None:
    extremes = np.array([-(2**63), -(2**62), 0, 2**62, 2**63 - 1])
    assert shards_of(extremes, 7).tolist() == [0, 1, 3, 5, 6]


def test_rows_of_the_pool_are_scaled_and_classes_weigh() -> None:
    shard = dealt(encoder(n_shards=1), [POOL])[0]
    plain = Lines.of(chunks_of(shard), LineWeights(needed=True)).weights
    weights = LineWeights(0.5, (1.0, 2.0, 3.0), needed=True)
    lines = Lines.of(chunks_of(shard), weights)
    of_pool = shard.column(IN_ROUND).to_numpy() > 0
    assert plain is not None
    assert lines.weights == pytest.approx(
        plain * np.where(of_pool, 0.5, 1.0) * np.array([1.0, 2.0, 3.0])[lines.codes]
    )
    assert Lines.of(chunks_of(shard), LineWeights()).weights is None


def test_balanced_is_what_scikit_learn_makes_of_it() -> None:
    by = encoder(weights=RowWeights(1.0), weighting=Weighting())
    facts = DealtRows(tuple(ShardFacts.of(shard, CLASSES) for shard in dealt(by, [POOL])))
    codes = np.concatenate([LABELED.column(CODE).to_numpy(), POOL.column(CODE).to_numpy()])
    expected = compute_class_weight("balanced", classes=np.arange(CLASSES), y=codes)
    assert facts.balanced() == pytest.approx(expected)


def test_other_lines_or_weights_have_another_hash() -> None:
    facts = tuple(ShardFacts.of(shard, CLASSES) for shard in dealt(encoder(), [POOL]))
    less = tuple(ShardFacts.of(shard, CLASSES) for shard in dealt(encoder(), [POOL.slice(1)]))
    rows_ = DealtRows(facts)
    others = [DealtRows(less), DealtRows(facts, LineWeights(0.5))]
    assert rows_.sha256() == DealtRows(facts).sha256()
    assert rows_.sha256() not in [other.sha256() for other in others]


def test_a_shard_without_a_line_says_so() -> None:
    assert ShardFacts.of(sorted_lines([], ("id",)), 2) == ShardFacts(0, 0, (0, 0), (0, 0), "")


def test_sparse_and_dense_lines_hold_the_same_numbers() -> None:
    columns, _ = split(
        with_preprocessing(
            LogisticRegression(), info_of("LogisticRegression"), FEATURES, random_state=0
        )
    )
    assert columns is not None
    fitted = columns.set_params(sparse_threshold=1.0).fit(to_frame(POOL, FEATURES))
    sparse = Lines.of(chunks_of(dealt(encoder(columns=fitted), [POOL])[1]), LineWeights())
    dense = Lines.of(chunks_of(dealt(encoder(), [POOL])[1]), LineWeights())
    assert issparse(sparse.X)
    assert dense.places is None
    assert sparse.X.toarray() == pytest.approx(dense.X)
    places, numbers = sparse.places
    assert len(places) == len(numbers) == len(dense.rows) == len(dense.codes)
    assert dense.rows.to_pylist()[0] == pytest.approx(dense.X[0].tolist())


def test_numbers_that_no_model_takes_are_left_out() -> None:
    table = pa.table({"x": [1.0, np.inf, np.nan, -np.inf], "color": ["a", "b", None, "d"]})
    assert learnable(table, FEATURES).column("color").to_pylist() == ["a", None]
    assert learnable(table.slice(0, 0), FEATURES).num_rows == 0


@pytest.mark.parametrize(("value", "named"), [(np.inf, "'x'"), (-np.inf, "'x'")])
def test_an_infinite_number_is_refused_by_its_column(value: float, named: str) -> None:
    x = pa.array([value, *[0.0] * (N - 1)])
    odd = POOL.set_column(POOL.column_names.index("x"), "x", x)
    with pytest.raises(InputError, match=named):
        list(encoder().deal([odd]))
    assert sum(1 for _ in encoder(checked=True).deal([odd])) == 4
