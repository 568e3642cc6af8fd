"""The configuration: one frozen model per section, read once, checked once, every problem told.

Nothing here imports pyspark or scikit-learn, so that a wrong key costs no JVM, and no more does
an estimator's name that is misspelled; its class and parameters are looked up where it is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, ValidationError

from spark_pseudolabel.columns import FILE, ROW_INDEX
from spark_pseudolabel.config_example import EXAMPLE
from spark_pseudolabel.config_file import (
    KeyPath,
    Source,
    policy_of,
    read_overrides,
    read_yaml,
)
from spark_pseudolabel.config_problems import (
    JsonSchema,
    choice,
    of_section,
    unknown_key,
)
from spark_pseudolabel.config_trust import problem_of_query, refused_settings
from spark_pseudolabel.errors import ConfigError, Problem
from spark_pseudolabel.formats import format_of_path
from spark_pseudolabel.redaction import HIDDEN, SECRET, redacted
from spark_pseudolabel.registry import unknown_name

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = [
    "EXAMPLE",
    "SECRET",
    "Certified",
    "Config",
    "Crest",
    "Features",
    "FlexMatch",
    "FreeMatch",
    "KBest",
    "LabeledTable",
    "Model",
    "OneShot",
    "Output",
    "Percentile",
    "Quotas",
    "Rounds",
    "Selection",
    "Shift",
    "SparkSettings",
    "Student",
    "TaughtRows",
    "Teacher",
    "TestTable",
    "Threshold",
    "TopKPerClass",
    "Training",
    "UnlabeledTable",
    "Validation",
    "config_schema",
    "identity",
    "load_config",
    "parse_config",
]


def _as_spark_text(value: Any) -> Any:
    """Spell a YAML scalar the way Spark's options are spelled."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


Text = Annotated[str, Field(min_length=1)]
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
SparkText = Annotated[str, BeforeValidator(_as_spark_text)]


def _by_text(value: Any) -> Any:
    """Spell labels that are keys as reports do: in Python they may be what they are."""
    if not isinstance(value, Mapping):
        return value
    keys = [str(key).lower() if isinstance(key, bool) else str(key) for key in value]
    if len(set(keys)) < len(keys):
        raise _said(f"must name every label once. Got {', '.join(keys)}.")
    return dict(zip(keys, value.values(), strict=True))


