"""The sentences and figures of speech that the text and the page have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from spark_pseudolabel.core.rounds import REASONS
from spark_pseudolabel.core.trust.collapse import hardly_better
from spark_pseudolabel.report.document import (
    Certificate,
    LabelModel,
    Metrics,
    ModelResult,
    NumbersAsked,
    PinnedInput,
    ReliabilityTable,
    Report,
    Shift,
    Teacher,
    label_key,
)
from spark_pseudolabel.report.tally import last_measured
from spark_pseudolabel.wording import agreeing, counted

Level = Literal["good", "check", "bad"]

MOST_SHARES = 5


@dataclass(frozen=True)
class Verdict:
    """The answer to "can I use this?".

    Parameters
    ----------
    level
        How to color it.
    word
        Two to five words that say the same without color.
    coverage
        How much of the pool got a label.
    evidence
        What the word rests on, strongest first; empty when nothing was measured.
    stop
        Why the run ended, and which round is the best.
    """

    level: Level
    word: str
    coverage: str
    evidence: tuple[str, ...]
    stop: str


@dataclass(frozen=True)
class Comparison:
    """Accuracy of the seed and the final model on the same n rows."""

    where: str
    n: int
    seed: float
    final: float
    best_of: str = ""
    what: str = "Accuracy"

    @property
    def gain(self) -> float:
        """Final minus seed."""
        return self.final - self.seed

    @property
    def noise(self) -> float:
        """Two standard errors of the gain, taking the two as independent (cautious)."""
        return 2 * sqrt(sum(share * (1 - share) / self.n for share in (self.seed, self.final)))

    @property
    def change(self) -> str:
        """The gain in points, and whether it is more than noise."""
        return f"{points(self.gain)}{', within noise' if abs(self.gain) <= self.noise else ''}"

    def __str__(self) -> str:
        return (
            f"{self.what} on {rows(self.n, self.where)}: seed {metric(self.seed)}, "
            f"final {metric(self.final)} ({self.change}{self.best_of})."
        )


def verdict(report: Report) -> Verdict:
    """Sum a run up in a word and a few sentences."""
    level, word = _judge(report)
    said = (
        within(report.numbers),
        certificate(report),
        prior(report),
        duplicates(report),
        graph(report),
    )
    evidence = [sentence for sentence in said if sentence]
    evidence += [str(comparison) for comparison in comparisons(report)]
    evidence += [_truth(report)] if _truth(report) else []
    return Verdict(level, word, _coverage(report), tuple(evidence), _stop(report))


def within(asked: NumbersAsked | None) -> str:
    """Say when a label that is a number is right; empty where labels are classes.

    Examples
    --------
    >>> within(NumbersAsked(tolerance=0.05, relative=True, spelled="5 %", interval=0.95,
    ...     integer=False, mean=3.0, sd=1.0))
    'Right is a number within 5 % of the true one; bounds are to hold 95 % of the true numbers.'
    """
    if asked is None:
        return ""
    bounds = f"bounds are to hold {100 * asked.interval:g} % of the true numbers"
    if asked.relative:
        return f"Right is a number within {100 * asked.tolerance:g} % of the true one; {bounds}."
    spelled = f" ({asked.spelled})" if asked.spelled.strip().endswith("sd") else ""
    return f"Right is a number within {asked.tolerance:.4g}{spelled} of the true one; {bounds}."


def graph(report: Report) -> str:
    """Say how good the graph is that labels have spread over; empty where there is none."""
    teacher = report.teacher
    if teacher is None or teacher.recall is None:
        return ""
    recall = f"{percent(teacher.recall)} of the nearest neighbors of the rows that were checked."
    method, smooth = teacher.parameters.get("method"), teacher.parameters.get("smooth")
    if method is not None:
        return f"Labels have spread over a graph of all rows by {method}; it has {recall}"
    if smooth is None:  # a member of a committee has its parameters behind its key
        method = teacher.parameters["graph.method"]
        return f"The committee has a graph of all rows, labeled by {method}; it has {recall}"
    if not smooth:
        return (
            "The committee's word stands as it is: out of fold it was not surely better when "
            f"corrected and smoothed over a graph of all rows, which has {recall}"
        )
    return (
        "The committee's word was corrected and smoothed over a graph of all rows, with "
        f"{percent(float(smooth))} from a row's neighbors; the graph has {recall}"
    )


def comparisons(report: Report) -> list[Comparison]:
    """Return seed against final on the test rows, then on the validation rows, where measured."""
    seed, final = report.seed, report.final
    pairs = [
        ("test", seed.test, final.test),
        ("validation", seed.validation, final.validation),
        ("out-of-fold", seed.oof, final.oof),
    ]
    return [
        Comparison(where, b.n, a.accuracy, b.accuracy, _best_of(final, where), _what(report))
        for where, a, b in pairs
        if a and b and b.n and a.accuracy is not None and b.accuracy is not None
    ]


def _what(report: Report) -> str:
    """Name what a share of right labels is."""
    return "Accuracy" if report.numbers is None else "Share within the tolerance"


def metric_columns(report: Report) -> list[str]:
    """Name the figures of a model, in the order of :func:`metric_cells`."""
    if report.numbers is None:
        return ["accuracy", "balanced", "f1 macro", "log-loss"]
    return ["within", "RMSE", "MAE", "R2", "in bounds"]


def metric_cells(m: Metrics, report: Report) -> list[str]:
    """Return the figures of a model as text."""
    if report.numbers is None:
        return [metric(v) for v in (m.accuracy, m.balanced_accuracy, m.f1_macro, m.log_loss)]
    if m.numbers is None:
        return [metric(m.accuracy), *["-"] * 4]
    errors = [in_units(value) for value in (m.numbers.rmse, m.numbers.mae)]
    return [metric(m.accuracy), *errors, metric(m.numbers.r2), metric(m.numbers.coverage)]


def errors(report: Report) -> Lines | None:
    """Tabulate errors by confidence; None where labels are classes or nothing was measured."""
    found = report.seed.residuals
    if found is None:
        return None
    body = [
        [
            f"{of.low:.1f} to {of.low + 0.1:.1f}",
            count(of.rows),
            percent(of.right / of.rows),
            in_units(of.mae),
            percent(of.covered / of.rows),
            in_units(of.width),
        ]
        for of in found.by_confidence
    ]
    head = ["confidence", "rows", "within", "MAE", "in bounds", "width"]
    return Lines(head, body)


def predicted(report: Report) -> Lines | None:
    """Tabulate predicted against true numbers; None as :func:`errors`."""
    found = report.seed.residuals
    if found is None:
        return None
    body = [
        [in_units(of.predicted), in_units(of.true), in_units(of.lowest), in_units(of.highest)]
        for of in found.by_number
    ]
    return Lines(["predicted", "true, mean", "10 % below", "10 % above"], body)


def errors_on(report: Report) -> str:
    """Name the rows that :func:`errors` is about; empty without any."""
    found = report.seed.residuals
    if found is None:
        return ""
    rows_of = "labeled rows, out of fold" if found.source == "oof" else "validation rows"
    return f"Errors of the first model on {rows_of}"


def _judge(report: Report) -> tuple[Level, str]:
    if report.termination_condition == "drift":
        return "bad", "New rows are unlike the others: none was labeled"
    if report.rows.pool == 0:
        return "check", "Nothing to label"
    if report.rows.accepted == 0:
        return "check", "No rows labeled"
    if report.termination_condition == "generation":
        # Labels of a model that was measured on other rows: what is known of them is the drift.
        return "check", "New rows labeled by the model that there was"
    compared = comparisons(report)
    if not compared:
        return "check", "Not measured"
    if compared[0].gain < -compared[0].noise:
        return "bad", "Worse than the seed model"
    certified = report.certificate is not None and report.certificate.claimed
    better = compared[0].gain > compared[0].noise
    if not certified and not better:
        return "check", "On a par with the seed model"
    if doubt := _doubt(report):
        return doubt
    return "good", "Better than the seed model" if better else "Certified labels"


_MANY_COPIES = 0.1
_SUSPICIONS: dict[str, tuple[Level, str]] = {
    "certificate_contradicted": ("bad", "Test rows contradict the certificate"),
    "drawn_per_class": ("check", "Labeled rows mixed otherwise"),
    "prior_disagrees": ("check", "Pool mixed otherwise than said"),
    "class_collapsed": ("check", "A class is hardly labeled"),
    "class_without_labels": ("check", "A class is not labeled"),
    "class_below_precision": ("check", "A class falls short"),
    "hardly_better": ("check", "Hardly better than one label"),
    "suspicious_labels": ("check", "Given labels look wrong"),
}


def _doubt(report: Report) -> tuple[Level, str] | None:
    """Return what keeps a run from being called good; None where nothing that is known does."""
    codes = {warning.code for warning in report.warnings}
    doubts = [verdict for code, verdict in _SUSPICIONS.items() if code in codes]
    certificate, final = report.certificate, report.final
    checked = final.test.labels if final.test else None
    if certificate is not None and certificate.claimed:
        if checked and checked.precision is not None and checked.precision < certificate.precision:
            doubts.append(("check", "Test rows fall short"))
        if not still_certified(report):
            doubts.append(("check", "Certified labels have changed since"))
        if any(audit.holds and audit.shown is False for audit in report.audits):
            doubts.append(("bad", "An audit contradicts the certificate"))
        if any(of.published and of.upper < certificate.precision for of in certificate.by_class):
            doubts.append(_SUSPICIONS["class_below_precision"])
    shift = report.shift
    if shift is not None and shift.shifted and (shift.inside is None or shift.inside.shifted):
        doubts.append(("check", "Pool unlike the labeled rows"))
    priors = [part.prior_shift for part in (shift, certificate) if part is not None]
    if any(prior is not None and prior.drawn_per_class for prior in priors):
        doubts.append(_SUSPICIONS["drawn_per_class"])
    if any(shares.collapsed for shares in report.class_shares):
        doubts.append(_SUSPICIONS["class_collapsed"])
    if report.duplicates and report.duplicates.rows > _MANY_COPIES * report.rows.labeled:
        doubts.append(("check", "Many labeled rows are copies"))
    metrics = final.test or final.validation or final.oof
    if metrics is not None and hardly_better(metrics.accuracy, metrics.majority):
        doubts.append(_SUSPICIONS["hardly_better"])
    return min(doubts, key=lambda doubt: doubt[0] != "bad", default=None)


def certificate(report: Report) -> str:
    """Say what is certified of the labels, or that nothing is; empty where nothing was asked."""
    certified = report.certificate
    if certified is None:
        return ""
    promise = goal(certified)
    of = "in every class" if certified.per == "class" else "over all labels"
    kind = "validation" if certified.source == "held_out" else "labeled"
    where = f"tested on {rows(certified.n_calibration, kind)}"
    if not certified.claimed:
        return f"Not certified: {promise} ({of}; {where}). No label is published."
    covered = f"{percent(certified.coverage)} of {_about(certified)} covered"
    if not still_certified(report):
        return (
            f"Was certified when the run ended: {promise} {of}; {covered}, {where}. labels/ has "
            "other rows now, of which that says nothing."
        )
    return f"Certified: {promise} {of}; {covered}, {where}."


def still_certified(report: Report) -> bool:
    """Return whether something is certified of the labels as they stand after reviews."""
    if report.certificate is None or not report.certificate.claimed:
        return False
    return report.review is None or report.review.certificate_holds is not False


def goal(certified: Certificate) -> str:
    """Name what was to be shown: a precision, or the best one there is."""
    certainty = f"with certainty {certified.certainty:g}"
    if not certified.best:
        return f"precision {certified.precision:g} {certainty}"
    if certified.claimed:
        return f"precision {certified.precision:g}, the best that can be shown, {certainty}"
    enough = percent(certified.min_coverage or 0.0)
    return f"a precision of {certified.precision:g} or more {certainty} for {enough} of the pool"


def _about(certified: Certificate) -> str:
    """Say which rows a certificate is about."""
    told = (
        (certified.inside_only, "near a labeled one"),
        (certified.stable_only, "that keep their label when corrupted"),
        (certified.agreed_only, "on which the members agree"),
    )
    which = [words for is_so, words in told if is_so]
    return f"the pool's rows {' and '.join(which)}" if which else "the pool"


def prior(report: Report) -> str:
    """Say to which class shares scores are corrected; empty where they are not."""
    if report.prior is None:
        return ""
    shares = sorted(report.prior.shares.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{clean(name)} {percent(share)}" for name, share in shares[:MOST_SHARES])
    more = f" and {len(shares) - MOST_SHARES:,} more" if len(shares) > MOST_SHARES else ""
    return f"Scores are corrected to the pool's {report.prior.source} class shares: {named}{more}."


def duplicates(report: Report) -> str:
    """Say how many labeled rows are copies; empty where none is."""
    copies = report.duplicates
    if copies is None:
        return ""
    return (
        f"{count(copies.rows)} of {rows(report.rows.labeled, 'labeled')} equal another one in "
        f"every feature, in {count(copies.groups)} sets; a set counts once."
    )


@dataclass(frozen=True)
class Lines:
    """A table in words: its head and its lines."""

    head: list[str]
    body: list[list[str]]


def claims(report: Report) -> Lines | None:
    """Tabulate what is claimed of each class, and what it would take where nothing is."""
    certified = report.certificate
    if certified is None:
        return None
    head = ["labels", "cut", "published", "tested there", "wrong", "at least right"]
    head.append("labels needed")
    body = [
        [
            clean(label_key(claim.labels[0])) if certified.per == "class" else "all",
            "-" if claim.cut is None else f"{claim.cut:.3f}",
            count(claim.rows),
            count(claim.n),
            count(claim.wrong),
            "-" if claim.cut is None else percent(claim.bound, 1),
            f"about {claim.more_labels:,} more"
            if claim.more_labels is not None
            else _OUTLOOKS.get(claim.outlook or "", "-"),
        ]
        for claim in certified.claims
    ]
    return Lines(head, body)


_OUTLOOKS = {"model": "a better model", "pool": "a larger pool", "unclear": "not clear"}


def by_class(report: Report) -> Lines | None:
    """Tabulate what was found of each class, and how common it is; None where nothing was."""
    results = report.certificate.by_class if report.certificate else []
    shares = {label_key(result.class_): result for result in report.class_shares}
    if not results:
        return None
    head = ["class", "tested", "wrong", "at least right", "at most", "published"]
    head += ["of labeled", "of predicted", "of published"] if shares else []
    body = []
    for result in results:
        name = label_key(result.class_)
        cells = [clean(name), count(result.n), count(result.wrong)]
        cells += [percent(bound, 1) if result.n else "-" for bound in (result.lower, result.upper)]
        cells.append(count(result.published))
        if share := shares.get(name):
            cells += [percent(of) for of in (share.labeled, share.predicted, share.published)]
        body.append(cells)
    return Lines(head, body)


def calibration_errors(report: Report) -> Lines | None:
    """Tabulate, for each round, how far its confidences are from the share of right labels."""
    measured = [(r.round, r.reliability) for r in report.rounds if r.reliability]
    if not measured:
        return None
    adjusted = any(curve.adjusted for _, curve in measured)
    body = []
    for number, curve in measured:
        tables = [curve.raw, *([curve.adjusted] if adjusted else [])]
        ece = [metric(table.ece) if table else "-" for table in tables]
        body.append([str(number), count(sum(curve.raw.n)), *ece])
    head = ["round", "rows", "ECE of the model", "ECE adjusted"]
    return Lines(head[: len(body[0])], body)


def reliability(report: Report) -> Lines | None:
    """Tabulate confidence against the truth, bin by bin, in the last round where it is known."""
    measured = last_measured(report)
    if measured is None:
        return None
    tables = [measured.raw, *([measured.adjusted] if measured.adjusted else [])]
    bins = len(measured.raw.n)
    body = [
        [f"{i / bins:.2g} to {(i + 1) / bins:.2g}", *(cell for t in tables for cell in _bin(t, i))]
        for i in range(bins)
        if any(table.n[i] for table in tables)
    ]
    of_each = ["rows", "said", "right"]
    adjusted = [f"{name}, adjusted" for name in of_each]
    return Lines(["confidence", *of_each, *adjusted][: len(body[0]) if body else 4], body)


def _bin(table: ReliabilityTable, i: int) -> list[str]:
    stated, right = table.confidence[i], table.accuracy[i]
    shares = ["-" if share is None else percent(share) for share in (stated, right)]
    return [count(table.n[i]), *shares]


def flips(report: Report) -> Lines | None:
    """Tabulate what rounds that decide every row anew made of earlier labels."""
    body = [
        [str(r.round), *map(count, (r.flips.kept, r.flips.changed, r.flips.added, r.flips.dropped))]
        for r in report.rounds
        if r.flips is not None
    ]
    head = ["round", "kept", "changed", "added", "dropped"]
    return Lines(head, body) if body else None


def given_labels(report: Report) -> str:
    """Say how many given labels look wrong; empty where nobody looked or none does."""
    labels = report.given_labels
    if labels is None or not labels.suspicious:
        return ""
    why = (
        "Classes that merely overlap may be the reason"
        if labels.explained
        else "Classes that merely overlap would not look so"
    )
    return (
        f"Models that have not seen the row are sure of another label for "
        f"{count(labels.suspicious)} of {rows(labels.n, 'labeled')}. {why}. "
        f"All of them: {clean(labels.file)}/."
    )


def _rules(teacher: Teacher) -> Lines:
    head = ["rule", "votes for", "votes on", "overlap", "conflict", "right, estimated"]
    if any(member.n_measured for member in teacher.members):
        head += ["right, measured", "labeled rows"]
    body = []
    for member in teacher.members:
        shares = (member.coverage, member.overlap, member.conflict, member.accuracy)
        cells = [clean(member.name), clean(label_key(member.label)), *map(_percent, shares)]
        cells += [_percent(member.measured), count(member.n_measured)]
        body.append(cells[: len(head)])
    return Lines(head, body)


def _by_rules(teacher: Teacher, model: LabelModel) -> str:
    """Say how the votes of rules were weighed."""
    shares = sorted(model.shares.items(), key=lambda item: (-item[1], item[0]))[:MOST_SHARES]
    named = ", ".join(f"{clean(name)} {percent(share)}" for name, share in shares)
    how = {
        "em": f"weighed by a label model, which finds the classes' shares to be {named}",
        "majority": "counted, each like the others",
    }[model.method]
    votes = f"The votes of {len(teacher.members):,} rules on {rows(model.rows)} were {how}."
    against = ""
    if model.better is not None and model.worse is not None and model.better + model.worse:
        against = (
            f" Against a count of the votes, labeled rows are right {model.better:,} times by the "
            f"label model alone and {model.worse:,} times by the count alone."
        )
    silent = teacher.abstained
    return votes + against + (f" No rule votes on {rows(silent)}." if silent else "")


MOST_COLUMNS = 5
_TOO_FAR = 0.1


def _how_far(shift: Shift) -> str:
    if shift.outside > _TOO_FAR and shift.outside_by_chance:
        return "may be chance: the labeled rows are few"
    return "about 1% is usual, 10% too much"


def taught_by(report: Report) -> str:
    """Say who labeled the pool, and what it said nothing about; empty where ``model`` did."""
    taught = report.teacher
    if taught is None:
        return ""
    if taught.label_model is not None:
        return _by_rules(taught, taught.label_model)
    settings = ", ".join(f"{key} {label_key(value)}" for key, value in taught.parameters.items())
    made = f"{clean(taught.kind)} ({clean(settings)})" if settings else clean(taught.kind)
    return f"The pool was labeled by {made}. It abstained from {rows(taught.abstained, 'pool')}."


def members(report: Report) -> Lines | None:
    """Tabulate the models of the teacher, on labeled rows out of fold; or its rules."""
    if report.teacher is None:
        return None
    if report.teacher.label_model is not None:
        return _rules(report.teacher)
    body = [
        [clean(m.name), metric(m.weight), _percent(m.coverage), metric(m.accuracy)]
        for m in report.teacher.members
    ]
    return Lines(["member", "weight", "coverage", "accuracy"], body)


def shift(report: Report) -> Lines | None:
    """Tabulate how the labeled rows and the pool differ, the columns that differ most first."""
    measured = report.shift
    if measured is None:
        return None
    body = [
        ["told apart (AUC)", f"{measured.auc:.3f}", f"up to {measured.auc_limit:.3f} is chance"],
        ["pool far from labeled rows", percent(measured.outside), _how_far(measured)],
    ]
    for name, value in sorted(measured.psi.items(), key=lambda item: -item[1])[:MOST_COLUMNS]:
        # Of a category with many values, chance alone makes it that large.
        few = " if its values are few" if name in measured.unseen else ""
        body.append([f"PSI of {clean(name)}", f"{value:.2f}", f"large from 0.25 on{few}"])
    for name, share in sorted(measured.unseen.items(), key=lambda item: -item[1])[:MOST_COLUMNS]:
        if share:
            body.append([f"new categories of {clean(name)}", percent(share), "of the pool's rows"])
    if measured.prior_shift is not None:
        p = measured.prior_shift.p_value
        body.append(["predicted labels differ", f"p = {p:.2g}", "a small p: in other shares"])
    return Lines(["measure", "found", "how to read it"], body)


def _held_back(report: Report) -> str:
    """Say how many rows were rejected whatever their confidence, and why."""
    rows = report.rows
    told = (
        (rows.withheld, "withheld, far from any labeled row"),
        (rows.unstable, "unstable: corrupted copies of them get another label"),
        (rows.disagreement, "on which members of the model disagree"),
    )
    return ", ".join(f"{count(n)} {why}" for n, why in told if n)


def _coverage(report: Report) -> str:
    pool, accepted = report.rows.pool, report.rows.accepted
    if pool == 0:
        return "The pool holds no rows: only the seed model was trained."
    rejected = report.rows.rejected
    rest = f"{count(rejected)} {agreeing(rejected, 'was', 'were')} not accepted"
    if held_back := _held_back(report):
        rest += f" ({held_back})"
    if report.rows.invalid:
        rest += f", {count(report.rows.invalid)} could not be scored"
    if report.rows.abstained:
        rest += f", on {count(report.rows.abstained)} the model abstained"
    return (
        f"{count(accepted)} of {rows(pool, 'pool')} got a label "
        f"({percent(accepted / pool)}); {rest}."
    )


def _truth(report: Report) -> str:
    checked = report.final.test.labels if report.final.test else None
    if not checked or checked.precision is None:
        return ""
    return (
        f"Of {counted(checked.n, 'accepted label')} that the test table can check, "
        f"{count(checked.correct)} {agreeing(checked.correct, 'is', 'are')} right "
        f"({percent(checked.precision, 2)})."
    )


def _stop(report: Report) -> str:
    reason = REASONS.get(report.termination_condition)
    if report.rows.pool == 0:
        reason = "there is nothing to label"
    why = f"{reason} ({report.termination_condition})" if reason else report.termination_condition
    best = "the seed model" if report.best_round == 0 else f"round {report.best_round}"
    return f"Stopped after {rounds_word(report.n_iter)}: {why}. Best: {best}."


def out_path(report: Report) -> str | None:
    """Return the output's path, if the configuration tells it."""
    output = report.config.get("output")
    path = output.get("path") if isinstance(output, dict) else None
    return path if isinstance(path, str) else None


