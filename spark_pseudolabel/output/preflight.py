"""What can be said against a configuration or a call before Spark starts: seconds sooner.

Only what files on the local disk tell for certain. Where that is nothing, as for tables of a
catalog, other file systems and formats that only Spark reads, the run itself finds out.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spark_pseudolabel.config import Config, identity
from spark_pseudolabel.config.sections import Table
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.formats import is_hidden, is_tab_separated
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import Files, LocalFiles, join, local_path, scheme_of
from spark_pseudolabel.store.identity import read_run, require_place, require_same_configuration
from spark_pseudolabel.store.layout import end_file
from spark_pseudolabel.store.manifest import ModelManifest
from spark_pseudolabel.store.store import RoundStore

MOST_FILES = 64
"""Files whose columns are looked at; of more, a column may be in any other one."""
# Where they are set, a path without a scheme may be on another file system.
_ELSEWHERE = ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_CONF_DIR", "SPARK_HOME")
Options = Mapping[str, str]
"""What Spark is told about a table's format."""
_UNDERSTOOD = frozenset({"header", "sep", "delimiter", "encoding", "inferSchema", "quote"})


def check_configuration(config: Config) -> None:
    """Refuse inputs that are not there or lack a column, and an output of another configuration.

    Raises
    ------
    InputError
        As the run would, before any JVM.
    StoredStateError
        If what is stored in the output is damaged.
    """
    if not paths_are_local(config.spark.conf):
        return
    for table in _tables(config):
        _check_table(table)
    if (output := _local(config.output.path)) is not None:
        files, root = output
        require_place(files, root)
        if (run := read_run(files, root)) is not None:
            require_same_configuration(run, identity(config), root)
            if config.incremental is None:
                refuse_generations(files, root)


def check_labeling(out: str, source: str, target: str) -> None:
    """Refuse a call of ``label`` whose run is not finished, or whose paths will not do.

    Raises
    ------
    InputError
        As the command would, before any JVM.
    """
    if not paths_are_local({}):
        return
    if (run := _local(out)) is not None:
        store = RoundStore.open(*run)
        require_finished(store, out)
        assert store.final is not None
        require_inductive(store.models[store.final.final_model - 1])
    if _is_there(source) is False:
        raise _missing("--input", source)
    if _is_there(target):
        raise output_exists(target)


def refuse_generations(files: Files, root: str) -> None:
    """Refuse to go on with a first run whose rows were left to later generations."""
    if files.exists(join(root, end_file(1))):
        raise InputError(
            f"{root} holds generations of an incremental run. Add --incremental (or write "
            "incremental: true) to label what is new, or use another output.path.",
            code="generations",
            where="incremental",
        )


def require_finished(store: RoundStore, out: str) -> None:
    """Refuse a run without an end."""
    if store.final is None:
        raise InputError(
            f"{out} must hold a finished run. Run its configuration again to finish it.",
            code="not_finished",
            where=out,
        )


def require_inductive(model: ModelManifest) -> None:
    """Refuse to score other rows with a model that knows those of its run alone."""
    if model.artifact.transductive:
        raise InputError(
            "The final model of this run scores the rows of its graph and no others. Name a "
            "student, a model that learns from the graph's labels, or let teacher be graph: "
            "anchors, which scores any row; then run into a new output.path.",
            code="transductive",
            where="teacher.student",
        )


def output_exists(target: str) -> InputError:
    """Return the error about an output of ``label`` that is there already."""
    return InputError(
        f"--output {target!r} must not exist yet: nothing is ever overwritten.",
        code="output_exists",
        where=target,
    )


def paths_are_local(conf: Mapping[str, str]) -> bool:
    """Whether a path without a scheme is on the local disk, as far as that shows."""
    elsewhere = any("fs.default" in key for key in conf) or "PYSPARK_GATEWAY_PORT" in os.environ
    return not elsewhere and not any(os.environ.get(name) for name in _ELSEWHERE)


