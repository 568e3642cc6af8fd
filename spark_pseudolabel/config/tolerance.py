"""How far a number may be from the true one, as a configuration says it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from spark_pseudolabel.fields import Number, wrong_section

_SPELLED = re.compile(r"\s*(?P<amount>[^\s%a-z]+(?:e[+-]?\d+)?)\s*(?P<unit>%|sd)\s*")
_MEANT = (
    "must be above 0: a number in units of the label, a share of it such as '5 %', or a part of "
    "the labeled rows' standard deviation such as '0.25 sd'."
)


@dataclass(frozen=True)
class Tolerance:
    """A distance, above 0.

    Parameters
    ----------
    amount
        Of the unit; 0.05 for 5 %.
    unit
        Units of the label, a share of the true number's absolute value, or standard deviations of
        the labeled rows' numbers.
    """

    amount: float
    unit: Literal["label", "share", "sd"]


def tolerance_of(spelled: float | str) -> Tolerance:
    """Read a tolerance as a checked configuration spells it.

    Examples
    --------
    >>> tolerance_of(5.0)
    Tolerance(amount=5.0, unit='label')
    >>> tolerance_of("5 %"), tolerance_of("0.25sd")
    (Tolerance(amount=0.05, unit='share'), Tolerance(amount=0.25, unit='sd'))
    """
    if not isinstance(spelled, str):
        return Tolerance(float(spelled), "label")
    match = _SPELLED.fullmatch(spelled)
    if match is None:
        raise ValueError(spelled)
    amount = float(match["amount"])
    if match["unit"] == "%":
        return Tolerance(amount / 100, "share")
    return Tolerance(amount, "sd")


def _checked(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and not isinstance(value, str):
        raise wrong_section(f"{_MEANT} Got {value!r}.")
    try:
        amount = tolerance_of(value).amount
    except (ValueError, OverflowError) as error:
        raise wrong_section(f"{_MEANT} Got {value!r}.") from error
    if not math.isfinite(amount) or amount <= 0:
        raise wrong_section(f"{_MEANT} Got {value!r}.")
    return value


Spelled = Annotated[
    Annotated[Number, Field(gt=0)] | Annotated[str, Field(pattern=r"^\s*[0-9.eE+-]+\s*(%|sd)\s*$")],
    BeforeValidator(_checked),
]
"""A number, ``"5 %"`` or ``"0.25 sd"``."""
