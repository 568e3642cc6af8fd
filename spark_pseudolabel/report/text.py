"""The documents as plain text for a terminal or a log: nothing to obey, and lines that fit.

rich lays the text out, in the terminal's width; in 100 columns where it goes to a file.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spark_pseudolabel.core.rounds import REASONS
from spark_pseudolabel.program import command
from spark_pseudolabel.report import document, generations, guidance, promises, words
from spark_pseudolabel.report.audit_text import audit_lines, certified_lines
from spark_pseudolabel.report.document import (
    DoctorDocument,
    ExplainDocument,
    ExplainStep,
    GcDocument,
    InitDocument,
    LabelDocument,
    Notice,
    PlanDocument,
    PlanSnapshot,
    Report,
    Round,
    StatusDocument,
    StatusRound,
    VerifyDocument,
    Why,
    label_key,
)
from spark_pseudolabel.report.review_text import review_lines
from spark_pseudolabel.report.tally import accepted_by_class, left_out
from spark_pseudolabel.report.words import clean, count, metric
from spark_pseudolabel.wording import counted

WIDTH = 100
"""Columns at most, and those of a file."""
_LEAST = 40
MOST_ROUNDS = 20
MOST_CLASSES = 12
MOST_FEATURES = 40
MOST_PROBLEMS = 50
MOST_EFFECTS = 10
_SAME = 1e-5

Document = Mapping[str, Any] | document.Document
"""A document, or its JSON."""


def render_text(report: Document) -> str:
    """Render ``report.json`` as text: verdict, warnings, rounds, seed and final, outputs."""
    data = Report.model_validate(report)
    return _page(
        _verdict(data),
        _section("Review", _wrapped(review_lines(data.review))),
        _section("Audits", _wrapped(audit_lines(data.audits))),
        _section("Certified by asking", _wrapped(certified_lines(data.certified))),
        _warnings(data.warnings),
        _certificate(data),
        _promises(data),
        _by_class(data),
        _shift(data),
        _teacher(data),
        _section("Rounds", _rounds(data.rounds)),
        _section("Labels against the round before", _flips(data)),
        _section("Seed and final model", _models(data)),
        _section("Confidence against the share of right labels, out of fold", _reliability(data)),
        _section(words.errors_on(data), _errors(data)),
        _section("Given labels", _given_labels(data)),
        _section("Labels", _labels(data)),
        _section("Generations", _generations(data)),
        _section("Outputs", _outputs(data)),
        _section("Next", _next(data)),
    )


def render_plan(plan: Document) -> str:
    """Render the document of ``plan`` as text."""
    data = PlanDocument.model_validate(plan)
    return _page(
        _wrap(_plan_sentence(data)),
        _warnings(data.warnings),
        _section("Rows", _plan_rows(data)),
        _section("Classes", _plan_classes(data)),
        _section("Features", _plan_features(data)),
        _section("Rules", _plan_rules(data)),
        _section("What would happen", _plan_steps(data)),
        _plan_promise(data),
    )


def render_status(status: Document) -> str:
    """Render the document of ``status`` as text."""
    data = StatusDocument.model_validate(status)
    return _page(
        _wrap(_status_sentence(data)),
        _section("Last error", _wrap(f"[{data.last_error.code}] {data.last_error.message}"))
        if data.last_error
        else [],
        _section("Rounds", _rounds(data.rounds)),
        _section("Generations", _generations(data)),
        _section("Rows", _table([], [[n, count(v)] for n, v in data.counters], "lr")),
        _section("Review", _wrapped(review_lines(data.review))),
        _section("Audits", _wrapped(audit_lines(data.audits))),
        _section("Certified by asking", _wrapped(certified_lines(data.certified))),
    )


def status_line(status: StatusDocument) -> str:
    """Return the document of ``status`` as one line, for one who watches."""
    counters = status.counters
    failed = counters.FailedNonRetryableError
    parts = [
        f"{count(counters.MachineLabeled)} labeled",
        f"{count(counters.Unlabeled)} left",
        *([f"{count(failed)} could not be scored"] if failed else []),
    ]
    return f"{clean(_status_sentence(status)).rstrip('.')}; {', '.join(parts)}"


def render_verify(verified: Document) -> str:
    """Render the document of ``verify`` as text."""
    data = VerifyDocument.model_validate(verified)
    files = f"{count(data.checked)} {'file' if data.checked == 1 else 'files'}"
    depth = "contents read" if data.deep else "presence and length; --deep reads the contents"
    if data.ok:
        return _page(_wrap(f"{data.output} is whole: {files} checked ({depth})."))
    problems = f"{len(data.problems):,} problem{'' if len(data.problems) == 1 else 's'}"
    return _page(
        _wrap(f"{data.output} is damaged: {problems} in {files} checked ({depth})."),
        _section("Problems", _problems(data)),
    )


def render_gc(collected: Document) -> str:
    """Render the document of ``gc`` as text."""
    data = GcDocument.model_validate(collected)
    size = f"{count(data.files)} {'file' if data.files == 1 else 'files'}, {data.bytes:,} bytes"
    young = f"; {data.too_young:,} more changed too recently" if data.too_young else ""
    if not data.items:
        return _page(_wrap(f"{data.output} holds nothing to delete{young}."))
    done = "deleted" if data.deleted else "would be deleted, with --delete"
    lines = [[item.kind, item.path, f"{item.bytes:,}"] for item in data.items[:MOST_PROBLEMS]]
    return _page(
        _wrap(f"{data.output}: {size} {done}{young}."),
        _section("Garbage", _table(["kind", "path", "bytes"], lines, "llr"))
        + _more(len(data.items) - MOST_PROBLEMS, "items"),
    )


def render_explain(explained: Document) -> str:
    """Render the document of ``explain`` as text, in at most 20 lines; 20 more with ``--why``."""
    data = ExplainDocument.model_validate(explained)
    return _page(
        _most(_wrap(data.text), 6),
        _section("Round by round", _history(data)) if data.history else [],
        _section("Why", _attribution(data.why)) if data.why else [],
        _wrap(f"No effects of columns: {clean(data.why_not)}") if data.why_not else [],
    )


def render_label(labeled: Document) -> str:
    """Render the document of ``label`` as text."""
    data = LabelDocument.model_validate(labeled)
    facts = []
    if data.accepted is not None:
        facts.append(f"{count(data.accepted)} above the cut")
    if data.invalid:
        facts.append(f"{count(data.invalid)} could not be scored")
    if data.abstained:
        facts.append(f"{count(data.abstained)} from which the model abstained")
    done = f"{words.rows(data.rows)} of {data.input} labeled by {data.model}"
    return _page(
        _wrap(f"{done}{': ' if facts else ''}{', '.join(facts)}."),
        [f"  labels  {clean(data.output)}"],
    )


def render_init(written: Document) -> str:
    """Render the document of ``init --from`` as text: what was found, and what to mind."""
    data = InitDocument.model_validate(written)
    found = data.table
    if found is None:
        return _page([f"Wrote {clean(data.file)}."])
    options = ", ".join(f"{key} {value!r}" for key, value in found.options.items())
    rows = f"{count(found.labeled)} with a label, {count(found.unlabeled)} without"
    told = {
        "format": found.format + (f" ({options})" if options else ""),
        "rows": rows if found.whole else f"of the first {count(found.rows)}: {rows}",
        "classes": ", ".join(f"{name} {count(n)}" for name, n in _top(found.classes)),
        "id": found.id or "none was found",
        "text": ", ".join(found.texts),
        "left out": ", ".join(found.unreadable),
    }
    steps = [command("plan", data.file), command("run", data.file)]
    if not found.unlabeled:
        steps = ["name the table with the rows to be labeled in unlabeled.path, then:", *steps]
    return _page(
        [f"Wrote {clean(data.file)}, after a look at {clean(found.path)}."],
        [line for name, value in told.items() if value for line in _named(name, clean(value))],
        _section("Mind", [line for note in found.notes for line in _wrap(note, indent=2, hang=2)]),
        _section("Next", [f"  {clean(step)}" for step in steps]),
    )


def render_doctor(examined: Document) -> str:
    """Render the document of ``doctor`` as text: each finding, with what to do about it."""
    data = DoctorDocument.model_validate(examined)
    states = {"ok": "", "warning": "warning: ", "problem": "problem: "}
    return _page(
        _wrap("This machine can run." if data.ok else "Something here would stop a run."),
        [
            line
            for check in data.checks
            for line in (
                *_named(check.name, states[check.state] + check.found, 17),
                *(_wrap(check.remedy, indent=17, hang=17) if check.remedy else ()),
            )
        ],
    )


# --- report -------------------------------------------------------------------------------


def _verdict(report: Report) -> list[str]:
    verdict = words.verdict(report)
    lines = [f"{verdict.word}."]
    took = f"Took {words.seconds(report.elapsed_s)}."
    for sentence in (verdict.coverage, *verdict.evidence, verdict.stop, took):
        lines += _wrap(sentence, indent=2)
    return lines


def _certificate(report: Report) -> list[str]:
    claims = words.claims(report)
    if claims is None:
        return []
    lines = _table(claims.head, claims.body[:MOST_CLASSES], "l" + "r" * (len(claims.head) - 1))
    lines += _more(len(claims.body) - MOST_CLASSES, "classes")
    for sentence in guidance.how_certified(report):
        lines += _wrap(sentence, indent=2)
    return _section("Certificate", lines)


def _promises(report: Report) -> list[str]:
    """Tabulate what could be promised, and what it takes; of each class, where nothing is."""
    ladder, band = promises.ladder(report), promises.band(report)
    if ladder is None or band is None:
        return []
    lines = _table(ladder.head, ladder.body, "rrrl")
    for sentence in promises.promised(report):
        lines += _wrap(sentence, indent=2)
    lines += ["", *_table(band.head, band.body, "rrrr")]
    missing = promises.missing(report)
    if missing is not None and report.certificate and not report.certificate.claimed:
        lines += ["", *_table(missing.head, missing.body[:MOST_CLASSES], "lrrl")]
        lines += _more(len(missing.body) - MOST_CLASSES, "classes")
    return _section("What can be promised", lines)


def _by_class(report: Report) -> list[str]:
    classes = words.by_class(report)
    if classes is None:
        return []
    body = classes.body[:MOST_CLASSES]
    more = _more(len(classes.body) - MOST_CLASSES, "classes")
    lines = _table(classes.head[:6], [line[:6] for line in body], "lrrrrr")
    shown = _section("Certified labels by class", lines + more)
    # Beside the bounds the shares would leave no room for the heads in a narrow terminal.
    shares = [[line[0], *line[6:]] for line in body if len(line) > 6]
    lines = _table([classes.head[0], *classes.head[6:]], shares, "lrrr")
    return shown + (["", *_section("Share of each class", lines)] if lines else [])


def _reliability(report: Report) -> list[str]:
    tables = (words.calibration_errors(report), words.reliability(report))
    return [line for t in tables if t for line in _table(t.head, t.body, "r" * len(t.head))]


def _errors(report: Report) -> list[str]:
    tables = [table for table in (words.errors(report), words.predicted(report)) if table]
    blocks = [_table(table.head, table.body, "r" * len(table.head)) for table in tables]
    return [line for block in blocks for line in ("", *block)][1:]


def _shift(report: Report) -> list[str]:
    shift = words.shift(report)
    if shift is None:
        return []
    title = "Labeled rows and pool are alike"
    if report.shift is not None and report.shift.shifted:
        title = "Labeled rows do not stand for the pool"
    return _section(title, _table(shift.head, shift.body, "lrl"))


def _teacher(report: Report) -> list[str]:
    members = words.members(report)
    if members is None:
        return []
    body = members.body[:MOST_CLASSES]
    more = _more(len(members.body) - MOST_CLASSES, "members")
    sentence = _wrap(words.taught_by(report), indent=2, hang=2)
    align = "l" + "r" * (len(members.head) - 1)
    return _section("Teacher", [*sentence, *_table(members.head, body, align), *more])


def _warnings(warnings: Sequence[Notice]) -> list[str]:
    if not warnings:
        return []
    lines = [line for w in warnings for line in _wrap(f"[{w.code}] {w.message}", hang=4)]
    return _section("Warnings", lines)


ROUND_COLUMNS = ("round", "candidates", "accepted", "rejected", "invalid")


def _rounds(rounds: Sequence[Round] | Sequence[StatusRound]) -> list[str]:
    if not rounds:
        return ["  none"]
    head, missing, tail = left_out(rounds, MOST_ROUNDS)
    shown = [*head, *tail]
    lines: list[str] = []
    for number, most in ((count, 2), (lambda n: words.short_count(n or 0), len(_SPARED))):
        for spared in range(most + 1):
            lines = lines or _round_lines(shown, number, _SPARED[:spared])
    if missing:
        gap = f"  ... {words.rounds_word(missing)} left out here; the JSON document has them all"
        lines.insert(1 + len(head), gap)
    if not all(r.used is not False for r in rounds):
        lines.append("  * not used: none of its labels are in the outputs")
    return lines


_SPARED = (
    "seconds",
    "balanced",
    "invalid",
    "log-loss",
    "trained on",
    "accuracy",
    "MAE",
    "within",
    "rejected",
)
"""Columns that a narrow terminal goes without, the first to go first."""


def _round_lines(rounds: Sequence[Any], number: Any, without: Sequence[str] = ()) -> list[str]:
    """Return the table of rounds; nothing where it is too wide, unless that can't be helped."""
    cells = [
        {k: v for k, v in _round_cells(r, number, rounds).items() if k not in without}
        for r in rounds
    ]
    head = [*cells[0]]
    needed = [max(map(cell_len, [name, *(line[name] for line in cells)])) for name in head]
    if sum(needed) + 2 * len(needed) > width() and len(without) < len(_SPARED):
        return []
    return _table(head, [[*line.values()] for line in cells], "r" * len(head))