def _local(path: str) -> tuple[LocalFiles, str] | None:
    if scheme_of(path) not in ("", "file"):
        return None
    files, root = open_files(path)
    assert isinstance(files, LocalFiles)
    return files, root


def _is_there(path: str) -> bool | None:
    """Whether a path exists; None where it is not on the local disk."""
    local = _local(path)
    return None if local is None else local[0].exists(local[1])


@dataclass(frozen=True)
class _Table:
    """A table of a configuration, and the columns that it must have."""

    name: str
    section: Table
    columns: Sequence[str]


def _tables(config: Config) -> Iterator[_Table]:
    key = [config.id] if config.id is not None else []
    label, groups = config.label, _groups(config)
    named = config.teacher.columns if config.teacher is not None else ()
    included = list(dict.fromkeys([*(config.features.include or ()), *named]))
    if config.labeled is not None:
        yield _Table("labeled", config.labeled, [*key, label, *groups, *included])
    yield _Table("unlabeled", config.unlabeled, [*key, *included])
    yield _Table("validation", config.validation, [*key, label])
    if config.test is not None:
        yield _Table("test", config.test, [*key, label])


def _groups(config: Config) -> list[str]:
    of_labeled = None if config.labeled is None else config.labeled.group
    return [group for group in (config.validation.group, of_labeled) if group is not None]


def _check_table(table: _Table) -> None:
    path = table.section.path
    if path is None or _local(path) is None:
        return
    root = Path(local_path(path))
    if not root.exists():
        # The run itself reports a pattern as what it is.
        if not any(character in path for character in "*?[{"):
            raise _missing(f"{table.name}.path", path)
        return
    columns = _columns(root, table.section)
    if columns is None:
        return
    known = {column.lower() for column in columns}
    missing = [column for column in table.columns if column.lower() not in known]
    if missing:
        raise InputError.missing_columns(table.name, missing, columns, path)


def _missing(what: str, path: str) -> InputError:
    return InputError(
        f"{what} {path!r} does not exist. Relative paths are relative to the working directory.",
        code="missing_path",
        where=path,
    )


def _columns(root: Path, section: Table) -> list[str] | None:
    """Return the columns of all files together; None where they aren't certain."""
    read = _READERS.get(section.format)
    listed = [info.path for info in LocalFiles().list(str(root)) if not is_hidden(info.path)]
    partitioned = any("=" in path for path in listed)
    if read is None or not listed or len(listed) > MOST_FILES or partitioned:
        return None
    together: dict[str, None] = {}
    for path in listed:
        columns = read(root / path if path else root, section.options)
        if columns is None:
            return None
        together |= dict.fromkeys(columns)
    return [*together]


def _of_parquet(path: Path, options: Options) -> list[str] | None:
    # Imported late: a configuration of tables must not wait for it.
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pyarrow.OSFile(str(path), "rb") as opened:
            return list(pq.read_schema(opened).names)
    except (OSError, pyarrow.ArrowException):
        return None


def _of_csv(path: Path, options: Options) -> list[str] | None:
    if not set(options) <= _UNDERSTOOD or options.get("header", "true").lower() != "true":
        return None
    usual = "\t" if is_tab_separated(path.name) else ","
    separator = options.get("sep", options.get("delimiter", usual))
    encoding = options.get("encoding", "utf-8-sig")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding=encoding, newline="") as opened:
            rows = csv.reader(opened, delimiter=separator, quotechar=options.get("quote", '"'))
            header = next(filter(any, rows))
    except (OSError, EOFError, ValueError, LookupError, TypeError, csv.Error, StopIteration):
        return None
    # Of a single name the run says what the separator seems to be.
    return header if len(header) > 1 else None


_READERS: Mapping[str, Callable[[Path, Options], list[str] | None]] = {
    "parquet": _of_parquet,
    "csv": _of_csv,
}
