"""Whether there is anything left to do, found out without starting Spark."""

from __future__ import annotations

from collections.abc import Sequence

from spark_pseudolabel.config import Config, identity
from spark_pseudolabel.config.sections import Table
from spark_pseudolabel.core.rounds import Finish, LoopLimits, ModelFacts, RoundFacts, next_step
from spark_pseudolabel.core.trust.metrics import Metrics
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.formats import is_hidden
from spark_pseudolabel.output.review.reports import current_document
from spark_pseudolabel.report.document import Report
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import scheme_of
from spark_pseudolabel.store.following import follow
from spark_pseudolabel.store.identity import differences
from spark_pseudolabel.store.inputs import FrozenInputs, SeenFile
from spark_pseudolabel.store.lease import hold
from spark_pseudolabel.store.manifest import normalized
from spark_pseudolabel.store.snapshots import Snapshots
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.verify import report_problems


def report_if_finished(config: Config) -> Report | None:
    """Return the report of a run that is finished, its inputs as they were; else None.

    None also wherever that can't be decided from listings of files alone: then the run itself finds
    out, with Spark.

    Raises
    ------
    StoredStateError
        If what is stored in the output is damaged.
    """
    if scheme_of(config.output.path) not in ("", "file"):
        return None
    store = _opened(config)
    if store is None or store.final is None:
        return None
    same = not any(differences(store.identity, normalized(identity(config))))
    if not same or not _inputs_are_as_seen(config, store.inputs):
        return None
    for manifest in store.history.manifests:
        store.check_files(manifest)
    if not has_ended(store, config):
        return None
    if store.reviews and not store.views_are_current():
        with hold(store.files, store.root, owner="run"):
            follow(store)
    if not store.views_are_current():
        return None
    if any(report_problems(store, store.final.report.document)):
        return None
    snapshots = Snapshots(store.files, store.root)
    if config.unlabeled.snapshot != "keep" and snapshots.left:
        # The start that ended the run was killed before it came to that.
        with hold(store.files, store.root, owner="run"):
            snapshots.delete()
    return Report.model_validate(current_document(store))


def has_ended(store: RoundStore, config: Config) -> bool:
    """Whether the end that a configuration asks for is committed."""
    end = next_step(
        model_facts(store),
        round_facts(store),
        limits_of(config, _pool_rows(store)),
        has_graph=store.graph is not None,
    )
    return is_committed(store, end)


def limits_of(config: Config, pool_rows: int) -> LoopLimits:
    """Return how a configuration bounds the loop."""
    return LoopLimits(
        max_rounds=config.rounds.max,
        pool=pool_rows,
        # Of a teacher's one round the labels are its own, whichever model is the better one.
        keep_best=config.selection.grows and not config.one_round,
        like_sklearn=config.mode == "sklearn",
        stop_on_shift=config.shift is not None and config.shift.action == "stop",
        needs_graph=config.teacher is not None and config.teacher.transductive,
    )


def model_facts(store: RoundStore) -> list[ModelFacts]:
    """Return what the loop needs to know of the committed models."""
    return [
        ModelFacts(
            manifest.number,
            accuracy=None if manifest.validation is None else manifest.validation.accuracy,
            log_loss=None if manifest.validation is None else manifest.validation.log_loss,
            error=_error(manifest.validation),
            dropped=manifest.training.dropped,
            shifted=manifest.training.shift is not None and manifest.training.shift.shifted,
        )
        for manifest in store.models
    ]


def _error(validation: Metrics | None) -> float | None:
    """Return the mean absolute error, where labels are numbers."""
    numbers = None if validation is None else validation.numbers
    return None if numbers is None else numbers.mae


def round_facts(store: RoundStore) -> list[RoundFacts]:
    """Return what the loop needs to know of the committed rounds."""
    return [
        RoundFacts(
            manifest.number,
            accepted=manifest.counts.accepted,
            left=manifest.counts.left,
            changed=manifest.counts.changed,
            certified=None if manifest.certificate is None else manifest.certificate.claimed,
        )
        for manifest in store.rounds
    ]


def is_committed(store: RoundStore, end: object) -> bool:
    """Whether a run has ended, and why."""
    final = store.final
    return (
        isinstance(end, Finish)
        and final is not None
        and (final.number, final.best_round) == (end.n_iter, end.best_round)
    )


def _opened(config: Config) -> RoundStore | None:
    files, root = open_files(config.output.path)
    try:
        return RoundStore.open(files, root)
    except InputError:  # there is none
        return None


def _inputs_are_as_seen(config: Config, inputs: FrozenInputs) -> bool:
    """Whether the files of all tables are those that the run has listed.

    A table that keeps a log is read in the version that is pinned, whatever has come since.
    """
    seen = inputs.seen
    of_labeled = config.unlabeled.from_ == "labeled"
    sections: dict[str, Table | None] = {
        "labeled": config.labeled,
        "unlabeled": None if of_labeled else config.unlabeled,
        "validation": config.validation if config.validation.is_table else None,
        "test": config.test,
    }
    used = {name: section for name, section in sections.items() if section is not None}
    if set(seen) != set(used):
        return False
    return all(
        name in inputs.pinned or _is_as_seen(section.path, seen[name])
        for name, section in used.items()
    )


def _is_as_seen(path: str | None, seen: Sequence[SeenFile]) -> bool:
    if path is None or scheme_of(path) not in ("", "file"):
        return False
    files, root = open_files(path)
    listed = [info for info in files.list(root) if not is_hidden(info.path)]
    return bool(listed) and tuple(map(SeenFile.of, listed)) == seen


def _pool_rows(store: RoundStore) -> int:
    return store.inputs.unlabeled.rows
