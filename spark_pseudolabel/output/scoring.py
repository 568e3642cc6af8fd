"""Models of a run ready to score: the same for a run, for ``label`` and for ``explain --why``."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.base import BaseEstimator

from spark_pseudolabel.core.adjustment import Adjustment
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import DECIMALS, Scorer, make_scorer
from spark_pseudolabel.core.nodes import NodeIds
from spark_pseudolabel.output.preflight import require_inductive
from spark_pseudolabel.store.store import RoundStore


def scorer_of(
    mode: str | None,
    model: BaseEstimator,
    features: Sequence[Feature],
    keys: Sequence[str] = (),
    *,
    adjustment: Adjustment | None = None,
    probabilities: bool = False,
    nodes: NodeIds | None = None,
) -> Scorer:
    """Prepare a model for scoring, as runs of its mode do.

    Parameters
    ----------
    mode
        Of the configuration; ``"sklearn"``: bare matrices and raw probabilities.
    model, features, keys, adjustment, probabilities, nodes
        See :class:`Scorer`.
    """
    like_sklearn = mode == "sklearn"
    return make_scorer(
        model,
        features,
        keys,
        named=not like_sklearn,
        decimals=None if like_sklearn else DECIMALS,
        adjustment=adjustment,
        probabilities=probabilities,
        nodes=nodes,
    )


def committed_scorer(
    store: RoundStore,
    number: int,
    keys: Sequence[str] = (),
    trusted: Sequence[str] = (),
    *,
    probabilities: bool = False,
) -> Scorer:
    """Load a committed model, ready to score; `trusted` are further types it may hold.

    Raises
    ------
    StoredStateError
        If the model is not the one that was committed.
    InputError
        If the model knows the rows of its run alone.
    """
    manifest = store.models[number - 1]
    require_inductive(manifest)
    return scorer_of(
        store.settings.mode,
        store.load_model(number, trusted),
        manifest.features,
        keys,
        adjustment=manifest.adjustment,
        probabilities=probabilities,
    )
