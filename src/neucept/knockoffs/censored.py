"""Latent values of neurons that sit at a bound, as a ReLU does at zero."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import log_ndtr, ndtri_exp


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
        for j in np.flatnonzero(at[rows].any(0)):
            hit = np.flatnonzero(at[rows, j])
            now = inside[hit, j]
            spread = 1.0 / math.sqrt(precision[j, j])
            centre = now - pull[hit, j] * spread**2
            # The lower part of a normal law, by its logarithm: the bound can be far out.
            cut = log_ndtr((bound[j] - centre) / spread)
            chosen = np.log(random.random(len(hit))) + cut
            new = np.minimum(centre + spread * ndtri_exp(chosen), bound[j])
            pull[hit] += (new - now)[:, None] * precision[j]
            inside[hit, j] = new
        z[rows] = inside
