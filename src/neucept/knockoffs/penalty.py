"""How strong the lasso's penalty should be: cross-validation for many targets at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from neucept.knockoffs.descent import Effort, Fits
from neucept.knockoffs.moments import Folds

_ALIKE = 3
"""Once all folds' errors have fallen for so many penalties in a row, their curves are taken to have
one valley each, and a target may end before the last penalty."""

_RISEN = 1.01
_BEYOND = 3
"""It ends when its error in every fold has risen by so much over the least there, or was above that
in every fold for so many penalties in a row; or where their sum has risen and each rises all the
way to the fit without a penalty."""

_RISEN_ONCE = 2.0
"""While all folds fall together, one speaks for all: its rise by so much, divided by the square
root of its rows, ends the target."""


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
    sweeps_only: bool = False,
) -> tuple[Float[np.ndarray, " targets"], Float[np.ndarray, "columns targets"]]:
    """Each target's penalty with the least mean squared error on rows that were left out.

    All folds go down the penalties together, so that a target ends once all are past their
    valleys: the fits of small penalties are the long ones. Folds may disagree, as where samples are
    sorted; then nothing ends early.

    Args:
        folds: Moments of the parts and of all rows.
        grid: Decreasing penalties of each target.
        effort: When a fit stops.
        order: In which the columns take turns.
        scale: What each column is divided by.
        sweeps_only: Fits that stop early stop where scikit-learn's do.

    Returns:
        The penalties, and the mean of the folds' coefficients there, of scaled columns.
    """
    fits = [
        Fits(
            folds.whole.minus(part),
            effort,
            order=order,
            scale=scale,
            single=True,
            sweeps_only=sweeps_only,
        )
        for part in folds.parts
    ]
    targets = len(grid)
    least, best = np.full(targets, np.inf), np.zeros(targets, dtype=int)
    lowest = np.full((len(fits), targets), np.inf)
    start = np.zeros_like(folds.whole.cross)
    above, alike = np.zeros(targets, dtype=int), np.zeros(targets, dtype=int)
    one_valley, wanted = np.zeros(targets, dtype=bool), np.ones(targets, dtype=bool)
    for a in range(grid.shape[1]):
        errors = np.full((len(fits), targets), np.inf)
        for f, (fit, part) in enumerate(zip(fits, folds.parts, strict=True)):
            fit.lower(grid[:, a], wanted)
            errors[f, wanted] = fit.errors(part)[wanted]
            once = errors[f] > (1 + _RISEN_ONCE / np.sqrt(part.rows)) * lowest[f]
            wanted &= ~(once & (alike >= _ALIKE))
        total = np.where(wanted, errors.sum(0), np.inf)
        better = total < least
        least[better], best[better] = total[better], a
        start[:, better] = np.mean([fit.weights[better] for fit in fits], axis=0).T
        alike = np.where((errors < lowest).all(0), alike + 1, 0)
        above = np.where((errors > lowest).all(0), above + 1, 0)
        one_valley |= alike >= _ALIKE
        past = (errors > _RISEN * lowest).all(0) | (above >= _BEYOND)
        wanted &= ~(past & one_valley)
        judged = wanted & one_valley & (total > least)
        if judged.any():
            slopes = [fit.slopes(part, judged) for fit, part in zip(fits, folds.parts, strict=True)]
            wanted[judged] = ~(np.array(slopes) > 0).all(0)
        np.minimum(lowest, errors, out=lowest)
        if not wanted.any():
            break
    return grid[np.arange(len(grid)), best], start
