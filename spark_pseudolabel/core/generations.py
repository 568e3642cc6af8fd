"""What becomes of rows that have come later: who labels them, and when nobody does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spark_pseudolabel.core.facts import Representativeness

Step = Literal["label", "fit", "stop"]


@dataclass(frozen=True)
class RefitRule:
    """When a new model is fitted.

    Parameters
    ----------
    every
        In each so-many-th generation after the last fit; None: by no count.
    on_drift
        Where new rows are unlike those that the model was fitted for, or other rows are labeled.
    stops
        Whether nothing is labeled where the rows are unlike and no model is fitted.
    """

    every: int | None = None
    on_drift: bool = False
    stops: bool = True


def has_drifted(
    labeled: Representativeness | None, reference: Representativeness | None, *, before: bool
) -> bool:
    """Return whether new rows are unlike those that a model was made for.

    Parameters
    ----------
    labeled, reference
        New rows against the labeled ones, and against the pool that the model was fitted for; None
        where they were not compared.
    before
        Whether that pool was unlike the labeled rows as well: then it is no news of new rows.
    """
    from_labeled = labeled is not None and labeled.shifted and not before
    return from_labeled or (reference is not None and reference.shifted)


def next_generation(
    rule: RefitRule, age: int, *, drifted: bool, labels_changed: bool, stopped: bool
) -> Step:
    """Say what becomes of new rows.

    Parameters
    ----------
    rule
        Of the configuration.
    age
        Generations since the model was fitted; the next one is 1.
    drifted
        See :func:`has_drifted`.
    labels_changed
        Whether labeled rows are others than the model has learned from.
    stopped
        Whether the generation before was stopped by a drift. New labels are the answer to
        that, and only a new model learns from them.

    Examples
    --------
    >>> rule = RefitRule(every=7)
    >>> next_generation(rule, 6, drifted=False, labels_changed=False, stopped=False)
    'label'
    >>> next_generation(rule, 7, drifted=False, labels_changed=False, stopped=False)
    'fit'
    >>> next_generation(rule, 1, drifted=True, labels_changed=False, stopped=False)
    'stop'
    >>> next_generation(rule, 2, drifted=True, labels_changed=True, stopped=True)
    'fit'
    """
    by_count = rule.every is not None and age >= rule.every
    by_drift = rule.on_drift and (drifted or labels_changed)
    if by_count or by_drift or (stopped and labels_changed):
        return "fit"
    return "stop" if drifted and rule.stops else "label"
