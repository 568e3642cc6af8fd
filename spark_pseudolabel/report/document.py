"""The JSON document of every command, as models that also publish its JSON Schema.

A document is checked where it is made and holds no secret from then on; ``as_json`` makes it ready
for ``json.dumps``, and ``document(Report, data)`` does both at once. ``schemas()`` is what
``scripts/schemas`` writes to ``docs/schemas``. Unknown fields are refused
wherever the contract does not leave room for more, so that the schemas are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from spark_pseudolabel.errors import ConfigError, PseudoLabelError
from spark_pseudolabel.redaction import redacted, redacted_text

SCHEMA_VERSION = 1

Label = StrictBool | StrictInt | StrictStr
Said = StrictBool | StrictInt | StrictFloat | StrictStr
"""A class, or a number where labels are numbers."""


def label_key(label: object) -> str:
    """Return a label as the JSON key it has in an object keyed by label.

    Examples
    --------
    >>> [label_key(label) for label in ("spam", 7, True)]
    ['spam', '7', 'true']
    """
    if isinstance(label, bool):
        return "true" if label else "false"
    return str(label)


def _with_label_keys(value: object) -> object:
    if isinstance(value, Mapping):
        return {label_key(label): item for label, item in value.items()}
    return value


ByClass = BeforeValidator(_with_label_keys)
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
CountByClass = Annotated[dict[str, Count], ByClass]


class Document(BaseModel):
    """Base of all documents and their parts: frozen, exact, finite numbers only, no secrets."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        from_attributes=True,
        populate_by_name=True,
        defer_build=True,  # a command needs one or two of them
    )

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, data: object) -> object:
        return redacted(data)

    def as_json(self) -> dict[str, Any]:
        """Return every field, ready for ``json.dumps``."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_fact(cls, fact: object, **others: object) -> Self:
        """Take what a fact says under the same names, but for what is given here."""
        if not others:
            return cls.model_validate(fact)
        same = [name for name in cls.model_fields if name not in others and hasattr(fact, name)]
        return cls.model_validate({name: getattr(fact, name) for name in same} | others)

    @classmethod
    def from_optional(cls, fact: object | None) -> Self | None:
        """Take what a fact says; None for None."""
        return None if fact is None else cls.model_validate(fact)


def document(model: type[Document], data: Mapping[str, Any] | Document) -> dict[str, Any]:
    """Check a command's document; return every field but no secret, ready for ``json.dumps``.

    Raises
    ------
    pydantic.ValidationError
        If the document does not have the shape its schema promises; a fault of ours.
    """
    return model.model_validate(data).as_json()


# --- report.json: `run`, `report`, `demo` -------------------------------------------------


class NumberMetrics(Document):
    """Errors of predicted numbers, in units of the label."""

    rmse: Annotated[float, Field(ge=0)]
    """Root of the mean squared error."""
    mae: Annotated[float, Field(ge=0)]
    """Mean absolute error."""
    r2: Annotated[float, Field(le=1)] | None
    """Share of the variance that is explained; null of numbers that are all alike."""
    coverage: Share
    """Share of the true numbers within the bounds of the interval."""
    width: Annotated[float, Field(ge=0)]
    """Mean width of the interval."""


class Metrics(Document):
    """How a model does on rows it was not trained on; all but ``n`` are null where n is 0.

    Of labels that are numbers, ``accuracy`` is the share within the tolerance, ``log_loss`` that of
    the confidences, and what is about classes is null.
    """

    n: Count
    """Number of rows measured."""
    accuracy: Share | None
    """Share of rows labeled right."""
    balanced_accuracy: Share | None
    """Mean over the classes of the share of their rows labeled right."""
    f1_macro: Share | None
    """Mean over the classes of the F1 score."""
    log_loss: Annotated[float, Field(ge=0)] | None
    """Mean of ``-log(p)`` for the probability p of the true label, in nats."""
    majority: Share | None = None
    """Share of the most common label among these rows: the accuracy of always saying it."""
    numbers: NumberMetrics | None = None
    """Errors, where labels are numbers."""


class NumbersAsked(Document):
    """What is asked of labels that are numbers.

    Such a label is right within the tolerance, and its confidence is the probability of that: they
    are one class, of right numbers.
    """

    tolerance: Annotated[float, Field(gt=0)]
    """How far a label may be from the true number: in units of the label, or as a share."""
    relative: bool
    """Whether the tolerance is a share of the true number's absolute value."""
    spelled: str
    """The tolerance as the configuration has it, such as ``5 %``."""
    interval: Annotated[float, Field(gt=0, lt=1)]
    """Share of the true numbers that shall lie within the published bounds."""
    integer: bool
    """Whether labels are whole numbers."""
    mean: float
    """Mean of the given labels."""
    sd: Annotated[float, Field(ge=0)]
    """Their standard deviation."""


class LabelCheck(Document):
    """Accepted labels compared with the true labels that the test table holds for them."""

    n: Count
    """Accepted rows whose true label is known."""
    correct: Count
    """How many of them are labeled right."""
    precision: Share | None
    """``correct / n``; null when n is 0."""


class TestMetrics(Metrics):
    """Metrics on the test table, which is scored once, at the end."""

    __test__ = False

    labels: LabelCheck | None = None
    """The accepted labels against the test table; null when they share no rows."""


class Calibration(Document):
    """A map from a model's probabilities to ones that mean what they say."""

    method: Literal["sigmoid", "isotonic", "temperature"]
    """How it was fitted."""
    params: list[list[float]]
    """One list with the temperature; per class slope and intercept; per class scores and values."""


class PriorCorrection(Document):
    """Class shares that probabilities are corrected from and to, in the order of classes."""

    learned: list[Share]
    """Of the rows that the model was trained on."""
    prior: list[Share]
    """Of the pool."""
    source: Literal["given", "estimated"]
    """Where the latter come from."""


class Adjustment(Document):
    """What happens to a model's probabilities, in this order; the stored model does neither."""

    calibration: Calibration | None
    """Null: none."""
    prior: PriorCorrection | None
    """Null: none."""


class Confused(Document):
    """Rows of one class that a model takes for another one."""

    given: Label
    """Their label."""
    predicted: Label
    """What the model says."""
    rows: Annotated[int, Field(ge=1)]
    """How many there are."""


class Mistakes(Document):
    """What a model says of rows with true labels that it was not trained on."""

    source: Literal["oof", "validation"]
    """Which rows these are: labeled ones out of fold, or the validation rows."""
    n: list[Count]
    """Rows per bin of equal width over [0, 1], the lowest confidence first."""
    right: list[Count]
    """Those of them that the model labels right."""
    by_class: CountByClass
    """Rows by true label, those included that it gives no label."""
    confused: list[Confused]
    """The commonest mistakes, the most common first; at most 50."""


