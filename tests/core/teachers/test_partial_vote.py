import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from spark_pseudolabel.core.feature import Feature
from spark_pseudolabel.core.kernel import make_scorer, predict_proba
from spark_pseudolabel.core.teachers.anchor_graph import AnchorGraph
from spark_pseudolabel.core.teachers.anchor_model import AnchorClassifier, AnchorWeights
from spark_pseudolabel.core.teachers.partial_vote import PartialVote, may_abstain
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote, weights_of
from spark_pseudolabel.core.trust.agreement import Agreement
from spark_pseudolabel.store.artifact import dump_model, load_model


def parts():
    """A model that always speaks, and a graph that does not know one of three clusters."""
    draw = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    X = np.repeat(centers, 30, axis=0) + draw.normal(size=(90, 2))
    labeled, y = np.array([0, 1, 30, 31]), np.array(["a", "a", "b", "b"])
    weights = AnchorWeights(30, 3, 0).fit(X)
    graph = AnchorClassifier().fit(
        weights.transform(X[labeled]), y, None, AnchorGraph.of(weights.transform(X))
    )
    return X, GaussianNB().fit(X[labeled], y), make_pipeline(weights, graph)


def test_a_part_that_abstains_has_no_say() -> None:
    X, bayes, graph = parts()
    vote = soft_vote({"bayes": bayes, "graph": graph}, ("a", "b"), [0.25, 0.75])
    assert isinstance(vote, PartialVote)
    assert (members_of(vote), weights_of(vote)) == ([bayes, graph], [0.25, 0.75])
    P, said = vote.predict_proba(X), graph.predict_proba(X)
    silent = ~said.any(axis=1)
    assert silent.sum() == 30
    assert np.allclose(P.sum(axis=1), 1)
    assert np.allclose(P[silent], bayes.predict_proba(X)[silent])
    expected = 0.25 * bayes.predict_proba(X) + 0.75 * said
    assert np.allclose(P[~silent], expected[~silent])
    assert (predict_proba(vote, X) == P).all()


def test_a_part_without_weight_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    X, bayes, graph = parts()
    vote = soft_vote({"bayes": bayes, "graph": graph}, ("a", "b"), [1.0, 0.0])

    def asked(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(AnchorWeights, "transform", asked)
    assert np.array_equal(vote.predict_proba(X), bayes.predict_proba(X))
    features = (Feature("x", "numeric", "double"), Feature("y", "numeric", "double"))
    scorer = make_scorer(vote, features, named=False)
    assert np.array_equal(predict_proba(scorer.model, X), bayes.predict_proba(X))
    # It neither agrees nor disagrees.
    said = Agreement(2, "all").said([bayes.predict_proba(X), np.ones((90, 2))], vote.weights)
    assert not said[1].any()


def test_it_is_stored_without_pickle() -> None:
    X, bayes, graph = parts()
    vote = soft_vote({"bayes": bayes, "graph": graph}, ("a", "b"), [0.5, 0.5])
    stored = dump_model(vote)
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    assert isinstance(loaded, PartialVote)
    assert (loaded.predict_proba(X) == vote.predict_proba(X)).all()


def test_votes_of_one_kind_of_parts_stay_scikit_learns_own() -> None:
    _, bayes, graph = parts()
    assert [may_abstain(model) for model in (bayes, graph)] == [False, True]
    for same in (bayes, graph):
        assert type(soft_vote({"one": same, "other": same}, ("a", "b"))) is VotingClassifier