def _round_cells(r: Any, number: Any, rounds: Sequence[Any]) -> dict[str, str]:
    cells = {"round": f"{'*' if r.used is False else ''}{r.round}"}
    cells |= {name: number(getattr(r, name)) for name in ROUND_COLUMNS[1:5]}
    trained = all(hasattr(each, "trained_on") for each in rounds)
    if trained:
        cells["trained on"] = number(r.trained_on)
    if any(each.validation for each in rounds):
        m = r.validation
        if any(each.validation and each.validation.numbers for each in rounds):
            errors = m.numbers if m else None
            cells |= {
                "within": metric(m.accuracy) if m else "-",
                "MAE": words.in_units(errors.mae) if errors else "-",
            }
        else:
            names = {"accuracy": "accuracy", "balanced": "balanced_accuracy"}
            names |= {"log-loss": "log_loss"}
            cells |= {k: metric(getattr(m, field)) if m else "-" for k, field in names.items()}
    if trained:
        cells["seconds"] = f"{sum(value for _, value in r.seconds):,.1f}"
    return cells


def _flips(report: Report) -> list[str]:
    flips = words.flips(report)
    if flips is None:
        return []
    head, missing, tail = left_out(flips.body, MOST_ROUNDS)
    lines = _table(flips.head, [*head, *tail], "r" * len(flips.head))
    if missing:
        lines.insert(1 + len(head), f"  ... {words.rounds_word(missing)} left out here")
    return lines


