"""What manifests say about models and rounds, as types, and how it is in their JSON.

Each kind of fact has one class: here, or in :mod:`spark_pseudolabel.core` where arithmetic makes
it. What a step has not found out is not written, so that a fact reads back, and is written again,
as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    TypeAdapter,
    WrapSerializer,
    model_serializer,
)

from spark_pseudolabel.core.facts import (
    BandPoint,
    Claim,
    ClassResult,
    Comparison,
    ErrorComparison,
    Instead,
    LadderStep,
    LossComparison,
    MeasuredShift,
    MissingLabels,
    NotCompared,
    PriorShift,
    ReferenceRows,
    Reliability,
    Representativeness,
    RulesFound,
    TeacherFacts,
)
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.teachers.weights import RowWeights
from spark_pseudolabel.core.trust.metrics import Metrics

Json = dict[str, Any]
"""A JSON object on its way to or from a file."""

Label = StrictBool | StrictInt | StrictStr
Size = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Frozen(BaseModel):
    """Base of all that is written once."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Fact(Frozen):
    """Base of a fact: a field that is not set is not written."""

    @model_serializer(mode="wrap")
    def _said(self, write: SerializerFunctionWrapHandler) -> Json:
        fields = type(self).model_fields
        written_names = self.model_fields_set | {
            fields[name].alias for name in self.model_fields_set
        }
        return {name: value for name, value in write(self).items() if name in written_names}


def _unless_none(name: str) -> WrapSerializer:
    def write(fact: object, fields: SerializerFunctionWrapHandler) -> Json:
        written: Json = fields(fact)
        return {key: value for key, value in written.items() if key != name or value is not None}

    return WrapSerializer(write)


# --- of models

StoredMetrics = Annotated[Metrics, _unless_none("numbers")]
"""Figures of a model."""


class Reliabilities(Fact):
    """Out-of-fold confidences against the truth.

    Parameters
    ----------
    raw
        As the model gives them.
    adjusted
        After its adjustment; None without one.
    """

    raw: Reliability
    adjusted: Reliability | None


class SuspectLabel(Fact):
    """A labeled row whose given label is probably wrong; `id` as ``explain --id`` takes it."""

    id: StrictInt | StrictStr
    given: Label
    suggested: Label
    p_given: float
    p_suggested: float


class GivenLabels(Fact):
    """The given labels, looked at by models that have not seen them.

    Parameters
    ----------
    n
        Rows with an out-of-fold score.
    suspicious
        Those whose label is probably wrong.
    p_value
        Probability of so many where classes merely overlap.
    explained
        Whether that may be all there is to it.
    first
        The clearest of them.
    """

    n: Size
    suspicious: Size
    p_value: float
    explained: bool
    first: tuple[SuspectLabel, ...]


def _kind_of_comparison(value: object) -> str:
    fields = value if isinstance(value, Mapping) else vars(value)
    kinds = {"errors": "p_worse", "losses": "new", "rows": "worse"}
    return next((kind for kind, own in kinds.items() if own in fields), "none")


AgainstBest = Annotated[
    Annotated[Comparison, _unless_none("refused"), Tag("rows")]
    | Annotated[LossComparison, _unless_none("refused"), Tag("losses")]
    | Annotated[ErrorComparison, _unless_none("refused"), Tag("errors")]
    | Annotated[NotCompared, Tag("none")],
    Discriminator(_kind_of_comparison),
]
"""A model against the best one before it."""

Shift = Annotated[Representativeness, _unless_none("inside")]


def _by_round(value: object) -> object:
    if isinstance(value, Mapping) and isinstance(value.get("moments"), list):
        return {**value, "moments": {number: rest for number, *rest in value["moments"]}}
    return value


def _weights_as_json(weights: RowWeights) -> Json:
    moments = [[number, *moment] for number, moment in sorted(weights.moments.items())]
    return {"each": weights.each, "scale": weights.scale, "moments": moments}


