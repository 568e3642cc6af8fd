import pytest

from spark_pseudolabel.core.teachers.rule_text import problem_of_rule


@pytest.mark.parametrize(
    "text",
    [
        "upper(text) = text",
        "text like any ('%win%', '%select rand()%')",
        r"text rlike r'\d{5}' or text = \"now\"",
        "x in (1, 2) and exists(words, w -> w = 'free')",
        "left(text, 2) = 'a;b' -- rand() is no call here",
        "x /* max(x) */ > 3",
        "`count` > 3 and first > 2 and `a;b` is null",
        "day < date '2020-01-01'",
        "case when x > 1 then true end",
    ],
)
def test_conditions_on_a_row_are_let_through(text: str) -> None:
    assert problem_of_rule(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x > (select max(x) from t)", "subquery"),
        ("exists (\n SELECT 1)", "subquery"),
        ("max(x) > 1", "several rows"),
        ("row_number() over (order by x) = 1", "several rows|window"),
        ("foo(x) over w > 1", "window"),
        ("RAND () > 0.5", "another value"),
        ("`uuid`() = id", "another value"),
        ("current_date > day", "when"),
        ("day < now()", "when"),
        ("at > timestamp 'now'", "when"),
        ("reflect('java.lang.Runtime', 'getRuntime') is null", "run code"),
        ("java_method('a', 'b') = 1", "run code"),
        ("x > 1; drop table t", "one condition"),
        ("x > ${limit}", "settings"),
    ],
)
def test_what_is_no_condition_on_a_row_is_refused(text: str, why: str) -> None:
    import re

    assert re.search(why, problem_of_rule(text) or "")