def measured(report: Report) -> list[tuple[str, ModelResult, str, Metrics]]:
    """Return (seed or final, model, kind of rows, metrics) for all that was measured."""
    return [
        (role, result, where, metrics)
        for where in ("validation", "oof", "test")
        for role, result in (("seed", report.seed), ("final", report.final))
        if (metrics := getattr(result, where)) is not None
    ]


def measured_on(result: ModelResult, where: str) -> str:
    """Name the rows that a model was measured on, and whether they have chosen it."""
    chosen = _best_of(result, where)
    if not chosen:
        return _MEASURED_ON[where]
    return ("validation" if where == "validation" else "out of fold") + chosen


def _best_of(result: ModelResult, where: str) -> str:
    chosen = where != "test" and result.chosen_from > 1
    return f", best of {result.chosen_from}" if chosen else ""


_MEASURED_ON = {
    "validation": "validation rows",
    "oof": "labeled, out of fold",
    "test": "test rows",
}


# --- numbers ------------------------------------------------------------------------------


def count(n: int | None) -> str:
    """Format a whole number, ``?`` when it is unknown.

    Examples
    --------
    >>> count(1234567), count(None)
    ('1,234,567', '?')
    """
    return "?" if n is None else f"{n:,}"


def short_count(n: int) -> str:
    """Format a whole number in at most six characters.

    Examples
    --------
    >>> [short_count(n) for n in (950, 9_999, 12_345, 4_000_000, 12_345_678_901)]
    ['950', '9,999', '12.3k', '4M', '12.3G']
    """
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if n >= size:
            return f"{n / (size if unit != 'k' else 1000):.3g}{unit}"
    return f"{n:,}"


