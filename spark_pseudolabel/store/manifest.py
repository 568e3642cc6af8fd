"""Manifests: small JSON files that make a step of a run real.

A manifest names the files of its step, the manifest before it with its sha256, and the
configuration and inputs it was made from. It is written as canonical JSON, so that equal content
means equal bytes, and carries a checksum of itself, so that an edit shows even in the last one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from spark_pseudolabel.core.adjustment import Adjustment
from spark_pseudolabel.core.facts import Mistakes, Residuals
from spark_pseudolabel.core.feature import Feature
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.store.facts import (
    Content,
    Histogram,
    Json,
    Label,
    ReadRows,
    Reliabilities,
    ReportJson,
    RoundCertificate,
    RoundCounts,
    RunCounts,
    Sha256,
    Size,
    StoredMetrics,
    Training,
)
from spark_pseudolabel.store.file_lists import in_columns, out_of_columns
from spark_pseudolabel.store.layout import ATTEMPTS_DIR, LAYOUT

# The only settings of a Spark session that may reach a manifest: keys and passwords live in others.
SPARK_ALLOWED = ("app_id", "master", "version")

_CREDENTIALS = re.compile(r"//[^/@]*@")


def canonical_json(document: Any) -> bytes:
    r"""Return JSON that is the same for equal documents: sorted keys, no spaces, ends in newline.

    Raises
    ------
    ValueError
        For NaN or an infinity, which JSON has no word for.

    Examples
    --------
    >>> canonical_json({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}\n'
    """
    text = json.dumps(
        document,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        default=_plain,
    )
    return (text + "\n").encode()


def normalized(document: Any) -> Any:
    """Return a document as it comes back from JSON: lists for tuples, strings for keys."""
    return json.loads(canonical_json(document))


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def now() -> str:
    """Return the time in UTC; information only, since clocks differ."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def safe_path(path: str) -> str:
    """Return `path` if it stays within the attempts of an output directory, else ValueError.

    Manifests are read from storage that others may write to: a path there must not make us open
    a file elsewhere.
    """
    parts = path.split("/")
    inside = parts[0] == ATTEMPTS_DIR and len(parts) > 1
    if not inside or any(part in ("", ".", "..") for part in parts) or re.search(r"[\\\0]", path):
        raise ValueError(f"must be a path below {ATTEMPTS_DIR}/ without '..'; got {path!r}")
    return path


def _allowed_spark(settings: dict[str, str]) -> dict[str, str]:
    return {key: _CREDENTIALS.sub("//", settings[key]) for key in SPARK_ALLOWED if key in settings}


def _plain(value: Any) -> Any:
    # numpy's scalars, without importing numpy.
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, FileEntry):
        return _as_json(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"A manifest can hold JSON values only. Got {value!r}.")


SafePath = Annotated[str, AfterValidator(safe_path)]
Id = Annotated[str, Field(pattern=r"^[0-9a-zA-Z-]{1,64}$")]
"""What names of directories are made of: nothing that leads out of the one they are in."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One data file of a step; `path` is relative to the output directory.

    A plain class: a round may name a hundred thousand, and a model of pydantic takes six times as
    long to make. Its types are checked where a manifest is read.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    path: SafePath
    bytes: Size
    rows: Size
    sha256: Sha256 | None = None


def _listed(value: Any) -> Any:
    return out_of_columns(value, safe_path, FileEntry)


def _written(entries: tuple[FileEntry, ...]) -> Any:
    columns = in_columns(entries)
    return [_as_json(entry) for entry in entries] if columns is None else columns.model_dump()


def _as_json(entry: FileEntry) -> Json:
    return {name: getattr(entry, name) for name in FileEntry.__slots__}


FileList = Annotated[tuple[FileEntry, ...], BeforeValidator(_listed), PlainSerializer(_written)]
"""Files of a step; many of them stand by column in the manifest's JSON."""


class Ref(_Model):
    """The manifest before this one."""

    name: str
    sha256: Sha256


class Writer(_Model):
    """Who published; information only."""

    host: str
    pid: int

    @classmethod
    def here(cls) -> Writer:
        """Return this process."""
        return cls(host=socket.gethostname(), pid=os.getpid())


