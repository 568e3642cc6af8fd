"""What an audit says, as sentences."""

from __future__ import annotations

from spark_pseudolabel.report.document import Audit, AuditedClass, CertifiedByAsking, label_key
from spark_pseudolabel.report.words import clean, count, rows
from spark_pseudolabel.wording import agreeing, counted


def audit_sentences(audit: Audit) -> list[str]:
    """Say how many labels are wrong, at least and at most, and what is settled."""
    sentences = [
        f"{count(audit.answers)} answered, {count(audit.wrong)} wrong: of {count(audit.rows)} "
        f"labels {count(audit.lower)} to {count(audit.upper)} are wrong (precision "
        f"{audit.at_least:.3f} to {audit.at_most:.3f}; all audits of this output together hold "
        "with 95 % certainty, however often one looks).",
        _verdict(audit),
    ]
    if audit.waiting:
        sentences.append(
            f"{counted(audit.waiting, 'more answer')} {agreeing(audit.waiting, 'waits', 'wait')} "
            "for the rows before: only rows in the "
            "order in which they were asked count."
        )
    sentences += [_of_class(of) for of in audit.by_class]
    if not audit.holds:
        sentences.append(
            "It no longer holds of labels/, which has other rows now: begin another audit."
        )
    return sentences


def _verdict(audit: Audit) -> str:
    promise = f"Precision {audit.precision:g}"
    if audit.shown is True:
        return f"{promise} is shown."
    if audit.shown is False:
        return f"{promise} is not kept: take labels back with review revoke."
    if audit.answers + audit.more >= audit.rows:
        return f"{promise} is open, and at this share of errors only all answers would settle it."
    more = f"about {counted(audit.more, 'more answer')}"
    return f"{promise} is open; {more} with this share of errors would settle it."


def _of_class(of: AuditedClass) -> str:
    more = f"open, about {counted(of.more, 'more answer')}"
    verdict = {True: "shown", False: "not kept", None: more}
    return (
        f"Class {clean(label_key(of.label))}: {count(of.answers)} answered, {count(of.wrong)} "
        f"wrong, {count(of.lower)} to {count(of.upper)} of {count(of.rows)} ({verdict[of.shown]})."
    )


def audit_lines(audits: list[Audit]) -> list[str]:
    """Return what status and report say of audits."""
    return [
        f"  audit {audit.round}: {sentence}" if place == 0 else f"    {sentence}"
        for audit in audits
        for place, sentence in enumerate(audit_sentences(audit))
    ]


def certified_lines(certified: list[CertifiedByAsking]) -> list[str]:
    """Return what status and report say of rows that answers have certified."""
    return [
        f"  precision {each.precision:g} with {each.certainty:.0%} certainty for "
        f"{rows(each.rows)} of round {each.round} ({each.coverage:.0%} of the scored ones), "
        f"confidence at least {each.cut:g}, by {counted(each.answers, 'answer')}; "
        f"{count(each.published)} of them got their label by it"
        for each in certified
    ]