def _given_labels(report: Report) -> list[str]:
    sentence, labels = words.given_labels(report), report.given_labels
    if not sentence or labels is None:
        return []
    body = [
        [clean(suspect.id), clean(label_key(suspect.given)), clean(label_key(suspect.suggested))]
        + [f"{p:.4f}" for p in (suspect.p_given, suspect.p_suggested)]
        for suspect in labels.first
    ]
    head = ["id", "given", "suggested", "p of given", "p of suggested"]
    return [*_wrap(sentence, indent=2, hang=2), *_table(head, body, "lllrr")]


def _models(report: Report) -> list[str]:
    measured = words.measured(report)
    if not measured:
        return ["  not measured: there are no validation rows and no test table"]
    head = ["", "model", "measured on", "rows", *words.metric_columns(report)]
    body = [
        [
            role,
            clean(result.model),
            words.measured_on(result, where),
            count(m.n),
            *words.metric_cells(m, report),
        ]
        for role, result, where, m in measured
    ]
    return _table(head, body, "lll" + "r" * (len(head) - 3))


def _labels(report: Report) -> list[str]:
    if report.numbers is not None:
        return []
    accepted = accepted_by_class(report)
    total = sum(accepted.values())
    body = [
        [clean(name), count(n), words.percent(n / total) if total else "-"]
        for name, n in _top(accepted)
    ]
    lines = _table(["class", "accepted", "share"], body, "lrr")
    return lines + _more(len(accepted) - MOST_CLASSES, "classes")


