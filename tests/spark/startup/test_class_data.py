"""The file of class data: written once, used when it is whole, and left to others who decide."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from spark_pseudolabel.spark.startup.class_data import OPTION, java_options


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SPARK_HOME", "SPARK_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "spark_pseudolabel"


def archive() -> Path:
    (asked,) = java_options({}).values()
    return Path(asked.rpartition("ArchiveClassesAtExit=")[2])


def test_a_jvm_is_told_to_write_it_and_the_next_one_to_use_it(cache: Path) -> None:
    file = archive()
    assert file.parent == cache
    file.write_bytes(b"\xa2\x0b\xab\xf0 and more")
    assert java_options({})[OPTION].endswith(f"-XX:SharedArchiveFile={file}")


def test_one_that_is_being_written_is_waited_for_without_use() -> None:
    archive().write_bytes(bytes(100))
    assert java_options({}) == {}


def test_one_that_a_killed_jvm_left_is_written_again() -> None:
    file = archive()
    file.write_bytes(bytes(100))
    hour_ago = time.time() - 3600
    os.utime(file, (hour_ago, hour_ago))
    assert archive() == file


@pytest.mark.parametrize("key", ["spark.driver.extraJavaOptions", "spark.driver.extraClassPath"])
def test_nothing_is_set_beside_options_of_the_user(key: str) -> None:
    assert java_options({key: "something"}) == {}


@pytest.mark.parametrize("variable", ["SPARK_HOME", "SPARK_CONF_DIR"])
def test_an_installation_with_settings_is_left_alone(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/somewhere")
    assert java_options({}) == {}


def test_another_java_has_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = archive()
    java = tmp_path / "other" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch(mode=0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "other"))
    assert archive() != file


def test_a_place_that_options_cannot_name_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "with blank"))
    assert java_options({}) == {}


def test_a_cache_that_cannot_be_made_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert java_options({}) == {}
