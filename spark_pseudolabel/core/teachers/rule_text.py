"""What the text of a rule shows before Spark has read it: what is no condition on one row.

A rule's label may depend on nothing but the row, so that it is the same on every cluster and at
every time. Conservative where it is cheap: what is not seen here is found in Spark's own analysis
(:mod:`spark_pseudolabel.spark.reading.rules`).
"""

from __future__ import annotations

import re

_PARTS = re.compile(
    r"""--[^\n]*|/\*.*?\*/                      # comments
    |(?<!\w)r'[^']*'|(?<!\w)r"[^"]*"            # raw strings
    |'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"  # strings
    |`(?:[^`]|``)*`""",
    re.DOTALL | re.VERBOSE | re.IGNORECASE,
)
_TIMED = re.compile(
    r"""(?i)\b(?:date|timestamp|timestamp_ntz|timestamp_ltz|time)\s*['"]\s*"""
    r"""(?:now|today|tomorrow|yesterday)\b"""
)

_REFUSED = {
    "is an aggregate of several rows": """
        any_value approx_count_distinct approx_percentile array_agg avg bit_and bit_or bit_xor
        bool_and bool_or collect_list collect_set corr count count_if count_min_sketch covar_pop
        covar_samp every first first_value grouping grouping_id histogram_numeric kurtosis last
        last_value listagg max max_by mean median min min_by mode percentile percentile_approx
        percentile_cont percentile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2
        regr_slope regr_sxx regr_sxy regr_syy skewness std stddev stddev_pop stddev_samp string_agg
        sum try_avg try_sum var_pop var_samp variance""",
    "is a function of several rows": """
        cume_dist dense_rank lag lead nth_value ntile percent_rank rank row_number session_window
        window window_time""",
    "may give another value each time": """
        input_file_block_length input_file_block_start input_file_name monotonically_increasing_id
        rand randn random randstr shuffle spark_partition_id uniform uuid""",
    "depends on when and by whom it is asked": """
        curdate current_catalog current_database current_date current_schema current_time
        current_timestamp current_timezone current_user localtimestamp now session_user version""",
    "can run code": "java_method reflect try_reflect",
}
_WHY = {name: why for why, names in _REFUSED.items() for name in names.split()}
_WITHOUT_BRACKETS = frozenset(
    {
        "current_date",
        "current_time",
        "current_timestamp",
        "current_user",
        "localtimestamp",
        "session_user",
    }
)


def problem_of_rule(text: str) -> str | None:
    """Say why a condition is refused: it must be about one row, and give the same each time.

    Examples
    --------
    >>> problem_of_rule("upper(text) = text and text not like '%select rand()%'") is None
    True
    >>> problem_of_rule("rand() > 0.5")
    "holds 'rand', which may give another value each time"
    >>> problem_of_rule("sender in (select sender from blocked)")
    'holds a subquery'
    >>> problem_of_rule("count(*) over (partition by sender) > 3")
    'holds a window function'
    """
    if "${" in text:
        return "holds '${', by which Spark puts settings into a text"
    if match := _TIMED.search(text):
        return f"holds {match[0]!r}..., which depends on when it is asked"
    bare = _PARTS.sub(_without_content, text)
    if re.search(r"(?i)\(\s*(?:select|with|values|table|from)\b(?!\s*[,)(=<>!+*/%|&.-])", bare):
        return "holds a subquery"
    if re.search(r"(?i)\)\s*over\b", bare):
        return "holds a window function"
    if ";" in re.sub("`[^`]*`", "", bare):
        return "must be one condition, without ';'"
    for match in re.finditer(r"(?i)(?<![\w.`])`?([a-z_]\w*)`?(\s*\()?", bare):
        name = match[1].lower()
        if match[2] is None and ("`" in match[0] or name not in _WITHOUT_BRACKETS):
            continue
        if name in _WHY:
            return f"holds {name!r}, which {_WHY[name]}"
    return None


def _without_content(match: re.Match[str]) -> str:
    text = match[0]
    if text[0] == "`":
        return text
    return " " if text[:2] in ("--", "/*") else "''"