class Artifact(_Model):
    """A stored model: where, its identity, and the types that loading it needs.

    A transductive one knows the rows of its run alone.
    """

    path: SafePath
    bytes: Size
    sha256: Sha256
    trusted_types: tuple[str, ...] = ()
    estimator: str
    transductive: bool = False


class Manifest(_Model):
    """What every manifest holds."""

    layout: Literal[1] = LAYOUT
    kind: str
    output_id: Id
    run_id: Id
    number: Size
    attempt_id: Id
    commit_id: str
    prev: Ref | None = None
    config_sha256: Sha256
    inputs_sha256: Sha256
    code_version: str
    written_at: str
    writer: Writer
    spark: Annotated[dict[str, str], AfterValidator(_allowed_spark)] = {}
    checksum: str = ""

    def listed_files(self) -> tuple[tuple[str, int], ...]:
        """Return path and length of every file that must exist because of this manifest."""
        return ()


class FittedModel(_Model):
    """What is to be said about a new model.

    Parameters
    ----------
    artifact
        Where it is stored.
    classes
        Its labels, ascending.
    label_type
        Their Spark type.
    key_types
        Spark types of the published ids; empty where an earlier version began.
    features
        Its input columns, in order.
    training
        What it was trained on.
    validation, oof
        Figures on the validation rows, and on the labeled rows by models that have not seen them;
        None without.
    oof_scores, suspects
        Small tables beside it: the latter scores, and labeled rows whose label is probably wrong.
    marginals
        The first model: a small table of pool rows, whose values are what rows are corrupted with.
    voters
        Models of different kinds that have a say in it.
    adjustment
        What happens to its probabilities before they are used; None: nothing.
    reliability
        Out-of-fold confidences against the truth; None where it is not cross-fitted.
    mistakes
        What it says of rows with true labels that it has not seen; None without.
    numbers
        What is asked of labels that are numbers; None: they are classes.
    residuals
        Its errors on rows that it has not seen, where labels are numbers; None without.
    seconds
        Wall time by stage.
    """

    artifact: Artifact
    classes: tuple[Label, ...]
    label_type: str
    key_types: dict[str, str] = {}
    features: tuple[Feature, ...] = ()
    training: Training
    validation: StoredMetrics | None = None
    oof: StoredMetrics | None = None
    oof_scores: FileEntry | None = None
    suspects: FileEntry | None = None
    marginals: FileEntry | None = None
    voters: int = 1
    adjustment: Adjustment | None = None
    reliability: Reliabilities | None = None
    mistakes: Mistakes | None = None
    numbers: NumberTask | None = None
    residuals: Residuals | None = None
    seconds: dict[str, float] = {}


class ModelManifest(Manifest, FittedModel):
    """From here on the bits of a model are fixed, and what happens to its probabilities."""

    kind: Literal["model"] = "model"

    def listed_files(self) -> tuple[tuple[str, int], ...]:
        tables = tuple((table.path, table.bytes) for table in self.tables())
        return ((self.artifact.path, self.artifact.bytes), *tables)

    def tables(self) -> tuple[FileEntry, ...]:
        """Return the small tables beside the model."""
        tables = (self.oof_scores, self.suspects, self.marginals)
        return tuple(table for table in tables if table is not None)


class BuiltGraph(_Model):
    """What is to be said about the graph of all rows.

    Parameters
    ----------
    edges
        Its files.
    ids
        The node ids of all rows, with and without labels, ascending.
    k
        Neighbors of each row.
    invalid
        Rows of the pool that are no nodes.
    cells
        In which neighbors were looked for.
    recall
        Share of the exact neighbors of some rows that was found.
    seconds
        Wall time by stage.
    """

    edges: FileList
    ids: FileEntry
    k: Annotated[int, Field(ge=1)]
    invalid: Size = 0
    cells: Size
    recall: float
    seconds: dict[str, float] = {}


class GraphManifest(Manifest, BuiltGraph):
    """From here on it is settled which rows are neighbors."""

    kind: Literal["graph"] = "graph"

    def listed_files(self) -> tuple[tuple[str, int], ...]:
        return tuple((entry.path, entry.bytes) for entry in (self.ids, *self.edges))


