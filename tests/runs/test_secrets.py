"""Planted secrets reach nothing that this package writes: manifests, documents, messages, logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spark_pseudolabel.cli import main
from spark_pseudolabel.config import Config, identity, load_config, public
from spark_pseudolabel.errors import ConfigError, InputError, Problem
from spark_pseudolabel.progress import sentence
from spark_pseudolabel.report.document import ErrorDocument, Report, document
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.report.text import render_text
from spark_pseudolabel.store.facts import StoredReport
from spark_pseudolabel.store.store import RoundStore
from tests.report.builders import make_paths, make_report
from tests.store.builders import add_model, begin, ended, frozen, tree

N_SECRETS = 14
SECRETS = [f"hunter{number:02d}hunter" for number in range(N_SECRETS)]
(
    S3_KEY, AZURE_KEY, KEYSTORE, USERINFO, SAS, OUTPUT, ACCOUNT_KEY, PASSWORD, JDBC, CONNECTION,
    HEADER, ENVIRONMENT, MASTER, API,
) = SECRETS  # fmt: skip

POOL = f"abfss://pool@account.dfs.core.windows.net/rows?sv=2024&sig={SAS}&se=2030"
OUT = f"s3a://AKIA:{OUTPUT}@bucket/out"
CONF = f"""
labeled:
  path: "s3a://AKIA:{USERINFO}@bucket/labeled"
  format: csv
  label: y
  options: {{password: {PASSWORD}, url: "jdbc:postgresql://db/x?user=me&password={JDBC}", sep: ";"}}
unlabeled:
  path: "{POOL}"
  format: csv
  options: {{header: "true", connectionString: "Endpoint=sb://x;SharedAccessKey={CONNECTION}"}}
test:
  path: "wasb://x@y/truth;AccountName=me;AccountKey={ACCOUNT_KEY}"
  format: csv
  options: {{api-key: {API}, proxyBearer: {HEADER}}}
id: row_id
output: {{path: "{OUT}"}}
spark:
  master: "spark://me:{MASTER}@host:7077"
  conf:
    spark.hadoop.fs.s3a.secret.key: {S3_KEY}
    fs.azure.account.key.me.dfs.core.windows.net: {AZURE_KEY}
    spark.ssl.keyStorePassword: {KEYSTORE}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ENVIRONMENT)
    (tmp_path / "conf.yaml").write_text(CONF)
    return load_config(tmp_path / "conf.yaml")


def _leaked(*texts: str) -> list[str]:
    return [secret for secret in SECRETS for text in texts if secret in text]


def test_the_secrets_are_planted() -> None:
    assert len(_leaked(CONF)) == N_SECRETS - 1  # one stands in the environment


def _finished(root: Path, config: Config) -> RoundStore:
    """Run to an end whose manifests, report and frozen inputs were all given the secrets."""
    paths = [getattr(config, name).path for name in ("labeled", "unlabeled", "test")]
    inputs = frozen(*((path, 1, 1) for path in paths))
    store = begin(root, identity=identity(config), inputs=inputs)
    assert config.spark.master is not None
    store.spark = {"master": config.spark.master, "app_id": "app-1", **config.spark.conf}
    add_model(store)
    report = StoredReport.of(_report(config))
    end = ended(best_round=0).model_copy(update={"report": report})
    store.commit_final(store.new_attempt("final", 0), end)
    return store


def _report(config: Config) -> dict[str, Any]:
    own = {
        "config": public(config),
        "paths": make_paths(config.output.path),
        "environment": {"spark_master": config.spark.master},
    }
    return document(Report, make_report() | own)


def test_nothing_stored_holds_a_secret(tmp_path: Path, config: Config) -> None:
    store = _finished(tmp_path / "out", config)
    stored = tree(Path(store.root))
    assert any("config.json" in name for name in stored)
    assert _leaked(*(data.decode(errors="replace") for data in stored.values())) == []


def test_no_report_and_no_document_holds_a_secret(config: Config) -> None:
    report = _report(config)
    assert "sig=(secret)" in json.dumps(report)
    assert _leaked(json.dumps(report), render_text(report), render_html(report)) == []


def test_no_message_and_no_line_of_the_log_holds_a_secret(config: Config) -> None:
    error = InputError(f"{config.labeled.path!r} is not there ({POOL}).", where=OUT)
    assert config.test is not None
    problems = ConfigError([Problem("test.path", f"Got {config.test.path!r}.")])
    documents = [json.dumps(ErrorDocument.of(each).as_json()) for each in (error, problems)]
    said = [str(error), str(problems), *documents]
    lines = [sentence("done", {"out": OUT}), sentence("at", {"master": config.spark.master})]
    assert _leaked(*said, *lines) == []


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_no_command_says_a_secret(debug: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["status", f"nowhere://AKIA:{OUTPUT}@bucket/out?sig={SAS}", *debug])
    out, err = capsys.readouterr()
    assert "nowhere://(secret)@bucket" in err
    assert _leaked(out, err) == []


def test_a_new_token_does_not_make_another_run(tmp_path: Path, config: Config) -> None:
    first = _finished(tmp_path / "out", config)
    text = CONF.replace(SAS, "another-token").replace(USERINFO, "another-key")
    (tmp_path / "conf.yaml").write_text(text)
    again = load_config(tmp_path / "conf.yaml")
    assert begin(tmp_path / "out", identity=identity(again), inputs=first.inputs).final is not None
