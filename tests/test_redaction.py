from __future__ import annotations

import pytest

from spark_pseudolabel.redaction import SECRET, redacted, redacted_text


@pytest.mark.parametrize(
    "plain",
    [
        "abfss://container@account.dfs.core.windows.net/rows",
        "hdfs://host:8020/user/me@home/rows",
        "select * from t where token = 5 and password_age=3",
        "s3a://bucket/tokens/part=1?version=2",
        "/data/it's",
        "",
    ],
)
def test_what_is_no_secret_stays(plain: str) -> None:
    assert redacted(plain) == plain
    if "password" not in plain:
        assert redacted_text(plain) == plain


def test_documents_keep_their_shape() -> None:
    given = {"a": [1, None, True, 0.5, "x"], "b": {"password": 3}}
    assert redacted(given) == given


@pytest.mark.parametrize(
    "key",
    [
        "spark.hadoop.fs.s3a.secret.key",
        "fs.azure.account.key.me.dfs.core.windows.net",
        "fs.azure.sas.container.account",
        "spark.ssl.keyPassword",
        "api-key",
        "connectionString",
        "sfPwd",
    ],
)
def test_spark_is_told_which_of_its_settings_are_secret(key: str) -> None:
    assert SECRET.search(key)


def test_a_line_keeps_what_is_around_a_secret() -> None:
    pool = "abfss://pool@account.dfs.core.windows.net/rows?sv=2024&sig=hunter&se=2030"
    assert redacted_text(f"reading {pool} now\n").endswith("?sv=2024&sig=(secret)&se=2030 now\n")
