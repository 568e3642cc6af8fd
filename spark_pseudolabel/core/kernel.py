"""Scoring: Arrow rows in, narrow Arrow rows out. The same function in every backend.

Executors import this module and nothing that a driver alone needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn import config_context

from spark_pseudolabel.columns import (
    CLASS_SCORES,
    CODE,
    HIGHEST,
    INVALID,
    LOWEST,
    RAW_SCORE,
    SCORE,
    UNREADABLE,
    VALUE,
    VOTED,
    VOTES,
)
from spark_pseudolabel.core import scaling
from spark_pseudolabel.core.adjustment import Adjustment, PriorCorrection
from spark_pseudolabel.core.compiled import models as compiled
from spark_pseudolabel.core.features import (
    Feature,
    example_frame,
    odd_vectors,
    to_frame,
    to_matrix,
    without_vectors,
)
from spark_pseudolabel.core.nodes import NodeIds
from spark_pseudolabel.core.number_scores import (
    SAID,
    NumberScores,
    codes_of,
    say,
    says_numbers,
)
from spark_pseudolabel.core.scored_rows import (
    DISAGREEMENT,
    OUTSIDE,
    UNSTABLE,
    Carried,
    scored_fields,
)
from spark_pseudolabel.core.threads import hold_threads

if TYPE_CHECKING:
    from spark_pseudolabel.core.teachers.graph_vectors import VectorMaker
    from spark_pseudolabel.core.trust.agreement import Agreement
    from spark_pseudolabel.core.trust.stability import Stability
    from spark_pseudolabel.core.trust.support import Support

DECIMALS = 6
"""Confidences are rounded to this many decimals, so that the last bits of a matrix product,
which depend on the batch's size, decide nothing."""

Seen = TypeVar("Seen")
"""What a worker has found out about rows."""


@dataclass(frozen=True)
class Scorer:
    """A fitted model with all that is needed to score rows; broadcast once per round.

    Parameters
    ----------
    model
        Fitted classifier with ``predict_proba``, or a model of numbers with ``says``.
    features
        Its input columns, in order.
    keys
        Columns that identify a row; copied to the output unchanged.
    named
        Give the model a DataFrame with column names (True) or a bare matrix (False).
    decimals
        Decimals that probabilities are rounded to; None keeps them raw.
    probabilities
        Whether to return the probabilities of all classes.
    takes_nan, takes_inf
        Whether the model accepts missing or infinite numbers; a row that holds what the model
        can't take is invalid.
    adjustment
        What happens to the rounded probabilities before they are used; needs `decimals`.
    support
        Where labeled rows are; a row outside of it gets a reason beside its score.
    nodes
        How rows get node ids, where the model takes these in place of features; None: it does not.
    agreement
        How many members of the vote have to name its class; a row of which fewer do gets one, too.
    stability
        How rows are corrupted; a row that does not keep its label gets one, too.
    """

    model: Any
    features: tuple[Feature, ...]
    keys: tuple[str, ...] = ()
    named: bool = True
    decimals: int | None = DECIMALS
    probabilities: bool = False
    takes_nan: bool = False
    takes_inf: bool = False
    adjustment: Adjustment | None = None
    support: Support | None = None
    nodes: NodeIds | None = None
    agreement: Agreement | None = None
    stability: Stability | None = None

    @property
    def carried(self) -> Carried:
        """Which columns its scored rows have."""
        return Carried(
            raw=self.adjustment is not None,
            probabilities=self.probabilities,
            votes=any(feature.name == VOTES for feature in self.features),
            numbers=self.numbers,
        )

    @property
    def numbers(self) -> bool:
        """Whether labels are numbers: there is one class then, and a value beside it."""
        return says_numbers(self.model)


