"""The default preprocessing: what a column needs before an estimator can use it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import get_tags

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.estimators import allows_nan
from spark_pseudolabel.registry import EstimatorInfo

COLUMNS = "columns"
"""Name of the step that prepares columns; it never looks at labels."""

_TEXT = "text_"
_LENGTH = "length_"
_MAX_CATEGORIES = 200
_HASHED_WORDS = 2**16
_TEXT_COMPONENTS = 100


def with_preprocessing(
    estimator: BaseEstimator, info: EstimatorInfo, features: Sequence[Feature], random_state: int
) -> BaseEstimator:
    """Put the default preprocessing in front of an estimator.

    Numbers are mean-imputed and standardized where scale matters and median-imputed for trees
    that take no missing values; categories are one-hot encoded (scale matters) or become ordinals
    (trees), unknown ones allowed; texts become hashed TF-IDF with 100 components beside it, and
    these alone for trees, for neural networks and for estimators that take no sparse matrix: rows
    without a common word are near each other in them. Trees also get the number of words. An
    estimator that takes the raw numbers gets them without a pipeline, unless it has rules for
    columns' names.

    Returns
    -------
    estimator
        Unfitted; a :class:`~sklearn.pipeline.Pipeline` with steps ``columns`` and ``estimator``,
        or `estimator` itself.
    """
    dense = not get_tags(estimator).input_tags.sparse
    condensed = dense or info.condensed or not info.scaled
    parts = [
        ("numbers", _numbers(estimator, info), _columns(features, numeric=True)),
        ("categories", _categories(estimator, info), _columns(features, kind="category")),
        *(
            (f"{_TEXT}{feature.name}", _text(condensed, random_state), feature.name)
            for feature in features
            if feature.kind == "text"
        ),
        *(
            (f"{_LENGTH}{feature.name}", _length(), feature.name)
            for feature in features
            if feature.kind == "text" and not info.scaled
        ),
    ]
    used = [(name, step, columns) for name, step, columns in parts if columns]
    if info.any_name and all(step == "passthrough" for _, step, _ in used):
        return estimator
    # Without scaling nothing is sparse, and trees of all kinds can have one and the same step.
    sparse_threshold = 0.0 if dense or not info.scaled else 0.3
    columns = ColumnTransformer(
        used, verbose_feature_names_out=False, sparse_threshold=sparse_threshold
    )
    return joined(columns, estimator)


def split(estimator: BaseEstimator) -> tuple[BaseEstimator | None, BaseEstimator]:
    """Take the default preprocessing and its estimator apart; None where there is none."""
    if isinstance(estimator, Pipeline) and len(estimator.steps) == 2:
        (name, columns), (_, last) = estimator.steps
        if name == COLUMNS:
            return columns, last
    return None, estimator


def joined(columns: BaseEstimator, estimator: BaseEstimator) -> Pipeline:
    """Put what :func:`split` has taken apart together again."""
    return Pipeline([(COLUMNS, columns), ("estimator", estimator)])


def describe(estimator: BaseEstimator) -> list[str]:
    """Name the preprocessing steps for the plan and the report, one line each."""
    if not isinstance(estimator, Pipeline):
        return []
    columns = estimator.steps[0][1]
    if not isinstance(columns, ColumnTransformer):
        return [type(step).__name__ for _, step in estimator.steps[:-1]]
    return [f"{name}: {_names(step)}" for name, step, _ in columns.transformers]


def _names(step: BaseEstimator | str) -> str:
    if isinstance(step, Pipeline):
        return " + ".join(type(inner).__name__ for _, inner in step.steps)
    return step if isinstance(step, str) else type(step).__name__


def _columns(
    features: Sequence[Feature], numeric: bool = False, kind: str | None = None
) -> list[str]:
    chosen = [f for f in features if (numeric and f.numeric) or f.kind == kind]
    return [column for feature in chosen for column in feature.columns]


def _numbers(estimator: BaseEstimator, info: EstimatorInfo) -> BaseEstimator | str:
    if info.scaled:
        # The mean is where scaling puts zero, and takes a twentieth of the median's time.
        impute = SimpleImputer(strategy="mean", keep_empty_features=True)
        return Pipeline([("impute", impute), ("scale", StandardScaler())])
    if allows_nan(estimator):
        return "passthrough"
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _categories(estimator: BaseEstimator, info: EstimatorInfo) -> BaseEstimator:
    if info.scaled:
        return OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=_MAX_CATEGORIES, dtype=float
        )
    unknown = float("nan") if allows_nan(estimator) else -1
    return OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=unknown,
        encoded_missing_value=unknown,
        max_categories=_MAX_CATEGORIES,
    )


def _text(condensed: bool, random_state: int) -> Pipeline:
    steps = [
        (
            "hash",
            HashingVectorizer(
                n_features=_HASHED_WORDS, ngram_range=(1, 2), alternate_sign=False, norm=None
            ),
        ),
        ("tfidf", TfidfTransformer(sublinear_tf=True)),
    ]
    svd = TruncatedSVD(n_components=_TEXT_COMPONENTS, random_state=random_state)
    return Pipeline([*steps, ("svd", svd) if condensed else ("both", _beside(svd))])


def _length() -> Pipeline:
    """Count the words of a text, on a logarithmic scale; its TF-IDF is normalized to one length."""
    count = HashingVectorizer(n_features=1, alternate_sign=False, norm=None)
    return Pipeline(
        [("count", count), ("log", TfidfTransformer(norm=None, use_idf=False, sublinear_tf=True))]
    )


def _beside(svd: BaseEstimator) -> FeatureUnion:
    return FeatureUnion([("words", "passthrough"), ("svd", svd)])


def fit_columns(
    columns: ColumnTransformer, X: pd.DataFrame, known: dict[str, BaseEstimator]
) -> ColumnTransformer:
    """Fit a copy of the default preprocessing, and what texts take most time for only once.

    Parameters
    ----------
    columns
        Unfitted, as :func:`with_preprocessing` makes it.
    X
        Model input.
    known
        Words and components that are fitted on `X` already, by text step; new ones are added.
    """
    shared = [
        (name, _shared_text(step, X[column], known, name), column)
        if name.startswith(_TEXT)
        else (name, step, column)
        for name, step, column in columns.transformers
    ]
    return clone(columns).set_params(transformers=shared).fit(X)


def _shared_text(
    step: Pipeline, texts: pd.Series, known: dict[str, BaseEstimator], name: str
) -> Pipeline:
    if name not in known:
        vectorizer = clone(step[:-1]).fit(texts)
        last = step[-1]
        svd = last.transformer_list[1][1] if isinstance(last, FeatureUnion) else last
        known[name] = FrozenEstimator(vectorizer)
        known[f"{name} svd"] = FrozenEstimator(clone(svd).fit(vectorizer.transform(texts)))
    vectorizer, svd = known[name], known[f"{name} svd"]
    has_both = isinstance(step[-1], FeatureUnion)
    return Pipeline([("words", vectorizer), ("both", _beside(svd)) if has_both else ("svd", svd)])