class ErrorsAtConfidence(Document):
    """Errors of rows of about one confidence, where labels are numbers."""

    low: Share
    """Their confidence is at least that, and below the next tenth."""
    rows: Annotated[int, Field(ge=1)]
    """How many they are."""
    confidence: Share
    """Their mean confidence."""
    right: Count
    """Numbers within the tolerance."""
    mae: Annotated[float, Field(ge=0)]
    """Mean absolute error."""
    covered: Count
    """True numbers within the bounds of the interval."""
    width: Annotated[float, Field(ge=0)]
    """Mean width of the interval."""


class ErrorsAtNumber(Document):
    """Predicted and true numbers of rows of about one predicted number."""

    rows: Annotated[int, Field(ge=1)]
    """How many they are."""
    predicted: float
    """Mean predicted number."""
    true: float
    """Mean true number."""
    lowest: float
    """One in ten of the true numbers is below."""
    highest: float
    """One in ten of the true numbers is above."""


class Residuals(Document):
    """Errors of a model of numbers on rows with true ones that it was not trained on."""

    source: Literal["oof", "validation"]
    """Which rows these are: labeled ones out of fold, or the validation rows."""
    by_confidence: list[ErrorsAtConfidence]
    """By tenths of the confidence, the lowest first, without empty ones."""
    by_number: list[ErrorsAtNumber]
    """In parts of equally many rows, the lowest predicted numbers first."""


class ModelResult(Document):
    """One model of the run, measured."""

    model: str
    """Name of the model, such as ``model-0001``."""
    validation: Metrics | None = None
    """On the validation rows; null without any."""
    chosen_from: Count = 1
    """How many models this one was chosen from by its figures on validation rows, or out of fold.

    Of more than one the best figure is better than the model is on new rows."""
    oof: Metrics | None = None
    """Out of fold on the labeled rows; null when not cross-fitted."""
    test: TestMetrics | None = None
    """On the test table; null without one."""
    adjustment: Adjustment | None = None
    """What happens to its probabilities before they are used; null: nothing."""
    mistakes: Mistakes | None = None
    """Its right and wrong labels by confidence and class; null where nothing was measured."""
    residuals: Residuals | None = None
    """Its errors, where labels are numbers; null where nothing was measured."""


class Seconds(Document):
    """Wall time of a round by stage, in seconds."""

    fit: float
    """Training the model of the round."""
    score: float
    """Scoring the pool."""
    select: float
    """Counting, planning and applying the plan."""
    commit: float
    """Writing and publishing the round."""


class Histogram(Document):
    """Candidates by predicted label and confidence."""

    bins: Annotated[int, Field(gt=0)]
    """Number of bins of equal width over [0, 1]."""
    counts: Annotated[dict[str, list[Count]], ByClass]
    """Per label: rows in each bin, lowest confidence first."""


class ReliabilityTable(Document):
    """Confidences of rows with true labels against the truth."""

    n: list[Count]
    """Rows per bin of equal width over [0, 1], the lowest confidence first."""
    confidence: list[Share | None]
    """Their mean confidence; null where a bin is empty."""
    accuracy: list[Share | None]
    """Their share of right labels; null where a bin is empty."""
    ece: Share | None
    """Expected calibration error: the mean distance of the two, weighted by rows."""


class Reliability(Document):
    """Whether a confidence is the share of right labels; out of fold on the labeled rows."""

    raw: ReliabilityTable
    """As the model says."""
    adjusted: ReliabilityTable | None
    """After calibration and correction to the pool's prior; null without either."""


class Flips(Document):
    """The labels of a round that decides every row anew, against those of the round before."""

    kept: Count
    """Rows accepted in both, with the same label."""
    changed: Count
    """Rows accepted in both, with another label."""
    added: Count
    """Rows accepted in this round only."""
    dropped: Count
    """Rows accepted in the round before only."""


class Round(Document):
    """One round. Candidates = accepted + rejected + invalid."""

    round: Annotated[int, Field(ge=1)]
    """Number of the round, from 1."""
    model: str
    """The model that decided this round."""
    candidates: Count
    """Pool rows that were looked at."""
    accepted: Count
    """Rows whose label was accepted."""
    rejected: Count
    """Rows scored and not accepted."""
    invalid: Count
    """Rows that could not be scored."""
    abstained: Count = 0
    """Rows besides the candidates that the model gave no class; scored again in the next round."""
    withheld: Count = 0
    """Rejected rows that were far from any labeled one (``shift.action: withhold``)."""
    unstable: Count = 0
    """Rejected rows of which corrupted copies get another label (``selection.stable_under``)."""
    disagreement: Count = 0
    """Rejected rows for which members of the model name other labels (``selection.require``)."""
    trained_on: Count
    """Pool rows that the next model was trained on."""
    accepted_by_class: CountByClass
    """Accepted rows per label."""
    threshold_by_class: Annotated[dict[str, float | None], ByClass]
    """Cut per label; null or absent where no row of that label was accepted."""
    flips: Flips | None = None
    """Labels against the round before; null in round 1 and where rounds do not relabel."""
    used: bool
    """False when the guard discarded the round: its rows are in none of the tables."""
    validation: Metrics | None = None
    """The model trained after this round, on the validation rows; null without any."""
    seconds: Seconds
    """Wall time by stage."""
    histogram: Histogram | None = None
    """Candidates by predicted label and confidence."""
    reliability: Reliability | None = None
    """How far the confidences of this round can be trusted; null when not cross-fitted."""


class Rows(Document):
    """Where the rows of the inputs went. Pool = accepted + rejected + invalid + abstained."""

    labeled: Count
    """Rows with a given label that models were trained on."""
    validation: Count
    """Rows with a given label kept out of every fit."""
    pool: Count
    """Unlabeled rows."""
    accepted: Count
    """Pool rows in ``labels``."""
    rejected: Count
    """Pool rows left without a label."""
    invalid: Count
    """Pool rows that could not be scored."""
    abstained: Count = 0
    """Pool rows that the last model gave no class."""
    withheld: Count = 0
    """Rejected rows that were far from any labeled one."""
    unstable: Count = 0
    """Rejected rows of which corrupted copies get another label."""
    disagreement: Count = 0
    """Rejected rows for which members of the model name other labels."""


class Paths(Document):
    """Where the outputs are; null for one that was not written."""

    labels: str | None = None
    """Accepted pool rows, Parquet."""
    undecided: str | None = None
    """Pool rows with a score and without a label, and why, Parquet."""
    training: str | None = None
    """Labeled and accepted rows with their weights, Parquet."""
    invalid: str | None = None
    """Rows that could not be scored, Parquet."""
    suspects: str | None = None
    """Labeled rows whose given label is probably wrong, Parquet."""
    model: str | None = None
    """The final model, skops."""
    report_html: str | None = None
    """The report as a page."""
    report_json: str | None = None
    """This document."""


