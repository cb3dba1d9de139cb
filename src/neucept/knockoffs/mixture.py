"""The mixture density: several Gaussians, and latent values where neurons sit at a bound.

Activations come in clumps (classes, saturated units), which one Gaussian cannot copy. A knockoff is
drawn from the component that a row most likely belongs to. A neuron that is exactly at its least
value in many samples, as a ReLU is at zero, is taken for a latent neuron cut off at that bound:
the latent values are drawn from their law given the rest, knockoffs are drawn of them and cut off
alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from neucept.knockoffs.censored import below, sweep
from neucept.knockoffs.gaussian import Gaussian
from neucept.knockoffs.placing import device
from neucept.runtime import generator

BOUND_SHARE = 0.01
"""A neuron at its least value in more than this share of the rows is bounded there."""

FEWEST_ROWS = 100
"""Rows that a component must have on average."""

WIDEST = 4096
"""Components times neurons, at most."""

GAIN = 0.005
"""Nats per row and neuron, on rows not fitted, for which the number of components is doubled."""

FLOOR = 0.02
"""Share of a component's mean variance that is added to each of its variances."""

REDUCED = 128
"""Dimensions in which rows are grouped; of a wider layer the first principal components."""

STEPS = 30
"""Steps of expectation-maximisation at most."""

ROUNDS = 6
"""How often latent values are drawn anew during a fit, with `RESTEPS` steps after each."""

RESTEPS = 3

SWEEPS = 4
"""Passes over the latent values before knockoffs are drawn of them."""

_ROWS = 2000
"""Rows that are worked on at once."""

Matrix = Float[np.ndarray, "samples neurons"]


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of multivariate normal laws, cut off at the neurons' bounds.

    Attributes:
        mean: Of each neuron, for scaling.
        scale: Standard deviation of each neuron, for scaling.
        bound: Least value of each neuron that is often there; minus infinity for the others.
        weights: Of the components; they sum to 1.
        centres: Of the components, in scaled units.
        covariances: Of the components, in scaled units.
        held_out: Log-likelihood per row on rows that were not fitted, by number of components.
    """

    mean: Float[np.ndarray, " neurons"]
    scale: Float[np.ndarray, " neurons"]
    bound: Float[np.ndarray, " neurons"]
    weights: Float[np.ndarray, " components"]
    centres: Float[np.ndarray, "components neurons"]
    covariances: Float[np.ndarray, "components neurons neurons"]
    held_out: dict[int, float]

    @cached_property
    def components(self) -> list[Gaussian]:
        """Each component as a density of its own, in scaled units."""
        spreads = np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))
        parts = zip(self.centres, spreads, self.covariances, strict=True)
        return [Gaussian(c, s, cov / np.outer(s, s), 0.0) for c, s, cov in parts]

    def prepare(self, copies: int) -> None:
        """Compute S and the factors of every component for this number of copies, once."""
        for component in self.components:
            component.prepare(copies)

    def knockoffs(
        self, x: Matrix, copies: int, random: np.random.Generator
    ) -> Float[np.ndarray, "samples neurons copies"]:
        """Draw simultaneous knockoffs of each row.

        Args:
            x: Activations.
            copies: How many knockoffs of each neuron.
            random: Where the noise comes from.

        Returns:
            The knockoffs, in the unit of `x`.

        Source: Gimenez, Ghorbani, Zou (2019), "Knockoffs for the mass", section 3, for a mixture;
        Gimenez and Zou (2019) for several copies.
        """
        z = self._latent(x, random)
        own = self._components_of(z, random)
        drawn = np.empty((*z.shape, copies))
        for k, component in enumerate(self.components):
            drawn[own == k] = component.knockoffs(z[own == k], copies, random)
        drawn *= self.scale[:, None]
        drawn += self.mean[:, None]
        return np.asarray(np.maximum(drawn, self.bound[:, None], out=drawn))

    def conditional(
        self,
        x: Matrix,
        neurons: Int[np.ndarray, " chosen"],
        n: int,
        random: np.random.Generator,
    ) -> Float[np.ndarray, "samples chosen n"]:
        """Draw the chosen neurons jointly from their law given the others.

        Args:
            x: Activations; the columns of `neurons` are not looked at.
            neurons: Which to draw.
            n: Draws per row.
            random: Where the noise comes from.

        Returns:
            The draws, in the unit of `x`.
        """
        others = np.setdiff1d(np.arange(x.shape[1]), neurons)
        rest = self._only(others)
        z = np.zeros(x.shape)
        z[:, others] = rest._latent(x[:, others], random)
        densities = rest._fit.log_densities(_tensor(z[:, others])).numpy()
        own = np.stack([_chosen(densities, random) for _ in range(n)], axis=1)
        drawn = np.empty((len(x), n, len(neurons)))
        for k, component in enumerate(self.components):
            rows, repeats = np.nonzero(own == k)
            drawn[rows, repeats] = component.conditional(z[rows], neurons, 1, random)[:, :, 0]
        drawn = drawn * self.scale[neurons] + self.mean[neurons]
        return np.moveaxis(np.maximum(drawn, self.bound[neurons]), 1, 2)

    def describe(self) -> dict[str, Any]:
        """What was fitted, as plain JSON values."""
        return {
            "kind": "mixture",
            "components": len(self.weights),
            "censored": int(np.isfinite(self.bound).sum()),
            "held_out": {str(k): round(v, 4) for k, v in self.held_out.items()},
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything the law depends on."""
        names = ("mean", "scale", "bound", "weights", "centres", "covariances")
        return {name: getattr(self, name) for name in names}

    def _only(self, neurons: Int[np.ndarray, " chosen"]) -> Mixture:
        """The law of some neurons alone."""
        return Mixture(
            self.mean[neurons],
            self.scale[neurons],
            self.bound[neurons],
            self.weights,
            self.centres[:, neurons],
            self.covariances[:, neurons[:, None], neurons],
            {},
        )

    @cached_property
    def _fit(self) -> _Fit:
        return _Fit(*map(torch.from_numpy, (self.weights, self.centres, self.covariances)))

    @cached_property
    def _precisions(self) -> Float[np.ndarray, "components neurons neurons"]:
        return np.asarray(np.linalg.inv(self.covariances))

    def _components_of(self, z: Matrix, random: np.random.Generator) -> Int[np.ndarray, " samples"]:
        """Draw the component of each row, given its values."""
        if len(self.weights) == 1:
            return np.zeros(len(z), dtype=np.int64)
        return _chosen(self._fit.log_densities(_tensor(z)).numpy(), random)

    def _latent(self, x: Matrix, random: np.random.Generator) -> Matrix:
        """The scaled activations, with latent values where a neuron is at its bound."""
        z = (x - self.mean) / self.scale
        at = x <= self.bound
        if not at.any():
            return np.asarray(z)
        bound = (self.bound - self.mean) / self.scale
        z = below(z, at, bound, random)
        for _ in range(SWEEPS):
            own = self._components_of(z, random)
            sweep(z, at, bound, own, self.centres, self._precisions, random)
        return z


