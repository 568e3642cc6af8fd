"""``doctor``: whether this machine can run anything, found out in about a second and without a JVM.

Nothing of Spark, scikit-learn or pyarrow is imported: versions are read from what is installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from spark_pseudolabel.errors import PseudoLabelError
from spark_pseudolabel.report.document import DoctorDocument, Finding
from spark_pseudolabel.spark.startup import java

Version = tuple[int, ...]

_WAIT_S = 2.0
"""Longest wait for an answer from outside of this process."""

_GB = 2**30
_JVM_GB = 1.0
"""Heap of the driver's JVM unless spark.driver.memory says otherwise."""
_OTHERS_GB = 1.0
"""What the driver's Python and two workers take on small tables."""
_DISK_GB = 1.0


@dataclass(frozen=True)
class Needed:
    """A library with the versions that will do.

    Parameters
    ----------
    name
        Of its distribution.
    at_least, below
        The lowest version that will do, and the lowest one above that will not; None: all do.
    but
        Versions in between that will not do.
    """

    name: str
    at_least: str
    below: str | None = None
    but: tuple[str, ...] = ()

    def __str__(self) -> str:
        others = [f"!={version}" for version in self.but]
        return ",".join([f"{self.name}>={self.at_least}", *others, *self._most])

    @property
    def _most(self) -> list[str]:
        return [] if self.below is None else [f"<{self.below}"]

    def will_do(self, version: str) -> bool:
        """Whether a version is one of those.

        Examples
        --------
        >>> pandas = Needed("pandas", "2.2.3", below="3")
        >>> [pandas.will_do(version) for version in ("2.2.3", "2.10.0", "2.2", "3.0.0rc1")]
        [True, True, False, False]
        """
        found = release(version)
        if found < release(self.at_least) or version in self.but:
            return False
        return self.below is None or found < release(self.below)


NEEDED = (
    Needed("pyspark", "4.0.3", but=("4.1.0", "4.1.1")),
    Needed("pyarrow", "18.0"),
    Needed("pandas", "2.2.3", below="3"),
    Needed("numpy", "2.1"),
    Needed("scikit-learn", "1.6"),
    Needed("scipy", "1.14.1"),
    Needed("joblib", "1.4"),
    Needed("pydantic", "2.10"),
    Needed("PyYAML", "6.0.2"),
    Needed("typer", "0.20"),
    Needed("rich", "13.9"),
    Needed("skops", "0.16"),
    Needed("threadpoolctl", "3.5"),
    Needed("Jinja2", "3.1.5"),
    Needed("matplotlib", "3.10"),
)
"""As pyproject.toml says, which an archive that spark-submit ships does not hold."""


def release(version: str) -> Version:
    """Return the numbers of a version, as far as they go.

    Examples
    --------
    >>> release("2.1.0rc1"), release("4.0.3.post1") > release("4.0.3")
    ((2, 1, 0), False)
    """
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(number) for number in match[0].split(".")] if match else []
    return tuple(numbers + [0] * (3 - len(numbers)))


def examine() -> DoctorDocument:
    """Look at Java, host name, libraries, memory and disk; nothing is changed.

    Returns
    -------
    DoctorDocument
        What was found, in the order of :data:`CHECKS`; a check that can't be made is a warning.
    """
    with ThreadPoolExecutor(len(CHECKS)) as executor:
        findings = [finding for found in executor.map(_carefully, CHECKS) for finding in found]
    return DoctorDocument(ok=all(each.state != "problem" for each in findings), checks=findings)


