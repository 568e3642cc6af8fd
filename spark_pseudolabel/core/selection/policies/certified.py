"""Policy ``certified``.

Its cuts come from tested rows (:mod:`spark_pseudolabel.core.trust.certificate`), not from counts
alone.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from spark_pseudolabel.core.selection.promised import Promised
from spark_pseudolabel.fields import Flag


class Certified(Promised):
    """Published labels reach ``precision`` with the probability ``certainty``.

    ``precision: best``: the highest that can be shown for a share ``min_coverage`` of the pool.
    ``per``: the labels together, or those of every class. ``scores``: what is tested against are
    the labeled rows, each scored by models that have not seen it, or the validation rows.
    ``required``: a promise that the number of labeled rows rules out is refused before anything is
    fitted; false: the run continues and publishes nothing.
    """

    policy: Literal["certified"]
    per: Literal["all", "class"] = "all"
    scores: Literal["out_of_fold", "held_out"] = "out_of_fold"
    required: Flag = True

    new_rows: ClassVar = "by_stored_cuts"