Prior = Annotated[dict[str, Annotated[Number, Field(ge=0, le=1)]], BeforeValidator(_by_text)]
"""Shares by label, the label as text."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Table(_Section):
    """Rows named by exactly one of a path, a catalog table, a query or (in Python) a frame."""

    path: Text | None = None
    table: Text | None = None
    query: Text | None = None
    from_: Literal["dataframe"] | None = Field(default=None, alias="from")
    format: Text = "parquet"
    options: dict[str, SparkText] = {}

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
    def _one_source(self) -> _Table:
        if len(self.sources) != 1:
            raise _said(
                "must name its rows by exactly one of path, table, query. "
                f"Got {' and '.join(self.sources) or 'none of them'}."
            )
        return self

    @field_validator("query")
    @classmethod
    def _only_selects(cls, query: str | None) -> str | None:
        if query is not None and (problem := problem_of_query(query)):
            raise _said(f"{problem}. Make a view or a table of it, and name that by table:.")
        return query


class LabeledTable(_Table):
    """The rows with given labels; ``drawn`` says how they were chosen to be labeled.

    ``per_class``: so many of each label, whatever their share of the pool. That is estimated, where
    ``unlabeled.prior`` does not say it and each label has 50 rows at least, and scores are
    corrected to it. ``group``: the column that says which rows are alike, such as those of one
    customer: they share a fold and a side of the validation split, and a certificate counts groups.
    """

    label: Text
    group: Text | None = None
    drawn: Literal["random", "per_class"] = "random"


class UnlabeledTable(_Table):
    """The pool.

    ``prior`` is the share of every label in it, where that is known: scores are corrected to it.
    ``max_invalid`` is the share of rows that the model may be unable to score before the run stops.
    """

    from_: Literal["labeled", "dataframe"] | None = Field(default=None, alias="from")  # type: ignore[assignment]
    scan: Literal["auto", "spark"] = "auto"
    drop_labeled: Flag = False
    prior: Prior | None = None
    max_invalid: Annotated[Number, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> UnlabeledTable:
        total = sum(self.prior.values()) if self.prior is not None else 1.0
        if abs(total - 1) > 1e-6:
            raise _said(f"prior must hold shares that sum to 1. Got {total:g}.")
        return self


class TestTable(_Table):
    """Rows with true labels, scored once at the end, for the report only."""

    __test__ = False  # pytest would collect it by its name


class Validation(_Table):
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
            given = self.sources + (["fraction"] if self.fraction > 0 else [])
            raise _said(
                f"must be exactly one of fraction, path, table, query. Got {' and '.join(given)}."
            )
        if self.sources and self.group is not None:
            raise _said("group splits the labeled rows, so it needs fraction; leave group out.")
        return self


class Features(_Section):
    """Which columns a model sees; ``text`` columns are read as free text whatever they look like.

    Default: all shared columns but id, label and group.
    """

    include: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    exclude: tuple[Text, ...] = ()
    text: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _not_both(self) -> Features:
        if self.include is not None and self.exclude:
            raise _said("must have include or exclude, not both. Leave one of them out.")
        return self


class Student(_Section):
    """The estimator that is fitted from model 2 on, where it differs from the teacher."""

    estimator: Text
    params: dict[str, Any] = {}


class Model(_Section):
    """The estimator by its name in the registry, or by an allowed import path."""

    estimator: Text = "HistGradientBoostingClassifier"
    params: dict[str, Any] = {}
    student: Student | None = None

    @property
    def learner(self) -> Student:
        """The estimator that learns from accepted rows."""
        return self.student or Student(estimator=self.estimator, params=self.params)


class Teacher(_Section):
    """Who makes model 1 instead of ``model``, which is the student then.

    ``committee``: these estimators vote, cross-fitted, each with the weight that its out-of-fold
    scores earn. ``student``: false where nobody learns from the committee, which is the final
    model then.
    """

    committee: Annotated[tuple[Student, ...], Field(min_length=1)] = (
        Student(estimator="LogisticRegression", params={"max_iter": 1000}),
        # Leaves are bounded for the size of what is stored, which grows with the rows otherwise.
        Student(
            estimator="ExtraTreesClassifier", params={"n_estimators": 100, "max_leaf_nodes": 4096}
        ),
        Student(
            estimator="HistGradientBoostingClassifier",
            params={"early_stopping": False, "max_iter": 50, "min_samples_leaf": 10},
        ),
        # So many steps and no more: the penalty and the vote's weights take care of what is left.
        Student(
            estimator="MLPClassifier",
            params={"hidden_layer_sizes": [64], "solver": "lbfgs", "max_iter": 100, "alpha": 1.0},
        ),
    )
    student: Flag = True


class OneShot(_Section):
    """Every scored row is accepted in round 1."""

    policy: Literal["one_shot"]


class Threshold(_Section):
    """Rows whose confidence is above ``threshold`` (strictly) are accepted."""

    policy: Literal["threshold"] = "threshold"
    threshold: Fraction = 0.9


class KBest(_Section):
    """The ``k`` most confident rows of a round, whatever their class, are accepted."""

    policy: Literal["k_best"]
    k: Count = 10


class TopKPerClass(_Section):
    """The ``k`` most confident rows of each class are accepted."""

    policy: Literal["top_k_per_class"]
    k: Count


class Percentile(_Section):
    """Curriculum: round r relabels the pool and accepts its most confident ``r * step`` share."""

    policy: Literal["percentile"]
    step: Annotated[Number, Field(gt=0, le=1)] = 0.2


class FlexMatch(_Section):
    """Classes that few rows reach with ``threshold`` get a lower one."""

    policy: Literal["flexmatch"]
    threshold: Annotated[Number, Field(gt=0, lt=1)] = 0.95


class FreeMatch(_Section):
    """The pool's mean confidence is the threshold, lower for classes it holds less of."""

    policy: Literal["freematch"]


class Crest(_Section):
    """Rarer classes, by labeled rows, keep a larger share; ``alpha`` 0: all keep everything."""

    policy: Literal["crest"]
    alpha: Annotated[Number, Field(ge=0)] = 0.5


class Quotas(_Section):
    """Round r accepts a ``r * step`` share of the pool, dealt to classes as ``by`` says."""

    policy: Literal["quotas"]
    step: Annotated[Number, Field(gt=0, le=1)] = 0.2
    by: Literal["labeled", "uniform", "pool"] = "labeled"
    min_per_class: Count | None = None
    max_per_class: Count | None = None

    @model_validator(mode="after")
    def _floor_below_cap(self) -> Quotas:
        floor, cap = self.min_per_class, self.max_per_class
        if floor is not None and cap is not None and floor > cap:
            raise _said(f"min_per_class must not exceed max_per_class. Got {floor} and {cap}.")
        return self


class Certified(_Section):
    """Published labels reach ``precision`` with the probability ``certainty``.

    ``per``: the labels together, or those of every class. ``scores``: what is tested against are
    the labeled rows, each scored by models that have not seen it, or the validation rows.
    ``required``: a promise that the number of labeled rows rules out is refused before anything is
    fitted; false: the run goes on and publishes nothing.
    """

    policy: Literal["certified"]
    precision: Annotated[Number, Field(gt=0, lt=1)] = 0.95
    certainty: Annotated[Number, Field(gt=0, lt=1)] = 0.95
    per: Literal["all", "class"] = "all"
    scores: Literal["out_of_fold", "held_out"] = "out_of_fold"
    required: Flag = True


class Auto(_Section):
    """Short for a teacher and policy ``certified``, whatever the number of labeled rows.

    A committee labels the pool, certified rows are published. It is the final model, unless
    ``model`` is given: that learns from the committee's probabilities for rows of the whole pool.
    Without ``selection`` that is the policy, except where another key is about self-training.
    """

    policy: Literal["auto"] = "auto"
    precision: Annotated[Number, Field(gt=0, lt=1)] = 0.95
    certainty: Annotated[Number, Field(gt=0, lt=1)] = 0.95