def fit_mixture(x: Matrix, seed: int = 0) -> Mixture:
    """Fit a mixture; the number of components is the one that rows left out speak for.

    Each covariance is shrunk towards the mean one within components, the more the fewer rows
    there are for the number of neurons.

    Args:
        x: Activations, no column constant.
        seed: Of the first grouping, the rows left out and the latent values.
    """
    random = generator(seed, "mixture")
    mean, scale = x.mean(0), x.std(0)
    bound = np.where((x == x.min(0)).mean(0) > BOUND_SHARE, x.min(0), -np.inf)
    rows = np.sort(random.permutation(len(x))[: max(10_000, 40 * x.shape[1])])
    z = (x[rows] - mean) / scale
    at = x[rows] <= bound
    scaled = (bound - mean) / scale
    z = below(z, at, scaled, random)
    near = _reduced(z)
    neurons = z.shape[1]
    number, held_out = _number(near, neurons, random)
    model, membership = _fit(near, number, neurons, random)
    if near is not z:
        # Grouped by the reduced rows, once and for all; the laws are those of all neurons.
        model = _maximised(_placed(z), membership, neurons)
    for _ in range(ROUNDS if at.any() else 0):
        component = _chosen(model.log_densities(_placed(z)).cpu().numpy(), random)
        precisions = torch.linalg.inv(model.covariances).cpu().numpy()
        sweep(z, at, scaled, component, model.centres.cpu().numpy(), precisions, random)
        if near is z:
            model, _ = _climb(_placed(z), model, RESTEPS, neurons)
        else:
            model = _maximised(_placed(z), membership, neurons)
    weights, centres, covariances = (
        part.cpu().numpy() for part in (model.weights, model.centres, model.covariances)
    )
    return Mixture(mean, scale, bound, weights, centres, covariances, held_out)


def _placed(z: Matrix) -> Tensor:
    """On the device, for computing."""
    return _tensor(z).to(device())


def _reduced(z: Matrix) -> Matrix:
    """The rows on their first principal components, where there are many neurons."""
    if z.shape[1] <= REDUCED:
        return z
    centred = _placed(z - z.mean(0))
    _, axes = torch.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray((centred @ axes[:, -REDUCED:]).cpu().numpy())


