"""A session that is started here: its JVM early, its workers warm, SQL when it is asked for."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.spark.startup.session import SessionOnDemand, borrowed, unset

ROOT = Path(__file__).parents[3]
ZONE = "spark.sql.session.timeZone"

# In a process of its own, since the tests share another session; and in a directory of its own,
# from which workers could not import this package.
LOOK = """
import json, sys
from spark_pseudolabel.config import SparkSettings
from spark_pseudolabel.spark.startup.session import get_session, start_early
from spark_pseudolabel.spark.tasking import run_tasks
from tests.spark.startup.test_session import SECRET, command_lines, modules_there

conf = {
    "spark.ui.enabled": "false",
    "spark.driver.memory": "700m",
    "spark.hadoop.fs.s3a.secret.key": SECRET,
    "spark.hadoop.of.us": " \\\\ é=:#\\t€ 😀",
}
settings = SparkSettings(master="local[2]", conf=conf)
start_early(settings)
spark = get_session(settings)
first = run_tasks(spark, modules_there, [("sklearn.linear_model", "pandas")] * 2)
woken = spark._made is not None
zone = spark.conf.get("spark.sql.session.timeZone")
hadoop = spark.sparkContext._jsc.hadoopConfiguration()
spark.sparkContext._jvm.System.out.println("of the JVM")
print(json.dumps({
    "imported": first, "sql woken": woken, "time zone": zone,
    "rows": spark.range(3).count(), "woken by a query": spark._made is not None,
    "secret": hadoop.get("fs.s3a.secret.key"),
    "as given": hadoop.get("of.us") == conf["spark.hadoop.of.us"],
    "memory": spark.sparkContext._jvm.Runtime.getRuntime().maxMemory(),
    "shown to all": [line for line in command_lines() if SECRET in line],
    "zone in SQL": spark.sql("select current_timezone()").collect()[0][0],
}))
spark.stop()
"""


SECRET = "hunter-of-the-session"


def command_lines() -> list[str]:
    """Return what everybody on this machine sees of this process and of those it started."""
    session = os.getsid(0)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(folder.name)) == session:
                found.append((folder / "cmdline").read_bytes().decode(errors="replace"))
    assert any("java" in line for line in found)
    return found


def modules_there(names: tuple[str, ...]) -> list[bool]:
    """Say which modules a worker had before its first task."""
    return [name in sys.modules for name in names]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("session")
    (directory / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(directory / "tmp")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert os.listdir(directory / "tmp") == []  # no log stays behind
    return done.stdout


@pytest.fixture(scope="module")
def told(printed: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return document


def test_workers_have_imported_before_their_first_task(told: dict[str, Any]) -> None:
    assert told["imported"] == [[True, True]] * 2


def test_sql_is_woken_by_what_needs_it(told: dict[str, Any]) -> None:
    assert (told["sql woken"], told["rows"], told["woken by a query"]) == (False, 3, True)


def test_settings_hold_before_and_after(told: dict[str, Any]) -> None:
    assert told["time zone"] == told["zone in SQL"] == "UTC"


def test_settings_reach_the_jvm_and_no_list_of_processes(told: dict[str, Any]) -> None:
    assert told["secret"] == SECRET
    assert told["as given"]
    assert 500 << 20 < told["memory"] < 701 << 20
    assert told["shown to all"] == []


def test_what_the_jvm_prints_is_not_our_output(printed: str) -> None:
    assert "of the JVM" not in printed


def test_a_session_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(builder: Any) -> None:
        raise AttributeError("no catalog")

    context = SimpleNamespace(version="4", _jvm=None)
    session = SessionOnDemand(cast(SparkContext, context))
    monkeypatch.setattr(SparkSession.Builder, "getOrCreate", broken)
    with pytest.raises(AttributeError, match="no catalog"):
        session.read  # noqa: B018  looking is enough


@pytest.fixture
def lent(spark: SparkSession) -> Iterator[SparkSession]:
    """A session that its owner has set up in a way of his own."""
    before = spark.conf.get(ZONE)
    spark.conf.set(ZONE, "America/New_York")
    spark.sparkContext.setJobGroup("mine", "my jobs")
    yield spark
    spark.conf.set(ZONE, str(before))
    for key in ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel"):
        spark.sparkContext.setLocalProperty(key, cast(str, None))


def _state(spark: SparkSession) -> dict[str, Any]:
    context, logs = cast(Any, spark.sparkContext), cast(Any, spark)._jvm.org.apache.logging.log4j
    names = ("spark.jobGroup.id", "spark.job.description")
    return {
        "zone": spark.conf.get(ZONE),
        "pages": context._jsc.hadoopConfiguration().get("parquet.page.verify-checksum.enabled"),
        "level": logs.LogManager.getRootLogger().getLevel().toString(),
        **{name: context.getLocalProperty(name) for name in names},
    }


def test_a_session_that_was_lent_is_given_back_as_it_was(lent: SparkSession) -> None:
    before = _state(lent)
    with contextlib.suppress(ValueError), borrowed(lent), described(lent, "ours"):
        during = _state(lent)
        raise ValueError
    assert (during["zone"], during["pages"]) == ("UTC", "true")
    assert during["spark.job.description"] == "ours"
    assert before["zone"] == "America/New_York"
    assert _state(lent) == before


def test_what_spark_submit_sets_stays() -> None:
    wanted = {"spark.app.name": "ours", "spark.sql.shuffle.partitions": "8", "spark.x": "1"}
    given = {"spark.app.name": "theirs", "spark.x": "2", "spark.y": "3"}
    assert unset(wanted, given, {"spark.x": "1"}) == {
        "spark.sql.shuffle.partitions": "8",
        "spark.x": "1",
    }
