"""Generations of an output: a first run, and what came later and was labeled beside it.

Each is a run with frozen inputs, attempts and manifests of its own. Two slots make it real: a
*claim* (``_generations/generation-0002.json``), with which one of several starts begins it, and
an *end*. A claim names the end before it with its sha256, and an end names its claim and the final
manifest of its run, so that the generations are one chain. All that the next generation needs to
know of those before it is in the last end, so that its cost does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.redaction import redacted
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.facts import (
    Fact,
    Frozen,
    Json,
    ReportJson,
    Sha256,
    Shift,
    Size,
)
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.history import History, read_history
from spark_pseudolabel.store.identity import StoredRun, read_run
from spark_pseudolabel.store.inputs import FrozenInputs
from spark_pseudolabel.store.manifest import (
    FileEntry,
    Id,
    Ref,
    Writer,
    canonical_json,
    check_layout,
    damaged,
    now,
    read_json,
    sha256,
)
from spark_pseudolabel.store.publish import publish
from spark_pseudolabel.store.store import RoundStore

RECENT = 30
"""Generations of which an end repeats what they came to; of earlier ones it has the sums."""

Kind = Literal["label", "fit", "stop"]
Outcome = Literal["labeled", "drift", "abandoned"]
Entries = tuple[FileEntry, ...]


class Drift(Fact):
    """New rows against those that the model was made for.

    Parameters
    ----------
    labeled, reference
        Against the labeled rows, and against a sample of the pool that the model was fitted for;
        None where that is not known.
    """

    labeled: Shift | None = None
    reference: Shift | None = None


class Told(Fact):
    """What is to be known of what a generation found, as documents have warnings."""

    code: str
    message: str


class GenerationFacts(Frozen):
    """What a generation came to.

    Parameters
    ----------
    generation, run_id, kind, outcome
        Which, and what was done: ``label`` with the model that there was, ``fit`` a new one.
    inputs
        Files that were new; 0 for tables, queries and DataFrames.
    rows
        Rows that no earlier generation has seen.
    overlap
        Rows of the new files that one has seen, and that were left as they are.
    accepted, rejected, invalid, abstained
        Where the rows went.
    model
        What gave the labels, as they name it.
    drift
        None where nothing could be compared.
    drifted
        Whether the drift is above the bound.
    labels_changed
        Whether labeled rows are others than the model has learned from.
    told
        What it found: old files that are gone or were written again, a generation that was left.
    ended_at
        When; information only.
    """

    generation: Annotated[int, Field(ge=1)]
    run_id: Id
    kind: Kind
    outcome: Outcome = "labeled"
    inputs: Size = 0
    rows: Size
    overlap: Size = 0
    accepted: Size = 0
    rejected: Size = 0
    invalid: Size = 0
    abstained: Size = 0
    model: str
    drift: Drift | None = None
    drifted: bool = False
    labels_changed: bool = False
    told: tuple[Told, ...] = ()
    ended_at: str = ""


class Sums(Frozen):
    """Sums over all generations."""

    generations: Size = 0
    rows: Size = 0
    overlap: Size = 0
    accepted: Size = 0
    rejected: Size = 0
    invalid: Size = 0
    abstained: Size = 0

    def plus(self, facts: GenerationFacts) -> Sums:
        """Return the sums with one more generation."""
        added = {name: getattr(self, name) + getattr(facts, name) for name in _SUMMED}
        return Sums(generations=self.generations + 1, **added)


_SUMMED = tuple(name for name in Sums.model_fields if name != "generations")


class Deciding(Frozen):
    """The model and the plan that new rows are labeled with.

    Parameters
    ----------
    run_id, model
        The run that fitted it, and its number there.
    manifest
        Name and sha256 of its manifest.
    generation
        Of that run.
    name
        What labels call it.
    plan
        Which rows it accepts.
    labeled
        What it has learned from.
    shifted
        Whether the pool of that generation was already unlike the labeled rows.
    """

    run_id: Id
    model: Annotated[int, Field(ge=1)]
    manifest: Ref
    generation: Annotated[int, Field(ge=1)]
    name: str
    plan: Plan
    labeled: Sha256
    shifted: bool = False


class _Slot(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal[1] = layout.LAYOUT
    generation: Annotated[int, Field(ge=1)]
    output_id: Id
    run_id: Id
    commit_id: str
    code_version: str
    written_at: str
    writer: Writer


class Claim(_Slot):
    """A generation begins: whose slot this is has frozen what it reads.

    Parameters
    ----------
    kind
        Whether it labels with the model that there is, fits one, or labels nothing: a drift.
    previous
        The end of the generation before.
    config_sha256, inputs_sha256
        Of its configuration, that of the first run, and of its frozen inputs.
    told
        What was found when it began, see :class:`GenerationFacts`.
    """

    kind: Kind
    previous: Ref
    config_sha256: Sha256
    inputs_sha256: Sha256
    told: tuple[Told, ...] = ()


class End(_Slot):
    """A generation has ended.

    Parameters
    ----------
    claim
        Its claim; None for the first, which is the run that began the output.
    final
        The last manifest of its run.
    deciding
        What labels the rows that come next; None where nothing can.
    sample
        Some rows of the pool that the model was fitted for.
    ids, files
        Segments of all that was seen until now; see :mod:`spark_pseudolabel.store.seen`.
    facts, recent, sums
        What it came to, the same of those before it, and of all.
    attempt_id
        Where it has written its files.
    report
        The document of ``report.json``, where no run of its own has one: after a drift.
    """

    claim: Ref | None
    final: Ref
    deciding: Deciding | None
    sample: FileEntry | None = None
    ids: Entries = ()
    files: Entries = ()
    facts: GenerationFacts
    recent: tuple[GenerationFacts, ...] = ()
    sums: Sums
    attempt_id: str = ""
    report: ReportJson | None = None

    @property
    def latest(self) -> tuple[GenerationFacts, ...]:
        """What the latest generations came to, this one included."""
        return (*self.recent, self.facts)[-RECENT:]

    @property
    def entries(self) -> Entries:
        """All files that it names."""
        sample = () if self.sample is None else (self.sample,)
        return (*sample, *self.ids, *self.files)


_AnySlot = TypeVar("_AnySlot", bound=_Slot)


@dataclass(frozen=True)
class Generations:
    """The generations of an output, as far as the next one needs to know.

    Parameters
    ----------
    files, root
        The output.
    first
        The run that began it.
    numbers
        Of claimed generations, ascending; the first has no claim.
    """

    files: Files
    root: str
    first: StoredRun
    numbers: tuple[int, ...] = ()

    @classmethod
    def read(cls, files: Files, root: str) -> Generations | None:
        """Open an output; None where there is no run.

        Raises
        ------
        StoredStateError
            If what is stored there is damaged.
        """
        first = read_run(files, root)
        if first is None:
            return None
        names = files.names(join(root, layout.GENERATIONS_DIR))
        numbers = sorted(filter(None, map(layout.claimed_generation, names)))
        if numbers != list(range(2, len(numbers) + 2)):
            gap = next(n for n in range(2, len(numbers) + 3) if n not in numbers)
            where = join(root, layout.claim_file(gap))
            raise damaged(where, "is missing, although later generations exist")
        following = len(numbers) + 2
        if layout.end_file(following).rpartition("/")[2] in names:
            raise damaged(join(root, layout.claim_file(following)), "is missing, although it ended")
        return cls(files, root, first, tuple(numbers))

    @property
    def count(self) -> int:
        """The number of the latest generation."""
        return self.numbers[-1] if self.numbers else 1

    @property
    def retired(self) -> int:
        """The first generation whose scored rows are kept; those of earlier ones were deleted."""
        where = join(self.root, layout.RETIRED_FILE)
        try:
            before = read_json(self.files.read(where), where).get("before")
        except FileNotFoundError:
            return 1
        if not isinstance(before, int):
            raise damaged(where, "must say before which generation scored rows were deleted")
        return before

    def retire(self, before: int) -> None:
        """Say that scored rows of the generations before one are deleted, before they are."""
        where = join(self.root, layout.RETIRED_FILE)
        self.files.replace(where, canonical_json({"before": max(before, self.retired)}))

    @property
    def ended(self) -> tuple[End, Ref] | None:
        """The end of the latest generation that has one; None where none was remembered."""
        numbers = range(self.count, max(0, self.count - 2), -1)
        return next((found for number in numbers if (found := self.end(number))), None)

    def end(self, generation: int) -> tuple[End, Ref] | None:
        """Return the end of a generation; None while it has none."""
        name = layout.end_file(generation)
        read = self._read(End, name)
        if read is None:
            return None
        end, digest = read
        self._require_own(end, generation, name)
        return end, Ref(name=name, sha256=digest)

    def claim(self, generation: int) -> tuple[Claim, Ref]:
        """Return the claim of a generation after the first."""
        name = layout.claim_file(generation)
        read = self._read(Claim, name)
        if read is None:
            raise damaged(join(self.root, name), "is gone")
        claim, digest = read
        self._require_own(claim, generation, name)
        return claim, Ref(name=name, sha256=digest)

    def run(self, generation: int) -> StoredRun:
        """Return the run of a generation, with what was frozen when it began."""
        if generation == 1:
            return self.first
        claim, _ = self.claim(generation)
        name = layout.inputs_file(claim.run_id)
        where = join(self.root, name)
        try:
            data = self.files.read(where)
        except FileNotFoundError as error:
            raise damaged(where, "is gone") from error
        if sha256(data) != claim.inputs_sha256:
            raise damaged(where, "was changed after the run began: its sha256 does not match")
        if claim.config_sha256 != self.first.layout.config_sha256:
            raise damaged(join(self.root, layout.claim_file(generation)), "is of another run")
        try:
            inputs = FrozenInputs.model_validate(read_json(data, where))
        except ValidationError as error:
            raise damaged(where, "does not hold what it must") from error
        own = self.first.layout.model_copy(
            update={"run_id": claim.run_id, "inputs_sha256": claim.inputs_sha256}
        )
        return replace(self.first, layout=own, inputs=inputs)

    def store(self, generation: int, code_version: str = "") -> RoundStore:
        """Open the memory of a generation's run."""
        run = self.run(generation)
        history = read_history(self.files, self.root, run)
        version = code_version or run.layout.created_by
        return RoundStore(self.files, self.root, run, history, version, generation=generation)

    def stores(self) -> Iterator[RoundStore]:
        """Open the memories of all generations, one after the other."""
        for generation in (1, *self.numbers):
            yield self.store(generation)

    def tentative(self, run_id: str, inputs: FrozenInputs, code_version: str) -> RoundStore:
        """Return a memory for a generation that has not begun: to look at rows, not to commit."""
        own = self.first.layout.model_copy(update={"run_id": run_id})
        run = replace(self.first, layout=own, inputs=inputs)
        number = self.count + 1
        return RoundStore(self.files, self.root, run, History(), code_version, generation=number)

    def begin(
        self,
        kind: Kind,
        inputs: FrozenInputs,
        previous: Ref,
        code_version: str,
        run_id: str,
        told: tuple[Told, ...] = (),
    ) -> Generations:
        """Take the slot of the next generation.

        Parameters
        ----------
        kind, inputs, previous, told
            See :class:`Claim`.
        code_version, run_id
            Version of this package, and what the generation's run will be called.

        Raises
        ------
        OutputBusyError
            If another start was faster.
        """
        number, frozen = self.count + 1, canonical_json(redacted(inputs.as_json()))
        claim = Claim(
            generation=number,
            kind=kind,
            previous=previous,
            config_sha256=self.first.layout.config_sha256,
            inputs_sha256=sha256(frozen),
            told=told,
            **self._common(run_id, code_version),
        )
        self.files.put_if_absent(join(self.root, layout.inputs_file(run_id)), frozen)
        failpoint("generation.claim.tmp")
        self._publish(claim, layout.claim_file(number))
        failpoint("generation.claim.done")
        return replace(self, numbers=(*self.numbers, number))

    def finish(self, end: End) -> None:
        """Take the slot that ends a generation; errors as :meth:`begin`."""
        failpoint("generation.end.tmp")
        self._publish(end, layout.end_file(end.generation))
        failpoint("generation.end.done")

    def common(self, store: RoundStore) -> Json:
        """Return what every slot says, for a generation of this store."""
        return self._common(store.run_id, store.code_version)

    def _common(self, run_id: str, code_version: str) -> Json:
        return {
            "output_id": self.first.layout.output_id,
            "run_id": run_id,
            "commit_id": str(uuid4()),
            "code_version": code_version,
            "written_at": now(),
            "writer": Writer.here(),
        }

    def _publish(self, slot: _Slot, name: str) -> None:
        data = canonical_json(slot.model_dump(mode="json", by_alias=True))
        publish(self.files, join(self.root, name), data, slot.commit_id)

    def _read(self, cls: type[_AnySlot], name: str) -> tuple[_AnySlot, str] | None:
        where = join(self.root, name)
        try:
            data = self.files.read(where)
        except (FileNotFoundError, NotADirectoryError):
            return None
        document = read_json(data, where)
        check_layout(document, where)
        try:
            return cls.model_validate(document), sha256(data)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            raise damaged(where, f"does not hold a generation's {cls.__name__}: {place}") from error

    def _require_own(self, slot: _Slot, generation: int, name: str) -> None:
        if (slot.generation, slot.output_id) != (generation, self.first.layout.output_id):
            raise damaged(join(self.root, name), "is not of this output, or of another generation")


def final_ref(store: RoundStore) -> Ref:
    """Return name and sha256 of the last manifest of a run that has ended."""
    final = store.final
    assert final is not None
    name = layout.commit_file(store.run_id, "final", final.number)
    return Ref(name=name, sha256=sha256(store.files.read(join(store.root, name))))


def model_ref(store: RoundStore, number: int) -> Ref:
    """Return name and sha256 of a model's manifest."""
    name = layout.commit_file(store.run_id, "model", number)
    return Ref(name=name, sha256=sha256(store.files.read(join(store.root, name))))
