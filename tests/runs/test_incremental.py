"""Generations: rows that came later are labeled beside the others, each once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.api import SelfTraining
from spark_pseudolabel.cli import main
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import DriftError, InputError
from spark_pseudolabel.job import label, run
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.gc import collect_garbage
from spark_pseudolabel.output.status import read_status
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.report.text import render_status

OTHER_MIX = 5.0


def rows(first: int, n: int, *, moved: float = 0.0) -> pd.DataFrame:
    """Generate two classes; where moved, one column is what it never was."""
    chance = np.random.default_rng(first)
    X = chance.normal(size=(n, 3))
    kind = np.where(X[:, 0] + chance.normal(scale=0.3, size=n) > 0, "yes", "no")
    X[:, 2] += moved
    ids = [f"r{number:06d}" for number in range(first, first + n)]
    return pd.DataFrame({"row_id": ids, "a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "kind": kind})


@dataclass
class Drops:
    """A directory into which files are put, and an output."""

    spark: SparkSession
    folder: Path
    sections: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "pool").mkdir()
        rows(0, 150).to_parquet(self.folder / "labeled.parquet", index=False)

    def put(self, name: str, *parts: pd.DataFrame) -> None:
        together = pd.concat(parts).drop(columns="kind")
        together.to_parquet(self.folder / "pool" / f"{name}.parquet", index=False)

    def config(self, **sections: Any) -> dict[str, Any]:
        document = {
            "labeled": {"path": str(self.folder / "labeled.parquet"), "label": "kind"},
            "unlabeled": {"path": str(self.folder / "pool")},
            "id": "row_id",
            "model": {"estimator": "LogisticRegression"},
            "validation": {"fraction": 0},
            "selection": {"policy": "threshold", "threshold": 0.8},
            "rounds": {"max": 1},
            "output": {"path": str(self.folder / "out")},
            "incremental": True,
            **self.sections,
            **sections,
        }
        return {name: section for name, section in document.items() if name != "model" or section}

    def run(self, **sections: Any) -> dict[str, Any]:
        return run(self.spark, parse_config(self.config(**sections))).report.as_json()

    @property
    def labels(self) -> pd.DataFrame:
        return read_labels(self.folder / "out")


@dataclass
class Told:
    """What the drops of a week came to."""

    drops: Drops
    reports: list[dict[str, Any]]
    counts: list[int]
    drift: DriftError
    again: DriftError
    stopped: int


@pytest.fixture(scope="module")
def week(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Three drops, the third with rows of the second; one that is unlike; labeled all the same."""
    drops = Drops(spark, tmp_path_factory.mktemp("drops"))
    reports, counts = [], []

    def go(**sections: Any) -> None:
        reports.append(drops.run(**sections))
        counts.append(len(drops.labels))

    drops.put("1", rows(1000, 600))
    go(incremental=None)  # a plain run is the first generation
    drops.put("2", rows(2000, 300))
    go()
    drops.put("3", rows(3000, 300), rows(2000, 300))
    go()
    drops.put("4", rows(4000, 300, moved=OTHER_MIX))
    with pytest.raises(DriftError) as drift:
        drops.run()
    with pytest.raises(DriftError) as again:
        drops.run()
    stopped = len(drops.labels)
    go(incremental={"on_shift": "continue"})
    return Told(drops, reports, counts, drift.value, again.value, stopped)


def test_each_row_is_scored_and_published_once(week: Told) -> None:
    scored = [report["rows"]["pool"] for report in week.reports]
    assert scored == [600, 300, 300, 300]
    assert week.drops.labels["row_id"].is_unique
    accepted = [report["rows"]["accepted"] for report in week.reports]
    assert week.counts == list(np.cumsum(accepted))
    for table in ("undecided", "invalid"):
        ids = pq.read_table(week.drops.folder / "out" / table).column("row_id").to_pylist()
        assert len(ids) == len(set(ids))
    undecided = pq.read_table(week.drops.folder / "out" / "undecided").num_rows
    assert week.counts[-1] + undecided == 1500


def test_generations_are_reported_with_what_came_again(week: Told) -> None:
    told = week.reports[-1]["generations"]
    fields = ("generation", "outcome", "inputs", "rows", "overlap", "refit")
    assert [tuple(each[name] for name in fields) for each in told] == [
        (1, "labeled", 1, 600, 0, False),
        (2, "labeled", 1, 300, 0, False),
        (3, "labeled", 1, 300, 300, False),
        (4, "drift", 1, 300, 0, False),
        (5, "labeled", 1, 300, 0, False),
    ]
    assert week.reports[-1]["all_generations"]["accepted"] == week.counts[-1]
    assert {each["model"] for each in told} == {"model-0002"}
    assert week.reports[1]["termination_condition"] == "generation"


