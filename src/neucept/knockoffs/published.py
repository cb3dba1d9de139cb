"""The lasso coefficient difference as the published recipe computes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from neucept.knockoffs.lasso import FromMoments, by_neuron
from neucept.knockoffs.moments import Moments, fold_moments, fold_rows, together
from neucept.knockoffs.paths import Effort, held_out_error, lasso_fits, quiet_solver


@dataclass(frozen=True)
class PublishedLasso(FromMoments):
    """Importance = absolute coefficient of a cross-validated lasso on columns as they come.

    Nothing is scaled, the penalties are a fixed grid in the unit of the data, folds are runs of
    rows, and the fits stop early. Given the same knockoffs and the same order of columns, the
    numbers are those of the "lasso" statistic of knockpy 1.3.5 on a target that is not binary.

    Attributes:
        folds: Parts of the cross-validation, each a run of rows.
        penalties: How many are tried, evenly spaced on the log scale.
        largest: The largest penalty.
        least: The smallest penalty.
        tolerance: Duality gap at which a fit stops, as a share of the target's power.
        most_iterations: Passes over the columns at most.

    Source: Vu, Nguyen, Thai (2022), arXiv 2209.08448, whose code calls knockpy.
    """

    folds: int = 5
    penalties: int = 20
    largest: float = 1e4
    least: float = 1e-4
    tolerance: float = 1e-3
    most_iterations: int = 500

    def fold_rows(self, samples: int) -> list[slice]:
        """Each fold is a run of rows."""
        return fold_rows(samples, self.folds, contiguous=True)

    def fitted(
        self, parts: Sequence[Moments], copies: int, random: np.random.Generator
    ) -> Float[np.ndarray, "neurons columns targets"]:
        """Absolute coefficients, in the units of the data."""
        order = random.permutation(len(parts[0].gram))
        same = np.ones(len(order))
        coefficients = np.empty((len(order), parts[0].cross.shape[1]))
        coefficients[order] = self._cross_validated([p.arranged(order, same) for p in parts])
        return by_neuron(coefficients, copies)

    def coefficients(
        self, design: Float[np.ndarray, "samples columns"], y: Float[np.ndarray, "samples targets"]
    ) -> Float[np.ndarray, "columns targets"]:
        """Cross-validated lasso coefficients of each target on columns in the order given."""
        return self._cross_validated(fold_moments([design], y, self.fold_rows(len(design))))

    def _cross_validated(self, parts: Sequence[Moments]) -> Float[np.ndarray, "columns targets"]:
        whole = together(parts)
        targets = range(whole.cross.shape[1])
        grid = np.geomspace(self.largest, self.least, self.penalties)
        effort = Effort(self.tolerance, self.most_iterations)
        errors = np.zeros((len(targets), len(grid)))
        with quiet_solver():
            for part in parts:
                fitted = whole.minus(part)
                held = part.about(fitted.means, fitted.target_means)
                for t in targets:
                    errors[t] += held_out_error(held, lasso_fits(fitted, t, grid, effort), t)
            best = errors.argmin(1)
            columns = [lasso_fits(whole, t, grid[best[t]][None], effort)[:, 0] for t in targets]
        return np.stack(columns, axis=1)

    def describe(self) -> dict[str, Any]:
        """The settings, as plain JSON values."""
        return {"kind": "lasso_published", **asdict(self)}
