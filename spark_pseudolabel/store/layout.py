"""Where everything of a run lies below its output directory.

Names that begin with ``_`` or ``.`` are hidden from Spark, pyarrow and DuckDB's hive listing, so
that whoever reads the output directory by mistake finds nothing, rather than every attempt.
"""

from __future__ import annotations

import re
from typing import Final, Literal

LAYOUT: Final = 1

CommitKind = Literal["graph", "model", "round", "final", "review"]

LAYOUT_FILE = "_layout.json"
LEASE_DIR = "_lease"
LEASE_FILE = f"{LEASE_DIR}/lease.json"
RUNS_DIR = "_runs"
ATTEMPTS_DIR = "_attempts"
COMMITS_DIR = "_commits"
GENERATIONS_DIR = "_generations"
SNAPSHOTS_DIR = "_snapshots"
RETIRED_FILE = f"{GENERATIONS_DIR}/retired.json"
README_FILE = "README.txt"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"

MODEL_NAME = "model.skops"
TABLE_NAME = "part-000000.parquet"
VIEW_MARKER = "_view.json"
VIEWS = ("labels", "undecided", "training", "invalid", "suspects", "model")
# Those that follow what people do after the end of a run, in the order in which they are put: a row
# that loses its label is in `undecided` before it leaves the others.
FOLLOWING = ("undecided", "training", "labels")

ADDED_VIEWS = ("labels", "undecided", "invalid")
"""Those to which later generations add files of their own."""

# What may lie in an output directory before its run exists: left by a start that was cut off.
OURS = frozenset(
    {
        LAYOUT_FILE,
        LEASE_DIR,
        RUNS_DIR,
        ATTEMPTS_DIR,
        COMMITS_DIR,
        GENERATIONS_DIR,
        SNAPSHOTS_DIR,
        README_FILE,
    }
)

_CLAIM_NAME = re.compile(r"^generation-(\d{4,})\.json$")
_OF_GENERATION = re.compile(r"^generation-(\d{4,})-")
_COMMIT_NAME = re.compile(r"^(graph|model|round|final|review)-(\d{4,})\.json$")

README = """\
This directory was written by spark_pseudolabel. Read these, with any tool:

  labels/               Parquet: every row that got a label, once
  undecided/            Parquet: every row that was scored and got none, and why
  training/             Parquet: labeled and accepted rows, as the final model saw them
  invalid/              Parquet: rows that could not be scored, and why
  suspects/             Parquet: labeled rows whose given label is probably wrong
  model/model.skops     the final model
  report.json, .html    what happened, and how good it is

They are complete once report.json is there. `spark-pseudolabel verify <this directory>` tells
whether all is as the run left it; `spark-pseudolabel status` tells how far it is.

Names that begin with "_" are the run's memory. Do not read, change or delete them: a run that is
started again continues from there.
"""


def run_dir(run_id: str) -> str:
    """Return the directory of a run's frozen configuration and inputs."""
    return f"{RUNS_DIR}/{run_id}"


def config_file(run_id: str) -> str:
    """Return the file that holds a run's identity."""
    return f"{run_dir(run_id)}/config.json"


def inputs_file(run_id: str) -> str:
    """Return the file that holds a run's frozen inputs."""
    return f"{run_dir(run_id)}/inputs.json"


def given_file(run_id: str) -> str:
    """Return the file that holds the keys and labels of a run's given rows."""
    return f"{run_dir(run_id)}/given.parquet"


def commits_dir(run_id: str) -> str:
    """Return the directory of a run's manifests."""
    return f"{COMMITS_DIR}/{run_id}"


def commit_name(kind: CommitKind, number: int) -> str:
    """Return the name of a manifest.

    Examples
    --------
    >>> commit_name("round", 3)
    'round-0003.json'
    """
    return f"{kind}-{number:04d}.json"


def parse_commit_name(name: str) -> tuple[str, int] | None:
    """Return kind and number of a manifest's name, None for any other name."""
    match = _COMMIT_NAME.match(name)
    return (match[1], int(match[2])) if match else None


def commit_file(run_id: str, kind: CommitKind, number: int) -> str:
    """Return the path of a manifest."""
    return f"{commits_dir(run_id)}/{commit_name(kind, number)}"


def claim_file(generation: int) -> str:
    """Return the slot that is taken by whoever begins a generation, the second or a later one."""
    return f"{GENERATIONS_DIR}/generation-{generation:04d}.json"


def end_file(generation: int) -> str:
    """Return the slot that is taken when a generation has ended.

    Examples
    --------
    >>> end_file(2)
    '_generations/end-0002.json'
    """
    return f"{GENERATIONS_DIR}/end-{generation:04d}.json"


def claimed_generation(name: str) -> int | None:
    """Return the generation whose claim has this name, None for any other name."""
    match = _CLAIM_NAME.match(name)
    return int(match[1]) if match else None


def added_name(generation: int, name: str) -> str:
    """Return what a file of a later generation is called in a table that it is added to.

    Examples
    --------
    >>> added_name(12, "part-000000.parquet")
    'generation-0012-part-000000.parquet'
    """
    return f"generation-{generation:04d}-{name}"


def generation_of(name: str) -> int:
    """Return the generation that a file of a published table is of.

    Examples
    --------
    >>> generation_of("generation-0012-part-000000.parquet"), generation_of("part-000000.parquet")
    (12, 1)
    """
    match = _OF_GENERATION.match(name)
    return int(match[1]) if match else 1


def view_marker(generation: int) -> str:
    """Return the hidden file in which a table says what a generation has put there."""
    return VIEW_MARKER if generation == 1 else f"_view-{generation:04d}.json"


def attempt_dir(run_id: str, kind: CommitKind, number: int, attempt_id: str) -> str:
    """Return the directory that one try of a step has to itself."""
    return f"{ATTEMPTS_DIR}/{run_id}/{kind}-{number:04d}/{attempt_id}"


def view_build_dir(run_id: str, build_id: str) -> str:
    """Return the directory where a view is built, or put aside, before it is swapped."""
    return f"{ATTEMPTS_DIR}/{run_id}/views/{build_id}"


def scratch_dir(run_id: str, scratch_id: str) -> str:
    """Return the directory of rows on their way between the driver and workers of one start."""
    return f"{ATTEMPTS_DIR}/{run_id}/scratch/{scratch_id}"


def snapshot_dir(snapshot_id: str) -> str:
    """Return the directory of a pool that was frozen."""
    return f"{SNAPSHOTS_DIR}/{snapshot_id}"


def snapshot_file(snapshot_id: str) -> str:
    """Return the slot that is taken when a pool is frozen."""
    return f"{snapshot_dir(snapshot_id)}/snapshot.json"


def snapshot_kept_file(snapshot_id: str) -> str:
    """Return the file that says that a snapshot outlives its run."""
    return f"{snapshot_dir(snapshot_id)}/kept"


def snapshot_rows_dir(snapshot_id: str, attempt_id: str) -> str:
    """Return the directory that one try to freeze a pool has to itself."""
    return f"{snapshot_dir(snapshot_id)}/{attempt_id}"


def model_name(number: int) -> str:
    """Return the name of a model as it is in ``labels``.

    Examples
    --------
    >>> model_name(3)
    'model-0003'
    """
    return f"model-{number:04d}"
