"""What can go wrong, drawn as a tree; each leaf knows its exit code.

PseudoLabelError
├── ConfigError       2   the configuration or the command line is wrong
├── InputError        3   inputs or environment do not hold what the configuration says
├── OutputBusyError   4   another run holds this output
├── StoredStateError  5   stored state fails verification
├── PublishUnknownError 6 a publish may or may not have landed; rerun is safe
├── DriftError        7   new rows are unlike those that the model was made for
└── RunFailedError   10   failed, a rerun may help

Ctrl-C is Python's own ``KeyboardInterrupt`` (exit code 130).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from spark_pseudolabel.redaction import redacted, redacted_text


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration.

    Parameters
    ----------
    key
        Dotted key, such as ``selection.threshold``.
    message
        What must hold, what was found, what to do.
    file, line
        Where it stands; None when it came from the command line or from Python.
    """

    key: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line} " if self.file and self.line else ""
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


class PseudoLabelError(Exception):
    """Base of every error this package raises on purpose.

    Parameters
    ----------
    message
        What must hold, what was found, what to do; shown to the user as it is.
    code
        Stable name of the problem for machines, such as ``missing_column``.
    where
        The file, table, column or key concerned, if there is one.

    Attributes
    ----------
    run_id
        The run that it ended, where the command knows.
    """

    exit_code: ClassVar[int] = 10
    default_code: ClassVar[str] = "failed"
    run_id: str | None = None

    def __init__(self, message: str, *, code: str | None = None, where: str | None = None):
        # A file's name may hold line breaks, and would tell lines of its own.
        named = message if not where else message.replace(where, " ".join(where.splitlines()))
        self.message = redacted_text(named)
        super().__init__(self.message)
        self.code = code or self.default_code
        self.where = redacted(where)


class ConfigError(PseudoLabelError):
    """The configuration is wrong: correct it and run again."""

    exit_code = 2
    default_code = "bad_config"

    def __init__(self, problems: str | list[Problem], *, code: str | None = None):
        if isinstance(problems, str):
            problems = [Problem(key="", message=problems)]
        super().__init__(
            "\n".join(str(problem) for problem in problems),
            code=code,
            where=problems[0].key or None,
        )
        self.problems = tuple(problems)


class InputError(PseudoLabelError):
    """Inputs or environment do not hold what the configuration says."""

    exit_code = 3
    default_code = "bad_input"

    @classmethod
    def expired(cls, what: str, pinned: str) -> Self:
        """Name what is gone of the version of a table that a run keeps to.

        Parameters
        ----------
        what
            The file.
        pinned
            Table and version, in words.
        """
        return cls(
            f"{what} is gone, which {pinned} needs: the version is expired, by VACUUM or by "
            "deleting old snapshots. Start with a new output.path, which reads the latest version, "
            "and let the table keep versions for as long as a run may take.",
            code="version_expired",
            where=what,
        )

    @classmethod
    def missing_columns(
        cls, table: str, missing: Sequence[str], columns: Sequence[str], path: str | None = None
    ) -> Self:
        """Say which columns a table lacks, which ones were probably meant, and what it has."""
        spelled = []
        for name in missing:
            near = difflib.get_close_matches(name, columns, n=1)
            spelled.append(f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name))
        which = f"{table} ({path})" if path is not None else table
        return cls(
            f"{which} lacks the column{'s' if len(spelled) > 1 else ''} {', '.join(spelled)}. "
            f"Its columns are {', '.join(map(repr, columns))}.",
            code="missing_column",
            where=missing[0],
        )


class OutputBusyError(PseudoLabelError):
    """Another run holds this output: wait for it, or end it."""

    exit_code = 4
    default_code = "output_busy"


class StoredStateError(PseudoLabelError):
    """Stored state fails verification: a person has to look at it."""

    exit_code = 5
    default_code = "stored_state"


class PublishUnknownError(PseudoLabelError):
    """A publish may or may not have landed: nothing was deleted, run again."""

    exit_code = 6
    default_code = "publish_unknown"


class DriftError(PseudoLabelError):
    """New rows are too unlike those that the model was made for: nothing new was labeled."""

    exit_code = 7
    default_code = "drift"


class RunFailedError(PseudoLabelError):
    """The run failed for a reason outside its inputs: run again."""

    exit_code = 10
    default_code = "failed"


def text_of(error: BaseException) -> str:
    """Return what an error says; what is left to say if it cannot say it.

    Errors of the JVM ask it for their text, also when it is gone.
    """
    try:
        return str(error)
    except Exception:  # noqa: BLE001  whatever a text that cannot be fetched ends with
        texts = [argument for argument in error.args if isinstance(argument, str)]
        return " ".join(texts) or type(error).__name__
