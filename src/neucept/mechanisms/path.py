"""Groupings into 1, 2, 3, ... groups of the same samples, each helped by its neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from neucept.mechanisms.mixture import PRIOR_ROWS, Ascent, Mixture, least_variance, one_hot, spheres

METHODS = ("mixture", "kmeans")

STARTS = 2
"""K-means starts per number of groups and scale."""

MERGES = 4
"""Starts made by merging two groups of the grouping with one more."""

SHORT, LONG = 6, 100
"""Steps of an ascent that only ranks starts, and of the one that follows the best."""

LLOYD = 10


def fit_path(
    x: Float[np.ndarray, "samples dimensions"],
    most: int,
    method: str,
    rng: np.random.Generator,
) -> list[Mixture]:
    """Fit every number of groups from 1 to `most`.

    A likelihood of many groups has many local optima, and a poor one looks like instability. So
    each number starts from k-means and from splits of the grouping before it, both at two scales:
    dimensions as they are, where the widest leads, and all of one width. A second pass, from the
    most groups down, tries merging two groups of the grouping after it.

    Args:
        x: Samples in the reduced space.
        most: The largest number of groups.
        method: "mixture" or "kmeans".
        rng: Draws the k-means starts.

    Returns:
        The mixtures, in order of their number of groups.
    """
    if method == "kmeans":
        return [_best_spheres(x, groups, rng) for groups in range(1, most + 1)]
    ascent = Ascent(x)
    path = [ascent.climb(np.ones((len(x), 1)), LONG)]
    scales = (x, x / np.sqrt(x.var(axis=0) + least_variance(x)))
    for groups in range(2, most + 1):
        first = [k_means(scaled, groups, rng) for scaled in scales for _ in range(STARTS)]
        starts = [one_hot(labels, groups) for labels in first]
        starts += [s for scaled in scales for s in _split(x, scaled, path[-1], rng)]
        path.append(_best(ascent, x, starts))
    for groups in range(most - 1, 1, -1):
        merged = _best(ascent, x, _merges(x, path[groups]))
        if merged.likelihood > path[groups - 1].likelihood:
            path[groups - 1] = merged
    return path


def _best(ascent: Ascent, x: np.ndarray, starts: Sequence[np.ndarray]) -> Mixture:
    tried = [ascent.climb(start, SHORT) for start in starts]
    best = max(tried, key=lambda mixture: mixture.likelihood)
    return ascent.climb(best.membership(x), LONG)


def _best_spheres(x: np.ndarray, groups: int, rng: np.random.Generator) -> Mixture:
    tried = [spheres(x, k_means(x, groups, rng, LONG), groups) for _ in range(2 * STARTS)]
    return max(tried, key=lambda mixture: mixture.likelihood)


def k_means(
    x: Float[np.ndarray, "samples dimensions"],
    groups: int,
    rng: np.random.Generator,
    steps: int = LLOYD,
) -> Int[np.ndarray, " samples"]:
    """K-means from spread-out centres; a group that loses all its samples keeps its centre.

    Source: Arthur and Vassilvitskii (2007), "k-means++"; Lloyd (1982).
    """
    squared = (x * x).sum(axis=1)
    centres = np.empty((groups, x.shape[1]), dtype=x.dtype)
    nearest = np.full(len(x), np.inf)
    pick = int(rng.integers(len(x)))
    for group in range(groups):
        centres[group] = x[pick]
        gap = squared - 2 * (x @ centres[group]) + squared[pick]
        nearest = np.minimum(nearest, np.maximum(gap, 0.0))
        reach = np.cumsum(nearest, dtype=float)
        pick = int(np.searchsorted(reach, rng.random() * reach[-1], side="right"))
        pick = min(pick, len(x) - 1)
    labels = np.full(len(x), -1)
    for _ in range(steps):
        before = labels
        labels = ((centres * centres).sum(axis=1) - 2 * (x @ centres.T)).argmin(axis=1)
        if np.array_equal(labels, before):
            break
        counts = np.bincount(labels, minlength=groups)[:, None]
        sums = one_hot(labels, groups).astype(x.dtype).T @ x
        centres = np.where(counts > 0, sums / np.maximum(counts, 1), centres).astype(x.dtype)
    return labels


def _split(
    x: np.ndarray, scaled: np.ndarray, mixture: Mixture, rng: np.random.Generator
) -> list[np.ndarray]:
    """The membership with one more group: the one that two centres describe best, halved."""
    membership = mixture.membership(x)
    labels = membership.argmax(axis=1)
    best, moved, source = 0.0, np.empty(0, dtype=np.int64), 0
    for group in range(mixture.groups):
        rows = np.flatnonzero(labels == group)
        if len(rows) < 8:
            continue
        second = k_means(scaled[rows], 2, rng) == 1
        share = float(second.mean())
        if not 0 < share < 1:
            continue
        centres = scaled[rows[second]].mean(axis=0), scaled[rows[~second]].mean(axis=0)
        gain = len(rows) * share * (1 - share) * float(((centres[0] - centres[1]) ** 2).sum())
        if gain > best:
            best, moved, source = gain, rows[second], group
    if not len(moved):
        return []
    split = np.column_stack([membership, np.zeros(len(x))])
    split[moved, -1] = split[moved, source]
    split[moved, source] = 0.0
    return [split]


def _merges(x: np.ndarray, mixture: Mixture) -> list[np.ndarray]:
    """Memberships with one fewer group: the pairs whose union costs the least likelihood."""
    membership = mixture.membership(x)
    counts = membership.sum(axis=0) + 1e-9
    means = (membership.T @ x) / counts[:, None]
    scatter = [(x - m).T @ ((x - m) * r[:, None]) for m, r in zip(means, membership.T, strict=True)]
    pooled = np.add.reduce(scatter) / len(x) + 1e-6 * np.eye(x.shape[1])
    alone = [spread_cost(s, float(n), pooled) for s, n in zip(scatter, counts, strict=True)]
    found = []
    for a in range(mixture.groups):
        for b in range(a):
            count, apart = counts[a] + counts[b], means[a] - means[b]
            between = counts[a] * counts[b] / count * np.outer(apart, apart)
            union = spread_cost(scatter[a] + scatter[b] + between, float(count), pooled)
            found.append((union - alone[a] - alone[b], b, a))
    found.sort()
    starts = []
    for _, kept, gone in found[:MERGES]:
        merged = np.delete(membership, gone, axis=1)
        merged[:, kept] += membership[:, gone]
        starts.append(merged)
    return starts


def spread_cost(
    scatter: Float[np.ndarray, "dimensions dimensions"],
    count: float,
    pooled: Float[np.ndarray, "dimensions dimensions"],
) -> float:
    """Negative log-likelihood of a Gaussian group at its best, but for what all groupings share.

    Args:
        scatter: Sum of the outer products of its centred samples.
        count: How many samples it has.
        pooled: Covariance within groups, which that of a small group is shrunk towards.

    Returns:
        Nats, its share of the samples included.
    """
    prior = PRIOR_ROWS * len(pooled)
    shrunk = (scatter + prior * pooled) / (count + prior)
    return float(count / 2 * np.linalg.slogdet(shrunk)[1] - count * np.log(count))
