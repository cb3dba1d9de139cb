"""Data and networks whose critical neurons and mechanisms are known by construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neucept.errors import SettingsError
from neucept.knockoffs import plant
from neucept.runtime import generator

FIRST, SECOND = 3, 2
"""Critical units per mechanism in the planted network's first and second layer."""

PAIR = 2
"""Inputs that one unit of the first layer reads."""

BLOCK = FIRST * PAIR
"""Inputs that one mechanism reads."""

SHIFT = 2.5
"""How far a group of inputs stands out, in standard deviations of an input."""


@dataclass(frozen=True)
class PlantedData:
    """Neurons and a target that depends on a known few of them.

    By construction `y` is a function of the critical neurons and of independent noise, so every
    other neuron is independent of `y` given the critical ones, and each critical neuron is not.

    Attributes:
        x: Activations, Gaussian with unit variance.
        y: The target.
        critical: Indices of the critical neurons, ascending.
        kind: The form of the function.
    """

    x: Float[np.ndarray, "samples neurons"] = field(repr=False)
    y: Float[np.ndarray, " samples"] = field(repr=False)
    critical: Int[np.ndarray, " critical"]
    kind: str


def planted_data(
    samples: int = 1000,
    neurons: int = 40,
    critical: int = 8,
    *,
    kind: str = "linear",
    noise: float = 1.0,
    correlation: float = 0.5,
    seed: int = 0,
) -> PlantedData:
    """Draw neurons, choose the critical ones at random, and make a target of them.

    Args:
        samples: Rows, at least 2.
        neurons: Columns.
        critical: How many neurons the target depends on, from 1 to `neurons`; for "product" an odd
            one is left out.
        kind: The form of the target: "linear", "relu", "network", "even", "product", "threshold",
            "max" or "log_odds", as in `knockoffs.planting`.
        noise: Standard deviation of the noise, in units of the noise-free target's, at least 0.
        correlation: Of neighbouring neurons; falls off geometrically with distance. In (-1, 1).
        seed: Everything derives from it.

    Returns:
        The neurons, the target, and which neurons are critical.

    Raises:
        SettingsError: a value is outside its range.
        DataError: so few neurons make no target of this kind.
    """
    _whole("samples", samples, 2)
    _whole("neurons", neurons, 1)
    _whole("critical", critical, 1)
    if critical > neurons:
        raise SettingsError(f"critical is {critical}, more than the {neurons} neurons. Lower it.")
    if not -1 < correlation < 1:
        raise SettingsError(f"correlation is {correlation!r}. Pass a number between -1 and 1.")
    rng = generator(seed, "planted data")
    x = rng.standard_normal((samples, neurons))
    for j in range(1, neurons):
        x[:, j] = correlation * x[:, j - 1] + np.sqrt(1 - correlation**2) * x[:, j]
    planted = plant(x, kind, neurons=critical, noise=noise, seed=seed)
    return PlantedData(x, planted.y, planted.neurons, kind)


