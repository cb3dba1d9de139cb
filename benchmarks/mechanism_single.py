"""Data of a single group, of five shapes: nothing in it is there to be split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

import neucept as nc
from neucept.critical import Critical
from neucept.runtime import generator

SIZES = ((150, 10), (300, 30), (400, 60), (600, 100))
"""Samples and neurons."""

SEEDS = 5

Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def gaussian(random: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    return random.standard_normal((samples, neurons)) @ _mixing(random, neurons)


def skewed(random: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    return random.gamma(1.5, size=(samples, neurons)) @ _mixing(random, neurons)


def heavy_tailed(random: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    """Multivariate t with three degrees of freedom."""
    tails = np.sqrt(random.chisquare(3, (samples, 1)) / 3)
    return gaussian(random, samples, neurons) / tails


def elongated(random: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    """A rod of even thickness, thirty deviations long."""
    x = random.standard_normal((samples, neurons))
    x[:, 0] = random.uniform(-15, 15, samples)
    return x @ _turned(random, neurons)


def curved(random: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    """A sheet bent around a cylinder, evenly filled, with noise."""
    x = 0.3 * random.standard_normal((samples, neurons))
    angle = random.uniform(-1.2, 1.2, samples)
    x[:, 0] += 4 * np.sin(angle)
    x[:, 1] += 4 * np.cos(angle)
    x[:, 2] += random.uniform(-3, 3, samples)
    return x @ _turned(random, neurons)


SHAPES: dict[str, Draw] = {
    "Gaussian": gaussian,
    "skewed": skewed,
    "heavy-tailed": heavy_tailed,
    "elongated": elongated,
    "curved sheet": curved,
}


def _mixing(random: np.random.Generator, neurons: int) -> np.ndarray:
    """A falling spectrum, as neurons of a layer have."""
    fall = np.exp(-4 * np.arange(neurons) / neurons)
    return fall[:, None] * random.standard_normal((neurons, neurons))


def _turned(random: np.random.Generator, neurons: int) -> np.ndarray:
    return np.linalg.qr(random.standard_normal((neurons, neurons)))[0]


def single(shape: str, samples: int, neurons: int, seed: int) -> nc.Activations:
    """One data set, as activations that are all predicted as class 0."""
    x = SHAPES[shape](generator(seed, "single", shape, samples, neurons), samples, neurons)
    return nc.Activations.from_arrays({"layer": x}, np.tile([1.0, 0.0], (samples, 1)))


def every_neuron(acts: nc.Activations) -> Critical:
    """As if a search had named all neurons of the layer."""
    neurons = np.arange(acts.n_neurons("layer"))
    table = pd.DataFrame({"layer": "layer", "neuron": neurons}).assign(
        selected=True, e_value=1.0, score=1.0, frequency=1.0, note=""
    )
    return Critical(0, ("layer",), nc.Search(), table, table.head(0), {"layer": ""}, {"layer": {}})
