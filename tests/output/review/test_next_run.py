"""Answers as given labels of the next run: learned from, and never measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.columns import FOLD
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import ConfigError, InputError
from spark_pseudolabel.job import run
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.store import RoundStore
from tests.output.review.builders import command, plain, table

Capsys = pytest.CaptureFixture[str]


def config(reviewed: Path, out: str, target: Path, **sections: Any) -> dict[str, Any]:
    given = {"path": str(reviewed / "labeled.parquet"), "label": "y"}
    return {
        "labeled": [given, {"reviews": out}],
        "unlabeled": {"path": str(reviewed / "pool")},
        "id": "id",
        "model": {"estimator": "LogisticRegression"},
        "output": {"path": str(target)},
        **sections,
    }


def test_answers_are_learned_from_and_no_row_of_a_certificate(
    spark: SparkSession,
    reviewed_run: Path,
    out: str,
    tmp_path: Path,
    capsys: Capsys,
    truth: dict[str, str],
) -> None:
    undecided, labels = table(out, "undecided")["id"].tolist(), table(out, "labels")["id"].tolist()
    ids = [*undecided[:20], *labels[:5]]
    rows = [(row, truth[row]) for row in ids] + [(undecided[21], "?")]
    command(capsys, "import", out, "--answers", plain(tmp_path / "a.csv", rows))
    target = tmp_path / "next"
    certified = {"policy": "certified", "precision": 0.7, "certainty": 0.5}
    run(spark, parse_config(config(reviewed_run, out, target, selection=certified)))
    training = table(str(target), "training").set_index("id")
    assert (training.loc[ids, "source"] == "labeled").all()
    assert training.loc[ids, "label"].tolist() == [truth[row] for row in ids]
    rest = [table(str(target), name)["id"] for name in ("labels", "undecided", "invalid")]
    left = pd.concat(rest).tolist()
    assert len(left) == len(set(left)) == len(truth) - 60 - len(ids)
    assert not set(left) & set(ids)
    store = RoundStore.open(LocalFiles(), str(target))
    entry = store.models[0].oof_scores
    assert entry is not None
    folds = read_bytes(store.read_file(entry)).to_pandas().set_index("id")[FOLD]
    assert len(folds) == 60 + len(ids)
    assert (folds[ids] == -1).all()
    assert (folds.drop(ids) >= 0).all()
    certificate = store.rounds[0].certificate
    assert certificate is not None
    assert certificate.n_calibration <= 60
    assert check_output(str(target), deep=True).ok


def test_validation_rows_are_drawn_from_the_given_ones(
    spark: SparkSession,
    reviewed_run: Path,
    out: str,
    tmp_path: Path,
    capsys: Capsys,
    truth: dict[str, str],
) -> None:
    undecided = table(out, "undecided")["id"].tolist()[:30]
    given = pd.read_parquet(reviewed_run / "labeled.parquet").iloc[0]
    store = RoundStore.open(LocalFiles(), out)
    assert store.settings.id == "id"
    # An answer about a row that the next run has a given label for.
    rows = [(row, truth[row]) for row in undecided]
    command(capsys, "import", out, "--answers", plain(tmp_path / "a.csv", rows))
    target = tmp_path / "next"
    threshold = {"policy": "threshold", "threshold": 0.9}
    more = pd.read_parquet(reviewed_run / "labeled.parquet")
    pool = pd.concat(pd.read_parquet(path) for path in (reviewed_run / "pool").iterdir())
    also = pool[pool["id"] == undecided[0]].assign(
        y={"no": "<yes>", "<yes>": "no"}[truth[undecided[0]]]
    )
    pd.concat([more, also]).to_parquet(tmp_path / "labeled.parquet", index=False)
    sections = config(reviewed_run, out, target, selection=threshold, rounds={"max": 1})
    sections["labeled"][0]["path"] = str(tmp_path / "labeled.parquet")
    sections["unlabeled"]["drop_labeled"] = True
    report = run(spark, parse_config(sections)).report
    assert report.rows.validation == round(0.2 * 61)
    assert report.rows.labeled == 61 - report.rows.validation + 29
    assert "answers_differ" in [notice.code for notice in report.warnings]
    assert given["id"] in truth


def test_an_output_without_answers_is_refused(
    spark: SparkSession, reviewed_run: Path, out: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="None were imported"):
        run(spark, parse_config(config(reviewed_run, out, tmp_path / "next")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": None}, "needs id"),
        ({"output": {"path": "out"}}, "must be the output of another run"),
        ({"labeled": [{"reviews": "out"}]}, "first a table with label"),
        ({"labeled": [{"path": "a.parquet", "label": "y"}, {"path": "b"}]}, "first a table"),
        ({"mode": "sklearn"}, "knows one table"),
    ],
)
def test_a_list_of_labeled_tables_says_what_it_may_hold(change: dict[str, Any], said: str) -> None:
    sections = config(Path("."), "out", Path("next")) | change
    with pytest.raises(ConfigError, match=said):
        parse_config(sections)