def _outputs(report: Report) -> list[str]:
    """List where things are; a path is never cut or wrapped, so that it can be copied."""
    return [f"  {name:<11}  {clean(path)}" for name, path in report.paths if path]


def _next(report: Report) -> list[str]:
    """List what to do now, each command on a line of its own, whole."""
    lines = []
    for step in guidance.next_steps(report):
        lines += [*_wrap(f"{step.why}:", indent=2), f"    {clean(command(*step.arguments))}"]
    return lines


# --- plan ---------------------------------------------------------------------------------


def _plan_sentence(plan: PlanDocument) -> str:
    states = {
        "new": "start a new run",
        "resumable": "continue where an earlier run stopped",
        "done": "do nothing, since this run is done",
    }
    would = states.get(plan.output.state, f"meet an output that is {plan.output.state}")
    return f"The config is good. `run` would {would}; nothing was written."


def _plan_rows(plan: PlanDocument) -> list[str]:
    body = [[name, count(n)] for name, n in plan.rows if not (name == "test" and n is None)]
    body += [["id", clean(", ".join(plan.id) or "file, row_index")]]
    body += [["label type", clean(plan.label_type)]]
    if plan.numbers is not None:
        body += [["right", words.within(plan.numbers)]]
    return _table([], body, "ll")