@dataclass(frozen=True)
class Scores:
    """What the model says about n rows.

    Parameters
    ----------
    code
        ndarray of shape (n,), index of the most probable class; the first one where several tie.
        -1 for an invalid row, and where the model abstains: it gives each class the probability 0.
    confidence
        ndarray of shape (n,), its probability in [0, 1]; NaN without a class.
    probabilities
        ndarray of shape (n, n_classes), rounded like the confidence if the scorer gives them out.
    reasons
        Why a row is invalid, by its position.
    raw
        ndarray of shape (n,): the probability that the model itself gives to the class, before
        the scorer's adjustment; NaN without a class. None without an adjustment.
    agreed
        ndarray of shape (n,): whether enough members of the vote name the class; None: not asked.
    numbers
        The labels, where they are numbers.
    """

    code: NDArray[np.int32]
    confidence: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    reasons: dict[int, str]
    raw: NDArray[np.float64] | None = None
    agreed: NDArray[np.bool_] | None = None
    numbers: NumberScores | None = None

    @property
    def said(self) -> NDArray[np.float64]:
        """All that is said where labels are numbers, of shape (n, 4); NaN where nothing is."""
        assert self.numbers is not None
        of = self.numbers
        said = np.column_stack([of.value, self.confidence, of.lower, of.upper])
        said[self.code < 0] = np.nan
        return said


def score_batches(
    batches: Iterable[pa.RecordBatch], scorer: Scorer, threads: int = 1
) -> Iterator[pa.RecordBatch]:
    """Score a stream of batches with the model's thread pools held to `threads`."""
    with hold_threads(threads):
        for batch in batches:
            yield score_batch(batch, scorer)


def score_batch(batch: pa.RecordBatch, scorer: Scorer) -> pa.RecordBatch:
    """Score one batch.

    Parameters
    ----------
    batch
        Holds the scorer's keys and features.
    scorer
        The model and how to call it.

    Returns
    -------
    RecordBatch
        One row per input row, in order: the keys, and the columns of
        :func:`~spark_pseudolabel.core.scored_rows.scored_fields`. An invalid row has a reason and
        no class, a row that is withheld both, one on which the model abstains neither.
    """
    scores = score_any(batch, scorer)
    no_class = scores.code < 0
    reasons = scores.reasons | withheld(batch, scorer, scores)
    columns = {
        CODE: pa.array(scores.code, mask=no_class),
        SCORE: pa.array(scores.confidence, mask=no_class),
        INVALID: _reason_column(reasons, batch.num_rows),
    }
    if scores.raw is not None:
        columns[RAW_SCORE] = pa.array(scores.raw, mask=no_class)
    if scores.numbers is not None:
        columns[VALUE] = pa.array(scores.numbers.value, mask=no_class)
        columns[LOWEST] = pa.array(scores.numbers.lower, mask=no_class)
        columns[HIGHEST] = pa.array(scores.numbers.upper, mask=no_class)
    if scorer.probabilities:
        columns[CLASS_SCORES] = _lists(scores.probabilities, no_class)
    if scorer.carried.votes:
        columns[VOTED] = _voted(batch.column(VOTES))
    fields = scored_fields(scorer.carried)
    return pa.RecordBatch.from_arrays(
        [*[batch.column(key) for key in scorer.keys], *[columns[field.name] for field in fields]],
        [*scorer.keys, *[field.name for field in fields]],
    )


def score_any(batch: pa.RecordBatch, scorer: Scorer) -> Scores:
    """Score rows as they come: one with a vector of the wrong length is invalid, no error."""
    rows, reasons = without_odd_vectors(batch, scorer.features)
    return score(rows, scorer, {**reasons, **_unreadable(batch)})


def node_vectors(
    batch: pa.RecordBatch, features: Sequence[Feature], nodes: NodeIds, vectors: VectorMaker
) -> tuple[NDArray[np.int64], NDArray[np.int32], dict[int, str]]:
    """Turn rows into nodes of a graph, but for those that would be invalid if they were scored.

    Returns
    -------
    tuple
        Ids of shape (n_valid,), vectors of shape (n_valid, n_dimensions), and by the position of
        each other row why it is invalid.
    """
    rows, odd = without_odd_vectors(batch, features)
    scorer = Scorer(None, tuple(features), takes_nan=vectors.takes_nan)
    X, reasons = _model_input(rows, scorer, {**odd, **_unreadable(batch)})
    valid = np.setdiff1d(np.arange(len(X)), list(reasons))
    return nodes.of(batch)[valid], vectors.of(_take(X, valid)), reasons