_RECOMMENDED_TRAINING = {"rows": "all", "max_rows": 5000}
_SELF_TRAINING = (
    ("rounds",),
    ("training",),
    ("model", "student"),
    ("validation", "group"),
)
"""Keys that say how a model learns from its own labels: with them, no ``selection`` is no auto."""

Selection = Annotated[
    OneShot
    | Threshold
    | KBest
    | TopKPerClass
    | Percentile
    | FlexMatch
    | FreeMatch
    | Crest
    | Quotas
    | Certified
    | Auto,
    Field(discriminator="policy"),
]
POLICIES: dict[str, type[_Section]] = {
    "one_shot": OneShot,
    "threshold": Threshold,
    "k_best": KBest,
    "top_k_per_class": TopKPerClass,
    "percentile": Percentile,
    "flexmatch": FlexMatch,
    "freematch": FreeMatch,
    "crest": Crest,
    "quotas": Quotas,
    "certified": Certified,
    "auto": Auto,
}
_TAKE_WEIGHTS = frozenset(
    {
        "LogisticRegression",
        "SGDClassifier",
        "GaussianNB",
        "SVC",
        "DecisionTreeClassifier",
        "RandomForestClassifier",
        "ExtraTreesClassifier",
        "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
        "XGBClassifier",
        "LGBMClassifier",
    }
)
"""Estimators known to do so without importing them, which takes seconds."""
_AUTO_IN_WORDS = "a committee labels the pool, and labels of certified precision are published"
GROWING = ("percentile", "quotas")
"""Policies that accept a larger share of the whole pool in every round."""


class Rounds(_Section):
    """``max``: null = no limit, 0 = the seed model only. ``relabel``: decide every row anew."""

    max: Annotated[Whole, Field(ge=0)] | None = 10
    relabel: Flag = False


class TaughtRows(_Section):
    """The most confident ``top`` share of the pool, or the rows above ``threshold`` (strictly)."""

    top: Annotated[Number, Field(gt=0, le=1)] | None = None
    threshold: Fraction | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> TaughtRows:
        if (self.top is None) == (self.threshold is None):
            raise _said("must have exactly one of top, threshold.")
        return self


def _rows_by_name_or_rule(value: Any) -> str:
    return "rule" if isinstance(value, (Mapping, TaughtRows)) else "name"


class Training(_Section):
    """What the next model learns from.

    ``rows``: accepted ones, or others, whatever is accepted. ``pseudo_weight``: of an accepted row
    beside a labeled one's 1.0. ``max_pseudo_weight``: the most that all of them weigh together, as
    a multiple of the labeled rows' weight.
    """

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


class Shift(_Section):
    """What follows where the pool is unlike the labeled rows.

    ``warn`` tells. ``stop`` labels nothing where they do not stand for the pool. ``withhold``
    publishes no row that is far from every labeled one. ``off`` does not look. Without this
    section runs that are cross-fitted or certify warn, and others do not look.
    """

    action: Annotated[
        Literal["warn", "stop", "withhold", "off"],
        BeforeValidator(lambda value: "off" if value is False else value),  # YAML reads off so
    ] = "warn"


class Output(_Section):
    """Where the results go, and which columns ``labels`` and ``training`` carry besides."""

    path: Text
    features: Flag = False
    probabilities: Flag = False


class SparkSettings(_Section):
    """``master``: null = what spark-submit says, else local[*]."""

    master: Text | None = None
    conf: dict[str, SparkText] = {}


class Config(_Section):
    """A whole configuration, resolved; made by `load_config` and `parse_config`."""

    mode: Literal["sklearn"] | None = None
    labeled: LabeledTable
    unlabeled: UnlabeledTable
    validation: Validation = Validation()
    test: TestTable | None = None
    id: Text | None = None
    features: Features = Features()
    model: Model = Model()
    teacher: Teacher | None = None
    selection: Selection = Auto()
    calibration: Literal["none", "sigmoid", "isotonic", "temperature"] = "none"
    rounds: Rounds = Rounds()
    training: Training = Training()
    shift: Shift | None = None
    output: Output
    random_state: Annotated[Whole, Field(ge=0, le=2**32 - 1)] = 0
    spark: SparkSettings = SparkSettings()
    _why_selection: str | None = PrivateAttr(default=None)

    @property
    def why_selection(self) -> str | None:
        """Which policy is in force and why, where ``selection`` does not say so itself."""
        return self._why_selection

    @property
    def certified(self) -> Certified | None:
        """The promise that published labels are to keep, if there is one."""
        return self.selection if isinstance(self.selection, Certified) else None

    @property
    def group(self) -> str | None:
        """The column that says which labeled rows belong together."""
        return self.labeled.group or self.validation.group

    @property
    def cross_fitted(self) -> bool:
        """Whether model 1 is a mean over folds, so that labeled rows have honest scores."""
        return _cross_fitted(self.selection, self.teacher)

    @property
    def measures_shift(self) -> bool:
        """Whether labeled rows are compared with a sample of the pool."""
        if self.shift is None:
            return self.cross_fitted or self.certified is not None
        return self.shift.action != "off"

    @property
    def withholds(self) -> bool:
        """Whether pool rows far from every labeled one are not published."""
        return self.shift is not None and self.shift.action == "withhold"

    @property
    def student(self) -> Student | None:
        """The estimator that learns from pseudo-labels; None: the one that gives them."""
        if self.teacher is not None and not self.teacher.student:
            return None
        if self.teacher is not None:
            return Student(estimator=self.model.estimator, params=self.model.params)
        return self.model.student

    @property
    def estimators(self) -> list[str]:
        """The names of all estimators that are fitted."""
        members = self.teacher.committee if self.teacher is not None else ()
        student = [self.student.estimator] if self.student is not None else []
        own = [self.model.estimator] if self.teacher is None else []
        return [*own, *(member.estimator for member in members), *student]

    @property
    def one_round(self) -> bool:
        """Whether model 1 alone labels the pool."""
        return self.certified is not None or self.teacher is not None


