"""Which neurons decide for a sample's mechanism against the next best, and make it unusual."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from neucept.mechanisms.assigner import Assigner
from neucept.mechanisms.features import Projection, straighten
from neucept.mechanisms.mixture import TAILS, Mixture


@dataclass(frozen=True)
class Decision:
    """How the membership of some samples came about, neuron by neuron.

    A mechanism's density is highest at its centre, and a sample loses log-density as it lies away
    from it. The squared distance to a centre is a sum of one square per neuron, so the loss is
    too; a neuron's share is what the next best mechanism loses by it, less what the assigned one
    loses. Shares and `start` add up to `log_ratio`.

    Attributes:
        labels: The mechanism of each sample.
        rivals: The next best mechanism; -1 where there is only one.
        log_ratio: Log of membership in the assigned over the next best mechanism, nats; NaN where
            there is only one.
        start: The same at both centres, before any neuron is looked at: what size and tightness
            of the two mechanisms say, nats.
        shares: What each neuron adds to it, nats; positive speaks for the assigned mechanism.
        distances: Squared distance to the centre of the assigned mechanism, unitless.
        parts: What each neuron adds to that distance, at least 0.
    """

    labels: Int[np.ndarray, " samples"]
    rivals: Int[np.ndarray, " samples"]
    log_ratio: Float[np.ndarray, " samples"] = field(repr=False)
    start: Float[np.ndarray, " samples"] = field(repr=False)
    shares: Float[np.ndarray, "samples neurons"] = field(repr=False)
    distances: Float[np.ndarray, " samples"] = field(repr=False)
    parts: Float[np.ndarray, "samples neurons"] = field(repr=False)


def decide(
    assigner: Assigner,
    spread: Float[np.ndarray, " neurons"],
    values: Float[np.ndarray, "samples neurons"],
) -> Decision:
    """Take the membership of samples apart into shares of the neurons.

    The squared distance z'Pz of a sample to a centre is written with the symmetric square root of
    its matrix in the space of the standardised neurons, where it is a plain sum of squares, one
    for each neuron. For neurons that do not depend on each other a neuron's square is its own
    squared deviation in standard deviations.

    Args:
        assigner: What assigns samples.
        spread: Standard deviation of each straightened neuron over the samples that the
            mechanisms were found in; see `spread_of`.
        values: Activations of the samples, as `Projection.read` gives them.

    Returns:
        The decision.

    Source: Garthwaite, Koch (2016), "Evaluating the contributions of individual variables to a
        quadratic form".
    """
    projection, mixture = assigner.whole.projection, assigner.whole.mixture
    x = projection.apply(values)
    distances = mixture.distances(x)
    losses = _losses(distances, x.shape[1])
    heights = _heights(mixture)
    order = np.argsort(losses - heights, axis=1, kind="stable")
    rows = np.arange(len(x))
    labels = order[:, 0]
    roots = _roots(projection, mixture, spread)
    parts = _squares(roots, mixture, x, labels)
    if mixture.groups == 1:
        none, blank = np.full(len(x), -1), np.full(len(x), np.nan)
        shares = np.full(parts.shape, np.nan)
        return Decision(labels, none, blank, blank, shares, distances[rows, labels], parts)
    rivals = order[:, 1]
    start = heights[labels] - heights[rivals]
    shares = _lost(_squares(roots, mixture, x, rivals), losses[rows, rivals])
    shares -= _lost(parts, losses[rows, labels])
    log_ratio = start + losses[rows, rivals] - losses[rows, labels]
    return Decision(labels, rivals, log_ratio, start, shares, distances[rows, labels], parts)


def spread_of(
    projection: Projection, values: Float[np.ndarray, "samples neurons"]
) -> Float[np.ndarray, " neurons"]:
    """Standard deviation of each neuron, straightened as the projection does it.

    Args:
        projection: How the neurons were straightened.
        values: Their activations.
    """
    blocks = np.split(values, np.cumsum([len(n) for n in projection.neurons])[:-1], axis=1)
    pairs = zip(blocks, projection.curves, strict=True)
    straight = np.hstack([straighten(block, curve) for block, curve in pairs])
    return np.asarray(straight.std(axis=0))


def separations(
    mixture: Mixture,
    x: Float[np.ndarray, "samples dimensions"],
    others: Float[np.ndarray, "others dimensions"],
    group: int,
) -> Float[np.ndarray, "samples others"]:
    """Squared distance of every sample to every other one, in the shape of one mechanism."""
    whitener = mixture.whiteners[group]
    apart = (x @ whitener)[:, None, :] - (others @ whitener)[None, :, :]
    return np.asarray((apart**2).sum(axis=2))


def _losses(distances: np.ndarray, size: int) -> np.ndarray:
    """Log-density lost against the centre, nats: that of a Student t."""
    return np.asarray((TAILS + size) / 2 * np.log1p(distances / TAILS))


def _heights(mixture: Mixture) -> np.ndarray:
    """Log-density at each centre with the share of the group, up to a constant."""
    _, tightness = np.linalg.slogdet(mixture.whiteners)
    return np.asarray(np.log(mixture.weights) + tightness)


def _roots(
    projection: Projection, mixture: Mixture, spread: np.ndarray
) -> Float[np.ndarray, "groups dimensions neurons"]:
    """Per group, the map from a deviation in the reduced space to one number per neuron.

    Its squares add up to the squared distance, since the directions are orthonormal.
    """
    left, _, right = np.linalg.svd(projection.axes * spread[:, None], full_matrices=False)
    directions = left @ right
    precisions = mixture.whiteners @ mixture.whiteners.transpose(0, 2, 1)
    sizes, axes = np.linalg.eigh(precisions)
    root = (axes * np.sqrt(np.maximum(sizes, 0.0))[:, None, :]) @ axes.transpose(0, 2, 1)
    return np.asarray(root @ directions.T)


def _squares(roots: np.ndarray, mixture: Mixture, x: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each neuron's part of the squared distance to the centre of a group, one per sample."""
    squares = np.empty((len(x), roots.shape[2]))
    for group in np.unique(groups):
        rows = groups == group
        squares[rows] = ((x[rows] - mixture.means[group]) @ roots[group]) ** 2
    return squares


def _lost(parts: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """A loss dealt to the neurons in proportion to their parts of the distance."""
    whole = parts.sum(axis=1, keepdims=True)
    return np.asarray(parts / np.where(whole > 0, whole, 1.0) * losses[:, None])
