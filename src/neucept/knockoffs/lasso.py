"""The lasso coefficient difference, cross-validated, from second moments alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from neucept.errors import SettingsError
from neucept.knockoffs.descent import Effort, Fits
from neucept.knockoffs.moments import Folds, fold_moments, fold_rows
from neucept.knockoffs.penalty import cross_validated, penalty_grid
from neucept.knockoffs.shapes import Copies, Importances, Neurons, SeparateImportances, Targets
from neucept.runtime import is_real, is_whole


class SeparateFits(ABC):
    """A statistic whose joint importance is made from the separate fits of the targets."""

    @abstractmethod
    def separate(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> SeparateImportances:
        """Importance for each target, from fits that see no other target; the original first."""

    def joint(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> Importances:
        """The norm of a column's importances over the targets.

        A multi-task lasso has more power where a neuron moves every target a little, and loses
        one that serves a single target of many; this does not.
        """
        return self.both(z, knockoffs, y, random)[0]

    def both(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> tuple[Importances, SeparateImportances]:
        """What `joint` and `separate` return, from the same fits."""
        separate = self.separate(z, knockoffs, y, random)
        return over_targets(separate), separate


def over_targets(
    separate: SeparateImportances,
) -> Importances:
    """Joint importance from that for each target."""
    return np.asarray(np.linalg.norm(separate, axis=2))


class FromMoments(SeparateFits):
    """A statistic that looks at the rows through their second moments alone."""

    @abstractmethod
    def fold_rows(self, samples: int) -> list[slice]:
        """The rows whose moments it wants, part by part."""

    @abstractmethod
    def fitted(self, folds: Folds, copies: int, random: np.random.Generator) -> SeparateImportances:
        """Importance for each target.

        Args:
            folds: Moments of the rows of each part, of neurons and all first copies, all second
                ones and so on, and of targets.
            copies: Knockoffs of each neuron.
            random: Where the order of the columns comes from.
        """

    def separate(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> SeparateImportances:
        """One fit for each target; none sees another target."""
        samples, neurons, copies = knockoffs.shape
        flat = np.moveaxis(knockoffs, 2, 1).reshape(samples, copies * neurons)
        folds = Folds.of(fold_moments([z, flat], y, self.fold_rows(samples)))
        return self.fitted(folds, copies, random)


@dataclass(frozen=True)
class Lasso(FromMoments):
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

    def __post_init__(self) -> None:
        """Refuse what no fit can be run with.

        Raises:
            SettingsError: a value is outside its range.
        """
        check_fit(self.folds, self.penalties, self.tolerance, self.most_iterations)
        if not 0 < self.least_penalty < 1:
            raise SettingsError(
                f"least_penalty is {self.least_penalty!r}. Pass a share between 0 and 1."
            )

    def fold_rows(self, samples: int) -> list[slice]:
        """Every so many-th row is of one fold."""
        return fold_rows(samples, self.folds)

    def fitted(self, folds: Folds, copies: int, random: np.random.Generator) -> SeparateImportances:
        """Absolute coefficients, for targets in units of their spread."""
        whole = folds.whole
        # In the units of the first copy: what is compared must have one scale.
        units = folds.units.reshape(copies + 1, -1)
        spread = (np.diag(whole.gram).reshape(copies + 1, -1) * (units / units[0]) ** 2).mean(0)
        scale = (np.sqrt(spread / whole.rows) * units[0] / units).ravel()
        order = random.permutation(len(scale))
        power = np.where(whole.power > 0, whole.power, 1.0)
        folds = folds.in_units(np.sqrt(power / whole.rows))
        whole = folds.whole
        largest = np.abs(whole.cross / scale[:, None]).max(0) / whole.rows
        grid = penalty_grid(largest, self.penalties, self.least_penalty)
        effort = Effort(self.tolerance, self.most_iterations)
        alphas, start = cross_validated(folds, grid, effort, order=order, scale=scale)
        fits = Fits(whole, effort, start, order=order, scale=scale)
        fits.lower(alphas)
        return by_neuron(fits.weights.T, copies)

    def describe(self) -> dict[str, Any]:
        """The settings, as plain JSON values."""
        return {"kind": "lasso", **asdict(self)}


def check_fit(folds: object, penalties: object, tolerance: object, most_iterations: object) -> None:
    """Refuse settings that no cross-validated fit can be run with.

    Raises:
        SettingsError: a value is outside its range.
    """
    numbers = {"folds": (folds, 2), "penalties": (penalties, 1)}
    for name, (value, least) in {**numbers, "most_iterations": (most_iterations, 1)}.items():
        if not is_whole(value) or value < least:
            raise SettingsError(f"{name} is {value!r}. Pass a whole number of at least {least}.")
    if not is_real(tolerance) or not 0 < tolerance < 1:
        raise SettingsError(f"tolerance is {tolerance!r}. Pass a share between 0 and 1.")


def by_neuron(
    coefficients: Float[np.ndarray, "all_columns targets"], copies: int
) -> SeparateImportances:
    """Absolute coefficients of originals and copies side by side, sorted by neuron."""
    sorted_out = np.abs(coefficients).reshape(copies + 1, -1, coefficients.shape[1])
    return np.moveaxis(sorted_out, 0, 1)