def _plan_classes(plan: PlanDocument) -> list[str]:
    if plan.numbers is not None:
        return []
    lines = _table([], [[clean(name), count(n)] for name, n in _top(plan.classes)], "lr")
    return lines + _more(len(plan.classes) - MOST_CLASSES, "classes")


def _plan_features(plan: PlanDocument) -> list[str]:
    shown = plan.features[:MOST_FEATURES]
    body = [[clean(f.name), clean(f.kind), clean(f.type)] for f in shown]
    return _table(["column", "taken as", "type"], body, "lll") + _more(
        len(plan.features) - MOST_FEATURES, "columns"
    )


def _plan_promise(plan: PlanDocument) -> list[str]:
    if plan.promise is None:
        return []
    ladder, band = promises.ladder_of(plan.promise.ladder), promises.band_of(plan.promise.band)
    lines = [*_wrap(promises.expected(plan.promise), indent=2, hang=2)]
    lines += _table(ladder.head, ladder.body, "rrrl")
    lines += ["", *_table(band.head, band.body, "rrrr")]
    return _section("What could be promised", lines)


def _plan_rules(plan: PlanDocument) -> list[str]:
    rules = plan.model.rules
    body = [
        [clean(rule.name), clean(label_key(rule.label)), clean(rule.when or "a function in Python")]
        for rule in rules[:MOST_FEATURES]
    ]
    more = _more(len(rules) - MOST_FEATURES, "rules")
    return _table(["name", "votes for", "when"], body, "lll") + more if rules else []


def _plan_steps(plan: PlanDocument) -> list[str]:
    limit = "no limit" if plan.rounds.max is None else words.rounds_word(plan.rounds.max)
    again = ", each deciding the whole pool anew" if plan.rounds.relabel else ""
    student = plan.model.student
    taught = "student" if plan.model.committee else "model"
    alone = plan.model.committee_is_final
    members = [_estimator(member.estimator, member.params) for member in plan.model.committee]
    body = [
        ["teacher", words.teacher(plan.model.teacher, members)],
        [taught, "" if alone else _estimator(plan.model.estimator, plan.model.params)],
        ["student", _estimator(student.estimator, student.params) if student else ""],
        ["before it", "" if alone else ", ".join(plan.model.preprocessing) or "nothing"],
        ["policy", plan.why_selection or ""],
        ["selection", _selection(plan.selection)],
        [
            "rounds",
            f"at most {limit}{again}" if plan.rounds.max is not None else limit + again,
        ],
        [
            "one scan",
            f"{count(plan.partitions)} {'task' if plan.partitions == 1 else 'tasks'}"
            if plan.partitions is not None
            else "",
        ],
        *([f"{each.table} at", words.pinned(each)] for each in plan.pinned),
        ["snapshot", _snapshot(plan.snapshot)],
        ["output", f"{plan.output.path} ({plan.output.state})"],
    ]
    return [line for name, value in body if value for line in _named(name, value)]


