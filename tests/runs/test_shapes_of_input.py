"""Whole runs on tables as people have them: without ids, all in one, as JSON, with all columns."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from sklearn.datasets import load_wine

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import run
from spark_pseudolabel.output.explain import explain_row

N_GIVEN = 60


@pytest.fixture(scope="module")
def wine() -> pd.DataFrame:
    data = load_wine(as_frame=True)
    rows = data.data.iloc[:, :4].set_axis(["a", "b", "c", "d"], axis=1)
    rows["kind"] = data.target
    return rows.sample(frac=1, random_state=0, ignore_index=True)


def test_one_table_without_ids(spark: SparkSession, wine: pd.DataFrame, tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.mkdir()
    both = wine.assign(kind=wine.kind.astype("Int64"))
    both.loc[N_GIVEN:, "kind"] = pd.NA
    for number in range(2):
        both[number::2].to_parquet(table / f"part-{number}.parquet", index=False)
    config = parse_config(
        {
            "labeled": {"path": str(table), "label": "kind"},
            "unlabeled": {"from": "labeled"},
            # Few distinct confidences: where the cut falls is decided by (file, row_index).
            "model": {"estimator": "DecisionTreeClassifier", "params": {"max_depth": 2}},
            "selection": {"policy": "k_best", "k": 25},
            "rounds": {"max": 2},
            "output": {"path": str(tmp_path / "out")},
        }
    )
    report = run(spark, config).report.as_json()
    labels = pd.read_parquet(tmp_path / "out" / "labels")
    assert [r["accepted"] for r in report["rounds"]] == [25, 25]
    assert list(labels.columns[:3]) == ["file", "row_index", "label"]
    assert not labels.duplicated(["file", "row_index"]).any()
    unlabeled = {n: pd.read_parquet(table / f"part-{n}.parquet").kind.isna() for n in range(2)}
    for row in labels.itertuples():
        assert unlabeled[int(row.file[5])][row.row_index]
    first = labels.iloc[0]
    explained = explain_row(str(tmp_path / "out"), f"{first.file}:{first.row_index}")
    assert (explained.kind, explained.label) == ("accepted", first.label)
    training = pd.read_parquet(tmp_path / "out" / "training")
    assert training.source.value_counts().to_dict() == {
        "pseudo": 50,
        "labeled": report["rows"]["labeled"],
    }


def test_json_with_string_ids_validation_table_and_all_columns(
    spark: SparkSession, wine: pd.DataFrame, tmp_path: Path
) -> None:
    rows = wine.assign(key=[f"w{i:03}" for i in range(len(wine))])
    parts = {"labeled": rows[:N_GIVEN], "validation": rows[N_GIVEN : N_GIVEN + 30]}
    # The pool still holds the labeled and the validation rows.
    for name, part in {**parts, "pool": rows.drop(columns="kind")}.items():
        part.to_json(tmp_path / f"{name}.json", orient="records", lines=True)
    paths = {
        name: {"path": str(tmp_path / f"{name}.json"), "format": "json"}
        for name in (*parts, "pool")
    }
    config = parse_config(
        {
            "labeled": {**paths["labeled"], "label": "kind"},
            "unlabeled": {**paths["pool"], "drop_labeled": True},
            "validation": paths["validation"],
            "id": "key",
            "model": {"estimator": "LogisticRegression"},
            "selection": {"policy": "one_shot"},
            "output": {"path": str(tmp_path / "out"), "features": True, "probabilities": True},
        }
    )
    report = run(spark, config).report.as_json()
    labels = pd.read_parquet(tmp_path / "out" / "labels").set_index("key")
    assert sorted(labels.index) == list(rows.key[N_GIVEN + 30 :])
    assert report["rows"]["validation"] == report["seed"]["validation"]["n"] == 30
    assert labels.label.dtype.kind == "i"
    expected = rows.set_index("key").loc[labels.index, ["a", "b", "c", "d"]]
    pd.testing.assert_frame_equal(labels[["a", "b", "c", "d"]], expected, check_dtype=False)
    best = labels.probabilities.map(lambda p: max(p))
    assert (best == labels.confidence).all()
    training = pd.read_parquet(tmp_path / "out" / "training").set_index("key")
    assert set(training.index) == set(rows.key) - set(parts["validation"].key)
    given = training.loc[parts["labeled"].key]
    assert given.label.tolist() == parts["labeled"].kind.tolist()


@pytest.mark.parametrize("scan", ["auto", "spark"])
def test_a_pool_that_is_mostly_invalid_stops_the_run(
    spark: SparkSession, wine: pd.DataFrame, tmp_path: Path, scan: str
) -> None:
    rows = wine.assign(key=range(len(wine)))
    pool = rows[N_GIVEN:].drop(columns="kind")
    n_invalid = round(0.6 * len(pool))
    pool.iloc[:n_invalid, pool.columns.get_loc("b")] = float("inf")
    (tmp_path / "pool").mkdir()
    rows[:N_GIVEN].to_parquet(tmp_path / "labeled.parquet", index=False)
    pool.to_parquet(tmp_path / "pool" / "pool.parquet", index=False)

    def settings(**unlabeled: float) -> dict[str, object]:
        return {
            "labeled": {"path": str(tmp_path / "labeled.parquet"), "label": "kind"},
            "unlabeled": {"path": str(tmp_path / "pool"), "scan": scan, **unlabeled},
            "validation": {"fraction": 0},
            "id": "key",
            "model": {"estimator": "LogisticRegression"},
            "rounds": {"max": 1},
            "output": {"path": str(tmp_path / f"out-{len(unlabeled)}")},
        }

    with pytest.raises(InputError, match="'b' is infinite") as refused:
        run(spark, parse_config(settings()))
    assert (refused.value.code, refused.value.where) == (
        "too_many_invalid",
        "unlabeled.max_invalid",
    )
    assert f"{n_invalid} of {len(pool)}" in refused.value.message
    report = run(spark, parse_config(settings(max_invalid=0.7))).report.as_json()
    assert report["rows"]["invalid"] == n_invalid
