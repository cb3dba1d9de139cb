"""How strong the lasso's penalty should be: cross-validation for many targets at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from neucept.knockoffs.descent import Effort, Fits
from neucept.knockoffs.moments import Folds

_RISEN = 1.01
_BEYOND = 3
"""A target is done when its error has risen by so much over its least, or so many penalties in
a row had more than the least. The curve over all folds has one valley."""

_RISEN_ONCE = 2.0
"""It is done as well when its error in one fold has risen over the least there by so much, divided
by the square root of the fold's rows."""


def penalty_grid(
    largest: Float[np.ndarray, " targets"], count: int, least: float
) -> Float[np.ndarray, "targets alphas"]:
    """Penalties to try: from the least one that leaves no coefficient, down to a share of it.

    Args:
        largest: Each target's least penalty that leaves no coefficient.
        count: How many penalties.
        least: The smallest, as a share of the largest.
    """
    return np.asarray(largest[:, None] * np.geomspace(1.0, least, count))


def cross_validated(
    folds: Folds,
    grid: Float[np.ndarray, "targets alphas"],
    effort: Effort,
    *,
    order: Int[np.ndarray, " columns"] | None = None,
    scale: Float[np.ndarray, " columns"] | None = None,
) -> tuple[Float[np.ndarray, " targets"], Float[np.ndarray, "columns targets"]]:
    """Each target's penalty with the least mean squared error on rows that were left out.

    All folds go down the penalties together, so that a target ends once it is past its valley:
    the fits of small penalties are the long ones.

    Args:
        folds: Moments of the parts and of all rows.
        grid: Decreasing penalties of each target.
        effort: When a fit stops.
        order: In which the columns take turns.
        scale: What each column is divided by.

    Returns:
        The penalties, and the mean of the folds' coefficients there, of scaled columns.
    """
    fits = [
        Fits(folds.whole.minus(part), effort, order=order, scale=scale, single=True)
        for part in folds.parts
    ]
    least = np.full(len(grid), np.inf)
    least_there = np.full((len(fits), len(grid)), np.inf)
    best = np.zeros(len(grid), dtype=int)
    start = np.zeros_like(folds.whole.cross)
    above = np.zeros(len(grid), dtype=int)
    wanted = np.ones(len(grid), dtype=bool)
    for a in range(grid.shape[1]):
        errors = np.zeros(len(grid))
        for fit, part, lowest in zip(fits, folds.parts, least_there, strict=True):
            fit.lower(grid[:, a], wanted)
            there = fit.errors(part)
            errors += there
            np.minimum(lowest, there, out=lowest)
            wanted &= there <= (1 + _RISEN_ONCE / np.sqrt(part.rows)) * lowest
        better = wanted & (errors < least)
        least[better], best[better] = errors[better], a
        start[:, better] = np.mean([fit.weights[better] for fit in fits], axis=0).T
        above = np.where(errors > least, above + 1, 0)
        wanted &= (errors <= _RISEN * least) & (above < _BEYOND)
        if not wanted.any():
            break
    return grid[np.arange(len(grid)), best], start
