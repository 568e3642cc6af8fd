from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.kernel import make_scorer, score_batch
from spark_pseudolabel.core.teachers import preprocessing
from spark_pseudolabel.core.teachers.anchors import AnchorsTeacher, anchors_teacher
from spark_pseudolabel.core.teachers.cross_fitting import fold_of
from spark_pseudolabel.core.teachers.reference import Reference
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.artifact import check_storable, dump_model, load_model
from tests.config.files import minimal
from tests.core.registry_rows import MIXED, N, mixed_rows


def numbers(X: NDArray[np.float64]) -> tuple[list[Feature], pa.RecordBatch]:
    names = [f"x{i}" for i in range(X.shape[1])]
    return (
        [Feature(name, "numeric", "double") for name in names],
        pa.RecordBatch.from_pandas(pd.DataFrame(X, columns=names)),
    )


def ready(teacher: AnchorsTeacher, pool: pa.RecordBatch) -> AnchorsTeacher:
    """Return a teacher that has seen the pool, in two calls as from two workers."""
    X = to_frame(pool, teacher.features)
    teacher = teacher.placed(X)
    wanted = teacher.pool_pass
    assert wanted is not None
    half = pool.num_rows // 2
    return teacher.informed(
        wanted.together([wanted.look([pool.slice(half)]), wanted.look([pool.slice(0, half)])])
    )


def training(pool: pa.RecordBatch, features: list[Feature], y: NDArray[np.int64], rows: NDArray):
    X = to_frame(pool.take(pa.array(rows)), features)
    return TrainingRows(X, y[rows].astype(np.int32), None, 0)


def drawn(y: NDArray[np.int64], per_class: int, seed: int) -> NDArray[np.int64]:
    chance = np.random.default_rng(seed)
    return np.concatenate(
        [chance.permutation(np.flatnonzero(y == code))[:per_class] for code in np.unique(y)]
    )


def test_two_labels_a_moon_are_enough_out_of_fold_and_from_storage() -> None:
    X, y = make_moons(20_000, noise=0.06, random_state=0)
    features, pool = numbers(X)
    teacher = ready(anchors_teacher(features, 300, 3, random_state=0), pool)
    labeled = training(pool, features, y, drawn(y, 2, seed=0))
    folds = fold_of(labeled.codes, np.arange(4))
    crossed = teacher.cross_fit(labeled, folds, ("lower", "upper"), mean=True)
    assert (crossed.P.argmax(axis=1) == labeled.codes).all()
    mean = crossed.mean_model(("lower", "upper"))
    stored = dump_model(mean)
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    assert len({id(member.steps[0][1]) for member in loaded.estimators_}) == 1
    scored = score_batch(pool, make_scorer(loaded, features))
    assert scored.equals(score_batch(pool, make_scorer(mean, features)))
    assert (scored.column("spl_code").to_numpy() == y).mean() >= 0.999
    scale = StandardScaler().fit(X)
    linear = LogisticRegression().fit(scale.transform(labeled.X.to_numpy()), labeled.codes)
    assert linear.score(scale.transform(X), y) < 0.9


# scikit-learn's waits for the last rows, which change nothing.
@pytest.mark.filterwarnings("ignore:max_iter:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("per_class", [2, 5])
def test_as_good_as_propagation_among_all_rows(per_class: int) -> None:
    X, y = load_digits(return_X_y=True)
    features, pool = numbers(X)
    teacher = ready(anchors_teacher(features, 1000, 3, random_state=0), pool)
    ours, theirs = [], []
    for seed in range(3):
        rows = drawn(y, per_class, seed)
        rest = np.setdiff1d(np.arange(len(y)), rows)
        model = teacher.fit(training(pool, features, y, rows), range(10))
        ours.append((model.predict(to_frame(pool, features)) == y)[rest].mean())
        given = np.full(len(y), -1)
        given[rows] = y[rows]
        propagation = LabelPropagation(kernel="knn", n_neighbors=7, max_iter=1000)
        propagation.fit(X, given)
        theirs.append((propagation.transduction_ == y)[rest].mean())
    assert np.mean(ours) > np.mean(theirs) - 0.015


def test_anchors_are_among_all_rows_not_only_near_the_labeled_ones() -> None:
    X, y = make_moons(5_000, noise=0.06, random_state=0)
    features, pool = numbers(X)
    middle = np.flatnonzero(np.abs(X[:, 0] - 0.5) < 0.02)  # of a line of a few percent
    rows = np.concatenate([middle[y[middle] == code][:2] for code in (0, 1)])
    labeled = training(pool, features, y, rows)
    reference = Reference.of(labeled.X, to_frame(pool, features))
    assert reference.X["x0"].max() < 0.6
    teacher = anchors_teacher(features, 300, 3, 0).placed(reference.spread)
    wanted = teacher.pool_pass
    assert wanted is not None
    model = teacher.informed(wanted.look([pool])).fit(labeled, (0, 1))
    assert model.score(to_frame(pool, features), y) >= 0.999


def test_rows_that_the_model_refuses_are_not_in_the_graph() -> None:
    X = np.random.default_rng(0).normal(size=(300, 2))
    features, clean = numbers(X)
    frame = to_frame(clean, features)
    teacher = anchors_teacher(features, 30, 3, 0).placed(frame)
    X[[7, 8, 9], 0] = np.inf, 1e300, np.nan
    _, pool = numbers(X)
    wanted = teacher.pool_pass
    assert wanted is not None
    teacher = teacher.informed(wanted.look([pool]))
    assert teacher.graph is not None
    labeled = training(clean, features, np.arange(300) % 2, np.arange(10))
    scored = score_batch(pool, make_scorer(teacher.fit(labeled, (0, 1)), features))
    assert scored.column("spl_reason").is_valid().to_pylist().count(True) == 2
    assert teacher.graph.mass.sum() == 298


def test_every_kind_of_column_and_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    # The full width takes a second per condensed text.
    monkeypatch.setattr(preprocessing, "_HASHED_WORDS", 2**9)
    pool = mixed_rows()
    y = np.arange(N) % 2
    teacher = ready(anchors_teacher(MIXED, 20, 3, random_state=0), pool)
    check_storable(teacher.estimators[0])
    labeled = TrainingRows(to_frame(pool, MIXED)[:20], y[:20].astype(np.int32), None, 0)
    assert teacher.fit(labeled, (0, 1)).score(to_frame(pool, MIXED), y) > 0.8
    alone = anchors_teacher(MIXED, 20, 3, random_state=0).fit(labeled, (0, 1))
    assert alone.score(labeled.X, labeled.codes) > 0.8


def test_anchors_are_no_more_than_the_rows_allow() -> None:
    features, pool = numbers(np.random.default_rng(0).normal(size=(60, 150)))
    teacher = ready(anchors_teacher(features, 1000, 3, random_state=0), pool)
    assert teacher.adapted == {"anchors": 20}
    assert teacher.columns["anchors"].anchors_.shape[0] == 20


def test_columns_that_tell_no_rows_apart_are_refused_before_any_fit() -> None:
    features, pool = numbers(np.ones((60, 2)))
    with pytest.raises(InputError, match="Each of 'x0', 'x1' has one value"):
        ready(anchors_teacher(features, 10, 3, 0), pool)


def test_the_configuration_names_it() -> None:
    section = {"graph": "anchors", "anchors": 50, "class_mass": True}
    config = parse_config(minimal(teacher=section, selection={"policy": "one_shot"}))
    assert config.teacher is not None
    teacher = config.teacher.build([Feature("x", "numeric", "double")], 7)
    assert teacher.estimators[0].get_params()["columns__anchors__random_state"] == 7
