"""The last step of a run: commit its end with the report, and put the results in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.job.cluster_graph import forget_progress
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.summary import make_report
from spark_pseudolabel.job.views import build_views
from spark_pseudolabel.output.review.reports import put_reports, with_review
from spark_pseudolabel.output.state import is_committed
from spark_pseudolabel.report.document import Report
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.store.facts import RunCounts, StoredReport
from spark_pseudolabel.store.manifest import RunEnd
from spark_pseudolabel.store.store import RoundStore


def is_finished(store: RoundStore, end: Finish) -> bool:
    """Whether this end is committed and all that people read is in place."""
    return is_committed(store, end) and store.views_are_current()


MakeReport = Callable[[Run, Finish, float], Report]
"""Returns the document of ``report.json`` for a run that takes so many seconds."""


def finish(
    run: Run, end: Finish, elapsed_s: float, make_report: MakeReport = make_report
) -> Report:
    """Commit the end, build the results, return the report; harmless to repeat."""
    if not is_committed(run.store, end):
        with run.events.stage(end.n_iter, "report"), described(run.spark, "report"):
            report = make_report(run, end, elapsed_s)
        ended = RunEnd(
            termination_condition=end.reason,
            best_round=end.best_round,
            final_model=end.best_round + 1,
            counts=RunCounts.model_validate(dict(report.rows)),
            report=StoredReport.of(report.as_json()),
        )
        run.store.commit_final(run.store.new_attempt("final", end.n_iter), ended)
        run.events.event("stop", reason=end.reason, n_iter=end.n_iter, best_round=end.best_round)
        forget_progress(run.store)
    with described(run.spark, "results"):
        build_views(run, end)
    final = run.store.final
    assert final is not None
    document = write_reports(run.store, final.report.document)
    run.events.event("done", out=run.setting.config.output.path)
    return Report.model_validate(document)


def write_reports(store: RoundStore, report: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the report for people and machines, with what people did since; return it."""
    document = with_review(store, report)
    put_reports(store, document)
    return document