def test_no_certificate_is_claimed_of_rows_that_came_later(week: Told) -> None:
    report = week.reports[1]
    assert report["certificate"] is None
    assert report["warnings"][0]["code"] == "not_certified_later"


def test_a_drop_of_another_mix_is_not_labeled_until_that_is_said(week: Told) -> None:
    assert (week.drift.exit_code, week.drift.code) == (7, "drift")
    assert "different: c (PSI" in week.drift.message
    assert week.again.message == week.drift.message
    assert week.stopped == week.counts[2] < week.counts[3]
    assert [each["drifted"] for each in week.reports[-1]["generations"]] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_labels_are_those_of_one_run_with_the_same_model(week: Told, tmp_path: Path) -> None:
    spark, folder = week.drops.spark, week.drops.folder
    out = tmp_path / "at_once"
    label(spark, str(folder / "out"), input=str(folder / "pool"), output=str(out))
    at_once = pq.read_table(out).to_pandas().drop_duplicates("row_id").set_index("row_id")
    labels = week.drops.labels.set_index("row_id")
    later = labels[labels["model"] == "model-0002"]
    assert len(later) == week.counts[-1] - week.counts[0]
    same = at_once.loc[later.index]
    assert (same["accepted"] & (same["label"] == later["label"])).all()
    np.testing.assert_array_equal(same["confidence"], later["confidence"])
    first = labels[labels["model"] == "model-0001"].index
    others = at_once[at_once["accepted"]].index.difference(later.index)
    assert set(others) - set(first) <= set(rows(1000, 600)["row_id"])


def test_status_verify_and_explain_know_generations(week: Told) -> None:
    out = str(week.drops.folder / "out")
    told = read_status(out)
    assert (told.state, told.termination_condition) == ("done", "generation")
    assert [each.generation for each in told.generations] == [1, 2, 3, 4, 5]
    assert told.counters.MachineLabeled == week.counts[-1]
    assert check_output(out, deep=True).problems == []
    later = week.drops.labels.query("model == 'model-0002'").iloc[0]
    explained = explain_row(out, later["row_id"])
    assert (explained.label, explained.model) == (later["label"], "model-0002")
    assert "in generation 2." in explained.text
    first = week.drops.labels.query("model == 'model-0001'").iloc[0]
    assert explain_row(out, first["row_id"]).label == first["label"]


