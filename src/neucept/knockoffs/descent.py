"""Lasso fits of many targets from second moments, by coordinate descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, no_type_check

import numba
import numpy as np
from jaxtyping import Bool, Float

from neucept.knockoffs.moments import Moments

_BLOCK = 32
"""Rows of the Gram matrix that are read once for all targets."""


@dataclass(frozen=True)
class Effort:
    """When coordinate descent stops.

    Attributes:
        tolerance: Duality gap, as a share of the target's power.
        most_sweeps: Passes over the columns at most.
    """

    tolerance: float
    most_sweeps: int


class Fits:
    """The lasso fits of all targets on the same columns, from one penalty to the next.

    Coordinate descent looks at a data set through its inner products only, so from these it takes
    the steps that scikit-learn's takes on the rows. All targets go down together: a row of the Gram
    matrix is read once for all of them, and where columns are many that is what takes the time.

    Attributes:
        moments: Of the rows to fit.
        weights: Coefficients where the fits stand, targets x columns.
    """

    def __init__(
        self,
        moments: Moments,
        effort: Effort,
        start: Float[np.ndarray, "columns targets"] | None = None,
        *,
        single: bool = False,
    ) -> None:
        """Begin at coefficients of zero, or others.

        Args:
            moments: Of the rows to fit.
            effort: When a fit stops.
            start: Coefficients to begin with.
            single: Compute in single precision, which is enough to choose a penalty.
        """
        kind: type[np.floating[Any]] = np.float32 if single else np.float64
        self.moments = moments
        self.effort = effort
        self._gram = np.ascontiguousarray(moments.gram, dtype=kind)
        self._cross = np.ascontiguousarray(moments.cross.T, dtype=kind)
        self.weights = np.zeros_like(self._cross)
        # What the target's inner products with the columns are short of in the fit.
        self._left = self._cross.copy()
        if start is not None:
            self.weights[:] = start.T
            self._left = self._cross - self.weights @ self._gram

    def lower(
        self,
        alphas: Float[np.ndarray, " targets"],
        wanted: Bool[np.ndarray, " targets"] | None = None,
    ) -> None:
        """Fit at other penalties, beginning where the last fit ended.

        Args:
            alphas: Each target's penalty, for the mean (not the sum) of squares over the rows.
            wanted: Targets to fit, the others stay where they are; None for all.
        """
        _descend(
            self._gram,
            self._cross,
            self.moments.power,
            self.weights,
            self._left,
            (alphas * self.moments.rows).astype(self._gram.dtype),
            np.ones(len(alphas), dtype=bool) if wanted is None else wanted.copy(),
            self.effort.tolerance,
            self.effort.most_sweeps,
        )

    def errors(self, part: Moments) -> Float[np.ndarray, " targets"]:
        """Mean squared error over other rows.

        Args:
            part: Moments of those rows, about their own means.
        """
        weights = self.weights.astype(np.float64)
        within = part.power - 2 * np.einsum("tc,ct->t", weights, part.cross)
        within += np.einsum("tc,tc->t", weights @ part.gram, weights)
        shift = part.target_means - self.moments.target_means
        shift = shift - weights @ (part.means - self.moments.means)
        return np.asarray(within / part.rows + shift**2)


@numba.njit(nogil=True, cache=True)
@no_type_check
def _descend(
    gram: np.ndarray,
    cross: np.ndarray,
    powers: np.ndarray,
    weights: np.ndarray,
    left: np.ndarray,
    limits: np.ndarray,
    running: np.ndarray,
    tolerance: float,
    most: int,
) -> None:
    """Sweeps of cyclic coordinate descent until each target's duality gap is small.

    Source: Friedman, Hastie, Tibshirani (2010), "Regularization paths for generalized linear
    models via coordinate descent"; when to stop is scikit-learn's rule, so that also fits that stop
    early are the same.
    """
    targets = len(weights)
    largest = np.zeros(targets)
    moved = np.zeros(targets)
    for t in range(targets):
        if running[t]:
            gap = _gap(weights[t], left[t], cross[t], powers[t], limits[t])
            running[t] = gap > tolerance * powers[t]
    for sweep in range(most):
        if not running.any():
            return
        largest[:] = 0.0
        moved[:] = 0.0
        for start in range(0, len(gram), _BLOCK):
            rows = gram[start : start + _BLOCK]
            for t in range(targets):
                if running[t]:
                    far, high = _solve(rows, start, weights[t], left[t], limits[t])
                    moved[t] = max(moved[t], far)
                    largest[t] = max(largest[t], high)
        for t in range(targets):
            settled = moved[t] <= tolerance * largest[t] or sweep == most - 1
            if running[t] and settled:
                gap = _gap(weights[t], left[t], cross[t], powers[t], limits[t])
                running[t] = gap > tolerance * powers[t]


@numba.njit(nogil=True, cache=True)
@no_type_check
def _solve(
    rows: np.ndarray,
    start: int,
    weights: np.ndarray,
    left: np.ndarray,
    limit: np.floating[Any],
) -> tuple[float, float]:
    """Solve for some coefficients in turn; the largest step, and the largest coefficient."""
    moved = 0.0
    largest = 0.0
    for k in range(len(rows)):
        j = start + k
        curvature = rows[k, j]
        old = weights[j]
        pull = left[j] + old * curvature
        excess = abs(pull) - limit
        if excess <= 0 and old == 0:
            continue
        if excess > 0 and curvature > 0:
            weights[j] = excess / curvature if pull > 0 else -excess / curvature
        else:
            weights[j] = 0
        step = weights[j] - old
        largest = max(largest, abs(weights[j]))
        if step != 0:
            moved = max(moved, abs(step))
            row = rows[k]
            for i in range(len(left)):
                left[i] -= step * row[i]
    return moved, largest


@numba.njit(nogil=True, cache=True)
@no_type_check
def _gap(
    weights: np.ndarray,
    left: np.ndarray,
    cross: np.ndarray,
    power: float,
    limit: np.floating[Any],
) -> float:
    """Duality gap of half the sum of squares with the penalty `limit`."""
    steepest = 0.0
    length = 0.0
    along = 0.0
    quadratic = 0.0
    for j in range(len(weights)):
        steepest = max(steepest, abs(left[j]))
        if weights[j] != 0:
            length += abs(weights[j])
            along += weights[j] * cross[j]
            quadratic += weights[j] * (cross[j] - left[j])
    rest = power + quadratic - 2.0 * along
    scale = limit / steepest if steepest > limit else 1.0
    return float(0.5 * rest * (1.0 + scale**2) + limit * length - scale * (power - along))