def said_by_parts(
    batch: pa.RecordBatch, scorer: Scorer
) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Return what each part of a vote says about rows as they come.

    Parameters
    ----------
    batch
        Holds the scorer's features.
    scorer
        Its model is a vote whose members, by its agreement, are its parts one by one.

    Returns
    -------
    tuple
        Rounded probabilities of shape (n_rows, n_parts, n_classes), and by its position why a row
        can't be scored; it has zeros.
    """
    rows, odd = without_odd_vectors(batch, scorer.features)
    X, reasons = _model_input(rows, scorer, {**odd, **_unreadable(batch)})
    P = _probabilities(X, scorer, reasons)
    n_classes = len(scorer.model.classes_)
    said = _rounded(P[:, n_classes:].reshape(len(P), -1, n_classes))
    for row in np.flatnonzero(~np.isfinite(said).all(axis=(1, 2))):
        reasons.setdefault(int(row), "the model gave a probability that is not finite")
    said[list(reasons)] = 0.0
    return said, reasons


def score(
    rows: pa.RecordBatch | pa.Table, scorer: Scorer, refused: Mapping[int, str] | None = None
) -> Scores:
    """Score rows, putting aside those that the model can't take, or that were `refused` before.

    Raises
    ------
    InputError
        If a vector that was not refused has another length than its feature.
    """
    X, reasons = _model_input(rows, scorer, refused or {})
    if scorer.nodes is not None:
        X = scorer.nodes.frame(rows)
    P = _probabilities(X, scorer, reasons)
    if scorer.numbers:
        return _number_scores(P, reasons)
    n_classes = len(scorer.model.classes_)
    scores = _scores(P[:, :n_classes], reasons, scorer)
    if scorer.agreement is None:
        return scores
    # What a prior says of classes holds for every member; calibrated is the vote alone.
    prior = None if scorer.adjustment is None else scorer.adjustment.prior
    said = [_rounded(part) for part in np.split(P[:, n_classes:], scorer.agreement.members, axis=1)]
    said = said if prior is None else [_rounded(_corrected(part, prior)) for part in said]
    return replace(scores, agreed=scorer.agreement.holds(said, scores.code))


def withheld(rows: pa.RecordBatch | pa.Table, scorer: Scorer, scores: Scores) -> dict[int, str]:
    """Say which rows with a class may not be accepted, and why: the first reason that there is.

    Parameters
    ----------
    rows
        Keys and features.
    scorer
        The model and what is asked of rows.
    scores
        What it says about them.
    """
    if (scorer.support, scorer.agreement, scorer.stability) == (None, None, None):
        return {}
    reasons: dict[int, str] = {}
    left = np.flatnonzero(scores.code >= 0)
    whole, _ = without_odd_vectors(rows, scorer.features)
    X = to_frame(whole, scorer.features)
    if scorer.support is not None:
        inside = scorer.support.holds(X)[left]
        reasons |= dict.fromkeys(left[~inside].tolist(), OUTSIDE)
        left = left[inside]
    if scores.agreed is not None:
        agreed = scores.agreed[left]
        reasons |= dict.fromkeys(left[~agreed].tolist(), DISAGREEMENT)
        left = left[agreed]
    if scorer.stability is not None:
        unstable = _unstable(_take(X, left), rows, left, scorer, scores.code[left])
        reasons |= dict.fromkeys(left[unstable].tolist(), UNSTABLE)
    return reasons


def _unstable(
    X: pd.DataFrame,
    rows: pa.RecordBatch | pa.Table,
    places: NDArray[np.intp],
    scorer: Scorer,
    code: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Say which rows have a corrupted copy that gets another class than they have."""
    assert scorer.stability is not None
    alone = replace(scorer, agreement=None, probabilities=False)
    hashes = scorer.stability.hashes(rows)[places]
    unstable = np.zeros(len(code), dtype=bool)
    for copy in range(scorer.stability.copies):
        # One copy is enough, so that later ones are made of fewer and fewer rows.
        left = np.flatnonzero(~unstable)
        if not len(left):
            break
        corrupted = scorer.stability.corrupted(_take(X, left), hashes[left], copy)
        reasons: dict[int, str] = {}
        P = _probabilities(corrupted, alone, reasons)
        unstable[left] = _scores(P, reasons, alone).code != code[left]
    return unstable


def _corrected(P: NDArray[np.float64], prior: PriorCorrection) -> NDArray[np.float64]:
    """Correct what members say to the pool's class shares; one that abstains still does."""
    return np.where(P.any(axis=1, keepdims=True), prior.apply(P), 0.0)


