"""From arguments to what they ask for, by typer alone.

A command is only read here; what it asks for comes back as a `Task` and is worked on outside of the
argument parser, so that every error and Ctrl-C is handled in one place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer
import typer.main

from spark_pseudolabel.cli.answers import Answer, print_text
from spark_pseudolabel.cli.options import AnswerOptions
from spark_pseudolabel.program import NAME as PROGRAM
from spark_pseudolabel.version import VERSION


@dataclass(frozen=True)
class Task:
    """What the arguments ask for.

    Parameters
    ----------
    work
        What is to be done.
    options
        How to answer.
    """

    work: Callable[[], Answer]
    options: AnswerOptions


Command = Callable[..., Answer]
"""Its first parameter is how it answers, common to all commands; the others are its own."""


@dataclass(frozen=True)
class Group:
    """Commands under a word of their own, as in ``review export``.

    Parameters
    ----------
    name
        The word.
    help
        What they are for.
    commands
        Each called like its function.
    """

    name: str
    help: str
    commands: Sequence[Command]


def make_parser(commands: Sequence[Command], groups: Sequence[Group] = ()) -> typer.Typer:
    """Return what reads the arguments of commands, each called like its function."""
    parser = _parser(
        PROGRAM,
        "From a few labels and a large unlabeled table to a large labeled table, on Spark.",
        commands,
    )
    parser.callback()(_options)
    for group in groups:
        parser.add_typer(_parser(group.name, group.help, group.commands), name=group.name)
    return parser


def _parser(name: str, text: str, commands: Sequence[Command]) -> typer.Typer:
    parser = typer.Typer(
        name=name,
        help=text,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in commands:
        # What is a word of Python has an underscore behind it.
        called = command.__name__.rstrip("_")
        parser.command(called, help=command.__doc__)(_reader(command))
    return parser


def read_task(parser: typer.Typer, arguments: Sequence[str]) -> Task | None:
    """Read arguments; None where they asked for a text that has been printed, such as --help.

    Raises
    ------
    Exception
        Of typer, with a ``format_message``, if the arguments are wrong.
    """
    task = parser([*arguments], prog_name=PROGRAM, standalone_mode=False)
    return task if isinstance(task, Task) else None


def read_answer_options(arguments: Sequence[str]) -> AnswerOptions:
    """Read how to answer from arguments that are wrong otherwise."""
    parser = typer.Typer(add_completion=False)
    parser.command()(AnswerOptions)
    command = typer.main.get_command(parser)
    flags = {name for option in command.params if option.is_flag for name in option.opts}  # type: ignore[attr-defined]
    context = command.make_context(
        PROGRAM,
        # A flag with a value would end the reading, with all that comes after it unread.
        [
            name if (name := argument.partition("=")[0]) in flags else argument
            for argument in arguments
        ],
        resilient_parsing=True,
        ignore_unknown_options=True,
        allow_extra_args=True,
        help_option_names=[],
    )
    read = {name: value for name, value in context.params.items() if value is not None}
    return AnswerOptions(**read)


def _reader(command: Command) -> Callable[..., Task]:
    """Return what typer calls in place of a command."""

    def read(**values: Any) -> Task:
        options = AnswerOptions(**{name: values.pop(name) for name in _ANSWER_OPTIONS})
        return Task(partial(command, options, **values), options)

    own = [*inspect.signature(command, eval_str=True).parameters.values()][1:]
    read.__signature__ = _by_name([*own, *_ANSWER_OPTIONS.values()])  # type: ignore[attr-defined]
    return read


def _by_name(parameters: Iterable[inspect.Parameter]) -> inspect.Signature:
    return inspect.Signature(
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )


_ANSWER_OPTIONS = inspect.signature(AnswerOptions, eval_str=True).parameters


def _show_version(wanted: bool) -> None:
    if wanted:
        print_text(f"{PROGRAM} {VERSION}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None: ...