def _snapshot(snapshot: PlanSnapshot | None) -> str:
    if snapshot is None:
        return ""
    if not snapshot.frozen:
        return f"none, the pool is read through Spark in every pass: {snapshot.why}"
    end = "it is kept" if snapshot.kept else "it is deleted when the run ends"
    return (
        f"the pool is read through Spark once and copied into the output: {snapshot.why}. About "
        f"{-(-(snapshot.bytes or 0) // 10**6):,} MB of Parquet before compression; {end}"
    )


def _named(name: str, value: str, indent: int = 13) -> list[str]:
    first, *more = _wrap(value, indent=indent, hang=indent)
    return [f"  {name:<{indent - 2}}{first.strip()}", *more]


def _estimator(name: str, params: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in params.items())})"


def _selection(selection: Mapping[str, Any]) -> str:
    settings = [f"{key}: {_yaml(value)}" for key, value in selection.items() if key != "policy"]
    policy = str(selection.get("policy", "?"))
    return f"{policy} ({', '.join(settings)})" if settings else policy


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_yaml(inner)}' for key, inner in value.items())}}}"
    return str(value)


# --- status, verify, explain --------------------------------------------------------------


def _status_sentence(status: StatusDocument) -> str:
    committed = f"{words.rounds_word(len(status.rounds))} committed"
    sums = status.all_generations
    if sums is not None and status.state in ("done", "drift"):
        return (
            f"{status.output}: {counted(sums.generations, 'generation')}, {sums.accepted:,} of "
            f"{counted(sums.rows, 'row')} labeled; the last one ended{_why(status)}."
        )
    lines = {
        "done": f"done after {words.rounds_word(len(status.rounds))}{_why(status)}",
        "resumable": f"not finished, {committed}; run the same command again to continue",
        "running": f"running, {committed}",
    }
    holder = status.lease
    held = f" by process {holder.pid} on {holder.host} since {holder.since}" if holder else ""
    sentence = lines.get(status.state, f"{status.state}, {committed}")
    return f"{status.output}: {sentence}{held if status.state == 'running' else ''}."


def _why(status: StatusDocument) -> str:
    condition = status.termination_condition
    if condition is None:
        return ""
    reason = REASONS.get(condition)
    best = status.best_round
    used = "" if best is None else f", best is {f'round {best}' if best else 'the seed model'}"
    return f" because {reason} ({condition}){used}" if reason else f" ({condition}){used}"


def _problems(verified: VerifyDocument) -> list[str]:
    shown = verified.problems[:MOST_PROBLEMS]
    lines = [line for p in shown for line in _wrap(f"{p.path}: {p.problem}", indent=2, hang=4)]
    return lines + _more(len(verified.problems) - MOST_PROBLEMS, "problems")


def _history(explained: ExplainDocument) -> list[str]:
    steps = explained.history[-10:]
    head = ["round", "label", "confidence", "cut", "accepted", "reason"]
    body = [_step_cells(step) for step in steps]
    lines = _table(head, body, "rlrrll")
    earlier = _more(len(explained.history) - len(steps), "earlier rounds")
    return earlier + lines


def _attribution(why: Why) -> list[str]:
    label = clean(label_key(why.label)) if why.label is not None else "-"
    text = (
        f"{why.model} gives {label!r} {metric(why.confidence)}; labeled rows get "
        f"{metric(why.base)} on average ({count(why.background)} of them). Without knowing a "
        "feature, the confidence would be lower by:"
    )
    shown = why.features[:MOST_EFFECTS]
    body = [
        [
            clean(effect.feature),
            "-" if effect.value is None else clean(effect.value),
            f"{effect.effect:+.4f}",
        ]
        for effect in shown
    ]
    lines = _wrap(text, indent=2) + _table(["feature", "value", "effect"], body, "llr")
    lines += _more(len(why.features) - len(shown), "features")
    stored = why.stored_confidence
    if stored is not None and abs(stored - (why.confidence or 0.0)) > _SAME:
        changed = f"The round stored {metric(stored)}: these are not the values that it scored."
        lines += _wrap(changed, indent=2)
    if why.final is not None and why.final.model != why.model:
        shown_label = (
            "nothing" if why.final.label is None else repr(clean(label_key(why.final.label)))
        )
        confidence = metric(why.final.confidence)
        final = f"The final model, {why.final.model}, says {shown_label} ({confidence})."
        lines += _wrap(final, indent=2)
    return lines


