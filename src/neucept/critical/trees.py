"""Boosted trees as a judge of what neurons tell: they see steps, which networks blur."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import HistGradientBoostingRegressor

MOST_TARGETS = 3
"""Each target needs trees of its own, so with more it would take too long."""

FOLDS = 3
"""Of the parts so many are left out, one at a time."""

_LEAVES = 16
_ROUNDS = 300


def explained_by_trees(
    x: Float[np.ndarray, "samples neurons"],
    y: Float[np.ndarray, "samples targets"],
    parts: Sequence[Int[np.ndarray, " rows"]],
) -> float:
    """What trees explain of the targets on rows that they have not seen.

    Args:
        x: Neurons, on any scale.
        y: Targets.
        parts: The rows in parts; each of the first `FOLDS` is left out in turn.

    Returns:
        The share of variance over all parts that were left out, its mean over targets.

    Source: Ke and others (2017), "LightGBM", as scikit-learn has it.
    """
    judged, guesses = guesses_of_trees(x, y, parts)
    errors = np.sum((guesses - y[judged]) ** 2, axis=0)
    # Over all parts together: in one of them a rare target may not vary.
    spread = y[judged].var(0)
    varies = spread > 0
    shares = 1 - errors[varies] / len(judged) / spread[varies]
    return float(shares.mean()) if varies.any() else 0.0


def guesses_of_trees(
    x: Float[np.ndarray, "samples neurons"],
    y: Float[np.ndarray, "samples targets"],
    parts: Sequence[Int[np.ndarray, " rows"]],
) -> tuple[Int[np.ndarray, " judged"], Float[np.ndarray, "judged targets"]]:
    """The rows of the parts that are left out, and what trees that have not seen them say.

    Args:
        x: Neurons, on any scale.
        y: Targets.
        parts: The rows in parts; each of the first `FOLDS` is left out in turn.
    """
    guesses = []
    for held in parts[:FOLDS]:
        others = np.setdiff1d(np.arange(len(x)), held)
        fitted = [
            HistGradientBoostingRegressor(
                max_iter=_ROUNDS, max_leaf_nodes=_LEAVES, early_stopping=True, random_state=0
            ).fit(x[others], target[others])
            for target in y.T
        ]
        guesses.append(np.stack([trees.predict(x[held]) for trees in fitted], axis=1))
    return np.concatenate(parts[:FOLDS]), np.concatenate(guesses)
