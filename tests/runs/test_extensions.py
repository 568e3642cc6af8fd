"""What docs/architecture.md says of additions: a new file, and no other one has to change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

PACKAGE = Path(__file__).parents[2] / "spark_pseudolabel"

TOP_HALF = '''
"""Policy ``top_half``."""

import math
from typing import ClassVar, Literal

from spark_pseudolabel.core.selection.plan import Quota
from spark_pseudolabel.core.selection.policy import CountingPolicy
from spark_pseudolabel.fields import Share


class TopHalf(CountingPolicy):
    """The surer part of each class is accepted, half of it by default."""

    policy: Literal["top_half"]
    part: Share = 0.5

    def fit(self, counts, context):
        """Accept the same share of each class."""
        return [
            Quota((code,), math.ceil(self.part * n)) for code, n in enumerate(counts.by_class)
        ]
'''

NEARBY = '''
"""Teacher ``nearby``."""

from typing import ClassVar

import numpy as np

from spark_pseudolabel.core.teachers.kind import TeacherKind
from spark_pseudolabel.fields import Number


class NearbyKind(TeacherKind):
    """Labeled rows within ``nearby`` vote; where there is none, nobody does."""

    key: ClassVar = "nearby"

    nearby: Number

    def build(self, features, random_state):
        """Make the teacher."""
        from sklearn.neighbors import RadiusNeighborsClassifier

        from spark_pseudolabel.core.teachers.teacher import Teacher

        class Nearby(Teacher):
            """A model of it gives each class the probability 0 where no labeled row is near."""

            radius = self.nearby

            def fit(self, rows, classes, previous=None):
                model = RadiusNeighborsClassifier(
                    self.radius, algorithm="brute", outlier_label="none"
                )
                return model.fit(rows.X, np.asarray(classes)[rows.codes])

        return Nearby()
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, with a policy and a teacher in files of their own."""
    home = tmp_path_factory.mktemp("home")
    copy = shutil.copytree(PACKAGE, home / PACKAGE.name, ignore=shutil.ignore_patterns("*.pyc"))
    (copy / "core/selection/policies/top_half.py").write_text(TOP_HALF)
    (copy / "core/teachers/kinds/nearby.py").write_text(NEARBY)
    registry = (copy / "registry.py").read_text()
    estimator = (
        '"RadiusNeighborsClassifier": EstimatorInfo("sklearn.neighbors.RadiusNeighborsClassifier"),'
    )
    known = "REGISTRY: Mapping[str, EstimatorInfo] = {"
    assert known in registry
    (copy / "registry.py").write_text(registry.replace(known, f"{known}\n    {estimator}"))
    return home


@pytest.fixture(scope="module")
def done(home: Path) -> dict[str, Any]:
    """A run with all of them, and what commands say of it."""
    chance = np.random.default_rng(0)
    x = np.concatenate([chance.normal(-3, 1, 300), chance.normal(3, 1, 300), np.full(20, 90.0)])
    rows = pd.DataFrame({"id": range(620), "x": x, "kind": np.where(x < 0, "left", "right")})
    rows = rows.sample(frac=1, random_state=0)
    labeled = rows[rows.x < 50].head(60)
    labeled.to_parquet(home / "labeled.parquet", index=False)
    pool = rows.drop(labeled.index).drop(columns="kind")
    (home / "pool").mkdir()
    pool.to_parquet(home / "pool" / "0.parquet", index=False)
    (home / "run.yaml").write_text(
        "labeled: {path: labeled.parquet, label: kind}\n"
        "unlabeled: {path: pool}\n"
        "id: id\n"
        "teacher: {nearby: 1.5, student: false}\n"
        "selection: {policy: top_half, part: 0.25}\n"
        "output: {path: out}\n"
    )
    far = int(pool.loc[pool.x > 50, "id"].iloc[0])
    return {
        "rows": rows,
        "pool": pool,
        "run": command(home, "run", "run.yaml"),
        "far": command(home, "explain", "out", "--id", str(far)),
        "label": command(home, "label", "out", "--input", "pool", "--output", "new"),
        "new": pd.read_parquet(home / "new"),
        "labels": pd.read_parquet(home / "out" / "labels"),
        "undecided": pd.read_parquet(home / "out" / "undecided"),
    }


def command(home: Path, *arguments: str) -> dict[str, Any]:
    """Run a command of the copy, and return its document."""
    run = subprocess.run(
        [sys.executable, "-m", "spark_pseudolabel", *arguments, "--output-format", "json"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout)


def test_policy_in_a_file_of_its_own_selects(done: dict[str, Any]) -> None:
    (first,) = done["run"]["rounds"]
    scored = first["accepted"] + first["rejected"]
    by_class = first["accepted_by_class"]
    assert sum(by_class.values()) == len(done["labels"])
    assert scored / 4 <= first["accepted"] <= scored / 4 + len(by_class)


def test_teacher_in_a_file_of_its_own_labels_and_abstains(done: dict[str, Any]) -> None:
    rows, pool = done["run"]["rows"], done["pool"]
    assert rows["abstained"] >= 20
    parts = ("accepted", "rejected", "invalid", "abstained")
    assert sum(rows[part] for part in parts) == len(pool)
    silent = done["undecided"].query("reason == 'abstained'")
    assert len(silent) == rows["abstained"]
    assert silent["label"].isna().all()
    assert set(pool.loc[pool.x > 50, "id"]) <= set(silent["id"])
    truth = done["rows"].set_index("id")["kind"]
    labels = done["labels"].set_index("id")["label"]
    assert (labels == truth[labels.index]).mean() > 0.95


def test_rows_that_it_abstained_from_are_explained(done: dict[str, Any]) -> None:
    assert done["far"]["kind"] == "abstained"
    assert "abstained" in done["far"]["text"]


def test_new_rows_are_labeled_by_it(done: dict[str, Any]) -> None:
    new = done["new"].set_index("id")
    assert len(new) == len(done["pool"])
    labels = done["labels"].set_index("id")["label"]
    assert (new.loc[labels.index, "label"] == labels).all()


def test_estimator_of_a_line_of_its_own_is_fitted(home: Path) -> None:
    code = """
import numpy as np, pandas as pd
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.job.teachers import teacher_of
config = parse_config({
    "labeled": {"path": "a", "label": "y"}, "unlabeled": {"path": "b"}, "output": {"path": "c"},
    "id": "id", "selection": {"policy": "threshold"},
    "model": {"estimator": "RadiusNeighborsClassifier", "params": {"radius": 9}},
})
rows = TrainingRows(pd.DataFrame({"x": [0.0, 1.0]}), np.array([0, 1], dtype=np.int32), None, 0)
model = teacher_of(config, (Feature("x", "numeric", "double"),)).fit(rows, ("no", "yes"))
print(model.predict_proba(rows.X).shape)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=True
    )
    assert run.stdout == "(2, 2)\n"
