"""A network whose critical neurons differ by region, for tests of studies around one sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from neucept.activations import Activations

REGIONS, GATES, OWN, IDLE = 3, 3, 6, 13
NEURONS = REGIONS * (GATES + OWN) + IDLE

RAISED = 4.0
"""By how much an open gate stands out, in standard deviations of a neuron."""


class Gated(nn.Module):
    """In each region another few neurons decide; in which one a sample is, its gates tell."""

    def __init__(self, order: np.ndarray, weights: np.ndarray) -> None:
        super().__init__()
        self.neurons = nn.Linear(NEURONS, NEURONS, bias=False)
        self.order = torch.from_numpy(order)
        self.weights = torch.from_numpy(weights).float()
        with torch.no_grad():
            self.neurons.weight.zero_()
            self.neurons.weight[self.order, torch.arange(NEURONS)] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        units = self.neurons(x)[:, self.order]
        gates = units[:, : REGIONS * GATES].reshape(-1, REGIONS, GATES)
        opened = (gates.mean(2) > RAISED / 2).float()
        own = units[:, REGIONS * GATES : REGIONS * (GATES + OWN)].reshape(-1, REGIONS, OWN)
        score = (opened * (8.0 + (own * self.weights).sum(2))).sum(1) - 4.0
        return torch.stack([-score, score], dim=1) / 2


@dataclass(frozen=True)
class Regions:
    """The network, its inputs, and what is true of them.

    The score is linear in the own neurons of the region that a sample lies in and depends on
    nothing else there. So among samples of one region its own neurons are the Markov blanket: the
    gates vary, but stay open or shut, and the score is a function of the own neurons alone. Among
    all samples every region's own neurons are in it, and the gates.

    Attributes:
        model: Layer "neurons", which is the inputs in another order; class 1 is every region.
        x: Inputs; neighbours are correlated at 0.5, also critical with idle ones.
        region: Of each input; -1 for class 0, whose gates are all shut.
        own: Per region, its critical neurons, ascending.
        gates: Per region, its gates.
    """

    model: Gated
    x: Tensor
    region: np.ndarray
    own: list[np.ndarray]
    gates: list[np.ndarray]

    @property
    def acts(self) -> Activations:
        with torch.no_grad():
            outputs, neurons = self.model(self.x), self.model.neurons(self.x)
        return Activations.from_arrays({"neurons": neurons}, outputs=outputs)

    @property
    def union(self) -> set[int]:
        return {int(j) for j in np.concatenate(self.own)}


def planted_regions(samples: int = 6000, seed: int = 0) -> Regions:
    """Draw a network and its inputs; a quarter of them in no region, the others evenly."""
    random = np.random.default_rng(seed)
    order = random.permutation(NEURONS)
    weights = random.uniform(0.5, 0.9, (REGIONS, OWN)) * random.choice([-1.0, 1.0], (REGIONS, OWN))
    region = random.permutation(np.arange(samples) % (REGIONS + 1)) - 1
    layer = random.normal(size=(samples, NEURONS))
    for j in range(1, NEURONS):
        layer[:, j] = 0.5 * layer[:, j - 1] + np.sqrt(0.75) * layer[:, j]
    x = layer[:, order]
    for j in range(REGIONS):
        x[np.ix_(region == j, np.arange(GATES * j, GATES * (j + 1)))] += RAISED
    first = REGIONS * GATES
    return Regions(
        model=Gated(order, weights).eval(),
        x=torch.from_numpy(x).float(),
        region=region,
        own=[np.sort(order[first + OWN * j : first + OWN * (j + 1)]) for j in range(REGIONS)],
        gates=[np.sort(order[GATES * j : GATES * (j + 1)]) for j in range(REGIONS)],
    )