Weights = Annotated[RowWeights, BeforeValidator(_by_round), PlainSerializer(_weights_as_json)]


class Training(Fact):
    """What a model was trained on, and what was found out on the way.

    Parameters
    ----------
    rows, rows_pseudo
        All rows, and those of the pool among them.
    hash_limits
        Per class the highest hash of a pool row that was used, None for no row of it; None for all.
    weights
        What pool rows weigh.
    sha256
        Of the rows.
    reference
        The pool rows that preprocessing was learned from; None: it was learned from these rows.
    against_best
        The model against the best one before it; None where nothing was compared.
    shift
        The first model: labeled rows against the pool; None where it is not asked for.
    hygiene
        The first model, cross-fitted: the given labels.
    sampled_by_code
        The first model, cross-fitted: pool rows of a sample by predicted class.
    teacher
        The first model: who made it; None where no section ``teacher`` says so.
    rules
        The first model, of rules: what is known of them.
    """

    rows: Size
    rows_pseudo: Size
    hash_limits: tuple[int | None, ...] | None
    weights: Weights
    sha256: str
    reference: ReferenceRows | None = None
    against_best: AgainstBest | None
    shift: Shift | None = None
    hygiene: GivenLabels | None = None
    sampled_by_code: tuple[Size, ...] | None = None
    teacher: TeacherFacts | None = None
    rules: RulesFound | None = None

    @property
    def dropped(self) -> bool:
        """Whether the model is worse than the best one before it, beyond chance."""
        return self.against_best is not None and self.against_best.dropped


# --- of rounds


class Flips(Fact):
    """What became of the labels of the round before."""

    kept: int
    changed: int
    added: int
    dropped: int


class RoundCounts(Fact):
    """Where the rows of a round went: candidates = accepted + rejected + invalid.

    Rows on which the model abstained are no candidates.

    Parameters
    ----------
    candidates, accepted, rejected, invalid
        Rows.
    abstained
        Rows that the model gave no class.
    withheld, unstable, disagreement
        Rejected rows that may not be accepted: far from any labeled one, with another label when
        they are corrupted, with members that name other labels.
    accepted_by_code, taught_by_code
        Accepted rows by class, and those that a student may learn from; the latter None where it
        learns from the former.
    changed
        Whether the next model has anything new to learn.
    flips
        None where labels only grow.
    """

    candidates: Size
    accepted: Size
    rejected: Size
    invalid: Size
    abstained: Size = 0
    withheld: Size = 0
    unstable: Size = 0
    disagreement: Size = 0
    accepted_by_code: tuple[Size, ...]
    changed: bool
    flips: Flips | None = None
    taught_by_code: tuple[Size, ...] | None = None

    @property
    def left(self) -> int:
        """Rows that the next round looks at."""
        return self.rejected + self.abstained

    def by_code(self, kind: Literal["accepted", "taught"]) -> tuple[int, ...]:
        """Return the rows by class that models learn from."""
        return self.accepted_by_code if kind == "accepted" else self.taught_by_code or ()


class Content(Fact):
    """A fingerprint of accepted rows: the same for the same labels in any order."""

    rows: Size
    xor64_a: int
    xor64_b: int


class ReadRows(Fact):
    """Hashes over keys and features, where no list of files tells that rows have changed.

    Parameters
    ----------
    xor64
        Of the rows that were scored.
    left_xor64
        Of those left for the next round.
    """

    xor64: int | None = None
    left_xor64: int | None = None


def _with_code(value: object) -> object:
    if isinstance(value, Mapping) and "class" in value:
        return {"code": value["class"], **{key: value[key] for key in value if key != "class"}}
    return value


def _with_class(result: ClassResult | MissingLabels, fields: SerializerFunctionWrapHandler) -> Json:
    written: Json = fields(result)
    return {"class": written.pop("code"), **written}


