"""Why a JVM does not start, and what is set so that it does."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.startup import java, jvm

UNRESOLVED = """
Exception in thread "main" java.net.UnknownHostException: box: box: Name or service not known
\tat java.base/java.net.InetAddress.getLocalHost(InetAddress.java:1671)
"""
OLD = """
Error: A JNI error has occurred, please check your installation and try again
Exception in thread "main" java.lang.UnsupportedClassVersionError: org/apache/spark/launcher/Main
has been compiled by a more recent version of the Java Runtime (class file version 61.0)
"""
MISSING = "/opt/spark/bin/spark-class: line 71: /nowhere/bin/java: No such file or directory\n"
HEAP = "Invalid maximum heap size: -Xmx5y\nError: Could not create the Java Virtual Machine.\n"
NESTED = "An error occurred while calling None.X.\n: a.B: outer\n\tat c\nCaused by: d.E: inner\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (UNRESOLVED, "'?box'? does not resolve.*SPARK_LOCAL_IP"),
        ("java.net.BindException: Cannot assign requested address: Service", "SPARK_LOCAL_IP"),
        (OLD, "too old.*17"),
        (MISSING, "no Java.*JAVA_HOME"),
        ("gaierror: [Errno -2] Name or service not known", "localhost.*/etc/hosts"),
        ('Setting Spark log level to "ERROR".\n26/11/29 22:55:37 ERROR Shell: no disk', "no disk$"),
        (HEAP, "Could not create the Java Virtual Machine"),
        (NESTED, "^d.E: inner$"),
        ("WARN one\nlast words\n", "WARN one"),
        ("", "no reason"),
    ],
)
def test_the_cause_is_one_line_and_known_ones_say_what_to_do(text: str, said: str) -> None:
    found = jvm.cause(text)
    assert "\n" not in found
    assert re.search(said, found), found


def _java(home: Path, version: str | None) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(mode=0o755)
    if version is not None:
        (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return home


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "old" / "bin"))
    monkeypatch.setattr(java, "INSTALLED", tmp_path / "jvm")
    return tmp_path


def test_without_java_it_is_said_what_to_install(bare: Path) -> None:
    with pytest.raises(InputError, match=r"No Java was found.*openjdk-17"):
        jvm.set_what_java_needs()


@pytest.mark.parametrize(
    ("version", "said"),
    [(None, "holds no bin/java"), ("11.0.2", "is Java 11"), ("1.8.0", "Java 8")],
)
def test_a_java_home_that_will_not_do_is_named(
    bare: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, said: str
) -> None:
    home = bare / "named" if version is None else _java(bare / "named", version)
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(InputError, match=said) as refused:
        jvm.set_what_java_needs()
    assert (refused.value.exit_code, refused.value.code) == (3, "no_java")


def test_an_installed_java_is_used_where_that_on_the_path_is_too_old(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _java(bare / "old", "1.8.0_402")
    _java(bare / "jvm" / "java-8", "1.8.0_402")
    fits = _java(bare / "jvm" / "java-21", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", "")
    jvm.set_what_java_needs()
    assert os.environ["JAVA_HOME"] == str(fits)


def test_a_host_name_that_does_not_resolve_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise socket.gaierror(name)

    monkeypatch.setenv("SPARK_LOCAL_IP", "")
    monkeypatch.delenv("SPARK_LOCAL_IP")
    monkeypatch.setattr(socket, "gethostbyname", unknown)
    jvm.set_local_address()
    assert os.environ["SPARK_LOCAL_IP"] == "127.0.0.1"
