"""A configuration file asks Spark for sizes, speed and storage; code is asked for by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.config import load_config, parse_config
from spark_pseudolabel.config.trust import problem_of_query, refused_settings
from spark_pseudolabel.errors import ConfigError

SECTIONS = "labeled: {path: a, label: y}\nunlabeled: {path: b}\noutput: {path: out}\nid: i\n"

CODE = [
    "spark.archives",
    "spark.driver.defaultJavaOptions",
    "spark.driver.extraClassPath",
    "spark.driver.extraJavaOptions",
    "spark.driver.extraLibraryPath",
    "spark.executor.extraJavaOptions",
    "spark.executor.resource.gpu.discoveryScript",
    "spark.executorEnv.LD_PRELOAD",
    "spark.executorEnv.PYTHONPATH",
    "spark.extraListeners",
    "spark.files",
    "spark.hadoop.fs.azure.shellkeyprovider.script",
    "spark.hadoop.fs.evil.impl",
    "spark.hadoop.fs.s3a.aws.credentials.provider",
    "spark.hadoop.net.topology.script.file.name",
    "spark.jars",
    "spark.jars.ivySettings",
    "spark.jars.packages",
    "spark.jars.repositories",
    "spark.kubernetes.container.image",
    "spark.master",
    "spark.metrics.conf",
    "spark.plugins",
    "spark.pyspark.python",
    "spark.python.daemon.module",
    "spark.python.worker.module",
    "spark.redaction.regex",
    "spark.shuffle.manager",
    "spark.sql.catalog.x",
    "spark.sql.extensions",
    "spark.sql.hive.metastore.jars",
    "spark.sql.queryExecutionListeners",
    "spark.submit.pyFiles",
    "spark.ui.filters",
    "spark.yarn.appMasterEnv.PYTHONPATH",
]
TUNING = {
    "fs.azure.account.key.me.dfs.core.windows.net": "secret",
    "spark.authenticate": "true",
    "spark.driver.maxResultSize": "2g",
    "spark.driver.memory": "4g",
    "spark.executor.memoryOverheadFactor": "0.2",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.hadoop.fs.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem",
    "spark.hadoop.fs.s3a.aws.credentials.provider": (
        "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider,"
        "software.amazon.awssdk.auth.credentials.InstanceProfileCredentialsProvider"
    ),
    "spark.hadoop.fs.s3a.committer.name": "magic",
    "spark.hadoop.fs.s3a.secret.key": "secret",
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "1",
    "spark.kryoserializer.buffer.max": "64m",
    "spark.network.timeout": "300s",
    "spark.speculation": "true",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.adaptive.skewJoin.skewedPartitionFactor": "3",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.sql.files.maxPartitionBytes": "1000000",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.shuffle.partitions": "8",
    "spark.ssl.keyStorePassword": "secret",
    "spark.task.maxFailures": "4",
    "spark.ui.enabled": "false",
}


def test_settings_behind_which_code_can_stand_are_refused_in_a_file(tmp_path: Path) -> None:
    text = "".join(f"    {key}: com.evil.X\n" for key in CODE)
    (tmp_path / "c.yaml").write_text(f"{SECTIONS}spark:\n  conf:\n{text}")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.yaml")
    told = {problem.key: (problem.line, problem.message) for problem in caught.value.problems}
    assert list(told) == [f"spark.conf.{key}" for key in CODE]
    assert [line for line, _ in told.values()] == list(range(7, 7 + len(CODE)))
    assert all(f"--set {key}=" in message for key, (_, message) in told.items())


def test_settings_of_size_speed_and_storage_are_taken() -> None:
    assert list(refused_settings(TUNING)) == []


def test_whoever_types_a_command_or_writes_a_program_may_set_anything(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SECTIONS)
    typed = load_config(tmp_path / "c.yaml", ["spark.conf.spark.jars.packages=a:b:1"])
    assert typed.spark.conf == {"spark.jars.packages": "a:b:1"}
    sections = {"labeled": {"path": "a", "label": "y"}, "unlabeled": {"path": "b"}}
    conf = {"output": {"path": "out"}, "spark": {"conf": {"spark.jars": "a.jar"}}}
    assert parse_config({**sections, **conf}).spark.conf == {"spark.jars": "a.jar"}


@pytest.mark.parametrize(
    "query",
    [
        "select reflect('java.lang.Runtime', 'exec', 'x')",
        "SELECT Java_Method('a', 'b')",
        "select `reflect`('a', 'b')",
        "select system.builtin.try_reflect ('a', 'b')",
        "select reflect/* */('a', 'b')",
        r"select r'\', reflect('a', 'b'), '\' from t",
        "select identifier('ref' || 'lect')('a', 'b')",
        "select identifier /* */ ('reflect')('a', 'b')",
        "select ${spark.app.name} from t",
        "select transform(a) using 'sh -c x' as (b) from t",
        "from t map a using r'sh' as b",
        "select transform(a) using -- (\n 'sh' from t",
        "with a as (select 1) insert into t select * from a",
        "from t insert overwrite u select *",
        "drop table t",
        "/* select */ create function f as 'evil.F' using jar 'x.jar'",
        "execute immediate 'select 1'",
        "add jar 'https://evil/a.jar'",
        "begin select 1; end",
        "",
    ],
)
def test_a_query_that_is_no_select_or_could_run_code_is_refused(query: str) -> None:
    assert problem_of_query(query)


@pytest.mark.parametrize(
    "query",
    [
        "select * from other_rows where id >= 110",
        "-- mine\n  (SELECT a, `b c` FROM db.t JOIN u USING (id))",
        "with t as (select 1 as a) select transform(array(a), x -> x + 1) from t",
        "from t |> where a > 1",
        "table t",
        "select reflection, user_identifier from t",
    ],
)
def test_a_query_that_reads_rows_is_taken(query: str) -> None:
    assert problem_of_query(query) is None


def test_a_refused_query_is_told_with_its_key() -> None:
    sections = {"unlabeled": {"path": "b"}, "output": {"path": "out"}, "id": "i"}
    labeled = {"query": "select reflect('a', 'b')", "label": "y"}
    with pytest.raises(ConfigError, match=r"labeled.*'reflect', which can run code"):
        parse_config({**sections, "labeled": labeled})
