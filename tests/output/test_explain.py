"""``explain`` of rows with a given label, from what a run has frozen."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_pseudolabel.columns import CODE, FILE, ROW_INDEX
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.report.text import render_explain
from spark_pseudolabel.store.given_rows import keep_given
from spark_pseudolabel.store.store import RoundStore
from tests.store.builders import IDENTITY, add_round, begin, fitted, tiny_model

PLACES = pa.table({FILE: ["a.parquet", "a.parquet"], ROW_INDEX: [0, 1]})
IDS = pa.table({"row_id": [7, 8]})


def begun(root: Path, keys: pa.Table, id_column: str | None) -> RoundStore:
    """Begin a run with two labeled rows, the label of the first of which is probably wrong."""
    identity = {**IDENTITY, "id": id_column, "rounds": {"relabel": False}}
    store = begin(root, identity=identity)
    labeled = keys.append_column(CODE, pa.array([0, 1], pa.int32()))
    keep_given(store, labeled, labeled.slice(0, 0), keys.column_names)
    attempt = store.new_attempt("model", 1)
    evidence = {
        "spl_given": [False],
        "spl_suggested": [True],
        "spl_p_given": [0.01],
        "spl_p_suggested": [0.99],
    }
    sink = io.BytesIO()
    pq.write_table(pa.table({**keys.slice(0, 1).to_pydict(), **evidence}), sink)
    store.commit_model(
        attempt,
        fitted(
            store.write_model(attempt, tiny_model()),
            (False, True),
            "boolean",
            suspects=store.write_file(attempt, "suspects.parquet", sink.getvalue(), 1),
        ),
    )
    return store


@pytest.mark.parametrize(
    ("keys", "id_column", "first", "second"),
    [(IDS, "row_id", "7", "8"), (PLACES, None, "a.parquet:0", "a.parquet:1")],
)
def test_a_label_that_is_probably_wrong_is_said_to_be(
    tmp_path: Path, keys: pa.Table, id_column: str | None, first: str, second: str
) -> None:
    add_round(begun(tmp_path, keys, id_column))
    explained = explain_row(str(tmp_path), first)
    assert (explained.kind, explained.given_label) == ("labeled", False)
    assert explained.suspicious is not None
    assert (explained.suspicious.given, explained.suspicious.suggested) == (False, True)
    assert (explained.suspicious.p_given, explained.suspicious.p_suggested) == (0.01, 0.99)
    assert "is in suspects/" in " ".join(render_explain(explained).split())
    other = explain_row(str(tmp_path), second)
    assert (other.kind, other.suspicious) == ("labeled", None)
    assert "suspects" not in other.text


def test_a_place_may_be_one_of_the_pool_until_a_round_has_looked_at_all(tmp_path: Path) -> None:
    begun(tmp_path, PLACES, None)
    with pytest.raises(InputError, match="none of the pool's rows") as refused:
        explain_row(str(tmp_path), "a.parquet:0")
    assert refused.value.code == "unknown_id"
