"""What was reached is found again if it is whole, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.milestones import Milestones


@pytest.fixture
def milestones(tmp_path: Path) -> Milestones:
    return Milestones(LocalFiles(), str(tmp_path / "way"))


def write(milestones: Milestones, number: int, data: bytes = b"rows") -> Path:
    with milestones.reaching(number) as path:
        Path(path).mkdir(parents=True)
        (Path(path) / "part").write_bytes(data)
    return Path(path)


def test_the_last_one_is_found_and_the_others_are_gone(milestones: Milestones) -> None:
    assert milestones.latest() is None
    for number in (9, 10, 110):
        path = write(milestones, number)
        milestones.reached(number, {"made": np.array(number), "scale": np.ones(2)})
    found = milestones.latest()
    assert found is not None
    assert found.path == str(path)
    assert {name: values.tolist() for name, values in found.remembered.items()} == {
        "made": 110,
        "scale": [1.0, 1.0],
    }
    assert [folder.name for folder in path.parents[1].iterdir()] == ["step-000110"]


def test_what_a_crash_left_does_not_count(milestones: Milestones) -> None:
    path = write(milestones, 3)
    milestones.reached(3, {"made": np.array(3)})
    write(milestones, 4)  # and no more
    found = milestones.latest()
    assert found is not None
    assert found.path == str(path)


@pytest.mark.parametrize("name", ["data/part", "reached.npz"])
@pytest.mark.parametrize("left", [0, 2])
def test_cut_files_do_not_count(milestones: Milestones, name: str, left: int) -> None:
    path = write(milestones, 3).parent / name
    milestones.reached(3, {"made": np.array(3)})
    path.write_bytes(path.read_bytes()[:left])
    assert milestones.latest() is None
