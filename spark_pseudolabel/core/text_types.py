"""What columns of text hold: the rules by which a CSV column becomes numbers, dates or stays text.

A column is read as something else than text only where every value of it says so and nothing is
lost: no leading zero, no suffix, no separator, no digit beyond what a double keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from spark_pseudolabel.columns import BREAKS, UNREADABLE

TextType = Literal["bigint", "double", "boolean", "date", "timestamp", "timestamp_ntz", "string"]
"""Spark's names of what text may become."""

_INTEGER = r"^(0|-?[1-9]\d{0,17})$"
"""Written as any program writes a 64-bit integer, so that text and number tell the same."""

_EXPONENT = r"([eE][+-]?(\d{1,2}|[12]\d{2}|30[0-7]))?"
NUMBER = (
    r"^\s*[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)" + _EXPONENT + r"\s*$"
    r"|^\s*[+-]?(?i:inf|infinity)\s*$"
)
_PLAIN = r"\d+(\.\d+)?"
_SEPARATED = r"(\d{1,3}([,'\x{00A0}\x{202F}]\d{3})+([.,]\d+)?|\d{1,3}(\.\d{3})+,\d+|\d+,\d+)"
_DECORATED = (
    rf"^\s*[+-]?{_SEPARATED}\s*[$€£¥%]?\s*$"
    rf"|^\s*[+-]?[$€£¥]\s*[+-]?({_SEPARATED}|{_PLAIN})\s*$"
    rf"|^\s*[+-]?({_SEPARATED}|{_PLAIN})\s*[$€£¥%]\s*$"
)
"""Numbers with thousands separators, a decimal comma, a percent or currency sign."""

_BOOLEAN = r"^(?i:true|false)$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_TIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
_LOCAL_TIME = _TIME + "$"
_ZONED_TIME = _TIME + r"(Z|[+-]\d{2}:\d{2})$"

MISSING = r"^\s*(|(?i:na|n/a|#n/a|nan|-nan|null|none|nil)|-|\?|<NA>)\s*$"
"""How a missing number is spelled; of a category these may be names."""

_MIXED = 0.9