def load_config(
    path: str | Path,
    overrides: Sequence[str] = (),
    allow_import: Sequence[str] = (),
    *,
    check_estimators: bool = True,
) -> Config:
    """Read a YAML file.

    Parameters
    ----------
    path
        The file.
    overrides
        ``a.b=value`` pairs that win over the file; values are read as YAML.
    allow_import
        Import paths of estimators outside the registry that may be imported.
    check_estimators
        Whether estimators' classes and parameters are looked up, which takes seconds for the import
        of scikit-learn. Their names are checked in any case.

    Raises
    ------
    ConfigError
        With every problem of the file and of the overrides.
    """
    source, problems = read_yaml(path)
    source, set_problems = read_overrides(source, overrides)
    return _parse(
        source,
        [*problems, *set_problems],
        allow_import,
        dataframes=False,
        estimators=check_estimators,
    )


def parse_config(
    data: Mapping[str, Any],
    allow_import: Sequence[str] = (),
    *,
    estimator: BaseEstimator | None = None,
) -> Config:
    """Check a configuration that was built in Python.

    Parameters
    ----------
    data
        The same keys as in a file; tables may also be ``{"from": "dataframe"}``.
    allow_import
        Import paths of estimators outside the registry that may be imported.
    estimator
        Used as it is instead of the one that ``model`` names, which is not looked up then.
    """
    return _parse(
        Source.of(data),
        [],
        allow_import,
        dataframes=True,
        estimators=True,
        estimator=estimator,
    )


def identity(config: Config) -> dict[str, Any]:
    """Return what makes a run this run, as plain JSON values.

    Left out: ``spark`` (how it is computed), ``rounds.max`` (a raised limit continues the run)
    and ``output.path`` (an output stays itself when its directory is renamed).
    """
    document = public(config)
    document["rounds"] = {k: v for k, v in document["rounds"].items() if k != "max"}
    document["output"] = {k: v for k, v in document["output"].items() if k != "path"}
    return document


def public(config: Config) -> dict[str, Any]:
    """Return the resolved configuration as it may be written down: no ``spark``, no secrets."""
    document = config.model_dump(mode="json", by_alias=True, exclude={"spark"})
    for section in document.values():
        if isinstance(section, dict) and section.get("options"):
            section["options"] = {
                key: HIDDEN if SECRET.search(key) else value
                for key, value in section["options"].items()
            }
    return {key: redacted(section) for key, section in document.items()}


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""
    schema = Config.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _said(message: str) -> PydanticCustomError:
    # Braces in a message would be read as fields of a template.
    return PydanticCustomError("said", "{text}", {"text": message})


Parts = dict[str, Any]
"""The sections that are right by themselves, by their name."""
Check = Callable[[Parts], Iterator[tuple[str, str]]]
"""Yields (dotted key, what is wrong) for sections that do not fit together."""


def _parse(
    source: Source,
    problems: Sequence[Problem],
    allow_import: Sequence[str],
    *,
    dataframes: bool,
    estimators: bool,
    estimator: BaseEstimator | None = None,
) -> Config:
    checks: list[Check] = [*_CHECKS, partial(_prior_is_of_the_rows, estimator=estimator)]
    if not dataframes:
        checks += [_no_dataframes, partial(_no_code, overridden=source.overridden)]
    parts, found = _check_sections(source)
    selection, why = _chosen_selection(source, parts)
    parts = _recommended(parts | selection, allow_import, estimator)
    crossed = [source.problem(key, text) for check in checks for key, text in check(parts)]
    unfit = _estimators(source, parts, allow_import, estimator, look_up=estimators)
    unfit_members = _committee(source, parts.get("teacher"), allow_import, look_up=estimators)
    if everything := [*problems, *found, *crossed, *unfit, *unfit_members]:
        raise ConfigError(sorted(everything, key=lambda problem: problem.line or 0))
    config = Config(**_resolve(parts))
    config._why_selection = why
    return config


