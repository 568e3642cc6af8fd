from __future__ import annotations

import pytest

from spark_pseudolabel.formats import is_hidden
from spark_pseudolabel.store import layout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model-0001.json", ("model", 1)),
        ("round-12345.json", ("round", 12345)),
        ("final-0000.json", ("final", 0)),
        (".model-0001.json.ab.tmp", None),
        ("model-1.json", None),
        ("model-0001.json.bak", None),
        ("other-0001.json", None),
    ],
)
def test_only_names_of_manifests_are_read(name: str, expected: tuple[str, int] | None) -> None:
    assert layout.parse_commit_name(name) == expected


def test_all_of_a_run_but_its_views_is_hidden_from_readers() -> None:
    paths = [
        layout.LAYOUT_FILE,
        layout.LEASE_FILE,
        layout.config_file("r"),
        layout.commit_file("r", "round", 1),
        layout.attempt_dir("r", "round", 1, "a"),
    ]
    assert all(is_hidden(path) for path in paths)
    assert not any(is_hidden(view) for view in layout.VIEWS)
