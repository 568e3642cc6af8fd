"""Both backends give the same labels: the direct scan, and Arrow batches out of a DataFrame."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.datasets import load_digits

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core import parts as splits
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.kernel import make_scorer
from spark_pseudolabel.core.parts import parts_of
from spark_pseudolabel.core.teachers import preprocessing
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import loop, run
from spark_pseudolabel.registry import REGISTRY
from spark_pseudolabel.spark.direct import source, survey
from spark_pseudolabel.spark.direct.tasks import score_piece
from spark_pseudolabel.spark.frame.scoring import broadcast, score_rows
from tests.core.registry_rows import EXTRAS, MIXED, N, fitted, mixed_rows

N_LABELED = 120
N_TEST = 200


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let several tasks share a pool of a thousand rows and more."""
    monkeypatch.setattr(survey, "parts_of", partial(parts_of, max_rows=800))
    monkeypatch.setattr(splits, "MIN_PIECE_ROWS", 350)


@pytest.fixture(scope="module")
def digits() -> pd.DataFrame:
    data = load_digits()
    rows = pd.DataFrame(data.data[:, 10:40], columns=[f"p{i}" for i in range(30)])
    rows["digit"] = data.target
    rows["id"] = np.random.default_rng(0).permutation(len(rows))
    return rows


def write(
    digits: pd.DataFrame,
    directory: Path,
    *,
    one_table: bool = False,
    with_labeled: bool = False,
    with_nulls: bool = False,
    names: Sequence[str] = ("0", "1"),
) -> dict[str, Any]:
    """Write the tables, the pool as two files of small row groups; return the paths' sections."""
    labeled, test = digits[:N_LABELED], digits[-N_TEST:]
    pool = digits[:-N_TEST] if with_labeled else digits[N_LABELED:-N_TEST]
    if with_nulls:  # which pandas writes without a type
        labeled = labeled.assign(nowhere=None, word="a", number=None)
        pool = pool.assign(nowhere=None, word=None, number=0.5)
        test = test.assign(nowhere=None, word="b", number=1.0)
    sections: dict[str, Any] = {"test": {"path": str(directory / "test.parquet")}}
    test.to_parquet(directory / "test.parquet", index=False)
    if one_table:
        pool = digits[:-N_TEST].astype({"digit": "Int64"})
        pool.loc[N_LABELED:, "digit"] = pd.NA
        sections["unlabeled"] = {"from": "labeled"}
        sections["labeled"] = {"path": str(directory / "pool"), "label": "digit"}
    else:
        pool = pool.drop(columns="digit")
        labeled.to_parquet(directory / "labeled.parquet", index=False)
        sections["unlabeled"] = {"path": str(directory / "pool")}
        sections["labeled"] = {"path": str(directory / "labeled.parquet"), "label": "digit"}
    (directory / "pool").mkdir()
    for number, name in enumerate(names):
        rows = pa.Table.from_pandas(pool[number::2], preserve_index=False)
        pq.write_table(rows, directory / "pool" / f"{name}.parquet", row_group_size=70)
    return sections


LOGISTIC = {"model": {"estimator": "LogisticRegression"}, "rounds": {"max": 2}}
TABLES = ("labels", "undecided", "training", "invalid", "suspects")
CASES: dict[str, dict[str, Any]] = {
    "soft labels, all columns, a pool with labeled rows": {
        **LOGISTIC,
        "id": "id",
        "unlabeled": {"drop_labeled": True},
        "training": {"labels": "soft", "pseudo_weight": "confidence"},
        "output": {"features": True, "probabilities": True},
    },
    "ties without ids, files with names that URLs escape": {
        "model": {"estimator": "DecisionTreeClassifier", "params": {"max_depth": 4}},
        "selection": {"policy": "k_best", "k": 170},
        "rounds": {"max": 2},
    },
    "curriculum in one table": {
        **LOGISTIC,
        "id": "id",
        "selection": {"policy": "percentile", "step": 0.4},
        "rounds": {"max": 2, "relabel": True},
    },
    "a student of the surer half": {
        "teacher": {"graph": "anchors", "anchors": 60},
        "model": {"estimator": "LogisticRegression"},
        "validation": {"fraction": 0.2},
        "id": "id",
        "training": {
            "rows": {"top": 0.5},
            "pseudo_weight": "softmatch",
            "max_pseudo_weight": 2,
            "max_rows": 500,
        },
        "selection": {"policy": "threshold", "threshold": 0.6},
    },
}