def _check_sections(source: Source) -> tuple[Parts, list[Problem]]:
    """Check each section alone, so that one wrong section does not hide another's problems."""
    schema = config_schema()
    parts: Parts = {}
    problems = [
        unknown_key(source, (key,), schema, schema)
        for key in source.data
        if key not in Config.model_fields
    ]
    for name, field in Config.model_fields.items():
        if name in source.data:
            part, found = _check_section(source, name, schema)
            problems += found
            parts |= {} if found else {name: part}
        elif field.is_required():
            problems.append(source.problem(name, "required section is missing."))
        else:
            parts[name] = field.get_default()
    return parts, problems


def _check_section(source: Source, name: str, schema: JsonSchema) -> tuple[Any, list[Problem]]:
    field, value = Config.model_fields[name], source.data[name]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
    node = schema["properties"][name]
    if name == "selection" and isinstance(value, Mapping):
        policy = policy_of(value)
        if policy not in POLICIES:
            return None, [source.problem("selection.policy", choice(POLICIES, policy))]
        adapter, node = (
            TypeAdapter(POLICIES[policy]),
            POLICIES[policy].model_json_schema(),
        )
        value = {**value, "policy": policy}
    try:
        return adapter.validate_python(value), []
    except ValidationError as error:
        return None, of_section(source, name, error, node, schema)


def _chosen_selection(source: Source, parts: Parts) -> tuple[Parts, str | None]:
    """Fill in a missing selection; also tell why, where the section does not say it itself."""
    like_sklearn = source.value(("mode",)) == "sklearn"
    if "selection" in source.data:
        is_auto = isinstance(parts.get("selection"), Auto) and not like_sklearn
        return {}, f"auto: {_AUTO_IN_WORDS}" if is_auto else None
    if like_sklearn:
        return {"selection": Threshold()}, "threshold, as scikit-learn's: mode is sklearn"
    about = next((".".join(path) for path in _SELF_TRAINING if source.value(path)), None)
    if about is not None:
        return {"selection": Threshold()}, (
            f"threshold, since {about} is given and selection is not; "
            "selection: {policy: auto} publishes labels of certified precision"
        )
    return {"selection": Auto()}, f"auto, since there is no selection: {_AUTO_IN_WORDS}"


def _recommended(
    parts: Parts, allow_import: Sequence[str], estimator: BaseEstimator | None
) -> Parts:
    """Write out policy auto, around what the other sections say for themselves."""
    selection = parts.get("selection")
    if not isinstance(selection, Auto) or parts.get("mode") == "sklearn":
        return parts
    certified = Certified(
        policy="certified",
        precision=selection.precision,
        certainty=selection.certainty,
        required=False,
    )
    parts = parts | {"selection": certified}
    has_student = "model" in parts and _names_estimator(parts["model"])
    if "teacher" in parts:
        teacher = parts["teacher"] or Teacher()
        if "student" not in teacher.model_fields_set:
            teacher = teacher.model_copy(update={"student": has_student})
        parts, has_student = parts | {"teacher": teacher}, teacher.student
    if "training" in parts and has_student:
        said = parts["training"].model_dump(include=parts["training"].model_fields_set)
        if "labels" not in said and "model" in parts:
            soft = _may_take_weights(parts["model"], allow_import, estimator)
            said["labels"] = "soft" if soft else "hard"
        parts = parts | {"training": Training(**{**_RECOMMENDED_TRAINING, **said})}
    return parts


def _may_take_weights(
    model: Model, allow_import: Sequence[str], estimator: BaseEstimator | None
) -> bool:
    """Whether soft labels suit a student; so too one that is wrong, which is told elsewhere."""
    if estimator is None and model.estimator in _TAKE_WEIGHTS:
        return True
    if estimator is None and unknown_name(model.estimator, allow_import):
        return True
    from spark_pseudolabel.core.estimators import (
        check_estimator,
        takes_sample_weight,
        weights_supported,
    )

    if estimator is not None:
        return weights_supported(estimator)
    wrong = check_estimator(model.estimator, model.params, allow_import)
    return wrong is not None or takes_sample_weight(model.estimator, model.params)


def _names_estimator(model: Model) -> bool:
    return bool(model.model_fields_set & {"estimator", "params"})


def _resolve(parts: Parts) -> Parts:
    """Fill in what one section implies for another."""
    if parts["selection"].policy in GROWING:
        parts = parts | {"rounds": parts["rounds"].model_copy(update={"relabel": True})}
    if _one_round(parts):
        parts = parts | {"rounds": parts["rounds"].model_copy(update={"max": 1})}
    honest = _cross_fitted(parts["selection"], parts["teacher"])
    if honest and not parts["validation"].model_fields_set and not _held_out(parts["selection"]):
        parts = parts | {"validation": Validation(fraction=0.0)}
    if parts["mode"] != "sklearn":
        return parts
    selection = parts["selection"]
    if "threshold" not in selection.model_fields_set and selection.policy == "threshold":
        selection = Threshold(threshold=0.75)
    return parts | {
        "selection": selection,
        "validation": Validation(fraction=0.0),
        "training": Training(max_rows=None),
    }