class Notice(Document):
    """A warning: what was found and what to do about it. May carry further fields."""

    model_config = ConfigDict(extra="allow")

    code: str
    """Stable name for machines, such as ``class_collapse``."""
    message: str
    """Sentences for people."""

    @classmethod
    def about(cls, code: str, message: str, **facts: object) -> Self:
        """Make a warning, with what it is about for machines."""
        return cls.model_validate({"code": code, "message": message, **facts})


class CertifiedClaim(Document):
    """What is claimed of the rows labeled with some classes."""

    labels: list[Label]
    """The labels that the claim is about."""
    cut: float | None
    """Rows at or above this confidence are published; null claims nothing."""
    n: Count
    """Calibration rows at or above the cut; the strictest cut tried where nothing is claimed."""
    wrong: Count
    """How many of them are labeled wrong."""
    p_value: Share
    """Probability of so few errors if the precision were just below the promised one."""
    level: Share
    """What the p-value must not exceed."""
    bound: Share
    """Lower bound of the precision at that level."""
    rows: Count
    """Published pool rows."""
    more_labels: Annotated[int, Field(ge=1)] | None
    """Estimate of the labeled rows still missing, of the validation rows where these are a table
    and tested; null where none is missing, or where it is not labels that are (``outlook``)."""
    outlook: Literal["labels", "model", "pool", "unclear"] | None = None
    """What a claim takes: more labels, a model that errs less, a pool of more rows, or that too few
    rows were tested to tell; null where something is claimed, or refused."""


class ClassResult(Document):
    """What was found of the rows that are published as one class."""

    class_: Annotated[Label, Field(alias="class")]
    """The label."""
    n: Count
    """Calibration rows predicted as it above its cut; copies and groups count once."""
    wrong: Count
    """How many of them are wrong."""
    lower: Share
    """Lower bound of the share of right labels among its published rows, at the certainty."""
    upper: Share
    """Upper bound, likewise."""
    published: Count
    """Its published rows."""


class BandPoint(Document):
    """A lower bound of the precision, one of many that hold together."""

    share: Share
    """Which part of the pool it is about, its most confident rows."""
    rows: Count
    """How many these are."""
    lower: Share
    """Lower bound of the share of right labels among them."""
    cut: Share
    """The confidence of the least confident of them, to the thousandth."""


class LadderStep(Document):
    """A precision that might be promised."""

    precision: Share
    """Share of right labels."""
    rows: Count
    """Pool rows for which the band shows it."""
    share: Share
    """Their share of the pool."""
    certified: bool
    """Whether these are enough of the pool (``min_coverage``)."""
    more_labels: Annotated[int, Field(ge=1)] | None = None
    """Estimate of the labels still missing; null where none is, or where it is not labels."""
    outlook: Literal["labels", "model", "pool", "unclear"] | None = None
    """What it takes, as of a claim; null where it can be shown of some rows."""


class MissingLabels(Document):
    """What a class takes to be shown by itself, at the promised precision."""

    class_: Annotated[Label, Field(alias="class")]
    """The label."""
    n: Count
    """Calibration rows predicted as it; copies and groups count once."""
    wrong: Count
    """How many of them are wrong."""
    more_labels: Annotated[int, Field(ge=1)] | None = None
    """Estimate of the labels still missing, of all classes together, drawn at random."""
    outlook: Literal["labels", "model", "pool", "unclear"] | None = None
    """What it takes; null where it could be shown now."""


class Instead(Document):
    """A promise that can be kept where the one that was asked for can't."""

    precision: Share
    """A step of the ladder."""
    rows: Count
    """Rows for which it is shown."""
    setting: str
    """What to say behind ``--set``, in another output, to have them published."""


class PredictedPrior(Document):
    """Whether the calibration rows are drawn like the pool, as far as classes go."""

    labeled: list[Share]
    """Share of each label among the calibration rows, as predicted; in the order of classes."""
    pool: list[Share]
    """The same in the pool."""
    p_value: Share
    """Of the test that both are samples of one distribution."""
    even: bool
    """Whether the given labels are as even as in a class-balanced sample."""
    drawn_per_class: bool
    """Whether they look like a class-balanced sample of a pool that is not balanced; where
    the pool's shares are given, whether it looks mixed otherwise."""


class MeasuredShift(Document):
    """What was measured of how labeled rows and pool differ, in short."""

    auc: Share
    """How well a model tells labeled rows from pool rows, out of fold; 0.5 is not at all."""
    auc_limit: float
    """What chance and a harmless difference explain."""
    outside: Share
    """Share of sampled pool rows farther from any labeled row than these are from each other."""
    shifted: bool
    """Whether the labeled rows do not stand for the pool."""


class Shift(MeasuredShift):
    """How the labeled rows differ from a sample of the pool."""

    action: Literal["warn", "stop", "withhold"]
    """What follows from a shift."""
    n_labeled: Count
    """Labeled rows compared."""
    n_pool: Count
    """Pool rows compared."""
    psi: dict[str, float]
    """Population stability index by column; above 0.25 is usually called a large shift."""
    outside_by_chance: bool
    """Whether so large a share outside may be chance, as it often is with few labeled rows."""
    inside: MeasuredShift | None = None
    """The same of the rows that are not withheld; null: none is, or they need not be asked."""
    unseen: dict[str, Share]
    """Share of pool rows whose category no labeled row has, by column."""
    prior_shift: PredictedPrior | None = None
    """Predicted labels of labeled rows, out of fold, and of the pool; null: not cross-fitted."""


class Certificate(Document):
    """Certified precision of the published labels."""

    claimed: bool
    """Whether anything is claimed."""
    precision: Share
    """Promised share of right labels; of ``best`` the step that was taken, or the least one."""
    certainty: Share
    """Probability, over the draw of the labeled rows, that the promise is kept."""
    per: Literal["all", "class"]
    """Whether the promise holds over all published rows or in every class."""
    best: bool = False
    """Whether the precision was chosen by the run: the highest of the ladder that can be shown."""
    min_coverage: Share | None = None
    """For which share of the pool a step of the ladder has to hold."""
    source: Literal["out_of_fold", "held_out"]
    """Where the calibration rows' scores come from."""
    n_calibration: Count
    """Rows with true labels; copies count once, and so do the rows of a group."""
    n_only_ones: Count = 0
    """Rows among them that count as wrong: each the only one of its label, so that no model that
    has not seen it could know it."""
    n_pool: Count
    """Valid pool rows that it is about: all, but for those that are ``withheld``."""
    coverage: Share
    """Share of these pool rows that is published."""
    claims: list[CertifiedClaim]
    """One for all labels, or one for each."""
    refused: str | None
    """Why nothing may be claimed whatever the numbers say; null otherwise."""
    by_class: list[ClassResult] = []
    """What was found of each class, whatever the claims are about; empty without a claim."""
    band: list[BandPoint] = []
    """Lower bounds of the precision over all labels, holding with the certainty at all cuts
    together; empty where nothing may be claimed."""
    ladder: list[LadderStep] = []
    """What can be shown of precisions that might be promised, the highest first: together with the
    band where the promise is one over all labels, else of each class and by itself."""
    missing: list[MissingLabels] = []
    """What each class takes to be shown by itself; empty where nothing may be claimed."""
    instead: Instead | None = None
    """What could be promised; null where the promise is kept, or nothing of the ladder could."""
    prior_shift: PredictedPrior | None = None
    """Predicted labels of the calibration rows and of the pool, compared."""
    prior: list[Share] | None = None
    """The given class shares of the pool, in the order of classes, by which rows are tested and
    scores corrected; null without."""
    shift: MeasuredShift | None = None
    """How far the labeled rows stand for the pool; null: not measured."""
    inside_only: bool = False
    """Whether it is about rows near a labeled one only, calibration rows included."""
    stable_only: bool = False
    """Whether it is about rows only that keep their label when they are corrupted."""
    agreed_only: bool = False
    """Whether it is about rows only that members of the model agree on."""
    withheld: Count = 0
    """Valid pool rows that it leaves out."""