def _in_utc(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose moments are of one type: this session leaves theirs to Spark."""
    moments = table.select_dtypes(["datetime", "datetimetz"]).columns
    return table.assign(**{name: pd.to_datetime(table[name], utc=True) for name in moments}).astype(
        dict.fromkeys(moments, "datetime64[us, UTC]")
    )


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long) if "student" in n else n for n in CASES]
)
def test_labels_are_the_same(
    spark: SparkSession, digits: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    if "all columns" in name:
        at = pd.Timestamp("2024-06-01", tz="UTC") + pd.to_timedelta(digits["id"], "min")
        digits = digits.assign(at=at.astype("datetime64[us, UTC]"), day=at.dt.date)
    paths = write(
        digits,
        tmp_path,
        one_table="one table" in name,
        with_labeled="with labeled rows" in name,
        with_nulls="all columns" in name,
        names=("a b+c", "50%für") if "escape" in name else ("0", "1"),
    )
    outcomes = {scan: outcome(spark, tmp_path, CASES[name], paths, scan) for scan in SCANS}
    direct, through_spark = (outcomes[scan] for scan in SCANS)
    for table in TABLES:
        pd.testing.assert_frame_equal(_in_utc(direct[table]), _in_utc(through_spark[table]))
    rows = direct["report"]["rows"]
    assert len(direct["undecided"]) == rows["rejected"] + rows["abstained"]
    assert set(direct["undecided"]["reason"]) <= {"below_cut", "abstained"}
    assert len(direct["labels"]) > 0
    if "escape" in name:
        files = pd.concat([direct["labels"]["file"], direct["undecided"]["file"]])
        assert set(files) == {"a b+c.parquet", "50%für.parquet"}
    for key in ("rounds", "seed", "final", "rows"):
        assert without_seconds(direct["report"][key]) == without_seconds(
            through_spark["report"][key]
        )
    assert direct["content"] == through_spark["content"]
    if CASES[name].get("rounds", {}).get("relabel"):
        (flips,) = [one["flips"] for one in direct["report"]["rounds"] if one["flips"]]
        assert flips == flips_of(*direct["accepted"])
        assert flips["kept"] > 0


SCANS = ("auto", "spark")


def outcome(
    spark: SparkSession, tmp_path: Path, case: dict[str, Any], paths: dict[str, Any], scan: str
) -> dict[str, Any]:
    out = tmp_path / f"out-{scan}"
    settings = {
        **case,
        "labeled": paths["labeled"],
        "unlabeled": {**paths["unlabeled"], **case.get("unlabeled", {}), "scan": scan},
        "test": paths["test"],
        "output": {**case.get("output", {}), "path": str(out)},
    }
    report = run(spark, parse_config(settings)).report.as_json()
    names = [settings["id"]] if "id" in settings else ["file", "row_index"]
    tables = {
        table: pd.read_parquet(out / table)
        .sort_values(names, ignore_index=True)
        .pipe(lambda rows: rows[sorted(rows.columns)])
        for table in TABLES
    }
    manifests = [
        json.loads(path.read_text()) for path in sorted((out / "_commits").rglob("round-*.json"))
    ]
    content = [manifest["content"] for manifest in manifests]
    models = [json.loads(path.read_text()) for path in (out / "_commits").rglob("model-*.json")]
    (reference,) = {json.dumps(model["training"]["reference"]) for model in models}
    content.append(json.loads(reference))
    accepted = [
        pd.concat([pd.read_parquet(out / entry["path"]) for entry in manifest["accepted"]])
        for manifest in manifests
    ]
    return {"report": report, "content": content, "accepted": accepted, **tables}


def flips_of(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, int]:
    """Compare the accepted rows of two rounds, by id."""
    both = before.merge(after, on="id")
    same = int((both["spl_code_x"] == both["spl_code_y"]).sum())
    return {
        "kept": same,
        "changed": len(both) - same,
        "added": len(after) - len(both),
        "dropped": len(before) - len(both),
    }


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k != "seconds"}
    if isinstance(value, float):  # sums over rows come in another order
        return pytest.approx(value, rel=1e-9)
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


@pytest.mark.filterwarnings("ignore:The `probability` parameter was deprecated")
def test_every_estimator_scores_alike_on_both_backends(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The full width takes a second per condensed text.
    monkeypatch.setattr(preprocessing, "_HASHED_WORDS", 2**9)
    rows = pa.Table.from_batches([mixed_rows().append_column("id", pa.array(range(N)))])
    pq.write_table(rows, tmp_path / "pool.parquet")
    size = (tmp_path / "pool.parquet").stat().st_size
    part = splits.Part(0, (splits.RowGroup("pool.parquet", size, 0, 0, N, 1),))
    files = source.PartSource(str(tmp_path), ("id",), tuple(feature.name for feature in MIXED))
    frame = spark.read.parquet(str(tmp_path / "pool.parquet"))
    expected, scored = {}, []
    with ExitStack() as held:
        for name in REGISTRY:
            if name in EXTRAS:
                pytest.importorskip(EXTRAS[name])
            scorer = make_scorer(fitted(name, MIXED, mixed_rows()), MIXED, ("id",))
            scorer = replace(scorer, probabilities=True)
            done = score_piece(splits.Piece(part, 0, 0, N), files, scorer, 1, str(tmp_path / name))
            (written,) = done.files
            expected[name] = pd.read_parquet(tmp_path / name / written.name)
            shared = held.enter_context(broadcast(spark.sparkContext, scorer))
            scored.append(score_rows(frame, shared).withColumn("name", F.lit(name)))
        by_spark = reduce(DataFrame.unionByName, scored).toPandas()
    for name, direct in expected.items():
        found = by_spark[by_spark["name"] == name].sort_values("id", ignore_index=True)
        columns = ["id", "spl_code", "spl_confidence", "spl_reason"]
        pd.testing.assert_frame_equal(direct[columns], found[columns])
        P = np.stack(direct["spl_probabilities"].to_list())
        np.testing.assert_array_equal(P, np.stack(found["spl_probabilities"].to_list()))
        np.testing.assert_array_equal(P, np.round(P, 6))  # no digits of single precision


@pytest.mark.parametrize(
    ("first", "second"), [SCANS, pytest.param(*SCANS[::-1], marks=pytest.mark.long)]
)
def test_a_run_goes_on_with_the_other_backend(
    spark: SparkSession,
    digits: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    second: str,
) -> None:
    paths = write(digits, tmp_path)
    case = {**LOGISTIC, "id": "id", "training": {"max_rows": 400}}
    undisturbed = outcome(spark, tmp_path, case, paths, "auto")

    def start(out: Path, backend: str, rounds: int) -> None:
        settings = {**case, **paths, "rounds": {"max": rounds}, "output": {"path": str(out)}}
        with monkeypatch.context() as patch:
            if backend == "spark":  # as on nodes that do not see the output
                patch.setattr(
                    loop, "_probe_file", lambda files, root: nullcontext("/nowhere/at all")
                )
            run(spark, parse_config(settings))

    out = tmp_path / "out"
    start(out, first, 1)
    start(out, second, 2)
    labels = pd.read_parquet(out / "labels").sort_values("id", ignore_index=True)
    pd.testing.assert_frame_equal(labels[sorted(labels.columns)], undisturbed["labels"])


def test_row_groups_with_nothing_left_are_not_read(
    digits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(digits, tmp_path)
    pool = Path(paths["unlabeled"]["path"])
    read: list[int] = []
    batches = source._batches
    monkeypatch.setattr(
        source,
        "_batches",
        lambda file, group, *rest: read.append(group) or batches(file, group, *rest),
    )
    size = (pool / "0.parquet").stat().st_size
    groups = [survey.RowGroup("0.parquet", size, i, 70 * i, 70, 1) for i in range(4)]
    part = survey.Part(0, tuple(groups))
    keep = np.zeros(280, dtype=bool)
    keep[[3, 215]] = True
    rows = list(source.read_part(source.PartSource(str(pool), ("id",), ("p0",)), part, keep=keep))
    assert read == [0, 3]
    assert [p for one in rows for p in one.positions] == [3, 215]


def test_a_file_that_changes_while_it_is_read_is_refused_by_name(
    spark: SparkSession, digits: pd.DataFrame, tmp_path: Path
) -> None:
    paths = write(digits, tmp_path)

    class Change:
        """Listens to a run, and writes to its pool after the first round."""

        def event(self, name: str, **fields: Any) -> None:
            if name == "round":
                path = Path(paths["unlabeled"]["path"]) / "1.parquet"
                digits[:50].drop(columns="digit").to_parquet(path, index=False)

    settings = {**LOGISTIC, "id": "id", **paths, "output": {"path": str(tmp_path / "out")}}
    with pytest.raises(
        InputError, match=r"1\.parquet must not change while a run reads it"
    ) as told:
        run(spark, parse_config(settings), events=listener(Change()))
    assert told.value.exit_code == 3


def listener(listens: Any) -> Any:
    from spark_pseudolabel.progress import SilentEvents

    class Listener(SilentEvents):
        def event(self, name: str, **fields: Any) -> None:
            listens.event(name, **fields)

    return Listener()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("nested", "not a plain directory"),
        ("decimal", "types that are left to Spark"),
    ],
)
def test_what_only_spark_reads_right_is_left_to_it(
    spark: SparkSession, digits: pd.DataFrame, tmp_path: Path, change: str, reason: str
) -> None:
    paths = write(digits, tmp_path)
    pool = Path(paths["unlabeled"]["path"])
    if change == "nested":
        for file in sorted(pool.glob("*.parquet")):
            (pool / f"day={file.stem}").mkdir()
            os.rename(file, pool / f"day={file.stem}" / file.name)
    for number in range(2) if change == "decimal" else ():
        rows = pq.read_table(pool / f"{number}.parquet")
        kind = pa.decimal128(6, 1)
        index = rows.schema.get_field_index("p0")
        rows = rows.set_column(index, "p0", rows.column("p0").cast(kind))
        pq.write_table(rows, pool / f"{number}.parquet")
    heard: list[str] = []

    class Hear:
        def event(self, name: str, **fields: Any) -> None:
            heard.append(fields.get("read_by") or "")

    settings = {
        **LOGISTIC,
        "id": "id",
        **paths,
        "rounds": {"max": 0},
        "features": {"include": ["p0", "p1"]},
        "output": {"path": str(tmp_path / "out")},
    }
    run(spark, parse_config(settings), events=listener(Hear()))
    assert any(reason in said for said in heard)


def test_spark_hashes_alike(spark: SparkSession) -> None:
    texts = ["", "a", "été", "x" * 31, "y" * 32, "z" * 77, None, "12345678", "1234"]
    numbers = [0, -1, 2**62, 5, 6, 7, 8, None, 9]
    rows = pa.table({"text": texts, "number": pa.array(numbers, pa.int64())})
    frame = spark.createDataFrame(rows)
    found = frame.select(F.xxhash64("text", "number", F.lit(3).cast("bigint")).alias("h")).collect()
    assert [row.h for row in found] == xxhash64([rows["text"], rows["number"], 3]).tolist()