class _Network(nn.Module):
    def __init__(self, inputs: int, first: int, second: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, first)
        self.second = nn.Linear(first, second)
        self.output = nn.Linear(second, 2)

    def forward(self, x: Float[Tensor, "samples inputs"]) -> Float[Tensor, "samples 2"]:
        out: Tensor = self.output(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return out


@dataclass(frozen=True)
class PlantedNetwork:
    """A small network that predicts one class for several known reasons, and inputs for it.

    By construction:

    * class 1 ("right") is what the inputs of a few groups share: each group raises its own block
      of inputs, which reaches the output through critical units of its own; class 0 ("left")
      raises none;
    * the other units have no path to the output: their outgoing weights to everything that
      reaches it are exactly 0, so setting them to any value leaves the logits exactly unchanged.
      Half of them are decoys: they read the same inputs as the critical units, and an input of
      noise each, so they are correlated with the output but no copies. The rest read noise only.

    Attributes:
        model: Layers "first", "second" and "output", tanh between them.
        x: Inputs.
        labels: 1 for inputs of a group, 0 for the others.
        critical: Per hidden layer, the indices of the critical units, ascending.
        mechanisms: The group of each input; -1 for class 0.
    """

    model: nn.Module = field(repr=False)
    x: Float[Tensor, "samples inputs"] = field(repr=False)
    labels: Int[Tensor, " samples"] = field(repr=False)
    critical: Mapping[str, Int[np.ndarray, " critical"]]
    mechanisms: Int[np.ndarray, " samples"] = field(repr=False)


def planted_network(
    samples: int = 1200, mechanisms: int = 2, *, others: int = 12, seed: int = 0
) -> PlantedNetwork:
    """Build the network with weights that are written down, not trained, and draw its inputs.

    Args:
        samples: Inputs; half of each class, the groups of class 1 equally large.
        mechanisms: Groups of inputs that lead to class 1, at least 1.
        others: Units per hidden layer that do not reach the output: half decoys, half noise.
        seed: Everything derives from it.

    Returns:
        The network in evaluation mode, its inputs, and what is true of them.

    Raises:
        SettingsError: a value is outside its range.
    """
    _whole("samples", samples, 4 * max(mechanisms, 1))
    _whole("mechanisms", mechanisms, 1)
    _whole("others", others, 0)
    rng = generator(seed, "planted network")
    first, places, order = _first_layer(mechanisms, others, rng)
    second, reached = _second_layer(mechanisms, others, places, order, rng)
    model = _Network(first.shape[1], len(first), len(second))
    output = np.zeros((2, len(second)))
    output[1, np.concatenate(reached)] = 4.0 / SECOND
    output[0] = -output[1]
    with torch.no_grad():
        model.first.weight.copy_(torch.from_numpy(first))
        model.first.bias.fill_(-SHIFT / 2)
        model.second.weight.copy_(torch.from_numpy(second))
        model.second.bias.zero_()
        model.output.weight.copy_(torch.from_numpy(output))
        offset = 4.0 * (mechanisms - 1)
        model.output.bias.copy_(torch.tensor([-offset, offset]))
    group = np.full(samples, -1)
    right = samples // 2
    group[rng.permutation(samples)[:right]] = np.arange(right) % mechanisms
    x = rng.standard_normal((samples, first.shape[1]))
    for j in range(mechanisms):
        x[np.ix_(group == j, np.arange(BLOCK * j, BLOCK * (j + 1)))] += SHIFT
    return PlantedNetwork(
        model=model.eval(),
        x=torch.from_numpy(x).float(),
        labels=torch.from_numpy((group >= 0).astype(np.int64)),
        critical={
            "first": np.sort(np.concatenate(places)),
            "second": np.sort(np.concatenate(reached)),
        },
        mechanisms=group,
    )


def _first_layer(
    mechanisms: int, others: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Weights, the critical units of each mechanism, and all units in random order."""
    order = rng.permutation(FIRST * mechanisms + others)
    inputs = BLOCK * mechanisms + others
    weights = np.zeros((len(order), inputs))
    places = [order[FIRST * j : FIRST * (j + 1)] for j in range(mechanisms)]
    for j, units in enumerate(places):
        for i, unit in enumerate(units):
            start = BLOCK * j + PAIR * i
            weights[unit, start : start + PAIR] = 1 / PAIR
    for i, unit in enumerate(order[FIRST * mechanisms :]):
        weights[unit, BLOCK * mechanisms + i] = 1.0
        if i < others // 2:
            j = i % mechanisms
            weights[unit, BLOCK * j : BLOCK * (j + 1)] = 1 / BLOCK
    return weights, places, order


def _second_layer(
    mechanisms: int,
    others: int,
    below: list[np.ndarray],
    below_order: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Weights, and the critical units of each mechanism."""
    order = rng.permutation(SECOND * mechanisms + others)
    weights = np.zeros((len(order), len(below_order)))
    places = [order[SECOND * j : SECOND * (j + 1)] for j in range(mechanisms)]
    for j, units in enumerate(places):
        for i, unit in enumerate(units):
            weights[unit, below[j][i : i + PAIR]] = 1.5
    idle = below_order[FIRST * mechanisms :]
    for i, unit in enumerate(order[SECOND * mechanisms :]):
        weights[unit, idle[i]] = 1.0
        if i < others // 2:
            weights[unit, below[i % mechanisms]] = 0.5
    return weights, places


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise SettingsError(f"{name} is {value!r}. Pass a whole number of at least {least}.")
