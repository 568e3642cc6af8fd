"""What makes two starts the same run: its resolved configuration and its frozen inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spark_pseudolabel.errors import InputError, OutputBusyError, StoredStateError
from spark_pseudolabel.redaction import redacted
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.facts import Frozen, Json, Sha256
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.inputs import FrozenInputs
from spark_pseudolabel.store.manifest import (
    Id,
    Writer,
    canonical_json,
    check_layout,
    damaged,
    normalized,
    now,
    read_json,
    sha256,
)
from spark_pseudolabel.store.publish import publish

_ABSENT = object()


class StoredTable(Frozen):
    """Where a table of the configuration is."""

    path: str | None = None
    format: str | None = None
    options: Mapping[str, str] = {}
    from_: str | None = Field(default=None, alias="from")


class StoredRule(Frozen):
    """A rule of a teacher."""

    name: str
    label: bool | int | str
    when: str | None = None
    function: str | None = None


class StoredTeacher(Frozen):
    """Who made the first model."""

    rules: tuple[StoredRule, ...] = ()


class StoredRounds(Frozen):
    """How rounds relate."""

    relabel: bool = False


class StoredOutput(Frozen):
    """What is published besides labels."""

    features: bool = False


class StoredShift(Frozen):
    """What follows where the pool is unlike the labeled rows."""

    action: str = "warn"


class Settings(Frozen):
    """What is asked of a run's configuration where only its output is known.

    The configuration as a whole is not read again: a later version may know other keys.
    """

    mode: str | None = None
    id: str | None = None
    random_state: int = 0
    labeled: StoredTable | None = StoredTable()
    unlabeled: StoredTable = StoredTable()
    validation: StoredTable | None = None
    teacher: StoredTeacher | None = None
    selection: Json = Field(default={})
    shift: StoredShift | None = None
    rounds: StoredRounds = StoredRounds()
    output: StoredOutput = StoredOutput()

    @property
    def like_sklearn(self) -> bool:
        """Whether the run does exactly what ``SelfTrainingClassifier`` does."""
        return self.mode == "sklearn"

    @property
    def rules(self) -> tuple[StoredRule, ...]:
        """The rules that made the first model; empty where something else did."""
        return () if self.teacher is None else self.teacher.rules

    @property
    def withholds(self) -> bool:
        """Whether pool rows far from any labeled one are not published."""
        return self.shift is not None and self.shift.action == "withhold"


class Layout(BaseModel):
    """A run as ``_layout.json`` names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal[1] = layout.LAYOUT
    output_id: Id
    run_id: Id
    commit_id: str
    config_sha256: Sha256
    inputs_sha256: Sha256
    created_by: str
    written_at: str
    writer: Writer


@dataclass(frozen=True)
class StoredRun:
    """A run with what was frozen when it began.

    Parameters
    ----------
    layout
        How ``_layout.json`` names it.
    identity
        The resolved configuration, as it was written.
    settings
        What is asked of it.
    inputs
        The frozen inputs.
    """

    layout: Layout
    identity: Json
    settings: Settings
    inputs: FrozenInputs


def create_run(
    files: Files,
    root: str,
    identity: Json,
    inputs: FrozenInputs,
    code_version: str,
) -> None:
    """Begin a run in a new output directory; if another start is faster, leave it to that one.

    The layout file comes last and once: whoever finds it finds the frozen files, too.
    """
    _require_free(files, root)
    config = canonical_json(redacted(identity))
    frozen = canonical_json(redacted(inputs.as_json()))
    run = Layout(
        output_id=str(uuid4()),
        run_id=str(uuid4()),
        commit_id=str(uuid4()),
        config_sha256=sha256(config),
        inputs_sha256=sha256(frozen),
        created_by=code_version,
        written_at=now(),
        writer=Writer.here(),
    )
    files.put_if_absent(join(root, layout.config_file(run.run_id)), config)
    files.put_if_absent(join(root, layout.inputs_file(run.run_id)), frozen)
    data = canonical_json(run.model_dump(mode="json"))
    try:
        publish(files, join(root, layout.LAYOUT_FILE), data, run.commit_id)
    except OutputBusyError:
        return
    files.put_if_absent(join(root, layout.README_FILE), layout.README.encode())


def require_place(files: Files, root: str) -> None:
    """Refuse a directory that holds something else than a run, before anything is put there."""
    if read_run(files, root) is None:
        _require_free(files, root)


def read_run(files: Files, root: str) -> StoredRun | None:
    """Return the run of an output directory, None if there is none.

    Raises
    ------
    StoredStateError
        If a newer version wrote it, or one of its files is damaged or gone.
    """
    where = join(root, layout.LAYOUT_FILE)
    try:
        document = read_json(files.read(where), where)
    except (FileNotFoundError, NotADirectoryError):
        return None
    check_layout(document, where)
    stored = _read(Layout, document, where)
    config, inputs = layout.config_file(stored.run_id), layout.inputs_file(stored.run_id)
    identity = _frozen(files, root, config, stored.config_sha256)
    frozen = _frozen(files, root, inputs, stored.inputs_sha256)
    return StoredRun(
        stored,
        identity,
        _read(Settings, identity, join(root, config)),
        _read(FrozenInputs, frozen, join(root, inputs)),
    )


