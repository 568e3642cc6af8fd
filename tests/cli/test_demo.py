"""The demonstration, stopped on its way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.cluster
def test_the_demo_goes_on_after_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "spark_pseudolabel", "demo", "--output", "demo"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "round 1:" in line:
            sent_at = time.monotonic()
            process.send_signal(signal.SIGINT)
            break
    lines += process.stderr.readlines()
    assert process.wait() == 130
    assert time.monotonic() - sent_at < 20
    assert lines[-1].endswith("committed; run the same command to continue.\n")
    process.stderr.close()
    end = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    assert "resuming at round " in end.stderr
    assert "Final model  test accuracy 0.9" in end.stdout
    again = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    assert again.stdout.startswith("Nothing to do: demo/out is finished.\n")
    lines = [each.stdout.splitlines()[-1] for each in (end, again)]
    assert lines[0].startswith("spark-pseudolabel: ")
    assert lines[0].endswith(": demo/out")
    assert lines[1].startswith("spark-pseudolabel: nothing to do, ")