def _number(z: Matrix, neurons: int, random: np.random.Generator) -> tuple[int, dict[int, float]]:
    """How many components for so many neurons, and what each number reaches on rows left out."""
    order = random.permutation(len(z))
    cut = len(z) // 4
    left, fitted = z[order[:cut]], z[order[cut:]]
    most = max(1, min(WIDEST // neurons, len(fitted) // FEWEST_ROWS))
    reached: dict[int, float] = {}
    best = 1
    for number in (2**i for i in range(int(math.log2(most)) + 1)):
        model, _ = _fit(fitted, number, neurons, random)
        reached[number] = float(model.likelihood(_placed(left)))
        if number > 1:
            if reached[number] < reached[best] + GAIN * z.shape[1]:
                break
            best = number
    return best, reached


def _fit(z: Matrix, number: int, neurons: int, random: np.random.Generator) -> tuple[_Fit, Tensor]:
    """So many components, and how much each row belongs to each."""
    rows = _placed(z)
    start = np.ones((len(z), 1))
    if number > 1:
        groups = MiniBatchKMeans(
            number, n_init=1, batch_size=2048, random_state=int(random.integers(2**31))
        ).fit_predict(z)
        start = np.eye(number)[groups]
    membership = torch.from_numpy(start).to(rows)
    first = _maximised(rows, membership, neurons)
    return (first, membership) if number == 1 else _climb(rows, first, STEPS, neurons)


def _climb(rows: Tensor, model: _Fit, steps: int, neurons: int) -> tuple[_Fit, Tensor]:
    """Expectation-maximisation, until it gains next to nothing; the memberships it ends with."""
    last = -math.inf
    for _ in range(steps):
        densities = model.log_densities(rows)
        total = torch.logsumexp(densities, 1)
        reached = float(total.mean())
        membership = torch.exp(densities - total[:, None])
        if reached - last < 1e-4 * rows.shape[1]:
            break
        last = reached
        model = _maximised(rows, membership, neurons)
    return model, membership


def _maximised(rows: Tensor, membership: Tensor, neurons: int) -> _Fit:
    """The components of given memberships, shrunk towards what they have in common.

    Where rows are reduced, `neurons` is how many there were: the variances' mean is over these.
    """
    samples, dimensions = rows.shape
    sizes = membership.sum(0) + 1e-9
    centres = (membership.T @ rows) / sizes[:, None]
    scatter = torch.stack([(rows * share[:, None]).T @ rows for share in membership.T])
    scatter -= sizes[:, None, None] * centres[:, :, None] * centres[:, None, :]
    common = scatter.sum(0) / samples
    weight = (dimensions / (sizes + dimensions))[:, None, None] if len(sizes) > 1 else 0.0
    covariances = (1 - weight) * scatter / sizes[:, None, None] + weight * common
    size = (torch.diagonal(covariances, dim1=1, dim2=2).sum(1) / neurons).clamp(min=1e-8)
    covariances += FLOOR * size[:, None, None] * torch.eye(dimensions).to(rows)
    weights = (sizes + 1) / (samples + len(sizes))
    return _Fit(weights, centres, covariances)


@dataclass(frozen=True, eq=False)
class _Fit:
    """The components, as tensors where they are computed with."""

    weights: Tensor
    centres: Tensor
    covariances: Tensor

    @cached_property
    def _whitening(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each component: what whitens, its centre there, and the constant of its density."""
        factors = torch.linalg.cholesky(self.covariances)
        whiteners = torch.linalg.inv(factors)
        sizes = torch.diagonal(factors, dim1=1, dim2=2).log().sum(1)
        half = 0.5 * self.centres.shape[1] * math.log(2 * math.pi)
        places = torch.einsum("kij,kj->ki", whiteners, self.centres)
        return whiteners, places, self.weights.log() - sizes - half

    def log_densities(self, rows: Tensor) -> Tensor:
        """Of each row under each component, weighted: (samples, components)."""
        out = rows.new_empty(len(rows), len(self.weights))
        for begin in range(0, len(rows), _ROWS):
            span = slice(begin, begin + _ROWS)
            for k, (whitener, place, constant) in enumerate(zip(*self._whitening, strict=True)):
                white = rows[span] @ whitener.T - place
                out[span, k] = constant - 0.5 * white.square().sum(1)
        return out

    def likelihood(self, rows: Tensor) -> Tensor:
        """Mean log-density of the rows."""
        return torch.logsumexp(self.log_densities(rows), 1).mean()


def _tensor(z: Matrix) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(z))


def _chosen(
    densities: Float[np.ndarray, "samples components"], random: np.random.Generator
) -> Int[np.ndarray, " samples"]:
    """A component for each row, by its posterior probability."""
    rising = np.exp(densities - densities.max(1, keepdims=True)).cumsum(1)
    cut = random.random((len(densities), 1)) * rising[:, -1:]
    return np.asarray((rising < cut).sum(1))