def frozen_before(files: Files, root: str, identity: Json) -> FrozenInputs | None:
    """Return what was frozen when a run of this configuration began here; None if none did.

    It was frozen after it was checked: of the same files nothing needs to be proved again.
    """
    run = read_run(files, root)
    if run is None or any(_other_settings(run, identity)):
        return None
    return run.inputs


def require_same(run: StoredRun, identity: Json, inputs: FrozenInputs, root: str) -> None:
    """Refuse to continue a run with another configuration or changed inputs.

    Raises
    ------
    InputError
        With code ``other_run`` or ``inputs_changed``, naming the first difference.
    """
    require_same_configuration(run, identity, root)
    wanted = normalized(redacted(inputs.compared()))
    different = list(differences(run.inputs.compared(), wanted))
    if different and _only_more(run.inputs, inputs, different):
        raise InputError(
            f"The pool has grown since the run in {root} began: {different[0][0]}. Add "
            "--incremental (or write incremental: true) to label what is new beside the rest, or "
            "use another output.path.",
            code="inputs_changed",
            where=different[0][0],
        )
    for key, stored, given in different:
        raise InputError(
            f"The input of the run in {root} has changed since it began: {key} was "
            f"{_show(stored)} and is {_show(given)}. Restore it, or use another output.path.",
            code="inputs_changed",
            where=key,
        )


def _only_more(
    before: FrozenInputs, now: FrozenInputs, different: list[tuple[str, Any, Any]]
) -> bool:
    """Whether all that differs is that the pool has further rows, in files that are new."""
    of_rows = {"unlabeled.rows", "unlabeled.ids_xor64"}
    more = now.unlabeled.rows > before.unlabeled.rows
    return more and all(
        key in of_rows or (key.startswith("unlabeled.files.") and stored is _ABSENT)
        for key, stored, _ in different
    )


def require_same_configuration(run: StoredRun, identity: Json, root: str) -> None:
    """Refuse to continue a run with another configuration.

    A key that the run's version did not know, and that is null now, is no difference.

    Raises
    ------
    InputError
        With code ``other_run``, naming the first difference.
    """
    for key, stored, given in _other_settings(run, identity):
        raise InputError(
            f"{root} holds a run with another configuration: {key} is {_show(stored)} there and "
            f"{_show(given)} now. Use another output.path, or the configuration of that run.",
            code="other_run",
            where=key,
        )


def _other_settings(run: StoredRun, identity: Json) -> Iterator[tuple[str, Any, Any]]:
    for key, stored, given in differences(run.identity, normalized(redacted(identity))):
        if not (stored is _ABSENT and given is None):
            yield key, stored, given


def differences(stored: Any, given: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between two JSON documents as (dotted key, stored, given).

    Lists of files are compared by path, so that one new file does not shift the rest.

    Examples
    --------
    >>> list(differences({"a": {"b": 1}}, {"a": {"b": 2}}))
    [('a.b', 1, 2)]
    """
    if isinstance(stored, dict) and isinstance(given, dict):
        for name in dict.fromkeys([*stored, *given]):
            below = f"{key}.{name}" if key else str(name)
            yield from differences(stored.get(name, _ABSENT), given.get(name, _ABSENT), below)
    elif _is_file_list(stored) and _is_file_list(given) and (stored or given):
        yield from differences(_by_path(stored), _by_path(given), key)
    elif type(stored) is not type(given) or stored != given:
        yield key, stored, given


def _is_file_list(value: Any) -> bool:
    """Whether these are files as inputs list them: path, bytes and time of change of each."""
    return isinstance(value, list) and all(
        isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], str) for entry in value
    )


def _by_path(entries: list[list[Any]]) -> Json:
    return {path: {"bytes": size, "mtime_ns": changed} for path, size, changed in entries}


def _show(value: Any) -> str:
    return "absent" if value is _ABSENT else repr(value)


_Read = TypeVar("_Read", bound=BaseModel)


def _read(cls: type[_Read], document: Json, where: str) -> _Read:
    try:
        return cls.model_validate(document)
    except ValidationError as error:
        raise damaged(where, f"does not hold what it must: {error.errors()[0]['loc']}") from error


def _frozen(files: Files, root: str, name: str, expected: str) -> Json:
    where = join(root, name)
    try:
        data = files.read(where)
    except FileNotFoundError as error:
        raise damaged(where, "is gone") from error
    if sha256(data) != expected:
        raise damaged(where, "was changed after the run began: its sha256 does not match")
    return read_json(data, where)


def _require_free(files: Files, root: str) -> None:
    names = files.names(root)
    if not names and [info.path for info in files.list(root)] == [""]:
        raise InputError(
            f"output.path must be a directory or not exist yet. {root} is a file.",
            code="output_not_empty",
            where=root,
        )
    where = join(root, layout.LAYOUT_FILE)
    if files.list(join(root, layout.COMMITS_DIR)) and not files.exists(where):
        raise StoredStateError(
            f"{root} holds manifests but no {layout.LAYOUT_FILE}. Restore that file, or start "
            "with a new output directory.",
            where=where,
        )
    strange = [name for name in names if name not in layout.OURS and not name.startswith(".")]
    if strange:
        raise InputError(
            f"output.path must be an empty directory, or hold a run. {root} holds {strange[:5]}. "
            "Choose another directory.",
            code="output_not_empty",
            where=root,
        )
