"""Samples outside a mechanism, whose values stand in for those of neurons that are cut."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

FEWEST = 30
"""Samples of other predictions without which nothing is cut."""

SAME = 1e-8
"""Squared distance, relative to the lengths, at which a donor is the sample itself or a copy."""


@dataclass(frozen=True)
class Donors:
    """Samples outside a mechanism, and what a layer gave for them.

    Attributes:
        positions: Which samples of the data.
        values: Their activations.
        weights: What makes the neurons comparable: one over the standard deviation over all
            samples, 0 for a neuron that does not vary.
        nearest: How many donors a sample may take values from: those most like it in the neurons
            that are not cut.
    """

    positions: Int[np.ndarray, " donors"] = field(repr=False)
    values: Float[np.ndarray, "donors neurons"] = field(repr=False)
    weights: Float[np.ndarray, " neurons"] = field(repr=False)
    nearest: int

    def beside(self, values: Float[np.ndarray, "samples neurons"]) -> Beside:
        """The donors as seen from some samples."""
        return Beside(self, values)


class Beside:
    """How far each donor is from each of some samples, whatever is cut."""

    def __init__(self, donors: Donors, values: Float[np.ndarray, "samples neurons"]) -> None:
        """Measure all distances once; a cut then takes its neurons' part away."""
        self._donors = donors
        self._own = values * donors.weights
        self._theirs = donors.values * donors.weights
        self._whole = _squares(self._own, self._theirs)
        lengths = (self._own**2).sum(axis=1)[:, None] + (self._theirs**2).sum(axis=1)
        # One that gives a sample its own values back would make a cut look harmless.
        self._whole[self._whole <= SAME * lengths] = np.inf

    def pick(
        self, cut: Int[np.ndarray, " cut"], chance: Float[np.ndarray, "samples draws"]
    ) -> Int[np.ndarray, "samples draws"]:
        """Donors for each sample.

        Args:
            cut: The neurons that are to be replaced; only the others tell which donors are near.
            chance: Uniform in [0, 1): which of the near ones it is. The same numbers for another
                cut make the two comparable.

        Returns:
            Places among the donors.
        """
        many = len(self._theirs)
        near = min(self._donors.nearest, many)
        distance = self._whole - _squares(self._own[:, cut], self._theirs[:, cut])
        found = np.argpartition(distance, near - 1, axis=1)[:, :near]
        order = np.take_along_axis(distance, found, axis=1).argsort(axis=1, kind="stable")
        found = np.take_along_axis(found, order, axis=1)
        return np.take_along_axis(found, (chance * near).astype(np.int64), axis=1)


def _squares(
    own: Float[np.ndarray, "samples some"], theirs: Float[np.ndarray, "donors some"]
) -> Float[np.ndarray, "samples donors"]:
    """Squared distances."""
    lengths = (own**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1)
    return np.asarray(lengths - 2 * own @ theirs.T)


def weights_of(everyone: Float[np.ndarray, "samples neurons"]) -> Float[np.ndarray, " neurons"]:
    """One over the standard deviation of each neuron; 0 where it does not vary."""
    spread = everyone.std(axis=0, dtype=np.float64)
    varies = spread > 1e-7 * np.maximum(np.abs(everyone).max(axis=0, initial=0.0), 1e-12)
    return np.where(varies, 1 / np.where(varies, spread, 1.0), 0.0)
