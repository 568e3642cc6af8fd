"""A JVM that starts faster: Spark's classes as a JVM before has parsed them.

Loading, parsing and verifying some 14,000 classes is a third of the CPU time of a short run. A JVM
can write them to a file when it ends, and map that file at its next start (class data sharing). The
file is a cache: it lies in the user's cache directory, fits one Java and one Spark, is ignored by a
JVM that finds anything different, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import pyspark

OPTION = "spark.driver.defaultJavaOptions"
# What does not fit is reported on standard output otherwise, where a document goes.
_SILENT = "-Xlog:cds*=off"
# A JVM writes it for some 15 seconds; one that was killed meanwhile left nothing of use.
_WRITTEN_WITHIN_S = 600.0


def java_options(conf: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a session whose JVM is about to be started.

    Where there is no file yet, the JVM is told to write it: after its end, when nobody waits for it
    any more. Nothing is set where somebody else decides about the JVM: an installation with
    settings of its own, or `conf` with options or a class path for the driver.
    """
    archive = None if _tuned(conf) else _archive()
    if archive is None:
        return {}
    if _complete(archive):
        return {OPTION: f"{_SILENT} -XX:SharedArchiveFile={archive}"}
    if _being_written(archive):
        return {}
    return {OPTION: f"{_SILENT} -XX:ArchiveClassesAtExit={archive}"}


def _tuned(conf: Mapping[str, str]) -> bool:
    installed = {"SPARK_HOME", "SPARK_CONF_DIR"} & set(os.environ)
    return bool(installed) or any(
        key.startswith(("spark.driver.extra", "spark.driver.default")) for key in conf
    )


def _archive() -> Path | None:
    """Return where the file of this Java and this Spark belongs; None: there is no such place."""
    java = _java()
    if java is None:
        return None
    of = f"{java} {java.stat().st_mtime_ns} {pyspark.__file__} {pyspark.__version__}"
    name = hashlib.sha256(of.encode()).hexdigest()[:16]
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = cache / "spark_pseudolabel"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read-only, or a user without a home
        return None
    # Options of a JVM are split at blanks.
    usable = os.access(folder, os.W_OK) and not any(map(str.isspace, str(folder)))
    return folder / f"{name}.jsa" if usable else None


def _java() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    return None if java is None else Path(java).resolve()


def _complete(archive: Path) -> bool:
    """Whether the head of the file, which a JVM writes last, is there."""
    try:
        with archive.open("rb") as file:
            return any(file.read(4))
    except OSError:
        return False


def _being_written(archive: Path) -> bool:
    try:
        return time.time() - archive.stat().st_mtime < _WRITTEN_WITHIN_S
    except OSError:
        return False
