"""The documents of ``review`` as plain text."""

from __future__ import annotations

from spark_pseudolabel.program import command
from spark_pseudolabel.report.document import (
    LabelsDocument,
    Listed,
    ReviewExportDocument,
    ReviewImportDocument,
    ReviewRevokeDocument,
    ReviewState,
    label_key,
)
from spark_pseudolabel.report.words import clean, count, rows


def render_export(exported: ReviewExportDocument) -> str:
    """Render the document of ``review export`` as text."""
    if exported.settled is not None:
        return f"Nothing more to ask: {clean(exported.settled)}\n"
    files = f"{count(exported.files)} file{'' if exported.files == 1 else 's'}"
    what = f"{exported.kind} {exported.number}"
    lines = [f"{rows(exported.rows)} to answer in {clean(exported.to)} ({what}, {files})."]
    if exported.format == "csv":
        lines.append("Write the class into `answer`; ? skips a row, empty is not answered yet.")
    else:
        lines.append(
            f"Label Studio: make a project with {clean(exported.to)}/label_config.xml, import the "
            "part-*.json files, and export as JSON (not JSON_MIN) when done."
        )
    answers = exported.to if exported.format == "csv" else "EXPORT.json"
    back = command("review", "import", exported.output, "--answers", answers)
    return "\n".join([*lines, f"Next: {back}"]) + "\n"


def render_import(imported: ReviewImportDocument) -> str:
    """Render the document of ``review import`` as text."""
    new = sum(each.new for each in imported.sets)
    lines = [
        f"{rows(new)} newly answered"
        + ("." if imported.committed else "; nothing was new, so nothing was written.")
    ]
    for each in imported.sets:
        lines += [
            f"  {clean(each.kind or 'answers to no export')}: {clean(text)}"
            for text in each.conclusion
        ]
    sorts = {
        "not answered yet": Listed(n=imported.unanswered),
        "skipped": imported.skipped,
        "answered otherwise before; the new answer counts": imported.changed,
        "with answers that contradict each other, not taken": imported.conflicts,
        "answered otherwise for another export or none; all are kept, no run learns from them": (
            imported.differing
        ),
        "with an id that was not asked or is no row of the pool": imported.unknown_ids,
        "with an answer that is no class of this run": imported.unknown_classes,
        "with a given label, which wins": imported.given,
    }
    lines += [_listed(text, each) for text, each in sorts.items() if each.n]
    if imported.revoked:
        lines.append(f"{rows(imported.revoked)} left labels/: a person named another class.")
    if imported.published:
        lines.append(f"{rows(imported.published)} came into labels/: answers have certified them.")
    lines += [f"Next: {clean(text)}" for text in imported.next]
    return "\n".join(lines) + "\n"


def _listed(text: str, sort: Listed) -> str:
    examples = f": {clean(', '.join(sort.examples))}" if sort.examples else ""
    more = ", ..." if sort.examples and sort.n > len(sort.examples) else ""
    return f"  {rows(sort.n)} {text}{examples}{more}"


def render_revoke(revoked: ReviewRevokeDocument) -> str:
    """Render the document of ``review revoke`` as text."""
    if not revoked.revoked:
        return (
            "\n".join([f"No label was taken back of {clean(revoked.output)}.", *_named(revoked)])
            + "\n"
        )
    lines = [
        f"{rows(revoked.revoked)} left labels/ and training/ of {clean(revoked.output)}, in "
        f"undecided/ now with the reason revoked; nothing was deleted. labels/ has "
        f"{rows(revoked.labels)} now."
    ]
    lines += _named(revoked)
    if revoked.trained_on:
        lines.append(
            f"  The model has learned from {count(revoked.trained_on)} of them, and is not "
            "refitted: run into another output to train without them."
        )
    return "\n".join(lines) + "\n"


def render_labels(written: LabelsDocument) -> str:
    """Render the document of ``labels`` as text."""
    columns = clean(", ".join(written.columns))
    return f"{rows(written.rows)} written to {clean(written.csv)}: {columns}.\n"


def _named(revoked: ReviewRevokeDocument) -> list[str]:
    lines = []
    if revoked.before:
        lines.append(f"  {rows(revoked.before)} had been revoked before.")
    if revoked.unknown.n:
        lines.append(_listed("without a published label", revoked.unknown))
    return lines


def review_lines(review: ReviewState | None) -> list[str]:
    """Return what status and report say of what people did."""
    if review is None:
        return []
    lines = [
        f"  {each.kind or 'answers to no export'}"
        + (f" {each.number}: {count(each.rows or 0)} asked," if each.number is not None else ":")
        + f" {count(each.answered)} answered"
        + (f", {count(each.skipped)} skipped" if each.skipped else "")
        for each in review.sets
    ]
    for step in review.steps:
        which = {
            "round": f"round {step.round}",
            "class": f"class {'' if step.label is None else clean(label_key(step.label))}",
            "ids": "by id",
            "answers": "answered otherwise",
        }.get(step.by, step.by)
        lines.append(f"  revoked, {which}: {rows(step.rows)}")
    if review.trained_on_revoked:
        lines.append(
            f"  the model has learned from {count(review.trained_on_revoked)} of the revoked rows"
        )
    if review.published:
        lines.append(f"  certified by answers: {rows(review.published)}")
    if review.certificate_holds is False:
        lines.append(
            "  the certificate no longer holds: it was about other rows than those that labels/ "
            "has now"
        )
    lines.append(f"  labels/ has {rows(review.labels)} now")
    return lines
