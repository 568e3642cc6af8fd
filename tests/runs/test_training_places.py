"""Whole runs whose models learn from rows that the driver does not hold."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from sklearn.linear_model import LogisticRegression

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import fit, plan, run
from spark_pseudolabel.report.document import Report
from spark_pseudolabel.spark.engines import ENGINES, require_workers
from spark_pseudolabel.store import failpoint as failpoint_module
from spark_pseudolabel.store.failpoint import FailpointError

N_LABELED, N_POOL, N_TEST = 240, 3_000, 600
LOGISTIC = {"estimator": "LogisticRegression", "params": {"C": 0.7}}
SGD = {"estimator": "SGDClassifier", "params": {"loss": "log_loss", "max_iter": 50}}
BOOSTED = {"estimator": "XGBClassifier", "params": {"n_estimators": 20, "max_depth": 3}}
CASES: dict[str, dict[str, Any]] = {
    "boosted": {"model": BOOSTED, "training": {"on": "cluster"}},
    "logistic, soft and weighted": {
        "model": {"estimator": "LogisticRegression", "params": {"class_weight": "balanced"}},
        "training": {
            "on": "cluster",
            "labels": "soft",
            "pseudo_weight": "softmatch",
            "max_pseudo_weight": 3,
        },
    },
    "streamed": {
        "model": SGD,
        "training": {"max_rows": None, "pseudo_weight": "confidence"},
    },
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tables")
    write_tables(directory)
    return directory


def write_tables(directory: Path) -> None:
    """Write numbers and a category, both with nulls, and three classes."""
    chance = np.random.default_rng(5)
    n = N_LABELED + N_POOL + N_TEST
    x, z = chance.normal(size=(2, n))
    color = chance.integers(3, size=n)
    kind = np.digitize(1.5 * x - z + color - 1 + chance.normal(scale=0.4, size=n), [-0.8, 0.9])
    rows = pd.DataFrame(
        {
            "id": chance.permutation(n),
            "x": pd.Series(x).mask(chance.random(n) < 0.05),
            "z": z.astype(np.float32),
            "color": pd.Series(np.array(["blue", "green", "red"])[color]).mask(
                chance.random(n) < 0.05
            ),
            "kind": np.array(["low", "middle", "high"])[kind],
        }
    )
    rows[:N_LABELED].to_parquet(directory / "labeled.parquet", index=False)
    rows[-N_TEST:].to_parquet(directory / "test.parquet", index=False)
    (directory / "pool").mkdir()
    pool = rows[N_LABELED:-N_TEST].drop(columns="kind")
    for number in range(2):
        part = pa.Table.from_pandas(pool[number::2], preserve_index=False)
        pq.write_table(part, directory / "pool" / f"{number}.parquet", row_group_size=500)


def configured(tables: Path, output: Path, **sections: Any) -> dict[str, Any]:
    unlabeled = {"path": str(tables / "pool")} | sections.pop("unlabeled", {})
    return {
        "labeled": {"path": str(tables / "labeled.parquet"), "label": "kind"},
        "unlabeled": unlabeled,
        "test": {"path": str(tables / "test.parquet")},
        "id": "id",
        "selection": {"policy": "threshold", "threshold": 0.8},
        "validation": {"fraction": 0},
        "rounds": {"max": 1},
        "output": {"path": str(output)},
    } | sections


def ended(spark: SparkSession, tables: Path, output: Path, **sections: Any) -> Report:
    return run(spark, parse_config(configured(tables, output, **sections))).report


def labels_of(output: Path) -> pd.DataFrame:
    labels = pq.read_table(output / "labels").to_pandas()
    return labels.sort_values("id").reset_index(drop=True)


def learned(output: Path) -> list[Any]:
    """Return what the manifests say of the rows of each fit."""
    manifests = sorted(output.glob("_commits/*/model-*.json"))
    return [json.loads(manifest.read_text())["training"] for manifest in manifests]


# On the driver, too, descent ends after so many passes as a stream has.
@pytest.mark.filterwarnings("ignore:Maximum number of iteration reached")
@pytest.mark.parametrize(
    "name",
    [
        "boosted",
        pytest.param("logistic, soft and weighted", marks=pytest.mark.long),
        "streamed",
    ],
)
def test_both_backends_deal_the_same_rows_to_a_model_like_that_of_the_driver(
    name: str, spark: SparkSession, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = CASES[name]
    direct = ended(spark, tables, tmp_path / "direct", **sections)
    # Killed between the rows and the model, and run again.
    by_spark = {"unlabeled": {"scan": "spark"}, **sections}
    monkeypatch.setattr(failpoint_module, "_reached", Counter())
    monkeypatch.setenv("SPL_FAILPOINT", "model.fitted:2:raise")
    with pytest.raises(FailpointError):
        ended(spark, tables, tmp_path / "spark", **by_spark)
    assert len(learned(tmp_path / "spark")) == 1
    monkeypatch.delenv("SPL_FAILPOINT")
    other_way = ended(spark, tables, tmp_path / "spark", **by_spark)
    pd.testing.assert_frame_equal(labels_of(tmp_path / "direct"), labels_of(tmp_path / "spark"))
    assert direct.final.test is not None
    assert other_way.final.test is not None
    # Of the same model, in batches of other sizes.
    assert direct.final.test.accuracy == other_way.final.test.accuracy
    assert direct.final.test.log_loss == pytest.approx(other_way.final.test.log_loss, rel=1e-12)
    for one, other in zip(learned(tmp_path / "direct"), learned(tmp_path / "spark"), strict=True):
        assert one == other
    assert learned(tmp_path / "direct")[-1]["rows_pseudo"] == direct.rows.accepted
    weighted = {key: value for key, value in sections["training"].items() if key not in _PLACE}
    local = ended(
        spark, tables, tmp_path / "local", model=sections["model"], training=weighted or {}
    )
    assert local.final.test is not None
    assert direct.final.test.accuracy == pytest.approx(local.final.test.accuracy, abs=0.02)


_PLACE = ("on", "max_rows")


def test_the_cluster_finds_the_logistic_regression_of_scikit_learn(
    spark: SparkSession, tables: Path, tmp_path: Path
) -> None:
    """The same rows, hence the same optimum: C and the intercept mean the same."""
    on_cluster = {"on": "cluster", "workers": 1}
    ended(spark, tables, tmp_path / "cluster", model=LOGISTIC, training=on_cluster)
    # By its own default it stops up to 0.04 before the optimum.
    exact = {**LOGISTIC, "params": {**LOGISTIC["params"], "tol": 1e-9, "max_iter": 10_000}}
    ended(spark, tables, tmp_path / "local", model=exact, training={"max_rows": 100_000})
    cluster, local = (_final_step(tmp_path / name) for name in ("cluster", "local"))
    assert cluster.intercept_ == pytest.approx(local.intercept_, abs=0.01)
    assert cluster.coef_ == pytest.approx(local.coef_, abs=0.01)
    assert list(cluster.classes_) == list(local.classes_)


def _final_step(output: Path) -> LogisticRegression:
    import skops.io

    file = output / "model" / "model.skops"
    model = skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))
    return model.steps[-1][1]


def test_a_cap_on_the_cluster_is_kept(spark: SparkSession, tables: Path, tmp_path: Path) -> None:
    training = {"on": "cluster", "max_rows": 900}
    ended(spark, tables, tmp_path / "out", model=LOGISTIC, training=training)
    for facts in learned(tmp_path / "out")[1:]:
        # Of some 220 rows a class, as many fewer as chance may bring more.
        assert 650 < facts["rows"] <= 900
        assert len(facts["hash_limits"]) == 3


def test_a_student_is_measured_on_labeled_rows_without_all_rows_on_the_driver(
    spark: SparkSession, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The student need not be better than its teacher.
    measure = fit.measure_student

    def measured(*given: Any) -> Any:
        metrics, losses = measure(*given)
        return metrics, replace(losses, usable=True, dropped=False)

    monkeypatch.setattr(fit, "measure_student", measured)
    report = ended(
        spark,
        tables,
        tmp_path / "out",
        model=LOGISTIC,
        teacher={"committee": [LOGISTIC, {"estimator": "GaussianNB"}]},
        selection={"policy": "threshold", "threshold": 0.8},
        training={"on": "cluster", "rows": "all"},
    )
    assert learned(tmp_path / "out")[-1]["rows_pseudo"] == N_POOL
    assert report.final.oof is not None


def test_what_a_session_or_the_rows_cannot_give_is_said_before_or_instead_of_a_fit(
    spark: SparkSession, tables: Path, tmp_path: Path
) -> None:
    many = configured(tables, tmp_path / "a", model=BOOSTED, training=_workers(3))
    with pytest.raises(InputError, match="this session runs 2 tasks at once"):
        plan(spark, parse_config(many))
    with pytest.raises(InputError, match="to 2 at most"):
        run(spark, parse_config(many))
    assert not list((tmp_path / "a").glob("_commits/*/*.json"))
    require_workers(spark, ENGINES["LogisticRegression"], 3)
    lonely = configured(
        tables, tmp_path / "b", model=LOGISTIC, training=_workers(100) | {"max_rows": 300}
    )
    with pytest.raises(InputError, match="leaves a worker without a row"):
        run(spark, parse_config(lonely))


def test_an_engine_that_may_give_other_labels_each_time_is_told(
    spark: SparkSession, tables: Path, tmp_path: Path
) -> None:
    for workers, told in ((2, False), (3, True)):
        config = configured(tables, tmp_path / "out", model=LOGISTIC, training=_workers(workers))
        codes = [notice.code for notice in plan(spark, parse_config(config)).warnings]
        assert ("labels_may_vary" in codes) == told


def _workers(n: int) -> dict[str, Any]:
    return {"on": "cluster", "workers": n}
