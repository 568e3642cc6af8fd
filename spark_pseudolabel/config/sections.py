"""The sections of the configuration, one frozen model each, and the configuration itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    field_validator,
    model_validator,
)

from spark_pseudolabel.columns import LABEL
from spark_pseudolabel.config.tolerance import Spelled
from spark_pseudolabel.config.trust import problem_of_query
from spark_pseudolabel.core.selection.policies import POLICIES
from spark_pseudolabel.core.selection.policies.auto import Auto
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.core.selection.policy import Policy
from spark_pseudolabel.core.teachers.kind import NamedEstimator, TeacherKind
from spark_pseudolabel.core.teachers.kinds import KINDS
from spark_pseudolabel.core.teachers.kinds.rules import RulesKind
from spark_pseudolabel.fields import (
    Count,
    Flag,
    Fraction,
    Level,
    Number,
    Section,
    Share,
    Text,
    Whole,
    wrong_section,
)
from spark_pseudolabel.formats import LOGGED_FORMATS, format_of_path


def _as_spark_text(value: Any) -> Any:
    """Spell a YAML scalar the way Spark's options are spelled."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


_VERSION_OPTIONS = (
    "versionasof",
    "timestampasof",
    "snapshot-id",
    "as-of-timestamp",
    "branch",
    "tag",
    "start-snapshot-id",
    "end-snapshot-id",
)

SparkText = Annotated[str, BeforeValidator(_as_spark_text)]


def _by_text(value: Any) -> Any:
    """Spell labels that are keys as reports do: in Python they may be what they are."""
    if not isinstance(value, Mapping):
        return value
    keys = [str(key).lower() if isinstance(key, bool) else str(key) for key in value]
    if len(set(keys)) < len(keys):
        raise wrong_section(f"must name every label once. Got {', '.join(keys)}.")
    return dict(zip(keys, value.values(), strict=True))


Prior = Annotated[dict[str, Annotated[Number, Field(ge=0, le=1)]], BeforeValidator(_by_text)]
"""Shares by label, the label as text."""


class Table(Section):
    """Rows named by exactly one of a path, a catalog table, a query or (in Python) a frame.

    ``version``: of a table that keeps a log, Delta's version or the id of Iceberg's snapshot;
    without it the latest one when a run begins.
    """

    path: Text | None = None
    table: Text | None = None
    query: Text | None = None
    from_: Literal["dataframe"] | None = Field(default=None, alias="from")
    format: Text = "parquet"
    options: dict[str, SparkText] = Field(default={})
    version: Whole | None = None

    @property
    def sources(self) -> list[str]:
        """The keys that say where the rows are, as the file spells them."""
        named = {
            "path": self.path,
            "table": self.table,
            "query": self.query,
            "from": self.from_,
        }
        return [key for key, value in named.items() if value is not None]

    @property
    def is_parquet_path(self) -> bool:
        """Whether the rows are files that have a position of their own (file, row_index)."""
        return self.path is not None and self.format == "parquet"

    @model_validator(mode="before")
    @classmethod
    def _format_by_name(cls, data: Any) -> Any:
        """Let the names of the files say what they are, unless the user does."""
        path = data.get("path") if isinstance(data, Mapping) else None
        if isinstance(path, str) and data.get("format") is None:
            return {**data, "format": format_of_path(path) or "parquet"}
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Table:
        if len(self.sources) != 1:
            raise wrong_section(
                "must name its rows by exactly one of path, table, query. "
                f"Got {' and '.join(self.sources) or 'none of them'}."
            )
        return self

    @model_validator(mode="after")
    def _version_of_a_log(self) -> Table:
        logged = self.format in LOGGED_FORMATS
        if self.version is not None and not (logged and (self.path or self.table)):
            raise wrong_section(
                "version needs format: delta or format: iceberg, and path or table: only these "
                "tables have versions."
            )
        chosen = [key for key in self.options if key.lower() in _VERSION_OPTIONS]
        if logged and chosen:
            raise wrong_section(
                f"must name a version by version: N (Delta's version or Iceberg's snapshot id), "
                f"and not by options. Got {chosen[0]}."
            )
        return self

    @field_validator("query")
    @classmethod
    def _only_selects(cls, query: str | None) -> str | None:
        if query is not None and (problem := problem_of_query(query)):
            raise wrong_section(
                f"{problem}. Make a view or a table of it, and name that by table:."
            )
        return query


