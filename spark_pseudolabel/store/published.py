"""Whether published tables hold what every generation of an output has put there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.formats import is_hidden
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.generations import GenerationFacts, Generations
from spark_pseudolabel.store.problem import Problem
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.views import ViewFile, differences, marker_in


def require_published(store: RoundStore, out: str, names: Iterable[str]) -> None:
    """Refuse tables that lack rows: what is asked of them would be answered wrongly.

    Parameters
    ----------
    store
        The run, the first of several generations.
    out
        The output, as the user named it.
    names
        Tables of `layout.ADDED_VIEWS`.

    Raises
    ------
    StoredStateError
        If one is not as the run, its generations and reviews have left it.
    """
    for name in names:
        problems = [*store.view_problems(name), *_of_later_ones(store, name)]
        if problems:
            raise StoredStateError(
                f"{out}/{name} must be as the run and reviews left it. {problems[0].path} "
                f"{problems[0].problem.partition(';')[0]}. Run the same configuration again to "
                "rebuild it.",
                code="table_not_whole",
                where=join(out, name),
            )


def _of_later_ones(store: RoundStore, name: str) -> list[Problem]:
    generations = Generations.read(store.files, store.root)
    return [] if generations is None else added_problems(generations, name)


def added_problems(generations: Generations, name: str) -> list[Problem]:
    """Return what is wrong with the rows that later generations have added to a table.

    One listing, and a marker for each generation: no manifest is read.
    """
    files, folder = generations.files, join(generations.root, name)
    found: dict[int, list[ViewFile]] = {}
    for info in files.list(folder):
        if not is_hidden(info.path):
            of = layout.generation_of(info.path)
            found.setdefault(of, []).append(ViewFile(path=info.path, bytes=info.bytes))
    problems = []
    for number in generations.numbers:
        if not has_labeled(generations, number):
            continue
        marker = marker_in(files, folder, number)
        if marker is None:
            problems.append(Problem(name, f"lacks the rows of generation {number}"))
        else:
            problems += differences(name, marker.files, found.get(number, ()))
    return problems


def lost_generations(generations: Generations) -> list[int]:
    """Return the generations that have ended and whose rows some table lacks.

    Told from names alone, so that looking costs a listing of each table, however many generations
    there are: one beyond the first is asked more closely only where its marker is not there,
    or none of the files that the latest end says it has.
    """
    lost: set[int] = set()
    has_rows = _Expected.of(generations)
    for name in layout.ADDED_VIEWS:
        folder = join(generations.root, name)
        names = set(generations.files.names(folder))
        with_rows = {layout.generation_of(each) for each in names if not is_hidden(each)}
        for number in (1, *generations.numbers):
            is_marked = layout.view_marker(number) in names
            is_there = number in with_rows or not has_rows.expected(name, number)
            # To the first one's rows reviews add files, which stay when its own are lost.
            if is_marked and is_there and number > 1:
                continue
            marker = marker_in(generations.files, folder, number)
            if marker is not None and {file.path for file in marker.files} <= names:
                continue
            if has_labeled(generations, number):
                lost.add(number)
    return sorted(lost)


@dataclass(frozen=True)
class _Expected:
    """What the latest end tells of the rows that generations have in the tables."""

    latest: Mapping[int, GenerationFacts]

    @classmethod
    def of(cls, generations: Generations) -> _Expected:
        ended = generations.ended
        latest = () if ended is None else ended[0].latest
        return cls({facts.generation: facts for facts in latest})

    def expected(self, name: str, number: int) -> bool:
        """Whether a generation must have a file; of an old one only labels are looked for."""
        if number == 1:
            return True  # at least one, with the schema
        facts = self.latest.get(number)
        if facts is None:
            return name == "labels"
        rows = {
            "labels": facts.accepted,
            "undecided": facts.rejected + facts.abstained,
            "invalid": facts.invalid,
        }
        return rows[name] > 0


def has_labeled(generations: Generations, number: int) -> bool:
    """Whether a generation has ended, and its rows are in the tables."""
    ended = generations.end(number)
    return ended is not None and ended[0].facts.outcome == "labeled"
