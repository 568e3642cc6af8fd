"""Who may import whom (docs/architecture.md), read from the source without running it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = "spark_pseudolabel"
ROOT = Path(__file__).parents[1] / PACKAGE

# From the top down. A part may import itself and what stands in a later row; a part is what comes
# first below the package, and a module without a place here has yet to be given one.
ROWS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"api"},
    {"job"},
    {"output"},
    {"progress"},
    {"spark", "store", "report", "evaluate"},
    {"config"},
    {"core"},
    {"fields", "columns", "errors", "program", "formats", "registry", "version", "wording"},
    {"redaction"},
]
# Neighbors in a row that may know each other: a file system behind the JVM is one of the store's.
NEIGHBORS = {("spark", "store")}
# What runs there needs no Spark: it is tested, and used by commands, without a JVM.
WITHOUT_SPARK = ("core", "config", "store", "output", "evaluate")
# Lines that say `dict[str, Any]`: where JSON is really free, as parameters of estimators are,
# configurations as they are written, and schemas.
MOST_LOOSE_DICTS = 32

# Modules with logic and without a test file of their own, by the tests that prove them. They are
# steps of something that shows in its whole only, or examples in their docstrings say it all.
PROVED_BY = {
    "tests/runs": (
        "job.adjust job.expected job.finish job.finished job.label_errors job.labeling job.loop "
        "job.models job.out_of_fold job.preview job.score job.setting job.shift job.summary "
        "job.teachers job.units job.views job.warn spark.backends spark.evaluation spark.groups "
        "spark.direct.merging spark.direct.pool spark.frame.stored_rows core.discovery"
    ),
    "tests/runs/test_incremental.py": (
        "job.adopted job.drift job.generations job.new_rows output.deciding output.generations "
        "store.published"
    ),
    "tests/runs/test_snapshots.py": "job.snapshots spark.snapshot",
    "tests/runs/test_training_places.py": (
        "job.dealt_training job.trainers spark.dealing spark.engines"
    ),
    "tests/spark/inputs/test_reading.py": (
        "spark.inputs.answered spark.inputs.checks spark.inputs.facts spark.inputs.fingerprints "
        "spark.inputs.ids spark.inputs.labeled spark.inputs.opening spark.inputs.pool "
        "spark.inputs.survey "
        "spark.reading.collecting spark.reading.folders spark.reading.row_errors "
        "spark.reading.tables"
    ),
    "tests/spark/reading/test_csv_files.py": "spark.reading.compressed",
    "tests/spark/direct/test_source.py": (
        "spark.direct.damage spark.direct.survey spark.reading.schema_text core.calendars"
    ),
    "tests/spark/reading/test_logged.py": "spark.direct.logged",
    "tests/runs/test_logged.py": "store.logs.rows",
    "tests/store/logs/test_delta.py": "store.logs.opening store.logs.version",
    "tests/spark/direct/test_bringing.py": "spark.scratch",
    "tests/spark/direct/test_plain_csv.py": "core.text_values",
    "tests/spark/direct/test_keys.py": "spark.frame.keys",  # both backends by the same tests
    "tests/spark/reading/test_settle_types.py": "spark.reading.names",
    "tests/spark/startup/test_jvm.py": "spark.startup.java",
    "tests/spark/startup/test_session.py": (
        "spark.progress spark.startup.daemon spark.startup.freezing spark.startup.warm_up"
    ),
    "tests/core/selection/test_exact.py": (
        "core.selection.plan core.selection.policies.k_best core.selection.policies.one_shot "
        "core.selection.policies.threshold core.selection.policies.top_k_per_class"
    ),
    "tests/core/teachers/test_committee.py": (
        "core.teachers.kind core.teachers.kinds.committee core.teachers.teacher"
    ),
    "tests/core/teachers/test_anchors.py": "core.teachers.kinds.anchors",
    "tests/core/teachers/test_block_gradients.py": (
        "core.teachers.block_labels core.teachers.block_products core.teachers.block_scheme "
        "core.teachers.exact_median core.teachers.graph_blocks"
    ),
    "tests/core/teachers/test_graph_solvers.py": (
        "core.teachers.conjugate_gradients core.teachers.neighbor_graph"
    ),
    "tests/core/teachers/test_neighbors.py": (
        "core.nodes core.teachers.graph_vectors core.teachers.kinds.neighbors "
        "core.teachers.node_scores"
    ),
    "tests/core/teachers/test_training.py": "core.teachers.training_frame",
    "tests/core/teachers/test_peers.py": (
        "core.teachers.co_training core.teachers.tri_training core.teachers.kinds.tri_training "
        "core.teachers.kinds.views"
    ),
    "tests/core/trust/test_certificate.py": (
        "core.trust.claims core.trust.evidence core.trust.promise"
    ),
    "tests/core/test_features.py": "core.feature",
    "tests/core/test_kernel.py": "core.number_scores core.scored_rows",
    "tests/config/test_numbers.py": "config.tolerance",
    "tests/core/compiled/test_models.py": (
        "core.compiled.forest core.compiled.lightgbm_trees core.compiled.loops "
        "core.compiled.paths core.compiled.sklearn_forests core.compiled.sklearn_trees "
        "core.compiled.walks core.compiled.xgboost_trees"
    ),
    "tests/config": "fields registry core.selection.promised core.teachers.kinds.rules",
    "tests/store/test_facts.py": "core.facts store.inputs",
    "tests/store/test_store.py": (
        "store.file_lists store.file_systems store.given_rows store.history store.identity"
    ),
    "tests/report/test_text.py": "report.words wording",
    "tests/output/test_status.py": "output.opening output.state",
    "tests/output/test_first_look.py": "output.starter",
    "tests/output/test_attribution.py": "output.scoring",
    "tests/output/review/test_export.py": (
        "cli.review_commands output.review.features output.review.finished output.review.kind "
        "output.review.kinds.queue output.review.label_studio output.review.sheets "
        "output.review.vectors report.review_text"
    ),
    "tests/output/review/test_importing.py": (
        "output.review.answer_files output.review.reports output.review.state store.answers"
    ),
    "tests/output/review/test_next_run.py": "spark.answered",
    "tests/output/review/test_revoking.py": ("output.labels output.review.explaining store.review"),
    "tests/output/review/test_audits.py": (
        "output.review.drawing output.review.kinds.audit output.review.labels report.audit_text"
    ),
    "tests/output/review/test_certify.py": "output.review.kinds.certify",
    "tests/cli/test_output_commands.py": "output.gc output.report output.verify",
    "tests/cli/test_failures.py": "cli.options",
    "tests/cli/test_sessions.py": "cli.signals",
    "tests/runs/test_cluster_graph.py": (
        "job.cluster_graph spark.block_spreading spark.graph_blocks spark.packing"
    ),
    "tests/runs/test_graph.py": "job.graph job.spreading spark.neighbors",
    "tests/core/teachers/test_correct_and_smooth.py": (
        "core.teachers.graph_with_committee core.teachers.node_votes"
    ),
    "tests/evaluate/test_numbers.py": (
        "evaluate.number_confidences evaluate.number_data evaluate.number_task"
    ),
    "tests/evaluate/test_methods.py": (
        "evaluate.accuracy evaluate.certificates evaluate.data evaluate.guarded evaluate.known "
        "evaluate.graphs evaluate.measured evaluate.promises evaluate.quick "
        "evaluate.shift evaluate.tables"
    ),
}
TESTS = ROOT.parent / "tests"


def test_imports_run_one_way() -> None:
    wrong = [
        f"{module}:{line} imports {target}"
        for module, line, target in _own_imports()
        if not _may_import(_part(module), _part(target))
    ]
    assert wrong == []


def test_no_modules_import_each_other() -> None:
    names = {module for module, _ in _modules()}
    imports: dict[str, set[str]] = {module: set() for module in names}
    for module, _, target in _own_imports():
        known = target if target in names else target.rpartition(".")[0]
        if known in names - {module, PACKAGE}:  # the package itself only exports
            imports[module].add(known)
    try:
        tuple(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_module_has_a_place() -> None:
    parts = {_part(module) for module, _ in _modules()} - {""}
    assert parts - set().union(*ROWS) == set()


@pytest.mark.parametrize("part", WITHOUT_SPARK)
def test_never_imports_pyspark(part: str) -> None:
    wrong = [
        f"{module}:{line}"
        for module, line, target in _imports()
        if _part(module) == part and target.split(".")[0] in {"pyspark", "py4j"}
    ]
    assert wrong == []


def test_loading_core_and_store_loads_no_spark() -> None:
    modules = [module for module, _ in _modules() if _part(module) in WITHOUT_SPARK]
    if find_spec("numba") is None:
        modules.remove(f"{PACKAGE}.core.compiled.loops")
        modules.remove(f"{PACKAGE}.core.compiled.walks")
    assert _loaded_by(modules) & {"pyspark", "py4j", "typer"} == set()


def test_executors_load_neither_configuration_nor_command_line() -> None:
    loaded = _loaded_by([f"{PACKAGE}.core.kernel"])
    assert loaded & {"pydantic", "pyspark", "py4j", "typer", "rich", "yaml", "matplotlib"} == set()
    assert "numba" not in loaded  # only where there is much to score: it takes half a second


def test_every_module_with_logic_has_its_tests() -> None:
    alone = {
        module.removeprefix(f"{PACKAGE}.")
        for module, path in _modules()
        if not path.stem.startswith("__") and _has_logic(path) and not _tests_of(path).exists()
    }
    elsewhere = [module for modules in PROVED_BY.values() for module in modules.split()]
    assert sorted(elsewhere) == sorted(alone)
    assert [tests for tests in PROVED_BY if not (ROOT.parent / tests).exists()] == []


def test_tests_import_no_private_names() -> None:
    private = [
        f"{path.relative_to(TESTS)}:{node.lineno} imports {name}"
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for target in _targets(node)
        if target.split(".")[0] == PACKAGE
        for name in target.split(".")[1:]
        if name.startswith("_") and not name.startswith("__")
    ]
    assert private == []


def test_facts_are_typed() -> None:
    lines = [line for _, path in _modules() for line in path.read_text().splitlines()]
    assert sum("dict[str, Any]" in line for line in lines) <= MOST_LOOSE_DICTS


def _has_logic(path: Path) -> bool:
    """Whether a function does anything: one of a protocol says what it is for and no more."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    statements = [statement for function in functions for statement in function.body]
    return any(
        not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in statements
    )