class ClassShares(Document):
    """How common a class is among given, predicted and published labels."""

    class_: Annotated[Label, Field(alias="class")]
    """The label."""
    labeled: Share
    """Its share of the labeled rows; where the pool's shares are known, its share of these."""
    predicted: Share
    """Its share of the pool's rows by prediction, in the first round."""
    published: Share
    """Its share of the published rows."""
    collapsed: bool
    """Whether it is published far less often than it is labeled."""


class PoolPrior(Document):
    """Class shares of the pool."""

    shares: Annotated[dict[str, Share], ByClass]
    """Per label."""
    source: Literal["given", "estimated"]
    """Whether they were given, or estimated on a sample of the pool."""


class PinnedInput(Document):
    """The version of a table that keeps a log, which a run reads from its first start on."""

    table: str
    """The section: labeled, unlabeled, validation or test."""
    format: str
    """delta or iceberg."""
    version: str
    """Delta's version, or the id of Iceberg's snapshot; as text, since that has more digits than
    some readers of JSON keep."""


class Duplicates(Document):
    """Labeled rows that equal another one in every feature."""

    rows: Count
    """How many there are."""
    groups: Count
    """In how many sets of equal rows."""
    example: list[str | int]
    """The first ids of the largest set; file:row_index where there is no id column."""
    conflicting: Count
    """Sets among them whose rows have different labels."""


class SuspiciousLabel(Document):
    """A labeled row whose given label is probably wrong."""

    id: str | int
    """The row's id; file:row_index where there is no id column."""
    given: Label
    """Its label."""
    suggested: Label
    """What models that have not seen the row say."""
    p_given: Share
    """Their probability of the given label."""
    p_suggested: Share
    """Their probability of the suggested one."""


class GivenLabels(Document):
    """The given labels, looked at by models that have not seen them; none is ever changed."""

    n: Count
    """Labeled rows with an out-of-fold score."""
    suspicious: Count
    """Those whose label is probably wrong."""
    p_value: Share
    """Probability of so many sure contradictions where classes merely overlap."""
    explained: bool
    """Whether overlapping classes may be all there is to it."""
    first: list[SuspiciousLabel]
    """The clearest ones."""
    file: str | None
    """All of them, Parquet, below the output; null where there are none."""


class TeacherMember(Document):
    """One of the models, or of the rules, that the teacher is made of."""

    name: str
    """What the configuration calls it."""
    weight: Share
    """Its share of the vote."""
    coverage: Share | None
    """Share of the labeled rows to which it gives a class, out of fold; null without folds.

    Of a rule the share of the pool that it votes on."""
    accuracy: Share | None
    """Share of right ones among these classes; null where there are none.

    Of a rule what the label model takes it for."""
    label: Label | None = None
    """The label that a rule votes for."""
    overlap: Share | None = None
    """Share of a rule's votes on rows that another rule votes on, too."""
    conflict: Share | None = None
    """Share of a rule's votes on rows that another rule gives another label."""
    measured: Share | None = None
    """Share of a rule's votes on labeled rows that are right; null without any."""
    n_measured: Count = 0
    """Labeled rows that a rule votes on."""


class DependentRules(Document):
    """Two rules that vote together more or less often than classes explain."""

    rules: list[str]
    """Their names."""
    rows: Count
    """Rows that both vote on."""
    expected: Annotated[float, Field(ge=0)]
    """How many these would be."""
    correlation: Annotated[float, Field(ge=-1, le=1)]
    """Of their votes within classes."""


class LabelModel(Document):
    """How the votes of rules were weighed."""

    method: Literal["em", "majority"]
    """Rates by expectation maximization, or votes counted."""
    why: Literal["few_rules", "worse_than_chance"] | None
    """Why votes were counted; null where they were weighed."""
    rows: Count
    """Rows of the pool it was fitted on: all that can be read, or a sample."""
    shares: Annotated[dict[str, Share], ByClass]
    """Share of each class, estimated or given."""
    disagree: Share
    """Share of the rows with a vote that get another label than most of their votes."""
    outvoted: Share
    """Share of the rows with a vote that get a label which no rule has voted for."""
    better: Count | None
    """Labeled rows that the label model alone has right, unseen; null without labeled rows."""
    worse: Count | None
    """Labeled rows that the majority of the votes alone has right."""
    dependent: list[DependentRules] = []
    """Pairs of rules, the most correlated first."""


class Teacher(Document):
    """Who made the first model, which labels the pool."""

    kind: str
    """As section ``teacher`` names it."""
    parameters: dict[str, StrictBool | StrictInt | float | str]
    """Its settings as they were used; the configuration has those that were asked for."""
    members: list[TeacherMember]
    """The models that vote, or the only one."""
    abstained: Count
    """Pool rows to which it gives no class."""
    recall: Share | None = None
    """Share of the exact neighbors of some rows that a graph has; null of another teacher."""
    label_model: LabelModel | None = None
    """How the votes of rules were weighed; null of another teacher."""


class ComparedRows(Document):
    """New rows of a generation against others."""

    auc: Share
    """How well a model tells them apart, out of fold; 0.5: not at all."""
    auc_limit: Share
    """Up to here it is chance."""
    outside: Share
    """Share of the new rows that lie outside of where the others are."""
    shifted: bool
    """Whether they are unlike."""
    moved: dict[str, float] = {}
    """The columns that differ most, and their population stability index."""


class GenerationShift(Document):
    """New rows of a generation against those that the model was made for."""

    labeled: ComparedRows | None = None
    """Against the labeled rows; null: not compared."""
    reference: ComparedRows | None = None
    """Against the pool that the model was fitted for, the first generation's unless one refitted;
    null: not compared."""


