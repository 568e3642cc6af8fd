"""Data sets with all labels known: scikit-learn's own, generated ones, and files by a flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
    make_friedman1,
    make_gaussian_quantiles,
)

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.evaluate.known import PLACE, SCORE

SEED = 0
_GROUP = "group"
_ROWS = 12_000
_FEWEST_ROWS = 150
# As in each data set's own description.
_ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country income"
)


@dataclass(frozen=True)
class DataSet:
    """Rows with true labels.

    Parameters
    ----------
    name
        As on the command line.
    X
        Model input as :func:`spark_pseudolabel.core.features.to_frame` gives it.
    codes
        ndarray of shape (n,), class indices.
    groups
        ndarray of shape (n,): rows of one number are drawn together; None: all are independent.
    """

    name: str
    X: pd.DataFrame
    codes: NDArray[np.int32]
    groups: NDArray[np.int64] | None = None

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels, which are their indices here."""
        return tuple(range(int(self.codes.max()) + 1))

    @property
    def features(self) -> tuple[Feature, ...]:
        """The input columns: floats are numbers, strings categories or, called text, texts."""
        return features_of(self.X)


def features_of(X: pd.DataFrame) -> tuple[Feature, ...]:
    """Return the input columns: floats are numbers, strings categories or, called text, texts."""
    return tuple(_feature(str(name), X[name]) for name in X)


def load(name: str, directory: Path | None) -> DataSet:
    """Make a data set, or read it from the original files below a directory.

    Raises
    ------
    ValueError
        If there is no such set, or it needs the directory.
    """
    if name in BUILT_IN:
        return _data_set(name, *BUILT_IN[name]())
    if name not in FILES:
        raise ValueError(f"data set must be one of {[*BUILT_IN, *FILES]}. Got {name!r}.")
    if directory is None:
        raise ValueError(f"{name} is read from its original files: name their folder by --data.")
    return _data_set(name, *FILES[name](directory))


