"""The lasso coefficient difference, cross-validated, from second moments alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from neucept.knockoffs.moments import fold_moments, fold_rows, together
from neucept.knockoffs.paths import Effort, LeastSquares, quiet_solver
from neucept.knockoffs.penalty import penalty_grid, search_paths, search_together

_COLUMNS_PER_TARGET = 800
"""Up to so many columns per target the penalties of all targets are searched together."""


class SeparateFits(ABC):
    """A statistic whose joint importance is made from the separate fits of the targets."""

    @abstractmethod
    def separate(
        self,
        z: Float[np.ndarray, "samples neurons"],
        knockoffs: Float[np.ndarray, "samples neurons copies"],
        y: Float[np.ndarray, "samples targets"],
        random: np.random.Generator,
    ) -> Float[np.ndarray, "neurons columns targets"]:
        """Importance for each target, from fits that see no other target; the original first."""

    def joint(
        self,
        z: Float[np.ndarray, "samples neurons"],
        knockoffs: Float[np.ndarray, "samples neurons copies"],
        y: Float[np.ndarray, "samples targets"],
        random: np.random.Generator,
    ) -> Float[np.ndarray, "neurons columns"]:
        """The norm of a column's importances over the targets.

        A multi-task lasso has more power where a neuron moves every target a little, and loses
        one that serves a single target of many; this does not.
        """
        return self.both(z, knockoffs, y, random)[0]

    def both(
        self,
        z: Float[np.ndarray, "samples neurons"],
        knockoffs: Float[np.ndarray, "samples neurons copies"],
        y: Float[np.ndarray, "samples targets"],
        random: np.random.Generator,
    ) -> tuple[Float[np.ndarray, "neurons columns"], Float[np.ndarray, "neurons columns targets"]]:
        """What `joint` and `separate` return, from the same fits."""
        separate = self.separate(z, knockoffs, y, random)
        return np.asarray(np.linalg.norm(separate, axis=2)), separate


@dataclass(frozen=True)
class Lasso(SeparateFits):
    """Importance = absolute coefficient in a cross-validated lasso on neurons and knockoffs.

    A neuron and its knockoffs share one scale, and the columns come in random order, so nothing
    in the fit knows which column is the original.

    Attributes:
        folds: Parts of the cross-validation; every so many-th row is one.
        penalties: How many are tried, from the least one that leaves no coefficient down.
        least_penalty: The smallest, as a share of the largest.
        tolerance: Duality gap at which a fit stops, as a share of the target's power.
        most_iterations: Passes over the columns at most.

    Source: Candes, Fan, Janson, Lv (2018), "Panning for gold", section 3.
    """

    folds: int = 3
    penalties: int = 20
    least_penalty: float = 1e-4
    tolerance: float = 1e-4
    most_iterations: int = 1000

    def separate(
        self,
        z: Float[np.ndarray, "samples neurons"],
        knockoffs: Float[np.ndarray, "samples neurons copies"],
        y: Float[np.ndarray, "samples targets"],
        random: np.random.Generator,
    ) -> Float[np.ndarray, "neurons columns targets"]:
        """One fit for each target, in units of its spread; none sees another target."""
        samples, neurons, copies = knockoffs.shape
        flat = np.moveaxis(knockoffs, 2, 1).reshape(samples, copies * neurons)
        parts = fold_moments([z, flat], y / y.std(0), fold_rows(samples, self.folds))
        spread = np.diag(together(parts).gram).reshape(copies + 1, neurons).mean(0) / samples
        scale = np.tile(np.sqrt(spread), copies + 1)
        order = random.permutation(len(scale))
        parts = [part.arranged(order, scale) for part in parts]
        grid = penalty_grid(parts, self.penalties, self.least_penalty)
        effort = Effort(self.tolerance, self.most_iterations)
        coefficients = np.empty((len(scale), y.shape[1]))
        with quiet_solver():
            if len(order) <= _COLUMNS_PER_TARGET * y.shape[1]:
                alphas, start = search_together(parts, grid)
            else:
                alphas, start = search_paths(parts, grid, effort)
            problem = LeastSquares.of(together(parts))
            for t, alpha in enumerate(alphas):
                begin = np.ascontiguousarray(start[:, t])
                coefficients[order, t] = problem.fit(t, alpha[None], effort, begin)[:, 0]
        return np.moveaxis(np.abs(coefficients).reshape(copies + 1, neurons, -1), 0, 1)

    def describe(self) -> dict[str, Any]:
        """The settings, as plain JSON values."""
        return {"kind": "lasso", **asdict(self)}
