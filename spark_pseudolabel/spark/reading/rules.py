"""Rules as a column: whether each votes on a row, evaluated by Spark while it reads the table."""

from __future__ import annotations

import inspect
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.functions import pandas_udf  # type: ignore[attr-defined]

from spark_pseudolabel.columns import VOTES
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.rules import votes_feature
from spark_pseudolabel.errors import InputError, text_of
from spark_pseudolabel.spark.reading.names import columns
from spark_pseudolabel.spark.reading.schema import simple_feature
from spark_pseudolabel.spark.reading.tables import Table

Functions = Mapping[str, Callable[..., pd.Series]]
"""Functions of the user's own, by the name of their rule: they take columns, as many as they name
parameters, and return whether each row gets a vote."""

VOTES_TYPE = T.ArrayType(T.ByteType())

_EXPRESSIONS = "org.apache.spark.sql.catalyst.expressions."
_REFUSED = (
    (r"aggregate\..*|.*(AggregateExpression|PythonUDAF)", "is an aggregate of several rows"),
    (r"(.*Window.*|RowNumber|Rank|DenseRank|PercentRank|NTile|Lag|Lead|CumeDist|NthValue)",
     "is a function of several rows"),
    (r".*Subquery(Expression)?|Exists|ListQuery|OuterReference", "is a subquery"),
    (r"Current.*|Now|LocalTimestamp|SparkVersion|.*CurrentTimestamp.*",
     "depends on when and by whom it is asked"),
    (r"(CallMethodViaReflection|TryReflect|Reflect)", "can run code"),
    (r"(ScalaUDF|PythonUDF|PythonUDTF|ApplyFunctionExpression|UserDefined.*|.*HiveGeneric.*"
     r"|HiveSimpleUDF|SQLFunction.*|SQLScalarFunction|V2.*)", "is a function that was registered"),
    (r"(Rand.*|Uuid|Shuffle|Uniform.*|MonotonicallyIncreasingID|SparkPartitionID|InputFile.*)",
     "may give another value each time"),
)  # fmt: skip
_MOMENTS = re.compile(r"\s*(now|today|tomorrow|yesterday)\b", re.IGNORECASE)


_Node = Mapping[str, Any]
"""A node of an expression as Spark writes it."""


