"""Commands in processes of their own, which may be killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.cluster.standalone import APPLICATION, end_group

ROOT = Path(__file__).parents[2]
# Ten times what it takes on a machine that does nothing else.
ENDS_WITHIN_S = 600.0


@contextlib.contextmanager
def running(
    command: list[str], environment: Mapping[str, str], directory: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with its output in files; end it and all that it started."""
    with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as err:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_group(process)


def ended(command: list[str], environment: Mapping[str, str], directory: Path) -> int:
    """Run a command to its end; return the code."""
    with running(command, environment, directory) as process:
        return process.wait(ENDS_WITHIN_S)


def run_command(conf: str, *arguments: str) -> list[str]:
    """Return the command that runs a configuration from this checkout on two local cores."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from spark_pseudolabel.cli import main"
    settings = ["--set", "spark.master=local[2]"]
    return [sys.executable, "-c", f"{code}; sys.exit(main())", "run", conf, *settings, *arguments]


def submit_command(
    home: str, master: str, job: Path, *arguments: str, options: tuple[str, ...] = ()
) -> list[str]:
    """Return the command that submits a job in client mode."""
    conf = [word for key, value in APPLICATION.items() for word in ("--conf", f"{key}={value}")]
    submit = [f"{home}/bin/spark-submit", "--master", master, *conf, *options]
    return [*submit, str(job), *arguments]


def command_line(pid: int) -> list[bytes]:
    """Return the words that a process was started with; one empty word if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]
