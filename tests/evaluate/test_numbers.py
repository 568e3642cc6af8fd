from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spark_pseudolabel.evaluate.__main__ import main
from spark_pseudolabel.evaluate.number_data import NUMBERS, load_numbers
from spark_pseudolabel.evaluate.number_task import draw_numbers
from spark_pseudolabel.evaluate.numbers import promises_of


@pytest.mark.parametrize("name", NUMBERS)
def test_sets_of_numbers_are_complete(name: str) -> None:
    data = load_numbers(name, None)
    assert np.isfinite(data.y).all()
    assert len(data.X) == len(data.y)
    assert 0.05 < data.tolerance / data.y.std() < 1.5


def test_sets_without_files_or_of_no_such_name_are_refused() -> None:
    with pytest.raises(ValueError, match="name their folder by --data"):
        load_numbers("hours", None)
    with pytest.raises(ValueError, match="must be one of"):
        load_numbers("iris", None)


def test_a_draw_shares_no_row() -> None:
    draw = draw_numbers(load_numbers("linear", None), 50, 1, n_pool=200, n_test=100)
    values = np.concatenate([draw.y, draw.pool_y, draw.test_y])
    assert len(np.unique(values)) == 350
    assert np.bincount(draw.folds).tolist() == [10] * 5
    assert draw.task.sd == pytest.approx(draw.y.std(ddof=1))


def test_confidences_that_know_the_noise_find_more_of_the_pool() -> None:
    data = load_numbers("heteroscedastic", None)
    draw = draw_numbers(data, 200, 0, n_pool=800, n_test=10)
    found = promises_of(draw, "ridge", others=True).methods
    assert found["kept"].best > 2 * found["same everywhere"].best
    assert found["kept"].brier < found["same everywhere"].brier
    for method in found.values():
        assert method.interval is None or 0.85 < method.interval < 1


def test_a_graph_promises_what_it_holds() -> None:
    draw = draw_numbers(load_numbers("friedman2", None), 100, 0, n_pool=500, n_test=200)
    kept = promises_of(draw, "anchors").methods["kept"]
    assert kept.interval is not None
    assert 0.85 < kept.interval < 1


def test_runs_are_written_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "runs.json"
    given = ["number_promises", "linear:60:ridge", "--seeds", "1", "--pool", "200", "--test", "10"]
    main([*given, "--json", str(file)])
    printed = capsys.readouterr().out
    (run,) = json.loads(file.read_text())["runs"]
    assert run["cell"] == "linear:60:ridge"
    assert f"| {run['within']:.2f} | kept |" in printed
    main(["number_promises", "--read", str(file)])
    assert capsys.readouterr().out == printed


def test_errors_are_compared_as_ratios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = (("Ridge", {}), ("HistGradientBoostingRegressor", {"max_iter": 2}))
    monkeypatch.setattr("spark_pseudolabel.evaluate.numbers.DEFAULT_NUMBER_COMMITTEE", few)
    file = tmp_path / "runs.json"
    given = ["numbers", "linear:60", "--seeds", "1", "--pool", "100", "--test", "100"]
    main([*given, "--json", str(file)])
    (run,) = json.loads(file.read_text())["runs"]
    assert run["picked"] == "Ridge"
    ratio = run["rmse"]["auto"] / run["rmse"]["cv_pick"]
    assert f"| {ratio:.3f} |" in capsys.readouterr().out