class Generation(Document):
    """One generation of an incremental run."""

    generation: Annotated[int, Field(ge=1)]
    """From 1, the first run."""
    run_id: str
    """Its run."""
    outcome: str
    """labeled; drift: rows were too unlike to be; abandoned: its inputs had changed."""
    inputs: Count
    """New files; 0 where the pool is no directory of files."""
    rows: Count
    """Rows that no generation before it has seen."""
    overlap: Count = 0
    """Rows of new files that one has seen: they stay as they were decided."""
    accepted: Count
    """Rows that got a label."""
    rejected: Count = 0
    """Rows left without one."""
    invalid: Count = 0
    """Rows that could not be scored."""
    abstained: Count = 0
    """Rows that the model gave no class."""
    shift: GenerationShift | None = None
    """Its rows against those that the model was made for; null: not measured."""
    drifted: bool = False
    """Whether they are too unlike."""
    refit: bool
    """Whether a model of its own was fitted."""
    model: str
    """What gave the labels, as these name it."""
    labels_changed: bool = False
    """Whether labeled rows are others than the model has learned from."""
    notices: list[Notice] = []
    """Old files that were gone or written again when it began, or a generation that was left."""


class GenerationSums(Document):
    """Sums over all generations, those that are not listed included."""

    generations: Count = 0
    """How many."""
    rows: Count = 0
    """Rows that were seen."""
    overlap: Count = 0
    """Rows that came again."""
    accepted: Count = 0
    """Rows in ``labels``."""
    rejected: Count = 0
    """Rows without a label."""
    invalid: Count = 0
    """Rows in ``invalid``."""
    abstained: Count = 0
    """Rows that a model gave no class."""


class RevokedStep(Document):
    """Labels that one commit took back."""

    by: str
    """round, class, ids, answers."""
    round: int | None = None
    """The round; null where it is not one."""
    label: Label | None = None
    """The class; null where it is not one."""
    rows: Count
    """How many labels."""
    written_at: str
    """When."""


class ReviewedSet(Document):
    """A set of rows that people were asked about."""

    kind: str | None
    """queue, audit, certify; null: answers to no exported set."""
    number: Count | None
    """Which set of its kind it is."""
    rows: Count | None
    """Rows asked."""
    answered: Count
    """Rows answered, without the skipped ones."""
    skipped: Count
    """Rows skipped."""


class AuditedClass(Document):
    """An audit of the labels of one class."""

    label: Label
    """The class."""
    rows: Count
    """Its labels."""
    answers: Count
    """Rows answered, in their order."""
    wrong: Count
    """How many of them are wrong, or could not be told."""
    lower: Count
    """So many of its labels are wrong at least,"""
    upper: Count
    """and at most."""
    shown: bool | None
    """Whether the precision is shown, or refuted; null: open."""
    more: Count
    """About how many more answers would settle it."""


class Audit(Document):
    """What answers about labels at random say of all of them."""

    round: Count
    """Which audit of the output it is, in the order in which they were begun."""
    rows: Count
    """Labels that are judged."""
    asked: Count
    """Rows asked."""
    answers: Count
    """Rows answered, in their order, without one left out."""
    wrong: Count
    """How many of them are wrong, or could not be told."""
    lower: Count
    """So many labels are wrong at least,"""
    upper: Count
    """and at most; all bounds of all audits hold together with 95 % certainty."""
    settled: bool
    """Whether it is settled that the precision is reached, or that it is not."""
    shown: bool | None
    """Which of the two; null: open."""
    precision: Share
    """The share of right labels that is to be shown."""
    at_least: Share
    """The share of right labels at least,"""
    at_most: Share
    """and at most."""
    more: Count
    """About how many more answers would settle it, should the share of errors stay."""
    waiting: Count = 0
    """Answers to rows behind the first one without an answer: they don't count yet."""
    holds: bool
    """Whether the labels that are judged are those that ``OUT/labels`` holds."""
    by_class: list[AuditedClass] = []
    """The same of each class, where each is judged by itself."""


class CertifiedByAsking(Document):
    """A cut of the scored rows that answers have shown."""

    precision: Share
    """The share of right labels that is shown,"""
    certainty: Share
    """and with which certainty."""
    round: Count
    """Whose scored rows they are."""
    cut: Share
    """Their confidence at least."""
    rows: Count
    """How many rows it is shown of, with and without a label before."""
    coverage: Share
    """Their share of the scored rows."""
    answers: Count
    """How many answers it took."""
    published: Count
    """How many of the rows got their label by it."""


class ReviewState(Document):
    """What people did with a finished run."""

    commits: Count
    """Commits since the end of the run."""
    sets: list[ReviewedSet] = []
    """What was asked and answered."""
    revoked: Count = 0
    """Labels taken back."""
    trained_on_revoked: Count = 0
    """From how many of them the final model has learned: it is not refitted."""
    published: Count = 0
    """Labels that answers have certified since."""
    labels: Count
    """Rows that ``OUT/labels`` holds now."""
    certificate_holds: bool | None = None
    """Whether the certificate of the run still speaks about ``OUT/labels``; null: there is none."""
    steps: list[RevokedStep] = []
    """What was taken back, in order."""


class Report(Document):
    """Everything a finished run has to say: ``report.json``."""

    schema_version: int = SCHEMA_VERSION
    """Version of this document's schema."""
    run_id: str
    """The run, one per output."""
    termination_condition: Annotated[str, Field(min_length=1)]
    """Why the run stopped: all_labeled, no_change, max_iter, validation_drop, shift, ..."""
    n_iter: Count
    """Number of rounds, an empty last one included."""
    best_round: Count
    """The last round whose labels are used; 0 is the seed model."""
    classes: list[Label]
    """The labels, in the model's order and in their own type; ``number`` where they are numbers."""
    numbers: NumbersAsked | None = None
    """What is asked of labels that are numbers; null: they are classes."""
    rounds: list[Round]
    """Every round, the discarded and the empty ones too."""
    seed: ModelResult
    """The model trained on the labeled rows alone."""
    final: ModelResult
    """The model in ``model/``."""
    rows: Rows
    """Where the rows went."""
    teacher: Teacher | None = None
    """Who made the first model; null where ``model`` did."""
    prior: PoolPrior | None = None
    """Class shares of the pool that scores are corrected to; null: they are not corrected."""
    certificate: Certificate | None = None
    """Certified precision of the labels; null: none was asked for, or nothing was scored."""
    shift: Shift | None = None
    """Labeled rows against the pool; null: not measured, or the pool is empty."""
    given_labels: GivenLabels | None = None
    """Given labels that are probably wrong; null without out-of-fold scores."""
    class_shares: list[ClassShares] = []
    """Classes among given, predicted and published labels; empty where nothing is published."""
    duplicates: Duplicates | None = None
    """Labeled rows that are copies of another one; null: there are none."""
    generations: list[Generation] = []
    """The latest 30 generations of an incremental run; all else here is about the last one."""
    all_generations: GenerationSums | None = None
    """Sums over all of them; null for a run that is none of several."""
    warnings: list[Notice] = []
    """What deserves a look."""
    review: ReviewState | None = None
    """What people did since the end of the run, by commits of its own; null: nothing."""
    audits: list[Audit] = []
    """What answers about labels at random say of all of them."""
    certified: list[CertifiedByAsking] = []
    """What answers have shown of scored rows, so that these got labels."""
    paths: Paths
    """Where the outputs are."""
    pinned: list[PinnedInput] = []
    """Versions of the inputs that keep a log."""
    config: dict[str, Any]
    """The resolved configuration."""
    environment: dict[str, Any]
    """Versions and the machine."""
    elapsed_s: Annotated[float, Field(ge=0)]
    """Wall time of the run in seconds."""


