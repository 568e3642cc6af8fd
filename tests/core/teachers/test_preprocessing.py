from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline

from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.kernel import make_scorer, score_batch
from spark_pseudolabel.core.teachers import preprocessing
from spark_pseudolabel.core.teachers.estimators import build_estimator
from spark_pseudolabel.core.teachers.preprocessing import describe, with_preprocessing
from spark_pseudolabel.registry import REGISTRY, info_of
from tests.core.registry_rows import COLOR, EXTRAS, MIXED, NUMBER, N, fitted, mixed_rows


@pytest.fixture(autouse=True)
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash texts into few columns: the full width takes a second per condensed text."""
    monkeypatch.setattr(preprocessing, "_HASHED_WORDS", 2**9)


NEW_ROWS = pa.RecordBatch.from_pydict(
    {
        "n": [0.0, None, 1.0, 0.5],
        "flag": [True, False, None, True],
        "color": ["red", "a color that was never seen", None, "blue"],
        "remark": ["warm words", "words that were never seen", None, ""],
        "v": [[0.0, 0.1], [1.0, 0.2], [0.0, -0.1], [1.0, 0.0]],
    }
)


@pytest.mark.filterwarnings("ignore:The `probability` parameter was deprecated")
@pytest.mark.parametrize("name", REGISTRY)
def test_every_estimator_takes_mixed_columns_with_gaps_and_unknown_values(name: str) -> None:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    rows = mixed_rows()
    model = fitted(name, MIXED, rows)
    scorer = make_scorer(model, MIXED)
    learned = score_batch(rows, scorer).to_pydict()
    assert learned["spl_reason"] == [None] * N
    assert np.mean(np.array(learned["spl_code"]) == np.arange(N) % 2) > 0.8
    found = score_batch(NEW_ROWS, scorer).to_pydict()
    assert found["spl_reason"] == [None] * 4
    assert all(0.5 <= confidence <= 1 for confidence in found["spl_confidence"])


# TruncatedSVD divides by the variance of the texts, which is none without any words.
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
@pytest.mark.parametrize("name", ["LogisticRegression", "DecisionTreeClassifier"])
@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("n", [None] * 6),
        ("color", [None] * 6),
        ("color", ["red"] * 6),
        ("color", [f"color {i}" for i in range(6)]),
        ("remark", [None] * 6),
        ("remark", ["a"] * 6),  # no word is longer than a letter
    ],
)
def test_column_that_says_little_does_no_harm(name: str, column: str, values: list[Any]) -> None:
    feature = next(feature for feature in MIXED if feature.name == column)
    kind = pa.float64() if column == "n" else pa.string()
    one = Feature("v", "vector", "array<double>", 2)
    rows = pa.RecordBatch.from_pydict(
        {column: pa.array(values, kind), "v": [[i % 2, 0.5] for i in map(float, range(6))]}
    )
    model = fitted(name, (feature, one), rows)
    found = score_batch(rows, make_scorer(model, (feature, one))).to_pydict()
    assert found["spl_code"] == [0, 1] * 3


def test_more_categories_than_are_encoded_share_the_last_place() -> None:
    rows = pa.RecordBatch.from_pydict({"color": [f"color {i // 2}" for i in range(600)]})
    for name in ("LogisticRegression", "HistGradientBoostingClassifier"):
        model = fitted(name, (COLOR,), rows)
        width = model[:-1].transform(to_frame(rows, (COLOR,))).shape[1]
        assert width == (200 if name == "LogisticRegression" else 1)


@pytest.mark.parametrize(
    ("name", "features", "steps"),
    [
        ("HistGradientBoostingClassifier", (NUMBER,), []),
        (
            "HistGradientBoostingClassifier",
            (NUMBER, COLOR),
            ["numbers: passthrough", "categories: OrdinalEncoder"],
        ),
        ("GradientBoostingClassifier", (NUMBER,), ["numbers: SimpleImputer"]),
        (
            "LogisticRegression",
            MIXED,
            [
                "numbers: SimpleImputer + StandardScaler",
                "categories: OneHotEncoder",
                "text_remark: HashingVectorizer + TfidfTransformer + FeatureUnion",
            ],
        ),
        (
            "GaussianNB",
            MIXED[3:4],
            ["text_remark: HashingVectorizer + TfidfTransformer + TruncatedSVD"],
        ),
        (
            "ExtraTreesClassifier",
            MIXED[3:4],
            [
                "text_remark: HashingVectorizer + TfidfTransformer + TruncatedSVD",
                "length_remark: HashingVectorizer + TfidfTransformer",
            ],
        ),
    ],
)
def test_steps_are_what_the_estimator_needs(
    name: str, features: tuple[Feature, ...], steps: list[str]
) -> None:
    estimator = build_estimator(name, {}, 0)
    prepared = with_preprocessing(estimator, info_of(name), features, 0)
    assert describe(prepared) == steps
    assert isinstance(prepared, Pipeline) is bool(steps)


def test_tree_sees_how_long_a_text_is() -> None:
    chance = np.random.default_rng(0)
    lengths = chance.integers(2, 30, 200)
    vocabulary = np.array([f"w{i}" for i in range(40)])
    X = pd.DataFrame({"remark": [" ".join(chance.choice(vocabulary, n)) for n in lengths]})
    long = lengths > 15
    tree = build_estimator("DecisionTreeClassifier", {"max_depth": 1}, 0)
    prepared = with_preprocessing(tree, info_of("DecisionTreeClassifier"), MIXED[3:4], 0)
    model = prepared.fit(X[:100], long[:100])
    assert (model.predict(X[100:]) == long[100:]).mean() > 0.9


def test_same_seed_gives_the_same_condensed_text() -> None:
    rows = mixed_rows()
    P = [
        fitted("DecisionTreeClassifier", MIXED, rows).predict_proba(to_frame(rows, MIXED))
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*P)
