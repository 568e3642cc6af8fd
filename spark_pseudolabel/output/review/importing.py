"""``review import``: answers become a commit, and labels that they contradict are taken back."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE, LABEL
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.output.review.answer_files import (
    SKIP,
    GivenAnswers,
    read_answer_files,
    texts_of,
    typed_keys,
)
from spark_pseudolabel.output.review.finished import FinishedRun, require_classes, reviewing
from spark_pseudolabel.output.review.kind import Conclusion
from spark_pseudolabel.output.review.kinds import KINDS
from spark_pseudolabel.output.review.reports import write_reports
from spark_pseudolabel.output.review.revoking import revoked_step, standing_rows
from spark_pseudolabel.report.document import ImportedSet, Listed, ReviewImportDocument
from spark_pseudolabel.store.answers import (
    AnsweredSet,
    all_answers,
    answers_of,
    asked_rows,
    codes_of,
    exported_sets,
    latest,
)
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.following import follow, published_batches
from spark_pseudolabel.store.layout import ADDED_VIEWS
from spark_pseudolabel.store.publish import writing
from spark_pseudolabel.store.review import ORDER, SKIPPED, Answered, Exported, ReviewStep
from spark_pseudolabel.store.store import Attempt
from spark_pseudolabel.wording import shortened

MOST_EXAMPLES = 5


@dataclass
class _Sort:
    """Answers of one sort: how many, and the first of them."""

    n: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, texts: Iterable[str], n: int) -> None:
        self.n += n
        room = MOST_EXAMPLES - len(self.examples)
        self.examples += [text for _, text in zip(range(room), texts, strict=False)]

    def listed(self) -> Listed:
        return Listed(n=self.n, examples=self.examples)


@dataclass
class _Told:
    """What is not simply an answer: all of it is listed."""

    unanswered: int = 0
    skipped: _Sort = field(default_factory=_Sort)
    changed: _Sort = field(default_factory=_Sort)
    conflicts: _Sort = field(default_factory=_Sort)
    differing: _Sort = field(default_factory=_Sort)
    unknown_ids: _Sort = field(default_factory=_Sort)
    unknown_classes: _Sort = field(default_factory=_Sort)
    given: _Sort = field(default_factory=_Sort)


def import_answers(out: str, paths: Sequence[str], opened: Opened) -> ReviewImportDocument:
    """Read answers back, any part of them, any number of times.

    Raises
    ------
    InputError
        If a file can't be read, or answers another set than those of this output.
    OutputBusyError
        If another process holds the output.
    """
    with reviewing(out, opened) as run:
        require_classes(run, "review import")
        told = _Told()
        given = read_answer_files(run, paths)
        sets = {each.set: exported for each in given if (exported := _exported(run, each)) or True}
        attempt = run.store.new_attempt("review", len(run.store.reviews) + 1)
        imported = [
            _import_set(run, exported, name, [each for each in given if each.set == name], told)
            for name, exported in sets.items()
        ]
        _tell_differing(run, imported, told)
        document = _commit(run, attempt, imported, told)
        follow(run.store)
        write_reports(run.store)
    return document.model_copy(update={"files": sorted({each.file for each in given})})


def _exported(run: FinishedRun, given: GivenAnswers) -> Exported | None:
    """Return the set that answers belong to; None for answers to none."""
    if given.set is None:
        return None
    known = next((each for each in exported_sets(run.store) if each.set == given.set), None)
    if known is None:
        raise InputError(
            f"{given.file} must answer rows that were exported from {run.out}. Its set "
            f"{given.set[:12]} is none of this output's: import it into the output that its "
            "export.json names.",
            code="other_set",
            where=given.file,
        )
    return known


# --- one set


@dataclass(frozen=True)
class _Imported:
    """The answers to one set.

    Parameters
    ----------
    set, exported
        Which; None of answers to no set.
    new
        Rows that were not answered so before.
    all
        All answers so far, these included.
    n_changed, n_skipped
        Of the new ones.
    """

    set: str | None
    exported: Exported | None
    new: pa.Table
    all: AnsweredSet
    n_changed: int
    n_skipped: int


def _import_set(
    run: FinishedRun,
    exported: Exported | None,
    name: str | None,
    given: Sequence[GivenAnswers],
    told: _Told,
) -> _Imported:
    rows = _typed(run, given, told)
    rows = _known(run, exported, rows, told)
    rows = _agreed(run, rows, told)
    before = answers_of(run.store, name)
    new, n_changed = _new(run, rows, before, told)
    skipped = new.column(SKIPPED).to_numpy()
    kind = None if exported is None else exported.kind
    tables = [new] if before is None else [before.rows, new]
    return _Imported(
        set=name,
        exported=exported,
        new=new,
        all=AnsweredSet(kind, name, latest(tables, run.keys)),
        n_changed=n_changed,
        n_skipped=int(skipped.sum()),
    )


def _typed(run: FinishedRun, given: Sequence[GivenAnswers], told: _Told) -> pa.Table:
    """Return keys, class and `SKIPPED` of the rows that have an answer."""
    codes = class_codes(run)
    tables = [_schema(run).empty_table()]
    for each in given:
        texts = pc.utf8_trim_whitespace(each.answers.fill_null(""))
        answered = pc.not_equal(texts, "").to_numpy(zero_copy_only=False)
        told.unanswered += int(np.count_nonzero(~answered))
        texts, keys = texts.filter(pa.array(answered)), each.keys.filter(pa.array(answered))
        skipped = pc.equal(texts, SKIP).to_numpy(zero_copy_only=False)
        # Few different ones among however many answers.
        different = texts.dictionary_encode()
        by_text = np.array([codes(text) for text in different.dictionary.to_pylist()] or [-1])
        code = by_text[different.indices.to_numpy(zero_copy_only=False)]
        bad = (code < 0) & ~skipped
        told.unknown_classes.add(_said(keys, texts, bad), int(bad.sum()))
        typed, is_key = typed_keys(run.key_schema, keys)
        told.unknown_ids.add(_ids(keys, ~is_key & ~bad), int((~is_key & ~bad).sum()))
        fine = ~bad & is_key
        columns = [
            *typed.columns,
            pa.array(code, pa.int32(), mask=code < 0),
            pa.array(skipped),
        ]
        tables.append(pa.table(columns, schema=_schema(run)).filter(pa.array(fine)))
    return pa.concat_tables(tables)


def _schema(run: FinishedRun) -> pa.Schema:
    return pa.schema([*run.key_schema, pa.field(CODE, pa.int32()), pa.field(SKIPPED, pa.bool_())])


def class_codes(run: FinishedRun) -> _Codes:
    """Return what turns an answer's text into the index of a class, -1 for none."""
    return _Codes({name: code for code, name in enumerate(run.class_names)}, run.classes)