def _cross_fitted(selection: Any, teacher: Teacher | None) -> bool:
    by_selection = isinstance(selection, Certified) and selection.scores == "out_of_fold"
    return by_selection or teacher is not None


def _held_out(selection: Any) -> bool:
    return isinstance(selection, Certified) and selection.scores == "held_out"


def _one_round(parts: Parts) -> bool:
    return isinstance(parts.get("selection"), Certified) or parts.get("teacher") is not None


def _growing_shares_relabel(parts: Parts) -> Iterator[tuple[str, str]]:
    rounds, selection = parts.get("rounds"), parts.get("selection")
    refused = rounds and "relabel" in rounds.model_fields_set and not rounds.relabel
    if refused and selection and selection.policy in GROWING:
        yield (
            "rounds.relabel",
            f"must be true with policy {selection.policy!r}, which decides every row anew. Leave "
            "it out.",
        )


def _one_round_is_one(parts: Parts) -> Iterator[tuple[str, str]]:
    rounds = parts.get("rounds")
    if not rounds or not _one_round(parts):
        return
    certified = isinstance(parts.get("selection"), Certified)
    by = "policies 'auto' and 'certified'" if certified else "a teacher"
    if "max" in rounds.model_fields_set and rounds.max != 1:
        yield (
            "rounds.max",
            f"must be 1 with {by}: model 1 labels the pool, once. Got {rounds.max}. Leave it out.",
        )
    if rounds.relabel:
        yield "rounds.relabel", f"must be false with {by}: there is one round. Leave it out."


def _students_are_there(parts: Parts) -> Iterator[tuple[str, str]]:
    model, training = parts.get("model"), parts.get("training")
    if (alone := parts.get("teacher")) and not alone.student and model and _names_estimator(model):
        yield (
            "teacher.student",
            "must not be false with a model, which is the student. Leave one of them out.",
        )
    if parts.get("teacher") is not None and model and model.student is not None:
        yield (
            "model.student",
            "must be left out with a teacher: model is the student. Name the student there.",
        )
    teacher = parts.get("teacher")
    has_student = model and model.student is not None if teacher is None else teacher.student
    if training and training.rows != "accepted" and not (_one_round(parts) and has_student):
        yield (
            "training.rows",
            "'all', top and threshold need policy 'auto' with a model, a teacher, or policy "
            "'certified' with model.student: a student that learns from what another model says of "
            "every row.",
        )
    if training and parts.get("selection") and _one_round(parts) and not has_student:
        for key in sorted(training.model_fields_set - {"rows"}):
            yield (
                f"training.{key}",
                "must be left out where nobody learns from the labels. Name a student: model with "
                "policy 'auto' or a teacher, model.student with policy 'certified'.",
            )


def _certificate_has_rows(parts: Parts) -> Iterator[tuple[str, str]]:
    selection, validation = parts.get("selection"), parts.get("validation")
    if not validation:
        return
    none = validation.fraction == 0 and not validation.is_table
    if none and isinstance(selection, Certified) and selection.scores == "held_out":
        yield (
            "selection.scores",
            "'held_out' tests on validation rows, and there are none. Give validation a fraction "
            "or a table, or say out_of_fold.",
        )


def _group_has_one_meaning(parts: Parts) -> Iterator[tuple[str, str]]:
    labeled, validation = parts.get("labeled"), parts.get("validation")
    if not labeled or not validation or labeled.group is None or validation.group is None:
        return
    if labeled.group != validation.group:
        yield (
            "validation.group",
            f"must be the column that labeled.group names, {labeled.group!r}, or be left out. "
            f"Got {validation.group!r}.",
        )


_FEIGNS = ("class_weight", "class_prior", "priors", "scale_pos_weight", "is_unbalance")


def feigned(params: Mapping[str, Any]) -> list[str]:
    """Return the parameters by which a model learns other class shares than those of its rows.

    Those of a pipeline's steps are spelled ``step__name``.

    Examples
    --------
    >>> feigned({"clf__class_weight": "balanced", "class_weight": None, "is_unbalance": False})
    ['clf__class_weight']
    """
    return [
        name
        for name, value in params.items()
        if name.split("__")[-1] in _FEIGNS
        and value is not None
        and value is not False
        and not (type(value) in (int, float) and value == 1)  # boosting then weighs nothing
    ]


def _prior_is_of_the_rows(
    parts: Parts, estimator: BaseEstimator | None = None
) -> Iterator[tuple[str, str]]:
    unlabeled, model, teacher = (parts.get(name) for name in ("unlabeled", "model", "teacher"))
    if not unlabeled or unlabeled.prior is None:
        return
    named = {"model": model, "model.student": model and model.student}
    named |= {
        f"teacher.committee.{i}": m for i, m in enumerate(teacher.committee if teacher else ())
    }
    params = {key: one.params for key, one in named.items() if one}
    if estimator is not None and model:
        params["model"] = estimator.get_params(deep=True)  # the section holds their text
    for key, of_one in params.items():
        for name in feigned(of_one):
            yield (
                f"{key}.params.{name}",
                "must be left out with unlabeled.prior: scores are corrected from the class shares "
                f"of the rows that a model has learned from, and {name} pretends others.",
            )


