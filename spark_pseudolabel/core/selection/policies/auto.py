"""Policy ``auto``."""

from __future__ import annotations

from typing import Literal

from spark_pseudolabel.core.selection.promised import Precision, Promised


class Auto(Promised):
    """Short for a teacher and policy ``certified``, whatever the number of labeled rows.

    A committee labels the pool, and its rows are published at the best precision that can be shown
    for a fifth of them, or at the one that is given. It is the final model, unless
    ``model`` is given: that learns from the committee's probabilities for rows of the whole pool.
    Without ``selection`` that is the policy, except where another key is about self-training.
    """

    policy: Literal["auto"] = "auto"
    precision: Precision = "best"
