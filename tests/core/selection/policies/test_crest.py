from __future__ import annotations

import numpy as np

from tests.core.candidates import plan_for, rows_of

CREST = {"policy": "crest", "alpha": 0.5, "labeled": [80, 20, 5]}


def test_crest_keeps_all_rows_of_the_rarest_class() -> None:
    rows = rows_of(*[list(np.linspace(0.5, 0.9, 40).round(6))] * 3)
    plan = plan_for(CREST, rows, 1)
    accepted = [code for code, _ in rows.accepted(plan)]
    # (5/80)^.5 = 0.25, (20/80)^.5 = 0.5, (80/80)^.5 = 1.
    assert [accepted.count(code) for code in range(3)] == [10, 20, 40]
