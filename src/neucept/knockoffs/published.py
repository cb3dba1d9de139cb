"""The lasso coefficient difference as the published recipe computes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from neucept.errors import SettingsError
from neucept.knockoffs.descent import Effort, Fits
from neucept.knockoffs.lasso import FromMoments, by_neuron, check_fit
from neucept.knockoffs.moments import Folds, fold_moments, fold_rows
from neucept.knockoffs.penalty import cross_validated
from neucept.knockoffs.shapes import SeparateImportances


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

    def __post_init__(self) -> None:
        """Refuse what no fit can be run with.

        Raises:
            SettingsError: a value is outside its range.
        """
        check_fit(self.folds, self.penalties, self.tolerance, self.most_iterations)
        if not 0 < self.least <= self.largest:
            raise SettingsError(
                f"least is {self.least!r} and largest {self.largest!r}. Pass penalties above 0."
            )

    def fold_rows(self, samples: int) -> list[slice]:
        """Each fold is a run of rows."""
        return fold_rows(samples, self.folds, contiguous=True)

    def fitted(self, folds: Folds, copies: int, random: np.random.Generator) -> SeparateImportances:
        """Absolute coefficients, in the units of the data."""
        order = random.permutation(len(folds.whole.gram))
        return by_neuron(self._cross_validated(folds, order), copies)

    def coefficients(
        self, design: Float[np.ndarray, "samples columns"], y: Float[np.ndarray, "samples targets"]
    ) -> Float[np.ndarray, "columns targets"]:
        """Cross-validated lasso coefficients of each target on columns in the order given."""
        folds = Folds.of(fold_moments([design], y, self.fold_rows(len(design))))
        return self._cross_validated(folds, np.arange(design.shape[1]))

    def _cross_validated(
        self, folds: Folds, order: Int[np.ndarray, " columns"]
    ) -> Float[np.ndarray, "columns targets"]:
        """Coefficients of the columns, which take turns in the order given."""
        grid = np.geomspace(self.largest, self.least, self.penalties)
        effort = Effort(self.tolerance, self.most_iterations)
        everywhere = np.tile(grid, (folds.whole.cross.shape[1], 1))
        told: dict[str, Any] = {"order": order, "scale": 1 / folds.units, "sweeps_only": True}
        alphas, _ = cross_validated(folds, everywhere, effort, **told)
        fits = Fits(folds.whole, effort, **told)
        fits.lower(alphas)
        return fits.weights.T

    def describe(self) -> dict[str, Any]:
        """The settings, as plain JSON values."""
        return {"kind": "lasso_published", **asdict(self)}
