"""Policy ``auto``."""

from __future__ import annotations

from typing import Literal

from spark_pseudolabel.core.selection.policy import Policy
from spark_pseudolabel.fields import Level


class Auto(Policy):
    """Short for a teacher and policy ``certified``, whatever the number of labeled rows.

    A committee labels the pool, certified rows are published. It is the final model, unless
    ``model`` is given: that learns from the committee's probabilities for rows of the whole pool.
    Without ``selection`` that is the policy, except where another key is about self-training.
    """

    policy: Literal["auto"] = "auto"
    precision: Level = 0.95
    certainty: Level = 0.95
