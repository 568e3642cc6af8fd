"""Why people are asked, one kind in each file of this folder."""

from __future__ import annotations

from collections.abc import Mapping

from spark_pseudolabel.core.discovery import classes_in
from spark_pseudolabel.output.review.kind import ReviewKind

KINDS: Mapping[str, ReviewKind] = {
    kind.name: kind()
    for kind in classes_in(__name__, __path__, ReviewKind)  # type: ignore[type-abstract]
}
"""Every kind by its name."""