def _carefully(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    name = check.__name__.removeprefix("_").replace("_", " ")
    try:
        return list(check())
    except Exception as error:  # noqa: BLE001  whatever a machine answers, the others are told
        told = f"could not be looked at ({type(error).__name__}: {error})"
        return [Finding(name=name, state="warning", found=told, remedy=None)]


def _python() -> Iterator[Finding]:
    version = sys.version_info
    found = f"{platform.python_version()}, {sys.executable}"
    if version < (3, 11):
        yield _problem("python", found, "Use Python 3.11 or newer.")
    else:
        yield _good("python", found)
    if (named := os.environ.get("PYSPARK_PYTHON")) is not None:
        yield _worker_python(named, f"{version[0]}.{version[1]}")


def _worker_python(named: str, own: str) -> Finding:
    """Look at the interpreter that PYSPARK_PYTHON names for Spark's workers."""
    remedy = "Let PYSPARK_PYTHON name an interpreter of the driver's version, or unset it."
    program = shutil.which(named)
    if program is None:
        # On a cluster it may be a path in an archive, which exists on executors only.
        told = f"PYSPARK_PYTHON is {named!r}, which is not on this machine"
        return _warning("worker python", told, remedy)
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    asked = subprocess.run([program, "-c", code], capture_output=True, text=True, timeout=_WAIT_S)
    if (version := asked.stdout.strip()) != own:
        told = f"PYSPARK_PYTHON is {program}, Python {version or 'unknown'}; the driver's is {own}"
        return _problem("worker python", told, remedy)
    return _good("worker python", f"{version}, {program}")


def _libraries() -> Iterator[Finding]:
    found = {needed: _installed(needed.name) for needed in NEEDED}
    wrong = {each: version for each, version in found.items() if not _will_do(each, version)}
    for needed, version in wrong.items():
        told = f"{version or 'missing'}; {needed} is needed"
        yield _problem(needed.name, told, f"pip install '{needed}'")
    if not wrong:
        first = ", ".join(f"{each.name} {version}" for each, version in [*found.items()][:5])
        yield _good("libraries", f"{first} and {len(found) - 5} others, all as they must be")


def _will_do(needed: Needed, version: str | None) -> bool:
    return version is not None and needed.will_do(version)


def _installed(name: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def _java() -> Iterator[Finding]:
    try:
        found = java.find()
    except PseudoLabelError as error:
        yield _problem("java", "none that Spark takes", error.message)
        return
    asked = subprocess.run(
        [str(found.program), "-version"], capture_output=True, text=True, timeout=10 * _WAIT_S
    )
    match = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', asked.stderr + asked.stdout)
    if match is None:
        said = (asked.stderr or asked.stdout).strip().partition("\n")[0]
        yield _problem(
            "java",
            f"{found.program} does not tell its version: {said or 'it says nothing'}",
            f"Install Java {java.OLDEST} or newer, and let JAVA_HOME name it.",
        )
        return
    told, spark = f"{match[1]}, {found.home}", release(_installed("pyspark") or "4.1")
    if int(match[2]) < java.OLDEST:
        yield _problem("java", told, f"Let JAVA_HOME name a Java {java.OLDEST} or newer.")
    elif int(match[2]) > _NEWEST_JAVA_OF_4_0 and spark < (4, 1, 0):
        yield _problem("java", f"{told}; Spark 4.0 does not run on it", "Use Java 17 or 21.")
    else:
        yield _good("java", told)


_NEWEST_JAVA_OF_4_0 = 23


def _spark_home() -> Iterator[Finding]:
    home, own = os.environ.get("SPARK_HOME"), _installed("pyspark")
    if home is None:
        return
    name, remedy = "spark", "Unset SPARK_HOME, or install the pyspark of its version."
    with contextlib.suppress(OSError):
        text = (Path(home) / "RELEASE").read_text(encoding="utf-8", errors="replace")
        if (match := re.match(r"Spark (\S+)", text)) and own is not None:
            told = f"SPARK_HOME is {home}, Spark {match[1]}; pyspark is {own}"
            same = release(match[1])[:2] == release(own)[:2]
            yield _good(name, told) if same else _problem(name, told, remedy)
            return
    if not (Path(home) / "bin" / "spark-submit").exists():
        yield _problem(name, f"SPARK_HOME is {home}, which holds no Spark", remedy)


def _host_name() -> Iterator[Finding]:
    host = socket.gethostname()
    named = [
        f"{k}={v}" for k in ("SPARK_LOCAL_IP", "SPARK_LOCAL_HOSTNAME") if (v := os.environ.get(k))
    ]
    address = _looked_up(host)
    hosts = f"Add it to /etc/hosts: echo '127.0.1.1 {host}' | sudo tee -a /etc/hosts"
    if named:
        yield _good("host name", f"{host}; {', '.join(named)}")
    elif address is _TOO_LATE:
        told = f"{host}: no answer within {_WAIT_S:.0f} s, and Spark asks several times"
        yield _warning("host name", told, f"{hosts}; or set SPARK_LOCAL_IP.")
    elif address is None:
        told = f"{host} does not resolve; on one machine runs use 127.0.0.1 instead"
        yield _warning("host name", told, f"{hosts}; a cluster needs that.")
    else:
        yield _good("host name", f"{host}, {address}")
    if _looked_up("localhost") is None:
        told, remedy = "does not resolve", "Add it to /etc/hosts: 127.0.0.1 localhost"
        needed = release(_installed("pyspark") or "0") < (4, 1, 0)
        yield (_problem if needed else _warning)("localhost", told, remedy)


_TOO_LATE = "too late"


def _looked_up(host: str) -> str | None:
    """Return a host's address; None where it has none, `_TOO_LATE` where nobody answers."""
    answers: list[str | None] = []

    def look_up() -> None:
        try:
            answers.append(socket.gethostbyname(host))
        except OSError:
            answers.append(None)

    asking = threading.Thread(target=look_up, daemon=True)  # it can't be stopped, nor waited for
    asking.start()
    asking.join(_WAIT_S)
    return answers[0] if answers else _TOO_LATE


def _libgomp() -> Iterator[Finding]:
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        wanted = util.find_spec("lightgbm") is not None
        told = "libgomp.so.1 is missing: LightGBM can't be loaded"
        remedy = "apt-get install libgomp1, or dnf install libgomp"
        # scikit-learn brings its own.
        yield _warning("libgomp", told, remedy) if wanted else _good("libgomp", "not needed here")
    else:
        yield _good("libgomp", "libgomp.so.1 loads")


def _memory() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = free_memory()
    if memory is None:
        yield _good("memory", f"unknown on this system; {cores} cores")
        return
    total, free = (size / _GB for size in memory)
    told = (
        f"{free:.1f} of {total:.1f} GB free, {cores} cores; the driver's JVM takes up to "
        f"{_JVM_GB:.0f} GB (spark.driver.memory), the driver's Python and workers come on top"
    )
    if free < _JVM_GB:
        yield _problem("memory", told, "Free some memory, or use a larger machine.")
    elif free < _JVM_GB + _OTHERS_GB:
        yield _warning("memory", told, "Free some, or use fewer cores: spark.master: local[2].")
    else:
        yield _good("memory", told)


def free_memory(root: Path = Path("/")) -> tuple[int, int] | None:
    """Return this process's memory in bytes, all and free, as a container may limit it.

    Parameters
    ----------
    root
        Where /proc and /sys are.

    Returns
    -------
    tuple or None
        None where the system does not tell.
    """
    try:
        text = (root / "proc/meminfo").read_text()
    except OSError:
        return None
    sizes = {name: int(kb) * 1024 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    total, free = sizes["MemTotal"], sizes["MemAvailable"]
    for limit, used in (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        with contextlib.suppress(OSError, ValueError):  # no container, or "max": no limit
            most = int((root / limit).read_text())
            if most < total:
                stat = (root / limit).with_name("memory.stat").read_text()
                # Pages of files that nothing has open are given back when they are needed.
                unused = re.search(r"^(?:total_)?inactive_file (\d+)", stat, re.M)
                taken = int((root / used).read_text()) - (int(unused[1]) if unused else 0)
                total, free = most, min(free, most - taken)
    return total, max(0, free)


def _disk() -> Iterator[Finding]:
    name = "disk"
    folders = [tempfile.gettempdir(), *os.environ.get("SPARK_LOCAL_DIRS", "").split(",")]
    for folder in dict.fromkeys(filter(None, folders)):
        remedy = "Let TMPDIR (and SPARK_LOCAL_DIRS, for Spark's) name a directory with room."
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        except OSError as error:
            yield _problem(name, f"{folder} can't be written: {error.strerror}", remedy)
            continue
        free = shutil.disk_usage(folder).free / _GB
        told = f"{folder}, {free:,.1f} GB free"
        yield _good(name, told) if free >= _DISK_GB else _warning(name, told, remedy)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _libraries,
    _java,
    _spark_home,
    _host_name,
    _libgomp,
    _memory,
    _disk,
)
"""In the order of the answer."""


def _good(name: str, found: str) -> Finding:
    return Finding(name=name, state="ok", found=found, remedy=None)


def _warning(name: str, found: str, remedy: str) -> Finding:
    return Finding(name=name, state="warning", found=found, remedy=remedy)


def _problem(name: str, found: str, remedy: str) -> Finding:
    return Finding(name=name, state="problem", found=found, remedy=remedy)
