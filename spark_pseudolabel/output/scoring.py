"""Models of a run ready to score: the same for a run, for ``label`` and for ``explain --why``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.adjustment import Adjustment
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import DECIMALS, Scorer, make_scorer
from spark_pseudolabel.core.nodes import NodeIds
from spark_pseudolabel.core.selection.policies import read_policy
from spark_pseudolabel.core.selection.policy import StableUnder
from spark_pseudolabel.core.trust.agreement import Agreement, Require
from spark_pseudolabel.core.trust.stability import Stability, draw_corruptions
from spark_pseudolabel.output.preflight import require_inductive
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.manifest import damaged
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


def stability_of(
    asked: StableUnder | None,
    marginals: pd.DataFrame | None,
    features: Sequence[Feature],
    keys: Sequence[str],
    random_state: int,
) -> Stability | None:
    """Draw how rows are corrupted, as `asked`; None where that is nothing, or the pool was empty.

    Parameters
    ----------
    asked
        Of the configuration.
    marginals, features, keys, random_state
        See :func:`draw_corruptions`.
    """
    if asked is None or marginals is None:
        return None
    return draw_corruptions(marginals, features, keys, random_state, **asked.model_dump())


def agreement_of(require: Require | None, voters: int) -> Agreement | None:
    """Return what members are asked, where there are several."""
    return Agreement(voters, require) if require is not None and voters > 1 else None


def asking_as_run(store: RoundStore, number: int, scorer: Scorer) -> Scorer | None:
    """Let a committed model withhold unstable rows, and those its members disagree on, as the run.

    Returns
    -------
    Scorer or None
        None where the run asked members and this model has none.
    """
    settings, model = store.settings, store.models[number - 1]
    policy = read_policy(settings.selection)
    agreement = agreement_of(policy.require, model.voters)
    if policy.require is not None and agreement is None:
        return None
    stability = stability_of(
        policy.stable_under,
        kept_marginals(store),
        model.features,
        scorer.keys,
        settings.random_state,
    )
    return replace(scorer, agreement=agreement, stability=stability)


def kept_marginals(store: RoundStore) -> pd.DataFrame | None:
    """Return the pool rows that rows of a run are corrupted with; None where none is."""
    entry = store.models[0].marginals
    if entry is None:
        return None
    try:
        rows = read_bytes(store.read_file(entry))
    except pa.ArrowException as error:
        raise damaged(entry.path, f"is not a whole Parquet file: {error}") from error
    frame: pd.DataFrame = rows.to_pandas()
    return frame