def _tests_of(path: Path) -> Path:
    return TESTS / path.relative_to(ROOT).parent / f"test_{path.name}"


def _may_import(part: str, target: str) -> bool:
    # The package itself only exports, and does so lazily.
    if part in {"", target} or target == "":
        return True
    return _row(part) < _row(target) or (part, target) in NEIGHBORS


def _row(part: str) -> int:
    return next((i for i, row in enumerate(ROWS) if part in row), len(ROWS))


def _part(module: str) -> str:
    """Return ``store`` for ``spark_pseudolabel.store.publish``, nothing for the package."""
    return module.removeprefix(PACKAGE).lstrip(".").split(".")[0]


def _own_imports() -> Iterator[tuple[str, int, str]]:
    for module, line, target in _imports():
        if target.split(".")[0] == PACKAGE:
            yield module, line, target


def _imports() -> Iterator[tuple[str, int, str]]:
    """Yield importing module, line and what is imported, inside functions too."""
    for module, path in _modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in _targets(node):
                yield module, node.lineno, target


def _targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        # `from spark_pseudolabel import job` names a module in what looks like an attribute.
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _loaded_by(modules: list[str]) -> set[str]:
    """Return the top-level packages in memory after a new interpreter imported the modules."""
    code = (
        f"import sys, {', '.join(modules)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_arrow_reads_nothing_of_python_in_threads_of_its_own() -> None:
    # They may let go of it when the interpreter is ending already: the process would be aborted.
    threaded = re.compile(r"\b(?:read_table|dataset|ParquetDataset)\(\s*(?:io\.|pa\.)?B\w+\(")
    assert [file for file in ROOT.rglob("*.py") if threaded.search(file.read_text())] == []