class DecidedRound(_Model):
    """What is to be said about a new round.

    Parameters
    ----------
    plan
        Which rows it accepts.
    taught_plan, taught
        The rows that a student may learn from, where these are others; else None and empty.
    scored, accepted, invalid
        Its files.
    certificate
        None where none was asked for.
    counts
        Where its rows went.
    histogram
        Valid candidates by class and confidence.
    content
        A fingerprint of the accepted rows.
    read
        Hashes of the rows, where no list of files tells that they have changed.
    seconds
        Wall time by stage.
    """

    plan: Plan
    taught_plan: Plan | None = None
    scored: FileList = ()
    accepted: FileList = ()
    invalid: FileList = ()
    taught: FileList = ()
    certificate: RoundCertificate | None = None
    counts: RoundCounts
    histogram: Histogram
    content: Content
    read: ReadRows = ReadRows()
    seconds: dict[str, float] = {}


class RoundManifest(Manifest, DecidedRound):
    """From here on a round exists: its plan, and the files it accepted."""

    kind: Literal["round"] = "round"

    def listed_files(self) -> tuple[tuple[str, int], ...]:
        entries = (*self.scored, *self.accepted, *self.invalid, *self.taught)
        return tuple((entry.path, entry.bytes) for entry in entries)


class RunEnd(_Model):
    """What is to be said about the end of a run.

    Parameters
    ----------
    termination_condition
        Why it has ended.
    best_round
        The last round whose labels are used; 0 is the seed model.
    final_model
        Number of the model in ``OUT/model``.
    counts
        Where the rows of the inputs went.
    report
        The document of ``report.json``.
    """

    termination_condition: str
    best_round: Size | None
    final_model: Annotated[int, Field(ge=1)]
    counts: RunCounts
    report: ReportJson


class FinalManifest(Manifest, RunEnd):
    """From here on a run is finished, until a raised maximum continues it; number is n_iter."""

    kind: Literal["final"] = "final"


AnyManifest = TypeVar("AnyManifest", bound=Manifest)


def encode(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest, its checksum filled in."""
    document = manifest.model_dump(mode="json", exclude={"checksum"})
    document["checksum"] = sha256(canonical_json(document))
    return canonical_json(document)


def decode(data: bytes, cls: type[AnyManifest], where: str) -> AnyManifest:
    """Read a manifest that may be damaged.

    Parameters
    ----------
    data
        Content of the file.
    cls
        The kind expected there.
    where
        The file, for messages.

    Raises
    ------
    StoredStateError
        If it is not JSON, of a newer layout, not of this schema, or changed since it was written.
    """
    document = read_json(data, where)
    check_layout(document, where)
    try:
        manifest = cls.model_validate(document)
    except ValidationError as error:
        raise damaged(where, f"does not hold a {cls.__name__}: {_first(error)}") from error
    body = {key: value for key, value in document.items() if key != "checksum"}
    if manifest.checksum != sha256(canonical_json(body)):
        raise damaged(where, "was changed after it was written: its checksum does not match")
    return manifest


def read_json(data: bytes, where: str) -> Json:
    """Parse a stored JSON object; StoredStateError if it is none."""
    if not data:
        raise StoredStateError(
            f"{where} is empty: a publish there was cut off, or the file was damaged. If no other "
            "run is working on this output, delete that file and run again.",
            where=where,
        )
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise damaged(where, f"is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise damaged(where, f"must hold a JSON object; it holds a {type(document).__name__}")
    return document


def check_layout(document: Json, where: str) -> None:
    """Refuse what a newer version wrote: it may mean something else by the same words."""
    layout = document.get("layout")
    if not isinstance(layout, int) or isinstance(layout, bool):
        raise damaged(where, f"must say its layout, an integer; it says {layout!r}")
    if layout > LAYOUT:
        raise StoredStateError(
            f"{where} has layout {layout}; this version reads layouts up to {LAYOUT}. "
            "Use the version of spark_pseudolabel that wrote it, or a newer one.",
            code="newer_layout",
            where=where,
        )


def damaged(where: str, what: str) -> StoredStateError:
    """Return the error for a stored file that is not as it was written."""
    return StoredStateError(
        f"{where} {what}. Restore the file, or start with a new output directory.",
        where=where,
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
