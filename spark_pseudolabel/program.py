"""How to call this program from where the user stands, for commands that are printed to be used."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "spark-pseudolabel"


def command(*arguments: str) -> str:
    """Return a command of this program that works as it is printed.

    Its bare name where the shell finds it, and finds that of this environment; else the path to it,
    relative where that is shorter: an environment need not be active.
    """
    return shlex.join([*_program(), *arguments])


def _program() -> list[str]:
    # Not resolved: a virtual environment's interpreter is a link to another one's.
    beside = Path(sys.executable).absolute().with_name(NAME)
    on_path = shutil.which(NAME)
    if on_path is not None and Path(on_path).absolute() == beside:
        return [NAME]
    if os.access(beside, os.X_OK):
        return [_shorter(beside)]
    if on_path is not None:
        return [NAME]
    return [_shorter(Path(sys.executable).absolute()), "-m", "spark_pseudolabel"]


def _shorter(path: Path) -> str:
    relative = os.path.relpath(path)
    return min(str(path), relative, key=len)
