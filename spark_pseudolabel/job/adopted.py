"""A generation that fits nothing: its rows are labeled by a model and a plan that there are."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from spark_pseudolabel.config import public
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import Scorer
from spark_pseudolabel.core.rounds import Finish, FitModel, LoopLimits, ScoreRound, next_step
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.finish import MakeReport, finish
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.score import score_round
from spark_pseudolabel.job.summary import (
    environment_of,
    numbers_asked,
    paths_of,
    pinned_inputs,
    round_of,
    rows_of,
)
from spark_pseudolabel.output.scoring import asking_as_run
from spark_pseudolabel.output.state import model_facts, round_facts
from spark_pseudolabel.report.document import (
    Adjustment,
    Metrics,
    ModelResult,
    Notice,
    Report,
)
from spark_pseudolabel.spark.inputs.facts import Inputs
from spark_pseudolabel.spark.pool import Scored
from spark_pseudolabel.store.facts import RoundCertificate
from spark_pseudolabel.store.generations import Deciding
from spark_pseudolabel.store.manifest import FittedModel, ModelManifest
from spark_pseudolabel.store.store import RoundStore


@dataclass(frozen=True)
class Adopted:
    """A model of an earlier generation, and how it decides.

    Parameters
    ----------
    deciding
        Which it is, its plan, its name.
    fitted
        What its manifest says, as a generation that has fitted nothing says it again.
    """

    deciding: Deciding
    fitted: FittedModel

    @classmethod
    def of(cls, origin: RoundStore, deciding: Deciding) -> Adopted:
        """Take a model out of the run that fitted it."""
        manifest = origin.models[deciding.model - 1]
        return cls(deciding, _again(manifest, origin.models[0]))

    def inputs(self, inputs: Inputs) -> Inputs:
        """Return inputs that the model can take.

        Raises
        ------
        InputError
            If labels, ids or features are others than the model was fitted on.
        """
        self._require_classes(inputs)
        self._require_features(inputs)
        return inputs

    def _require_classes(self, inputs: Inputs) -> None:
        if tuple(inputs.classes) == tuple(self.fitted.classes):
            return
        others = sorted(map(str, set(inputs.classes) ^ set(self.fitted.classes)))
        raise InputError(
            f"labeled has other classes than {self.deciding.name} knows: they differ in "
            f"{', '.join(others)}. Only a new model learns them: --set incremental.refit=on_drift "
            "fits one.",
            code="classes_differ",
            where="labeled",
        )

    def _require_features(self, inputs: Inputs) -> None:
        wanted, found = (
            {feature.name: _shape(feature) for feature in features}
            for features in (self.fitted.features, (*inputs.features, *inputs.votes))
        )
        wrong = [name for name, shape in wanted.items() if found.get(name) != shape]
        if not wrong:
            return
        missing = wrong[0] not in found
        what = "is missing there" if missing else f"is {found[wrong[0]][0]} there"
        raise InputError(
            f"The new rows must have the columns that {self.deciding.name} was fitted on, "
            f"as they were. Column {wrong[0]!r} was {wanted[wrong[0]][0]}, and {what} or in "
            "labeled. Write the files again with it, or fit a new model: --set "
            "'incremental.refit={every: 1}'.",
            code="features_differ",
            where=wrong[0],
        )

    def label(self, run: Run, make_report: MakeReport) -> Report:
        """Decide the rows that are new, in one round, and publish them; harmless to repeat."""
        started = time.monotonic()
        limits = LoopLimits(max_rounds=1, pool=run.setting.inputs.pool_rows)
        while True:
            match next_step(model_facts(run.store), round_facts(run.store), limits):
                case FitModel(number):
                    run.store.commit_model(run.store.new_attempt("model", number), self.fitted)
                case ScoreRound(number):
                    score_round(run, number, self._decide)
                case Finish() as end:
                    end = replace(end, reason="generation")
                    return finish(run, end, time.monotonic() - started, make_report)

    def _decide(
        self, models: Models, number: int, scored: Scored
    ) -> tuple[Plan, RoundCertificate | None]:
        return self.deciding.plan, None


def typed_as_before(inputs: Inputs, first: ModelManifest, *, features: bool) -> Inputs:
    """Return inputs with the types of ids and labels that the published tables have.

    Parameters
    ----------
    inputs
        Of a later generation.
    first
        The first model of the first one.
    features
        Whether features are published, too.

    Raises
    ------
    InputError
        If a column would be of another type in the files that the generation adds to a table, so
        that no reader could read all of them together.
    """
    types = {**first.key_types, "label": first.label_type}
    for name, found in {**inputs.key_types, "label": inputs.label_type}.items():
        before = types.get(name, found)
        if (found == "string") != (before == "string"):
            raise _other_type(name, before, found)
    if features:
        published = {feature.name: feature.type for feature in first.features}
        for feature in inputs.features:
            before = published.get(feature.name, feature.type)
            if feature.type != before:
                raise _other_type(feature.name, before, feature.type)
    key_types = dict(first.key_types) or inputs.key_types
    return replace(inputs, label_type=first.label_type, key_types=key_types)


def _other_type(column: str, before: str, found: str) -> InputError:
    return InputError(
        f"Column {column!r} must be {before}, as in the tables that earlier generations have "
        f"written: their files are read together. It is {found}: cast it.",
        code="type_differs",
        where=column,
    )


@dataclass
class LentModels(Models):
    """Models of which none is fitted here: rows are asked what the run that lent them has asked."""

    def asking(self, scorer: Scorer) -> Scorer:
        """Let a scorer withhold rows as the run did that fitted it."""
        asking, support = asking_as_run(self.store, 1, scorer), self.setting.support
        assert asking is not None  # a model that can answer was chosen
        return replace(asking, support=None if support is None else support[0])


def report_of(run: Run, end: Finish, elapsed_s: float, name: str) -> Report:
    """Return the document of ``report.json`` for rows that a finished model has labeled."""
    store, inputs = run.store, run.setting.inputs
    manifest = store.models[end.best_round]
    model = ModelResult(
        model=name,
        validation=Metrics.from_optional(manifest.validation),
        oof=Metrics.from_optional(manifest.oof),
        adjustment=Adjustment.from_optional(manifest.adjustment),
    )
    notes = [Notice.about(note.code, note.message) for note in inputs.notes]
    return Report(
        run_id=store.run_id,
        termination_condition=end.reason,
        n_iter=end.n_iter,
        best_round=end.best_round,
        classes=list(inputs.classes),
        numbers=numbers_asked(run.setting.config, inputs.numbers),
        rounds=[round_of(store, decided, end) for decided in store.rounds],
        seed=model,
        final=model,
        rows=rows_of(run.setting, store, end),
        warnings=notes,
        paths=paths_of(run.setting.config.output.path, manifest.artifact),
        pinned=pinned_inputs(inputs),
        config=public(run.setting.config),
        environment=environment_of(run.spark),
        elapsed_s=round(elapsed_s, 3),
    )


def _again(manifest: ModelManifest, first: ModelManifest) -> FittedModel:
    """Say of a model what is true of it where it has learned from no row."""
    no_row = (None,) * len(manifest.classes)
    training = manifest.training.model_copy(
        update={"rows_pseudo": 0, "hash_limits": no_row, "against_best": None, "shift": None}
    )
    return FittedModel(
        artifact=manifest.artifact,
        classes=manifest.classes,
        label_type=manifest.label_type,
        key_types=manifest.key_types,
        features=manifest.features,
        training=training,
        validation=manifest.validation,
        oof=manifest.oof,
        marginals=first.marginals,
        voters=manifest.voters,
        adjustment=manifest.adjustment,
        numbers=manifest.numbers,
        residuals=manifest.residuals,
        seconds={"fit": 0.0},
    )


def _shape(feature: Feature) -> tuple[str, int]:
    return feature.kind, feature.width