# --- plan ---------------------------------------------------------------------------------


class PlanRows(Document):
    """Rows found in the inputs; null where counting would need a scan or there is no table."""

    labeled: Count
    """Rows with a given label, without the validation rows."""
    validation: Count
    """Rows that would be kept out of every fit."""
    pool: Count | None
    """Unlabeled rows."""
    test: Count | None = None
    """Rows of the test table."""


class PlanFeature(Document):
    """One feature column."""

    name: str
    """Name of the column."""
    kind: str
    """How it is treated: numeric, boolean, categorical, text, datetime, vector, ..."""
    type: str
    """Its Spark type."""


class PlanStudent(Document):
    """An estimator beside the model's own: the student from model 2 on, or a committee's member."""

    estimator: str
    """Name of the estimator."""
    params: dict[str, Any] = {}
    """Its parameters."""


class PlanRule(Document):
    """A rule of the teacher; on which share of the rows it votes only a pass over them tells."""

    name: str
    """What reports call it."""
    label: str | int | bool
    """What it votes for."""
    when: str | None
    """Its condition in SQL; null where it is a function in Python."""


class PlanModel(Document):
    """What would be trained."""

    estimator: str
    """Name of the estimator."""
    params: dict[str, Any] = {}
    """Its parameters."""
    student: PlanStudent | None = None
    """Null: the same estimator in every round."""
    teacher: str | None = None
    """The key of section ``teacher`` that says its kind; null: no teacher."""
    committee: list[PlanStudent] = []
    """The teacher's members; where there are any, the estimator is their student."""
    rules: list[PlanRule] = []
    """The rules that vote, where these are the teacher."""
    committee_is_final: bool = False
    """Whether no model learns from the teacher: the estimator is not used then."""
    preprocessing: list[str] = []
    """The steps before the estimator, in words."""


class PlanRounds(Document):
    """How many rounds there may be."""

    max: Count | None
    """Null: no limit; 0: the seed model only."""
    relabel: bool
    """Whether every round decides the whole pool anew."""


class PlanOutput(Document):
    """The output as it is now."""

    path: str
    """Where the output would be."""
    state: Annotated[str, Field(min_length=1)]
    """new, resumable, done, ..."""


class PlanPromise(Document):
    """What a certificate may come to, estimated before anything is scored."""

    rows: Count
    """Labeled rows that it rests on; copies and groups count once."""
    estimator: str
    """The model that stands for the run's, fitted in folds."""
    certainty: Share
    """With which the bounds would hold together."""
    band: list[BandPoint]
    """As of a certificate, for a pool that is scored as the labeled rows are."""
    ladder: list[LadderStep]
    """Likewise."""


class PlanSnapshot(Document):
    """What becomes of a pool that workers cannot read by themselves."""

    frozen: bool
    """Whether it is copied into the output as Parquet, once, and read there."""
    why: str
    """The reason."""
    bytes: Count | None = None
    """About how much the copy takes, before compression; null where there is none."""
    kept: bool = False
    """Whether it stays when the run has ended."""


class PlanDocument(Document):
    """What ``run`` would do: the document of ``plan``."""

    rows: PlanRows
    """Rows found."""
    classes: CountByClass
    """Labeled rows per label."""
    numbers: NumbersAsked | None = None
    """What is asked of labels that are numbers; null: they are classes."""
    label_type: str
    """Spark type of the label column."""
    id: list[str]
    """The columns that identify a row."""
    features: list[PlanFeature]
    """The feature columns, in order."""
    model: PlanModel
    """What would be trained."""
    selection: dict[str, Any]
    """The selection rule and its settings."""
    why_selection: str | None = None
    """Which policy is in force and why; null where ``selection`` says so itself."""
    rounds: PlanRounds
    """How many rounds there may be."""
    promise: PlanPromise | None = None
    """What could be promised, by an estimate from the labeled rows alone; null where nothing is to
    be certified, or nothing may be claimed."""
    partitions: Count | None = None
    """Tasks of one scan of the pool; null when unknown."""
    pinned: list[PinnedInput] = []
    """Versions of the inputs that keep a log, which a run would read."""
    snapshot: PlanSnapshot | None = None
    """Null where workers read the pool's own files."""
    output: PlanOutput
    """The output as it is now."""
    warnings: list[Notice] = []
    """What deserves a look before the run."""


# --- status, verify, explain --------------------------------------------------------------


class ErrorBody(Document):
    """What went wrong, for people and machines."""

    exit_code: int
    """The exit code of the command."""
    code: str
    """Stable name of the problem, such as ``missing_column``."""
    message: str
    """What must hold, what was found, what to do."""
    where: str | None = None
    """The file, table, column or key concerned."""
    problems: list[ConfigProblem] | None = None
    """Every problem of a configuration; absent or null for other errors."""


class ConfigProblem(Document):
    """One thing that is wrong with a configuration."""

    key: str
    """Dotted key, such as ``selection.threshold``."""
    message: str
    """What must hold, what was found, what to do."""
    file: str | None = None
    """The configuration file; null when it came from the command line."""
    line: int | None = None
    """The line in it, from 1."""


class ErrorDocument(Document):
    """The document of any command that failed."""

    error: ErrorBody
    """What went wrong."""

    @classmethod
    def of(cls, error: PseudoLabelError) -> Self:
        """Return what an error comes to."""
        body = ErrorBody(
            exit_code=error.exit_code, code=error.code, message=error.message, where=error.where
        )
        if isinstance(error, ConfigError):
            problems = [
                ConfigProblem(
                    key=problem.key,
                    message=redacted_text(problem.message),
                    file=problem.file,
                    line=problem.line,
                )
                for problem in error.problems
            ]
            body = body.model_copy(update={"problems": problems})
        return cls(error=body)

    def as_json(self) -> dict[str, Any]:
        """Return the fields that were given: only a configuration has problems."""
        return self.model_dump(mode="json", exclude_unset=True)


