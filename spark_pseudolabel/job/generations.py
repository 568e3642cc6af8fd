"""Incremental runs: rows that have come since the last generation, labeled beside the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import numpy as np
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from sklearn.base import BaseEstimator

from spark_pseudolabel.config import Config, identity
from spark_pseudolabel.config.sections import EveryGeneration, Incremental
from spark_pseudolabel.core.facts import Representativeness
from spark_pseudolabel.core.generations import RefitRule, has_drifted, next_generation
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.core.uniqueness import Hashes
from spark_pseudolabel.errors import DriftError, InputError
from spark_pseudolabel.job import loop
from spark_pseudolabel.job.adopted import Adopted, LentModels, report_of
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.drift import keep_sample, measure_drift
from spark_pseudolabel.job.finish import write_reports
from spark_pseudolabel.job.loop import Asked, Result, tell_where_it_stands, to_the_end
from spark_pseudolabel.job.new_rows import find_new, new_rows
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.snapshots import release
from spark_pseudolabel.job.summary import make_report
from spark_pseudolabel.output.deciding import deciding_of
from spark_pseudolabel.output.generations import (
    drift_message,
    generation_of,
    notices_of,
    reported,
    sums_of,
)
from spark_pseudolabel.output.new_files import is_listed
from spark_pseudolabel.progress import Events, SilentEvents
from spark_pseudolabel.redaction import redacted
from spark_pseudolabel.report.document import Notice, Report
from spark_pseudolabel.spark.inputs import Frames, Inputs, NewRows
from spark_pseudolabel.spark.reading.rules import Functions
from spark_pseudolabel.store import seen
from spark_pseudolabel.store.facts import StoredReport
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.generations import (
    RECENT,
    Deciding,
    Drift,
    End,
    Entries,
    GenerationFacts,
    Generations,
    Kind,
    Sums,
    final_ref,
)
from spark_pseudolabel.store.identity import frozen_before, require_same, require_same_configuration
from spark_pseudolabel.store.inputs import FrozenInputs
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.manifest import FileEntry, Ref, normalized, now
from spark_pseudolabel.store.store import Attempt, RoundStore
from spark_pseudolabel.version import VERSION


def run(
    spark: SparkSession,
    config: Config,
    *,
    events: Events | None = None,
    frames: Frames | None = None,
    functions: Functions | None = None,
    estimator: BaseEstimator | None = None,
    trusted: Sequence[str] = (),
) -> Result:
    """Run a configuration to its end, or the next generation of it where it is incremental.

    Parameters and errors as :func:`spark_pseudolabel.job.loop.run`, and:

    Raises
    ------
    DriftError
        Exit code 7: new rows are too unlike those that the model was made for; none was labeled.
    """
    if config.incremental is None:
        return loop.run(
            spark,
            config,
            events=events,
            frames=frames,
            functions=functions,
            estimator=estimator,
            trusted=trusted,
        )
    asked = Asked(
        spark, config, events or SilentEvents(), frames, functions, estimator, tuple(trusted)
    )
    with asked.output() as (files, root):
        try:
            result = _Incremental(asked, files, root, config.incremental).run()
        except DriftError:
            release(files, root, config)  # the generation has ended
            raise
        release(files, root, config)
        return result


_GONE = ("inputs_changed", "no_files", "missing_path", "damaged_file", "version_expired")
"""Codes of errors about inputs that are not there any more as they were."""


@dataclass(frozen=True)
class _Place:
    """The latest generation that has ended, and the slots."""

    generations: Generations
    end: End
    ref: Ref


@dataclass(frozen=True)
class _Incremental:
    """An incremental run in an output that it holds.

    Parameters
    ----------
    asked
        What it is asked for.
    files, root
        The output.
    how
        Its section of the configuration.
    """

    asked: Asked
    files: Files
    root: str
    how: Incremental

    def run(self) -> Result:
        """Finish what an earlier start has begun, then label what is new."""
        generations = Generations.read(self.files, self.root)
        first = None
        if generations is not None:
            require_same_configuration(generations.first, self._identity, self.root)
        if generations is None or generations.end(1) is None:
            first, generations = self._first(generations)
        resumed, generations = self._resume(generations)
        place = self._place(generations)
        report = self._next(place)
        if report is not None:
            return Result(report, resumed=False, already_done=False)
        if resumed is not None:
            return Result(resumed, resumed=True, already_done=False)
        if first is not None:
            return first
        stored = reported(generations, place.end)
        return Result(Report.model_validate(stored), resumed=False, already_done=True)

    # --- the first generation

    def _first(self, before: Generations | None) -> tuple[Result, Generations]:
        """Run the first generation to its end, on the rows that there were when it began."""
        asked, rows = self.asked, None
        proved = None if before is None else frozen_before(self.files, self.root, self._identity)
        if before is not None and proved is not None and proved.unlabeled.files is not None:
            rows = NewRows(_paths(proved))
        began = asked.begin(self.files, self.root)
        opened: Run | None = None
        try:
            opened = asked.run(self.files, self.root, began, proved=proved, new_rows=rows)
            result = to_the_end(opened)
        except InputError as error:
            # A run that is finished needs its pool no more, which may be gone or have grown.
            if before is None or error.code not in ("inputs_changed", "version_expired"):
                raise
            store = RoundStore.open(self.files, self.root, VERSION)
            if store.final is None or not store.views_are_current():
                raise
            report = Report.model_validate(store.final.report.document)
            result = Result(report, resumed=False, already_done=True)
        generations = Generations.read(self.files, self.root)
        assert generations is not None
        with asked.events.stage(0, "remember what was read"):
            generations.finish(self._end_of_first(generations, opened))
        return result, generations

    def _end_of_first(self, generations: Generations, run: Run | None) -> End:
        store = generations.store(1, VERSION) if run is None else run.store
        assert store.final is not None
        attempt, deciding, rows = _attempt(store), deciding_of(store), store.final.counts
        sample = None
        if run is not None:
            sample = keep_sample(store, attempt, run.setting, run.backend.pool)
            drift = measure_drift(run.setting, store, run.backend.pool, None)
            deciding = _unlike(deciding, None if drift is None else drift.labeled)
        facts = GenerationFacts(
            generation=1,
            run_id=store.run_id,
            kind="fit",
            inputs=len(store.inputs.unlabeled.files or ()),
            rows=rows.pool,
            accepted=rows.accepted,
            rejected=rows.rejected,
            invalid=rows.invalid,
            abstained=rows.abstained,
            model=model_name(store.final.final_model) if deciding is None else deciding.name,
            ended_at=now(),
        )
        ids, files = _remembered(store, attempt, (), ())
        return End(
            generation=1,
            claim=None,
            final=final_ref(store),
            deciding=deciding,
            sample=sample,
            ids=ids,
            files=files,
            facts=facts,
            sums=Sums().plus(facts),
            attempt_id=attempt.id,
            **generations.common(store),
        )

    # --- one that has begun

    def _resume(self, generations: Generations) -> tuple[Report | None, Generations]:
        """Bring a generation that was begun to its end; None where there is none.

        So, too, one that has ended and whose tables were lost since.
        """
        number = generations.count
        if number == 1 or _is_whole(generations, number):
            return None, generations
        claim, _ = generations.claim(number)
        place = self._place(generations, number - 1)
        self.asked.events.event("generation", number=number, resumed=True)
        frozen = generations.run(number).inputs
        store, paths = generations.store(1), _paths(frozen)
        if not is_listed(self.asked.config):
            paths = None
        rows = new_rows(store, self.asked.config, paths, place.end.ids)
        try:
            inputs = self.asked.inputs(self.files, self.root, proved=frozen, new_rows=rows)
            require_same(generations.run(number), self._identity, inputs.frozen, self.root)
        except InputError as error:
            if not self._may_be_left(generations, number, error):
                raise
            return None, self._leave(generations, place, number)
        report = self._carry_out(generations, place, number, claim.kind, inputs)
        return report, generations

    def _may_be_left(self, generations: Generations, number: int, error: InputError) -> bool:
        """Whether what has begun may be given up, since its inputs are not there any more."""
        changed = error.code in _GONE
        return changed and generations.store(number).final is None

    def _leave(self, generations: Generations, place: _Place, number: int) -> Generations:
        """End a generation that has published nothing and whose inputs have changed."""
        message = (
            f"The inputs of generation {number}, which was begun and had published nothing, have "
            "changed. It is left, and a new one is begun."
        )
        self.asked.events.event("warning", code="generation_left", message=message)
        claim, ref = generations.claim(number)
        facts = GenerationFacts(
            generation=number,
            run_id=claim.run_id,
            kind=claim.kind,
            outcome="abandoned",
            rows=0,
            model=place.end.facts.model,
            ended_at=now(),
        )
        generations.finish(_following(generations, place, ref, facts))
        return generations

    # --- the next one

    def _next(self, place: _Place) -> Report | None:
        """Begin the next generation and carry it out; None where nothing is new."""
        config, generations = self.asked.config, place.generations
        store = generations.store(1)
        new = find_new(self.asked.spark, config, store, place.end)
        for notice in new.notices:
            self.asked.events.event("warning", **notice.model_dump())
        if new.none:
            return None
        deciding = place.end.deciding
        if deciding is None and self._rule.every != 1:
            raise _undecidable(config)
        rows = new_rows(store, config, new.paths, place.end.ids)
        inputs = self.asked.inputs(self.files, self.root, new_rows=rows)
        if new.paths is None and not inputs.pool_rows:
            return None
        self._refuse_again(place, inputs)
        return self._begin(place, inputs)

    def _refuse_again(self, place: _Place, inputs: Inputs) -> None:
        """Stop at once where the same rows have stopped a generation, and nothing is new since."""
        facts = place.end.facts
        if facts.outcome != "drift" or not self._stops:
            return
        before = place.generations.run(facts.generation).inputs.compared()
        read = normalized(redacted(inputs.frozen.compared()))
        if all(normalized(before[name]) == read[name] for name in ("unlabeled", "labeled")):
            assert place.end.deciding is not None
            raise self._drift_error(facts, place.end.deciding)

    def _begin(self, place: _Place, inputs: Inputs) -> Report | None:
        generations, deciding = place.generations, place.end.deciding
        number, run_id = generations.count + 1, str(uuid4())
        drift: Drift | None = None
        kind: Kind = "fit"
        if deciding is not None:
            drift = self._measured(generations, place, inputs, run_id)
            kind = next_generation(
                self._rule,
                number - deciding.generation,
                drifted=_drifted(drift, deciding),
                labels_changed=inputs.frozen.labeled.sha256 != deciding.labeled,
                stopped=place.end.facts.outcome == "drift",
            )
        self.asked.events.event(
            "generation", number=number, resumed=False, kind=kind, rows=inputs.pool_rows
        )
        if kind == "label":
            inputs = self._adopted(generations, place).inputs(inputs)
        begun = generations.begin(kind, inputs.frozen, place.ref, VERSION, run_id)
        return self._carry_out(begun, place, number, kind, inputs, drift)

    def _measured(
        self, generations: Generations, place: _Place, inputs: Inputs, run_id: str
    ) -> Drift | None:
        setting = Setting(self.asked.config, inputs)
        store = generations.tentative(run_id, inputs.frozen, VERSION)
        pool = self.asked.backend(setting, store).pool
        with self.asked.events.stage(0, "compare with earlier rows"):
            return measure_drift(setting, store, pool, place.end.sample)

    def _carry_out(
        self,
        generations: Generations,
        place: _Place,
        number: int,
        kind: Kind,
        inputs: Inputs,
        drift: Drift | None = None,
    ) -> Report | None:
        """Do what a generation was begun for; harmless to repeat.

        A drift that was measured by an earlier start is measured again: the rows are the same.
        """
        deciding = place.end.deciding
        if drift is None and deciding is not None:
            run_id = generations.claim(number)[0].run_id
            drift = self._measured(generations, place, inputs, run_id)
        step = _Step(self.asked, generations, place, number, kind, drift)
        if kind == "fit":
            return step.fit(inputs)
        assert deciding is not None
        if kind == "stop":
            facts = step.stop(inputs)
            if self._stops:
                raise self._drift_error(facts, deciding)
            return None  # begun by an earlier start that was told otherwise
        return step.label(self._adopted(generations, place), inputs)

    def _drift_error(self, facts: GenerationFacts, deciding: Deciding) -> DriftError:
        return DriftError(
            f"Generation {facts.generation} labels nothing: {drift_message(facts, deciding)} Look "
            "at them, label some, and run again; or label them all the same: --set "
            "incremental.on_shift=continue; or let a new model be fitted: --set "
            "incremental.refit=on_drift.",
            where="unlabeled",
        )

    # --- what they have in common

    def _adopted(self, generations: Generations, place: _Place) -> Adopted:
        deciding = place.end.deciding
        assert deciding is not None
        return Adopted.of(generations.store(deciding.generation), deciding)

    def _place(self, generations: Generations, latest: int | None = None) -> _Place:
        ended = generations.end(latest or generations.count)
        assert ended is not None
        return _Place(generations, *ended)

    @property
    def _identity(self) -> dict[str, object]:
        return identity(self.asked.config)

    @property
    def _stops(self) -> bool:
        return self.how.on_shift == "stop" and not self._rule.on_drift

    @property
    def _rule(self) -> RefitRule:
        refit = self.how.refit
        return RefitRule(
            every=refit.every if isinstance(refit, EveryGeneration) else None,
            on_drift=refit == "on_drift",
            stops=self.how.on_shift == "stop",
        )


@dataclass(frozen=True)
class _Step:
    """One generation after the first, begun.

    Parameters
    ----------
    asked, generations
        Of the run.
    place
        The generation before it.
    number, kind, drift
        Which it is, what it does, and how its rows differ.
    """

    asked: Asked
    generations: Generations
    place: _Place
    number: int
    kind: Kind
    drift: Drift | None

    def label(self, adopted: Adopted, inputs: Inputs) -> Report:
        """Label its rows with a model that there is."""
        store, deciding = self._store, adopted.deciding
        # No model learns from these rows.
        training = self.asked.config.training.model_copy(update={"rows": "accepted"})
        config = self.asked.config.model_copy(update={"training": training})
        setting = Setting(config, adopted.inputs(inputs))
        opened = self.asked.opened(setting, store)
        lent = LentModels(setting, store, opened.backend.pool, trusted=self.asked.trusted)
        run = replace(opened, models=lent, model_name=deciding.name)
        tell_where_it_stands(setting, run.backend, run.events, run.store.run_id)

        def make(run: Run, end: Finish, elapsed_s: float) -> Report:
            report = report_of(run, end, elapsed_s, deciding.name)
            facts = self._facts(report, inputs)
            certified = setting.config.certified is not None
            notices = notices_of(facts, deciding, certified=certified)
            return self._among_others(report, facts, [*notices, *report.warnings])

        report = adopted.label(run, make)
        self._end(run, self._facts(report, inputs), deciding, self.place.end.sample)
        return report

    def fit(self, inputs: Inputs) -> Report:
        """Run the configuration on its rows."""
        store = self._store
        opened = self.asked.prepared(inputs, lambda frozen: store)
        run = replace(opened, model_name=f"{self._own}/model-{{:04d}}")

        def make(run: Run, end: Finish, elapsed_s: float) -> Report:
            report = make_report(run, end, elapsed_s)
            return self._among_others(report, self._facts(report, inputs), report.warnings)

        report = to_the_end(run, make).report
        deciding = _unlike(deciding_of(store), None if self.drift is None else self.drift.labeled)
        with run.events.stage(0, "remember what was read"):
            sample = keep_sample(store, _attempt(store), setting=run.setting, pool=run.backend.pool)
        self._end(run, self._facts(report, inputs), deciding, sample)
        return report

    def stop(self, inputs: Inputs) -> GenerationFacts:
        """End it with nothing labeled; its files stay new."""
        before = Report.model_validate(reported(self.generations, self.place.end))
        deciding = self.place.end.deciding
        assert deciding is not None
        facts = self._facts(before, inputs).model_copy(
            update={"accepted": 0, "rejected": 0, "invalid": 0, "abstained": 0}
        )
        notice = Notice.about("drift", f"{drift_message(facts, deciding)} Nothing was labeled.")
        report = self._among_others(before, facts, [notice])
        report = report.model_copy(update={"termination_condition": "drift"})
        end = _following(self.generations, self.place, self._claim, facts)
        end = end.model_copy(update={"report": StoredReport.of(report.as_json())})
        write_reports(self.generations.store(1), report.as_json())
        self.generations.finish(end)
        return facts

    @property
    def _store(self) -> RoundStore:
        return self.generations.store(self.number, VERSION)

    @property
    def _claim(self) -> Ref:
        return self.generations.claim(self.number)[1]

    @property
    def _own(self) -> str:
        return f"generation-{self.number:04d}"

    def _facts(self, report: Report, inputs: Inputs) -> GenerationFacts:
        """Return what the generation comes to, where its report says where the rows went."""
        deciding, rows = self.place.end.deciding, report.rows
        learned = None if deciding is None else deciding.labeled
        name = f"{self._own}/{report.final.model}"
        if self.kind != "fit" and deciding is not None:
            name = deciding.name
        return GenerationFacts(
            generation=self.number,
            run_id=self.generations.claim(self.number)[0].run_id,
            kind=self.kind,
            outcome="drift" if self.kind == "stop" else "labeled",
            inputs=len(inputs.frozen.unlabeled.files or ()),
            rows=inputs.pool_rows,
            overlap=inputs.overlap,
            accepted=rows.accepted,
            rejected=rows.rejected,
            invalid=rows.invalid,
            abstained=rows.abstained,
            model=name,
            drift=self.drift,
            drifted=deciding is not None and _drifted(self.drift, deciding),
            labels_changed=self.kind != "fit" and inputs.frozen.labeled.sha256 != learned,
            ended_at=now(),
        )

    def _among_others(
        self, report: Report, facts: GenerationFacts, warnings: Sequence[Notice]
    ) -> Report:
        """Add what this generation and those before it came to."""
        before = self.place.end
        latest = (*before.latest, facts)[-RECENT:]
        return report.model_copy(
            update={
                "warnings": list(warnings),
                "generations": [generation_of(each) for each in latest],
                "all_generations": sums_of(before.sums.plus(facts)),
            }
        )

    def _end(
        self,
        run: Run,
        facts: GenerationFacts,
        deciding: Deciding | None,
        sample: FileEntry | None,
    ) -> None:
        if self.generations.end(self.number) is not None:
            return  # its tables were built again
        store, before = run.store, self.place.end
        attempt = _attempt(store)
        with run.events.stage(0, "remember what was read"):
            ids, files = _remembered(store, attempt, before.ids, before.files)
        end = End(
            generation=self.number,
            claim=self._claim,
            final=final_ref(store),
            deciding=deciding,
            sample=sample,
            ids=ids,
            files=files,
            facts=facts,
            recent=before.latest,
            sums=before.sums.plus(facts),
            attempt_id=attempt.id,
            **self.generations.common(store),
        )
        self.generations.finish(end)


def _is_whole(generations: Generations, number: int) -> bool:
    """Whether a generation has ended, and its tables are in place."""
    ended = generations.end(number)
    if ended is None:
        return False
    return ended[0].facts.outcome != "labeled" or generations.store(number).views_are_current()


def _following(generations: Generations, place: _Place, claim: Ref, facts: GenerationFacts) -> End:
    """Return the end of a generation that has labeled nothing: all is as it was before."""
    before = place.end
    return End(
        generation=facts.generation,
        claim=claim,
        final=before.final,
        deciding=before.deciding,
        sample=before.sample,
        ids=before.ids,
        files=before.files,
        facts=facts,
        recent=before.latest,
        sums=before.sums.plus(facts),
        report=before.report,
        **generations.common(generations.store(facts.generation, VERSION)),
    )


def _remembered(
    store: RoundStore, attempt: Attempt, ids: Entries, files: Entries
) -> tuple[Entries, Entries]:
    """Add what a run has read to what those before it have: ids and files."""
    if store.settings.id is not None:
        ids = seen.add_ids(store, attempt, ids, _stored_hashes(store, store.settings.id))
    frozen = store.inputs.unlabeled.files or ()
    return ids, seen.add_files(store, attempt, files, frozen)


def _stored_hashes(store: RoundStore, key: str) -> Iterator[Hashes]:
    """Yield the hashes of all ids that a run has scored; its first round looks at all rows."""
    for entry in store.rounds[0].scored if store.rounds else ():
        with store.files.open_input(join(store.root, entry.path)) as opened:
            for batch in pq.ParquetFile(opened).iter_batches(columns=[key], use_threads=False):
                yield xxhash64([batch.column(0)]).view(np.uint64)


def _attempt(store: RoundStore) -> Attempt:
    assert store.final is not None
    return store.new_attempt("final", store.final.number)


def _paths(frozen: FrozenInputs) -> frozenset[str] | None:
    files = frozen.unlabeled.files
    return None if files is None else frozenset(file.path for file in files)


def _unlike(deciding: Deciding | None, shift: Representativeness | None) -> Deciding | None:
    """Say of a model whether the pool that it was fitted for is unlike the labeled rows."""
    if deciding is None or shift is None:
        return deciding
    return deciding.model_copy(update={"shifted": shift.shifted})


def _drifted(drift: Drift | None, deciding: Deciding) -> bool:
    if drift is None:
        return False
    return has_drifted(drift.labeled, drift.reference, before=deciding.shifted)


def _undecidable(config: Config) -> InputError:
    policy = config.selection.policy
    return InputError(
        f"Nothing decides which new rows get a label: the run before has no cut of policy "
        f"{policy!r} that means anything for other rows than its own. Use policy threshold or "
        "auto, or fit a model in each generation: --set 'incremental.refit={every: 1}'.",
        code="no_plan",
        where="selection.policy",
    )