def metric(value: float | None) -> str:
    """Format a metric with four decimals, ``-`` when there is none."""
    return "-" if value is None else f"{value:.4f}"


def in_units(value: float) -> str:
    """Format an error in units of the label with four digits.

    Examples
    --------
    >>> in_units(0.0123456), in_units(1234.56)
    ('0.01235', '1,235')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else percent(share)


def percent(share: float, decimals: int = 1) -> str:
    """Format a share in [0, 1] in percent; neither 0 % nor 100 % unless it is exact.

    Examples
    --------
    >>> percent(0.5), percent(0.99999), percent(0.00001), percent(1)
    ('50.0%', '> 99.9%', '< 0.1%', '100.0%')
    """
    step = 10**-decimals
    if 0 < share * 100 < step / 2:
        return f"< {step:.{decimals}f}%"
    if 100 - step / 2 < share * 100 < 100:
        return f"> {100 - step:.{decimals}f}%"
    return f"{share * 100:.{decimals}f}%"


def points(difference: float) -> str:
    """Format a difference of shares in percentage points, with its sign."""
    return f"{difference * 100:+.1f} points".replace("-0.0", "+0.0")


def seconds(value: float) -> str:
    """Format a duration.

    Examples
    --------
    >>> seconds(0.25), seconds(12.34), seconds(754), seconds(7300)
    ('0.25 s', '12.3 s', '12 min 34 s', '2 h 1 min')
    """
    if value < 10:
        return f"{value:.2f} s"
    if value < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def rows(n: int, kind: str = "") -> str:
    """Say how many rows, ``1 row`` or ``2 rows``."""
    return counted(n, f"{kind} row" if kind else "row")


def rounds_word(n: int) -> str:
    """Say how many rounds, ``1 round`` or ``2 rounds``."""
    return counted(n, "round")


def clean(value: object) -> str:
    r"""Return text from the data on one line, without anything a terminal could obey.

    Letters of any script stay; control, format and line-breaking characters are escaped.

    Examples
    --------
    >>> clean("caf\u00e9 \x1b[31m")
    'café \\x1b[31m'
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in str(value)
    )


def teacher(kind: str | None, members: Sequence[str]) -> str:
    """Name who makes the seed model in place of ``model``, by its kind and its members."""
    how = _TEACHERS.get(kind or "", "")
    return f"{how}{'; '.join(members)}"


_TEACHERS: Mapping[str, str] = {
    "graph": "labels spread over a graph of all rows",
    "tri_training": "tri-training of ",
    "views": "co-training of two views by ",
}


def pinned(table: PinnedInput) -> str:
    """Say which version of a table that keeps a log is read."""
    return f"{table.format}, {'version' if table.format == 'delta' else 'snapshot'} {table.version}"
