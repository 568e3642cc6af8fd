"""Labels with a certificate, committees and students, from the configuration to the report."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from sklearn.datasets import make_classification

from spark_pseudolabel.cli import main
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core.teachers.distillation import cross_fit_student
from spark_pseudolabel.core.teachers.training_frame import training_rows
from spark_pseudolabel.core.trust.guard import compare
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import fit, label, out_of_fold, plan, run
from spark_pseudolabel.job import training as trainers
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.progress import SilentEvents
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.report.text import render_text
from spark_pseudolabel.store import failpoint as failpoint_module
from spark_pseudolabel.store.failpoint import FailpointError

N_LABELED = 300
LOGISTIC = {"estimator": "LogisticRegression"}
CERTIFIED = {"policy": "certified", "precision": 0.9, "certainty": 0.9}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate two classes, 7 to 3, with noisy labels: pool of 3,000 rows, truth beside it."""
    X, y = make_classification(
        3000 + N_LABELED, 8, n_informative=5, weights=[0.7], class_sep=1.2, random_state=0
    )
    rows = pd.DataFrame(X, columns=[f"x{i}" for i in range(8)])
    rows["y"], rows["id"] = np.where(y, "yes", "no"), np.arange(len(rows))
    directory = tmp_path_factory.mktemp("certified")
    write(directory, rows[:N_LABELED], rows[N_LABELED:])
    return directory


def write(directory: Path, labeled: pd.DataFrame, pool: pd.DataFrame) -> None:
    labeled.to_parquet(directory / "labeled.parquet", index=False)
    pool.drop(columns="y").to_parquet(directory / "pool.parquet", index=False)
    pool[["id", "y"]].to_parquet(directory / "truth.parquet", index=False)


def config(data: Path, out: Path, **sections: Any) -> dict[str, Any]:
    unlabeled = {"path": str(data / "pool.parquet"), **sections.pop("unlabeled", {})}
    given = {"path": str(data / "labeled.parquet"), "label": "y", **sections.pop("labeled", {})}
    usual = {"id": "id", "model": LOGISTIC, "selection": CERTIFIED, "output": {"path": str(out)}}
    return {**usual, "labeled": given, "unlabeled": unlabeled, **sections}


def report_of(spark: SparkSession, *args: Any, **sections: Any) -> dict[str, Any]:
    return run(spark, parse_config(config(*args, **sections))).report.as_json()


def labels_of(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "labels").to_pandas().sort_values("id", ignore_index=True)


def precision(data: Path, labels: pd.DataFrame) -> float:
    joined = labels.merge(pd.read_parquet(data / "truth.parquet"), on="id")
    return float((joined["label"] == joined["y"]).mean())


