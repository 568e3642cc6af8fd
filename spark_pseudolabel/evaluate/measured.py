"""What single runs measure, as it is in the files that ``scripts/evaluate --json`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from spark_pseudolabel.core.facts import LossComparison


class Measured(BaseModel):
    """Base of all figures."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class MeasuredRun(Measured):
    """One draw of a cell."""

    cell: str = ""
    seed: int = 0

    def of(self, cell: str, seed: int) -> Self:
        """Say what was drawn."""
        return self.model_copy(update={"cell": cell, "seed": seed})


def _with_dropped(value: object) -> object:
    # Files of earlier versions do not say it.
    return {"dropped": not value["improved"], **value} if isinstance(value, Mapping) else value


class Scores(MeasuredRun):
    """Every method on test rows.

    Parameters
    ----------
    picked
        The base with the best accuracy out of fold.
    n_test
        Test rows.
    accuracy, log_loss
        By method; accuracy in percent.
    guards
        By student, what its guard saw.
    weights
        By fold, what each member of the committee weighs.
    """

    picked: str
    n_test: int
    accuracy: dict[str, float]
    log_loss: dict[str, float]
    guards: dict[str, Annotated[LossComparison, BeforeValidator(_with_dropped)]]
    weights: list[list[float]]


class Realized(Measured):
    """What a certificate published, held against the truth.

    Parameters
    ----------
    coverage
        Share of the pool that is published.
    precision
        Share of right labels among it; None where nothing is published.
    broken
        Whether less is right than was promised.
    more_labels
        Whether more labels were asked for.
    reachable
        Whether at any cut that holds a tenth of the pool enough of it is right.
    """

    coverage: float
    precision: float | None
    broken: bool
    more_labels: bool = False
    reachable: bool = True


class PoolFacts(Measured):
    """The calibration error on the pool, and whether the labeled rows do not stand for it."""

    ece: float | None
    shifted: bool = False


class Certificates(MeasuredRun):
    """The promise over all labels, that of each class, and a fixed threshold."""

    all: Realized
    class_: Annotated[Realized, Field(alias="class")]
    fixed: Realized
    pool: PoolFacts


class Curve(Measured):
    """A band over all cuts, held against the truth.

    Parameters
    ----------
    broken
        Whether any of its bounds is broken.
    lower, true
        Lower bound and share of right labels at the shares 0.2, 0.5 and 1 of the pool.
    """

    broken: bool
    lower: list[float]
    true: list[float]


class Promises(MeasuredRun):
    """What can be promised, over all labels and of each class.

    Parameters
    ----------
    band
        Over all labels.
    best, class_
        What is published at the highest step of the ladder; its precision is the promised one.
    given_broken
        Whether the promise of a given 0.95, tested by itself, is broken.
    both_broken
        Whether that or the band is.
    others
        What would be published by other bounds.
    """

    band: Curve
    best: Realized
    class_: Annotated[Realized, Field(alias="class")]
    given_broken: bool
    both_broken: bool
    others: dict[str, Realized]


class RuleLabels(MeasuredRun):
    """Labels of rules on test rows, in percent right.

    Parameters
    ----------
    method
        Of the label model.
    coverage
        Share of the rows on which a rule votes.
    majority, label_model, student
        On these rows: most votes, the label model, and a model that has learned its labels.
    all_rows
        The same three on all rows; without a vote the most common class is guessed.
    from_reference
        By how much rules' estimated accuracies are at most other than those of an independent EM;
        None where labeled rows count, which it does not know, or votes are only counted.
    from_truth
        By how much they are at most wrong.
    """

    method: str
    coverage: float
    majority: float
    label_model: float
    student: float
    all_rows: tuple[float, float, float]
    from_reference: float | None
    from_truth: float


class Alarm(Measured):
    """Whether labels look like a class-balanced sample."""

    alarm: bool
    p_value: float


class Alarms(MeasuredRun):
    """Labels drawn at random, and as many of each class."""

    random: Alarm
    per_class: Alarm


class Gate(Measured):
    """Whether the labeled rows do not stand for the pool."""

    shifted: bool
    auc: float
    outside: float


class Gates(MeasuredRun):
    """By what was done to the pool."""

    none: Gate
    masked: Gate
    moved: Gate


class CalibrationError(Measured):
    """The expected calibration error as a report has it, and that of the published confidences."""

    reported: float | None
    published: float | None


class CalibrationErrors(MeasuredRun):
    """By calibration."""

    none: CalibrationError
    temperature: CalibrationError
    sigmoid: CalibrationError
    isotonic: CalibrationError

    @property
    def each(self) -> tuple[CalibrationError, ...]:
        """All of them, in order."""
        return self.none, self.temperature, self.sigmoid, self.isotonic


class Priors(MeasuredRun):
    """The pool's class shares, estimated from a class-balanced sample, and the true ones."""

    estimated: list[float]
    true: list[float]


class Seen(Measured):
    """A model: its accuracy on test rows in percent, and what a guard sees, row by row."""

    accuracy: float
    log_loss: list[float]
    squared: list[float]
    right: list[int]


class Students(MeasuredRun):
    """A teacher and its student."""

    student: list[Seen]


class PoolRuns(Measured):
    """The models of each run on one pool, and whether the gate fired."""

    shifted: bool
    student: list[Seen]
    rounds: list[Seen]


class Guarded(MeasuredRun):
    """Runs by what was done to the pool."""

    n_test: int
    pools: dict[str, PoolRuns]


class Audited(MeasuredRun):
    """An audit, or those of one run, looked at after each answer.

    Parameters
    ----------
    broken
        Whether a bound ever was wrong.
    answers
        How many it took until 0.95 was settled, or those there were.
    shown
        Whether 0.95 was shown or refuted; None: neither, or several audits.
    precision
        Share of right labels, where it is measured.
    """

    broken: bool
    answers: int
    shown: bool | None
    precision: float | None = None


class AskedFor(Measured):
    """What answers have certified.

    Parameters
    ----------
    coverage
        Share of the pool that is published.
    precision
        Share of right labels among it; None where nothing is published.
    broken
        Whether less is right than was promised.
    answers, sittings
        How many there were, and in how many exports.
    """

    coverage: float
    precision: float | None
    broken: bool
    answers: int
    sittings: int


class Asking(MeasuredRun):
    """Certified by asking.

    Parameters
    ----------
    oracle
        Share of the pool that the best cut there is holds.
    budgets
        For each budget, what is certified in several orders of chance.
    """

    oracle: float
    budgets: dict[str, list[AskedFor]]


class NumberErrors(MeasuredRun):
    """Root mean squared errors of models of numbers on test rows.

    Parameters
    ----------
    picked
        The base with the least squared error out of fold.
    n_test
        Test rows.
    rmse
        By model.
    """

    picked: str
    n_test: int
    rmse: dict[str, float]


class NumberConfidence(Measured):
    """Confidences of numbers, held against the truth.

    Parameters
    ----------
    certified
        What is certified by them.
    best
        The largest share of the pool of which enough is right, in the order of the confidence.
    brier, ece
        Brier score and calibration error on the pool.
    interval, width
        Share of true numbers in the interval, and its mean width in standard deviations of the
        pool's numbers; None: there is none.
    """

    certified: Realized
    best: float
    brier: float
    ece: float
    interval: float | None = None
    width: float | None = None


class NumberPromises(MeasuredRun):
    """Ways to say how sure numbers are, by name.

    Parameters
    ----------
    within
        Share of the pool's numbers within the tolerance.
    methods
        By name; ``kept`` is what runs do.
    """

    within: float
    methods: dict[str, NumberConfidence]
