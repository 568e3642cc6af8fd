"""The reports of a run's end, and what people did since, put in place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from spark_pseudolabel.output.generations import reported
from spark_pseudolabel.output.review.audits import audits, certified
from spark_pseudolabel.output.review.state import review_state
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.store.facts import Json
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.generations import Generations
from spark_pseudolabel.store.layout import REPORT_HTML, REPORT_JSON
from spark_pseudolabel.store.store import RoundStore


def with_review(store: RoundStore, report: Mapping[str, Any]) -> Json:
    """Return a report and what people did since; `store` is of any generation of the output."""
    generations = Generations.read(store.files, store.root)
    ended = None if generations is None else generations.ended
    accepted = None if ended is None else ended[0].sums.accepted
    first = first_of(store)
    state = review_state(first, accepted)
    if state is None:
        return dict(report)
    said = {
        "audits": [each.as_json() for each in audits(first)],
        "certified": [each.as_json() for each in certified(first)],
    }
    told = {name: found for name, found in said.items() if found}
    return {**report, "review": state.as_json(), **told}


def first_of(store: RoundStore) -> RoundStore:
    """Return the memory that holds what people did: that of the first generation's run."""
    return store if store.generation == 1 else RoundStore.open(store.files, store.root)


def current_document(store: RoundStore) -> Json:
    """Return the report of the latest end as it was written, and what people did since."""
    assert store.final is not None
    generations = Generations.read(store.files, store.root)
    ended = None if generations is None else generations.ended
    if generations is None or ended is None:
        return with_review(store, store.final.report.document)
    return with_review(store, reported(generations, ended[0]))


def write_reports(store: RoundStore, *, page: bool = True) -> None:
    """Put ``report.html`` and ``report.json`` in place, as all commits have it.

    Parameters
    ----------
    store
        The run, which has an end.
    page
        Whether the page is drawn anew, too: what was asked is not on it.
    """
    put_reports(store, current_document(store), page=page)


def put_reports(store: RoundStore, document: Mapping[str, Any], *, page: bool = True) -> None:
    """Put reports in place, unless they are there."""
    text = (json.dumps(document, indent=2) + "\n").encode()
    with contextlib.suppress(FileNotFoundError):
        page_is_there = store.files.exists(join(store.root, REPORT_HTML))
        if page_is_there and store.files.read(join(store.root, REPORT_JSON)) == text:
            return
    # The document last: where it is that of the run's end, nothing is left to do.
    if page:
        store.write_report(REPORT_HTML, render_html(document).encode())
    store.write_report(REPORT_JSON, text)