class StatusRound(Document):
    """One committed round, in short."""

    round: Annotated[int, Field(ge=1)]
    """Number of the round."""
    model: str
    """The model that decided it."""
    candidates: Count
    """Pool rows that were looked at."""
    accepted: Count
    """Rows whose label was accepted."""
    rejected: Count
    """Rows scored and not accepted."""
    invalid: Count
    """Rows that could not be scored."""
    accepted_by_class: CountByClass = {}
    """Accepted rows per label."""
    used: bool | None = None
    """Whether its labels are used; null while that is not decided."""
    validation: Metrics | None = None
    """The model trained after this round, on the validation rows; null without any."""
    written_at: str | None = None
    """When it was committed (ISO 8601)."""


class Counters(Document):
    """The five counters of a labeling job. Total = human + machine."""

    TotalLabeled: Count
    """Rows with a label."""
    HumanLabeled: Count
    """Rows with a given label."""
    MachineLabeled: Count
    """Accepted pool rows."""
    FailedNonRetryableError: Count
    """Rows that could not be scored."""
    Unlabeled: Count
    """Pool rows without a label."""


class LeaseInfo(Document):
    """Who holds, or last held, the output."""

    host: str
    """Name of the machine."""
    pid: int
    """Process on it."""
    since: str
    """Since when (ISO 8601)."""
    live: bool
    """False when its heartbeat has stopped: a new run takes over."""


class StatusDocument(Document):
    """The truth about an output: the document of ``status``."""

    output: str
    """The output."""
    run_id: str
    """The run."""
    state: Annotated[str, Field(min_length=1)]
    """done, resumable, running, ..."""
    termination_condition: str | None = None
    """Why the run stopped; null while it has not."""
    rounds: list[StatusRound]
    """The committed rounds."""
    best_round: Count | None = None
    """The last round whose labels are used, 0 is the seed; null while not decided."""
    counters: Counters
    """Rows by outcome."""
    lease: LeaseInfo | None = None
    """Who holds the output; null when no run does."""
    review: ReviewState | None = None
    """What people did since the end of the run; null: nothing."""
    audits: list[Audit] = []
    """What answers about labels at random say of all of them."""
    certified: list[CertifiedByAsking] = []
    """What answers have shown of scored rows, so that these got labels."""
    last_error: ErrorBody | None = None
    """What ended the last attempt, if it failed."""
    generations: list[Generation] = []
    """The latest generations of an incremental run; the rounds are those of the last one."""
    all_generations: GenerationSums | None = None
    """Sums over all of them; null where there is one run."""


class FileProblem(Document):
    """One thing found wrong in an output."""

    path: str
    """The file, below the output."""
    problem: str
    """What must hold and what was found."""


class VerifyDocument(Document):
    """Whether all files are there, whole and unchanged: the document of ``verify``."""

    output: str
    """The output."""
    ok: bool
    """True when nothing is wrong."""
    deep: bool
    """Whether the contents were read too."""
    checked: Count
    """Number of files looked at."""
    problems: list[FileProblem]
    """Everything found wrong."""


class GarbageItem(Document):
    """Files that belong together and that nothing needs."""

    path: str
    """Directory or file, below the output."""
    kind: Literal["attempt", "lost", "view", "start", "temp", "retired", "snapshot"]
    """A try not committed, a lost task's file beside committed ones, a table put aside, a start
    that lost, or a half-written file."""
    files: Count
    """How many files it holds."""
    bytes: Count
    """Their length together."""


class GcDocument(Document):
    """What crashes left behind: the document of ``gc``."""

    output: str
    """The output."""
    deleted: bool
    """False for a dry run: then the items still exist."""
    older_than_s: Annotated[float, Field(ge=0)]
    """What changed in the last so many seconds was left alone."""
    items: list[GarbageItem]
    """What was, or would be, deleted."""
    files: Count
    """Files in all items."""
    bytes: Count
    """Length of all items."""
    too_young: Count
    """Further items that were changed too recently."""


class ExplainStep(Document):
    """What one round decided about a row."""

    round: Count
    """Number of the round."""
    model: str
    """The model that decided it."""
    label: Said | None
    """The label the model gave; null when it could not score the row."""
    confidence: float | None
    """Its confidence in [0, 1]."""
    lower: float | None = None
    """Where labels are numbers: the bound that the true one is above."""
    upper: float | None = None
    """Where labels are numbers: the bound that the true one is below."""
    raw_confidence: float | None = None
    """The probability that the model itself gave the label; null where the confidence is that."""
    cut: float | None
    """The cut for that label in that round; null where nothing was accepted."""
    rule: str
    """The selection rule in words."""
    accepted: bool
    """Whether the label was accepted."""
    used: bool | None = None
    """False when the guard discarded the round; null while the run has no end."""
    reason: str
    """Why, in a few words."""
    votes: list[str] = []
    """The rules that voted for a label of the row, by name; empty where no rules did."""
    file: str | None = None
    """The stored file that says so, below the output."""


class FeatureEffect(Document):
    """What one feature of the row does to the confidence."""

    feature: str
    """The column."""
    value: StrictBool | StrictInt | float | str | None
    """Its value in this row; null where it is missing or a vector."""
    effect: float
    """Confidence minus its mean with values of labeled rows in this column instead."""


class ModelSays(Document):
    """What a model says about the row."""

    model: str
    """The model."""
    label: Said | None
    """The label it gives; null when it can't score the row."""
    confidence: float | None
    """Its confidence in it."""


class Why(ModelSays):
    """Why a model is as sure as it is: ``explain --why``."""

    stored_confidence: float | None
    """What the round stored; another number where the row has changed since."""
    base: float
    """Mean confidence in this label over the rows compared with."""
    background: Annotated[int, Field(ge=1)]
    """Number of labeled rows compared with."""
    features: list[FeatureEffect]
    """All features, the largest effect first."""
    final: ModelSays | None = None
    """What the final model says about the row; null while the run has no end."""


class ExplainDocument(Document):
    """Why a row has, or has not, its label: the document of ``explain``."""

    id: str | int
    """The row's id, as it was asked for."""
    kind: Literal[
        "accepted",
        "rejected",
        "invalid",
        "abstained",
        "revoked",
        "labeled",
        "validation",
        "unknown",
    ]
    """What became of the row."""
    label: Said | None = None
    """The accepted label."""
    given_label: Said | None = None
    """The label that the labeled table gives."""
    confidence: float | None = None
    """Confidence of the accepted label, or of the last one considered."""
    raw_confidence: float | None = None
    """The probability that the model itself gave it; null where the confidence is that."""
    round: Count | None = None
    """The round that decided it."""
    model: str | None = None
    """The model that decided it."""
    suspicious: SuspiciousLabel | None = None
    """Why its given label is probably wrong, a row of ``suspects``; null where it is none."""
    history: list[ExplainStep] = []
    """What each round decided, in order."""
    final_model: str | None = None
    """The model in ``model/``; null while the run has no end."""
    why: Why | None = None
    """The features' effects; null where not asked for, or there are none to tell."""
    why_not: str | None = None
    """Why there are none; null where there are, or they were not asked for."""
    text: str
    """The answer in words."""


