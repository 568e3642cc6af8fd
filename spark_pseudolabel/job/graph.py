"""The step before the first model, where that knows rows by a graph: who is whose neighbor."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from spark_pseudolabel.core.kernel import node_vectors
from spark_pseudolabel.core.nodes import NodeTable
from spark_pseudolabel.core.teachers.neighbors import NeighborTeacher
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.spark.neighbors import (
    BLOCK,
    plan_search,
    vector_blocks,
    write_edges,
)
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.manifest import BuiltGraph

VECTORS, EDGES = "vectors", "edges"
_GIVEN, _IDS = "given.parquet", "ids.parquet"


def build_graph(run: Run) -> None:
    """Find the neighbors of all rows, with and without labels, and commit them."""
    started = time.monotonic()
    setting, store, models = run.setting, run.store, run.models
    attempt = store.new_attempt("graph", 1)
    teacher = models.prepared(models.teacher)
    assert isinstance(teacher, NeighborTeacher)
    assert teacher.vectors is not None
    features, vectors = setting.inputs.features, teacher.vectors
    with run.events.stage(0, "graph", setting.inputs.pool_rows), described(run.spark, "graph"):
        given = _given_nodes(setting, teacher)
        folder = join(attempt.path, VECTORS)
        transform = partial(
            vector_blocks, features=features, nodes=setting.nodes("pool"), vectors=vectors
        )
        written = run.backend.pool.write_rows(transform, BLOCK, folder)
        store.write_file(attempt, _GIVEN, _parquet(given), given.num_rows)
        names = [folder] if written is None else [join(folder, name) for name in written]
        paths = [*names, join(attempt.path, _GIVEN)]
        failpoint("graph.vectors")
        search = plan_search(run.spark, paths, setting.node_rows, teacher.settings.k)
        write_edges(run.spark, paths, search, join(attempt.path, EDGES))
        failpoint("graph.edges")
        ids = _parquet(pa.table({"ids": search.ids}))
        built = BuiltGraph(
            edges=store.entries(attempt, EDGES),
            ids=store.write_file(attempt, _IDS, ids, len(search.ids)),
            k=teacher.settings.k,
            invalid=search.invalid,
            cells=len(search.centers),
            recall=search.recall,
            seconds={"graph": round(time.monotonic() - started, 3)},
        )
        for path in (folder, join(attempt.path, _GIVEN)):
            store.files.delete_tree(path)
    manifest = store.commit_graph(attempt, built)
    run.events.event(
        "graph",
        nodes=manifest.ids.rows,
        neighbors=manifest.k,
        recall=manifest.recall,
        seconds=manifest.seconds,
    )


def _given_nodes(setting: Setting, teacher: NeighborTeacher) -> pa.Table:
    """Return the rows with true labels as blocks; those of a validation table may be invalid."""
    blocks = []
    tables: Sequence[tuple[NodeTable, pa.Table]] = (
        ("labeled", setting.inputs.labeled),
        ("validation", setting.inputs.validation),
    )
    for name, rows in tables:
        if rows.num_rows:
            batch = rows.combine_chunks().to_batches()[0]
            nodes, features = setting.nodes(name), setting.inputs.features
            assert teacher.vectors is not None
            ids, X, reasons = node_vectors(batch, features, nodes, teacher.vectors)
            if reasons and name == "labeled":
                raise _invalid(setting, reasons)
            blocks.append((ids, X))
    return pa.table(
        {
            "ids": [ids.tobytes() for ids, _ in blocks],
            "vectors": [X.tobytes() for _, X in blocks],
            "invalid": [0] * len(blocks),
        },
        schema=BLOCK,
    )


def _invalid(setting: Setting, reasons: dict[int, str]) -> InputError:
    row, reason = min(reasons.items())
    labeled = setting.inputs.labeled
    key = [f"{key} {labeled.column(key)[row].as_py()!r}" for key in setting.inputs.keys]
    others = f" So have {len(reasons) - 1:,} others." if len(reasons) > 1 else ""
    return InputError(
        f"The labeled row with {', '.join(key)} has no place in a graph: {reason}.{others} Clean "
        "these rows, leave the column out by features.exclude, or, of missing numbers, leave out "
        "teacher.standardize: false.",
        code="fit_failed",
        where="labeled",
    )


def _parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, use_dictionary=False, write_page_checksum=True)
    return sink.getvalue()
