"""Labels that follow the largest class: counted right often, and of no use to anybody."""

from __future__ import annotations

from collections.abc import Sequence

_COLLAPSED = 1 / 5
_FEWEST_EXPECTED = 10
_HARDLY = 0.1


def collapsed(labeled: Sequence[float], published: Sequence[int]) -> list[int]:
    """Return the classes that are published far less often than labeled rows have them.

    Parameters
    ----------
    labeled
        Share of each class among the labeled rows, or what is known of the pool.
    published
        Published rows of each class. Some difference is usual, since classes are not equally easy:
        less than a fifth of the share is not, where ten rows or more were to be expected.

    Examples
    --------
    >>> collapsed([0.887, 0.113], [37_101, 35])
    [1]
    >>> collapsed([0.8, 0.2], [90, 10])
    []
    """
    total = sum(published)
    return [
        i
        for i, (share, n) in enumerate(zip(labeled, published, strict=True))
        if share * total >= _FEWEST_EXPECTED and n < _COLLAPSED * share * total
    ]


def hardly_better(accuracy: float | None, majority: float | None) -> bool:
    """Whether a model makes nearly all the errors of one that always says the same.

    Parameters
    ----------
    accuracy
        Of the model.
    majority
        Share of the most common class among the same rows: the accuracy of always saying it.

    Examples
    --------
    >>> [hardly_better(accuracy, 0.883) for accuracy in (0.883, 0.89, 0.905)]
    [True, True, False]
    """
    if accuracy is None or majority is None:
        return False
    return accuracy - majority < _HARDLY * (1 - majority)
