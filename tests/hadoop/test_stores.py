"""What holds on a local disk holds on HDFS and S3: slots, whole runs, resuming, verify, gc."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.processes import ended, run_command
from tests.cluster.tables import configuration, write_configuration
from tests.hadoop import in_driver
from tests.hadoop.conftest import Place

_TOGETHER_S = 2.0


@pytest.fixture(scope="session")
def undisturbed(place: Place, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the labels of a run on the local disk; both drivers are warm afterwards."""
    hashes = set()
    for driver in place.drivers:
        directory = tmp_path_factory.mktemp("undisturbed")
        conf = _configured(tables, directory, str(directory / "out"))
        outcome = driver.command("run", conf, result=directory / "result.json")
        assert outcome.exit_code == 0, outcome.document
        hashes.add(driver.call(in_driver.labels_sha256, str(directory / "out")))
    (found,) = hashes
    return found


def test_a_file_that_was_put_meanwhile_stays(place: Place) -> None:
    if not place.store.settings:
        pytest.skip("the local disk takes another way, see tests/store/test_files.py")
    taken, content = place.drivers[0].call(
        in_driver.put_while_another_is_put, f"{place.store.root}/meanwhile"
    )
    assert (taken, content) == ([True, False], b"inner")


@pytest.mark.parametrize("races", [10, 60], ids=["short", "long"])
def test_of_two_publishers_one_wins_each_slot(races: int, place: Place) -> None:
    root = f"{place.store.root}/slots-{races}"
    names = ("first", "second")
    won = _both(
        place,
        lambda number, moment: (in_driver.race_for_slots, root, names[number], moment, races),
    )
    assert [sum(pair) for pair in zip(*won, strict=True)] == [1] * races
    winners = [names[0] if first else names[1] for first in won[0]]
    assert place.drivers[0].call(in_driver.contents, root) == winners


@pytest.mark.parametrize("races", [1, 10], ids=["short", "long"])
@pytest.mark.parametrize("leases", [True, False], ids=["leases", "no-leases"])
def test_of_two_runs_one_ends_and_the_other_gives_way(
    races: int, leases: bool, place: Place, tables: Path, undisturbed: str, tmp_path: Path
) -> None:
    lost = 0
    for number in range(races):
        directory = tmp_path / str(number)
        directory.mkdir()
        output = f"{place.store.root}/races-{races}-{leases}-{number}"
        conf = _configured(tables, directory, output)
        codes = _both(
            place,
            lambda number, moment, conf=conf: (
                in_driver.run_at,
                moment,
                leases,
                ["run", conf, "--quiet"],
            ),
        )
        # Who comes late finds the run finished, which is no race.
        assert sorted(codes) in ([0, 4], [0, 0])
        lost += 4 in codes
        manifests = place.drivers[0].call(in_driver.committed, output)
        assert len({json.loads(data)["writer"]["pid"] for data in manifests.values()}) == 1
        assert place.drivers[0].call(in_driver.labels_sha256, output) == undisturbed
    assert lost >= races / 2


def test_inputs_are_read_where_outputs_are_written(
    place: Place, tables: Path, undisturbed: str, tmp_path: Path
) -> None:
    # More files than the driver reads the footers of by itself.
    inputs, driver = f"{place.store.root}/inputs", place.drivers[0]
    driver.call(in_driver.put_inputs, str(tables), inputs, 70)
    asked = configuration(tables, tmp_path) | {
        "labeled": {"path": f"{inputs}/labeled.parquet", "label": "kind"},
        "unlabeled": {"path": f"{inputs}/pool"},
        "output": {"path": f"{place.store.root}/beside"},
    }
    conf = write_configuration(tmp_path / "conf.yaml", asked)
    outcome = driver.command("run", conf, result=tmp_path / "result.json")
    assert outcome.exit_code == 0, outcome.document
    assert driver.call(in_driver.labels_sha256, asked["output"]["path"]) == undisturbed


@pytest.mark.parametrize("moment", ["score.written", "round.publish.done:2"])
def test_a_killed_run_is_resumed_and_what_it_left_is_collected(
    moment: str, place: Place, tables: Path, undisturbed: str, tmp_path: Path
) -> None:
    output = f"{place.store.root}/killed-{moment.replace(':', '-')}"
    command, driver = _commands(place, output, tmp_path), place.drivers[0]
    conf = write_configuration(
        tmp_path / "killed.yaml", configuration(tables, tmp_path) | {"output": {"path": output}}
    )
    armed = place.environment | {"SPL_FAILPOINT": moment}
    # A class path may only be typed.
    typed = [f"spark.conf.{key}={json.dumps(value)}" for key, value in place.store.settings.items()]
    command_line = run_command(conf, *(part for pair in typed for part in ("--set", pair)))
    assert ended(command_line, armed, tmp_path) == -signal.SIGKILL
    before = driver.call(in_driver.committed, output)
    assert command("status")["state"] == "resumable"

    outcome = driver.command(
        "run", _configured(tables, tmp_path, output), result=tmp_path / "result.json"
    )
    assert outcome.exit_code == 0, outcome.document
    assert driver.call(in_driver.labels_sha256, output) == undisturbed
    after = driver.call(in_driver.committed, output)
    assert {name: after[name] for name in before} == before

    assert command("status")["state"] == "done"
    assert command("verify", "--deep")["problems"] == []
    left = command("gc", "--older-than", "0s")["items"]
    assert ("attempt" in [item["kind"] for item in left]) == (moment == "score.written")
    assert command("gc", "--delete", "--older-than", "0s")["items"] == left
    assert command("gc", "--older-than", "0s")["items"] == []
    assert command("verify", "--deep")["problems"] == []


def _commands(place: Place, output: str, directory: Path) -> Callable[..., dict[str, Any]]:
    def command(name: str, *arguments: str) -> dict[str, Any]:
        outcome = place.drivers[0].command(
            name, output, *arguments, result=directory / f"{name}.json"
        )
        assert outcome.exit_code == 0, outcome.document
        return outcome.document

    return command


def _configured(tables: Path, directory: Path, output: str) -> str:
    asked = configuration(tables, directory) | {"output": {"path": output}}
    return write_configuration(directory / "conf.yaml", asked)


def _both(place: Place, call: Callable[..., tuple[Any, ...]]) -> list[Any]:
    """Call something in both drivers at the same moment."""
    moment = time.time() + _TOGETHER_S
    with ThreadPoolExecutor(len(place.drivers)) as pool:
        calls = [
            pool.submit(driver.call, *call(number, moment))
            for number, driver in enumerate(place.drivers)
        ]
        return [done.result() for done in calls]
