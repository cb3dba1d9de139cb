"""Is there a gap between two groups, on samples that did not draw them?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binom

from neucept.mechanisms.mixture import Mixture
from neucept.mechanisms.resampling import FEWEST_MEMBERS

GRID = 49

NO_GAP = np.array([0, 1, 0])
"""Counts that speak against a gap."""


def gap_counts(
    mixture: Mixture,
    own: Float[np.ndarray, "rows dimensions"],
    other: Float[np.ndarray, "others dimensions"],
    order: Int[np.ndarray, " groups"],
) -> Int[np.ndarray, "groups groups 3"]:
    """How many unseen samples lie at one group's centre, between, and at the other's.

    The direction that tells two groups apart, the place of least density on it and the width of
    the three equal windows are chosen on the rows that fitted the groups; the counts are of rows
    that did not. A population with a single peak on that direction puts at least as many samples
    into the middle window as into the poorer of the outer two.

    Args:
        mixture: Groups fitted to `own`.
        own: The rows that fitted them.
        other: Rows that did not.
        order: Which group of `mixture` stands for each group of the result.

    Returns:
        Per pair of groups, first below second, the counts (first, middle, second).
    """
    own_labels, other_labels = mixture.labels(own), mixture.labels(other)
    scatter, groups = mixture.scatter(), mixture.groups
    counts = np.zeros((groups, groups, 3), dtype=np.int64)
    for i in range(groups):
        for j in range(i + 1, groups):
            a, b = int(order[i]), int(order[j])
            spread = mixture.weights[a] * scatter[a] + mixture.weights[b] * scatter[b]
            direction = np.linalg.solve(spread, mixture.means[b] - mixture.means[a])
            first, second = own[own_labels == a] @ direction, own[own_labels == b] @ direction
            pooled = other[(other_labels == a) | (other_labels == b)] @ direction
            counts[i, j] = _windows(first, second, pooled)
    return counts


def _windows(first: np.ndarray, second: np.ndarray, others: np.ndarray) -> np.ndarray:
    if min(len(first), len(second)) < FEWEST_MEMBERS:
        return NO_GAP
    low, high = np.median(first), np.median(second)
    if not low < high:
        return NO_GAP
    both = np.concatenate([first, second])
    width = (first.std() + second.std()) / 2 * len(both) ** -0.2
    places = np.linspace(low, high, GRID)[GRID // 8 : -(GRID // 8)]
    density = np.exp(-0.5 * ((places[:, None] - both) / max(width, 1e-12)) ** 2).sum(axis=1)
    middle = places[int(density.argmin())]
    reach = min(middle - low, high - middle) / 2
    return np.array([(np.abs(others - place) < reach).sum() for place in (low, middle, high)])


def gap_p_value(counts: Sequence[Int[np.ndarray, "groups groups 3"]]) -> float:
    """The evidence that every two groups have a gap between them.

    Args:
        counts: Per split, the counts of both its halves added up.

    Returns:
        The largest p-value over pairs; per pair twice the median over splits, at most 1. Under
        "no gap" the middle count of a split is at least binomial with one half, given its sum with
        either neighbour.

    Source: Meinshausen, Meier, Buehlmann (2009) for twice the median.
    """
    stack = np.stack(counts)
    first, middle, second = stack[..., 0], stack[..., 1], stack[..., 2]
    p_values = np.maximum(
        binom.cdf(middle, middle + first, 0.5), binom.cdf(middle, middle + second, 0.5)
    )
    per_pair = np.minimum(1.0, 2 * np.median(p_values, axis=0))
    pairs = np.triu_indices(stack.shape[1], k=1)
    return float(per_pair[pairs].max(initial=0.0))
