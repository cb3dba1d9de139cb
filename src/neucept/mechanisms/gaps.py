"""Is there a gap between two groups, on samples that did not draw them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy.ndimage import gaussian_filter1d
from scipy.stats import binom

from neucept.mechanisms.mixture import Mixture
from neucept.mechanisms.resampling import FEWEST_MEMBERS
from neucept.mechanisms.together import shares

GRID = 60
"""Places between two groups at which the density is looked at."""

NARROWEST = 0.25
"""Least kernel width, in steps between those places."""

WIDTHS = (1.0, 0.7, 0.5, 0.35)
"""Half-widths tried for the windows, as shares of the widest that keeps them apart."""

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Weights of the first group's scatter in the directions tried, beside that of its size."""

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

    Groups of different shape are told apart best by a direction that weighs their scatters as
    neither's size says, so some such directions are tried, and the one with the clearest gap taken.

    Args:
        mixture: Groups fitted to `own`.
        own: The rows that fitted them.
        other: Rows that did not.
        order: Which group of `mixture` stands for each group of the result.
        together: Which rows of `other` belong together; they count as one sample, shared among
            those that are of the pair.

    Returns:
        Per pair of groups, first below second, the counts (first, middle, second).

    Source: Anderson and Bahadur (1962), linear discriminants of unequal covariances.
    """
    own_labels, other_labels = mixture.labels(own), mixture.labels(other)
    scatter, groups = mixture.scatter(), mixture.groups
    counts = np.zeros((groups, groups, 3), dtype=np.int64 if together is None else float)
    for i in range(groups):
        for j in range(i + 1, groups):
            a, b = int(order[i]), int(order[j])
            first, second = own[own_labels == a], own[own_labels == b]
            pair = (other_labels == a) | (other_labels == b)
            weight = shares(None if together is None else together[pair], int(pair.sum()))
            found = _clearest(mixture, scatter, a, b, first, second)
            if found is None:
                counts[i, j] = NO_GAP
                continue
            windows, direction = found
            counts[i, j] = windows.counts(other[pair] @ direction, weight)
    return counts


@dataclass(frozen=True)
class Windows:
    """Three equal windows on a line, and how clear the gap is on the rows that placed them."""

    places: Float[np.ndarray, " 3"]
    reach: float
    contrast: float

    def counts(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """The weight of the values in each window."""
        return _counts(values, weight, self.places, self.reach)


def _clearest(
    mixture: Mixture, scatter: np.ndarray, a: int, b: int, first: np.ndarray, second: np.ndarray
) -> tuple[Windows, np.ndarray] | None:
    """The direction from group `a` to group `b` with the clearest gap, and its windows."""
    apart = mixture.means[b] - mixture.means[a]
    size = mixture.weights[a] / (mixture.weights[a] + mixture.weights[b])
    ways = []
    for share in (float(size), *SHARES):
        spread = share * scatter[a] + (1 - share) * scatter[b]
        direction = np.linalg.solve(spread, apart)
        windows = _windows(first @ direction, second @ direction)
        if windows is not None:
            ways.append((windows, direction))
    return max(ways, key=lambda way: way[0].contrast, default=None)


def _windows(first: np.ndarray, second: np.ndarray) -> Windows | None:
    """The windows at the peaks of two groups and at the valley between them; None without one."""
    if min(len(first), len(second)) < FEWEST_MEMBERS or not np.median(first) < np.median(second):
        return None
    both = np.concatenate([first, second])
    width = (first.std() + second.std()) / 2 * len(both) ** -0.2
    grid = np.linspace(np.quantile(first, 0.05), np.quantile(second, 0.95), GRID)
    if not grid[1] - grid[0] > ROUNDING * np.abs(grid).max():
        return None
    density = _density(both, grid, width)
    inner = np.flatnonzero((grid > np.median(first)) & (grid < np.median(second)))
    if not len(inner):
        return None
    # Far apart groups leave many places empty; the window stands in their middle.
    lowest = inner[density[inner] == density[inner].min()]
    valley = int(lowest[len(lowest) // 2])
    left = int(density[: valley + 1].argmax())
    right = valley + int(density[valley:].argmax())
    places = grid[[left, valley, right]]
    most = min(places[1] - places[0], places[2] - places[1]) / 2
    if not most > 0:
        return None
    each = np.ones(len(both))
    tried = [_contrast(_counts(both, each, places, most * share)) for share in WIDTHS]
    best = int(np.argmax(tried))
    return Windows(places, most * WIDTHS[best], tried[best])


def _density(values: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    """A kernel estimate at evenly spaced places, up to a factor: a histogram, smoothed."""
    step = float(grid[1] - grid[0])
    smooth = min(max(width / step, NARROWEST), float(GRID))
    beyond = int(np.ceil(4 * smooth))
    reach = (beyond + 0.5) * step
    counts, _ = np.histogram(
        values, bins=GRID + 2 * beyond, range=(grid[0] - reach, grid[-1] + reach)
    )
    density = gaussian_filter1d(counts.astype(float), smooth, mode="constant")
    return np.asarray(density[beyond : beyond + GRID])


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
