"""A dry run: everything is checked and counted, nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pyspark.sql import SparkSession

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.config import Config, identity
from spark_pseudolabel.core.teachers.kind import NamedEstimator
from spark_pseudolabel.job.decide import require_possible
from spark_pseudolabel.job.expected import expected
from spark_pseudolabel.job.loop import announce
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.summary import numbers_asked, pinned_inputs
from spark_pseudolabel.job.teachers import named_by, teacher_of
from spark_pseudolabel.job.trainers import require_trainable, training_notices
from spark_pseudolabel.progress import Events, SilentEvents
from spark_pseudolabel.registry import extras_of
from spark_pseudolabel.report.document import (
    BandPoint,
    LadderStep,
    Notice,
    PlanDocument,
    PlanFeature,
    PlanModel,
    PlanOutput,
    PlanPromise,
    PlanRounds,
    PlanRows,
    PlanRule,
    PlanSnapshot,
    PlanStudent,
    label_key,
)
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.inputs.facts import Frames, Inputs
from spark_pseudolabel.spark.inputs.reading import read_inputs
from spark_pseudolabel.spark.snapshot import Choice, bytes_of
from spark_pseudolabel.spark.startup.libraries import require_same_libraries
from spark_pseudolabel.store.identity import (
    frozen_before,
    read_run,
    require_same,
    require_same_configuration,
)
from spark_pseudolabel.store.inputs import FrozenInputs
from spark_pseudolabel.store.store import RoundStore

_FEW_LABELS = 10
_IN_WORDS: Mapping[str, str] = {
    "date": "days since 1970-01-01",
    "timestamp": "seconds since 1970-01-01 UTC",
}


def plan(
    spark: SparkSession,
    config: Config,
    frames: Frames | None = None,
    *,
    events: Events | None = None,
) -> PlanDocument:
    """Return the document of ``plan``: what ``run`` would do with this configuration.

    Raises
    ------
    InputError
        As ``run`` would, before any model is fitted.
    """
    events = events or SilentEvents()
    announce(spark, events)
    require_same_libraries(spark, extras_of(config.estimators))
    with events.stage(0, "read inputs"):
        files, root = files_for(spark, config.output.path)
        proved = frozen_before(files, root, identity(config))
        inputs = read_inputs(spark, config, frames, proved=proved)
    setting = Setting(config, inputs)
    require_possible(setting)
    require_trainable(spark, config)
    # Refuses what inputs lack.
    teacher = teacher_of(config, inputs.features, numbers=inputs.numbers)
    teacher.require_rows(setting.node_rows, len(inputs.classes))
    by_code = Counter(inputs.labeled.column(CODE).to_pylist())
    return PlanDocument(
        rows=PlanRows(
            labeled=inputs.labeled.num_rows,
            validation=inputs.validation.num_rows,
            pool=inputs.pool_rows,
            test=inputs.test.count() if inputs.test is not None else None,
        ),
        classes={label_key(label): by_code[code] for code, label in enumerate(inputs.classes)},
        numbers=numbers_asked(config, inputs.numbers),
        label_type=inputs.label_type,
        id=list(inputs.keys),
        features=[PlanFeature(name=f.name, kind=f.kind, type=f.type) for f in inputs.features],
        model=_model(config, inputs),
        selection=config.selection.model_dump(mode="json"),
        why_selection=config.why_selection,
        rounds=PlanRounds(max=config.rounds.max, relabel=config.rounds.relabel),
        promise=_promise(setting),
        partitions=len(inputs.scan.parts)
        if inputs.scan is not None
        else inputs.pool.rows.rdd.getNumPartitions(),
        pinned=pinned_inputs(inputs),
        snapshot=_snapshot(config, inputs, proved),
        output=PlanOutput(path=config.output.path, state=_state(spark, config, inputs)),
        warnings=[*_warnings(inputs, by_code), *training_notices(config)],
    )


def _snapshot(config: Config, inputs: Inputs, proved: FrozenInputs | None) -> PlanSnapshot | None:
    choice = inputs.freezing
    if choice is None:
        return None
    if proved is not None:
        choice = Choice(proved.unlabeled.snapshot is not None, "so the run has begun")
    return PlanSnapshot(
        frozen=choice.freezes,
        why=choice.why,
        bytes=bytes_of(inputs.pool.schema, inputs.pool_rows) if choice.freezes else None,
        kept=choice.freezes and config.unlabeled.snapshot == "keep",
    )


def _promise(setting: Setting) -> PlanPromise | None:
    found, chosen = expected(setting), setting.config.certified
    if found is None or chosen is None:
        return None
    return PlanPromise(
        rows=found.rows,
        estimator=found.estimator,
        certainty=chosen.certainty,
        band=[BandPoint.from_fact(point) for point in found.survey.band],
        ladder=[LadderStep.from_fact(step) for step in found.survey.ladder],
    )


def _model(config: Config, inputs: Inputs) -> PlanModel:
    maker = named_by(config, config.model.seed, inputs.features, numbers=inputs.numbers)
    teacher, student = config.teacher, config.model.student
    members = teacher.said if teacher is not None else ()
    rules = config.rules.rules if config.rules is not None else ()
    return PlanModel(
        estimator=config.model.estimator,
        params=config.model.params,
        student=None if student is None else _named(student),
        teacher=None if teacher is None else teacher.key,
        committee=[_named(member) for member in members],
        rules=[PlanRule(name=rule.name, label=rule.label, when=rule.when) for rule in rules],
        committee_is_final=teacher is not None and config.student is None,
        preprocessing=list(maker.preprocessing),
    )


def _named(estimator: NamedEstimator) -> PlanStudent:
    return PlanStudent(estimator=estimator.estimator, params=estimator.params)


def _state(spark: SparkSession, config: Config, inputs: Inputs) -> str:
    files, root = files_for(spark, config.output.path)
    stored = read_run(files, root)
    if stored is None:
        return "new"
    if config.incremental is not None:
        require_same_configuration(stored, identity(config), root)
        return "incremental"
    require_same(stored, identity(config), inputs.frozen, root)
    return "resumable" if RoundStore.open(files, root).final is None else "done"


def _warnings(inputs: Inputs, by_code: Counter[int]) -> list[Notice]:
    warnings = [Notice.about(note.code, note.message) for note in inputs.notes]
    warnings += [
        Notice.about(
            "time_as_number",
            f"{feature.name!r} is a {feature.type}: the model sees {_IN_WORDS[feature.kind]}.",
        )
        for feature in inputs.features
        if feature.kind in _IN_WORDS
    ]
    if not sum(by_code.values()):
        return warnings
    few = [label for code, label in enumerate(inputs.classes) if by_code[code] < _FEW_LABELS]
    if few:
        warnings.append(
            Notice.about(
                "few_labels",
                f"Fewer than {_FEW_LABELS} training rows"
                + ("" if inputs.numbers is not None else f" for {', '.join(map(repr, few))}")
                + ": what is learned of them is weak, and so is what the report says about it. "
                "Label more of them.",
            )
        )
    return warnings
