"""What makes two starts the same run: its resolved configuration and its frozen inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spark_pseudolabel.errors import InputError, OutputBusyError, StoredStateError
from spark_pseudolabel.redaction import redacted
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.facts import Sha256
from spark_pseudolabel.store.files import Files, join
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


class Run(BaseModel):
    """A run as ``_layout.json`` names it, with what was frozen when it began."""

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
    identity: dict[str, Any] = Field(exclude=True, default={})
    inputs: dict[str, Any] = Field(exclude=True, default={})


def create_run(
    files: Files,
    root: str,
    identity: dict[str, Any],
    inputs: dict[str, Any],
    code_version: str,
) -> None:
    """Begin a run in a new output directory; if another start is faster, leave it to that one.

    The layout file comes last and once: whoever finds it finds the frozen files, too.
    """
    _require_free(files, root)
    config, frozen = canonical_json(redacted(identity)), canonical_json(redacted(inputs))
    run = Run(
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


def read_run(files: Files, root: str) -> Run | None:
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
    try:
        run = Run.model_validate(document)
    except ValidationError as error:
        raise damaged(where, f"does not hold what it must: {error.errors()[0]['loc']}") from error
    return run.model_copy(
        update={
            "identity": _frozen(files, root, layout.config_file(run.run_id), run.config_sha256),
            "inputs": _frozen(files, root, layout.inputs_file(run.run_id), run.inputs_sha256),
        }
    )


def frozen_before(files: Files, root: str, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return what was frozen when a run of this configuration began here; None if none did.

    It was frozen after it was checked: of the same files nothing needs to be proved again.
    """
    run = read_run(files, root)
    if run is None or any(differences(run.identity, normalized(redacted(identity)))):
        return None
    return run.inputs


def require_same(run: Run, identity: dict[str, Any], inputs: dict[str, Any], root: str) -> None:
    """Refuse to continue a run with another configuration or changed inputs.

    Raises
    ------
    InputError
        With code ``other_run`` or ``inputs_changed``, naming the first difference.
    """
    require_same_configuration(run, identity, root)
    stored_inputs, given_inputs = (_frozen_part(found) for found in (run.inputs, redacted(inputs)))
    for key, stored, given in differences(stored_inputs, given_inputs):
        raise InputError(
            f"The input of the run in {root} has changed since it began: {key} was "
            f"{_show(stored)} and is {_show(given)}. Restore it, or use another output.path.",
            code="inputs_changed",
            where=key,
        )


def require_same_configuration(run: Run, identity: dict[str, Any], root: str) -> None:
    """Refuse to continue a run with another configuration.

    Raises
    ------
    InputError
        With code ``other_run``, naming the first difference.
    """
    for key, stored, given in differences(run.identity, normalized(redacted(identity))):
        raise InputError(
            f"{root} holds a run with another configuration: {key} is {_show(stored)} there and "
            f"{_show(given)} now. Use another output.path, or the configuration of that run.",
            code="other_run",
            where=key,
        )


SEEN = "seen"
"""Key of the inputs under which listings of files stand: a file that was written again with the
same rows is the same input."""


def _frozen_part(inputs: Mapping[str, Any]) -> Any:
    return normalized({name: value for name, value in inputs.items() if name != SEEN})


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


def _by_path(entries: list[list[Any]]) -> dict[str, Any]:
    return {path: {"bytes": size, "mtime_ns": changed} for path, size, changed in entries}


def _show(value: Any) -> str:
    return "absent" if value is _ABSENT else repr(value)


def _frozen(files: Files, root: str, name: str, expected: str) -> dict[str, Any]:
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
