"""``explain --why``: what each feature does to the confidence, without Spark."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.cli import main
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import run
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.report.document import Why
from spark_pseudolabel.report.text import render_explain

N_LABELED, N = 80, 400
FEATURES = ["strong", "weak", "noise", "job"]


@pytest.fixture(scope="module")
def out(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run one round on plain Parquet; the label follows from `strong`, and a little from `weak`."""
    directory = tmp_path_factory.mktemp("why")
    chance = np.random.default_rng(0)
    rows = pd.DataFrame(chance.normal(size=(N, 3)), columns=FEATURES[:3])
    rows["job"] = chance.choice(["cook", "clerk"], N)
    rows["y"] = np.where(2 * rows["strong"] + 0.5 * rows["weak"] > 0, "yes", "no")
    rows["id"] = [f"r{i:03d}" for i in range(N)]
    rows[:N_LABELED].to_parquet(directory / "labeled.parquet", index=False)
    (directory / "pool").mkdir()
    pool = rows[N_LABELED:].drop(columns="y")
    for number in range(2):
        path = directory / "pool" / f"{number}.parquet"
        pool[number::2].to_parquet(path, index=False, row_group_size=30)
    run_in(spark, directory, key="id", rounds=2)
    return str(directory / "out")


def run_in(spark: SparkSession, directory: Path, *, key: str, rounds: int) -> None:
    """Run on the tables of a directory, into its `out`."""
    config = {
        "labeled": {"path": str(directory / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(directory / "pool")},
        "id": key,
        "model": {"estimator": "LogisticRegression"},
        "selection": {"policy": "threshold", "threshold": 0.95},
        "rounds": {"max": rounds},
        "output": {"path": str(directory / "out")},
    }
    run(spark, parse_config(config))


def labels_of(out: str) -> pd.DataFrame:
    return pd.read_parquet(f"{out}/labels").set_index("id")


def why_of(out: str, row_id: str, row_file: Path | None = None) -> Why:
    explained = explain_row(out, row_id, why=True, row_file=row_file and str(row_file))
    assert explained.why is not None
    return explained.why


def values_of(why: Why) -> dict[str, Any]:
    return {effect.feature: effect.value for effect in why.features}


def test_the_confidence_of_the_deciding_round_is_explained(out: str) -> None:
    labels = labels_of(out)
    for number, of_round in labels.groupby("round"):
        row = of_round.iloc[0]
        why = why_of(out, of_round.index[0])
        assert why.model == f"model-{number:04d}"
        assert why.label == row["label"]
        assert why.confidence == why.stored_confidence == row["confidence"]
        assert why.background == 64  # all labeled rows that are not validation rows
        names = [effect.feature for effect in why.features]
        assert sorted(names) == sorted(FEATURES)
        assert names[0] == "strong"
        sizes = [abs(effect.effect) for effect in why.features]
        assert sizes == sorted(sizes, reverse=True)
    assert why_of(out, labels.index[0]) == why_of(out, labels.index[0])


def test_a_rejected_and_a_given_row_are_explained_too(out: str) -> None:
    pool = {f"r{i:03d}" for i in range(N_LABELED, N)}
    rejected = explain_row(out, min(pool - set(labels_of(out).index)), why=True)
    assert rejected.kind == "rejected"
    assert rejected.why is not None
    assert rejected.why.label == rejected.history[-1].label
    assert rejected.why.confidence == rejected.history[-1].confidence
    given = explain_row(out, "r001", why=True)
    assert given.why is not None
    assert given.why.label == given.given_label
    assert given.why.model == given.final_model == rejected.final_model
    with pytest.raises(InputError, match="'nobody' is no labeled row"):
        explain_row(out, "nobody", why=True)


def test_it_takes_no_spark(out: str) -> None:
    code = (
        "import sys; from spark_pseudolabel.output.explain import explain_row; "
        "explained = explain_row(sys.argv[1], sys.argv[2], why=True); "
        "assert explained.why; assert not {'pyspark', 'py4j'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, out, labels_of(out).index[0]], check=True)


def test_features_may_come_from_a_file(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row_id, file = labels_of(out).index[0], tmp_path / "row.json"
    command = ["explain", out, "--id", row_id, "--why", "--row", str(file)]
    known = values_of(why_of(out, row_id))
    file.write_text(json.dumps({**known, "noise": None}))
    assert main([*command, "--output-format", "json"]) == 0
    why = Why.model_validate(json.loads(capsys.readouterr().out)["why"])
    assert values_of(why) == {**known, "noise": None}
    text = render_explain(explain_row(out, row_id, why=True, row_file=str(file)))
    assert "these are not the values that it scored" in text
    assert len(text.splitlines()) <= 40
    for content, message in (
        ("[1]", "holds no object"),
        (json.dumps({"strong": 1}), r"lacks 'job', 'noise', 'weak'"),
        (json.dumps({**known, "strong": "x"}), "another type"),
        ("{", "can't be read"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=message):
            explain_row(out, row_id, why=True, row_file=str(file))
    assert main([*command[:-3], "--row", str(file)]) == 2
    assert "--row goes with --why" in capsys.readouterr().err


def test_what_cant_be_looked_up_is_said_with_what_to_do(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, labeled = Path(out).parent / "pool", Path(out).parent / "labeled.parquet"
    command = ["explain", out, "--id", labels_of(out).index[0], "--why"]
    for path, advice in ((pool, "--row FILE"), (labeled, "output.features: true")):
        path.rename(path.with_suffix(".away"))
        try:
            assert main(command) == 3
        finally:
            path.with_suffix(".away").rename(path)
        assert advice in capsys.readouterr().err
    assert main(command) == 0
    assert "The final model" in capsys.readouterr().out


def test_rows_without_ids_are_found_by_their_place_and_features_in_the_output(
    spark: SparkSession, out: str, tmp_path: Path
) -> None:
    directory = Path(out).parent
    config = {
        "labeled": {"path": str(directory / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(directory / "pool"), "scan": "spark"},
        "features": {"exclude": ["id"]},
        "model": {"estimator": "LogisticRegression"},
        "rounds": {"max": 1},
        "output": {"path": str(tmp_path / "out"), "features": True},
    }
    run(spark, parse_config(config))
    row = pd.read_parquet(tmp_path / "out" / "labels").iloc[-1]
    row_id = f"{row['file']}:{row['row_index']}"
    why = why_of(str(tmp_path / "out"), row_id)
    assert why.confidence == row["confidence"]
    assert values_of(why) == dict(row[FEATURES])
    for name in ("pool", "labeled.parquet"):
        (directory / name).rename(directory / f"{name}.away")
    try:
        from_output = why_of(str(tmp_path / "out"), row_id)
    finally:
        for name in ("pool", "labeled.parquet"):
            (directory / f"{name}.away").rename(directory / name)
    assert from_output == why


def test_an_id_may_be_called_like_a_row_s_place(
    spark: SparkSession, out: str, tmp_path: Path
) -> None:
    directory = Path(out).parent
    for name in ("labeled.parquet", "pool"):
        rows = pd.read_parquet(directory / name).rename(columns={"id": "file"})
        rows.to_parquet(tmp_path / name, index=False)
    run_in(spark, tmp_path, key="file", rounds=1)
    row = pd.read_parquet(tmp_path / "out" / "labels").iloc[-1]
    assert why_of(str(tmp_path / "out"), row["file"]).confidence == row["confidence"]
    given = explain_row(str(tmp_path / "out"), "r001", why=True)
    assert given.why is not None
    assert given.why.label == given.given_label
