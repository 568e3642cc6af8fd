"""A run: the loop over rounds, which decides nothing itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from pyspark.sql import SparkSession
from sklearn.base import BaseEstimator

from spark_pseudolabel.config import Config, identity
from spark_pseudolabel.core.rounds import BuildGraph, Finish, FitModel, ScoreRound, next_step
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.decide import require_possible
from spark_pseudolabel.job.finish import MakeReport, finish, is_finished
from spark_pseudolabel.job.fit import fit_model
from spark_pseudolabel.job.graph import build_graph
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.score import score_round
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.snapshots import freezer_of, release
from spark_pseudolabel.job.spreading import SpreadingTold
from spark_pseudolabel.job.summary import make_report
from spark_pseudolabel.job.teachers import require_usable, teacher_of
from spark_pseudolabel.job.trainers import require_trainable, trainer_of
from spark_pseudolabel.output.preflight import refuse_generations
from spark_pseudolabel.output.state import model_facts, round_facts
from spark_pseudolabel.progress import Events, SilentEvents
from spark_pseudolabel.registry import extras_of, module_of
from spark_pseudolabel.report.document import Report
from spark_pseudolabel.spark.backends import Backend, open_backend
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.inputs.facts import Frames, Inputs, NewRows
from spark_pseudolabel.spark.inputs.reading import read_inputs
from spark_pseudolabel.spark.progress import task_counter
from spark_pseudolabel.spark.reading.rules import Functions
from spark_pseudolabel.spark.startup.libraries import require_same_libraries
from spark_pseudolabel.store.files import Files, LocalFiles, join, scheme_of
from spark_pseudolabel.store.given_rows import keep_given
from spark_pseudolabel.store.identity import (
    frozen_before,
    read_run,
    require_place,
    require_same_configuration,
)
from spark_pseudolabel.store.inputs import FrozenInputs
from spark_pseudolabel.store.lease import hold
from spark_pseudolabel.store.publish import require_slots, writing
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.version import VERSION


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Parameters
    ----------
    report
        The document of ``report.json``.
    resumed
        Whether it went on from rounds that an earlier start had committed.
    already_done
        Whether there was nothing left to do.
    """

    report: Report
    resumed: bool
    already_done: bool


def run(asked: Asked) -> Result:
    """Run a configuration to its end, or continue where an earlier start of it stopped.

    Raises
    ------
    InputError
        Exit code 3: inputs, output or environment do not hold what the configuration says.
    OutputBusyError
        Exit code 4: another run holds the output.
    StoredStateError
        Exit code 5: what is stored in the output is damaged.
    """
    with asked.output() as (files, root):
        refuse_generations(files, root)
        refuse_other_run(files, root, asked.config)
        proved = frozen_before(files, root, identity(asked.config))
        result = to_the_end(asked.run(files, root, asked.begin(files, root), proved=proved))
        release(files, root, asked.config)
        return result


@dataclass(frozen=True)
class Asked:
    """What a run is asked for.

    Parameters
    ----------
    spark
        A session from :func:`~spark_pseudolabel.spark.startup.session.get_session` or ``borrowed``.
    config
        What to do.
    events
        Who listens.
    frames
        DataFrames of the sections that say ``from: dataframe``.
    functions
        Rules that are functions in Python, by their name.
    estimator
        Used as it is, instead of the one that the configuration names.
    trusted
        Import paths of types in `estimator` that may be stored and loaded.
    """

    spark: SparkSession
    config: Config
    events: Events = field(default_factory=SilentEvents)
    frames: Frames | None = None
    functions: Functions | None = None
    estimator: BaseEstimator | None = None
    trusted: tuple[str, ...] = ()

    @contextlib.contextmanager
    def output(self) -> Iterator[tuple[Files, str]]:
        """Hold the output, after all that can be refused without a look at the inputs."""
        spark, config = self.spark, self.config
        files, root = files_for(spark, config.output.path)
        require_file_system(config.output.path, files, root)
        require_place(files, root)
        if not isinstance(files, LocalFiles):
            require_slots(files, root)
        announce(spark, self.events)
        require_same_libraries(spark, extras_of(config.estimators))
        with hold(files, root, owner=spark.sparkContext.applicationId):
            yield files, root

    def inputs(
        self,
        files: Files,
        root: str,
        *,
        proved: FrozenInputs | None = None,
        new_rows: NewRows | None = None,
    ) -> Inputs:
        """Open and check all tables; see :func:`read_inputs`."""
        freezer = freezer_of(files, root, self.config, proved)
        with _probe_file(files, root) as probe, self.events.stage(0, "read inputs"):
            return read_inputs(
                self.spark,
                self.config,
                self.frames,
                probe=probe,
                modules=_modules_of_workers(self.config, self.estimator),
                proved=proved,
                functions=self.functions,
                new_rows=new_rows,
                freezer=freezer,
            )

    def begin(self, files: Files, root: str) -> Callable[[FrozenInputs], RoundStore]:
        """Return what opens the memory of an output's first run."""
        own = identity(self.config)
        return lambda frozen: RoundStore.begin(files, root, own, frozen, VERSION)

    def run(
        self,
        files: Files,
        root: str,
        begin: Callable[[FrozenInputs], RoundStore],
        *,
        proved: FrozenInputs | None = None,
        new_rows: NewRows | None = None,
    ) -> Run:
        """Open the inputs, then the memory, and return the run with what its models need."""
        inputs = self.inputs(files, root, proved=proved, new_rows=new_rows)
        return self.prepared(inputs, begin)

    def prepared(self, inputs: Inputs, begin: Callable[[FrozenInputs], RoundStore]) -> Run:
        """Open the memory of a run, after all that its inputs refuse."""
        setting = Setting(self.config, inputs)
        require_possible(setting)
        require_trainable(self.spark, self.config)
        # Refuses what inputs lack, before a store.
        teacher_of(self.config, inputs.features, self.estimator, inputs.numbers)
        run = self.opened(setting, begin(inputs.frozen))
        models = run.models
        require_usable(models.teacher, models.student, setting, self.estimator, self.trusted)
        models.teacher.require_rows(setting.node_rows, len(inputs.classes))
        return run

    def opened(self, setting: Setting, store: RoundStore) -> Run:
        """Put together a run of inputs and memory that are open."""
        inputs = setting.inputs
        store.spark = _spark_facts(self.spark)
        keep_given(store, inputs.labeled, inputs.validation, inputs.keys)
        backend = self.backend(setting, store)
        told = SpreadingTold(self.events)
        models = Models(
            setting, store, backend.pool, self.estimator, self.trusted, told, self.spark
        )
        trainer = trainer_of(setting, store, backend.pool)
        return Run(self.spark, setting, store, models, backend, trainer, self.events)

    def backend(self, setting: Setting, store: RoundStore) -> Backend:
        """Choose what reads the pool."""
        seed = self.config.random_state
        return open_backend(self.spark, setting.inputs, store, setting.carried, seed)


