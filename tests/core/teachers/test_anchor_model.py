from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.anchor_graph import AnchorGraph
from spark_pseudolabel.core.teachers.anchor_model import AnchorClassifier, AnchorWeights


def blobs(*centers: float, n: int = 200) -> NDArray[np.float64]:
    chance = np.random.default_rng(0)
    return np.concatenate([chance.normal(center, 0.1, size=(n, 2)) for center in centers])


def test_rows_that_no_label_reaches_get_no_class() -> None:
    X = blobs(0, 5, 90)
    columns = AnchorWeights(60).fit(X)
    graph = AnchorGraph.of(columns.transform(X))
    model = AnchorClassifier().fit(
        columns.transform(X[[0, 200]]), np.array(["left", "right"]), graph=graph
    )
    P = model.predict_proba(columns.transform(X))
    assert (P[:200].argmax(axis=1) == 0).all()
    assert (P[200:400].argmax(axis=1) == 1).all()
    assert np.allclose(P[:400].sum(axis=1), 1)
    assert (P[400:] == 0).all()
    assert model.predict(columns.transform(X[:1])).tolist() == ["left"]


def test_rows_far_from_everything_go_with_their_nearest_anchors() -> None:
    X = blobs(0, 5)
    columns = AnchorWeights(40).fit(X)
    Z = columns.transform(X)
    model = AnchorClassifier().fit(Z[[0, 200]], np.arange(2), graph=AnchorGraph.of(Z))
    P = model.predict_proba(columns.transform(np.array([[-1e9, 0], [1e9, 0]])))
    assert P.argmax(axis=1).tolist() == [0, 1]


def test_class_mass_gives_every_class_the_share_of_its_labels() -> None:
    X = np.random.default_rng(1).normal(size=(2000, 2))
    columns = AnchorWeights(100).fit(X)
    Z, y = columns.transform(X), np.array([0] * 30 + [1] * 10)
    model = AnchorClassifier(class_mass=True).fit(Z[:40], y, graph=AnchorGraph.of(Z))
    mass = (Z @ model.labels_).mean(axis=0) * model.factors_
    assert np.allclose(mass, [0.75, 0.25], atol=0.01)
