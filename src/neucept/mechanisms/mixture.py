"""A full-covariance mixture that a few odd samples do not bend."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln

TAILS = 10.0
"""Degrees of freedom of each group: near-Gaussian, with room for odd samples."""

PRIOR_ROWS = 5.0
"""Samples' worth of the pooled covariance, per dimension, that each group's is mixed with."""

FLOOR, LEAST = 1e-4, 1e-9
"""Least variance of a group in a dimension: shares of that dimension's variance over all samples,
and of the widest dimension's, for dimensions in which some of the samples do not differ at all."""

TOLERANCE = 1e-3
"""Gain in log-likelihood, nats per sample, below which an ascent ends."""


@dataclass(frozen=True)
class Mixture:
    """Groups of samples in a reduced space, each a multivariate Student t.

    Attributes:
        weights: Share of each group.
        means: Centre of each group.
        whiteners: Per group a matrix W; W W' is the inverse of the group's scatter.
        likelihood: Mean log-likelihood of the samples that fitted it, nats per sample.
    """

    weights: Float[np.ndarray, " groups"]
    means: Float[np.ndarray, "groups dimensions"]
    whiteners: Float[np.ndarray, "groups dimensions dimensions"]
    likelihood: float = float("nan")

    @property
    def groups(self) -> int:
        """How many groups."""
        return len(self.weights)

    def distances(
        self, x: Float[np.ndarray, "samples dimensions"]
    ) -> Float[np.ndarray, "samples groups"]:
        """Squared Mahalanobis distance of each sample to each centre, unitless."""
        groups, size = self.means.shape
        flat = np.ascontiguousarray(self.whiteners.transpose(1, 0, 2)).reshape(size, groups * size)
        white = x @ flat
        white -= np.einsum("gd,gde->ge", self.means, self.whiteners).reshape(-1)
        white *= white
        return np.asarray(white.reshape(len(x), groups, size).sum(axis=2))

    def membership(
        self, x: Float[np.ndarray, "samples dimensions"]
    ) -> Float[np.ndarray, "samples groups"]:
        """Probability of each group for each sample; rows sum to 1."""
        return _posterior(self.distances(x), self)[0]

    def labels(self, x: Float[np.ndarray, "samples dimensions"]) -> Int[np.ndarray, " samples"]:
        """The most probable group of each sample."""
        return np.asarray(self.membership(x).argmax(axis=1))

    def score(self, x: Float[np.ndarray, "samples dimensions"]) -> float:
        """Mean log-likelihood, nats per sample."""
        return _posterior(self.distances(x), self)[1]

    def scatter(self) -> Float[np.ndarray, "groups dimensions dimensions"]:
        """The scatter matrix of each group."""
        return np.linalg.inv(self.whiteners @ self.whiteners.transpose(0, 2, 1))

    def reordered(self, order: Int[np.ndarray, " groups"]) -> Mixture:
        """The same mixture with its groups in another order."""
        return Mixture(
            self.weights[order], self.means[order], self.whiteners[order], self.likelihood
        )


class Ascent:
    """Expectation-maximisation on one set of samples, from any number of starts.

    Source: Peel and McLachlan (2000), with each scatter shrunk towards the pooled one.
    """

    def __init__(self, x: Float[np.ndarray, "samples dimensions"]) -> None:
        """`x` holds the samples in the reduced space."""
        self._design = _design(x)
        self._floor = least_variance(x)

    def climb(self, membership: Float[np.ndarray, "samples groups"], steps: int) -> Mixture:
        """Climb until a step gains no more.

        Args:
            membership: Where to start; rows sum to 1.
            steps: Most steps.

        Returns:
            The mixture at the end.
        """
        mixture = _maximise(self._design, membership, None, self._floor)
        last = -np.inf
        for step in range(steps + 1):
            distances = np.maximum(self._design @ _coefficients(mixture), 0.0)
            membership, likelihood = _posterior(distances, mixture)
            if step == steps or likelihood - last < TOLERANCE:
                break
            last = likelihood
            mixture = _maximise(self._design, membership, distances, self._floor)
        return Mixture(mixture.weights, mixture.means, mixture.whiteners, likelihood)


