"""``--audit``: published labels at random, so that answers bound how many are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE, LABEL
from spark_pseudolabel.core.trust.audit import RISK, Prior, level_of
from spark_pseudolabel.output.review.audits import answered_codes, audit_of, first_unanswered
from spark_pseudolabel.output.review.drawing import Drawing, rank_in_runs
from spark_pseudolabel.output.review.finished import FinishedRun
from spark_pseudolabel.output.review.kind import Conclusion, Questions, ReviewKind, Wish
from spark_pseudolabel.output.review.labels import frozen, standing
from spark_pseudolabel.program import command
from spark_pseudolabel.report.audit_text import audit_sentences
from spark_pseudolabel.report.document import Audit as Audited
from spark_pseudolabel.report.words import count
from spark_pseudolabel.store.answers import AnsweredSet, answers_of, exported_sets
from spark_pseudolabel.store.review import AuditTerms, Exported, Stratum
from spark_pseudolabel.store.store import Attempt

PRECISION = 0.95
"""What is to be shown where the run has promised nothing."""
_SALT = 2_862_933_555_777_941_757


class Audit(ReviewKind):
    """Accepted rows in an order of chance, the same however many are asked."""

    name = "audit"
    kept = (CODE,)

    def ask(self, run: FinishedRun, wish: Wish) -> Questions:
        """Return the first rows of the order that are not answered yet."""
        exported, terms = _begun(run, wish), _terms(run, wish)
        after = terms.after
        drawn = _drawn(run, wish, after)
        identity = {"labels": terms.labels, "after": after, "per_class": wish.per_class}
        n_answered = _n_answered(run, exported)
        # A smaller number than before does not take rows back.
        left = drawn.rows.slice(min(n_answered, drawn.rows.num_rows))
        settled = None
        if drawn.rows.num_rows and not left.num_rows:
            assert exported is not None
            settled = _all_answered(run, exported, drawn)
        return Questions(
            rows=left,
            identity=identity,
            first=n_answered + 1,
            asked=drawn.rows,
            settled=settled,
        )

    def terms(self, run: FinishedRun, wish: Wish, exported: Exported) -> Exported:
        """Fix error level, prior and the labels that are judged."""
        begun, terms = _begun(run, wish), _terms(run, wish)
        if begun is not None:
            return exported.model_copy(update={"audit": begun.audit})
        prior = Prior()
        codes = _drawn(run, wish, terms.after).rows_by_class
        strata = (
            tuple(Stratum(code=code, rows=int(n)) for code, n in enumerate(codes) if n)
            if wish.per_class
            else (Stratum(rows=int(codes.sum())),)
        )
        told = AuditTerms(
            audit=exported.number,
            a=prior.a,
            b=prior.b,
            delta=level_of(exported.number, RISK),
            precision=_promised(run),
            labels=terms.labels,
            after=terms.after,
            strata=strata,
        )
        return exported.model_copy(update={"audit": told})

    def conclude(
        self, run: FinishedRun, exported: Exported, answers: AnsweredSet, attempt: Attempt
    ) -> Conclusion:
        """Say how many labels are wrong, at least and at most."""
        audited = audit_of(run.store, exported, answers, standing(run.store))
        return Conclusion(text=tuple(audit_sentences(audited)), next=_next(run, exported, audited))


@dataclass(frozen=True)
class _Terms:
    """Which labels are judged: their name, and how many reviews had been when they were frozen."""

    labels: str
    after: int


def _begun(run: FinishedRun, wish: Wish) -> Exported | None:
    """Return the audit of the labels as they stand, where there is one."""
    now = standing(run.store)
    for each in exported_sets(run.store):
        terms = each.audit
        if terms is None or terms.labels != now:
            continue
        if (terms.strata[0].code is not None) == wish.per_class:
            return each
    return None


def _terms(run: FinishedRun, wish: Wish) -> _Terms:
    begun = _begun(run, wish)
    if begun is not None and begun.audit is not None:
        return _Terms(begun.audit.labels, begun.audit.after)
    return _Terms(standing(run.store), len(run.store.reviews))


@dataclass(frozen=True)
class _Drawn:
    """The rows to ask, with `CODE`, in their order; and the labels of each class in all."""

    rows: pa.Table
    rows_by_class: NDArray[np.int64]


def _drawn(run: FinishedRun, wish: Wish, after: int) -> _Drawn:
    n_classes = len(run.classes)
    n_groups = n_classes if wish.per_class else 1
    drawing = Drawing(run.keys, run.random_state, _SALT, wish.rows, n_groups)
    by_class = np.zeros(n_classes, dtype=np.int64)
    for table in frozen(run.store, after):
        codes = run.codes(table.column(LABEL))
        by_class += np.bincount(codes, minlength=n_classes)
        rows = table.select(run.keys).append_column(CODE, pa.array(codes, pa.int32()))
        drawing.add(rows, codes if wish.per_class else np.zeros_like(codes))
    rows = drawing.rows()
    if rows is None:
        empty = pa.schema([*run.key_schema, pa.field(CODE, pa.int32())]).empty_table()
        return _Drawn(empty, by_class)
    if wish.per_class:
        rows = rows.take(pa.array(_in_turns(rows.column(CODE).to_numpy())))
    return _Drawn(rows.slice(0, wish.rows), by_class)


def _in_turns(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return places so that each class has its turn; those of more rows begin with the same."""
    by_class = np.argsort(codes, kind="stable")
    turn = np.empty(len(codes), dtype=np.int64)
    turn[by_class] = rank_in_runs(codes[by_class].astype(np.int64))
    return np.lexsort((codes, turn))


def _n_answered(run: FinishedRun, exported: Exported | None) -> int:
    if exported is None:
        return 0
    _, said = answered_codes(run.store, exported, answers_of(run.store, exported.set))
    return first_unanswered(said)


def _all_answered(run: FinishedRun, exported: Exported, drawn: _Drawn) -> str:
    answers = answers_of(run.store, exported.set)
    audited = audit_of(run.store, exported, answers, standing(run.store))
    more = (
        ""
        if drawn.rows.num_rows >= audited.rows
        else f" Ask about more of the {count(audited.rows)} labels with a larger --audit."
    )
    return f"{' '.join(audit_sentences(audited))}{more}"


def _promised(run: FinishedRun) -> float:
    """Return the precision that the run was asked for."""
    certificate = run.final.report.document.get("certificate")
    precision = certificate.get("precision") if isinstance(certificate, dict) else None
    return float(precision) if precision is not None else PRECISION


def _next(run: FinishedRun, exported: Exported, audited: Audited) -> tuple[str, ...]:
    if audited.shown is True:
        return ()
    if audited.shown is False or any(of.shown is False for of in audited.by_class):
        answers = answers_of(run.store, exported.set)
        return tuple(_revoking(run, exported, answers))
    needed = audited.answers + audited.more
    if needed <= exported.rows or audited.more >= audited.rows - audited.answers > 0:
        return ()
    per = ["--per", "class"] if audited.by_class else []
    return (
        command("review", "export", run.out, "--audit", str(needed), *per, "--to", run.next_folder),
    )


def _revoking(run: FinishedRun, exported: Exported, answers: AnsweredSet | None) -> Sequence[str]:
    """Propose to take labels of the worst class back: the one with most wrong answers."""
    predicted, said = answered_codes(run.store, exported, answers)
    n = first_unanswered(said)
    wrong = np.bincount(predicted[:n][predicted[:n] != said[:n]], minlength=len(run.classes))
    worst = run.class_names[int(wrong.argmax())]
    return [command("review", "revoke", run.out, "--class", worst)]
