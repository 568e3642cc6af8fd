from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.cross_fitting import fold_of, probabilities
from spark_pseudolabel.core.teachers.kind import PeerEstimator, TeacherKind
from spark_pseudolabel.core.teachers.kinds.tri_training import TriTrainingKind
from spark_pseudolabel.core.teachers.kinds.views import ViewsKind
from spark_pseudolabel.core.teachers.peers import POOL_ROWS, Peers
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.evaluate.data import load
from spark_pseudolabel.evaluate.task import Task, draw
from spark_pseudolabel.store.artifact import dump_model, load_model

WINE = load("wine", None)
COLUMNS = tuple(feature.name for feature in WINE.features)
NAIVE = PeerEstimator(estimator="GaussianNB")
KINDS = {
    "tri_training": TriTrainingKind(tri_training=NAIVE),
    "views": ViewsKind(views=(COLUMNS[::2], COLUMNS[1::2]), estimator="GaussianNB"),
}
TREES = {
    "tri_training": TriTrainingKind(tri_training=PeerEstimator()),
    "views": ViewsKind(views=(COLUMNS[::2], COLUMNS[1::2])),
}


def task(seed: int = 0) -> Task:
    return draw(WINE, 5, seed, per_class=True, n_pool=4000, n_test=4000)


def teacher(kind: TeacherKind, rows: Task) -> Peers:
    made = kind.build(WINE.features, 0).prepared(rows.reference).shown(rows.pool)
    assert isinstance(made, Peers)
    return made


@pytest.mark.parametrize("kind", TREES.values(), ids=TREES)
def test_pool_rows_make_models_better(kind: TeacherKind) -> None:
    gains = []
    for seed in range(2):
        rows = task(seed)
        taught = teacher(kind, rows)
        alone = replace(taught, pool=None)
        right = [
            (probabilities(one.fit(rows.labeled, WINE.classes), rows.test).argmax(axis=1))
            == rows.test_codes
            for one in (taught, alone)
        ]
        gains.append(right[0].mean() - right[1].mean())
    assert np.mean(gains) > 0.01


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_models_are_stored_and_made_again_the_same(kind: TeacherKind) -> None:
    rows = task()
    one, other = (teacher(kind, rows).fit(rows.labeled, WINE.classes) for _ in range(2))
    kept = dump_model(one)
    stored = load_model(kept.data, kept.sha256, kept.trusted_types)
    P = probabilities(one, rows.test)
    assert (probabilities(other, rows.test) == P).all()
    assert (probabilities(stored, rows.test) == P).all()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_hidden_label_says_nothing_about_its_own_row(kind: TeacherKind) -> None:
    rows = task()
    folds = fold_of(rows.labeled.codes, rows.hashes)
    hidden = folds == 0
    codes = np.where(hidden, (rows.labeled.codes + 1) % 3, rows.labeled.codes).astype(np.int32)
    own, other = (
        teacher(kind, rows).cross_fit(one, folds, WINE.classes).models
        for one in (rows.labeled, replace(rows.labeled, codes=codes))
    )
    for fold, same in ((0, True), (1, False)):
        P, with_others = (
            np.stack([probabilities(m, rows.labeled.X[hidden]) for m in members_of(models[fold])])
            for models in (own, other)
        )
        assert (with_others == P).all() == same


def test_hidden_rows_are_taught_without_their_labels() -> None:
    # What a model makes of rows that it was taught with says what it makes of such pool rows.
    seen: list[TrainingRows] = []

    class Watching(Peers):
        def teach(self, rows, pool, classes):  # type: ignore[no-untyped-def]
            seen.append(replace(rows, X=pool))
            return [member.fit(rows, classes) for member in self.members.values()]

    rows = task()
    made = teacher(KINDS["tri_training"], rows)
    folds = fold_of(rows.labeled.codes, rows.hashes)
    Watching(made.members, 0, made.pool).cross_fit(rows.labeled, folds, WINE.classes, mean=True)
    assert len(seen) == 5 + 10
    for one in seen:
        assert len(one.codes) + len(one.X) == len(rows.labeled.codes) + len(rows.pool)
        together = pd.concat([rows.labeled.X, rows.pool]).to_numpy()
        assert {*map(tuple, one.X.to_numpy())} <= {*map(tuple, together)}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_weights_reach_every_model(kind: TeacherKind) -> None:
    rows = task()
    weights = np.where(rows.labeled.codes == 0, 1.0, 0.1)
    plain, weighted = (
        teacher(kind, rows).fit(replace(rows.labeled, weights=w), WINE.classes)
        for w in (None, weights)
    )
    for before, after in zip(members_of(plain), members_of(weighted), strict=True):
        assert (probabilities(before, rows.test) != probabilities(after, rows.test)).any()


def test_learners_that_never_agree_teach_nothing() -> None:
    rows = task()
    made = teacher(KINDS["tri_training"], rows)
    elsewhere = rows.pool.assign(**dict.fromkeys(rows.pool, np.nan))
    alone = replace(made, pool=None).fit(rows.labeled, WINE.classes)
    same = replace(made, pool=elsewhere.head(1)).fit(rows.labeled, WINE.classes)
    assert (probabilities(alone, rows.test) == probabilities(same, rows.test)).all()


@pytest.mark.parametrize("estimator", ["GaussianNB", "HistGradientBoostingClassifier"])
def test_each_model_sees_its_view_alone(estimator: str) -> None:
    rows = task()
    views = ViewsKind(views=(COLUMNS[:3], COLUMNS[3:5]), estimator=estimator)
    model = teacher(views, rows).fit(rows.labeled, WINE.classes)
    for member, own in zip(members_of(model), (COLUMNS[:3], COLUMNS[3:5]), strict=True):
        P = probabilities(member, rows.test)
        other = rows.test.assign(**{name: 0.0 for name in COLUMNS if name not in own})
        assert (probabilities(member, other) == P).all()
        assert (probabilities(member, rows.test.assign(**{own[0]: 0.0})) != P).any()


def test_columns_of_every_kind_are_views() -> None:
    features = (
        Feature("n", "numeric", "double"),
        Feature("color", "category", "string"),
        Feature("v", "vector", "array<double>", 2),
        Feature("remark", "text", "string"),
    )
    chance = np.random.default_rng(0)
    codes = np.arange(60, dtype=np.int32) % 2
    X = pd.DataFrame(chance.normal(size=(60, 3)), columns=["n", "v_0", "v_1"])
    X["color"] = np.array(["red", None], dtype=object)[codes]
    X["remark"] = np.array(["warm words here", "cold ones there"], dtype=object)[codes]
    kind = ViewsKind(views=(("n", "color"), ("v", "remark")))
    made = kind.build(features, 0).prepared(X).shown(X)
    model = made.fit(TrainingRows(X.head(20), codes[:20], None, 0), ("a", "b"))
    assert (model.predict(X) == np.array(["a", "b"])[codes]).all()


def test_view_of_an_unknown_column_is_refused() -> None:
    kind = ViewsKind(views=(("alcohol_",), COLUMNS[1:2]))
    with pytest.raises(InputError, match="lacks the column 'alcohol_'"):
        kind.build(WINE.features, 0)


def test_few_pool_rows_are_enough() -> None:
    rows = task()
    many = pd.concat([rows.pool] * 60, ignore_index=True)
    shown = teacher(KINDS["views"], rows).shown(many).pool
    assert shown is not None
    assert len(shown) == POOL_ROWS
