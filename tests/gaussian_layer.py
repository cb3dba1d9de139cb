"""Gaussian neurons with linear log-odds: a network, its exact law, and what quadrature says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, xlogy
from torch import nn

from neucept.activations import Activations, capture
from neucept.critical import Critical, Search
from neucept.knockoffs import Sampler
from neucept.knockoffs.gaussian import Gaussian
from neucept.knockoffs.screening import screen

POINTS = 120


class Linear(nn.Module):
    """Hands its inputs on as neurons; the log-odds of class 1 are linear in them."""

    def __init__(self, weights: np.ndarray, bias: float) -> None:
        super().__init__()
        self.neurons = nn.Linear(len(weights), len(weights), bias=False)
        self.head = nn.Linear(len(weights), 2)
        half = torch.tensor(np.stack([-weights, weights]) / 2, dtype=torch.float32)
        with torch.no_grad():
            self.neurons.weight.copy_(torch.eye(len(weights)))
            self.head.weight.copy_(half)
            self.head.bias.copy_(torch.tensor([-bias / 2, bias / 2]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.neurons(x))


def neighbours(width: int, correlation: float) -> np.ndarray:
    """A covariance with unit variances that falls off with the distance of two neurons."""
    apart = np.subtract.outer(np.arange(width), np.arange(width))
    return np.asarray(correlation ** np.abs(apart))


@dataclass(frozen=True, eq=False)
class Layer:
    """Gaussian neurons of mean 0, and the log-odds that are linear in them."""

    weights: tuple[float, ...]
    covariance: np.ndarray
    bias: float = 0.0

    def inputs(self, samples: int, seed: int) -> torch.Tensor:
        drawn = np.random.default_rng(seed).multivariate_normal(
            np.zeros(len(self.weights)), self.covariance, samples
        )
        return torch.from_numpy(drawn).float()

    def captured(self, x: torch.Tensor) -> tuple[nn.Module, Activations]:
        model = Linear(np.array(self.weights), self.bias).eval()
        return model, capture(model, x, ["neurons"])

    def law(self, x: torch.Tensor) -> Sampler:
        """The exact law, as a sampler."""
        width = len(self.weights)
        spread = np.sqrt(np.diag(self.covariance))
        correlation = self.covariance / np.outer(spread, spread)
        exact = Gaussian(np.zeros(width), spread, correlation, 0.0)
        return Sampler(
            "gaussian", screen(x.numpy().astype(np.float64)), exact, np.arange(width), exact
        )

    def told(self, kept: list[int], given: tuple[int, ...] = ()) -> float:
        """I(neurons kept; class | neurons given), in nats, by quadrature."""
        both = sorted({*kept, *given})
        return self._entropy(list(given)) - self._entropy(both)

    def _entropy(self, known: list[int]) -> float:
        """Entropy of the class that is left once some neurons are known."""
        weights, covariance = np.array(self.weights), self.covariance
        others = [j for j in range(len(weights)) if j not in known]
        left = covariance[np.ix_(others, others)]
        if known:
            across = covariance[np.ix_(known, others)]
            left = left - across.T @ np.linalg.solve(covariance[np.ix_(known, known)], across)
        inside = float(weights[others] @ left @ weights[others])
        outside = max(float(weights @ covariance @ weights) - inside, 0.0)
        nodes, mass = np.polynomial.hermite_e.hermegauss(POINTS)
        mass = mass / mass.sum()
        logits = self.bias + np.sqrt(outside) * nodes[:, None] + np.sqrt(inside) * nodes
        p = expit(logits) @ mass
        return float(mass @ -(xlogy(p, p) + xlogy(1 - p, 1 - p)))


def critical(layer: str, scores: np.ndarray, selected: np.ndarray, target: int = 1) -> Critical:
    """What a search would say that selected these neurons of one layer."""
    table = pd.DataFrame(
        {
            "layer": layer,
            "neuron": np.arange(len(scores)),
            "selected": selected,
            "e_value": selected * scores * 10,
            "score": scores,
            "frequency": 1.0,
            "note": "",
        }
    )
    return Critical(target, (layer,), Search(), table, table.head(0), {layer: ""}, {layer: {}})
