"""How strong the lasso's penalty should be: cross-validation for many targets at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from neucept.knockoffs.moments import Moments, together
from neucept.knockoffs.paths import Effort, held_out_error, lasso_fits

_GROUP = 4
_ITERATIONS = 40
_RELAXATION = 1.7


def penalty_grid(
    parts: Sequence[Moments], count: int, least: float
) -> Float[np.ndarray, "targets alphas"]:
    """Penalties to try: from the least one that leaves no coefficient, down to a share of it.

    Args:
        parts: Moments of the folds.
        count: How many penalties.
        least: The smallest, as a share of the largest.
    """
    whole = together(parts)
    largest = np.abs(whole.cross).max(0) / whole.rows
    return np.asarray(largest[:, None] * np.geomspace(1.0, least, count))


def search_together(
    parts: Sequence[Moments], grid: Float[np.ndarray, "targets alphas"]
) -> tuple[Float[np.ndarray, " targets"], Float[np.ndarray, "columns targets"]]:
    """The penalty with the least cross-validated error, for all targets at once.

    The fits are approximate: a fixed number of steps of the alternating direction method, which
    are matrix products over all targets and several penalties, and do not depend on the order of
    the columns.

    Args:
        parts: Moments of the folds; columns of unit variance.
        grid: Decreasing penalties of each target, in equal steps on the log scale.

    Returns:
        Each target's penalty, and coefficients near the fit on all rows, to start it from.

    Source: Boyd et al. (2011), "Distributed optimization and statistical learning via the
    alternating direction method of multipliers", section 6.4.
    """
    whole = together(parts)
    folds = [_Fold(part, whole, grid.shape[0]) for part in parts]
    errors = np.empty((grid.shape[0], 0))
    wanted = np.ones(grid.shape[0], dtype=bool)
    strongest = int(grid[:, 0].argmax())
    means: list[Float[np.ndarray, "columns targets alphas"]] = []
    for begin in range(0, grid.shape[1], _GROUP):
        alphas = grid[:, begin : begin + _GROUP]
        share = float(np.exp(np.log(alphas[strongest] / grid[strongest, 0]).mean()))
        found = [fold.advance(alphas, share**0.4) for fold in folds]
        means.append(np.mean(found, axis=0))
        error = np.sum([f.errors(fit) for f, fit in zip(folds, found, strict=True)], axis=0)
        error[~wanted] = np.inf
        errors = np.hstack([errors, error])
        # A target whose error has passed its least is done, whatever the others still need.
        wanted = errors.argmin(1) >= begin
        if not wanted.any():
            break
    best = errors.argmin(1)
    targets = np.arange(len(best))
    return grid[targets, best], np.concatenate(means, axis=2)[:, targets, best]


class _Fold:
    """The fits without one fold, at a group of penalties, and where they stand."""

    def __init__(self, part: Moments, whole: Moments, targets: int) -> None:
        self.fitted = whole.minus(part)
        self.held = part.about(self.fitted.means, self.fitted.target_means)
        self.targets = targets
        shape = (len(whole.gram), targets, 1)
        self.split = np.zeros(shape, np.float32)
        self.dual = np.zeros(shape, np.float32)

    def advance(
        self, alphas: Float[np.ndarray, "targets group"], rho: float
    ) -> Float[np.ndarray, "columns targets group"]:
        """Fit at the next penalties, from the smallest of the last ones.

        `split` holds the coefficients, `dual` the multipliers as shares of the penalty: at the
        solution the coefficients' signs. Single precision, for its speed: only the penalty is
        chosen here.
        """
        columns, size = len(self.fitted.gram), alphas.shape[1]
        normal = self.fitted.gram / self.fitted.rows + rho * np.eye(columns)
        solve = _inverse(normal)
        fixed = solve @ (self.fitted.cross / self.fitted.rows)
        fixed = np.repeat(fixed, size, axis=1).astype(np.float32)
        step = (rho * solve).astype(np.float32)
        limit = np.maximum(alphas / rho, 1e-30).ravel().astype(np.float32)
        split = np.repeat(self.split[:, :, -1], size, axis=1)
        dual = np.repeat(self.dual[:, :, -1], size, axis=1) * limit
        for _ in range(_ITERATIONS):
            moved = fixed + step @ (split - dual)
            dual += _RELAXATION * moved + (1 - _RELAXATION) * split
            clipped = np.clip(dual, -limit, limit)
            split = dual - clipped
            dual = clipped
        self.split = split.reshape(columns, self.targets, size)
        self.dual = (dual / limit).reshape(columns, self.targets, size)
        return self.split.astype(np.float64)

    def errors(
        self, fits: Float[np.ndarray, "columns targets group"]
    ) -> Float[np.ndarray, "targets group"]:
        """Sum of squared errors over the held-out rows."""
        flat = fits.reshape(len(fits), -1)
        quadratic = np.einsum("cf,cf->f", flat, self.held.gram @ flat).reshape(fits.shape[1:])
        linear = np.einsum("ct,ctg->tg", self.held.cross, fits)
        return np.asarray(self.held.power[:, None] - 2 * linear + quadratic)


def search_paths(
    parts: Sequence[Moments],
    grid: Float[np.ndarray, "targets alphas"],
    effort: Effort,
) -> tuple[Float[np.ndarray, " targets"], Float[np.ndarray, "columns targets"]]:
    """The penalty with the least cross-validated error, one target after another.

    Coordinate descent down the penalties, until the error has risen for a while: the faster way
    where columns are many and targets few.

    Args:
        parts: Moments of the folds.
        grid: Decreasing penalties of each target.
        effort: When a fit stops.

    Returns:
        Each target's penalty, and coefficients near the fit on all rows, to start it from.
    """
    whole = together(parts)
    fitted = [whole.minus(part) for part in parts]
    held = [
        part.about(fit.means, fit.target_means) for part, fit in zip(parts, fitted, strict=True)
    ]
    best = np.empty(len(grid))
    start = np.empty((len(whole.gram), len(grid)))
    for target, alphas in enumerate(grid):
        last: list[Float[np.ndarray, " columns"] | None] = [None] * len(parts)
        found: list[Float[np.ndarray, "columns group"]] = []
        errors = np.empty(0)
        for begin in range(0, len(alphas), _GROUP):
            paths = [
                lasso_fits(fit, target, alphas[begin : begin + _GROUP], effort, previous)
                for fit, previous in zip(fitted, last, strict=True)
            ]
            last = [np.ascontiguousarray(path[:, -1]) for path in paths]
            found.append(np.mean(paths, axis=0))
            error = [
                held_out_error(part, path, target) for part, path in zip(held, paths, strict=True)
            ]
            errors = np.r_[errors, np.mean(error, axis=0)]
            if int(errors.argmin()) < begin:
                break
        chosen = int(errors.argmin())
        best[target] = alphas[chosen]
        start[:, target] = np.hstack(found)[:, chosen]
    return best, start


def _inverse(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    factor, _ = lapack.dpotrf(matrix, lower=1, clean=1)
    inverse, _ = lapack.dpotri(factor, lower=1)
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T)
