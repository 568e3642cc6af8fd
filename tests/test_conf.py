import importlib.machinery
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.config import load_config
from spark_pseudolabel.job import run

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "conf").glob("*.yaml"))


@pytest.fixture(scope="module")
def prepare_data() -> ModuleType:
    path = str(ROOT / "scripts" / "prepare_data")
    loader = importlib.machinery.SourceFileLoader("prepare_data", path)
    spec = importlib.util.spec_from_loader("prepare_data", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_there_is_a_configuration_for_each_method_and_data_set() -> None:
    names = {"adult", "letter", "kddcup99", "sklearn_mode", "teacher_student", "one_shot", "graph"}
    assert names <= {file.stem for file in CONFIGS}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_configuration_loads(file: Path) -> None:
    config = load_config(file)
    assert config.output.path == f"out/{file.stem}"


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_table_is_one_that_prepare_data_makes(file: Path, prepare_data: ModuleType) -> None:
    config = load_config(file)
    for table in (config.labeled, config.unlabeled, config.test):
        if table is not None:
            data, name, _ = Path(table.path or "").parts
            assert (data, name in prepare_data.SETS) == ("data", True)


RunOn = Callable[[str, str], dict[str, Any]]


@pytest.fixture
def run_on(
    spark: SparkSession,
    prepare_data: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> RunOn:
    """Make a data set and run a configuration of ours on it; return the report."""

    def run_it(data: str, name: str) -> dict[str, Any]:
        target = tmp_path / "data" / data
        target.mkdir(parents=True)
        getattr(prepare_data, data)(None, target)
        monkeypatch.chdir(tmp_path)
        return run(spark, load_config(ROOT / "conf" / f"{name}.yaml")).report.as_json()

    return run_it


@pytest.mark.parametrize("name", ["anchors", pytest.param("graph", marks=pytest.mark.long)])
def test_configurations_of_graphs_run(run_on: RunOn, name: str) -> None:
    report = run_on("digits", name)
    assert report["rows"]["accepted"] > 1_000
    assert min(report["rounds"][0]["accepted_by_class"].values()) > 70
    assert report["final"]["test"]["accuracy"] > 0.93
    calibration = report["seed"]["adjustment"] and report["seed"]["adjustment"]["calibration"]
    assert (calibration and calibration["method"]) == (None if name == "anchors" else "isotonic")


def test_prepare_data_hides_labels_and_nothing_else(
    prepare_data: ModuleType, tmp_path: Path
) -> None:
    prepare_data.breast_cancer(None, tmp_path)
    labeled, pool, truth = (
        pd.read_parquet(tmp_path / name) for name in ("labeled.parquet", "pool", "truth.parquet")
    )
    assert (len(labeled), len(pool)) == (228, 341)
    assert set(labeled.columns) - set(pool.columns) == {"diagnosis"}
    assert not set(labeled["row_id"]) & set(pool["row_id"])
    pd.testing.assert_frame_equal(truth.drop(columns="diagnosis"), pool, check_like=True)


def test_prepare_data_makes_the_same_tables_twice(prepare_data: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "adult").mkdir(parents=True)
    row = "39, {}, 77516, Bachelors, 13, Never-married, Adm, Own, White, Male, 2, 0, 40, ?, <=50K\n"
    (source / "adult/adult.data").write_text("".join(row.format(f"w{i}") for i in range(600)))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        prepare_data.adult(source, tmp_path / name)
    for name in ("labeled.csv", "pool.csv", "truth.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    labeled = pd.read_csv(tmp_path / "one" / "labeled.csv")
    assert len(labeled) == 500
    assert labeled["native_country"].isna().all()


@pytest.mark.parametrize("name", ["tri_training", "co_training"])
def test_configurations_on_data_of_scikit_learn_run(run_on: RunOn, name: str) -> None:
    report = run_on("breast_cancer", name)
    rows = report["rows"]
    assert rows["accepted"] > 200
    assert rows["unstable" if name == "tri_training" else "disagreement"] > 0
    assert report["final"]["test"]["labels"]["precision"] > 0.95


def test_correct_and_smooth_runs_on_digits(run_on: RunOn, tmp_path: Path) -> None:
    report = run_on("digits", "correct_and_smooth")
    rows, teacher = report["rows"], report["teacher"]
    assert rows["accepted"] + rows["rejected"] + rows["invalid"] + rows["abstained"] == rows["pool"]
    assert rows["accepted"] > 1000
    assert report["final"]["test"]["labels"]["precision"] > 0.97
    assert teacher["parameters"]["smooth"] > 0
    *members, graph = teacher["members"]
    assert [member["name"] for member in members] == ["LogisticRegression", "GaussianNB"]
    assert (graph["name"], graph["coverage"]) == ("graph: neighbors", 1.0)
    assert graph["accuracy"] > max(member["accuracy"] for member in members)
    given = pd.read_parquet(tmp_path / "data" / "digits" / "labeled.parquet").set_index("row_id")[
        "digit"
    ]
    kept = pd.read_parquet(tmp_path / "out" / "correct_and_smooth" / "training")
    kept = kept[kept["source"] == "labeled"].set_index("row_id")["label"]
    assert kept.sort_index().equals(given.sort_index().rename("label"))


def test_numbers_of_scikit_learn_are_certified(run_on: RunOn, tmp_path: Path) -> None:
    report = run_on("friedman", "regression")
    certificate, test = report["certificate"], report["final"]["test"]
    assert certificate["claimed"]
    assert test["labels"]["precision"] >= certificate["precision"]
    assert test["numbers"]["r2"] > 0.8
    assert test["numbers"]["coverage"] > 0.9
    labels = pd.read_parquet(tmp_path / "out" / "regression" / "labels")
    assert labels["label"].between(labels["lower"], labels["upper"]).all()
