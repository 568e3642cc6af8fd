"""What a configuration file may ask of Spark: sizes, speed and storage, and no code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_SIZES = (
    r"app\.name|cores\.max|default\.parallelism|local\.dir|log\.level|logConf|metrics\.namespace"
    r"|(driver|executor)\.(memory\w*|cores|instances|maxResultSize|host|port|bindAddress"
    r"|pyspark\.memory|heartbeatInterval|blockManager\.port|log\.level|resource\..*)"
    r"|executorEnv\.(OMP|MKL|OPENBLAS|NUMEXPR)_NUM_THREADS"
    r"|yarn\.(queue|tags|priority)|kubernetes\.namespace"
)
_FAMILIES = (
    r"(acls|admin\.acls|authenticate|blockManager|broadcast|buffer|checkpoint|cleaner|decommission"
    r"|dynamicAllocation|eventLog|excludeOnFailure|files|hadoop\.(dfs|fs|mapreduce|parquet)"
    r"|hadoopRDD|io|kerberos|kryoserializer|locality|memory|modify\.acls|network|port"
    r"|python\.worker|rdd|reducer|rpc|scheduler|shuffle|speculation|sql|ssl|stage|storage|task|ui"
    r"|unsafe)\..*|(authenticate|speculation)"
)
_SETTING = re.compile(rf"spark\.({_SIZES}|{_FAMILIES})")
_FILE_SYSTEM = re.compile(r"(fs|dfs|parquet)\..*")
_CODE = re.compile(
    r"(?i)(catalog|class|codec|command|committer|executable|extension|factory|filters|\bimpl\b|jar"
    r"|library|listeners|manager|module|options|package|plugin|provider|registrator|script|shell)"
)
"""Parts of the names of settings that name a class, a library or a program."""
_NO_CODE = re.compile(
    r"spark\.sql\.(parquet|orc|avro)\.compression\.codec"
    r"|spark\.hadoop\.mapreduce\.fileoutputcommitter\..*"
)
_OF_FILE_SYSTEMS = re.compile(
    r"(spark\.hadoop\.)?fs\..*("
    r"impl|credentials\.provider|oauth\.provider\.type(\..*)?|committer\.\w+(\..*)?)"
)
"""Settings of Hadoop's file systems that name a class by design."""
_KNOWN_CLASS = re.compile(
    r"\s*((org\.apache\.hadoop|com\.google\.cloud\.hadoop|software\.amazon\.awssdk|com\.amazonaws)"
    r"\.[\w.$]+|[\w-]+)\s*"
)

_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.DOTALL)
_SELECTING = {"select", "with", "from", "values", "table"}
_REFUSED_WORDS = re.compile(
    r"(?i)\b(?P<word>reflect|java_method|try_reflect)\b"
    r"|\b(?P<call>identifier)\b`?\s*(?:\(|/\*|--)"
    r"|\b(?P<write>insert)\b\s*(?:into|overwrite|/\*|--)"
    r"|\b(?P<script>using)\b(?!\s*\()"
    r"|(?P<variable>\$\{)"
)


def refused_settings(conf: Mapping[str, str]) -> Iterator[str]:
    """Yield the keys of ``spark.conf`` that a file may not set, since code can stand behind them.

    Examples
    --------
    >>> list(refused_settings({"spark.driver.memory": "4g", "spark.jars": "https://evil/a.jar"}))
    ['spark.jars']
    >>> list(refused_settings({"spark.hadoop.fs.s3a.secret.key": "x", "spark.sql.extensions": "E"}))
    ['spark.sql.extensions']
    """
    for key, value in conf.items():
        known = _SETTING.fullmatch(key) or _FILE_SYSTEM.fullmatch(key)
        if not known or (_CODE.search(key) and not _names_no_code(key, value)):
            yield key


def _names_no_code(key: str, value: str) -> bool:
    """Whether a setting whose name sounds like code names none, or a file system's own class."""
    if _NO_CODE.fullmatch(key):
        return True
    known = all(_KNOWN_CLASS.fullmatch(part) for part in value.split(","))
    return known and _OF_FILE_SYSTEMS.fullmatch(key) is not None


def problem_of_query(query: str) -> str | None:
    """Say why a query is refused: it must read rows, and neither change anything nor run code.

    Conservative: a word that could be a call is refused wherever it stands.

    Examples
    --------
    >>> problem_of_query("select id, x from sales.rows join stores using (store)") is None
    True
    >>> problem_of_query("select reflect('java.lang.Runtime', 'getRuntime')")
    "holds 'reflect', which can run code"
    """
    first = _FIRST_WORD.match(query)
    if first is None or first[1].lower() not in _SELECTING:
        return "must be one SELECT"
    if match := _REFUSED_WORDS.search(query):
        (word,) = [text for text in match.groupdict().values() if text]
        return f"holds {word!r}, which can {'change tables' if match['write'] else 'run code'}"
    return None