# --- label, doctor, init --------------------------------------------------------------------------


class LabelDocument(Document):
    """New rows labeled by a finished run: the document of ``label``."""

    input: str
    """The rows that were read."""
    output: str
    """Where their labels were written."""
    rows: Count
    """Rows read and written."""
    accepted: Count | None
    """Rows above the last cut; null where the selection rule has quotas, not cuts."""
    invalid: Count
    """Rows that could not be scored; their label is null."""
    abstained: Count = 0
    """Rows on which the model abstained; their label is null, too."""
    model: str
    """The model that was applied."""


class Finding(Document):
    """One thing that ``doctor`` has looked at."""

    name: str
    """What it is, such as ``java``."""
    state: Literal["ok", "warning", "problem"]
    """A problem would stop a run; a warning only some of them."""
    found: str
    """What was found."""
    remedy: str | None
    """What to do about it; null where nothing has to be done."""


class DoctorDocument(Document):
    """The state of this machine: the document of ``doctor``."""

    ok: bool
    """Whether nothing was found that would stop a run."""
    checks: list[Finding]
    """Everything that was looked at."""


class FoundTable(Document):
    """What a first look at a table has shown, at its first rows where it is large."""

    path: str
    """The table."""
    format: str
    """Its format."""
    options: dict[str, str]
    """What its reader has to know."""
    columns: list[str]
    """Its columns."""
    label: str
    """The column with the labels."""
    classes: CountByClass
    """Rows by label, the most common first."""
    rows: Count
    """Rows looked at."""
    whole: bool
    """Whether these are all rows."""
    labeled: Count
    """Those of them with a label."""
    unlabeled: Count
    """Those without."""
    id: str | None
    """A column without equal or missing values; null where there is none."""
    rows_with_id: Count
    """The rows among which it has none."""
    texts: list[str]
    """Columns of sentences, which are read as words."""
    unreadable: list[str]
    """Columns left out, since their numbers are written as only people read them."""
    notes: list[str]
    """What to mind before it runs."""


class LabelsDocument(Document):
    """The published labels as a file: the document of ``labels``."""

    output: str
    """The output."""
    csv: str
    """The file."""
    rows: Count
    """Rows written."""
    columns: list[str]
    """Its columns."""


class InitDocument(Document):
    """The configuration that was written: the document of ``init``."""

    file: str
    """The file."""
    table: FoundTable | None = None
    """What was found in the table that it is for; null of the example."""


# --- review -------------------------------------------------------------------------------


class ExportFile(Document):
    """Rows that people are asked about: ``export.json`` beside them."""

    kind: str
    """queue, audit, certify."""
    output: str
    """The output of the run that they belong to."""
    run_id: str
    """The run."""
    set: str
    """The set, as its commit names it: answers to another one are refused."""
    rows: Count
    """Rows in the files beside this one."""
    first: Count
    """`order` of the first of them."""
    seed: int
    """From which their order follows."""
    columns: list[str]
    """The columns that identify a row."""
    classes: list[str]
    """What `answer` may be, besides empty (not answered) and ? (skipped)."""
    format: str
    """csv or labelstudio."""


class ReviewExportDocument(Document):
    """Rows were written for people: the document of ``review export``."""

    output: str
    """The output."""
    to: str
    """Where the rows are."""
    kind: str
    """queue, audit, certify."""
    number: Count
    """Which set of its kind it is, from 1."""
    set: str
    """The set."""
    rows: Count
    """Rows written now."""
    asked: Count
    """Rows of the set so far."""
    files: Count
    """Files that they are in."""
    format: str
    """csv or labelstudio."""
    features: bool
    """Whether what is known of a row stands beside its id."""
    settled: str | None = None
    """Why there is nothing more to ask; null where there is."""


class Listed(Document):
    """Answers of one sort, counted, with examples."""

    n: Count
    """How many."""
    examples: list[str] = []
    """The first of them."""


class ImportedSet(Document):
    """Answers to one exported set."""

    kind: str | None
    """queue, audit, certify; null for answers to no exported set."""
    set: str | None
    """The set."""
    answered: Count
    """Rows with an answer so far, skipped ones included."""
    new: Count
    """Answers that are new, or other than before."""
    conclusion: list[str] = []
    """What follows."""


class ReviewImportDocument(Document):
    """Answers were read back: the document of ``review import``."""

    output: str
    """The output."""
    files: list[str]
    """The files that were read."""
    sets: list[ImportedSet]
    """Answers by the set that they belong to."""
    unanswered: Count
    """Rows of the files without an answer."""
    skipped: Listed
    """Rows that somebody looked at and named no class for."""
    changed: Listed
    """Rows that had another answer before; the new one counts."""
    conflicts: Listed
    """Rows with several answers in these files; none of them counts."""
    differing: Listed
    """Rows whose new answer is another one than that to another export, or to none: all are kept,
    and a run that learns from answers uses none of them."""
    unknown_ids: Listed
    """Ids that are not among the rows asked, or no rows of the pool."""
    unknown_classes: Listed
    """Answers that are no class of this run."""
    given: Listed
    """Rows that have a given label, which wins."""
    revoked: Count
    """Labels that were taken back, since a person named another class."""
    published: Count
    """Labels that were certified and published."""
    committed: bool
    """Whether anything was new."""
    next: list[str] = []
    """What to do with it."""


class ReviewRevokeDocument(Document):
    """Labels were taken back: the document of ``review revoke``."""

    output: str
    """The output."""
    by: Literal["round", "class", "ids"]
    """How they were named."""
    revoked: Count
    """Labels taken back now."""
    before: Count
    """Named rows whose label had been taken back before."""
    unknown: Listed
    """Named ids that have no published label."""
    trained_on: Count
    """How many of them the final model was trained on."""
    labels: Count
    """Rows that ``OUT/labels`` holds now."""


DOCUMENTS: dict[str, type[Document]] = {
    "doctor": DoctorDocument,
    "error": ErrorDocument,
    "explain": ExplainDocument,
    "gc": GcDocument,
    "init": InitDocument,
    "label": LabelDocument,
    "labels": LabelsDocument,
    "plan": PlanDocument,
    "report": Report,
    "review_export": ReviewExportDocument,
    "review_import": ReviewImportDocument,
    "review_revoke": ReviewRevokeDocument,
    "status": StatusDocument,
    "verify": VerifyDocument,
}


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of every command's document by name (``report``, ``plan``, ...)."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {
        name: dialect | model.model_json_schema(mode="serialization")
        for name, model in DOCUMENTS.items()
    }
