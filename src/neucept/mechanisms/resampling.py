"""What comes back when the samples are drawn again, and what one mechanism would have given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm, rankdata

from neucept.mechanisms.mixture import Mixture
from neucept.mechanisms.path import fit_path
from neucept.mechanisms.together import deal
from neucept.runtime import generator

SPLITS = 6
"""Times the samples are cut into two halves that are grouped apart."""

IMITATIONS = 2
"""Populations with a single mechanism that are drawn for comparison."""

MOST_ROWS = 4000
"""Samples that one split uses at most."""

FEWEST_MEMBERS = 5
"""Members a group needs in a half before a gap beside it can be looked for."""


@dataclass(frozen=True)
class Half:
    """Groupings of one half of the samples, and what the other half says of them.

    Attributes:
        path: The groupings into 1, 2, ... groups.
        held_out: Mean log-likelihood of the other half, per grouping, nats per sample.
    """

    path: list[Mixture]
    held_out: Float[np.ndarray, " numbers"]


def halves(
    samples: int,
    split: int,
    seed: int,
    *key: str,
    together: Int[np.ndarray, " samples"] | None = None,
) -> list[np.ndarray]:
    """Two disjoint random halves of the samples (of `MOST_ROWS` of them, where there are more).

    Samples of one group (`together`) are in the same half; halves are then equal only nearly, and
    of more than `MOST_ROWS` samples as many whole groups are taken as stay below.
    """
    rng = generator(seed, "mechanisms", "split", *key, split)
    if together is None:
        order = rng.permutation(samples)
        kept = min(samples, MOST_ROWS)
        return [np.sort(order[: kept // 2]), np.sort(order[kept // 2 : kept])]
    kept_rows = np.arange(samples)
    if samples > MOST_ROWS:
        order = rng.permutation(int(together.max()) + 1)
        reach = np.cumsum(np.bincount(together)[order])
        count = max(2, int(np.searchsorted(reach, MOST_ROWS, side="right")))
        kept_rows = np.flatnonzero(np.isin(together, order[:count]))
    part = deal(together[kept_rows], 2, rng)
    return [kept_rows[part == 0], kept_rows[part == 1]]


def fit_whole(
    x: Float[np.ndarray, "samples dimensions"], most: int, method: str, seed: int, layer: str
) -> list[Mixture]:
    """Groupings of the samples (of `MOST_ROWS` of them, where there are more)."""
    rng = generator(seed, "mechanisms", "whole", layer)
    rows = np.sort(rng.permutation(len(x))[:MOST_ROWS])
    return fit_path(x[rows], most, method, rng)


def fit_half(
    x: Float[np.ndarray, "samples dimensions"],
    most: int,
    method: str,
    seed: int,
    layer: str,
    split: int,
    side: int,
    together: Int[np.ndarray, " samples"] | None = None,
) -> Half:
    """Groupings of one half of one split; samples that belong together are in the same half."""
    both = halves(len(x), split, seed, layer, together=together)
    rng = generator(seed, "mechanisms", "half", layer, split, side)
    path = fit_path(x[both[side]], most, method, rng)
    other = x[both[1 - side]]
    return Half(path, np.array([mixture.score(other) for mixture in path]))


def imitate(
    x: Float[np.ndarray, "samples dimensions"],
    most: int,
    method: str,
    seed: int,
    layer: str,
    copy: int,
    together: Int[np.ndarray, " samples"] | None = None,
) -> Float[np.ndarray, " numbers"]:
    """The stability that each number of groups has in a population with a single mechanism."""
    rng = generator(seed, "mechanisms", "imitation", layer, copy)
    rows = np.sort(rng.permutation(len(x))[:MOST_ROWS])
    kept = None if together is None else np.unique(together[rows], return_inverse=True)[1]
    alone = one_mechanism(x[rows], rng, kept)
    whole = fit_path(alone, most, method, rng)
    second = np.arange(len(alone)) >= len(alone) // 2 if kept is None else deal(kept, 2, rng) == 1
    parts = [fit_path(part, most, method, rng) for part in (alone[~second], alone[second])]
    weakest = []
    for number, mixture in enumerate(whole):
        labels = mixture.labels(alone)
        found = [part[number].labels(alone) for part in parts]
        weakest.append(recovery(labels, found, number + 1).min())
    return np.array(weakest)


def one_mechanism(
    x: Float[np.ndarray, "samples dimensions"],
    rng: np.random.Generator,
    together: Int[np.ndarray, " samples"] | None = None,
) -> Float[np.ndarray, "samples dimensions"]:
    """Samples of a population like `x` that has one mechanism only.

    Each dimension keeps its mean, variance and skew but is smoothed until its density has a
    single peak; the dimensions depend on each other as in `x`, through a Gaussian copula. Samples
    that belong together are alike as they are in `x`.

    Source: Helgeson, Vock, Bair (2021), the unimodal reference of nonparametric cluster tests.
    """
    samples, size = x.shape
    scores = norm.ppf((rankdata(x, axis=0) - 0.5) / samples)
    dependence = np.atleast_2d(np.corrcoef(scores, rowvar=False)) + 1e-6 * np.eye(size)
    if together is None:
        drawn = rng.standard_normal((samples, size)) @ np.linalg.cholesky(dependence).T
    else:
        between = _shared(scores, together)
        each = rng.standard_normal((int(together.max()) + 1, size)) @ _root(between)
        own = rng.standard_normal((samples, size)) @ _root(dependence - between)
        drawn = each[together] + own
    ranks = drawn.argsort(axis=0).argsort(axis=0)
    alone = np.empty((samples, size))
    for j in range(size):
        column = x[:, j]
        width = single_peak_width(column)
        smooth = rng.choice(column, samples) + width * rng.standard_normal(samples)
        centre, spread = column.mean(), column.std()
        smooth = centre + (smooth - centre) * (spread / np.hypot(spread, width))
        alone[:, j] = np.sort(smooth)[ranks[:, j]]
    return alone


def _shared(scores: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Covariance of two samples of the same group."""
    sizes = np.bincount(together)
    sums = np.zeros((len(sizes), scores.shape[1]))
    np.add.at(sums, together, scores)
    pairs = float((sizes * (sizes - 1)).sum())
    products = sums.T @ sums - scores.T @ scores
    root = _root(products / pairs) if pairs else np.zeros_like(products)
    return np.asarray(root @ root)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The root of a symmetric matrix, whose negative parts count as none."""
    values, axes = np.linalg.eigh(matrix)
    return np.asarray((axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T)


def single_peak_width(values: Float[np.ndarray, " samples"], cells: int = 256) -> float:
    """The least kernel width at which a density estimate has one peak.

    Peaks among the outermost hundredth at either end are not counted: a lone sample makes one.

    Source: Silverman (1981), "Using kernel density estimates to investigate multimodality".
    """
    low, high = np.quantile(values, (0.01, 0.99))
    spread = float(values.std())
    if not high > low:
        return 0.1 * spread
    counts, edges = np.histogram(values, bins=cells, range=(low - spread, high + spread))
    step = float(edges[1] - edges[0])
    shown = (edges[:-1] >= low) & (edges[1:] <= high)
    least, most = 0.02 * spread, 2.0 * spread
    for _ in range(12):
        width = (least * most) ** 0.5
        density = gaussian_filter1d(counts.astype(float), width / step, mode="constant")[shown]
        rises = np.sign(np.diff(density))
        rises = rises[rises != 0]
        if int((np.diff(rises) < 0).sum()) > 1 or int((np.diff(rises) > 0).sum()) > 0:
            least = width
        else:
            most = width
    return most


def overlap(
    labels: Int[np.ndarray, " samples"], found: Int[np.ndarray, " samples"], groups: int
) -> Float[np.ndarray, "groups groups"]:
    """Jaccard index of each group of one grouping with each of another."""
    both = np.zeros((groups, groups))
    np.add.at(both, (labels, found), 1.0)
    either = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
    return np.asarray(both / np.maximum(either, 1.0))


def recovery(
    labels: Int[np.ndarray, " samples"], found: list[np.ndarray], groups: int
) -> Float[np.ndarray, " groups"]:
    """How well each group comes back in other groupings: mean of its best Jaccard index in each.

    Source: Hennig (2007), "Cluster-wise assessment of cluster stability".
    """
    best = [overlap(labels, other, groups).max(axis=1) for other in found]
    return np.asarray(np.mean(best, axis=0))


def matched(
    labels: Int[np.ndarray, " samples"], found: Int[np.ndarray, " samples"], groups: int
) -> Int[np.ndarray, " groups"]:
    """For each group, the group of the other grouping that stands for it, one to one."""
    _, partner = linear_sum_assignment(-overlap(labels, found, groups))
    return np.asarray(partner)
