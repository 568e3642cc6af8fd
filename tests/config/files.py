"""Configurations as files and as mappings, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spark_pseudolabel.config import Config, load_config
from spark_pseudolabel.errors import ConfigError

MINIMAL = """\
labeled: {path: labeled.parquet, label: income}
unlabeled: {path: pool}
output: {path: out}
"""


def told(text: str, tmp_path: Path, overrides: tuple[str, ...] = ()) -> list[str]:
    """Return what is told about a configuration, without the file's directory."""
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    return [str(p).replace(f"{tmp_path}/", "") for p in caught.value.problems]


def loaded(text: str, tmp_path: Path, overrides: tuple[str, ...] = ()) -> Config:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    return load_config(file, overrides)


def minimal(**sections: Any) -> dict[str, Any]:
    return {
        "labeled": {"path": "labeled.parquet", "label": "income"},
        "unlabeled": {"path": "pool"},
        "output": {"path": "out"},
        **sections,
    }
