"""What is found out about models, rows and labels, as values that are written once.

Plain fields without arithmetic: whoever reads them from a manifest needs no scientific library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from spark_pseudolabel.core.feature import Feature

Outlook = Literal["labels", "model", "pool", "unclear"]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same validation rows (the discordant pairs of McNemar's exact test).

    Parameters
    ----------
    model
        Number of the earlier model that the new one is compared with.
    worse
        Rows that the earlier model had right and the new one has wrong.
    better
        Rows the other way round.
    dropped
        Whether the new model is worse, beyond chance.
    usable
        Whether a student may take its teacher's place: it is right more often, surely.
    refused
        ``"worse"`` where it may not and did not.
    """

    model: int
    worse: int
    better: int
    dropped: bool
    usable: bool
    refused: Literal["worse"] | None = None


@dataclass(frozen=True)
class LossComparison:
    """Two models on the same rows, which neither of them was trained on.

    Parameters
    ----------
    n
        Rows.
    best, new
        Mean log loss of the best model so far, and of the new one.
    standard_error
        Of the mean difference.
    squared
        By how many standard errors the new model's squared error (Brier's score) is lower.
    worse, better
        Rows that only the best model so far has right, and rows that only the new one has.
    z
        How many standard errors the new loss lies above the best one; positive is worse.
    improved
        Whether the loss is lower at all.
    usable
        Whether the new model may be the final one.
    dropped
        Whether the round is discarded; by default, where it has not improved.
    model
        Number of the best model so far.
    refused
        ``"worse"`` where it may not be the final one and is not.
    """

    n: int
    best: float
    new: float
    standard_error: float
    squared: float
    worse: int
    better: int
    z: float
    improved: bool
    usable: bool
    dropped: bool
    model: int = 1
    refused: Literal["worse"] | None = None


@dataclass(frozen=True)
class ErrorComparison:
    """Two models of numbers on the same rows, which neither of them was trained on.

    Parameters
    ----------
    n
        Rows.
    best, new
        Mean absolute error of the best model so far, and of the new one.
    standard_error
        Of the mean difference.
    p_worse, p_better
        Probability of so much a larger, or smaller, mean error of the new model if both were
        equally good (paired t test).
    usable
        Whether the new model may be the final one: its error is smaller, surely.
    dropped
        Whether it is larger, beyond chance.
    model
        Number of the best model so far.
    refused
        ``"worse"`` where it may not be the final one and is not.
    """

    n: int
    best: float
    new: float
    standard_error: float
    p_worse: float
    p_better: float
    usable: bool
    dropped: bool
    model: int = 1
    refused: Literal["worse"] | None = None


@dataclass(frozen=True)
class NotCompared:
    """A student that was not fitted.

    Parameters
    ----------
    model
        Number of its teacher.
    refused
        ``"unmeasured"``: no label has two rows to measure it on. ``"shift"``: the pool is unlike
        the labeled rows. ``"class_missing"``: a label has no row to learn from.
    dropped
        Whether the round is discarded.
    """

    model: int
    refused: Literal["unmeasured", "shift", "class_missing"]
    dropped: bool = False


Compared = Comparison | LossComparison | ErrorComparison | NotCompared
"""A model against the best one before it."""


@dataclass(frozen=True)
class Reliability:
    """Confidence against the share of right labels.

    Parameters
    ----------
    n, confidence, accuracy
        Per bin of equal width over [0, 1]: rows, their mean confidence and their share of right
        labels; None where a bin is empty.
    ece
        Expected calibration error: the mean distance of the two, weighted by rows; None without
        rows.
    """

    n: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    ece: float | None


@dataclass(frozen=True)
class Mistakes:
    """What a model says of rows with true labels that it was not trained on.

    Parameters
    ----------
    source
        Which rows these are: labeled ones out of fold, or the validation rows.
    n, right
        Per bin of equal width over [0, 1], the lowest confidence first: rows to which the model
        gives a class, and those of them to which it gives the right one.
    by_code
        Rows by true class, those included that it gives no class.
    pairs
        True class, predicted class and rows of the commonest mistakes, the most common first.
    """

    source: Literal["oof", "validation"]
    n: tuple[int, ...]
    right: tuple[int, ...]
    by_code: tuple[int, ...]
    pairs: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class ErrorsAtConfidence:
    """Errors of rows of about one confidence, where labels are numbers.

    Parameters
    ----------
    low
        Their confidence is at least that, and below the next tenth.
    rows
        How many they are.
    confidence
        Their mean confidence.
    right
        Numbers within the tolerance.
    mae
        Mean absolute error.
    covered
        True numbers within the published bounds.
    width
        Mean width of these.
    """

    low: float
    rows: int
    confidence: float
    right: int
    mae: float
    covered: int
    width: float


