"""Is there a gap between two groups, on samples that did not draw them?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy.stats import binom

from neucept.mechanisms.mixture import Mixture
from neucept.mechanisms.resampling import FEWEST_MEMBERS
from neucept.mechanisms.together import shares

GRID = 60
"""Places between two groups at which the density is looked at."""

WIDTHS = (1.0, 0.7, 0.5, 0.35)
"""Half-widths tried for the windows, as shares of the widest that keeps them apart."""

SHALLOW = 0.8
"""Density between two groups, as a share of the lower of their peaks, that still is no gap."""

ROUNDING = 1e-9
"""Beyond this a sum of parts is not the whole number that it nearly is."""

NO_GAP = np.array([0, 1, 0])
"""Counts that speak against a gap."""


def gap_counts(
    mixture: Mixture,
    own: Float[np.ndarray, "rows dimensions"],
    other: Float[np.ndarray, "others dimensions"],
    order: Int[np.ndarray, " groups"],
    together: Int[np.ndarray, " others"] | None = None,
) -> Real[np.ndarray, "groups groups 3"]:
    """How many unseen samples lie at one group's peak, between, and at the other's.

    The direction that tells two groups apart, the places of least and most density on it and the
    width of the three equal windows are chosen on the rows that fitted the groups; the counts are
    of rows that did not. A population with a single peak on that direction puts at least as many
    samples into the middle window as into the poorer of the outer two.

    Args:
        mixture: Groups fitted to `own`.
        own: The rows that fitted them.
        other: Rows that did not.
        order: Which group of `mixture` stands for each group of the result.
        together: Which rows of `other` belong together; they count as one sample, shared among
            those that are of the pair.

    Returns:
        Per pair of groups, first below second, the counts (first, middle, second).
    """
    own_labels, other_labels = mixture.labels(own), mixture.labels(other)
    scatter, groups = mixture.scatter(), mixture.groups
    counts = np.zeros((groups, groups, 3), dtype=np.int64 if together is None else float)
    for i in range(groups):
        for j in range(i + 1, groups):
            a, b = int(order[i]), int(order[j])
            spread = mixture.weights[a] * scatter[a] + mixture.weights[b] * scatter[b]
            direction = np.linalg.solve(spread, mixture.means[b] - mixture.means[a])
            first, second = own[own_labels == a] @ direction, own[own_labels == b] @ direction
            pair = (other_labels == a) | (other_labels == b)
            weight = shares(None if together is None else together[pair], int(pair.sum()))
            counts[i, j] = _windows(first, second, other[pair] @ direction, weight)
    return counts


def _windows(
    first: np.ndarray, second: np.ndarray, others: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    if min(len(first), len(second)) < FEWEST_MEMBERS or not np.median(first) < np.median(second):
        return NO_GAP
    both = np.concatenate([first, second])
    width = max((first.std() + second.std()) / 2 * len(both) ** -0.2, 1e-12)
    grid = np.linspace(np.quantile(first, 0.05), np.quantile(second, 0.95), GRID)
    density = np.exp(-0.5 * ((grid[:, None] - both) / width) ** 2).sum(axis=1)
    inner = np.flatnonzero((grid > np.median(first)) & (grid < np.median(second)))
    if not len(inner):
        return NO_GAP
    valley = int(inner[density[inner].argmin()])
    left = int(density[: valley + 1].argmax())
    right = valley + int(density[valley:].argmax())
    places = grid[[left, valley, right]]
    most = min(places[1] - places[0], places[2] - places[1]) / 2
    if not most > 0:
        return NO_GAP
    each = np.ones(len(both))
    tried = [_counts(both, each, places, most * share) for share in WIDTHS]
    best = int(np.argmax([_contrast(counts) for counts in tried]))
    return _counts(others, weight, places, most * WIDTHS[best])


def _counts(values: np.ndarray, weight: np.ndarray, places: np.ndarray, reach: float) -> np.ndarray:
    return np.array([weight[np.abs(values - place) < reach].sum() for place in places])


def _contrast(counts: np.ndarray) -> float:
    """How far the middle falls below the poorer neighbour, in standard errors."""
    outer, middle = min(counts[0], counts[2]), counts[1]
    return float((outer - middle) / max(outer + middle, 1) ** 0.5)


def gap_p_value(
    counts: Sequence[Real[np.ndarray, "groups groups 3"]],
    found: Sequence[Bool[np.ndarray, " groups"]],
) -> float:
    """The evidence that every two groups have a gap between them.

    Args:
        counts: Per split, the counts of both its halves added up. Parts of a sample, where samples
            belong together, are rounded against the gap.
        found: Per split, whether both halves found each group. A pair is judged by the splits that
            found both of its groups; how often they are found is the stability's business.

    Returns:
        The largest p-value over pairs; per pair twice the median over splits, at most 1, and 1 if
        fewer than half of the splits can judge it. Without a gap the middle count, given its sum
        with one of its neighbours, is at least binomial with `SHALLOW` to 1 as the odds; in a
        population with a single peak the odds are 1 to 1.

    Source: Meinshausen, Meier, Buehlmann (2009) for twice the median.
    """
    stack, present = np.stack(counts), np.stack(found)
    first, second = np.floor(stack[..., 0] + ROUNDING), np.floor(stack[..., 2] + ROUNDING)
    middle = np.ceil(stack[..., 1] - ROUNDING)
    odds = SHALLOW / (1 + SHALLOW)
    p_values = np.maximum(
        binom.cdf(middle, middle + first, odds), binom.cdf(middle, middle + second, odds)
    )
    worst = 0.0
    for i, j in combinations(range(stack.shape[1]), 2):
        judged = p_values[present[:, i] & present[:, j], i, j]
        enough = 2 * len(judged) >= len(stack)
        worst = max(worst, min(1.0, 2 * float(np.median(judged))) if enough else 1.0)
    return worst
