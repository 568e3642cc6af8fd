"""Scores whose truth is known, for what adjusts and judges them."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax


def overconfident(
    n: int = 3000, n_classes: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities that are those of the truth at a quarter of its temperature."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(n, n_classes))
    true = softmax(logits, axis=1)
    codes = (chance.random((n, 1)) > true.cumsum(axis=1)).sum(axis=1).astype(np.int32)
    return np.round(softmax(4 * logits, axis=1), 6), codes