def _rounded(P: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(P, DECIMALS)


def takeable(batch: pa.RecordBatch, scorer: Scorer) -> pd.DataFrame | NDArray[np.float64]:
    """Return model input of the rows that a scorer's model can take, in order."""
    rows, odd = without_odd_vectors(batch, scorer.features)
    X, reasons = _model_input(rows, scorer, {**odd, **_unreadable(batch)})
    return _take(X, np.setdiff1d(np.arange(len(X)), list(reasons))) if reasons else X


def _model_input(
    rows: pa.RecordBatch | pa.Table, scorer: Scorer, refused: Mapping[int, str]
) -> tuple[pd.DataFrame | NDArray[np.float64], dict[int, str]]:
    """Return model input of all rows, and why some can't be scored."""
    X = to_frame(rows, scorer.features) if scorer.named else to_matrix(rows, scorer.features)
    return X, {**_refused_values(X, scorer), **refused}


def predict_proba(model: Any, X: pd.DataFrame | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a model's probabilities as float64, whatever it computes in.

    XGBoost gives single precision, which neither Spark's columns take for a double nor rounding
    to six decimals leaves with six. Members of a committee that share their fitted preprocessing
    share what it makes of the rows, too.

    Parameters
    ----------
    model
        Fitted classifier.
    X
        Model input of shape (n, n_model_columns).

    Returns
    -------
    ndarray of shape (n, n_classes)
    """
    with config_context(transform_output="default"):  # as executors have it
        P = _shared(model, X) if _is_vote(model) else _alone(model, X)
    return np.asarray(P, dtype=np.float64)


def _is_vote(model: Any) -> bool:
    """Whether a model is the mean of its parts, each with its weight."""
    if getattr(model, "voting", None) != "soft":
        return False
    return model.weights is None or len(model.weights) == len(model.estimators_)


def _alone(model: Any, X: pd.DataFrame | NDArray[np.float64]) -> NDArray[np.float64]:
    """Predict by one model; a pipeline step by step, each in its quickest way."""
    if not scaling.is_pipeline(model):
        return compiled.predict_proba(model, X)
    *before, (_, last) = model.steps
    ready: Any = X
    for _, step in before:
        ready = ready if step in (None, "passthrough") else scaling.transform(step, ready)
    return compiled.predict_proba(last, ready)


def _columns(member: Any) -> Any:
    """Return the first step of a pipeline, known by its steps: its class takes time to import."""
    steps = getattr(member, "steps", None)
    return steps[0][1] if steps else None


def _shared(vote: Any, X: pd.DataFrame | NDArray[np.float64]) -> NDArray[np.float64]:
    """Do what ``VotingClassifier.predict_proba`` does, with each preprocessing once."""
    return _averaged(vote, _each(vote, X))


def _averaged(vote: Any, each: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the weighted mean of what parts say; a vote may have a mean of its own."""
    if (own := getattr(vote, "averaged", None)) is not None:
        P: NDArray[np.float64] = own(each)
        return P
    mean: NDArray[np.float64] = np.average(np.asarray(each), axis=0, weights=vote.weights)
    return mean


def _each(vote: Any, X: pd.DataFrame | NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return what each part of a vote says, 0 without weight, with each preprocessing once."""
    with_columns: dict[int, list[int]] = {}
    each: list[Any] = [None] * len(vote.estimators_)
    for number, member in enumerate(vote.estimators_):
        if vote.weights is not None and not vote.weights[number]:
            each[number] = np.zeros((len(X), len(vote.classes_)))
        elif _columns(member) is None:
            each[number] = compiled.predict_proba(member, X)
        else:
            with_columns.setdefault(id(_columns(member)), []).append(number)
    for numbers in with_columns.values():
        ready = scaling.transform(_columns(vote.estimators_[numbers[0]]), X)
        for number in numbers:
            each[number] = _alone(vote.estimators_[number][1:], ready)
    return each


def _predicted(scorer: Scorer, X: pd.DataFrame | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the model's probabilities, and beside them, where they are asked, those of members."""
    # What a model can't take was put aside; it need not look for it again, twice for each batch.
    with config_context(assume_finite=True):
        if scorer.numbers:
            return say(scorer.model, X)
        if scorer.agreement is None:
            return predict_proba(scorer.model, X)
        vote = scorer.model
        with config_context(transform_output="default"):
            each = [np.asarray(P, dtype=np.float64) for P in _each(vote, X)]
        P = _averaged(vote, each)
        return np.concatenate([P, *scorer.agreement.said(each, vote.weights)], axis=1)


def _probabilities(
    X: pd.DataFrame | NDArray[np.float64], scorer: Scorer, reasons: dict[int, str]
) -> NDArray[np.float64]:
    """Predict the rows without a reason against it; the others' probabilities are NaN."""
    if not reasons:
        with contextlib.suppress(Exception):  # the row that breaks the model is looked for below
            return _predicted(scorer, X)
    n_parts = 1 if scorer.agreement is None else 1 + scorer.agreement.members
    n_columns = SAID if scorer.numbers else len(scorer.model.classes_) * n_parts
    P = np.full((len(X), n_columns), np.nan)
    valid = np.setdiff1d(np.arange(len(X)), list(reasons))
    _predict(_take(X, valid), valid, scorer, P, reasons)
    return P


def _unreadable(batch: pa.RecordBatch) -> dict[int, str]:
    """Return why rows of a text file are not what their header says."""
    if UNREADABLE not in batch.schema.names:
        return {}
    reasons = batch.column(UNREADABLE)
    rows = np.flatnonzero(reasons.is_valid().to_numpy(zero_copy_only=False))
    return {int(row): reasons[int(row)].as_py() for row in rows}


def make_scorer(
    model: Any,
    features: Sequence[Feature],
    keys: Sequence[str] = (),
    *,
    named: bool = True,
    decimals: int | None = DECIMALS,
    probabilities: bool = False,
    adjustment: Adjustment | None = None,
    nodes: NodeIds | None = None,
) -> Scorer:
    """Prepare a fitted model for scoring: find out which numbers it takes; see :class:`Scorer`."""
    example = example_frame(features)
    takes_nan, takes_inf = (
        (model.takes_nan, False)
        if nodes is not None
        else (_takes(model, example, named, value) for value in (np.nan, np.inf))
    )
    return Scorer(
        model,
        tuple(features),
        tuple(keys),
        named=named,
        decimals=decimals,
        probabilities=probabilities,
        takes_nan=takes_nan,
        takes_inf=takes_inf,
        adjustment=adjustment,
        nodes=nodes,
    )


def _takes(model: Any, example: pd.DataFrame, named: bool, value: float) -> bool:
    """Whether a model gives probabilities for a row whose numbers are all `value`."""
    row = example.copy()
    row[row.select_dtypes("float64").columns] = value
    try:
        with np.errstate(all="ignore"):
            X = row if named else row.to_numpy()
            P = say(model, X)[:, 1] if says_numbers(model) else predict_proba(model, X)
        return bool(np.isfinite(P).all())
    except ValueError:
        return False


def without_odd_vectors(
    batch: pa.RecordBatch, features: Sequence[Feature]
) -> tuple[pa.RecordBatch, dict[int, str]]:
    """Put aside rows with a vector of the wrong length: it must not take others along."""
    reasons: dict[int, str] = {}
    for feature in features:
        odd = odd_vectors(batch, feature) if feature.kind == "vector" else {}
        if odd:
            batch = without_vectors(batch, feature, odd)
        for row, length in odd.items():
            reasons[row] = f"vector {feature.name!r} has {length} numbers, not {feature.width}"
    return batch, reasons


def _refused_values(X: pd.DataFrame | NDArray[np.float64], scorer: Scorer) -> dict[int, str]:
    names = [column for f in scorer.features if f.numeric for column in f.columns]
    if (scorer.takes_nan and scorer.takes_inf) or not names:
        return {}
    # Numeric columns come first and share one block, so that this slice copies nothing.
    matrix = X.iloc[:, : len(names)].to_numpy() if isinstance(X, pd.DataFrame) else X
    # The sum is not finite as soon as one number is not: one cheap pass for the usual case.
    with np.errstate(all="ignore"):
        if np.isfinite(matrix.sum()):
            return {}
        suspects = np.flatnonzero(~np.isfinite(matrix.sum(axis=1)))
    refusals = {int(row): _refusal(matrix[row], names, scorer) for row in suspects}
    return {row: reason for row, reason in refusals.items() if reason}


def _refusal(values: NDArray[np.float64], names: Sequence[str], scorer: Scorer) -> str | None:
    for refused, word, test in (
        (not scorer.takes_nan, "missing or NaN", np.isnan),
        (not scorer.takes_inf, "infinite", np.isinf),
    ):
        refused_at = np.flatnonzero(test(values))
        if refused and refused_at.size:
            return f"feature {names[refused_at[0]]!r} is {word}, which the model can't take"
    return None


def _predict(
    X: pd.DataFrame | NDArray[np.float64],
    rows: NDArray[np.intp],
    scorer: Scorer,
    P: NDArray[np.float64],
    reasons: dict[int, str],
) -> None:
    """Fill `P` at `rows`; a batch on which the model raises is halved down to the bad rows."""
    if len(rows) == 0:
        return
    try:
        P[rows] = _predicted(scorer, X)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - any row may break any model, not its neighbors
        if len(rows) == 1:
            reasons[int(rows[0])] = f"the model raised {type(error).__name__}: {error!s:.200}"
            return
        half = len(rows) // 2
        _predict(X[:half], rows[:half], scorer, P, reasons)
        _predict(X[half:], rows[half:], scorer, P, reasons)


def _take(
    X: pd.DataFrame | NDArray[np.float64], rows: NDArray[np.intp]
) -> pd.DataFrame | NDArray[np.float64]:
    if len(rows) == len(X):
        return X
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]


def _scores(P: NDArray[np.float64], reasons: dict[int, str], scorer: Scorer) -> Scores:
    # Compared as whole numbers of the last decimal; np.round would divide by it again, for all.
    unit = None if scorer.decimals is None else 10.0**scorer.decimals
    ranked = P if unit is None else np.rint(P * unit)
    abstained: NDArray[np.bool_] = np.logical_not(ranked.any(axis=1))
    uncorrected = None
    if scorer.adjustment is not None and unit is not None:
        uncorrected = ranked / unit
        P = scorer.adjustment.apply(uncorrected)
        P[abstained] = 0.0
        ranked = np.rint(P * unit)
    code = ranked.argmax(axis=1).astype(np.int32)
    confidence = _of_code(ranked, code)
    if unit is not None:
        confidence = confidence / unit
        P = ranked / unit if scorer.probabilities else P
    if not np.isfinite(P).all():
        for row in np.flatnonzero(~np.isfinite(P).all(axis=1)):
            reasons.setdefault(int(row), "the model gave a probability that is not finite")
    raw = None if uncorrected is None else _of_code(uncorrected, code)
    no_class = abstained
    no_class[list(reasons)] = True
    code[no_class] = -1
    for values in (confidence, raw):
        if values is not None:
            values[no_class] = np.nan
    return Scores(code, confidence, P, reasons, raw)


def _number_scores(said: NDArray[np.float64], reasons: dict[int, str]) -> Scores:
    """Say of each row that it is in the one class, as probably as its number is right."""
    code = codes_of(said, reasons)
    confidence = _rounded(said[:, 1])
    confidence[code < 0] = np.nan
    numbers = NumberScores(said[:, 0], said[:, 2], said[:, 3])
    return Scores(code, confidence, confidence[:, np.newaxis], reasons, numbers=numbers)


def _of_code(P: NDArray[np.float64], code: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.take_along_axis(P, code[:, np.newaxis], axis=1)[:, 0]


def _reason_column(reasons: dict[int, str], n_rows: int) -> pa.Array:
    if not reasons:
        return pa.nulls(n_rows, pa.string())
    return pa.array([reasons.get(row) for row in range(n_rows)], pa.string())


def _voted(votes: pa.Array) -> pa.Array:
    """Return the numbers of the rules that vote, from whether each of them does."""
    rules = np.asarray(votes.flatten()).reshape(len(votes), -1)
    numbers = np.nonzero(rules)[1].astype(np.int16)
    offsets = np.append(0, np.count_nonzero(rules, axis=1).cumsum()).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers))


def _lists(P: NDArray[np.float64], no_class: NDArray[np.bool_]) -> pa.Array:
    n_rows, n_classes = P.shape
    offsets = np.arange(0, (n_rows + 1) * n_classes, n_classes, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(P.ravel()), mask=pa.array(no_class))