@dataclass(frozen=True)
class _Codes:
    """Classes by their text."""

    by_name: dict[str, int]
    classes: Sequence[object]

    def __call__(self, text: str) -> int:
        if text in self.by_name:
            return self.by_name[text]
        if isinstance(self.classes[0], bool):  # as spreadsheets write them
            return self.by_name.get(text.lower(), -1)
        if isinstance(self.classes[0], int):
            return self.by_name.get(text.removesuffix(".0"), -1)
        return -1


def _known(run: FinishedRun, exported: Exported | None, rows: pa.Table, told: _Told) -> pa.Table:
    """Return the rows that were asked, each with its order; without a set: those of the pool."""
    keys = [rows.column(key) for key in run.keys]
    if exported is not None:
        asked = asked_rows(run.store, exported)
        place = KeySet.of([asked.column(key) for key in run.keys]).find(keys)
        known = place >= 0
        order = pa.array(np.where(known, place + 1, 0), pa.int64())
        told.unknown_ids.add(_ids(rows.select(run.keys), ~known), int((~known).sum()))
    else:
        given = run.given_keys
        has_given = KeySet.of([given.column(key) for key in run.keys]).contains(keys)
        told.given.add(_ids(rows.select(run.keys), has_given), int(has_given.sum()))
        known = _in_pool(run, rows) & ~has_given
        missing = ~known & ~has_given
        told.unknown_ids.add(_ids(rows.select(run.keys), missing), int(missing.sum()))
        order = pa.nulls(rows.num_rows, pa.int64())
    return rows.append_column(ORDER, order).filter(pa.array(known))


def _in_pool(run: FinishedRun, rows: pa.Table) -> NDArray[np.bool_]:
    """Return which rows are of the pool, or of what has come since."""
    keys = [rows.column(key) for key in run.keys]
    if not run.store.rounds:
        return np.ones(rows.num_rows, dtype=np.bool_)
    known = np.zeros(rows.num_rows, dtype=np.bool_)
    ranks = KeySet.of(keys)
    for batch in _pool_keys(run):
        place = ranks.find([batch.column(key) for key in run.keys])
        known[place[place >= 0]] = True
    # Of a row that is answered twice one place is found.
    _, first, same = np.unique(KeySet.ranks(keys), return_index=True, return_inverse=True)
    by_row = np.zeros(len(first), dtype=np.bool_)
    np.logical_or.at(by_row, same.reshape(-1), known)
    return by_row[same.reshape(-1)]