def _data_set(name: str, X: pd.DataFrame, labels: Any) -> DataSet:
    """Leave out classes with few rows, order the columns, number the classes."""
    labels = pd.Series(np.asarray(labels))
    kept = labels.map(labels.value_counts()) >= min(_FEWEST_ROWS, len(labels) // 10)
    X, labels = X[kept.to_numpy()].reset_index(drop=True), labels[kept]
    groups = X.pop(_GROUP).to_numpy(np.int64) if _GROUP in X else None
    numeric = [column for column in X if X[column].dtype != object]
    strings = [column for column in X if X[column].dtype == object]
    X = pd.concat([X[numeric].astype("float64"), X[strings]], axis=1)
    return DataSet(name, X, np.unique(labels, return_inverse=True)[1].astype(np.int32), groups)


def _feature(name: str, column: pd.Series) -> Feature:
    if column.dtype != object:
        return Feature(name, "numeric", "double")
    return Feature(name, "text" if name == "text" else "category", "string")


Loaded = tuple[pd.DataFrame, Any]


def _numbers(X: Any) -> pd.DataFrame:
    return pd.DataFrame(np.asarray(X), columns=[f"x{i}" for i in range(X.shape[1])])


def _generated(**settings: Any) -> Callable[[], Loaded]:
    """Return a maker of 16 columns, 8 of them informative."""
    defaults = {
        "n_samples": _ROWS,
        "n_features": 16,
        "n_informative": 8,
        "n_redundant": 4,
        "random_state": SEED,
    }

    def make() -> Loaded:
        X, y = make_classification(**(defaults | settings))
        return _numbers(X), y

    return make


def _of(bunch: Callable[..., Any]) -> Callable[[], Loaded]:
    def make() -> Loaded:
        X, y = bunch(return_X_y=True)
        return _numbers(X), y

    return make


def _waveform() -> Loaded:
    """Make mixtures of two of three waves, 21 points each (Breiman et al. 1984)."""
    chance = np.random.default_rng(SEED)
    waves = np.maximum(6 - abs(np.arange(1, 22) - np.array([[7], [15], [11]])), 0)
    codes = chance.integers(3, size=_ROWS)
    share = chance.random((_ROWS, 1))
    first, second = waves[np.array([0, 0, 1])[codes]], waves[np.array([1, 2, 2])[codes]]
    return _numbers(share * first + (1 - share) * second + chance.normal(size=(_ROWS, 21))), codes


def _ringnorm() -> Loaded:
    """Make two normal classes in 20 columns, one around and inside the other (Breiman 1996)."""
    chance = np.random.default_rng(SEED)
    codes = chance.integers(2, size=_ROWS)
    X = chance.normal(size=(_ROWS, 20))
    X = np.where(codes[:, None] == 0, 2 * X, X + 2 / np.sqrt(20))
    return _numbers(X), codes


def _friedman() -> Loaded:
    """Make a smooth function of five of ten columns, above or below its median."""
    X, y = make_friedman1(_ROWS, n_features=10, noise=2.0, random_state=SEED)
    return _numbers(X), y > np.median(y)


def _quantiles() -> Loaded:
    """Make four classes that are shells around each other."""
    X, y = make_gaussian_quantiles(n_samples=_ROWS, n_features=6, n_classes=4, random_state=SEED)
    return _numbers(X), y


def _mixed() -> Loaded:
    """Make four classes of numbers, missing numbers and categories that interact."""
    chance = np.random.default_rng(SEED)
    numbers = pd.DataFrame(chance.normal(size=(_ROWS, 6)), columns=[f"x{i}" for i in range(6)])
    numbers["x5"] = np.exp(2 * numbers["x5"])
    sizes = {"region": 4, "branch": 12, "kind": 3, "code": 40}
    drawn = {name: chance.zipf(1.5, _ROWS) % size for name, size in sizes.items()}
    effect = {name: chance.normal(size=(size, 4)) for name, size in sizes.items()}
    linear = numbers[["x0", "x1", "x2"]].to_numpy() @ chance.normal(size=(3, 4))
    bent = np.abs(numbers["x3"].to_numpy())[:, None] * effect["region"][drawn["region"]]
    logits = linear + 1.5 * bent + sum(effect[name][drawn[name]] for name in sizes)
    codes = (1.5 * logits + chance.gumbel(size=logits.shape)).argmax(axis=1)
    X = numbers.mask(pd.DataFrame(chance.random(numbers.shape) < 0.05, columns=numbers.columns))
    for name, values in drawn.items():
        X[name] = pd.Series([f"{name[0]}{value}" for value in values], dtype=object)
    return X, codes


def _sessions() -> Loaded:
    """Make sessions, nine in ten of 1 to 3 rows, the others of 20, which are often labeled wrong.

    A session has one label, which in one of eight large ones is another than its features say. So
    of the sessions 1 % are wrong, and of the rows 7 %; mates of a session give its label away.
    """
    chance = np.random.default_rng(SEED)
    n = _ROWS // 2
    sizes = np.where(chance.random(n) < 0.1, 20, chance.integers(1, 4, size=n))
    return _of_sessions(chance, sizes, (sizes == 20) * 0.13)


def _teams() -> Loaded:
    """Make sessions of 2 to 6 rows, of which few are labeled otherwise than their features say."""
    chance = np.random.default_rng(SEED)
    sizes = chance.integers(2, 7, size=_ROWS)
    return _of_sessions(chance, sizes, 0.002 * sizes)


def _of_sessions(
    chance: np.random.Generator, sizes: NDArray[np.int64], wrong: NDArray[Any]
) -> Loaded:
    """Make rows that are alike within a session, with one label for all of them."""
    centers = chance.normal(size=(len(sizes), 8))
    centers[:, 0] += np.sign(centers[:, 0])
    labels = (centers[:, 0] > 0) ^ (chance.random(len(sizes)) < wrong)
    group = np.repeat(np.arange(len(sizes)), sizes)
    X = _numbers(centers[group] + 0.1 * chance.normal(size=(len(group), 8)))
    return X.assign(**{_GROUP: group}), labels[group]


def _coins() -> Loaded:
    """Make rows with a score that is the probability of their label, for a model that reads it."""
    chance = np.random.default_rng(SEED)
    return _scored(chance, np.arange(_ROWS), np.ones(_ROWS))


def _coin_sessions() -> Loaded:
    """Make sessions of 2 to 4 rows, and one in ten of 20, of which one of seven is wrong."""
    chance = np.random.default_rng(SEED)
    sizes = np.where(chance.random(_ROWS) < 0.1, 20, chance.integers(2, 5, size=_ROWS))
    group = np.repeat(np.arange(len(sizes)), sizes)
    X, labels = _scored(chance, group, np.where(sizes == 20, 0.85, 1.0))
    return X.assign(**{_GROUP: group}), labels


def _scored(
    chance: np.random.Generator, group: NDArray[np.int64], kept: NDArray[np.float64]
) -> Loaded:
    """Draw a score, a place and a label for each group; the score is right in a share of them."""
    score = chance.random(len(kept)) ** 3 / 2
    score = np.where(chance.random(len(kept)) < 0.5, score, 1 - score)
    labels = chance.random(len(kept)) < score
    likely = score > 0.5
    labels = np.where(chance.random(len(kept)) < kept, labels, ~likely)
    place = chance.normal(size=len(kept))[group]
    # Rows of a group are no copies of each other.
    score = np.clip(score[group] + 1e-4 * chance.normal(size=len(group)), 0, 1)
    return pd.DataFrame({SCORE: score, PLACE: place}), labels[group]


def _topics() -> Loaded:
    """Make texts of six topics that share most of their words."""
    chance = np.random.default_rng(SEED)
    n_words, n_topics, n_rows = 3000, 6, 5000
    common = 1 / np.arange(1, n_words + 1)
    topics = common * chance.gamma(0.3, size=(n_topics, n_words))
    codes = chance.integers(n_topics, size=n_rows)
    texts = []
    for code in codes:
        p = common / common.sum() + 0.25 * topics[code] / topics[code].sum()
        drawn = chance.choice(n_words, size=chance.integers(8, 30), p=p / p.sum())
        texts.append(" ".join(f"w{word}" for word in drawn))
    return pd.DataFrame({"text": pd.Series(texts, dtype=object)}), codes


def _subjects() -> Loaded:
    """Make short texts of two classes, each of twelve subjects that have words of their own.

    A few labeled texts show few of a subject's words; which others go with them is in the pool.
    """
    chance = np.random.default_rng(SEED)
    n_subjects, n_words, n_common, n_rows = 24, 40, 400, 8000
    subjects = chance.integers(n_subjects, size=n_rows)
    own, common = (1 / np.arange(1, n + 1) ** 0.7 for n in (n_words, n_common))
    own, common = own / own.sum(), common / common.sum()
    texts = []
    for subject in subjects:
        n_own, n_other = chance.integers(3, 8), chance.integers(4, 11)
        strays = chance.random(n_own) < 0.15
        of = np.where(strays, chance.integers(n_subjects, size=n_own), subject)
        pairs = zip(of, chance.choice(n_words, n_own, p=own), strict=True)
        drawn = [f"s{i}w{word}" for i, word in pairs]
        drawn += [f"c{word}" for word in chance.choice(n_common, n_other, p=common)]
        texts.append(" ".join(chance.permutation(drawn)))
    return pd.DataFrame({"text": pd.Series(texts, dtype=object)}), subjects % 2


def adult_rows(directory: Path) -> pd.DataFrame:
    """Read Adult's training rows; what is missing is None."""
    rows = pd.read_csv(
        directory / "adult/adult.data", names=_ADULT.split(), skipinitialspace=True, na_values="?"
    )
    return (
        rows.astype(object)
        .where(rows.notna(), None)
        .astype({name: float for name in rows if rows[name].dtype != object})
    )


def _adult(directory: Path) -> Loaded:
    rows = adult_rows(directory)
    return rows.drop(columns="income"), rows["income"]


def _marital(directory: Path) -> Loaded:
    """Read Adult with another column to predict; ``relationship`` would give it away."""
    rows = adult_rows(directory)
    return rows.drop(columns=["marital_status", "relationship"]), rows["marital_status"]


def _bank(directory: Path) -> Loaded:
    rows = pd.read_csv(directory / "bank_marketing/bank-full.csv", sep=";")
    return rows.drop(columns=["y", "duration"]), rows["y"]


def _bank_all(directory: Path) -> Loaded:
    """Read Bank marketing with every column, as the file has them."""
    rows = pd.read_csv(directory / "bank_marketing/bank-full.csv", sep=";")
    return rows.drop(columns="y"), rows["y"]


def _housing(directory: Path) -> Loaded:
    rows = pd.read_csv(directory / "bank_marketing/bank-full.csv", sep=";")
    return rows.drop(columns=["housing", "duration"]), rows["housing"]


def _letter(directory: Path) -> Loaded:
    rows = pd.read_csv(directory / "letter/letter-recognition.data", header=None)
    return _numbers(rows.iloc[:, 1:].to_numpy(float)), rows[0]


def _covertype(directory: Path) -> Loaded:
    file = next((directory / "covertype").glob("*.csv.gz"))
    rows = pd.read_csv(file, low_memory=False)
    return _numbers(rows.iloc[:, :-1].to_numpy(float)), rows.iloc[:, -1].astype(int)


def _letter_half(directory: Path) -> Loaded:
    X, letters = _letter(directory)
    return X, letters <= "M"


def _covertype_2(directory: Path) -> Loaded:
    X, kinds = _covertype(directory)
    return X, kinds == 2


def _kdd(directory: Path) -> Loaded:
    rows = pd.read_csv(directory / "kddcup99/kddcup.data_10_percent.gz", header=None)
    rows = rows.drop_duplicates()
    X = rows.iloc[:, :-1]
    return X.set_axis([f"x{i}" for i in X], axis=1), rows.iloc[:, -1]


def _sms(directory: Path) -> Loaded:
    lines = (directory / "sms_spam/SMSSpamCollection").read_text(encoding="utf-8").splitlines()
    label, text = zip(*(line.split("\t", 1) for line in lines), strict=True)
    return pd.DataFrame({"text": pd.Series(text, dtype=object)}), label


BUILT_IN: Mapping[str, Callable[[], Loaded]] = {
    "digits": _of(load_digits),
    "breast_cancer": _of(load_breast_cancer),
    "wine": _of(load_wine),
    "iris": _of(load_iris),
    "clean": _generated(n_classes=4, class_sep=1.5, flip_y=0.0),
    "noise": _generated(flip_y=0.2),
    "imbalance": _generated(weights=[0.9], class_sep=0.8),
    "rare": _generated(weights=[0.95], class_sep=1.0),
    "overlap": _generated(n_classes=3, class_sep=0.6, n_clusters_per_class=1),
    "sparse": _generated(n_features=40, n_informative=5, n_classes=3, random_state=7),
    "waveform": _waveform,
    "ringnorm": _ringnorm,
    "friedman": _friedman,
    "quantiles": _quantiles,
    "mixed": _mixed,
    "topics": _topics,
    "subjects": _subjects,
    "coins": _coins,
    "coin_sessions": _coin_sessions,
    "sessions": _sessions,
    "teams": _teams,
}
FILES: Mapping[str, Callable[[Path], Loaded]] = {
    "adult": _adult,
    "marital": _marital,
    "bank": _bank,
    "bank_all": _bank_all,
    "housing": _housing,
    "letter": _letter,
    "letter_half": _letter_half,
    "covertype": _covertype,
    "covertype_2": _covertype_2,
    "kdd": _kdd,
    "sms": _sms,
}
