"""What sections of the configuration are made of: their base, kinds of values, and what is wrong.

Below ``core``, since a selection policy is declared there together with its parameters.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Text = Annotated[str, Field(min_length=1)]
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
"""At least 0 and below 1."""
Share = Annotated[Number, Field(gt=0, le=1)]
"""Above 0 and at most 1."""
Level = Annotated[Number, Field(gt=0, lt=1)]
"""Between 0 and 1, neither of them included."""


class Section(BaseModel):
    """A mapping with known keys; frozen, and without any other key."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def wrong_section(message: str) -> PydanticCustomError:
    """Return the error that a validator raises with a whole sentence of its own."""
    # Braces in a message would be read as fields of a template.
    return PydanticCustomError("said", "{text}", {"text": message})