def test_a_lost_file_of_a_generation_is_told(week: Told, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(week.drops.folder / "out", out)
    next((out / "labels").glob("generation-0003-*")).unlink()
    (problem,) = check_output(str(out)).problems
    assert problem.path.startswith("labels/generation-0003-")


@pytest.mark.parametrize("lost", ["labels", "labels/generation-0002-*", "undecided/part-*"])
def test_tables_that_have_lost_rows_are_built_again_of_all_generations(
    week: Told, tmp_path: Path, lost: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(week.drops.folder / "out", out)
    # A row of each generation that is built again must not come back.
    ids = read_labels(out)["row_id"]
    revoked = ids.groupby(ids.str[:4]).tail(2)
    (tmp_path / "ids.txt").write_text("\n".join(revoked))
    assert main(["review", "revoke", str(out), "--ids", str(tmp_path / "ids.txt")]) == 0
    before = {name: read_labels(out, name) for name in ("labels", "undecided")}
    for path in out.glob(lost):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert check_output(str(out)).problems
    assert main(["review", "revoke", str(out), "--class", "no"]) == 5
    told = week.drops.run(output={"path": str(out)})
    assert told["rows"] == week.reports[-1]["rows"]
    assert check_output(str(out), deep=True).problems == []
    for name, rows_before in before.items():
        pd.testing.assert_frame_equal(read_labels(out, name), rows_before)


def test_what_old_generations_have_scored_may_be_deleted(week: Told, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(week.drops.folder / "out", out)
    listed = collect_garbage(str(out), older_than_s=0, retain=2)
    assert {item.kind for item in listed.items} == {"retired"}
    before = read_labels(out)
    collect_garbage(str(out), older_than_s=0, retain=2, delete=True)
    assert check_output(str(out), deep=True).problems == []
    pd.testing.assert_frame_equal(read_labels(out), before)
    later = before.query("model == 'model-0002'").iloc[0]
    explained = explain_row(str(out), later["row_id"])
    assert (explained.label, explained.history) == (later["label"], [])
    assert collect_garbage(str(out), older_than_s=0, retain=2).items == []


def read_labels(out: Path, name: str = "labels") -> pd.DataFrame:
    return pq.read_table(out / name).to_pandas().sort_values("row_id").reset_index(drop=True)


def test_a_plain_run_is_refused_and_told_how_to_go_on(week: Told) -> None:
    with pytest.raises(InputError, match="--incremental"):
        week.drops.run(incremental=None)


def test_nothing_new_is_nothing_to_do(week: Told) -> None:
    assert week.drops.run() == week.reports[-1]


def test_old_files_that_changed_are_told_by_report_and_status(
    spark: SparkSession, tmp_path: Path
) -> None:
    drops = Drops(spark, tmp_path)
    drops.put("1", rows(1000, 300))
    drops.run(incremental=None)
    drops.put("1", rows(1000, 300))  # before anything of the first pool was kept
    drops.put("2", rows(2000, 100))
    told = drops.run()
    codes = [each["code"] for each in told["warnings"]]
    assert codes == ["not_certified_later", "no_earlier_sample", "files_touched"]
    (again,) = told["generations"][-1]["notices"]
    assert again["message"].startswith("1 file of unlabeled that earlier generations have labeled")
    out = str(tmp_path / "out")
    assert read_status(out).generations[-1].notices[0].code == "files_touched"
    assert "Generation 2: 1 file of unlabeled" in render_status(read_status(out))
    (tmp_path / "pool" / "1.parquet").unlink()
    nothing = drops.run()
    assert [each["code"] for each in nothing["warnings"]] == [*codes, "files_gone"]
    assert check_output(out, deep=True).problems == []


def test_a_dataframe_that_grows_is_labeled_by_its_ids_and_fitted_by_rule(
    spark: SparkSession, tmp_path: Path
) -> None:
    out, labeled = str(tmp_path / "out"), spark.createDataFrame(rows(0, 150))
    asked = SelfTraining(
        "LogisticRegression",
        label="kind",
        id="row_id",
        selection={"policy": "threshold", "threshold": 0.8},
        rounds={"max": 1},
        validation={"fraction": 0},
        incremental={"refit": {"every": 2}},
    )
    pool = rows(1000, 300)
    told = []
    for first in (2000, 3000, 4000):
        result = asked.fit(labeled, spark.createDataFrame(pool.drop(columns="kind")), output=out)
        told.append(result.report)
        pool = pd.concat([pool, rows(first, 200)])
    assert [report["rows"]["pool"] for report in told] == [300, 200, 200]
    last = told[-1]["generations"]
    assert [(each["rows"], each["overlap"], each["refit"]) for each in last] == [
        (300, 0, False),
        (200, 300, False),
        (200, 500, True),
    ]
    labels = read_labels(tmp_path / "out")
    assert labels["row_id"].is_unique
    assert len(labels) == told[-1]["all_generations"]["accepted"]
    models = set(labels.loc[labels["row_id"] >= "r003000", "model"])
    assert models == {"generation-0003/model-0001"}
    assert check_output(out, deep=True).problems == []


RULES = [
    {"name": "high", "label": "yes", "when": "a > 0.3"},
    {"name": "low", "label": "no", "when": "a < -0.3"},
    {"name": "less", "label": "no", "when": "a + b < -1"},
]


def test_rules_label_rows_that_come_later(spark: SparkSession, tmp_path: Path) -> None:
    sections = {"labeled": None, "teacher": {"rules": RULES, "student": False}, "model": None}
    drops = Drops(spark, tmp_path, sections)
    drops.put("1", rows(1000, 300))
    drops.run()
    drops.put("2", rows(2000, 200))
    told = drops.run()
    assert told["rows"]["pool"] == 200
    came = rows(2000, 200).set_index("row_id")
    labels = drops.labels.set_index("row_id").reindex(came.index)["label"].dropna()
    assert len(labels) == told["rows"]["accepted"] > 100
    assert (labels == came.loc[labels.index, "kind"]).mean() > 0.9
    assert check_output(str(tmp_path / "out"), deep=True).problems == []


def test_published_features_keep_their_types(spark: SparkSession, tmp_path: Path) -> None:
    drops = Drops(spark, tmp_path, {"output": {"path": str(tmp_path / "out"), "features": True}})
    drops.put("1", rows(1000, 200))
    drops.run()
    drops.put("2", rows(2000, 100).assign(c=1))
    with pytest.raises(InputError, match="Column 'c' must be double") as refused:
        drops.run()
    assert refused.value.code == "type_differs"
    drops.put("2", rows(2000, 100))
    drops.run()
    assert pq.read_table(tmp_path / "out" / "labels").schema.field("c").type == pa.float64()
