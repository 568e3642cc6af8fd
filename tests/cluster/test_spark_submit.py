"""``spark-submit jobs/pseudolabel.py`` against the cluster, in client mode."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster.processes import ROOT, ended, submit_command
from tests.cluster.tables import (
    committed,
    configuration,
    labels_sha256,
    scored_attempts,
    write_configuration,
)

JOB = ROOT / "jobs" / "pseudolabel.py"
KILLED = 128 + signal.SIGKILL
NO_CLUSTER = "local[1]"


def test_a_submission_from_a_checkout_is_killed_and_one_with_an_archive_ends_it(
    machine: dict[str, str], master: str, tables: Path, undisturbed: Path, tmp_path: Path
) -> None:
    output, result = tmp_path / "out", tmp_path / "result.json"
    conf = write_configuration(tmp_path / "conf.yaml", configuration(tables, output))
    asked = ["run", conf, "--output-format", "json", "--result", str(result)]

    checkout = submit_command(machine["SPARK_HOME"], master, JOB, *asked)
    armed = machine | {"PYSPARK_DRIVER_PYTHON": sys.executable, "SPL_FAILPOINT": "score.written:2"}
    assert ended(checkout, armed, tmp_path) == KILLED
    before = committed(output)
    assert sorted(before) == ["model-0001.json", "model-0002.json", "round-0001.json"]

    # Nothing of the checkout but the archive: on the driver as on the workers.
    archive, job = _archive(tmp_path), tmp_path / "pseudolabel.py"
    job.write_bytes(JOB.read_bytes())
    shipped = submit_command(
        machine["SPARK_HOME"], master, job, *asked, options=("--py-files", str(archive))
    )
    assert ended(shipped, machine, tmp_path) == 0, _tail(tmp_path)
    document = _last_line(tmp_path)
    assert document == json.loads(result.read_text())
    assert document == json.loads((output / "report.json").read_text())
    assert document["environment"]["spark_master"] == master
    assert labels_sha256(output) == labels_sha256(undisturbed)
    assert {name: committed(output)[name] for name in before} == before
    assert {name: len(found) for name, found in scored_attempts(output).items()} == {
        "round-0001": 1,
        "round-0002": 2,
    }


def test_exit_codes_pass_through(machine: dict[str, str], tables: Path, tmp_path: Path) -> None:
    wrong = {"selection": {"policy": "threshold", "threshold": 2}}
    conf = write_configuration(
        tmp_path / "conf.yaml", configuration(tables, tmp_path / "out", **wrong)
    )
    command = submit_command(
        machine["SPARK_HOME"], NO_CLUSTER, JOB, "run", conf, "--output-format", "json"
    )
    environment = machine | {"PYSPARK_DRIVER_PYTHON": sys.executable}
    assert ended(command, environment, tmp_path) == 2, _tail(tmp_path)
    error = _last_line(tmp_path)["error"]
    assert (error["exit_code"], error["code"]) == (2, "bad_config")


def test_an_executor_with_another_version_is_named(
    machine: dict[str, str], master: str, tables: Path, tmp_path: Path
) -> None:
    planted = tmp_path / "libraries" / "scikit_learn-0.1.dist-info"
    planted.mkdir(parents=True)
    (planted / "METADATA").write_text("Metadata-Version: 2.1\nName: scikit-learn\nVersion: 0.1\n")
    conf = write_configuration(tmp_path / "conf.yaml", configuration(tables, tmp_path / "out"))
    command = submit_command(
        machine["SPARK_HOME"],
        master,
        JOB,
        *("run", conf, "--output-format", "json"),
        options=("--conf", f"spark.executorEnv.PYTHONPATH={planted.parent}"),
    )
    environment = machine | {"PYSPARK_DRIVER_PYTHON": sys.executable}
    assert ended(command, environment, tmp_path) == 3, _tail(tmp_path)
    error = _last_line(tmp_path)["error"]
    assert error["code"] == "executor_libraries"
    assert "scikit-learn is 0.1, on the driver " in error["message"]
    assert not (tmp_path / "out").exists()


def _archive(directory: Path) -> Path:
    """Make the archive as the README says."""
    archive = directory / "spark_pseudolabel.zip"
    make = [sys.executable, "-m", "zipfile", "-c", str(archive), "spark_pseudolabel"]
    subprocess.run(make, cwd=ROOT, check=True)
    return archive


def _last_line(directory: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / "stdout").read_text().splitlines()[-1])
    return document


def _tail(directory: Path) -> str:
    return "\n".join((directory / name).read_text()[-3000:] for name in ("stdout", "stderr"))
