"""``report``: the report of a finished run, from the manifest of its end."""

from __future__ import annotations

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.generations import reported
from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.output.review.reports import current_document, with_review
from spark_pseudolabel.report.document import Report
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.generations import Generations
from spark_pseudolabel.store.store import RoundStore


def read_report(out: str, *, opened: Opened | None = None) -> Report:
    """Read the report of a finished run.

    Parameters
    ----------
    out
        The output.
    opened
        The same, if the caller has opened it.

    Raises
    ------
    InputError
        If there is no run, or it has no end.
    """
    files, root = opened or open_files(out)
    generations = Generations.read(files, root)
    if generations is not None and (ended := generations.ended) is not None:
        document = reported(generations, ended[0])
        return Report.model_validate(with_review(generations.store(1), document))
    store = RoundStore.open(files, root)
    if store.final is None:
        raise InputError(
            f"{out} must hold a finished run. It has {len(store.rounds)} committed rounds and no "
            "end: run the same configuration again to finish it.",
            code="not_finished",
            where=out,
        )
    return Report.model_validate(current_document(store))
