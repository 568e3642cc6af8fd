"""Text becomes numbers, dates or booleans only where nothing is lost."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa
import pytest

from spark_pseudolabel.columns import BREAKS, UNREADABLE
from spark_pseudolabel.core.text_types import TextFacts, facts_of, survey_text, type_of

TYPES: dict[str, tuple[list[str | None], str]] = {
    "integers": (["0", "-7", "123456789012345"], "bigint"),
    "integers and nulls": (["1", None, ""], "bigint"),
    "decimals": (["1.5", "-.5", "2.", "1e-7", "+3"], "double"),
    "a plus": (["+5"], "double"),
    "blanks around": ([" 5", "6 "], "double"),
    "infinite": (["inf", "-Infinity", "2"], "double"),
    "missing as words": (["1", "NA", "n/a", "NaN", "null", "-", "?", "None"], "double"),
    "leading zeros": (["007", "8"], "string"),
    "leading zero before a point": (["00.5"], "string"),
    "suffixes that Java takes for doubles": (["10d", "1f"], "string"),
    "hexadecimal": (["0x1F"], "string"),
    "digits beyond a double": (["1234567890123456"], "string"),
    "digits beyond 64 bits": (["123456789012345678901234567890"], "string"),
    "beyond the range of a double": (["1e400"], "string"),
    "underscores": (["1_000"], "string"),
    "thousands": (["1,234", "5"], "string"),
    "decimal comma": (["4,1", "3"], "string"),
    "words": (["a", "1"], "string"),
    "only missing": (["NA", "-"], "string"),
    "nothing": ([None, ""], "string"),
    "booleans": (["True", "false", "TRUE"], "boolean"),
    "booleans and digits": (["true", "1"], "string"),
    "dates": (["2024-01-31", "1582-10-04", "9999-12-31"], "date"),
    "no such day": (["2024-02-30"], "string"),
    "dates the other way round": (["31.01.2024"], "string"),
    "local times": (["2024-01-31 10:00", "2024-01-31T10:00:01.5"], "timestamp_ntz"),
    "times with a zone": (["2024-01-31T10:00:00Z", "2024-01-31 10:00:00+02:00"], "timestamp"),
    "times with and without a zone": (["2024-01-31T10:00:00Z", "2024-01-31 10:00"], "string"),
    "no such hour": (["2024-01-31 25:00"], "string"),
    "dates and times": (["2024-01-31", "2024-01-31 10:00"], "string"),
}


@pytest.mark.parametrize("name", TYPES)
def test_text_is_read_as_what_all_of_its_values_are(name: str) -> None:
    values, expected = TYPES[name]
    assert type_of(facts_of(pa.array(values, pa.string()))) == expected


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        (["1", "-2", "0", "123456789012345678"], True),
        (["1", None, ""], True),
        (["01"], False),
        (["-0"], False),
        (["+1"], False),
        ([" 1"], False),
        (["1.0"], False),
        (["1", "NA"], False),
        (["1e3"], False),
        (["9999999999999999999"], False),
        ([None], False),
    ],
)
def test_ids_and_labels_are_integers_only_in_their_one_spelling(
    values: list[str | None], whole: bool
) -> None:
    assert facts_of(pa.array(values, pa.string())).whole is whole


@pytest.mark.parametrize(
    ("values", "decorated"),
    [
        (["1,234", "5"], True),
        (["1.234.567,8"], True),
        (["4,1", "3,25"], True),
        (["1'000"], True),
        (["1\u202f000", "NA"], True),
        (["12 %", "3%"], True),
        (["$5.20", "€1,000.00"], True),
        (["1", "2"], False),
        (["007"], False),
        (["192.168.100.200"], False),
        (["1,2,3"], False),
        (["10d"], False),
        (["1,234", "about 5"], False),
        (["-", "?"], False),
    ],
)
def test_numbers_that_only_a_person_reads_are_known(values: list[str], decorated: bool) -> None:
    assert facts_of(pa.array(values, pa.string())).only_decorated is decorated


def test_a_few_words_among_numbers_are_told() -> None:
    facts = facts_of(pa.array([*map(str, range(95)), *["unknown"] * 5]))
    assert (type_of(facts), facts.mostly_numbers, facts.other_example) == (
        "string",
        True,
        "unknown",
    )
    # What is text for its format is so for a spelling of nothing, too.
    assert facts_of(pa.array(["1", "2", "n/a"])).mostly_numbers
    assert not facts_of(pa.array(["1", "2"])).mostly_numbers


def test_facts_of_parts_are_those_of_the_whole() -> None:
    values = [value for some, _ in TYPES.values() for value in some]
    whole = facts_of(pa.array(values, pa.string()))
    parts = TextFacts()
    for start in range(0, len(values), 7):
        parts = parts.merged(facts_of(pa.array(values[start : start + 7], pa.string())))
    # A day that there is not makes the days of its own part none.
    times = ("dates", "local_times", "zoned_times")
    same = {k: v for k, v in asdict(whole).items() if k not in times}
    assert same == {k: v for k, v in asdict(parts).items() if k not in times}


def test_rows_that_cannot_be_read_do_not_count_and_lost_ones_are_known() -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "id": pa.array([1, 2, None]),
            "x": pa.array(["1", "b\nc", "d"]),
            UNREADABLE: pa.array([None, "short", "shorter"]),
            BREAKS: pa.array([False, True, False]),
        }
    )
    found = survey_text([batch, batch.slice(0, 1)], ["id"])
    assert (found.rows, found.unreadable, found.lost) == (4, 2, 1)
    assert (found.example, found.line_breaks) == ("short", True)
    assert type_of(found.facts["x"]) == "bigint"
