"""The memory of a run: what is committed, and the only way to commit more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import uuid4

from pydantic import BaseModel

from spark_pseudolabel.errors import InputError, OutputBusyError, StoredStateError
from spark_pseudolabel.formats import is_hidden
from spark_pseudolabel.store import layout, views
from spark_pseudolabel.store.facts import Json
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import Files, join, require_seen
from spark_pseudolabel.store.history import History, read_history
from spark_pseudolabel.store.identity import Settings, StoredRun, create_run, read_run, require_same
from spark_pseudolabel.store.inputs import FrozenInputs
from spark_pseudolabel.store.manifest import (
    AnyManifest,
    Artifact,
    BuiltGraph,
    DecidedRound,
    FileEntry,
    FinalManifest,
    FittedModel,
    GraphManifest,
    Manifest,
    ModelManifest,
    RoundManifest,
    RunEnd,
    Writer,
    damaged,
    decode,
    encode,
    now,
    sha256,
)
from spark_pseudolabel.store.problem import Problem
from spark_pseudolabel.store.publish import publish, writing
from spark_pseudolabel.store.review import ReviewManifest, ReviewStep
from spark_pseudolabel.store.views import ViewCommit, ViewMarker


@dataclass(frozen=True)
class Attempt:
    """A directory that one try of a step has to itself.

    Parameters
    ----------
    kind, number
        The step.
    id
        Unique to this try.
    path, rel
        Full path of the directory, and the same relative to the output directory.
    """

    kind: layout.CommitKind
    number: int
    id: str
    path: str
    rel: str


@dataclass
class RoundStore:
    """The committed history of a run in one output directory.

    The history is read and checked once, at the start, and grows by this object's own commits; it
    never shows what another process does meanwhile, and need not: a slot can be taken once.

    Get one from `begin` or `open`.

    Parameters
    ----------
    files, root
        Where the output directory is.
    run
        Its identity and frozen inputs.
    history
        What is committed.
    code_version
        Version of this package, for the manifests.
    spark
        Facts about the Spark session, for the manifests; only allow-listed ones are kept.
    generation
        Which of the output's generations the run is; later ones add files to tables.
    """

    files: Files
    root: str
    run: StoredRun
    history: History
    code_version: str
    spark: dict[str, str] = field(default_factory=dict)
    generation: int = 1

    @classmethod
    def begin(
        cls,
        files: Files,
        root: str,
        identity: Json,
        inputs: FrozenInputs,
        code_version: str,
    ) -> RoundStore:
        """Begin a run, or continue the same run.

        Parameters
        ----------
        files, root
            Where; a directory that is missing, empty, or holds this run.
        identity
            The resolved configuration without what may change between starts.
        inputs
            The frozen inputs.
        code_version
            Version of this package.

        Raises
        ------
        InputError
            If the directory holds something else (``output_not_empty``), a run of another
            configuration (``other_run``), or this run with changed inputs (``inputs_changed``).
        OutputBusyError
            If another start has frozen the pool of this very run.
        StoredStateError
            If what is stored there is damaged, incomplete, or of a newer layout.
        """
        if read_run(files, root) is None:
            with writing(root):
                create_run(files, root, identity, inputs, code_version)
        store = cls.open(files, root, code_version)
        require_same(store.run, identity, inputs, root)
        frozen = inputs.unlabeled.snapshot
        if frozen is not None and frozen != store.inputs.unlabeled.snapshot:
            raise OutputBusyError(
                f"Another start has begun the run in {root} while this one froze its pool. Let it "
                "end, then run again.",
                code="slot_lost",
                where=root,
            )
        for manifest in store.history.manifests:
            store.check_files(manifest)
        return store

    @classmethod
    def open(cls, files: Files, root: str, code_version: str = "") -> RoundStore:
        """Open the run of an output directory.

        Raises
        ------
        InputError
            If there is none (``no_run``).
        StoredStateError
            If what is stored there is damaged or of a newer layout.
        """
        run = read_run(files, root)
        if run is None:
            raise InputError(
                f"{root} must be the output directory of a run; there is no {layout.LAYOUT_FILE} "
                "in it. Check the path.",
                code="no_run",
                where=root,
            )
        return cls(
            files,
            root,
            run,
            read_history(files, root, run),
            code_version or run.layout.created_by,
        )

    @property
    def run_id(self) -> str:
        """Identifies the run."""
        return self.run.layout.run_id

    @property
    def output_id(self) -> str:
        """Identifies the output directory."""
        return self.run.layout.output_id

    @property
    def identity(self) -> Json:
        """The resolved configuration the run began with, as it was written."""
        return self.run.identity

    @property
    def settings(self) -> Settings:
        """What is asked of it where only the output is known."""
        return self.run.settings

    @property
    def inputs(self) -> FrozenInputs:
        """The inputs frozen when the run began."""
        return self.run.inputs

    @property
    def graph(self) -> GraphManifest | None:
        """The committed graph of all rows, None if there is none."""
        return self.history.graph

    @property
    def models(self) -> tuple[ModelManifest, ...]:
        """Committed models in order; the first is the seed model."""
        return self.history.models

    @property
    def rounds(self) -> tuple[RoundManifest, ...]:
        """Committed rounds in order."""
        return self.history.rounds

    @property
    def final(self) -> FinalManifest | None:
        """The latest end of the run; rounds beyond its number mean that it is being continued."""
        return self.history.finals[-1] if self.history.finals else None

    @property
    def reviews(self) -> tuple[ReviewManifest, ...]:
        """What people did after the end, in order."""
        return self.history.reviews

    @property
    def change_of_labels(self) -> int:
        """How many labels more there are than at the end of the run; fewer are negative."""
        return sum(review.change_of_labels for review in self.reviews)

    def model(self, number: int) -> ModelManifest | None:
        """Return model `number` (from 1), None if it is not committed."""
        return self.models[number - 1] if 1 <= number <= len(self.models) else None

    def round(self, number: int) -> RoundManifest | None:
        """Return round `number` (from 1), None if it is not committed."""
        return self.rounds[number - 1] if 1 <= number <= len(self.rounds) else None

    def new_attempt(self, kind: layout.CommitKind, number: int) -> Attempt:
        """Name a fresh directory for one try of a step; it is not created yet."""
        attempt_id = str(uuid4())
        rel = layout.attempt_dir(self.run_id, kind, number, attempt_id)
        return Attempt(kind, number, attempt_id, join(self.root, rel), rel)

    def entries(
        self, attempt: Attempt, folder: str, rows: Mapping[str, int] | None = None
    ) -> tuple[FileEntry, ...]:
        """Describe the data files that an attempt wrote, for its manifest.

        Parameters
        ----------
        attempt
            The try.
        folder
            Directory below it, such as ``accepted``.
        rows
            Rows by file name, where the writers told them: what else lies there comes from tries
            of a task that lost. None: all files count, and their Parquet footers are read.

        Raises
        ------
        RunFailedError
            If one of the named files is not there.
        """
        entries = []
        listed = self.files.list(join(attempt.path, folder))
        require_seen(join(attempt.path, folder), rows or (), (info.path for info in listed))
        for info in listed:
            if is_hidden(info.path) or (rows is not None and info.path not in rows):
                continue
            path = f"{attempt.rel}/{folder}/{info.path}"
            count = rows[info.path] if rows is not None else self._rows(path)
            entries.append(FileEntry(path=path, bytes=info.bytes, rows=count))
        return tuple(entries)

    def write_model(self, attempt: Attempt, model: Any, trusted: Sequence[str] = ()) -> Artifact:
        """Store a model in an attempt and describe it for `commit_model`.

        Raises
        ------
        InputError
            If the model cannot be stored without pickle.
        """
        from spark_pseudolabel.store.artifact import dump_model

        stored = dump_model(model, trusted)
        path = join(attempt.path, layout.MODEL_NAME)
        with writing(path):
            if not self.files.put_if_absent(path, stored.data):
                raise ValueError(f"{attempt.path} must be an attempt without a model.")
        failpoint("model.written")
        return Artifact(
            path=f"{attempt.rel}/{layout.MODEL_NAME}",
            bytes=len(stored.data),
            sha256=stored.sha256,
            trusted_types=stored.trusted_types,
            estimator=stored.estimator,
            transductive=getattr(model, "transductive", False),
        )

    def write_file(self, attempt: Attempt, name: str, data: bytes, rows: int) -> FileEntry:
        """Store a small file in an attempt and describe it for a manifest, its sha256 included."""
        path = join(attempt.path, name)
        with writing(path):
            if not self.files.put_if_absent(path, data):
                raise ValueError(f"{attempt.path} must be an attempt without {name}.")
        return FileEntry(
            path=f"{attempt.rel}/{name}", bytes=len(data), rows=rows, sha256=sha256(data)
        )

    def read_file(self, entry: FileEntry) -> bytes:
        """Return what :meth:`write_file` stored.

        Raises
        ------
        StoredStateError
            If it is gone, or not what was committed.
        """
        where = join(self.root, entry.path)
        try:
            data = self.files.read(where)
        except FileNotFoundError as error:
            raise damaged(where, "is gone") from error
        if sha256(data) != entry.sha256:
            raise damaged(where, "was changed after it was written: its sha256 does not match")
        return data

    def commit_model(self, attempt: Attempt, model: FittedModel) -> ModelManifest:
        """Make a model real: from here on its bits are fixed.

        Parameters
        ----------
        attempt
            The try that wrote it.
        model
            What is to be said about it.

        Raises
        ------
        ValueError
            If this model is not the next step of the run.
        OutputBusyError, PublishUnknownError, RunFailedError
            As `publish`.
        StoredStateError
            If a file it names is missing or has another length.
        """
        return self._commit(ModelManifest, attempt, model)

    def commit_graph(self, attempt: Attempt, built: BuiltGraph) -> GraphManifest:
        """Make a graph real; parameters and errors as `commit_model`."""
        return self._commit(GraphManifest, attempt, built)

    def commit_round(self, attempt: Attempt, decided: DecidedRound) -> RoundManifest:
        """Make a round real; parameters and errors as `commit_model`."""
        return self._commit(RoundManifest, attempt, decided)

    def commit_final(self, attempt: Attempt, end: RunEnd) -> FinalManifest:
        """Record that the run has ended after ``attempt.number`` rounds; else as `commit_model`."""
        return self._commit(FinalManifest, attempt, end)

    def commit_review(self, attempt: Attempt, step: ReviewStep) -> ReviewManifest:
        """Record what people did after the end of the run; else as `commit_model`."""
        return self._commit(ReviewManifest, attempt, step)

    def load_model(self, number: int, trusted: Sequence[str] = ()) -> Any:
        """Return committed model `number`, fitted.

        Raises
        ------
        StoredStateError
            If its file is missing or not the one that was committed.
        InputError
            If it needs types outside the pinned list and `trusted`.
        """
        from spark_pseudolabel.store.artifact import load_model

        artifact = self._artifact(number)
        where = join(self.root, artifact.path)
        data = self.read_model_bytes(number)
        return load_model(data, artifact.sha256, artifact.trusted_types, trusted, where)

    def read_model_bytes(self, number: int) -> bytes:
        """Return the stored bytes of a committed model, unchecked."""
        where = join(self.root, self._artifact(number).path)
        try:
            return self.files.read(where)
        except FileNotFoundError as error:
            raise damaged(where, "is gone") from error

    def check_files(self, manifest: Manifest) -> None:
        """Check that every file a manifest names is there with its length.

        Raises
        ------
        StoredStateError
            Naming the first that is not.
        """
        for path, problem in self.file_problems(manifest):
            raise damaged(join(self.root, path), problem)

    def file_problems(self, manifest: Manifest) -> list[Problem]:
        """Return every listed file that is gone or has another length."""
        listed = manifest.listed_files()
        folder = layout.attempt_dir(
            self.run_id,
            cast(layout.CommitKind, manifest.kind),
            manifest.number,
            manifest.attempt_id,
        )
        lengths = self._lengths(folder, (path for path, _ in listed))
        problems = []
        for path, expected in listed:
            length = lengths.get(path)
            if length is None:
                problems.append(Problem(path, "is gone"))
            elif length != expected:
                problems.append(Problem(path, f"must have {expected:,} bytes, has {length:,}"))
        return problems

    def new_view_dir(self) -> str:
        """Name a fresh directory where a view is built; it is not created yet."""
        return join(self.root, layout.view_build_dir(self.run_id, str(uuid4())))

    def put_view(
        self,
        name: str,
        built_dir: str,
        rows: int | None = None,
        written: Mapping[str, int] | None = None,
    ) -> None:
        """Put a built directory in place as ``OUT/<name>``, at once, replacing what was there.

        Parameters
        ----------
        name
            One of `layout.VIEWS`.
        built_dir
            Full path of a complete directory from `new_view_dir`; it is moved.
        rows
            Rows that its Parquet files must hold; None: any number.
        written
            Rows by file name, where the writers told them: what else lies there, left by tries of
            a task that lost, is deleted. None: all files count.

        Raises
        ------
        ValueError
            If the run has no end yet, or the name is not that of a view.
        RunFailedError
            If a file is missing, or the number of rows is another one.
        """
        with writing(join(self.root, name)):
            if self.adds_to(name):
                final, of = self._require_final(), self.generation
                views.add_to_view(self.files, self.root, final, name, built_dir, rows, written, of)
                return
            commit = self.view_commit(name)
            views.mark_view(self.files, self.root, commit, name, built_dir, rows, written)
            views.swap_view(self.files, self.root, commit.run_id, name, built_dir)

    def mark_view(
        self, name: str, built_dir: str, rows: int, written: Mapping[str, int] | None
    ) -> None:
        """Make a built directory a whole table of the run's end, without putting it in place.

        Parameters and errors as :meth:`put_view`.
        """
        with writing(built_dir):
            commit = replace(self.view_commit(name), review=None)
            views.mark_view(self.files, self.root, commit, name, built_dir, rows, written)

    def view_is_current(self, name: str) -> bool:
        """Tell whether ``OUT/<name>`` is whole and belongs to the latest end of the run."""
        return self.final is not None and not self.view_problems(name)

    def views_are_current(self) -> bool:
        """Tell whether all that people read is in place and belongs to the latest end."""
        return all(self.view_is_current(name) for name in self.views)

    @property
    def views(self) -> tuple[str, ...]:
        """The directories that people read; no ``model`` where it could not score other rows.

        Of a later generation those that it has added to, and where it has fitted a model of its
        own, all.
        """
        if self.generation > 1 and not self.fits:
            return layout.ADDED_VIEWS
        if self.final is None or not self._artifact(self.final.final_model).transductive:
            return layout.VIEWS
        return tuple(name for name in layout.VIEWS if name != "model")

    def view_problems(self, name: str) -> list[Problem]:
        """Return whatever is wrong with a view, or with what this generation has added to it."""
        if self.adds_to(name):
            final = self._require_final()
            return views.added_problems(self.files, self.root, final, name, self.generation)
        return views.view_problems(self.files, self.root, self.view_commit(name), name)

    def view_marker(self, name: str) -> ViewMarker | None:
        """Return what a view, or what this generation has added to it, says about itself."""
        of = self.generation if self.adds_to(name) else 1
        return views.read_marker(self.files, self.root, name, of)

    def adds_to(self, name: str) -> bool:
        """Whether this generation adds files to a view, instead of building it."""
        return self.generation > 1 and name in layout.ADDED_VIEWS

    @property
    def fits(self) -> bool:
        """Whether the run fits models of its own, as a later generation need not."""
        own = f"{layout.ATTEMPTS_DIR}/{self.run_id}/"
        return bool(self.models) and self.models[0].artifact.path.startswith(own)

    def view_commit(self, name: str) -> ViewCommit:
        """Return what a view has to be that of: the latest end, and what people did after it."""
        final = self._require_final()
        changing = [each for each in self.reviews if each.changes_labels]
        review = changing[-1].commit_id if changing and name in layout.FOLLOWING else None
        return ViewCommit(final.run_id, final.commit_id, review)

    def put_model_view(self) -> None:
        """Put the final model in place as ``OUT/model``, byte for byte as it was committed."""
        built = self.new_view_dir()
        data = self.read_model_bytes(self._require_final().final_model)
        with writing(built):
            self.files.put_if_absent(join(built, layout.MODEL_NAME), data)
        self.put_view("model", built, rows=0)

    def put_table_view(self, name: str, data: bytes, rows: int) -> None:
        """Put a table that is one Parquet file in memory in place as ``OUT/<name>``."""
        built = self.new_view_dir()
        with writing(built):
            self.files.put_if_absent(join(built, layout.TABLE_NAME), data)
        self.put_view(name, built, rows)

    def write_report(self, name: str, data: bytes) -> None:
        """Write ``report.json`` or ``report.html``; each can be made again from the manifests."""
        if name not in (layout.REPORT_JSON, layout.REPORT_HTML):
            raise ValueError(f"A report must be report.json or report.html. Got {name!r}.")
        with writing(join(self.root, name)):
            self.files.replace(join(self.root, name), data)

    def _commit(self, cls: type[AnyManifest], attempt: Attempt, facts: BaseModel) -> AnyManifest:
        self._require_next(attempt)
        manifest = cls.model_validate({**self._common(attempt), **dict(facts)})
        self.check_files(manifest)
        with writing(attempt.path):
            listed = [join(self.root, path) for path, _ in manifest.listed_files()]
            self.files.sync(self.root, listed)
        data = encode(manifest)
        path = join(self.root, layout.commit_file(self.run_id, attempt.kind, attempt.number))
        failpoint(f"{attempt.kind}.publish.tmp")
        publish(self.files, path, data, manifest.commit_id)
        failpoint(f"{attempt.kind}.publish.done")
        # As it will be read after a restart, so that a resumed run sees the same values.
        committed = decode(data, cls, path)
        self.history = self.history.with_manifest(committed, sha256(data))
        return committed

    def _common(self, attempt: Attempt) -> Json:
        return {
            "output_id": self.output_id,
            "run_id": self.run_id,
            "number": attempt.number,
            "attempt_id": attempt.id,
            "commit_id": str(uuid4()),
            "prev": self.history.parent_of(attempt.kind),
            "config_sha256": self.run.layout.config_sha256,
            "inputs_sha256": self.run.layout.inputs_sha256,
            "code_version": self.code_version,
            "written_at": now(),
            "writer": Writer.here(),
            "spark": self.spark,
        }

    def _require_next(self, attempt: Attempt) -> None:
        if attempt.kind == "graph":
            fits = attempt.number == 1 and not self.history.refs
        elif attempt.kind == "final":
            fits = attempt.number <= len(self.rounds) and bool(self.models)
        elif attempt.kind == "review":
            fits = self.final is not None and attempt.number == len(self.reviews) + 1
        else:
            fits = (attempt.kind, attempt.number) == self.history.next_step()
        if not fits:
            kind, number = self.history.next_step()
            raise ValueError(
                f"{attempt.kind} {attempt.number} cannot be committed now: there are "
                f"{len(self.models)} models and {len(self.rounds)} rounds, next is {kind} {number}."
            )

    def _require_final(self) -> FinalManifest:
        if self.final is None:
            raise ValueError("A view can be built of a finished run only; commit its end first.")
        return self.final

    def _artifact(self, number: int) -> Artifact:
        manifest = self.model(number)
        if manifest is None:
            raise StoredStateError(
                f"Model {number} must be committed; there are {len(self.models)} models.",
                where=self.root,
            )
        return manifest.artifact

    def _rows(self, path: str) -> int:
        from spark_pseudolabel.store.views import parquet_rows

        return parquet_rows(self.files, join(self.root, path))

    def _lengths(self, folder: str, paths: Any) -> dict[str, int]:
        """Return the length of the files in an attempt, with one listing instead of many calls."""
        folders = {folder} | {path.rpartition("/")[0] for path in paths}
        tops = {place for place in folders if place == folder or not place.startswith(folder + "/")}
        return {
            f"{top}/{info.path}": info.bytes
            for top in tops
            for info in self.files.list(join(self.root, top))
        }
