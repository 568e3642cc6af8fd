"""Which files of a pool no generation has read, told from a listing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spark_pseudolabel.config import Config, identity
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.formats import FILE_FORMATS, LOGGED_FORMATS, is_hidden
from spark_pseudolabel.output.generations import reported
from spark_pseudolabel.report.document import Notice, Report
from spark_pseudolabel.store import seen
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import scheme_of
from spark_pseudolabel.store.generations import Generations
from spark_pseudolabel.store.identity import require_same_configuration
from spark_pseudolabel.store.inputs import SeenFile
from spark_pseudolabel.store.logs.opening import read_version
from spark_pseudolabel.store.logs.version import TableVersion
from spark_pseudolabel.store.published import lost_generations
from spark_pseudolabel.wording import agreeing, counted

_NAMED = 5


@dataclass(frozen=True)
class NewFiles:
    """The files of the pool that no generation has read.

    Parameters
    ----------
    paths
        Relative to the pool's directory; None where the pool is no directory of files, so that
        which rows are new is told by their ids alone.
    notices
        What a user should know of the others.
    """

    paths: frozenset[str] | None
    notices: tuple[Notice, ...] = ()

    @property
    def none(self) -> bool:
        """Whether there is certainly nothing new."""
        return self.paths is not None and not self.paths


def is_listed(config: Config) -> bool:
    """Whether the pool is files, of which a listing or the table's log tells the new ones."""
    pool = config.unlabeled
    return is_logged(config) or (pool.path is not None and pool.format in FILE_FORMATS)


def is_logged(config: Config) -> bool:
    """Whether the pool is a table that keeps a log."""
    pool = config.unlabeled
    return pool.format in LOGGED_FORMATS and (pool.path is not None or pool.table is not None)


def logged(version: TableVersion, read: Sequence[SeenFile]) -> NewFiles:
    """Tell the files of a table's version that were not read.

    That others are gone, since the table was compacted or rows were deleted, is no news: its log
    says which rows there are, and ids tell those that were seen before.
    """
    if version.only_spark:
        return NewFiles(None)
    there = {file.info.path for file in version.files}
    return NewFiles(frozenset(there - {file.path for file in read}))


def compared(listed: Sequence[SeenFile], read: Sequence[SeenFile]) -> NewFiles:
    """Compare a listing with the files that were read; see :func:`find_new`."""
    now = {file.path: file for file in listed}
    changed = [file.path for file in read if file.path in now and _resized(file, now[file.path])]
    if changed:
        raise InputError(
            f"{counted(len(changed), 'file')} of unlabeled that earlier generations have labeled "
            f"{agreeing(len(changed), 'has', 'have')} another length now: {_some(changed)}. Which "
            "of their rows are new can't be told. Restore them, and put new rows into new files.",
            code="inputs_changed",
            where=changed[0],
        )
    gone = sorted({file.path for file in read} - set(now))
    touched = [file.path for file in read if file.path in now and file != now[file.path]]
    return NewFiles(
        frozenset(now) - {file.path for file in read},
        (
            *_notice("files_gone", gone, "is", "are", "gone; the labels stay"),
            *_notice(
                "files_touched",
                touched,
                "was",
                "were",
                "written again, as long as before: not read again, and the labels stay",
            ),
        ),
    )


def report_if_nothing_new(config: Config) -> Report | None:
    """Return the report of the latest generation where a listing shows no new file; else None.

    None also wherever that can't be decided from listings of local files alone.

    Raises
    ------
    InputError
        If files that were read have another length now.
    StoredStateError
        If what is stored in the output is damaged.
    """
    path = config.unlabeled.path
    places = [config.output.path, path or ""]
    elsewhere = any(scheme_of(place) not in ("", "file") for place in places)
    if path is None or elsewhere or not is_listed(config):
        return None
    generations = Generations.read(*open_files(config.output.path))
    if generations is None or (ended := generations.end(generations.count)) is None:
        return None
    end = ended[0]
    store = generations.store(end.generation)
    if end.facts.outcome != "labeled" or not store.views_are_current():
        return None
    if lost_generations(generations):
        return None
    require_same_configuration(generations.first, identity(config), generations.root)
    files, root = open_files(str(path))
    if is_logged(config):
        pool = config.unlabeled
        version = read_version(files, root, pool.format, pool.options, version=pool.version)
        found = logged(version, seen.read_files(store, end.files))
        return Report.model_validate(reported(generations, end)) if found.none else None
    listed = [SeenFile.of(info) for info in files.list(root) if not is_hidden(info.path)]
    new = compared(listed, seen.read_files(store, end.files))
    if new.paths:
        return None
    return with_notices(Report.model_validate(reported(generations, end)), new.notices)


def with_notices(report: Report, notices: Sequence[Notice]) -> Report:
    """Return a report with what is to be known beside it, each once."""
    known = {(each.code, each.message) for each in report.warnings}
    more = [each for each in notices if (each.code, each.message) not in known]
    return report.model_copy(update={"warnings": [*report.warnings, *more]})


def _resized(before: SeenFile, after: SeenFile) -> bool:
    return before.bytes != after.bytes


def _notice(code: str, paths: Sequence[str], one: str, many: str, what: str) -> tuple[Notice, ...]:
    if not paths:
        return ()
    n = f"{counted(len(paths), 'file')} of unlabeled"
    verb = agreeing(len(paths), one, many)
    message = f"{n} that earlier generations have labeled {verb} {what}: {_some(paths)}."
    return (Notice.about(code, message),)


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more
