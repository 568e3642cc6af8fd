"""What a clone must hold for scripts/demo and scripts/test to work on a bare machine."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import spark_pseudolabel

ROOT = Path(__file__).parents[1]
LOCKS = ["build", "dev", "oldest", "s3", "tables"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_address_and_no_path(name: str) -> None:
    assert re.findall(r"://|--index|--find-links|--extra-index|^.*(?<!\w)/\w.*$", _lock(name)) == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash(name: str) -> None:
    entries = re.split(r"^(?=\w)", _lock(name), flags=re.MULTILINE)[1:]
    assert [e.split()[0] for e in entries if "==" not in e or "--hash=sha256:" not in e] == []


@pytest.mark.parametrize("name", ["dev", "oldest"])
def test_locks_pin_what_the_project_allows(name: str) -> None:
    pins = _pins(name)
    for requirement in map(Requirement, PROJECT["project"]["dependencies"]):
        assert requirement.specifier.contains(pins[_normal(requirement.name)]), requirement


def test_oldest_lock_pins_the_lower_bounds() -> None:
    pins = _pins("oldest")
    for requirement in map(Requirement, PROJECT["project"]["dependencies"]):
        bound = next(s.version for s in requirement.specifier if s.operator == ">=")
        assert Version(pins[_normal(requirement.name)]) == Version(bound), requirement


@pytest.mark.parametrize("name", ["scripts/demo", "scripts/test", "scripts/check", ".ci/run"])
def test_scripts_can_be_executed(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


def test_the_package_carries_its_types() -> None:
    assert (Path(spark_pseudolabel.__path__[0]) / "py.typed").is_file()


def _lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def _pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", _lock(name), flags=re.MULTILINE))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