class Rule(Protocol):
    """A rule as a configuration, or a run that is done, has it."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def when(self) -> str | None:
        """Its condition in SQL."""
        ...


@dataclass(frozen=True)
class RuleSet:
    """Rules ready to be evaluated.

    Parameters
    ----------
    spark
        The session.
    rules
        In the order of their votes.
    functions
        Those in Python.
    """

    spark: SparkSession
    rules: Sequence[Rule]
    functions: Functions

    @property
    def feature(self) -> Feature:
        """The column that :meth:`on` adds."""
        return votes_feature(len(self.rules))

    def columns(self) -> list[str]:
        """Return the columns that the rules may look at, as their texts spell them.

        Raises
        ------
        InputError
            If a text is no condition of one row.
        """
        names = [name for rule in self.rules for named in self._names(rule) for name in named]
        return list(dict.fromkeys(names))

    def on(self, table: Table) -> Table:
        """Add the votes to a table, which only Spark can read then.

        Raises
        ------
        InputError
            If a rule names a column that the table lacks, is no condition, or depends on more than
            the row.
        """
        conditions = [self._condition(rule, table) for rule in self.rules]
        no_vote = F.lit(0).cast("tinyint")
        votes = F.array(*[F.coalesce(c.cast("tinyint"), no_vote) for c in conditions])

        def vote(rows: DataFrame) -> DataFrame:
            return rows.withColumn(VOTES, votes)

        schema = T.StructType([*table.schema, T.StructField(VOTES, VOTES_TYPE)])
        return table.changed(schema, vote).through_spark()

    def features_of(self, table: Table) -> tuple[Feature, ...]:
        """Return what the columns are that the rules look at, as far as text can be cast to it."""
        named = {name.lower() for name in self.columns()}
        names = [name for name in table.schema.names if name.lower() in named]
        found = (simple_feature(table.schema, name) for name in names)
        return tuple(feature for feature in found if feature is not None)

    # --- a rule's columns

    def _names(self, rule: Rule) -> list[Sequence[str]]:
        """Return the names that a rule looks at, each as a column or as the first part of one."""
        if rule.when is None:
            return [[name] for name in inspect.signature(self._function(rule)).parameters]
        tree = self._parsed(rule)
        _require_one_row(rule, tree)
        names: list[Sequence[str]] = []
        for node in tree:
            kind = str(node["class"]).rpartition(".")[2]
            if kind == "UnresolvedFunction":
                self._require_built_in(rule, _parts(node))
            if kind == "UnresolvedAttribute":
                # Spark writes the parts of a name as it writes a name with a comma in it.
                names.append([", ".join(_parts(node)), _parts(node)[0]])
        return names

    def _function(self, rule: Rule) -> Callable[..., pd.Series]:
        if rule.name not in self.functions:
            raise InputError(
                f"The rule {rule.name!r} is a function in Python, which no output keeps. Label new "
                "rows with a run that has a student, or from Python.",
                code="no_function",
                where="teacher.rules",
            )
        return self.functions[rule.name]

    def _parsed(self, rule: Rule) -> list[_Node]:
        jvm_session: Any = self.spark._jsparkSession
        try:
            expression = jvm_session.sessionState().sqlParser().parseExpression(rule.when)
        except (PySparkException, Py4JError) as error:
            raise _bad_rule(rule, f"can't be read as a condition: {_first_line(error)}") from error
        return _nodes(expression)

    def _require_built_in(self, rule: Rule, parts: Sequence[str]) -> None:
        """Refuse a function that somebody has registered: what it does is not known."""
        name = ".".join(parts)
        if len(parts) == 1 and self._built_in(parts[0]):
            return
        raise _bad_rule(rule, f"calls {name!r}, which is none of Spark's own functions")

    def _built_in(self, name: str) -> bool:
        jvm: Any = self.spark._jvm
        identifier = jvm.org.apache.spark.sql.catalyst.FunctionIdentifier(name.lower())
        registry = jvm.org.apache.spark.sql.catalyst.analysis.FunctionRegistry
        return bool(registry.builtin().functionExists(identifier))

    # --- a rule's votes

    def _condition(self, rule: Rule, table: Table) -> Column:
        names = self._names(rule)
        _require_columns(rule, names, table)
        if rule.when is None:
            return _of_function(self._function(rule), [name for (name,) in names])
        condition, rows = F.expr(rule.when), table.rows
        try:
            # In a structure, where nothing may make several rows of one.
            evaluated = rows.select(F.struct(condition.alias(VOTES)).alias(VOTES))
        except (PySparkException, Py4JError) as error:
            said = _first_line(error)
            raise _bad_rule(rule, f"is no condition on rows of {table.name}: {said}") from error
        (kind,) = (field.dataType for field in evaluated.select(f"{VOTES}.*").schema)
        if not isinstance(kind, T.BooleanType):
            raise _bad_rule(rule, f"must be true or false. It is {kind.simpleString()}")
        plan = evaluated._jdf.queryExecution().analyzed()
        expression = plan.expressions().head()
        _require_one_row(rule, _nodes(expression))
        if not expression.deterministic():
            raise _bad_rule(rule, "may give another value each time")
        return condition


def _require_columns(rule: Rule, names: Sequence[Sequence[str]], table: Table) -> None:
    lowered = {name.lower() for name in table.schema.names}
    unknown = [name[0] for name in names if not any(part.lower() in lowered for part in name)]
    if unknown:
        error = InputError.missing_columns(table.name, unknown, table.schema.names)
        raise InputError(
            f"The rule {rule.name!r} looks at a column that is not there: {error.message}",
            code=error.code,
            where=error.where,
        )


def _require_one_row(rule: Rule, tree: Sequence[_Node]) -> None:
    """Refuse expressions that are about more than a row, or change without it."""
    for node in tree:
        full = str(node["class"])
        name = full.removeprefix(_EXPRESSIONS)
        for pattern, why in _REFUSED:
            if re.fullmatch(pattern, name) or re.fullmatch(pattern, full.rpartition(".")[2]):
                raise _bad_rule(rule, f"holds {full.rpartition('.')[2]}, which {why}")
    for outer, inner in itertools.pairwise(tree):
        moment = _MOMENTS.match(str(inner.get("value") or ""))
        if moment and re.match("date|time", str(outer.get("dataType"))):
            raise _bad_rule(rule, f"holds {moment[1]!r}, which depends on when it is asked")


def _nodes(expression: Any) -> list[_Node]:
    """Return the nodes of a JVM's expression, the outermost first."""
    nodes: list[_Node] = json.loads(expression.toJSON())
    return nodes


def _parts(node: _Node) -> list[str]:
    """Return the parts of a name that is not resolved."""
    return str(node["nameParts"])[1:-1].split(", ")


def _bad_rule(rule: Rule, problem: str) -> InputError:
    return InputError(
        f"The rule {rule.name!r} {problem}. A rule is a condition on one row: {rule.when!r}.",
        code="bad_rule",
        where=f"teacher.rules: {rule.name}",
    )


def _first_line(error: BaseException) -> str:
    lines = [line for line in text_of(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__


def _of_function(function: Callable[..., pd.Series], names: Sequence[str]) -> Column:
    def vote(*series: pd.Series) -> pd.Series:
        return pd.Series(function(*series)).astype("boolean").fillna(False).astype(bool)

    # Spark reads the annotations of each parameter to see that these are series.
    if len(names) == 1:
        vote = _of_one(vote)
    voted: Column = pandas_udf(vote, T.BooleanType())(*columns(names))
    return voted


def _of_one(vote: Callable[..., pd.Series]) -> Callable[[pd.Series], pd.Series]:
    def vote_on_one(series: pd.Series) -> pd.Series:
        return vote(series)

    return vote_on_one
