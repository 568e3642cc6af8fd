"""Arguments and options that several commands have, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from spark_pseudolabel.errors import ConfigError


class OutputFormat(StrEnum):
    """What standard output carries."""

    TEXT = "text"
    JSON = "json"


class LogFormat(StrEnum):
    """What standard error carries."""

    TEXT = "text"
    JSON = "json"


Conf = Annotated[str, typer.Argument(metavar="CONF", help="YAML configuration file.")]
Out = Annotated[str, typer.Argument(metavar="OUT", help="Output of a run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as in a.b=value; repeatable."),
]
AllowImport = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-import",
        metavar="PACKAGE",
        help="Let estimators be imported from this package; repeatable.",
    ),
]
Incremental = Annotated[
    bool,
    typer.Option(
        "--incremental", help="Label what is new since the last run into the same output."
    ),
]
Format = Annotated[
    OutputFormat, typer.Option("--output-format", help="What standard output carries.")
]
ResultFile = Annotated[
    str | None,
    typer.Option("--result", metavar="FILE", help="Write the JSON document to this file, too."),
]
Log = Annotated[
    LogFormat,
    typer.Option("--log-format", help="What standard error carries: sentences, or a JSON a line."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")]


@dataclass(frozen=True)
class AnswerOptions:
    """How a command answers: the options that every command has."""

    output_format: Format = OutputFormat.TEXT
    result: ResultFile = None
    debug: Debug = False
    quiet: Quiet = False
    log_format: Log = LogFormat.TEXT

    @property
    def json_log(self) -> bool:
        """Whether standard error carries an event a line."""
        return self.log_format == LogFormat.JSON

    @property
    def json(self) -> bool:
        """Whether standard output carries the document."""
        return self.output_format == OutputFormat.JSON


def wrong_usage(message: str) -> ConfigError:
    """Return the error about arguments that are wrong."""
    return ConfigError(message, code="usage")
