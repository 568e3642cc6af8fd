"""What people did with a finished run, as commits after its end.

Rows that were asked about, answers, labels taken back and labels that answers have certified: each
is a manifest of its own, which names the one before it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spark_pseudolabel.store.facts import Fact, Frozen, Label, Sha256, Size
from spark_pseudolabel.store.manifest import FileEntry, FileList, Manifest

Kind = Annotated[str, Field(pattern=r"^[a-z]{1,32}$")]
"""What rows are asked for, as ``queue``; the kinds are files of ``output/review/kinds``."""

ORDER = "spl_order"
SKIPPED = "spl_skipped"
"""Columns of asked and answered rows: a row's place in its set, and that no class was named."""


class Stratum(Fact):
    """Labels that an audit is about.

    Parameters
    ----------
    code
        The class that they are of, as an index; None: of all.
    rows
        How many there are.
    """

    code: int | None = None
    rows: Size


class AuditTerms(Fact):
    """What an audit was before its first answer.

    Parameters
    ----------
    audit
        Which one of the output it is, from 1: decides its error level.
    a, b
        Of the prior on the number of wrong labels, a beta-binomial law.
    delta
        Its error level, shared by its strata.
    precision
        The share of right labels that is to be shown.
    labels, after
        A name of the labels that are judged, and how many reviews there had been.
    strata
        The labels that are judged by themselves.
    """

    audit: Annotated[int, Field(ge=1)]
    a: float
    b: float
    delta: Annotated[float, Field(gt=0, lt=1)]
    precision: float
    labels: Sha256
    after: Size
    strata: tuple[Stratum, ...]

    @property
    def rows(self) -> int:
        """How many labels are judged."""
        return sum(stratum.rows for stratum in self.strata)


class CutTerms(Fact):
    """A cut to be tested.

    Parameters
    ----------
    bin, rows
        Scored rows of this confidence bin and above, and how many there are.
    expected
        The share of errors that labeled rows show.
    """

    bin: Size
    rows: Size
    expected: float | None = None


class CertifyTerms(Fact):
    """What is to be certified, settled before the first answer.

    Parameters
    ----------
    precision, risk
        Share of right labels, and the probability that it is not reached.
    round, end
        Whose scored rows are asked about, and the end of the run that they are of.
    pool
        How many there are.
    cuts
        In the order in which they are tested.
    """

    precision: float
    risk: Annotated[float, Field(gt=0, lt=1)]
    round: Annotated[int, Field(ge=1)]
    end: str
    pool: Size
    cuts: tuple[CutTerms, ...]


class Exported(Fact):
    """Rows that a person was asked about.

    Parameters
    ----------
    kind
        Why they are asked.
    number
        Which set of its kind it is, from 1; one that grows keeps its number.
    set
        Identifies the set: answers name it.
    seed
        ``random_state``, from which the order follows.
    asked
        Parquet: their keys in the order in which they are asked, and that order as `ORDER`.
    wanted
        How many were asked for.
    audit, certify
        What was settled before the first answer; None for other kinds.
    """

    kind: Kind
    number: Annotated[int, Field(ge=1)]
    set: Sha256
    seed: int
    asked: FileEntry
    wanted: Size
    audit: AuditTerms | None = None
    certify: CertifyTerms | None = None

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.asked.rows


class Answered(Fact):
    """Answers that were read back.

    Parameters
    ----------
    kind, set
        Of the rows; None for answers to no exported set.
    answers
        Parquet: keys, `ORDER` (null where no set was exported), the class as an index, `SKIPPED`.
    skipped
        Rows that a person looked at and named no class for.
    changed
        Rows among them that an earlier import answered otherwise; the later answer counts.
    conflicts, unknown_ids, unknown_classes
        Answers that were not taken, counted.
    """

    kind: Kind | None = None
    set: Sha256 | None = None
    answers: FileEntry
    skipped: Size = 0
    changed: Size = 0
    conflicts: Size = 0
    unknown_ids: Size = 0
    unknown_classes: Size = 0


class Revoked(Fact):
    """Labels that were taken back.

    Parameters
    ----------
    by
        ``round`` or ``class``: all of one; ``ids``: of a list; ``answers``: a person named another
        class.
    round, label
        Which, where it is one.
    rows
        Parquet: keys, label, confidence and round of each row as it stood in ``OUT/labels``.
    trained_on, model
        How many of them the final model was trained on, and which that was; None in commits of
        versions that did not say it.
    """

    by: Literal["round", "class", "ids", "answers"]
    round: int | None = None
    label: Label | None = None
    rows: FileEntry
    trained_on: Size = 0
    model: Annotated[int, Field(ge=1)] | None = None

    @property
    def n_rows(self) -> int:
        """How many rows lost their label."""
        return self.rows.rows


class PublishedRows(Fact):
    """Labels that answers have certified, after the end of the run.

    Parameters
    ----------
    files
        Parquet files with the columns of ``OUT/labels``.
    set
        The exported set whose answers certify them.
    round, cut
        They are the scored rows of this round with this confidence and above.
    precision, certainty
        What answers have shown of all these rows.
    rows, coverage
        How many these are, and their share of the scored rows.
    answers
        How many there were.
    """

    files: FileList
    set: Sha256 | None = None
    round: int | None = None
    cut: float | None = None
    precision: float | None = None
    certainty: float | None = None
    rows: Size = 0
    coverage: float = 0.0
    answers: Size = 0

    @property
    def n_rows(self) -> int:
        """How many rows got a label."""
        return sum(entry.rows for entry in self.files)


class ReviewStep(Frozen):
    """What is to be said about one thing that people did.

    Parameters
    ----------
    exported, answered, revoked, published
        What it was; a step may be several at once: an answer may take a label back.
    """

    exported: Exported | None = None
    answered: tuple[Answered, ...] = ()
    revoked: tuple[Revoked, ...] = ()
    published: PublishedRows | None = None

    @property
    def changes_labels(self) -> bool:
        """Whether ``OUT/labels`` holds other rows after it."""
        return bool(self.revoked) or self.published is not None

    @property
    def change_of_labels(self) -> int:
        """How many labels more there are after it; fewer are negative."""
        more = 0 if self.published is None else self.published.n_rows
        return more - sum(step.n_rows for step in self.revoked)

    def entries(self) -> tuple[FileEntry, ...]:
        """Return its files."""
        own = [] if self.exported is None else [self.exported.asked]
        more = () if self.published is None else self.published.files
        return (
            *own,
            *(step.answers for step in self.answered),
            *(step.rows for step in self.revoked),
            *more,
        )


class ReviewManifest(Manifest, ReviewStep):
    """From here on it is settled that people did this."""

    kind: Literal["review"] = "review"

    def listed_files(self) -> tuple[tuple[str, int], ...]:
        return tuple((entry.path, entry.bytes) for entry in self.entries())