@dataclass(frozen=True)
class ErrorsAtNumber:
    """Predicted and true numbers of rows of about one predicted number.

    Parameters
    ----------
    rows
        How many they are.
    predicted, true
        Means.
    lowest, highest
        Between them are eight in ten of the true numbers.
    """

    rows: int
    predicted: float
    true: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Residuals:
    """Errors of a model of numbers on rows with true ones that it was not trained on.

    Parameters
    ----------
    source
        Which rows these are: labeled ones out of fold, or the validation rows.
    by_confidence
        From the lowest tenth with a row to the highest.
    by_number
        From the lowest predicted numbers to the highest, in parts of equally many rows.
    """

    source: Literal["oof", "validation"]
    by_confidence: tuple[ErrorsAtConfidence, ...]
    by_number: tuple[ErrorsAtNumber, ...]


@dataclass(frozen=True)
class MeasuredShift:
    """How labeled rows and pool differ, in short.

    Parameters
    ----------
    auc
        How well a model tells labeled rows from pool rows, out of fold; 0.5 is not at all.
    auc_limit
        What chance and a harmless difference explain.
    outside
        Share of pool rows farther from any labeled row than labeled rows are from each other.
    shifted
        Whether the labeled rows do not stand for the pool.
    """

    auc: float
    auc_limit: float
    outside: float
    shifted: bool


@dataclass(frozen=True, kw_only=True)
class Representativeness(MeasuredShift):
    """How the labeled rows differ from a sample of the pool.

    Parameters
    ----------
    auc, auc_limit, outside, shifted
        As of :class:`MeasuredShift`.
    n_labeled, n_pool
        Rows compared.
    psi
        Population stability index by column; above 0.25 is usually called a large shift.
    unseen
        Share of pool rows whose category no labeled row has, by column.
    outside_by_chance
        Whether so large a share outside may be chance, as it often is with few labeled rows.
    inside
        The same of the rows that are not withheld; None: none is, or they need not be asked.
    """

    n_labeled: int
    n_pool: int
    psi: Mapping[str, float]
    unseen: Mapping[str, float]
    outside_by_chance: bool
    inside: MeasuredShift | None = None

    @property
    def short(self) -> MeasuredShift:
        """What a certificate repeats of it."""
        return MeasuredShift(self.auc, self.auc_limit, self.outside, self.shifted)


@dataclass(frozen=True)
class PriorShift:
    """Whether the model predicts other class shares on the pool than on the labeled rows.

    Parameters
    ----------
    labeled, pool
        Shares of the predicted classes, out of fold on the labeled rows.
    p_value
        Of the chi-square test that both are samples of one distribution.
    even
        Whether the given labels are as even as in a class-balanced sample.
    drawn_per_class
        Whether they look like a class-balanced sample of a pool that is not balanced, or, where the
        pool's shares are given, whether these look false: certificates and comparisons on such
        rows do not speak about the pool.
    """

    labeled: tuple[float, ...]
    pool: tuple[float, ...]
    p_value: float
    even: bool
    drawn_per_class: bool


@dataclass(frozen=True)
class Claim:
    """What can be said about the rows predicted as some classes.

    Parameters
    ----------
    codes
        Class indices that the claim is about.
    cut
        Rows at or above this confidence are published; None claims nothing.
    n, wrong
        Calibration rows at or above the cut, and how many of them are wrong, rows that are the
        only one of their label included; of the strictest cut that was tried where nothing is
        claimed. Copies count once, and so do rows of one group.
    p_value
        Probability of at most `wrong` errors if the published rows were just below the promised
        precision, see :func:`~spark_pseudolabel.core.trust.finite_population.p_value`.
    level
        What the p-value must not exceed.
    bound
        Lower bound, at that level, of the share of right labels among the published rows.
    rows
        Pool rows at or above the cut.
    more_labels
        Estimate of the labeled rows still missing where nothing is claimed and ``outlook`` is
        ``"labels"``; else None.
    outlook
        What a claim takes. ``"labels"``: more of them; errors seem rare enough. ``"model"``: a
        better one, since errors are too frequent at every cut. ``"pool"``: a larger one, since
        chance alone breaks the promise in so few rows. ``"unclear"``: too few rows were tested
        to tell. None where something is claimed, or refused.
    """

    codes: tuple[int, ...]
    cut: float | None
    n: int
    wrong: int
    p_value: float
    level: float
    bound: float
    rows: int
    more_labels: int | None
    outlook: Outlook | None = None


@dataclass(frozen=True)
class BandPoint:
    """A lower bound of the share of right labels, one of many that hold together.

    Parameters
    ----------
    share, rows
        Which part of the pool it is about, its most confident rows, and how many these are.
    lower
        The bound.
    cut
        The confidence of the least confident of them, to the thousandth.
    """

    share: float
    rows: int
    lower: float
    cut: float


@dataclass(frozen=True)
class LadderStep:
    """A precision that might be promised.

    Parameters
    ----------
    precision
        Share of right labels.
    rows, share
        Pool rows for which the band shows it, and their share of the pool.
    certified
        Whether these are enough of the pool.
    more_labels, outlook
        What it takes where it can't be shown, as of :class:`Claim`.
    """

    precision: float
    rows: int
    share: float
    certified: bool
    more_labels: int | None = None
    outlook: Outlook | None = None