def _step_cells(step: ExplainStep) -> list[str]:
    return [
        str(step.round),
        "-" if step.label is None else clean(label_key(step.label)),
        "-" if step.confidence is None else f"{step.confidence:.6f}",
        "-" if step.cut is None else f"{step.cut:.6f}",
        ("yes" if step.used is not False else "yes, unused") if step.accepted else "no",
        clean(step.reason),
    ]


# --- lines --------------------------------------------------------------------------------


def _page(*blocks: Sequence[str]) -> str:
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *lines] if lines else []


def width() -> int:
    """Return how many columns a line may take: those of the terminal, if it goes to one."""
    if not sys.stdout.isatty():
        return WIDTH
    return min(WIDTH, max(_LEAST, shutil.get_terminal_size((WIDTH, 24)).columns))


def wrapped(message: str) -> str:
    """Wrap a message whose lines end where they do, for a terminal.

    Lines keep their indentation, and what to do next stays whole, so that it can be copied.
    """
    return "\n".join(_wrapped(message.split("\n")))


def _wrapped(lines: Sequence[str]) -> list[str]:
    broken: list[str] = []
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        hang = indent + 2 if indent else 0
        broken += (
            [line] if line.startswith("Next: ") else _wrap(line, indent=indent, hang=hang) or [""]
        )
    return broken


def _wrap(text: str, *, indent: int = 0, hang: int | None = None) -> list[str]:
    """Break text at its spaces; a word longer than a line stays whole, so that it can be copied.

    rich would break such a word, or cut it.
    """
    margin = " " * (indent if hang is None else hang)
    lines, room = [" " * indent], width()
    for word in clean(text.replace("\n", " ")).split():
        if lines[-1].strip() and cell_len(lines[-1]) + 1 + cell_len(word) > room:
            lines.append(margin)
        lines[-1] += f" {word}" if lines[-1].strip() else word
    return lines


def _most(lines: Sequence[str], most: int) -> list[str]:
    return [*lines] if len(lines) <= most else [*lines[: most - 1], "..."]


def _top(by_class: Mapping[str, int]) -> list[tuple[str, int]]:
    if len(by_class) <= MOST_CLASSES:
        return list(by_class.items())
    return sorted(by_class.items(), key=lambda item: (-item[1], item[0]))[:MOST_CLASSES]


def _generations(document: Report | StatusDocument) -> list[str]:
    """List the latest generations of an incremental run; nothing of a run that is none."""
    table = generations.lines(document.generations)
    if table is None:
        return []
    sums = generations.sums(document.all_generations)
    return [
        *_table(table.head, table.body, "lrrrrrl"),
        *([f"  {sums}"] if sums else []),
        *_wrapped([f"  {notice}" for notice in generations.notices(document.generations)]),
    ]


def _more(n: int, what: str) -> list[str]:
    return [f"  ... {n:,} more {what}; the JSON document has them all"] if n > 0 else []


def _table(head: Sequence[str], body: Iterable[Sequence[str]], align: str) -> list[str]:
    """Lay cells out in columns two apart; text columns (``l``) give way, numbers (``r``) never."""
    lines = [list(line) for line in body]
    if not lines:
        return []
    table = Table(box=None, show_header=bool(head), pad_edge=False, padding=(0, 2, 0, 0))
    for i, side in enumerate(align):
        numbers = max(cell_len(line[i]) for line in lines) if side == "r" else None
        table.add_column(
            Text(head[i]) if head else "",
            justify="right" if side == "r" else "left",
            min_width=numbers,
            overflow="fold",
        )
    for line in lines:
        table.add_row(*map(Text, line))
    console = _console()
    console.print(table)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    return [f"  {line.rstrip()}" for line in drawn.splitlines()]


def _console() -> Console:
    """Return where lines are laid out: no color, no markup, no terminal."""
    return Console(file=io.StringIO(), width=width() - 2, color_system=None, highlight=False)