def _calibration_has_scores(parts: Parts) -> Iterator[tuple[str, str]]:
    method, selection = parts.get("calibration"), parts.get("selection")
    # A section with a problem of its own is not among the parts; what it means is not known.
    if method in (None, "none") or selection is None or "teacher" not in parts:
        return
    if parts.get("mode") != "sklearn" and not _cross_fitted(selection, parts["teacher"]):
        yield (
            "calibration",
            f"{method!r} is fitted on out-of-fold scores, and there are none. Give policy 'auto', "
            "a teacher, or policy 'certified' with scores: out_of_fold, or say none.",
        )


def _rows_have_ids(parts: Parts) -> Iterator[tuple[str, str]]:
    if "id" not in parts or parts["id"] is not None:
        return
    for name in ("labeled", "unlabeled"):
        table = parts.get(name)
        if table and table.from_ != "labeled" and not table.is_parquet_path:
            yield (
                "id",
                (
                    "must name the column with the rows' ids; it may be left out only where "
                    f"labeled and unlabeled are Parquet by path, and {name} is not."
                ),
            )
            return


def _dropped_rows_have_ids(parts: Parts) -> Iterator[tuple[str, str]]:
    unlabeled = parts.get("unlabeled")
    if unlabeled and unlabeled.drop_labeled and "id" in parts and parts["id"] is None:
        yield (
            "unlabeled.drop_labeled",
            "needs id: where a row stands in a file says nothing of where it stands elsewhere.",
        )


def _relabeling_ends(parts: Parts) -> Iterator[tuple[str, str]]:
    rounds, selection = parts.get("rounds"), parts.get("selection")
    endless = rounds and rounds.relabel and rounds.max is None
    if endless and selection and selection.policy not in GROWING and not _one_round(parts):
        yield (
            "rounds.max",
            "must be a number with rounds.relabel: labels that are decided anew may swing forever. "
            "Got null.",
        )


def _label_is_no_feature(parts: Parts) -> Iterator[tuple[str, str]]:
    labeled, features = parts.get("labeled"), parts.get("features")
    taken = {labeled.label: "the label"} if labeled else {}
    if "id" in parts and parts["id"] is None:
        taken |= dict.fromkeys((FILE, ROW_INDEX), "what identifies a row without an id")
    elif parts.get("id"):
        taken[parts["id"]] = "the id"
    for key in ("include", "text"):
        for name in (getattr(features, key) or ()) if features else ():
            if name in taken:
                yield f"features.{key}", f"must not name {name!r}, which is {taken[name]}."
    if labeled and "id" in parts and parts["id"] == labeled.label:
        yield (
            "id",
            f"must be another column than labeled.label. Both are {labeled.label!r}.",
        )


def _output_is_no_input(parts: Parts) -> Iterator[tuple[str, str]]:
    """Refuse an output among the files of a table, where the next start would read it."""
    output = parts.get("output")
    for name in ("labeled", "unlabeled", "validation", "test"):
        table = parts.get(name)
        if not output or not table or table.path is None:
            continue
        inside, folder = (_full(path) for path in (output.path, table.path))
        if inside == folder or inside.startswith(f"{folder}/"):
            yield (
                "output.path",
                f"must not lie in {name}.path {table.path!r}, whose files are all read. Got "
                f"{output.path!r}: choose another directory.",
            )


def _full(path: str) -> str:
    """Return a path as it can be compared: absolute and without links, where it is local."""
    local = path.removeprefix("file://").removeprefix("file:")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", local):
        return path.rstrip("/")
    return os.path.realpath(local)


def _sklearn_mode(parts: Parts) -> Iterator[tuple[str, str]]:
    """Find keys that say something else than ``mode: sklearn`` does."""
    if parts.get("mode") != "sklearn":
        return
    implied: dict[str, dict[str, Any]] = {
        "validation": {"fraction": 0.0},
        "training": Training(max_rows=None).model_dump(),
        "model": {"student": None},
        "rounds": {"relabel": False},
        "features": {"text": ()},
    }
    for name, keys in implied.items():
        section = parts.get(name)
        # The format may follow from the path, which is told as well.
        for key in sorted(section.model_fields_set - {"format"}) if section else ():
            value = getattr(section, key)
            if (name == "validation" or key in keys) and keys.get(key, object()) != value:
                spelled = "from" if key == "from_" else key
                yield f"{name}.{spelled}", "conflicts with mode: sklearn. Leave it out."
    if parts.get("teacher") is not None:
        yield "teacher", "conflicts with mode: sklearn. Leave it out."
    if parts.get("calibration", "none") != "none":
        yield "calibration", "conflicts with mode: sklearn. Leave it out."
    if (unlabeled := parts.get("unlabeled")) and unlabeled.prior is not None:
        yield "unlabeled.prior", "conflicts with mode: sklearn. Leave it out."
    shift = parts.get("shift")
    if shift and shift.action in ("stop", "withhold"):
        yield "shift.action", "must be 'warn' or 'off' with mode: sklearn, which labels anyway."
    selection = parts.get("selection")
    if selection and selection.policy not in ("threshold", "k_best"):
        yield (
            "selection.policy",
            f"must be one of 'threshold', 'k_best' with mode: sklearn. Got {selection.policy!r}.",
        )