@dataclass(frozen=True)
class TextFacts:
    """How many values of a text column look like what.

    Parameters
    ----------
    present
        Values that are neither null nor empty.
    missing
        Those of them that spell a missing number, such as ``NA``.
    integers, numbers
        Integers in their one usual spelling; numbers that a double keeps.
    decorated
        Values that a person reads as a number, plain ones among them, and no reader does.
    booleans, dates, local_times, zoned_times
        Values of these kinds.
    missing_example, other_example, decorated_example
        A value that spells a missing number; one that is no number; a number with decoration.
    """

    present: int = 0
    missing: int = 0
    integers: int = 0
    numbers: int = 0
    decorated: int = 0
    booleans: int = 0
    dates: int = 0
    local_times: int = 0
    zoned_times: int = 0
    missing_example: str | None = None
    other_example: str | None = None
    decorated_example: str | None = None

    def merged(self, other: TextFacts) -> TextFacts:
        """Return the facts of both columns together."""
        facts: dict[str, Any] = {}
        for name, value in asdict(self).items():
            other_value = getattr(other, name)
            facts[name] = (
                _least(value, other_value) if name.endswith("_example") else value + other_value
            )
        return TextFacts(**facts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; ``TextFacts(**d)`` reads them back."""
        return asdict(self)

    @property
    def whole(self) -> bool:
        """Whether there are values and all are integers, so that text and number tell the same."""
        return 0 < self.present == self.integers

    @property
    def empty(self) -> bool:
        """Whether there is no value that could tell a type."""
        return self.present == self.missing

    @property
    def only_decorated(self) -> bool:
        """Whether all values are numbers to a person, and some of them to no reader."""
        wanted = self.present - self.missing
        return self.decorated == wanted > self.numbers

    @property
    def mostly_numbers(self) -> bool:
        """Whether most values are numbers, while a few are none, or spell a missing one."""
        wanted = self.present - self.missing
        return 0 < self.numbers < self.present and self.numbers >= _MIXED * wanted


def facts_of(column: pa.Array | pa.ChunkedArray) -> TextFacts:
    """Look at every value of a string column.

    Examples
    --------
    >>> facts_of(pa.array(["1", "2.5", "NA", None])).numbers
    2
    """
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = values.drop_null()
    values = values.filter(pc.not_equal(values, ""))
    missing = values.filter(_matches(values, MISSING))
    present = values.filter(pc.invert(_matches(values, MISSING)))
    numbers = _matches(present, NUMBER)
    others = present.filter(pc.invert(numbers))
    decorated = others.filter(_matches(others, _DECORATED))
    return TextFacts(
        present=len(values),
        missing=len(missing),
        integers=_count(_matches(present, _INTEGER)),
        numbers=_count(numbers),
        decorated=_count(numbers) + len(decorated),
        booleans=_count(_matches(others, _BOOLEAN)),
        dates=_valid(others, _DATE, pa.date32()),
        local_times=_valid(others, _LOCAL_TIME, pa.timestamp("us")),
        zoned_times=_valid(others, _ZONED_TIME, pa.timestamp("us", "UTC")),
        missing_example=_lowest(missing),
        other_example=_lowest(others),
        decorated_example=_lowest(decorated),
    )


def type_of(facts: TextFacts) -> TextType:
    """Return what a feature column is read as.

    Examples
    --------
    >>> type_of(facts_of(pa.array(["007", "010"])))
    'string'
    >>> type_of(facts_of(pa.array(["7", "-", "1e3"])))
    'double'
    """
    if facts.empty:
        return "string"
    if facts.whole and facts.numbers == facts.present:
        return "bigint"
    wanted = facts.present - facts.missing
    kinds: Mapping[TextType, int] = {
        "double": facts.numbers,
        "boolean": facts.booleans,
        "date": facts.dates,
        "timestamp_ntz": facts.local_times,
        "timestamp": facts.zoned_times,
    }
    return next((kind for kind, n in kinds.items() if n == wanted), "string")


@dataclass(frozen=True)
class TextSurvey:
    """What a pass over a table of text says about it.

    Parameters
    ----------
    rows, unreadable, lost
        Number of rows, of those that are not as they must be, and of the ones among them that lack
        a key, so that they can't even be named.
    example
        Why one of these is not.
    line_breaks
        Whether a value holds a line break, so that a file can't be read line by line.
    facts
        Of each column, over its readable rows.
    """

    rows: int = 0
    unreadable: int = 0
    lost: int = 0
    example: str | None = None
    line_breaks: bool = False
    facts: Mapping[str, TextFacts] = field(default_factory=dict)

    def merged(self, other: TextSurvey) -> TextSurvey:
        """Return what is known of both together."""
        names = dict.fromkeys([*self.facts, *other.facts])
        nothing = TextFacts()
        return TextSurvey(
            self.rows + other.rows,
            self.unreadable + other.unreadable,
            self.lost + other.lost,
            min((e for e in (self.example, other.example) if e is not None), default=None),
            self.line_breaks or other.line_breaks,
            {n: self.facts.get(n, nothing).merged(other.facts.get(n, nothing)) for n in names},
        )


def survey_text(batches: Iterable[pa.RecordBatch], keys: Sequence[str] = ()) -> TextSurvey:
    """Look at batches of columns; ``spl_unreadable`` says which rows do not count.

    Parameters
    ----------
    batches
        String columns, any keys, ``spl_unreadable`` and ``spl_breaks``.
    keys
        Columns that name a row; looked at as the others where they are strings.
    """
    survey = TextSurvey()
    for batch in batches:
        unreadable = pc.is_valid(batch.column(UNREADABLE))
        readable = batch.filter(pc.invert(unreadable))
        texts = [f.name for f in batch.schema if f.name != UNREADABLE and f.type == pa.string()]
        facts = {name: facts_of(readable.column(name)) for name in texts}
        breaks = bool(pc.any(batch.column(BREAKS)).as_py())
        bad = batch.filter(unreadable)
        lost = bad
        if keys and len(bad):
            missing = [pc.is_null(bad.column(key)) for key in keys]
            lost = bad.filter(reduce(pc.or_, missing))
        example = pc.min(bad.column(UNREADABLE)).as_py() if len(bad) else None
        n_lost = len(lost) if keys else 0
        survey = survey.merged(TextSurvey(len(batch), len(bad), n_lost, example, breaks, facts))
    return survey


def _matches(values: pa.Array, pattern: str) -> pa.Array:
    return pc.match_substring_regex(values, pattern)


def _count(flags: pa.Array) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _valid(values: pa.Array, pattern: str, kind: pa.DataType) -> int:
    """Count the values of a pattern; none where one of them is no day or time that there is."""
    matching = values.filter(_matches(values, pattern))
    try:
        matching.cast(kind)
    except pa.ArrowInvalid:
        return 0
    return len(matching)


def _lowest(values: pa.Array) -> str | None:
    # The same on any cluster, whatever came first.
    return pc.min(values).as_py() if len(values) else None


def _least(left: str | None, right: str | None) -> str | None:
    return min((value for value in (left, right) if value is not None), default=None)
