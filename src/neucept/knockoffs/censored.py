"""Latent values of neurons that sit at a bound, as a ReLU does at zero."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int

from neucept.knockoffs.compiled import compiled

_VALUES = 32_768
"""Values of rows that are drawn side by side, so that they stay in a core's own cache."""


def below(
    z: Float[np.ndarray, "samples neurons"],
    at: Bool[np.ndarray, "samples neurons"],
    bound: Float[np.ndarray, " neurons"],
    random: np.random.Generator,
) -> Float[np.ndarray, "samples neurons"]:
    """First latent values: a half-normal step below the bound.

    Args:
        z: Scaled activations.
        at: Where a neuron is at its bound.
        bound: Of each neuron, in the unit of `z`.
        random: Where the steps come from.

    Returns:
        `z` with the latent values in it.
    """
    steps = np.abs(random.standard_normal(int(at.sum())))
    started = z.copy()
    started[at] = bound[np.nonzero(at)[1]] - steps
    return started


def sweep(
    z: Float[np.ndarray, "samples neurons"],
    at: Bool[np.ndarray, "samples neurons"],
    bound: Float[np.ndarray, " neurons"],
    component: Int[np.ndarray, " samples"],
    centres: Float[np.ndarray, "components neurons"],
    precisions: Float[np.ndarray, "components neurons neurons"],
    random: np.random.Generator,
) -> None:
    """Draw every latent value anew, given its row's component and other values; in place.

    Args:
        z: Scaled activations with latent values, changed.
        at: Where the values are latent.
        bound: Of each neuron, in the unit of `z`; latent values stay below.
        component: Of each row.
        centres: Of the components.
        precisions: Inverse covariances of the components.
        random: Where the draws come from.

    Source: Geman and Geman (1984), for truncated normal laws.
    """
    for k, precision in enumerate(precisions):
        rows = np.flatnonzero(component == k)
        inside = z[rows]
        pull = (inside - centres[k]) @ precision
        _sweep(inside, pull, at[rows], bound, np.ascontiguousarray(precision), random)
        z[rows] = inside


@compiled
@no_type_check
def _sweep(
    z: np.ndarray,
    pull: np.ndarray,
    at: np.ndarray,
    bound: np.ndarray,
    precision: np.ndarray,
    random: np.random.Generator,
) -> None:
    """Latent values in turn; `pull` is kept at the rows' distance to the centre times precision."""
    samples, neurons = z.shape
    block = max(1, _VALUES // neurons)
    for begin in range(0, samples, block):
        for j in range(neurons):
            curvature = precision[j, j]
            spread = 1.0 / math.sqrt(curvature)
            for i in range(begin, min(begin + block, samples)):
                if not at[i, j]:
                    continue
                centre = z[i, j] - pull[i, j] / curvature
                new = centre + spread * _lower((bound[j] - centre) / spread, random)
                # Rounding can lead past the bound.
                new = min(new, bound[j])
                step = new - z[i, j]
                z[i, j] = new
                for m in range(neurons):
                    pull[i, m] += step * precision[j, m]


@compiled
@no_type_check
def _lower(cut: float, random: np.random.Generator) -> float:
    """A standard normal draw, given that it is below `cut`.

    Source: Robert (1995), "Simulation of truncated normal variables", section 2.
    """
    if not math.isfinite(cut * cut):
        # Nothing is left to draw, or nothing is known: no proposal would ever be accepted.
        return cut
    if cut > 0:
        drawn = random.standard_normal()
        while drawn > cut:
            drawn = random.standard_normal()
        return drawn
    rate = 0.5 * (math.sqrt(cut * cut + 4.0) - cut)
    while True:
        down = cut - random.standard_exponential() / rate
        if random.random() <= math.exp(-0.5 * (down + rate) ** 2):
            return down
