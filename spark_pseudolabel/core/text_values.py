"""What texts are once their column has a type: the values that a run reads them as."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from spark_pseudolabel.core.text_types import NUMBER, TextType

_WHOLE = r"^-?\d+$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_TIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?$"


def as_type(texts: pa.Array, kind: TextType) -> pa.Array:
    """Return texts as values of a type; one that is no such value is missing.

    Parameters
    ----------
    texts
        Strings of a column that is of the type, by :func:`~.text_types.type_of`.
    kind
        The type.

    Examples
    --------
    >>> as_type(pa.array([" +1.50", "NA", None]), "double").to_pylist()
    [1.5, None, None]
    >>> as_type(pa.array(["TRUE", "-"]), "boolean").to_pylist()
    [True, None]
    """
    if kind == "string":
        return texts
    if kind == "bigint":
        return _matching(pc.utf8_trim_whitespace(texts), _WHOLE).cast(pa.int64())
    if kind == "double":
        return _as_double(texts)
    trimmed = pc.utf8_trim_whitespace(texts)
    if kind == "boolean":
        lowered = pc.utf8_lower(trimmed)
        return _only(pc.equal(lowered, "true"), pc.match_substring_regex(lowered, "^(true|false)$"))
    if kind == "date":
        return _matching(trimmed, _DATE).cast(pa.date32())
    zone = "UTC" if kind == "timestamp" else None
    return _matching(trimmed, _TIME).cast(pa.timestamp("us", zone))


def _as_double(texts: pa.Array) -> pa.Array:
    try:
        plain = texts.cast(pa.float64())
    except pa.ArrowInvalid:
        plain = None
    # Of words this cast knows some, such as nan, which here are missing.
    if plain is not None and pc.all(pc.is_finite(plain)).as_py() in (True, None):
        return plain
    trimmed = _matching(pc.utf8_trim_whitespace(texts), NUMBER)
    return pc.replace_substring_regex(trimmed, r"^\+", "").cast(pa.float64())


def _matching(texts: pa.Array, pattern: str) -> pa.Array:
    return _only(texts, pc.match_substring_regex(texts, pattern))


def _only(values: pa.Array, known: pa.Array) -> pa.Array:
    return pc.if_else(known, values, pa.scalar(None, values.type))