_CHECKS: tuple[Check, ...] = (
    _growing_shares_relabel,
    _one_round_is_one,
    _students_are_there,
    _certificate_has_rows,
    _group_has_one_meaning,
    _calibration_has_scores,
    _rows_have_ids,
    _dropped_rows_have_ids,
    _relabeling_ends,
    _label_is_no_feature,
    _output_is_no_input,
    _sklearn_mode,
)


def _no_code(parts: Parts, *, overridden: frozenset[KeyPath]) -> Iterator[tuple[str, str]]:
    """Tell of settings in a file that could run code; whoever types a command may do that."""
    spark = parts.get("spark")
    conf = spark.conf if isinstance(spark, SparkSettings) else {}
    in_file = {k: v for k, v in conf.items() if not _is_typed(("spark", "conf", k), overridden)}
    for key in refused_settings(in_file):
        yield (
            f"spark.conf.{key}",
            "must not stand in a file, where only settings of size, speed and storage may: others "
            f"can run code. Give it on the command line: --set spark.conf.{key}=..., or to "
            "spark-submit by --conf.",
        )


def _is_typed(path: KeyPath, overridden: frozenset[KeyPath]) -> bool:
    return any(path[: len(given)] == given for given in overridden)


def _no_dataframes(parts: Parts) -> Iterator[tuple[str, str]]:
    for name in ("labeled", "unlabeled", "validation", "test"):
        table = parts.get(name)
        if table and table.from_ == "dataframe":
            yield (
                f"{name}.from",
                "'dataframe' is for the Python API. Name a path, table or query.",
            )


def _estimators(
    source: Source,
    parts: Parts,
    allow_import: Sequence[str],
    own: BaseEstimator | None,
    *,
    look_up: bool,
) -> Iterator[Problem]:
    """Check the estimators of ``model`` by name, and by class and parameters if looked up."""
    if parts.get("model") == Model():
        return  # importing scikit-learn takes seconds, and its own defaults are right

    known = own is None  # an own estimator's weights are looked at when it is about to be fitted
    if look_up and own is not None:
        from spark_pseudolabel.core.estimators import check_probabilities

        if message := check_probabilities(own):
            yield source.problem(("model", "estimator"), message)
    # From the source, so that another wrong key of the section does not hide an unknown name.
    named = [("model", "student")] if own is not None else [("model",), ("model", "student")]
    for path in named:
        name = source.value((*path, "estimator")) or (path == ("model",) and Model().estimator)
        params = source.value((*path, "params")) or {}
        if not isinstance(name, str) or not isinstance(params, dict):
            known = False if name else known
        elif message := unknown_name(name, allow_import):
            known = False
            yield source.problem((*path, "estimator"), message)
        elif look_up and (problem := _looked_up(source, path, name, params, allow_import)):
            known = False
            yield problem
    if look_up and known and "model" in parts and "training" in parts:
        for key, message in _weights(parts["training"], parts["model"].learner):
            yield source.problem(key, message)


def _looked_up(
    source: Source,
    path: KeyPath,
    name: str,
    params: dict[str, Any],
    allow_import: Sequence[str],
) -> Problem | None:
    """Check an estimator's class and parameters, which needs its library."""
    from spark_pseudolabel.core.estimators import check_estimator, check_name

    if message := check_name(name, allow_import):
        return source.problem((*path, "estimator"), message)
    if message := check_estimator(name, params, allow_import):
        blamed = [str(key) for key in params if repr(key) in message][:1]
        return source.problem((*path, "params", *blamed), message)
    return None


def _committee(
    source: Source, teacher: Teacher | None, allow_import: Sequence[str], *, look_up: bool
) -> Iterator[Problem]:
    if teacher is None or teacher.committee == Teacher().committee:
        return
    for number, member in enumerate(teacher.committee):
        message = unknown_name(member.estimator, allow_import)
        if message is None and look_up:
            from spark_pseudolabel.core.estimators import check_estimator

            message = check_estimator(member.estimator, member.params, allow_import)
        if message is not None:
            yield source.problem(("teacher", "committee", str(number)), message)


def _weights(training: Training, learner: Student) -> Iterator[tuple[str, str]]:
    from spark_pseudolabel.core.estimators import takes_sample_weight

    if not training.weighted or takes_sample_weight(learner.estimator, learner.params):
        return
    if training.labels == "soft":
        yield (
            "training.labels",
            f"'soft' needs an estimator that takes weights, and {learner.estimator} does not.",
        )
    if training.pseudo_weight != 1.0:
        yield (
            "training.pseudo_weight",
            (
                f"must be 1.0 with {learner.estimator}, which takes no weights. "
                f"Got {training.pseudo_weight!r}."
            ),
        )
    if training.max_pseudo_weight is not None:
        yield (
            "training.max_pseudo_weight",
            f"must be null with {learner.estimator}, which takes no weights. Leave it out.",
        )