def _pool_keys(run: FinishedRun) -> Iterator[pa.RecordBatch]:
    """Yield the keys of all rows that were looked at: the first round looks at the whole pool.

    What old generations have scored may be deleted; each row of theirs is in one of the tables.
    """
    if run.has_generations:
        for name in ADDED_VIEWS:
            yield from published_batches(run.store, [], name)
    else:
        yield from run.batches_of(run.store.rounds[0].scored, run.keys)


def _agreed(run: FinishedRun, rows: pa.Table, told: _Told) -> pa.Table:
    """Return each row once; rows with different answers in these files are told and left out."""
    if not rows.num_rows:
        return rows
    ranks = KeySet.ranks([rows.column(key) for key in run.keys])
    code = codes_of(rows)
    # A class that somebody names beside a skip is an answer.
    order = np.lexsort((code, ranks))
    sorted_ranks, sorted_code = ranks[order], code[order]
    starts = np.flatnonzero(np.diff(sorted_ranks, prepend=-1))
    ends = np.append(starts[1:], len(order)) - 1
    lowest = np.minimum.reduceat(
        np.where(sorted_code < 0, np.iinfo(np.int64).max, sorted_code), starts
    )
    highest = sorted_code[ends]
    conflicting = (highest >= 0) & (lowest != highest)
    kept = np.sort(order[ends[~conflicting]])
    bad = order[ends[conflicting]]
    told.conflicts.add(
        _ids(rows.select(run.keys), np.isin(np.arange(rows.num_rows), bad)), len(bad)
    )
    return rows.take(pa.array(kept))


def _new(
    run: FinishedRun, rows: pa.Table, before: AnsweredSet | None, told: _Told
) -> tuple[pa.Table, int]:
    """Return the rows that were not answered so before, and how many of them were otherwise."""
    code = codes_of(rows)
    fresh, changed = np.ones(rows.num_rows, dtype=np.bool_), np.zeros(rows.num_rows, dtype=np.bool_)
    if before is not None and rows.num_rows:
        place = KeySet.of([before.rows.column(key) for key in run.keys]).find(
            [rows.column(key) for key in run.keys]
        )
        known = place >= 0
        earlier = codes_of(before.rows)[np.maximum(place, 0)]
        fresh = ~known | (earlier != code)
        changed = known & (earlier != code)
        told.changed.add(_ids(rows.select(run.keys), changed), int(changed.sum()))
    new = rows.filter(pa.array(fresh))
    skipped = new.column(SKIPPED).to_numpy()
    told.skipped.add(_ids(new.select(run.keys), skipped), int(skipped.sum()))
    return new, int(changed.sum())


def _tell_differing(run: FinishedRun, imported: Sequence[_Imported], told: _Told) -> None:
    """Tell the rows that are answered otherwise now than for another set."""
    sets = {each.set: each for each in all_answers(run.store)}
    sets |= {each.set: each.all for each in imported}
    differing = [
        rows.filter(pa.array(_answered_otherwise(run, rows, other.rows)))
        for each in imported
        for other in sets.values()
        if other.set != each.set
        and other.rows.num_rows
        and (rows := each.new.select([*run.keys, CODE])).num_rows
    ]
    if not differing:
        return
    together = pa.concat_tables(differing).select(run.keys)
    _, first = np.unique(KeySet.ranks(together.columns), return_index=True)
    rows = together.take(pa.array(np.sort(first)))
    told.differing.add(_ids(rows, np.ones(rows.num_rows, dtype=np.bool_)), rows.num_rows)


def _answered_otherwise(run: FinishedRun, rows: pa.Table, others: pa.Table) -> NDArray[np.bool_]:
    """Return which rows name another class than other answers to them do."""
    place = KeySet.of([others.column(key) for key in run.keys]).find(
        [rows.column(key) for key in run.keys]
    )
    code = codes_of(rows)
    other = np.where(place >= 0, codes_of(others)[np.maximum(place, 0)], -1)
    differs: NDArray[np.bool_] = (code >= 0) & (other >= 0) & (code != other)
    return differs


def _ids(keys: pa.Table, which: NDArray[np.bool_]) -> list[str]:
    places = np.flatnonzero(which)[:MOST_EXAMPLES]
    return texts_of(keys.take(pa.array(places)))