def least_variance(
    x: Float[np.ndarray, "samples dimensions"],
) -> Float[np.ndarray, " dimensions"]:
    """The least variance that a group of these samples is given in each dimension."""
    variance = x.var(axis=0)
    return np.asarray(FLOOR * variance + LEAST * max(float(variance.max()), 1e-300))


@cache
def _pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every two dimensions, each pair once."""
    first, second = np.triu_indices(size)
    return first, second


def _design(x: np.ndarray) -> np.ndarray:
    """Products of every two dimensions, the dimensions, and 1.

    Distances to all groups are one product with it, and so are the moments of all groups.
    """
    first, second = _pairs(x.shape[1])
    return np.hstack([x[:, first] * x[:, second], x, np.ones((len(x), 1))])


def _coefficients(mixture: Mixture) -> np.ndarray:
    """What turns a row of the design into squared distances to the groups."""
    precision = mixture.whiteners @ mixture.whiteners.transpose(0, 2, 1)
    first, second = _pairs(mixture.means.shape[1])
    squares = precision[:, first, second] * np.where(first == second, 1.0, 2.0)
    pull = np.einsum("gde,ge->gd", precision, mixture.means)
    constant = (pull * mixture.means).sum(axis=1, keepdims=True)
    return np.hstack([squares, -2 * pull, constant]).T


def _posterior(distances: np.ndarray, mixture: Mixture) -> tuple[np.ndarray, float]:
    """Membership, and the mean log-likelihood in nats per sample."""
    size = mixture.means.shape[1]
    constant = gammaln((TAILS + size) / 2) - gammaln(TAILS / 2) - size / 2 * np.log(TAILS * np.pi)
    diagonals = np.diagonal(mixture.whiteners, axis1=1, axis2=2)
    constant = constant + np.log(diagonals).sum(axis=1) + np.log(mixture.weights)
    joint = constant - (TAILS + size) / 2 * np.log1p(distances / TAILS)
    highest = joint.max(axis=1, keepdims=True)
    joint -= highest
    np.exp(joint, out=joint)
    total = joint.sum(axis=1, keepdims=True)
    joint /= total
    return joint, float((highest + np.log(total)).mean())


def _maximise(
    design: np.ndarray, membership: np.ndarray, distances: np.ndarray | None, floor: np.ndarray
) -> Mixture:
    rows, size = len(design), len(floor)
    counts = membership.sum(axis=0) + 1e-9
    emphasis = membership
    if distances is not None:
        emphasis = membership * ((TAILS + size) / (TAILS + distances))
    moments = emphasis.T @ design
    weight = moments[:, -1:] + 1e-9
    means = moments[:, -1 - size : -1] / weight
    first, second = _pairs(size)
    scatter = np.empty((len(counts), size, size))
    scatter[:, first, second] = scatter[:, second, first] = moments[:, : len(first)]
    scatter -= weight[:, :, None] * means[:, :, None] * means[:, None, :]
    prior = PRIOR_ROWS * size
    pooled = scatter.sum(axis=0) / rows
    scatter = (scatter + prior * pooled) / (counts + prior)[:, None, None]
    scatter[:, np.arange(size), np.arange(size)] += floor
    # Contiguous, so that arrays read back from a file give the same bits in the same products.
    whiteners = np.ascontiguousarray(np.linalg.inv(np.linalg.cholesky(scatter)).transpose(0, 2, 1))
    return Mixture(counts / counts.sum(), means, whiteners)


def spheres(
    x: Float[np.ndarray, "samples dimensions"], labels: Int[np.ndarray, " samples"], groups: int
) -> Mixture:
    """K-means groups as a mixture: equal weights and one variance, so the nearest centre wins."""
    counts = np.maximum(np.bincount(labels, minlength=groups), 1)
    means = (one_hot(labels, groups).T @ x) / counts[:, None]
    variance = float(((x - means[labels]) ** 2).mean() + least_variance(x).mean())
    whiteners = np.repeat(np.eye(x.shape[1])[None] / np.sqrt(variance), groups, axis=0)
    mixture = Mixture(np.full(groups, 1 / groups), means, whiteners)
    return Mixture(mixture.weights, means, whiteners, mixture.score(x))


def one_hot(labels: Int[np.ndarray, " samples"], groups: int) -> Float[np.ndarray, "samples _"]:
    """Membership of 1 in the labelled group and 0 elsewhere."""
    return np.asarray(np.eye(groups)[labels])
