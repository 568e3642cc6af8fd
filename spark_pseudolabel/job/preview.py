"""A dry run: everything is checked and counted, nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pyspark.sql import SparkSession

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.config import Config, identity
from spark_pseudolabel.job.decide import require_possible
from spark_pseudolabel.job.expected import ESTIMATOR, expected
from spark_pseudolabel.job.loop import announce
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.teachers import named_by, teacher_of
from spark_pseudolabel.progress import Events, SilentEvents
from spark_pseudolabel.registry import extras_of
from spark_pseudolabel.report.document import (
    BandPoint,
    LadderStep,
    PlanDocument,
    PlanPromise,
    document,
)
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.inputs import Frames, Inputs, read_inputs
from spark_pseudolabel.spark.startup.libraries import require_same_libraries
from spark_pseudolabel.store.identity import (
    frozen_before,
    read_run,
    require_same,
    require_same_configuration,
)
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
) -> dict[str, Any]:
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
    teacher = teacher_of(config, inputs.features)  # refuses what inputs lack
    teacher.require_rows(setting.node_rows, len(inputs.classes))
    by_code = Counter(inputs.labeled.column(CODE).to_pylist())
    return document(
        PlanDocument,
        {
            "rows": {
                "labeled": inputs.labeled.num_rows,
                "validation": inputs.validation.num_rows,
                "pool": inputs.pool_rows,
                "test": inputs.test.count() if inputs.test is not None else None,
            },
            "classes": {label: by_code[code] for code, label in enumerate(inputs.classes)},
            "label_type": inputs.label_type,
            "id": list(inputs.keys),
            "features": [{"name": f.name, "kind": f.kind, "type": f.type} for f in inputs.features],
            "model": _model(config, inputs),
            "selection": config.selection.model_dump(mode="json"),
            "why_selection": config.why_selection,
            "rounds": config.rounds.model_dump(mode="json"),
            "promise": _promise(setting),
            "partitions": len(inputs.scan.parts)
            if inputs.scan is not None
            else inputs.pool.rows.rdd.getNumPartitions(),
            "output": {"path": config.output.path, "state": _state(spark, config, inputs)},
            "warnings": _warnings(inputs, by_code),
        },
    )


def _promise(setting: Setting) -> PlanPromise | None:
    found, chosen = expected(setting), setting.config.certified
    if found is None or chosen is None:
        return None
    return PlanPromise(
        rows=found.rows,
        estimator=ESTIMATOR,
        certainty=chosen.certainty,
        band=[BandPoint.from_fact(point) for point in found.survey.band],
        ladder=[LadderStep.from_fact(step) for step in found.survey.ladder],
    )


def _model(config: Config, inputs: Inputs) -> dict[str, Any]:
    preprocessing = named_by(config, config.model.seed, inputs.features).preprocessing
    members = config.teacher.said if config.teacher is not None else ()
    return {
        **config.model.model_dump(mode="json"),
        "teacher": None if config.teacher is None else config.teacher.key,
        "committee": [member.model_dump(mode="json") for member in members],
        "committee_is_final": config.teacher is not None and config.student is None,
        "preprocessing": list(preprocessing),
    }


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


def _warnings(inputs: Inputs, by_code: Counter[int]) -> list[dict[str, str]]:
    warnings = [note.to_dict() for note in inputs.notes]
    warnings += [
        {
            "code": "time_as_number",
            "message": f"{feature.name!r} is a {feature.type}: the model sees "
            f"{_IN_WORDS[feature.kind]}.",
        }
        for feature in inputs.features
        if feature.kind in _IN_WORDS
    ]
    if not sum(by_code.values()):
        return warnings
    few = [label for code, label in enumerate(inputs.classes) if by_code[code] < _FEW_LABELS]
    if few:
        warnings.append(
            {
                "code": "few_labels",
                "message": f"Fewer than {_FEW_LABELS} training rows for "
                f"{', '.join(map(repr, few))}: what is learned of them is weak, and so is what "
                "the report says about it. Label more of them.",
            }
        )
    return warnings