def require_file_system(path: str, files: Files, root: str) -> None:
    """Refuse a plain path that Spark takes for another file system than other commands would."""
    if not scheme_of(path) and not isinstance(files, LocalFiles):
        raise InputError(
            "output.path must name its file system where Spark's default (fs.defaultFS) is not "
            f"the local disk: {path!r} is {root} for Spark, and a local directory for whoever "
            f"looks at it without Spark. Write output.path: {root}, or file://... for the local "
            "disk.",
            code="file_system",
            where="output.path",
        )


def refuse_other_run(files: Files, root: str, config: Config) -> None:
    """Refuse an output of another configuration, before its pool is read for nothing."""
    stored = read_run(files, root)
    if stored is not None:
        require_same_configuration(stored, identity(config), root)


@contextlib.contextmanager
def _probe_file(files: Files, root: str) -> Iterator[str]:
    """Put a file into the output for as long as workers are asked whether they see it."""
    # A name that `gc` collects if this process does not get to delete it.
    path = join(root, f".witness.{uuid4().hex}.tmp")
    with writing(path):
        files.replace(path, b"Whoever sees this file can write to the output.\n")
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            files.delete_tree(path)


def _modules_of_workers(config: Config, estimator: BaseEstimator | None) -> list[str]:
    own = [type(estimator).__module__] if estimator is not None else None
    modules = own or map(module_of, config.estimators)
    return ["spark_pseudolabel.spark.direct.tasks", "sklearn.compose", *modules]


def to_the_end(run: Run, make_report: MakeReport = make_report) -> Result:
    """Take the steps that are left of a run."""
    started = time.monotonic()
    resumed = bool(run.store.models) or run.store.graph is not None
    tell_where_it_stands(run.setting, run.backend, run.events, run.store.run_id)
    if resumed and run.store.final is None:
        committed = len(run.store.rounds)
        run.events.event("resume", round=committed + 1, committed=committed)
    while True:
        match next_step(
            model_facts(run.store),
            round_facts(run.store),
            run.setting.limits,
            has_graph=run.store.graph is not None,
        ):
            case FitModel(number):
                fit_model(run, number)
            case BuildGraph():
                build_graph(run)
            case ScoreRound(number):
                score_round(run, number)
            case Finish() as end:
                already_done = is_finished(run.store, end)
                report = finish(run, end, time.monotonic() - started, make_report)
                return Result(report, resumed, already_done)


def tell_where_it_stands(
    setting: Setting, backend: Backend, events: Events, run_id: str | None = None
) -> None:
    """Tell policy, notes on the inputs, and who reads them."""
    inputs = setting.inputs
    if setting.config.why_selection is not None:
        events.event("policy", why=setting.config.why_selection)
    for note in inputs.notes:
        events.event("warning", code=note.code, message=note.message)
    events.event(
        "inputs",
        labeled=inputs.labeled.num_rows,
        validation=inputs.validation.num_rows,
        pool=inputs.pool_rows,
        classes=list(inputs.classes),
        numbers=inputs.numbers is not None,
        read_by=backend.read_by,
        run_id=run_id,
    )


def announce(spark: SparkSession, events: Events) -> None:
    """Say which session works, and let the display ask it how far it is."""
    context = spark.sparkContext
    events.event(
        "session", app_id=context.applicationId, ui_url=context.uiWebUrl, master=context.master
    )
    events.watch(task_counter(context))


def _spark_facts(spark: SparkSession) -> dict[str, str]:
    context = spark.sparkContext
    return {
        "app_id": str(context.applicationId),
        "master": str(context.master),
        "version": spark.version,
    }