def _said(keys: pa.Table, texts: pa.Array, which: NDArray[np.bool_]) -> list[str]:
    places = np.flatnonzero(which)[:MOST_EXAMPLES]
    ids = texts_of(keys.take(pa.array(places)))
    return [
        f"{id_}: {shortened(texts[int(place)].as_py())!r}"
        for id_, place in zip(ids, places, strict=True)
    ]


# --- the commit


def _commit(
    run: FinishedRun, attempt: Attempt, imported: Sequence[_Imported], told: _Told
) -> ReviewImportDocument:
    store = run.store
    fresh = [each for each in imported if each.new.num_rows]
    answered = tuple(_answered(run, attempt, place, each, told) for place, each in enumerate(fresh))
    concluded = [_conclude(run, attempt, each) for each in imported]
    published = next((each.published for each in concluded if each.published is not None), None)
    wrong = _contradicted(run, fresh)
    revoked = (revoked_step(run, attempt, wrong, by="answers"),) if wrong.num_rows else ()
    step = ReviewStep(answered=answered, revoked=revoked, published=published)
    if answered or published is not None:
        failpoint("review.files")
        with writing(attempt.path):
            store.commit_review(attempt, step)
    sets = [
        ImportedSet(
            kind=each.all.kind,
            set=each.set,
            answered=each.all.rows.num_rows,
            new=each.new.num_rows,
            conclusion=list(conclusion.text),
        )
        for each, conclusion in zip(imported, concluded, strict=True)
    ]
    next_steps = list(dict.fromkeys(text for each in concluded for text in each.next))
    return ReviewImportDocument(
        output=run.out,
        files=[],
        sets=sets,
        unanswered=told.unanswered,
        skipped=told.skipped.listed(),
        changed=told.changed.listed(),
        conflicts=told.conflicts.listed(),
        differing=told.differing.listed(),
        unknown_ids=told.unknown_ids.listed(),
        unknown_classes=told.unknown_classes.listed(),
        given=told.given.listed(),
        revoked=wrong.num_rows,
        published=0 if published is None else published.n_rows,
        committed=bool(answered) or published is not None,
        next=next_steps,
    )


def _answered(
    run: FinishedRun, attempt: Attempt, place: int, imported: _Imported, told: _Told
) -> Answered:
    sink = io.BytesIO()
    pq.write_table(imported.new, sink, write_page_checksum=True)
    name = f"answers-{place:02d}.parquet"
    entry = run.store.write_file(attempt, name, sink.getvalue(), imported.new.num_rows)
    # What was not taken is told of the import, with its first set.
    told_here = place == 0
    return Answered(
        kind=imported.all.kind,
        set=imported.set,
        answers=entry,
        skipped=imported.n_skipped,
        changed=imported.n_changed,
        conflicts=told.conflicts.n if told_here else 0,
        unknown_ids=told.unknown_ids.n if told_here else 0,
        unknown_classes=told.unknown_classes.n if told_here else 0,
    )


def _conclude(run: FinishedRun, attempt: Attempt, imported: _Imported) -> Conclusion:
    if imported.exported is None:
        return Conclusion(next=trained_by(run))
    kind = KINDS[imported.exported.kind]
    conclusion = kind.conclude(run, imported.exported, imported.all, attempt)
    return Conclusion(conclusion.text, conclusion.published, (*conclusion.next, *trained_by(run)))


def trained_by(run: FinishedRun) -> tuple[str, ...]:
    """Say how answers become labels of a next run; nothing where rows have no id to be found by."""
    if run.store.settings.id is None:
        return ()
    return (
        f"labeled: [{{path: ...}}, {{reviews: {run.out}}}] in the configuration of a run into "
        "another output.path: answers are its labels, too",
    )


def _contradicted(run: FinishedRun, imported: Sequence[_Imported]) -> pa.Table:
    """Return the rows of ``OUT/labels`` whose label is not what a person has said now."""
    named = [each.new.filter(pc.invert(each.new.column(SKIPPED))) for each in imported]
    rows = pa.concat_tables(named) if named else _schema(run).empty_table()
    standing = standing_rows(run, KeySet.of([rows.column(key) for key in run.keys]))
    if not standing.num_rows:
        return standing
    place = KeySet.of([rows.column(key) for key in run.keys]).find(
        [standing.column(key) for key in run.keys]
    )
    wrong = run.codes(standing.column(LABEL)) != codes_of(rows)[place]
    return standing.filter(pa.array(wrong))
