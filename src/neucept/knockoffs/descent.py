"""Lasso fits of many targets from second moments, by coordinate descent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from neucept.knockoffs.compiled import compiled
from neucept.knockoffs.moments import Moments

_BLOCK = 32
"""Rows of the Gram matrix that are read once for all targets."""

_SWEEPS_FIRST = 5
"""Sweeps at least before a target's support is solved for."""

_TRIES = 4
"""How often the way to that solution is halved, less one."""

_RIDGE = 100
"""What is added to a diagonal before it is solved for, in units of rounding."""


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
    Where sweeps have cost a target as much as solving for its whole support at once, that is done,
    and kept if it lowers the objective: sweeps find the support soon, and its values late.

    Attributes:
        weights: Coefficients where the fits stand, of the scaled columns, targets x columns.
    """

    def __init__(
        self,
        moments: Moments,
        effort: Effort,
        start: Float[np.ndarray, "columns targets"] | None = None,
        *,
        order: Int[np.ndarray, " columns"] | None = None,
        scale: Float[np.ndarray, " columns"] | None = None,
        single: bool = False,
        sweeps_only: bool = False,
    ) -> None:
        """Begin at coefficients of zero, or others.

        Args:
            moments: Of the rows to fit.
            effort: When a fit stops.
            start: Coefficients to begin with.
            order: In which the columns take turns; None for as they stand.
            scale: What each column is divided by; None for nothing.
            single: Compute in single precision, which is enough to choose a penalty.
            sweeps_only: Nothing but sweeps, so that fits that stop early are scikit-learn's too.
        """
        kind: type[np.floating[Any]] = np.float32 if single else np.float64
        self._rows, self._power = moments.rows, moments.power
        self._means, self._target_means = moments.means, moments.target_means
        self.effort = effort
        self._order = np.arange(len(moments.gram)) if order is None else order
        self._sweeps_only = sweeps_only
        self._scale = np.ones(len(moments.gram)) if scale is None else scale
        self._gram = np.array(moments.gram, dtype=kind)
        if scale is not None:
            self._gram /= self._scale.astype(kind)
            self._gram /= self._scale.astype(kind)[:, None]
        self._cross = np.ascontiguousarray((moments.cross / self._scale[:, None]).T, dtype=kind)
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
            self._power,
            self.weights,
            self._left,
            (alphas * self._rows).astype(self._gram.dtype),
            np.ones(len(alphas), dtype=bool) if wanted is None else wanted.copy(),
            self._order,
            self.effort.tolerance,
            self.effort.most_sweeps,
            self._sweeps_only,
        )

    def errors(self, part: Moments) -> Float[np.ndarray, " targets"]:
        """Mean squared error over other rows.

        Args:
            part: Moments of those rows, about their own means.
        """
        weights = self.weights / self._scale
        within = part.power - 2 * np.einsum("tc,ct->t", weights, part.cross)
        reached = weights.astype(part.gram.dtype) @ part.gram
        within += np.einsum("tc,tc->t", reached, weights)
        shift = part.target_means - self._target_means
        shift = shift - weights @ (part.means - self._means)
        return np.asarray(within / part.rows + shift**2)

    def slopes(
        self, part: Moments, among: Bool[np.ndarray, " targets"]
    ) -> Float[np.ndarray, " among"]:
        """How the error over other rows changes on the way to the fit without a penalty.

        The error is convex, so on the straight way there it rises all along if it rises at first.

        Args:
            part: Moments of those rows, about their own means.
            among: Targets to look at.

        Returns:
            Half the derivative at the beginning, for the whole way as the unit.
        """
        weights = self.weights[among] / self._scale
        way = self._least_squares[among] / self._scale - weights
        slope = np.einsum("tc,tc->t", way, weights.astype(part.gram.dtype) @ part.gram)
        slope -= np.einsum("tc,ct->t", way, part.cross[:, among])
        apart = part.means - self._means
        shift = (part.target_means - self._target_means)[among] - weights @ apart
        return np.asarray(slope / part.rows - shift * (way @ apart))

    @cached_property
    def _least_squares(self) -> Float[np.ndarray, "targets columns"]:
        """Coefficients without a penalty; NaN where rounding does not let them be told."""
        spread = np.sqrt(np.diag(self._gram))
        spread[spread == 0] = 1
        system = self._gram / spread / spread[:, None]
        np.fill_diagonal(system, 1 + _RIDGE * np.finfo(system.dtype).eps)
        try:
            factor = cho_factor(system, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return np.full_like(self._cross, np.nan)
        solved = cho_solve(factor, (self._cross / spread).T, check_finite=False)
        return np.asarray(solved.T / spread)


@compiled
@no_type_check
def _descend(
    gram: np.ndarray,
    cross: np.ndarray,
    powers: np.ndarray,
    weights: np.ndarray,
    left: np.ndarray,
    limits: np.ndarray,
    running: np.ndarray,
    order: np.ndarray,
    tolerance: float,
    most: int,
    sweeps_only: bool,
) -> None:
    """Sweeps of cyclic coordinate descent until each target's duality gap is small.

    Source: Friedman, Hastie, Tibshirani (2010), "Regularization paths for generalized linear
    models via coordinate descent"; when to stop is scikit-learn's rule, so that also fits that stop
    early are the same where nothing but sweeps is asked for. Solving for the support: Lee, Battle,
    Raina, Ng (2006), "Efficient sparse coding algorithms".
    """
    targets = len(weights)
    largest = np.zeros(targets)
    moved = np.zeros(targets)
    spent = np.zeros(targets)
    failed = np.zeros(targets)
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
            turn = order[start : start + _BLOCK]
            for t in range(targets):
                if running[t]:
                    far, high, steps = _solve(gram, turn, weights[t], left[t], limits[t])
                    moved[t] = max(moved[t], far)
                    largest[t] = max(largest[t], high)
                    spent[t] += steps * len(gram)
        for t in range(targets):
            if not running[t]:
                continue
            settled = moved[t] <= tolerance * largest[t] or sweep == most - 1
            if not sweeps_only and sweep + 1 >= _SWEEPS_FIRST:
                price = np.count_nonzero(weights[t]) ** 3 / 6 * (1 + failed[t])
                if spent[t] >= price:
                    spent[t] = 0.0
                    solved = _solve_support(gram, weights[t], left[t], cross[t], limits[t])
                    failed[t] = 0 if solved else failed[t] + 1
                    settled = settled or solved
            if settled:
                gap = _gap(weights[t], left[t], cross[t], powers[t], limits[t])
                running[t] = gap > tolerance * powers[t]


@compiled
@no_type_check
def _solve(
    gram: np.ndarray,
    turn: np.ndarray,
    weights: np.ndarray,
    left: np.ndarray,
    limit: np.floating[Any],
) -> tuple[float, float, int]:
    """Solve for some coefficients in turn.

    Returns:
        The largest step, the largest coefficient, and how many steps there were.
    """
    moved = 0.0
    largest = 0.0
    steps = 0
    for j in turn:
        row = gram[j]
        curvature = row[j]
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
            steps += 1
            for i in range(len(left)):
                left[i] -= step * row[i]
    return moved, largest, steps


@compiled
@no_type_check
def _solve_support(
    gram: np.ndarray,
    weights: np.ndarray,
    left: np.ndarray,
    cross: np.ndarray,
    limit: np.floating[Any],
) -> bool:
    """Solve for all coefficients other than 0 at once, their signs as they are.

    One whose sign would change becomes 0. Where that does not lower the objective, half of the way
    may do, or half of that.

    Returns:
        Whether anything was changed.
    """
    support = np.flatnonzero(weights)
    size = len(support)
    if size == 0:
        return False
    ridge = _RIDGE * np.finfo(gram.dtype).eps
    system = np.empty((size, size), gram.dtype)
    right = np.empty(size, gram.dtype)
    for a in range(size):
        row = gram[support[a]]
        for b in range(size):
            system[a, b] = row[support[b]]
        system[a, a] *= 1 + ridge
        right[a] = left[support[a]] - limit * np.sign(weights[support[a]])
    steps = np.linalg.solve(system, right)
    before = _objective(weights, left, cross, limit)
    for _ in range(_TRIES):
        new, rest = weights.copy(), left.copy()
        for a in range(size):
            j = support[a]
            new[j] += steps[a]
            if new[j] * weights[j] <= 0:
                new[j] = 0
            step = new[j] - weights[j]
            row = gram[j]
            for i in range(len(rest)):
                rest[i] -= step * row[i]
        if _objective(new, rest, cross, limit) < before:
            weights[:] = new
            left[:] = rest
            return True
        steps /= 2
    return False


@compiled
@no_type_check
def _objective(
    weights: np.ndarray, left: np.ndarray, cross: np.ndarray, limit: np.floating[Any]
) -> float:
    """Half the sum of squares with the penalty `limit`, less what it is without coefficients."""
    value = 0.0
    for j in range(len(weights)):
        if weights[j] != 0:
            value += limit * abs(weights[j]) - 0.5 * weights[j] * (cross[j] + left[j])
    return value


@compiled
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
