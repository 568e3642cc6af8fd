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
from spark_pseudolabel.errors import DriftError, InputError, StoredStateError
from spark_pseudolabel.job import loop
from spark_pseudolabel.job.adopted import Adopted, LentModels, report_of, typed_as_before
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
    notices_told,
    reported,
    sums_of,
)
from spark_pseudolabel.output.new_files import NewFiles, is_listed, with_notices
from spark_pseudolabel.progress import Events, SilentEvents
from spark_pseudolabel.redaction import redacted
from spark_pseudolabel.report.document import Notice, Report
from spark_pseudolabel.spark.inputs.facts import Frames, Inputs, NewRows
from spark_pseudolabel.spark.reading.rules import Functions
from spark_pseudolabel.store import seen
from spark_pseudolabel.store.facts import StoredReport
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.generations import (
    RECENT,
    Claim,
    Deciding,
    Drift,
    End,
    Entries,
    GenerationFacts,
    Generations,
    Kind,
    Sums,
    Told,
    final_ref,
)
from spark_pseudolabel.store.identity import frozen_before, require_same, require_same_configuration
from spark_pseudolabel.store.inputs import FrozenInputs
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.manifest import FileEntry, Ref, normalized, now
from spark_pseudolabel.store.published import has_labeled, lost_generations
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

    Parameters
    ----------
    spark, config, events, frames, functions, estimator, trusted
        See :class:`spark_pseudolabel.job.loop.Asked`.

    Raises
    ------
    InputError
        Exit code 3: inputs, output or environment do not hold what the configuration says.
    OutputBusyError
        Exit code 4: another run holds the output.
    StoredStateError
        Exit code 5: what is stored in the output is damaged.
    DriftError
        Exit code 7: new rows are too unlike those that the model was made for; none was labeled.
    """
    asked = Asked(
        spark, config, events or SilentEvents(), frames, functions, estimator, tuple(trusted)
    )
    if config.incremental is None:
        return loop.run(asked)
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
        self._restore(generations)
        resumed, generations = self._resume(generations)
        place = self._place(generations)
        found = self._found(place)
        report = self._next(place, found)
        if report is not None:
            return Result(report, resumed=False, already_done=False)
        if resumed is not None:
            return Result(resumed, resumed=True, already_done=False)
        if first is not None:
            return first
        stored = Report.model_validate(reported(generations, place.end))
        return Result(with_notices(stored, found.notices), resumed=False, already_done=True)

    # --- the first generation

    def _first(self, before: Generations | None) -> tuple[Result, Generations]:
        """Run the first generation to its end, on the rows that there were when it began."""
        opened: Run | None = None
        try:
            opened = self._open_first(before)
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
        with self.asked.events.stage(0, "remember what was read"):
            generations.finish(self._end_of_first(generations, opened))
        return result, generations

    def _open_first(self, before: Generations | None) -> Run:
        """Open the first generation on the rows that it began with."""
        asked, rows = self.asked, None
        proved = None if before is None else frozen_before(self.files, self.root, self._identity)
        if proved is not None and proved.unlabeled.files is not None:
            rows = NewRows(_paths(proved))
        began = asked.begin(self.files, self.root)
        return asked.run(self.files, self.root, began, proved=proved, new_rows=rows)

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

    # --- tables that have lost rows

    def _restore(self, generations: Generations) -> None:
        """Build anew what tables have lost of generations that have ended."""
        needed = _to_build(generations)
        if not needed:
            return
        if needed[0] < generations.retired:
            raise _not_restorable(needed[0], self.root)
        for number in needed:
            self.asked.events.event("generation", number=number, resumed=True)
            if number == 1:
                to_the_end(self._open_first(generations))
                continue
            place, inputs = self._reopened(generations, number)
            claim, drift = generations.claim(number)[0], self._place(generations, number).end.facts
            self._carry_out(generations, place, number, claim.kind, inputs, drift.drift)
        # Each has put its own reports in place.
        write_reports(generations.store(1), reported(generations, self._place(generations).end))

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
        try:
            _, inputs = self._reopened(generations, number)
        except InputError as error:
            if not self._may_be_left(generations, number, error):
                raise
            return None, self._leave(generations, place, number)
        report = self._carry_out(generations, place, number, claim.kind, inputs)
        return report, generations

    def _reopened(self, generations: Generations, number: int) -> tuple[_Place, Inputs]:
        """Open the inputs of a generation that was begun, as it found them."""
        frozen, place = generations.run(number).inputs, self._place(generations, number - 1)
        paths = _paths(frozen) if is_listed(self.asked.config) else None
        rows = new_rows(generations.store(1), self.asked.config, paths, place.end.ids)
        inputs = self._inputs(generations, rows, frozen)
        require_same(generations.run(number), self._identity, inputs.frozen, self.root)
        return place, inputs

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
        told = Told(code="generation_left", message=message)
        self.asked.events.event("warning", **told.model_dump())
        claim, ref = generations.claim(number)
        facts = GenerationFacts(
            generation=number,
            run_id=claim.run_id,
            kind=claim.kind,
            outcome="abandoned",
            rows=0,
            model=place.end.facts.model,
            told=(*claim.told, told),
            ended_at=now(),
        )
        before = Report.model_validate(reported(generations, place.end))
        _end_unlabeled(generations, place, ref, facts, with_notices(before, notices_told([told])))
        return generations

    # --- the next one

    def _found(self, place: _Place) -> NewFiles:
        """List what is new, and tell what is to be known of what is not."""
        store = place.generations.store(1)
        found = find_new(self.asked.spark, self.asked.config, store, place.end)
        for notice in found.notices:
            self.asked.events.event("warning", **notice.model_dump())
        return found

    def _next(self, place: _Place, new: NewFiles) -> Report | None:
        """Begin the next generation and carry it out; None where nothing is new."""
        if new.none:
            return None
        config, store = self.asked.config, place.generations.store(1)
        deciding = place.end.deciding
        if deciding is None and self._rule.every != 1:
            raise _undecidable(config)
        rows = new_rows(store, config, new.paths, place.end.ids)
        inputs = self._inputs(place.generations, rows)
        if new.paths is None and not inputs.pool_rows:
            return None
        self._refuse_again(place, inputs)
        before = place.end.facts
        left = before.told if before.outcome == "abandoned" else ()
        told = (*left, *(Told(code=each.code, message=each.message) for each in new.notices))
        return self._begin(place, inputs, told)

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

    def _begin(self, place: _Place, inputs: Inputs, told: tuple[Told, ...]) -> Report | None:
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
        begun = generations.begin(kind, inputs.frozen, place.ref, VERSION, run_id, told)
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

    def _inputs(
        self, generations: Generations, rows: NewRows, proved: FrozenInputs | None = None
    ) -> Inputs:
        """Open the inputs of a generation after the first."""
        inputs = self.asked.inputs(self.files, self.root, proved=proved, new_rows=rows)
        first = generations.store(1).models[0]
        return typed_as_before(inputs, first, features=self.asked.config.output.features)

    def _adopted(self, generations: Generations, place: _Place) -> Adopted:
        deciding = place.end.deciding
        assert deciding is not None
        return Adopted.of(generations.store(deciding.generation), deciding)

    def _place(self, generations: Generations, latest: int | None = None) -> _Place:
        ended = generations.end(latest or generations.count)
        assert ended is not None
        end, ref = ended
        if end.deciding is None:
            # Answers may have certified a cut since.
            store = generations.store(end.generation)
            deciding = None if store.final is None else deciding_of(store)
            end = end.model_copy(update={"deciding": deciding})
        return _Place(generations, end, ref)

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
        report = before.model_copy(
            update={
                "termination_condition": "drift",
                "warnings": [notice, *notices_told(facts.told)],
            }
        )
        _end_unlabeled(self.generations, self.place, self._claim[1], facts, report)
        return facts

    @property
    def _store(self) -> RoundStore:
        return self.generations.store(self.number, VERSION)

    @property
    def _claim(self) -> tuple[Claim, Ref]:
        return self.generations.claim(self.number)

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
            run_id=self._claim[0].run_id,
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
            told=self._claim[0].told,
            ended_at=now(),
        )

    def _among_others(
        self, report: Report, facts: GenerationFacts, warnings: Sequence[Notice]
    ) -> Report:
        """Add what this generation and those before it came to, and what it has found."""
        told = [*warnings, *notices_told(facts.told)]
        return _listed(report.model_copy(update={"warnings": told}), self.place.end, facts)

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
            claim=self._claim[1],
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


def _to_build(generations: Generations) -> list[int]:
    """Return the generations whose tables have to be built again, in their order."""
    lost = lost_generations(generations)
    if not lost:
        return []
    # The first one's table takes the place of what all have put there, and one that has fitted a
    # model puts it in the place of a later one's.
    again = [
        number
        for number in generations.numbers
        if number > lost[0]
        and (lost[0] == 1 or generations.claim(number)[0].kind == "fit")
        and has_labeled(generations, number)
    ]
    return sorted({*lost, *again})


def _not_restorable(number: int, root: str) -> StoredStateError:
    return StoredStateError(
        f"Tables of {root} lack rows, and generation {number}, whose rows would have to be built "
        "again, has nothing left to build them from: gc --retain has deleted what it scored. "
        "Restore labels/, undecided/ and invalid/ from a copy.",
        code="retired",
        where=root,
    )


def _listed(report: Report, before: End, facts: GenerationFacts) -> Report:
    """Add to a report what a generation and those before it came to."""
    latest = (*before.latest, facts)[-RECENT:]
    return report.model_copy(
        update={
            "generations": [generation_of(each) for each in latest],
            "all_generations": sums_of(before.sums.plus(facts)),
        }
    )


def _end_unlabeled(
    generations: Generations, place: _Place, claim: Ref, facts: GenerationFacts, report: Report
) -> None:
    """End a generation that has labeled nothing: all but the report is as it was before."""
    before = place.end
    document = _listed(report, before, facts).as_json()
    write_reports(generations.store(1), document)
    end = End(
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
        report=StoredReport.of(document),
        **generations.common(generations.store(facts.generation, VERSION)),
    )
    generations.finish(end)


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
        "auto, let answers certify a cut (review export --certify), or fit a model in each "
        "generation: --set 'incremental.refit={every: 1}'.",
        code="no_plan",
        where="selection.policy",
    )
