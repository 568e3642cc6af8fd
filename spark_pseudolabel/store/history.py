"""The committed steps of a run, read from its manifests and checked link by link."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from spark_pseudolabel.store import layout
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.identity import StoredRun
from spark_pseudolabel.store.manifest import (
    FinalManifest,
    GraphManifest,
    Manifest,
    ModelManifest,
    Ref,
    RoundManifest,
    damaged,
    decode,
    sha256,
)
from spark_pseudolabel.store.review import ReviewManifest


@dataclass(frozen=True)
class History:
    """Committed models, rounds and ends of a run.

    Parameters
    ----------
    models, rounds
        In order; model r decides round r, so there are as many models as rounds or one more.
    finals
        By number; more than one if a raised maximum continued the run.
    refs
        Name and sha256 of every manifest of the chain model 1, round 1, model 2, ..., before which
        there may be a graph.
    graph
        What model 1 knows the rows by; None where there is none.
    reviews
        What people did after an end, in order.
    ends
        Name and sha256 of the ends, by number, and of the reviews behind them.
    """

    models: tuple[ModelManifest, ...] = ()
    rounds: tuple[RoundManifest, ...] = ()
    finals: tuple[FinalManifest, ...] = ()
    refs: tuple[Ref, ...] = ()
    graph: GraphManifest | None = None
    reviews: tuple[ReviewManifest, ...] = ()
    ends: tuple[Ref, ...] = ()

    @property
    def tip(self) -> Ref | None:
        """The last manifest of the chain."""
        return self.refs[-1] if self.refs else None

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """All manifests, models first."""
        graphs = () if self.graph is None else (self.graph,)
        return (*self.models, *graphs, *self.rounds, *self.finals, *self.reviews)

    def parent_of(self, kind: layout.CommitKind) -> Ref | None:
        """Return what the next manifest of a kind names as the one before it.

        A review follows the review before it, and the first one the end of the run.
        """
        return self.tip if kind != "review" else self.ends[-1] if self.ends else None

    def next_step(self) -> tuple[layout.CommitKind, int]:
        """Return kind and number of the manifest that continues the chain."""
        return _step(len(self.models) + len(self.rounds))

    def with_manifest(self, manifest: Manifest, digest: str) -> History:
        """Return this history and one more step."""
        ended = Ref(
            name=layout.commit_name(cast(layout.CommitKind, manifest.kind), manifest.number),
            sha256=digest,
        )
        if isinstance(manifest, FinalManifest):
            finals = sorted((*self.finals, manifest), key=lambda final: final.number)
            # The end of a run that went on after a review is no review's parent.
            ends = (ended, *self.ends) if self.reviews else (*self.ends, ended)
            return replace(self, finals=tuple(finals), ends=ends)
        if isinstance(manifest, ReviewManifest):
            return replace(self, reviews=(*self.reviews, manifest), ends=(*self.ends, ended))
        if isinstance(manifest, GraphManifest):
            ref = Ref(name=layout.commit_name("graph", manifest.number), sha256=digest)
            return replace(self, refs=(*self.refs, ref), graph=manifest)
        kind, number = self.next_step()
        refs = (*self.refs, Ref(name=layout.commit_name(kind, number), sha256=digest))
        if isinstance(manifest, ModelManifest):
            return replace(self, refs=refs, models=(*self.models, manifest))
        assert isinstance(manifest, RoundManifest)
        return replace(self, refs=refs, rounds=(*self.rounds, manifest))


def read_history(files: Files, root: str, run: StoredRun) -> History:
    """Read the manifests of a run in order, up to the first that does not exist yet.

    Raises
    ------
    StoredStateError
        If a manifest is damaged, of another run, does not follow the one before it, or stands
        behind a gap.
    """
    folder = join(root, layout.commits_dir(run.layout.run_id))
    names = {name for name in files.names(folder) if layout.parse_commit_name(name)}
    history = History()
    first = layout.commit_name("graph", 1)
    if first in names:
        history = _extend(history, files, join(folder, first), GraphManifest, run, 1)
        names.discard(first)
    for kind, number in _steps():
        name = layout.commit_name(kind, number)
        if name not in names:
            break
        cls = ModelManifest if kind == "model" else RoundManifest
        history = _extend(history, files, join(folder, name), cls, run, number)
        names.discard(name)
    _refuse_gap(history, folder, names)
    for number in _numbers(names, "final"):
        name = layout.commit_name("final", number)
        history = _extend(history, files, join(folder, name), FinalManifest, run, number)
    for place, number in enumerate(_numbers(names, "review"), 1):
        if number != place:
            gap = join(folder, layout.commit_name("review", place))
            raise damaged(gap, f"is missing, although review {number} exists")
        name = layout.commit_name("review", number)
        history = _extend(history, files, join(folder, name), ReviewManifest, run, number)
    return history


def _numbers(names: set[str], kind: layout.CommitKind) -> list[int]:
    parsed = [layout.parse_commit_name(name) for name in names]
    return sorted(each[1] for each in parsed if each is not None and each[0] == kind)


def _refuse_gap(history: History, folder: str, names: set[str]) -> None:
    after = ("final-", "review-")
    behind = sorted(name for name in names if not name.startswith(after))
    if behind:
        gap = join(folder, layout.commit_name(*history.next_step()))
        raise damaged(gap, f"is missing, although {behind[0]} exists")


def _steps() -> Iterator[tuple[layout.CommitKind, int]]:
    position = 0
    while True:
        yield _step(position)
        position += 1


def _step(position: int) -> tuple[layout.CommitKind, int]:
    return ("round" if position % 2 else "model"), position // 2 + 1


def _extend(
    history: History,
    files: Files,
    where: str,
    cls: type[Manifest],
    run: StoredRun,
    number: int,
) -> History:
    data = files.read(where)
    manifest = decode(data, cls, where)
    _check_belongs(manifest, run, number, where)
    _check_follows(manifest, history, where)
    return history.with_manifest(manifest, sha256(data))


def _check_belongs(manifest: Manifest, run: StoredRun, number: int, where: str) -> None:
    expected = {
        "number": number,
        "output_id": run.layout.output_id,
        "run_id": run.layout.run_id,
        "config_sha256": run.layout.config_sha256,
        "inputs_sha256": run.layout.inputs_sha256,
    }
    for key, value in expected.items():
        actual = getattr(manifest, key)
        if actual != value:
            raise damaged(where, f"is not of this run: {key} must be {value!r}, is {actual!r}")


def _check_follows(manifest: Manifest, history: History, where: str) -> None:
    if isinstance(manifest, FinalManifest):
        _check_final(manifest, history, where)
    elif isinstance(manifest, ReviewManifest):
        _check_review(manifest, history, where)
    elif manifest.prev != history.tip:
        raise damaged(
            where,
            f"does not follow the manifest before it: expected parent {_name(history.tip)}, "
            f"found {_name(manifest.prev)}",
        )


def _check_final(manifest: FinalManifest, history: History, where: str) -> None:
    if manifest.prev not in history.refs:
        raise damaged(where, f"names a parent that is not in this run: {_name(manifest.prev)}")
    if manifest.number > len(history.rounds) or manifest.final_model > len(history.models):
        raise damaged(
            where,
            f"needs {manifest.number} rounds and model {manifest.final_model}; there are "
            f"{len(history.rounds)} rounds and {len(history.models)} models",
        )


def _check_review(manifest: ReviewManifest, history: History, where: str) -> None:
    # The first one may stand behind an end that was the latest one then.
    known = history.ends if not history.reviews else history.ends[-1:]
    if manifest.prev not in known:
        raise damaged(
            where,
            f"does not follow the manifest before it: expected parent {_name(history.ends[-1])}, "
            f"found {_name(manifest.prev)}"
            if history.ends
            else "follows the end of a run, and there is none",
        )


def _name(ref: Ref | None) -> str:
    return f"{ref.name} ({ref.sha256[:12]})" if ref else "none"
