from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from spark_pseudolabel.columns import VOTES
from spark_pseudolabel.core.teachers.kinds.rules import Rule
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.reading.rules import Functions, RuleSet
from spark_pseudolabel.spark.reading.tables import Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def rule(when: str | None, name: str = "r", function: str | None = None) -> Rule:
    # As from a stored run: what the text shows is not looked at again.
    return Rule.model_construct(name=name, label="x", when=when, function=function)


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> Table:
    spark.udf.register("mine", lambda text: text)
    rows = spark.createDataFrame(
        [(1, "WIN", 3.0, "2020-01-01"), (2, None, -1.0, None), (3, "now", None, "2021-01-01")],
        "id bigint, text string, `my, number` double, day string",
    )
    return Table.of_rows("unlabeled", rows)


def votes(spark: SparkSession, table: Table, *rules: Rule, **functions: object) -> list[list[int]]:
    given: Functions = functions  # type: ignore[assignment]
    voted = RuleSet(spark, rules, given).on(table)
    assert voted.plain is None
    assert voted.schema.simpleString() == voted.rows.schema.simpleString()
    return [list(row[VOTES]) for row in voted.rows.orderBy("id").collect()]


def test_rules_vote_where_they_are_true_and_not_where_they_are_null(
    spark: SparkSession, table: Table
) -> None:
    rules = [
        rule("upper(text) = text"),
        rule("`my, number` > 0 and TEXT like any ('%I%', '%O%')"),
        rule("text = 'now' and exists(array(1, 2), v -> v > 1)"),
        rule("cast(day as date) < date '2020-06-01' and length(text) between 1 and 4"),
    ]
    assert votes(spark, table, *rules) == [[1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert RuleSet(spark, rules, {}).columns() == ["text", "my, number", "my", "TEXT", "day"]
    of_text = RuleSet(spark, rules[:1], {}).features_of(table)
    assert [(f.name, f.kind) for f in of_text] == [("text", "category")]


def test_functions_get_the_columns_that_they_name(spark: SparkSession, table: Table) -> None:
    def long(text: pd.Series) -> pd.Series:
        return text.str.len() >= 3

    def early(day: pd.Series, id: pd.Series) -> pd.Series:
        return (day < "2020-06-01") & (id < 5)

    rules = [rule(None, "long", "f"), rule("id = 2"), rule(None, "early", "g")]
    assert votes(spark, table, *rules, long=long, early=early) == [[1, 0, 1], [0, 1, 0], [1, 0, 0]]
    with pytest.raises(InputError, match="'long' is a function in Python, which no output keeps"):
        votes(spark, table, rules[0])
    with pytest.raises(InputError, match="lacks the column 'txt'"):
        votes(spark, table, rules[0], long=lambda txt: txt)


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("texd = 'a'", "lacks the column 'texd' (did you mean 'text'?)"),
        ("_metadata.file_path = 'a'", "lacks the column"),
        ("id", "must be true or false. It is bigint"),
        ("id >", "can't be read as a condition: [PARSE_SYNTAX_ERROR]"),
        ("id > array(1)", "is no condition on rows of unlabeled: [DATATYPE_MISMATCH"),
        ("nope(text)", "calls 'nope', which is none of Spark's own functions"),
        ("mine(text) = 'a'", "calls 'mine'"),
        ("spark_catalog.default.f(text) = 'a'", "calls 'spark_catalog.default.f'"),
        ("id in (select 1)", "which is a subquery"),
        ("exists(select 1)", "which is a subquery"),
        ("any(id > 1)", "which is an aggregate"),
        ("rank() over (order by id) > 1", "which is a function of several rows"),
        ("explode(array(true))", "is no condition on rows of unlabeled: [UNSUPPORTED_GENERATOR"),
        ("rand() > 0.5", "which may give another value each time"),
        ("input_file_name() = 'a'", "which may give another value each time"),
        ("now() > cast(day as timestamp)", "which depends on when"),
        ("current_user() = text", "which depends on when and by whom"),
        ("to_timestamp('now') > cast(day as timestamp)", "holds 'now'"),
        ("cast(' Today' as date) > cast(day as date)", "holds 'Today'"),
        ("reflect('java.lang.Math', 'abs', 1) = '1'", "which can run code"),
    ],
)
def test_what_is_no_condition_on_a_row_is_refused_by_name(
    spark: SparkSession, table: Table, when: str, problem: str
) -> None:
    with pytest.raises(InputError) as raised:
        votes(spark, table, rule("id > 1", "fine"), rule(when, "wrong"))
    assert "'wrong'" in raised.value.message
    assert problem in raised.value.message
    assert raised.value.exit_code == 3
