"""How strong the lasso's penalty should be: cross-validation for many targets at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from neucept.knockoffs.descent import Effort, Fits
from neucept.knockoffs.moments import Moments

_RISEN = 1.03
"""A fold is done with a target whose error has risen by so much over its least. Curves have one
valley, and the mean's lies within this of each fold's least."""


def penalty_grid(whole: Moments, count: int, least: float) -> Float[np.ndarray, "targets alphas"]:
    """Penalties to try: from the least one that leaves no coefficient, down to a share of it.

    Args:
        whole: Moments of all rows.
        count: How many penalties.
        least: The smallest, as a share of the largest.
    """
    largest = np.abs(whole.cross).max(0) / whole.rows
    return np.asarray(largest[:, None] * np.geomspace(1.0, least, count))


def cross_validated(
    parts: Iterable[Moments],
    whole: Moments,
    grid: Float[np.ndarray, "targets alphas"],
    effort: Effort,
) -> tuple[Float[np.ndarray, " targets"], Float[np.ndarray, "columns targets"]]:
    """Each target's penalty with the least mean squared error on rows that were left out.

    Args:
        parts: Moments of the folds.
        whole: Moments of all rows.
        grid: Decreasing penalties of each target.
        effort: When a fit stops.

    Returns:
        The penalties, and the mean of the folds' coefficients there.
    """
    targets, folds = np.arange(len(grid)), 0
    errors = np.zeros(grid.shape)
    paths = np.zeros((grid.shape[1], len(grid), len(whole.gram)), dtype=np.float32)
    for part in parts:
        fits = Fits(whole.minus(part), effort, single=True)
        mine = np.full(grid.shape, np.inf)
        wanted = np.ones(len(grid), dtype=bool)
        for a in range(grid.shape[1]):
            fits.lower(grid[:, a], wanted)
            mine[wanted, a] = fits.errors(part)[wanted]
            paths[a] += fits.weights
            wanted = wanted & (mine[:, a] <= _RISEN * mine.min(1))
            if not wanted.any():
                break
        errors += mine
        folds += 1
    best = errors.argmin(1)
    return grid[targets, best], paths[best, targets].T / folds
