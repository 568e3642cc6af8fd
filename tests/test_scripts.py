"""What stands in scripts/ goes with the package: no other test imports the benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "scripts"


def test_benchmarks_find_all_that_they_import() -> None:
    names = [
        f"benchmarks.{file.stem}"
        for file in sorted((SCRIPTS / "benchmarks").glob("*.py"))
        if not file.stem.startswith("__")
    ]
    assert len(names) > 5
    code = f"import {', '.join(names)}"
    run = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