class LabeledTable(Table):
    """The rows with given labels; ``drawn`` says how they were chosen to be labeled.

    ``per_class``: so many of each label, whatever their share of the pool. That is estimated, where
    ``unlabeled.prior`` does not say it and each label has 50 rows at least, and scores are
    corrected to it. ``group``: the column that says which rows are alike, such as those of one
    customer: they share a fold and a side of the validation split, and a certificate counts groups.
    ``reviews``: outputs whose reviewed rows are labeled, too, with what people have answered; in a
    file, further elements of a list.
    """

    label: Text
    group: Text | None = None
    drawn: Literal["random", "per_class"] = "random"
    reviews: tuple[Text, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _no_other_list(cls, data: Any) -> Any:
        if isinstance(data, list):
            raise wrong_section(
                "must be a table, or a list: first a table with label, then {reviews: OUT} for "
                "each output whose answers are labels, too."
            )
        return data


class UnlabeledTable(Table):
    """The pool.

    ``prior`` is the share of every label in it, where that is known: scores are corrected to it.
    ``max_invalid`` is the share of rows that the model may be unable to score before the run stops.
    ``snapshot``: whether a pool that workers can't read themselves is copied into the output as
    Parquet, once, and read there: ``auto`` where that is cheaper, until the run has ended, or
    ``keep`` for good.
    """

    from_: Literal["labeled", "dataframe"] | None = Field(default=None, alias="from")  # type: ignore[assignment]
    scan: Literal["auto", "spark"] = "auto"
    snapshot: Literal["auto", "never", "keep"] = "auto"
    drop_labeled: Flag = False
    prior: Prior | None = None
    max_invalid: Annotated[Number, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> UnlabeledTable:
        total = sum(self.prior.values()) if self.prior is not None else 1.0
        if abs(total - 1) > 1e-6:
            raise wrong_section(f"prior must hold shares that sum to 1. Got {total:g}.")
        return self


class TestTable(Table):
    """Rows with true labels, scored once at the end, for the report only.

    ``label``: the column with them, where no labeled table names it.
    """

    __test__ = False  # pytest would collect it by its name

    label: Text | None = None


class Validation(Table):
    """Rows with true labels that no model is trained on: a share of the labeled ones, or a table.

    ``fraction`` is 0 where there is no validation and where it is a table of its own.
    """

    fraction: Fraction = 0.2
    group: Text | None = None

    @property
    def is_table(self) -> bool:
        return bool(self.sources)

    @model_validator(mode="before")
    @classmethod
    def _table_means_no_fraction(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and any(
            data.get(key) is not None for key in ("path", "table", "query", "from")
        ):
            return {"fraction": 0.0, **data}
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Validation:
        if len(self.sources) > 1 or (self.sources and self.fraction > 0):
            sources = self.sources + (["fraction"] if self.fraction > 0 else [])
            raise wrong_section(
                f"must be exactly one of fraction, path, table, query. Got {' and '.join(sources)}."
            )
        if self.sources and self.group is not None:
            raise wrong_section(
                "group splits the labeled rows, so it needs fraction; leave group out."
            )
        return self


class Features(Section):
    """Which columns a model sees; ``text`` columns are read as free text whatever they look like.

    Default: all shared columns but id, label and group.
    """

    include: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    exclude: tuple[Text, ...] = ()
    text: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _not_both(self) -> Features:
        if self.include is not None and self.exclude:
            raise wrong_section("must have include or exclude, not both. Leave one of them out.")
        return self


class Model(Section):
    """The estimator by its name in the registry, or by an allowed import path."""

    estimator: Text = "HistGradientBoostingClassifier"
    params: dict[str, Any] = Field(default={})
    student: NamedEstimator | None = None

    @property
    def is_named(self) -> bool:
        """Whether the section says which estimator it is."""
        return bool(self.model_fields_set & {"estimator", "params"})

    @property
    def learner(self) -> NamedEstimator:
        """The estimator that learns from accepted rows."""
        return self.student or self.seed

    @property
    def seed(self) -> NamedEstimator:
        """The estimator of the section itself."""
        return NamedEstimator(estimator=self.estimator, params=self.params)


if TYPE_CHECKING:
    Selection = Policy
    Teacher = TeacherKind
else:
    # One of the policies, each declared with its parameters in core/selection/policies.
    Selection = Annotated[Union[tuple(POLICIES.values())], Field(discriminator="policy")]  # noqa: UP007
    # One of the kinds in core/teachers/kinds.
    Teacher = Union[tuple(KINDS)]  # noqa: UP007


class Rounds(Section):
    """``max``: null = no limit, 0 = the seed model only. ``relabel``: decide every row anew."""

    max: Annotated[Whole, Field(ge=0)] | None = 10
    relabel: Flag = False


class TaughtRows(Section):
    """The most confident ``top`` share of the pool, or the rows above ``threshold`` (strictly)."""

    top: Share | None = None
    threshold: Fraction | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> TaughtRows:
        if (self.top is None) == (self.threshold is None):
            raise wrong_section("must have exactly one of top, threshold.")
        return self


def _rows_by_name_or_rule(value: Any) -> str:
    return "rule" if isinstance(value, (Mapping, TaughtRows)) else "name"


class Training(Section):
    """What the next model learns from, and where.

    ``on``: the driver, or the cluster, by ``workers`` of an engine. ``max_rows``: at most so many
    rows; null, which is the default on the cluster, for all. ``rows``: accepted ones, or others,
    whatever is accepted. ``pseudo_weight``: of an accepted row beside a labeled one's 1.0.
    ``max_pseudo_weight``: the most that all of them weigh together, as a multiple of the labeled
    rows' weight.
    """

    on: Literal["driver", "cluster"] = "driver"
    workers: Count | None = None
    max_rows: Count | None = 200_000
    rows: Annotated[
        Annotated[Literal["accepted", "all"], Tag("name")] | Annotated[TaughtRows, Tag("rule")],
        Discriminator(_rows_by_name_or_rule),
    ] = "accepted"
    labels: Literal["hard", "soft"] = "hard"
    pseudo_weight: Annotated[Number, Field(gt=0)] | Literal["confidence", "softmatch"] = 1.0
    max_pseudo_weight: Annotated[Number, Field(gt=0)] | None = None

    @property
    def weighted(self) -> bool:
        """Whether a fit needs ``sample_weight``."""
        rows_weigh = self.pseudo_weight != 1.0 or self.max_pseudo_weight is not None
        return self.labels == "soft" or rows_weigh


class Shift(Section):
    """What follows where the pool is unlike the labeled rows.

    ``warn`` reports it. ``stop`` labels nothing where they do not stand for the pool. ``withhold``
    publishes no row that is far from every labeled one. ``off`` does not look. Without this
    section runs that are cross-fitted or certify warn, and others do not look.
    """

    action: Annotated[
        Literal["warn", "stop", "withhold", "off"],
        BeforeValidator(lambda value: "off" if value is False else value),  # YAML reads off so
    ] = "warn"


class EveryGeneration(Section):
    """``every: 7`` fits a new model in every seventh generation."""

    every: Count


def _rule_or_section(value: Any) -> str:
    return "section" if isinstance(value, (Mapping, EveryGeneration)) else "name"


class Incremental(Section):
    """How rows that have come since the last generation are labeled; ``true`` is the defaults.

    ``refit``: ``never`` labels them with the finished model and plan; ``every`` fits a new model
    in each so-many-th generation, ``on_drift`` where new rows are unlike the pool that the model
    was fitted for. ``on_shift``: ``stop`` labels nothing where they are too unlike.
    """

    refit: Annotated[
        Annotated[Literal["never", "on_drift"], Tag("name")]
        | Annotated[EveryGeneration, Tag("section")],
        Discriminator(_rule_or_section),
    ] = "never"
    on_shift: Literal["stop", "continue"] = "stop"


def _true_is_defaults(value: Any) -> Any:
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class Output(Section):
    """Where the results go, and which columns ``labels`` and ``training`` carry besides."""

    path: Text
    features: Flag = False
    probabilities: Flag = False


class SparkSettings(Section):
    """``master``: null = what spark-submit says, else local[*]."""

    master: Text | None = None
    conf: dict[str, SparkText] = Field(default={})


def with_reviews(labeled: Any) -> Any:
    """Return a section ``labeled`` as one mapping, where it is a list of a table and reviews.

    Examples
    --------
    >>> with_reviews([{"path": "a.csv", "label": "y"}, {"reviews": "out"}])
    {'path': 'a.csv', 'label': 'y', 'reviews': ['out']}
    """
    if not isinstance(labeled, list) or not labeled:
        return labeled
    table, *others = labeled
    reviews = [each.get("reviews") for each in others if isinstance(each, Mapping)]
    lone = all(isinstance(each, Mapping) and set(each) == {"reviews"} for each in others)
    if not isinstance(table, Mapping) or "reviews" in table or not lone:
        return labeled
    return {**table, "reviews": reviews} if others else dict(table)


class Config(Section):
    """A whole configuration, resolved; made by `load_config` and `parse_config`.

    ``task``: what labels are, classes or numbers. A number is right if it is within ``tolerance``
    of the true one: in units of the label, ``"5 %"`` of the true number, or ``"0.25 sd"``, standard
    deviations of the labeled rows' numbers. ``interval``: share of the true numbers that shall lie
    between the bounds that are published beside each number; 0.95.
    """

    mode: Literal["sklearn"] | None = None
    task: Literal["classification", "regression"] = "classification"
    tolerance: Spelled | None = None
    interval: Level | None = None
    labeled: LabeledTable | None
    unlabeled: UnlabeledTable
    validation: Validation = Validation()
    test: TestTable | None = None
    id: Text | None = None
    features: Features = Features()
    model: Model = Model()
    teacher: Teacher | None = None
    selection: Selection = Auto()
    calibration: Literal["auto", "none", "sigmoid", "isotonic", "temperature"] = "auto"
    rounds: Rounds = Rounds()
    training: Training = Training()
    shift: Shift | None = None
    incremental: Annotated[Incremental | None, BeforeValidator(_true_is_defaults)] = None
    output: Output
    random_state: Annotated[Whole, Field(ge=0, le=2**32 - 1)] = 0
    spark: SparkSettings = SparkSettings()
    _why_selection: str | None = PrivateAttr(default=None)

    @property
    def why_selection(self) -> str | None:
        """Which policy is in force and why, where ``selection`` does not say so itself."""
        return self._why_selection

    @property
    def of_numbers(self) -> bool:
        """Whether labels are numbers."""
        return self.task == "regression"

    @property
    def certified(self) -> Certified | None:
        """The promise that published labels are to keep, if there is one."""
        return self.selection if isinstance(self.selection, Certified) else None

    @property
    def label(self) -> str:
        """The column of true labels in every table that has some."""
        of_test = None if self.test is None else self.test.label
        return of_test or LABEL if self.labeled is None else self.labeled.label

    @property
    def reviews(self) -> tuple[str, ...]:
        """Outputs whose reviewed rows are labeled, too."""
        return () if self.labeled is None else self.labeled.reviews

    @property
    def drawn(self) -> Literal["random", "per_class"]:
        """How the labeled rows were chosen to be labeled."""
        return "random" if self.labeled is None else self.labeled.drawn

    @property
    def rules(self) -> RulesKind | None:
        """The rules that label the pool, if these do."""
        return self.teacher if isinstance(self.teacher, RulesKind) else None

    @property
    def group(self) -> str | None:
        """The column that says which labeled rows belong together."""
        of_labeled = None if self.labeled is None else self.labeled.group
        return of_labeled or self.validation.group

    @property
    def cross_fitted(self) -> bool:
        """Whether model 1 is a mean over folds, so that labeled rows have out-of-fold scores."""
        has_labels = self.labeled is not None
        return is_cross_fitted(self.selection, self.teacher, has_labels=has_labels)

    @property
    def measures_shift(self) -> bool:
        """Whether labeled rows are compared with a sample of the pool."""
        if self.labeled is None:
            return False
        if self.shift is None:
            return self.cross_fitted or self.certified is not None
        return self.shift.action != "off"

    @property
    def withholds(self) -> bool:
        """Whether pool rows far from every labeled one are not published."""
        return self.shift is not None and self.shift.action == "withhold"

    @property
    def student(self) -> NamedEstimator | None:
        """The estimator that learns from pseudo-labels; None: the one that gives them."""
        if self.teacher is not None and not self.teacher.student:
            return None
        if self.teacher is not None:
            return self.model.seed
        return self.model.student

    @property
    def estimators(self) -> list[str]:
        """The names of all estimators that are fitted."""
        members = self.teacher.members.values() if self.teacher is not None else ()
        student = [self.student.estimator] if self.student is not None else []
        own = [self.model.estimator] if self.teacher is None else []
        return [*own, *(member.estimator for member in members), *student]

    @property
    def one_round(self) -> bool:
        """Whether model 1 alone labels the pool."""
        return has_one_round(self.selection, self.teacher)


def is_cross_fitted(
    selection: Policy, teacher: TeacherKind | None, *, has_labels: bool = True
) -> bool:
    """Whether model 1 is a mean over folds; see :attr:`Config.cross_fitted`."""
    by_selection = isinstance(selection, Certified) and selection.scores == "out_of_fold"
    return has_labels and (by_selection or teacher is not None)


def has_one_round(selection: Policy | None, teacher: TeacherKind | None) -> bool:
    """Whether model 1 alone labels the pool; see :attr:`Config.one_round`."""
    return isinstance(selection, Certified) or teacher is not None
