from __future__ import annotations

import importlib
from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from spark_pseudolabel.core.teachers.estimators import (
    allows_nan,
    build_estimator,
    check_estimator,
    check_name,
    final_step,
    takes_sample_weight,
    weights_supported,
)
from spark_pseudolabel.registry import REGISTRY, info_of

EXTRAS = {"XGBClassifier": "xgboost", "LGBMClassifier": "lightgbm"}
# What it takes to have predict_proba.
NEEDED: dict[str, dict[str, Any]] = {
    "SVC": {"probability": True},
    "SGDClassifier": {"loss": "log_loss"},
}


@pytest.mark.parametrize("name", REGISTRY)
def test_every_name_in_the_registry_can_be_built(name: str) -> None:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    assert check_estimator(name, NEEDED.get(name, {})) is None


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("RandomForest", {}, "unknown estimator 'RandomForest'. Did you mean 'RandomForestCl"),
        ("gradientboostingclassifier", {}, "unknown estimator 'gradientboostingclassifier'."),
        ("Oracle", {}, "unknown estimator 'Oracle'. There are: LogisticRegression, "),
        ("mine.models.Tree", {}, "unknown estimator 'mine.models.Tree'. Import paths need --allow"),
        (
            "RandomForestClassifier",
            {"n_estimator": 5},
            "RandomForestClassifier has no parameter 'n_estimator'. Did you mean 'n_estimators'?",
        ),
        ("GaussianNB", {"depth": 5}, "GaussianNB has no parameter 'depth'."),
        (
            "RandomForestClassifier",
            {"n_estimators": -1},
            "The 'n_estimators' parameter of RandomForestClassifier must be an int in the range",
        ),
        (
            "LogisticRegression",
            {"solver": "lbgfs"},
            "The 'solver' parameter of LogisticRegression must be a str among",
        ),
        ("SVC", {}, "SVC with these parameters has no predict_proba, which a confidence needs."),
        ("SGDClassifier", {"loss": "hinge"}, "SGDClassifier with these parameters has no predict"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    name: str, params: dict[str, Any], message: str
) -> None:
    found = check_estimator(name, params)
    assert found is not None
    assert found.startswith(message)


@pytest.mark.parametrize("allowed", ["sklearn", "sklearn.naive_bayes", "sklearn.*"])
def test_import_path_below_an_allowed_package_is_taken(allowed: str) -> None:
    assert check_estimator("sklearn.naive_bayes.BernoulliNB", {"alpha": 0.5}, [allowed]) is None


@pytest.mark.parametrize(
    ("name", "allowed", "message"),
    [
        ("sklearn.naive_bayes.BernoulliNB", "sk", "unknown estimator"),
        ("sklearn.naive_bayes.Bernoulli", "sklearn", "sklearn.naive_bayes.Bernoulli can't be im"),
        ("sklearn.nowhere.Tree", "sklearn", "sklearn.nowhere.Tree can't be imported"),
        ("sklearn.linear_model.LinearRegression", "sklearn", "sklearn.linear_model.LinearRegr"),
        ("sklearn.linear_model.lasso_path", "sklearn", "sklearn.linear_model.lasso_path must be"),
        ("sklearn.model_selection.GridSearchCV", "sklearn", "sklearn.model_selection.GridSearchC"),
    ],
)
def test_import_path_that_is_no_classifier_is_refused(
    name: str, allowed: str, message: str
) -> None:
    found = check_estimator(name, {}, [allowed])
    assert found is not None
    assert found.startswith(message)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xgboost", None)
    message = check_estimator("XGBClassifier", {})
    assert message is not None
    assert message.endswith("Install it: pip install 'spark-pseudolabel[xgboost]'.")


def test_seed_of_the_run_is_given_unless_params_have_one() -> None:
    assert build_estimator("RandomForestClassifier", {}, 7).random_state == 7
    assert build_estimator("RandomForestClassifier", {"random_state": 1}, 7).random_state == 1
    assert build_estimator("GaussianNB", {}, 7).get_params() == {
        "priors": None,
        "var_smoothing": 1e-9,
    }


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("HistGradientBoostingClassifier", True),
        ("LogisticRegression", True),
        ("KNeighborsClassifier", False),
        ("LinearDiscriminantAnalysis", False),
    ],
)
def test_weights(name: str, takes: bool) -> None:
    assert takes_sample_weight(name) is takes


def test_pipeline_is_asked_at_its_last_step() -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    assert weights_supported(pipeline)
    assert isinstance(final_step(pipeline), LogisticRegression)


@pytest.mark.parametrize(
    ("estimator", "takes"),
    [
        (make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), SVC())), True),
        (make_pipeline(StandardScaler(), KNeighborsClassifier()), False),
        (BaggingClassifier(SVC()), True),
        (BaggingClassifier(KNeighborsClassifier()), False),
        (StackingClassifier([("svc", SVC()), ("near", KNeighborsClassifier())]), False),
    ],
)
def test_weights_are_taken_where_every_part_takes_them(
    estimator: BaseEstimator, takes: bool
) -> None:
    assert weights_supported(estimator) is takes


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("HistGradientBoostingClassifier", True),
        ("RandomForestClassifier", True),
        ("GaussianNB", False),
        ("LogisticRegression", False),
    ],
)
def test_missing_values(name: str, allowed: bool) -> None:
    assert allows_nan(build_estimator(name, {}, 0)) is allowed


def test_imported_estimator_is_taken_to_need_scaled_input() -> None:
    assert info_of("mine.Model").scaled
    assert not info_of("DecisionTreeClassifier").scaled


@pytest.mark.parametrize("name", NEEDED)
def test_name_alone_is_right_where_parameters_are_needed(name: str) -> None:
    assert check_name(name) is None
    assert check_estimator(name, {}) is not None


def test_a_library_that_does_not_load_is_told_with_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(module: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(importlib, "import_module", fail)
    wrong = check_estimator("LGBMClassifier", {})
    assert wrong is not None
    assert wrong.startswith("LGBMClassifier cannot be loaded: OSError: libgomp.so.1")
    assert "apt-get install libgomp1" in wrong