class RoundCertificate(Fact):
    """A certificate as its round keeps it.

    Parameters
    ----------
    claimed
        Whether any row may be published under the promise.
    precision, certainty, per, best, min_coverage
        The promise, see :class:`spark_pseudolabel.core.trust.promise.Promise`.
    source, n_calibration, n_only_ones, n_pool, coverage, claims, refused, by_class
        See :class:`spark_pseudolabel.core.trust.certificate.Certificate`.
    band, ladder, missing, instead
        See :class:`spark_pseudolabel.core.trust.survey.Survey`.
    prior_shift
        Predicted classes of the calibration rows and of the pool, compared.
    prior
        The given class shares of the pool; None without.
    shift
        How far the labeled rows stand for the pool; None: not measured.
    inside_only, stable_only, agreed_only
        Whether it is about rows near a labeled one only, about those that keep their label when
        they are corrupted, about those that members of the model agree on.
    withheld
        Valid pool rows that it leaves out.
    """

    claimed: bool
    precision: float
    certainty: float
    per: Literal["all", "class"]
    best: bool = False
    min_coverage: float | None = None
    source: Literal["out_of_fold", "held_out"]
    n_calibration: Size
    n_only_ones: Size = 0
    n_pool: Size
    coverage: float
    claims: tuple[Claim, ...]
    refused: str | None
    by_class: tuple[
        Annotated[ClassResult, BeforeValidator(_with_code), WrapSerializer(_with_class)], ...
    ] = ()
    band: tuple[BandPoint, ...] = ()
    ladder: tuple[LadderStep, ...] = ()
    missing: tuple[
        Annotated[MissingLabels, BeforeValidator(_with_code), WrapSerializer(_with_class)], ...
    ] = ()
    instead: Instead | None = None
    prior_shift: PriorShift
    prior: tuple[float, ...] | None = None
    shift: MeasuredShift | None = None
    inside_only: bool = False
    stable_only: bool = False
    agreed_only: bool = False
    withheld: Size = 0


_SPARSE: TypeAdapter[dict[str, tuple[tuple[int, int], ...]]] = TypeAdapter(
    dict[str, tuple[tuple[int, int], ...]]
)


def _counted(value: object) -> Counts:
    if isinstance(value, Counts):
        return value
    return Counts.from_sparse(_SPARSE.validate_python(value))


Histogram = Annotated[Counts, PlainValidator(_counted), PlainSerializer(Counts.to_sparse)]
"""Valid candidates by class and confidence; in JSON only the bins that hold rows."""


# --- of the end


class RunCounts(Fact):
    """Where the rows of the inputs went: pool = accepted + rejected + invalid.

    Parameters
    ----------
    labeled, validation
        Rows with a given label that models were trained on, and those kept out of every fit.
    pool, accepted, rejected, invalid
        Unlabeled rows.
    abstained
        Rows on which the model abstained.
    withheld, unstable, disagreement
        Rejected rows that may not be accepted; see :class:`RoundCounts`.
    """

    labeled: Size
    validation: Size
    pool: Size
    accepted: Size
    rejected: Size
    invalid: Size
    abstained: Size = 0
    withheld: Size = 0
    unstable: Size = 0
    disagreement: Size = 0


class ReportedRound(Frozen):
    """What the report says about a round, as far as the store asks."""

    round: Size
    used: bool = True


_ROUNDS = TypeAdapter(tuple[ReportedRound, ...])


@dataclass(frozen=True)
class StoredReport:
    """The document of ``report.json`` as it was written.

    Parameters
    ----------
    document
        All of it.
    rounds
        What it says about each round.
    """

    document: Mapping[str, Any]
    rounds: tuple[ReportedRound, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> StoredReport:
        """Take a document; ValueError if its rounds are none."""
        return cls(document, _ROUNDS.validate_python(document.get("rounds", ())))


def _reported(value: object) -> StoredReport:
    if isinstance(value, Mapping):
        return StoredReport.of(value)
    if not isinstance(value, StoredReport):
        raise ValueError("must be a JSON object")
    return value


ReportJson = Annotated[
    StoredReport, PlainValidator(_reported), PlainSerializer(lambda report: report.document)
]