def test_certified_labels_keep_the_promise(spark: SparkSession, data: Path, tmp_path: Path) -> None:
    report = report_of(spark, data, tmp_path / "out")
    labels = labels_of(tmp_path / "out")
    certificate = report["certificate"]
    assert certificate["claimed"]
    assert certificate["n_calibration"] == N_LABELED
    assert (
        len(labels) == report["rows"]["accepted"] == sum(c["rows"] for c in certificate["claims"])
    )
    assert certificate["coverage"] == len(labels) / 3000 > 0.3
    assert precision(data, labels) >= 0.9
    assert labels["weight"].eq(0).all()  # the final model has learned from none of them
    assert labels["confidence"].min() >= certificate["claims"][0]["cut"]
    assert report["seed"]["oof"]["n"] == N_LABELED
    assert report["final"]["oof"] == report["seed"]["oof"]
    assert (report["n_iter"], report["best_round"]) == (1, 1)
    assert "Certified: precision 0.9" in render_text(report)
    assert "Certified: precision 0.9" in render_html(report)
    new = new_labels(spark, data, tmp_path)  # by the certified cut
    assert new.loc[new["accepted"], "id"].tolist() == labels["id"].tolist()
    (scores,) = tmp_path.rglob("oof.parquet")
    content = bytearray(scores.read_bytes())
    content[len(content) // 2] ^= 1
    scores.write_bytes(content)
    assert not check_output(str(tmp_path / "out")).ok


def new_labels(spark: SparkSession, data: Path, directory: Path) -> pd.DataFrame:
    pool, new = str(data / "pool.parquet"), directory / "new"
    label(spark, str(directory / "out"), input=pool, output=str(new))
    return pq.read_table(new).to_pandas().sort_values("id", ignore_index=True)


@pytest.mark.parametrize("scores", ["out_of_fold", "held_out"])
def test_certificate_survives_a_crash(
    spark: SparkSession,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scores: str,
) -> None:
    sections = {"selection": {**CERTIFIED, "per": "class", "scores": scores}}
    sections["validation"] = {"fraction": 0.5 if scores == "held_out" else 0.0}
    whole = report_of(spark, data, tmp_path / "whole", **sections)
    for name in ("model.publish.done", "score.written", "round.publish.done"):
        monkeypatch.setattr(failpoint_module, "_reached", Counter())
        monkeypatch.setenv("SPL_FAILPOINT", f"{name}:raise")
        with pytest.raises(FailpointError):
            report_of(spark, data, tmp_path / "killed", **sections)
    monkeypatch.delenv("SPL_FAILPOINT")
    resumed = report_of(spark, data, tmp_path / "killed", **sections)
    assert resumed["certificate"] == whole["certificate"]
    assert resumed["certificate"]["claimed"]
    assert resumed["certificate"]["source"] == scores
    pd.testing.assert_frame_equal(labels_of(tmp_path / "killed"), labels_of(tmp_path / "whole"))
    assert check_output(str(tmp_path / "killed"), deep=True).ok


def test_too_much_is_asked_for(
    spark: SparkSession, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"policy": "certified", "precision": 0.93, "certainty": 0.99, "per": "class"}
    given = tmp_path / "config.yaml"
    given.write_text(json.dumps(config(data, tmp_path / "out", selection=asked)))
    assert main(["run", str(given), "--output-format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["termination_condition"] == "not_certified"
    assert not report["certificate"]["claimed"]
    assert report["rows"]["accepted"] == len(labels_of(tmp_path / "out")) == 0
    (warning,) = [found for found in report["warnings"] if found["code"] == "not_certified"]
    assert [needed["labels"] for needed in warning["labels_needed"]] == [["no"], ["yes"]]
    assert any(needed["more_labels"] for needed in warning["labels_needed"])
    assert "Not certified" in render_text(report)
    assert main(["run", str(given), "--output-format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_what_no_model_could_reach_is_refused_first(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    asked = parse_config(
        config(data, tmp_path, selection={"policy": "certified", "precision": 0.999})
    )
    for command in (run, plan):
        with pytest.raises(InputError, match=r"needs at least 2,995 .* There are 300") as caught:
            command(spark, asked)
        assert (caught.value.exit_code, caught.value.code) == (3, "certificate_impossible")
    leftovers = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert "_layout.json" not in leftovers  # nothing is in the way of another try


@pytest.fixture(scope="module")
def drawn(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label as many rows of each class, though the pool is not balanced."""
    labeled = pd.read_parquet(data / "labeled.parquet")
    pool = pd.read_parquet(data / "pool.parquet").merge(pd.read_parquet(data / "truth.parquet"))
    rows = pd.concat([labeled, pool])
    chosen = rows.groupby("y").head(200)
    directory = tmp_path_factory.mktemp("drawn")
    write(directory, chosen, rows[~rows["id"].isin(chosen["id"])])
    return directory


def test_labels_drawn_per_class_are_refused(
    spark: SparkSession, drawn: Path, tmp_path: Path
) -> None:
    report = report_of(spark, drawn, tmp_path)
    assert report["certificate"]["refused"] == "drawn_per_class"
    assert not report["certificate"]["claimed"]
    assert "drawn_per_class" in [found["code"] for found in report["warnings"]]
    assert report["rows"]["accepted"] == 0


def test_labels_drawn_per_class_need_the_prior(
    spark: SparkSession, drawn: Path, tmp_path: Path
) -> None:
    declared: dict[str, Any] = {"labeled": {"drawn": "per_class"}}
    with pytest.raises(InputError, match=r"unlabeled\.prior"):
        report_of(spark, drawn, tmp_path / "out", **declared)
    with pytest.raises(InputError, match="must name every label once: no, yes"):
        report_of(spark, drawn, tmp_path / "out", unlabeled={"prior": {"no": 1.0}})
    share = share_of_no(drawn)
    prior = {"no": share, "yes": 1 - share}
    report = report_of(spark, drawn, tmp_path / "out", **declared, unlabeled={"prior": prior})
    assert report["certificate"]["claimed"]
    assert 200 < report["certificate"]["n_calibration"] < 400
    assert precision(drawn, labels_of(tmp_path / "out")) >= 0.9
    false = {"no": 1 - share, "yes": share}
    report = report_of(spark, drawn, tmp_path / "false", **declared, unlabeled={"prior": false})
    assert (report["certificate"]["claimed"], report["rows"]["accepted"]) == (False, 0)
    assert report["certificate"]["refused"] == "prior_disagrees"
    assert "prior_disagrees" in [found["code"] for found in report["warnings"]]


SMALL: list[dict[str, Any]] = [
    {"estimator": "LogisticRegression"},
    {"estimator": "ExtraTreesClassifier", "params": {"n_estimators": 10}},
]
TAUGHT: dict[str, Any] = {"teacher": {"committee": SMALL}, "training": {"rows": "all"}}
UNMEASURED: dict[str, Any] = {"validation": {"fraction": 0.0}}
CASES: dict[str, dict[str, Any]] = {
    "certified": {"selection": {**CERTIFIED, "per": "class"}},
    "committee": {
        **TAUGHT,
        "training": {"rows": "all", "labels": "soft", "max_rows": 900},
        "calibration": "isotonic",
    },
    "crest": {"selection": {"policy": "crest"}, "rounds": {"max": 1}, **UNMEASURED},
    "quotas": {"selection": {"policy": "quotas", "step": 0.3}, "rounds": {"max": 1}, **UNMEASURED},
}


# Plans of the others come from counts: tests/spark/frame/test_selection.py holds them alike.
SHORT = ("certified",)


@pytest.mark.parametrize(
    "name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in CASES]
)
def test_both_backends_give_the_same_labels(
    spark: SparkSession, data: Path, tmp_path: Path, name: str
) -> None:
    reports = {
        scan: report_of(spark, data, tmp_path / scan, **CASES[name], unlabeled={"scan": scan})
        for scan in ("auto", "spark")
    }
    labels = [labels_of(tmp_path / scan) for scan in reports]
    pd.testing.assert_frame_equal(*labels)
    assert len(labels[0]) > 0
    assert reports["auto"]["certificate"] == reports["spark"]["certificate"]
    assert reports["auto"]["final"] == reports["spark"]["final"]


def share_of_no(directory: Path) -> float:
    return float((pd.read_parquet(directory / "truth.parquet")["y"] == "no").mean())


def test_adjusted_scores_are_the_same_wherever_they_are_used(
    spark: SparkSession, drawn: Path, tmp_path: Path
) -> None:
    share = share_of_no(drawn)
    prior = {"no": share, "yes": 1 - share}
    sections = {"labeled": {"drawn": "per_class"}, "calibration": "sigmoid"}
    reports = {
        scan: report_of(
            spark, drawn, tmp_path / scan, **sections, unlabeled={"prior": prior, "scan": scan}
        )
        for scan in ("auto", "spark")
    }
    labels = labels_of(tmp_path / "auto")
    pd.testing.assert_frame_equal(labels, labels_of(tmp_path / "spark"))
    report = reports["auto"]
    assert report["certificate"] == reports["spark"]["certificate"]
    assert report["certificate"]["claimed"]
    assert report["certificate"]["prior"] == [share, 1 - share]
    assert report["prior"] == {"shares": prior, "source": "given"}
    assert precision(drawn, labels) >= 0.9
    assert report["final"]["adjustment"] == report["seed"]["adjustment"]
    assert report["final"]["adjustment"]["prior"]["learned"] == [0.5, 0.5]
    tables = report["rounds"][0]["reliability"]
    n_measured = report["seed"]["oof"]["n"]
    assert sum(tables["raw"]["n"]) == sum(tables["adjusted"]["n"]) == n_measured < 400
    assert tables["adjusted"]["ece"] < 0.06
    assert labels["raw_confidence"].ne(labels["confidence"]).any()
    row = labels.iloc[0]
    why = explain_row(str(tmp_path / "auto"), str(row["id"]))
    assert (why.confidence, why.raw_confidence) == (row["confidence"], row["raw_confidence"])
    assert f"the model itself said {row['raw_confidence']:g}" in why.text
    pool, new = str(drawn / "pool.parquet"), tmp_path / "new"
    label(spark, str(tmp_path / "auto"), input=pool, output=str(new))
    again = pq.read_table(new).to_pandas().sort_values("id", ignore_index=True)
    columns = ["id", "label", "confidence", "raw_confidence"]
    accepted = again.loc[again["accepted"], columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(accepted, labels[columns])


def test_prior_of_labels_drawn_per_class_is_estimated(
    spark: SparkSession, drawn: Path, tmp_path: Path
) -> None:
    rule = {"selection": {"policy": "one_shot"}, "model": LOGISTIC}
    report = report_of(spark, drawn, tmp_path / "out", labeled={"drawn": "per_class"}, **rule)
    found = report["prior"]
    assert found["source"] == "estimated"
    assert found["shares"]["no"] == pytest.approx(share_of_no(drawn), abs=0.05)
    (warning,) = [one for one in report["warnings"] if one["code"] == "prior_estimated"]
    assert warning["shares"] == found["shares"]
    uncorrected = report_of(spark, drawn, tmp_path / "plain", **rule)
    assert uncorrected["prior"] is None
    labels = [labels_of(tmp_path / name) for name in ("out", "plain")]
    assert precision(drawn, labels[0]) > precision(drawn, labels[1])
    assert "raw_confidence" not in labels[1]
    learned = [m["adjustment"]["prior"]["learned"] for m in (report["seed"], report["final"])]
    assert learned[0] == [0.5, 0.5]
    # The last model has learned from rows that are distributed as the pool is.
    assert learned[1][0] == pytest.approx(found["shares"]["no"], abs=0.05)


def test_committee_teaches_a_student(spark: SparkSession, data: Path, tmp_path: Path) -> None:
    sections = {**TAUGHT, "training": {"rows": "all", "labels": "soft"}}
    report = report_of(spark, data, tmp_path / "out", **sections)
    assert report["certificate"]["claimed"]
    assert precision(data, labels_of(tmp_path / "out")) >= 0.9
    against = read_model_manifest(tmp_path / "out", 2)["training"]["against_best"]
    assert against["n"] == N_LABELED
    assert report["best_round"] == 1
    if against.get("refused"):
        assert "student_not_used" in [found["code"] for found in report["warnings"]]
    else:
        assert report["rounds"][0]["trained_on"] == 3000
        assert report["final"]["oof"]["log_loss"] < report["seed"]["oof"]["log_loss"]


WORSE = {"estimator": "DecisionTreeClassifier", "params": {"max_depth": 1}}


def test_worse_student_is_not_used(spark: SparkSession, data: Path, tmp_path: Path) -> None:
    rule = {"policy": "threshold", "threshold": 0.9}
    sections: dict[str, Any] = {"teacher": {"committee": SMALL}, "model": WORSE, "selection": rule}
    report = report_of(spark, data, tmp_path / "out", **sections)
    assert (report["termination_condition"], report["best_round"]) == ("oof_drop", 0)
    assert not report["rounds"][0]["used"]
    assert report["rounds"][0]["accepted"] > 0 == len(labels_of(tmp_path / "out"))
    assert report["final"]["model"] == "model-0001"
    assert "student_not_used" in [found["code"] for found in report["warnings"]]


def test_certified_labels_stand_without_the_student(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    report = report_of(spark, data, tmp_path, model={**LOGISTIC, "student": WORSE})
    assert report["certificate"]["claimed"]
    assert report["rounds"][0]["used"]
    assert len(labels_of(tmp_path)) == report["rows"]["accepted"] > 0
    assert report["final"]["oof"] == report["seed"]["oof"]
    assert "student_not_used" in [found["code"] for found in report["warnings"]]


@pytest.mark.parametrize("policy", ["flexmatch", "freematch"])
def test_class_thresholds_decide_new_rows(
    spark: SparkSession, data: Path, tmp_path: Path, policy: str
) -> None:
    rule = {"selection": {"policy": policy}, "rounds": {"max": 1}, **UNMEASURED}
    report = report_of(spark, data, tmp_path / "out", **rule)
    assert report["rows"]["accepted"] > 0
    new = new_labels(spark, data, tmp_path)
    cuts = new["label"].map(report["rounds"][0]["threshold_by_class"])
    assert new["accepted"].equals(new["confidence"] >= cuts)


def test_shifted_pool_is_told_before_it_is_scored(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    pool = pd.read_parquet(data / "pool.parquet").merge(pd.read_parquet(data / "truth.parquet"))
    pool["x0"] += 10
    write(tmp_path, pd.read_parquet(data / "labeled.parquet"), pool)
    told: list[str] = []

    class Listener(SilentEvents):
        def event(self, name: str, **fields: Any) -> None:
            told.append(fields["code"] if name == "warning" else name)

    done = run(spark, parse_config(config(tmp_path, tmp_path / "out")), events=Listener())
    assert told.index("shift") < told.index("round")
    (warning,) = [found for found in done.report.warnings if found.code == "shift"]
    assert "x0 (PSI" in warning.message
    assert "nothing is certified" in warning.message
    certificate = done.report.certificate
    assert certificate is not None
    assert not certificate.claimed
    assert certificate.refused in ("shift", "drawn_per_class")  # predictions move, too
    assert done.report.termination_condition == "not_certified"
    assert labels_of(tmp_path / "out").empty
    assert "Certified" not in render_text(done.report).replace("Not certified", "")


def read_model_manifest(out: Path, number: int) -> dict[str, Any]:
    (path,) = out.rglob(f"model-{number:04d}.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


TAUGHT_ROWS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"top": 0.4}, {"policy": "percentile", "step": 0.4}),
    ({"threshold": 0.8}, {"policy": "threshold", "threshold": 0.8}),
]


@pytest.mark.parametrize(("rows", "rule"), TAUGHT_ROWS)
def test_labels_show_what_they_weighed_in_the_final_fit(
    spark: SparkSession,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: dict[str, Any],
    rule: dict[str, Any],
) -> None:
    fitted: dict[int, float] = {}

    def remember(labeled: Any, pseudo: Any, *rest: Any) -> Any:
        if pseudo is not None:
            fitted.update(zip(pseudo.column("id").to_pylist(), rest[3].tolist(), strict=True))
        return training_rows(labeled, pseudo, *rest)

    monkeypatch.setattr(trainers, "training_rows", remember)
    # What is looked at is the weights; the student need not be better than its teacher.
    monkeypatch.setattr(fit, "compare", lambda *rows: replace(compare(*rows), usable=True))
    sections = {
        "teacher": {"committee": [LOGISTIC]},
        "selection": {"policy": "threshold", "threshold": 0.7},
        "validation": {"fraction": 0.2},
        "training": {
            "rows": rows,
            "pseudo_weight": "softmatch",
            "max_pseudo_weight": 2,
            "max_rows": 800,
        },
    }
    report = report_of(spark, data, tmp_path / "out", **sections)
    assert report["best_round"] == 1
    assert math.fsum(fitted.values()) <= 2 * report["rows"]["labeled"] * (1 + 1e-9)
    labels = labels_of(tmp_path / "out")
    assert labels["weight"].tolist() == [fitted.get(one, 0.0) for one in labels["id"]]
    assert labels["weight"].gt(0).any()
    training = pd.read_parquet(tmp_path / "out" / "training").query("source == 'pseudo'")
    merged = training.merge(labels, on="id")
    assert (merged["weight_x"] == merged["weight_y"]).all()
    (manifest,) = (tmp_path / "out").rglob("round-0001.json")
    kept = json.loads(manifest.read_text())
    assert kept["taught_plan"]["rule"] == rule
    taught = pd.concat(pd.read_parquet(tmp_path / "out" / one["path"]) for one in kept["taught"])
    scored = pd.concat(pd.read_parquet(tmp_path / "out" / one["path"]) for one in kept["scored"])
    if "top" in rows:
        best = scored.sort_values(["spl_confidence", "id"], ascending=[False, True])
        expected = best["id"][: 4 * len(scored) // 10]
    else:
        expected = scored.loc[scored["spl_confidence"] > 0.8, "id"]
    assert set(taught["id"]) == set(expected)


def test_student_is_measured_with_the_weights_it_is_fitted_with(
    spark: SparkSession, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def at_fit(*given: Any) -> Any:
        seen["fit"] = given[5]
        return training_rows(*given)

    def at_guard(*given: Any, **named: Any) -> Any:
        seen["guard"] = given[4]
        return cross_fit_student(*given, **named)

    monkeypatch.setattr(trainers, "training_rows", at_fit)
    monkeypatch.setattr(out_of_fold, "cross_fit_student", at_guard)
    training = {"rows": "all", "pseudo_weight": "softmatch", "max_pseudo_weight": 1}
    training |= {"labels": "soft", "max_rows": 1200}
    sections = {"teacher": {"committee": [LOGISTIC]}, "training": training}
    report_of(spark, data, tmp_path / "out", **sections)
    np.testing.assert_array_equal(seen["guard"], seen["fit"])
    assert 0 < seen["fit"].min() < seen["fit"].max()
    assert seen["fit"].sum() == pytest.approx(N_LABELED)


def test_wrong_given_labels_are_listed_and_left_alone(spark: SparkSession, tmp_path: Path) -> None:
    X, y = make_classification(
        1500,
        8,
        n_informative=8,
        n_redundant=0,
        n_clusters_per_class=1,
        class_sep=3,
        flip_y=0,
        random_state=0,
    )
    rows = pd.DataFrame(X, columns=[f"x{i}" for i in range(8)])
    rows["y"], rows["id"] = np.where(y, "yes", "no"), np.arange(len(rows))
    labeled = rows[:N_LABELED].copy()
    wrong = labeled.index[::12]
    labeled.loc[wrong, "y"] = labeled.loc[wrong, "y"].map({"yes": "no", "no": "yes"})
    write(tmp_path, labeled, rows[N_LABELED:])
    report = report_of(spark, tmp_path, tmp_path / "out", selection={**CERTIFIED, "precision": 0.8})
    found = report["given_labels"]
    assert report["paths"]["suspects"].endswith(f"/{found['file']}")
    listed = pd.read_parquet(report["paths"]["suspects"])
    assert list(listed.columns) == ["id", "given", "suggested", "p_given", "p_suggested"]
    assert len(listed) == found["suspicious"] >= 0.8 * len(wrong)
    assert listed["id"].isin(wrong).mean() >= 0.9
    assert [one["id"] for one in found["first"]] == listed["id"].head(10).tolist()
    assert [one["given"] for one in found["first"]] == listed["given"].head(10).tolist()
    assert "suspicious_labels" in [warning["code"] for warning in report["warnings"]]
    assert f"another label for {found['suspicious']} of 300" in render_text(report)
    given = pd.read_parquet(tmp_path / "out" / "training").query("source == 'labeled'")
    assert (
        given.set_index("id")["label"]
        .sort_index()
        .equals(labeled.set_index("id")["y"].rename("label"))
    )
    assert check_output(str(tmp_path / "out"), deep=True).ok
    (file,) = (tmp_path / "out").rglob("suspects.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    assert not check_output(str(tmp_path / "out")).ok
