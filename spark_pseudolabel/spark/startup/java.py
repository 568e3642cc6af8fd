"""Which Java Spark will run on, and whether a host name is known here; found without a JVM."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from spark_pseudolabel.errors import InputError

OLDEST = 17
INSTALLED = Path("/usr/lib/jvm")
"""Where packages of the system put it."""


@dataclass(frozen=True)
class Java:
    """A Java that Spark takes, as far as its files tell.

    Parameters
    ----------
    home
        Its directory.
    must_be_named
        Whether Spark finds it only if JAVA_HOME names it.
    """

    home: Path
    must_be_named: bool = False

    @property
    def program(self) -> Path:
        """What to start."""
        return self.home / "bin" / "java"


def find() -> Java:
    """Find the Java that JAVA_HOME names, else the one on the PATH, else one that is installed.

    Raises
    ------
    InputError
        If there is none, or the one that is named is too old.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        if not os.access(Path(home, "bin", "java"), os.X_OK):
            raise _no_java(f"JAVA_HOME is {home!r}, which holds no bin/java.")
        if _too_old(Path(home)):
            raise _no_java(f"JAVA_HOME is {home!r}, which is Java {_version(Path(home))}.")
        return Java(Path(home))
    on_path = shutil.which("java")
    if on_path is not None and not _too_old(_home_of(Path(on_path))):
        return Java(_home_of(Path(on_path)))
    for program in sorted(INSTALLED.glob("*/bin/java")):
        if not _too_old(_home_of(program)):
            return Java(_home_of(program), must_be_named=True)
    if on_path is None:
        raise _no_java("No Java was found.")
    raise _no_java(f"{on_path} is Java {_version(_home_of(Path(on_path)))}.")


def resolves(name: str) -> bool:
    """Whether a host name has an address here."""
    try:
        socket.gethostbyname(name)
    except OSError:
        return False
    return True


def _no_java(what: str) -> InputError:
    return InputError(
        f"Spark needs Java {OLDEST} or newer. {what} Install it (Debian, Ubuntu: apt-get "
        f"install openjdk-{OLDEST}-jre-headless), or set JAVA_HOME to where it is.",
        code="no_java",
        where="JAVA_HOME",
    )


def _home_of(program: Path) -> Path:
    return program.resolve().parents[1]


def _too_old(home: Path) -> bool:
    return (_version(home) or OLDEST) < OLDEST


def _version(home: Path) -> int | None:
    """Return the version that a Java's own file names, 8 for 1.8; None where there is no file."""
    # Java 8 may have its java in HOME/jre/bin.
    for folder in (home, home.parent):
        with contextlib.suppress(OSError):
            text = (folder / "release").read_text(encoding="utf-8", errors="replace")
            if match := re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', text, re.MULTILINE):
                return int(match[1])
    return None