@dataclass(frozen=True)
class MissingLabels:
    """What a class takes to be shown by itself, whatever the claims are about.

    Parameters
    ----------
    code
        Its index.
    n, wrong
        Calibration rows predicted as it, and how many of them are wrong.
    more_labels, outlook
        As of :class:`Claim`; both None where it could be shown now.
    """

    code: int
    n: int
    wrong: int
    more_labels: int | None
    outlook: Outlook | None


@dataclass(frozen=True)
class Instead:
    """A promise that can be kept where the one that was asked for can't.

    Parameters
    ----------
    precision, rows
        A step of the ladder, and the rows for which the band shows it.
    given
        Whether a run that is given this precision publishes at least as many. It tests cuts one
        after the other, and may fail early where the band does not; a run that is asked for the
        best precision publishes these rows.
    """

    precision: float
    rows: int
    given: bool


@dataclass(frozen=True)
class ClassResult:
    """What was found of the rows that are published as one class.

    Parameters
    ----------
    code
        Its index.
    n, wrong
        Calibration rows predicted as it above its cut, and how many of them are wrong.
    lower, upper
        Bounds of the share of right labels among its published rows, each holding with the
        promised certainty by itself; 0 and 1 where nothing is known.
    published
        Its published rows.
    """

    code: int
    n: int
    wrong: int
    lower: float
    upper: float
    published: int


@dataclass(frozen=True)
class TeacherMember:
    """One of the models that a teacher is made of.

    Parameters
    ----------
    name
        What a configuration calls it.
    weight
        Its share of the vote, the mean over the folds.
    coverage
        Share of the labeled rows to which it gives a class, out of fold; None without such scores.
    accuracy
        Share of right ones among these classes; None where there are none.
    """

    name: str
    weight: float
    coverage: float | None
    accuracy: float | None


@dataclass(frozen=True)
class TeacherFacts:
    """Who made the first model.

    Parameters
    ----------
    kind
        As section ``teacher`` names it.
    parameters
        Its settings as they were used: rows may allow less than was asked for.
    members
        At least one.
    """

    kind: str
    parameters: Mapping[str, bool | int | float | str]
    members: tuple[TeacherMember, ...]


@dataclass(frozen=True)
class ReferenceRows:
    """The pool rows that preprocessing was learned from.

    Parameters
    ----------
    pool_rows
        How many.
    sha256
        Of these, as they were drawn.
    """

    pool_rows: int
    sha256: str


@dataclass(frozen=True)
class RuleFacts:
    """A rule among all of a teacher.

    Parameters
    ----------
    name, label
        Of the rule, and what it votes for.
    weight
        How much its vote says, as a share of all rules' weights.
    coverage
        Share of the pool's rows that it votes on.
    overlap, conflict
        Share of these that another rule votes on, too, and that another one gives another label.
    estimated
        How probably its vote is right, by the label model; None without a vote.
    measured
        Share of its votes on labeled rows that are right; None without any.
    n_measured
        Labeled rows that it votes on.
    """

    name: str
    label: str | int | bool
    weight: float
    coverage: float
    overlap: float
    conflict: float
    estimated: float | None
    measured: float | None
    n_measured: int


@dataclass(frozen=True)
class DependentRules:
    """Two rules that vote together more or less often than classes explain.

    Parameters
    ----------
    rules
        Their names.
    rows
        Rows that both vote on.
    expected
        How many these would be.
    correlation
        Of their votes within classes, in [-1, 1].
    """

    rules: tuple[str, str]
    rows: int
    expected: float
    correlation: float


@dataclass(frozen=True)
class RulesFound:
    """What is known of rules once their label model is fitted.

    Parameters
    ----------
    method
        ``"em"``: a label model; ``"majority"``: the majority vote.
    why
        Why it is the majority vote; None where it is not.
    rows
        Rows of the pool that this was found on: all that can be read, or a sample of them.
    prior
        Estimated or given share of each class, by its index.
    rules
        In their order.
    dependent
        Pairs, the most correlated first.
    disagree
        Share of the rows with a vote to which the label model gives a class that is not the
        majority's.
    outvoted
        Share of them to which it gives a class that no rule has voted for.
    better, worse
        Labeled rows that the label model alone has right, unseen, and that the majority vote alone
        has; None without labeled rows.
    columns
        What the rules look at, as it was read: new rows are read so, too.
    """

    method: Literal["em", "majority"]
    why: Literal["few_rules", "worse_than_chance"] | None
    rows: int
    prior: tuple[float, ...]
    rules: tuple[RuleFacts, ...]
    dependent: tuple[DependentRules, ...]
    disagree: float
    outvoted: float
    better: int | None
    worse: int | None
    columns: tuple[Feature, ...] = ()
