from __future__ import annotations

import pytest

from spark_pseudolabel.core.facts import Representativeness
from spark_pseudolabel.core.generations import RefitRule, has_drifted, next_generation


def compared(*, shifted: bool) -> Representativeness:
    return Representativeness(
        auc=0.9,
        auc_limit=0.6,
        outside=0.2,
        shifted=shifted,
        n_labeled=100,
        n_pool=100,
        psi={},
        unseen={},
        outside_by_chance=False,
    )


LIKE, UNLIKE = compared(shifted=False), compared(shifted=True)


@pytest.mark.parametrize(
    ("labeled", "reference", "before", "drifted"),
    [
        (None, None, False, False),
        (LIKE, LIKE, False, False),
        (UNLIKE, None, False, True),
        # The pool that the model was fitted for was unlike the labeled rows as well.
        (UNLIKE, LIKE, True, False),
        (UNLIKE, UNLIKE, True, True),
        (LIKE, UNLIKE, False, True),
    ],
)
def test_drift_is_what_was_not_there_before(
    labeled: Representativeness | None,
    reference: Representativeness | None,
    before: bool,
    drifted: bool,
) -> None:
    assert has_drifted(labeled, reference, before=before) == drifted


@pytest.mark.parametrize(
    ("rule", "age", "drifted", "changed", "stopped", "step"),
    [
        (RefitRule(), 100, False, False, False, "label"),
        (RefitRule(), 1, True, False, False, "stop"),
        (RefitRule(stops=False), 1, True, False, False, "label"),
        # New labels alone do not refit, but they are the answer to a drift.
        (RefitRule(), 1, False, True, False, "label"),
        (RefitRule(), 1, True, True, False, "stop"),
        (RefitRule(), 1, True, False, True, "stop"),
        (RefitRule(), 1, True, True, True, "fit"),
        (RefitRule(every=3), 2, False, False, False, "label"),
        (RefitRule(every=3), 3, False, False, False, "fit"),
        (RefitRule(every=3), 2, True, False, False, "stop"),
        (RefitRule(on_drift=True), 9, False, False, False, "label"),
        (RefitRule(on_drift=True), 1, True, False, False, "fit"),
        (RefitRule(on_drift=True), 1, False, True, False, "fit"),
    ],
)
def test_what_becomes_of_new_rows(
    rule: RefitRule, age: int, drifted: bool, changed: bool, stopped: bool, step: str
) -> None:
    found = next_generation(rule, age, drifted=drifted, labels_changed=changed, stopped=stopped)
    assert found == step
