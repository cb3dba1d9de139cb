"""The network statistic: how much a small network, trained on all columns, leans on each."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

QUANTILES = 256
"""Steps of the ranks that the network sees beside the values."""

_ROWS = 2000
"""Rows whose gradients are taken at once."""

Neurons = Float[np.ndarray, "samples neurons"]
Copies = Float[np.ndarray, "samples neurons copies"]
Targets = Float[np.ndarray, "samples targets"]


@dataclass(frozen=True)
class Network:
    """Importance = root mean square of the gradient of a network's output in a column.

    Two hidden layers, trained on the neurons and their knockoffs side by side. Each column enters
    as its value and as its rank, which tells apart values where most of them lie close together. A
    neuron and its knockoffs share one scale, one ranking and one first weight, so nothing in the
    fit knows which column is the original. A penalty on each column's weights leaves columns out
    that are of no use.

    Attributes:
        hidden: Units of each hidden layer.
        steps: Of the optimiser.
        batch: Rows in each step, at most half of all.
        rate: Largest learning rate; it rises and falls once.
        penalty: On the length of a column's first weights, times sqrt(log(columns) / rows).

    Source: Lu, Fan, Lv, Noble (2018), "DeepPINK", for networks on knockoffs side by side; Yuan and
    Lin (2006) for the penalty.
    """

    hidden: int = 24
    steps: int = 500
    batch: int = 500
    rate: float = 0.01
    penalty: float = 0.125

    def separate(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> Float[np.ndarray, "neurons columns targets"]:
        """One network for each target; none sees another target."""
        return self._separate(_Inputs.of(z, knockoffs), y, random)

    def joint(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> Float[np.ndarray, "neurons columns"]:
        """One network with an output for each target."""
        return self._joint(_Inputs.of(z, knockoffs), y, random)

    def both(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> tuple[Float[np.ndarray, "neurons columns"], Float[np.ndarray, "neurons columns targets"]]:
        """What `joint` and `separate` return; they share nothing but the inputs."""
        inputs = _Inputs.of(z, knockoffs)
        together = self._joint(inputs, y, random)
        if y.shape[1] == 1:
            return together, together[:, :, None]
        return together, self._separate(inputs, y, random)

    def describe(self) -> dict[str, Any]:
        """The settings, as plain JSON values."""
        return {"kind": "network", **asdict(self)}

    def _joint(
        self, inputs: _Inputs, y: Targets, random: np.random.Generator
    ) -> Float[np.ndarray, "neurons columns"]:
        wanted = _standard(y, inputs.columns.device)
        return np.asarray(self._fit(inputs, wanted[:, None, :], random)[0])

    def _separate(
        self, inputs: _Inputs, y: Targets, random: np.random.Generator
    ) -> Float[np.ndarray, "neurons columns targets"]:
        wanted = _standard(y, inputs.columns.device)
        return np.moveaxis(self._fit(inputs, wanted[:, :, None], random), 0, 2)

    def _fit(
        self,
        inputs: _Inputs,
        y: Float[Tensor, "samples networks outputs"],
        random: np.random.Generator,
    ) -> Float[np.ndarray, "networks neurons columns"]:
        """Train all networks at once, each on its own outputs."""
        chance = torch.Generator().manual_seed(int(random.integers(2**62)))
        networks = _Networks.start(inputs, y.shape[1], y.shape[2], self.hidden, chance)
        samples, columns = len(y), inputs.neurons * inputs.copies
        weight = self.penalty * math.sqrt(math.log(columns + 1) * y.shape[2] / samples)
        batch = min(self.batch, samples // 2)
        optimiser = torch.optim.AdamW(networks.parameters(), lr=self.rate, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.rate, total_steps=self.steps, pct_start=0.2
        )
        order = torch.empty(0, dtype=torch.long)
        for _ in range(self.steps):
            if len(order) < batch:
                order = torch.randperm(samples, generator=chance)
            rows, order = order[:batch].to(y.device), order[batch:]
            error = (networks(inputs.columns[rows]) - y[rows].transpose(0, 1)).square()
            loss = error.mean(1).sum() + weight * networks.lengths().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        return networks.importance(inputs.columns, chance).double().cpu().numpy()


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Every column as its value and its rank: (samples, 2 x neurons x copies)."""

    columns: Tensor
    neurons: int
    copies: int

    @classmethod
    def of(cls, z: Neurons, knockoffs: Copies) -> _Inputs:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        every = np.concatenate([z[:, :, None], knockoffs], axis=2, dtype=np.float32)
        values = torch.from_numpy(every).to(device)
        samples, neurons, copies = values.shape
        values = values - values.mean((0, 2), keepdim=True)
        values = values / values.square().mean((0, 2), keepdim=True).sqrt().clamp(min=1e-12)
        together = values.transpose(0, 1).reshape(neurons, -1).contiguous()
        # Ascending within a neuron; equal steps in rank.
        places = torch.linspace(0, together.shape[1] - 1, QUANTILES + 1, device=device).long()
        steps = together.sort(dim=1).values[:, places].contiguous()
        low = torch.searchsorted(steps, together)
        high = torch.searchsorted(steps, together, right=True)
        ranks = (low + high).float() / 2
        ranks = ranks.reshape(neurons, samples, copies).transpose(0, 1)
        ranks = ranks - ranks.mean((0, 2), keepdim=True)
        ranks = ranks / ranks.square().mean((0, 2), keepdim=True).sqrt().clamp(min=1e-12)
        return cls(torch.stack([values, ranks], 1).reshape(samples, -1), neurons, copies)


def _standard(y: Targets, device: torch.device) -> Tensor:
    scaled = (y - y.mean(0)) / y.std(0)
    return torch.from_numpy(scaled.astype(np.float32)).to(device)


class _Networks(nn.Module):
    """Networks of one shape side by side, each with weights of its own."""

    def __init__(self, neurons: int, copies: int, count: int, layers: list[Tensor]) -> None:
        super().__init__()
        self.neurons, self.copies, self.count = neurons, copies, count
        self.first, self.first_bias, self.second, self.second_bias, self.last, self.last_bias = (
            nn.Parameter(layer) for layer in layers
        )

    @classmethod
    def start(
        cls, inputs: _Inputs, count: int, outputs: int, hidden: int, chance: torch.Generator
    ) -> _Networks:
        neurons, copies = inputs.neurons, inputs.copies
        width = 2 * neurons * copies

        def normal(*shape: int, fan: int) -> Tensor:
            return torch.randn(*shape, generator=chance) / math.sqrt(fan)

        tied = normal(2, neurons, 1, count * hidden, fan=width)
        layers = [
            tied.expand(-1, -1, copies, -1).reshape(width, count * hidden),
            normal(count * hidden, fan=4),
            normal(count, hidden, hidden, fan=hidden),
            torch.zeros(count, 1, hidden),
            normal(count, hidden, outputs, fan=10 * hidden),
            torch.zeros(count, 1, outputs),
        ]
        device = inputs.columns.device
        return cls(neurons, copies, count, [layer.clone().to(device) for layer in layers])

    def forward(self, columns: Tensor) -> Float[Tensor, "networks rows outputs"]:
        return self._above(columns @ self.first + self.first_bias)

    def _above(self, reached: Tensor) -> Tensor:
        inside = torch.relu(reached).reshape(len(reached), self.count, -1).transpose(0, 1)
        inside = torch.relu(torch.baddbmm(self.second_bias, inside, self.second))
        return torch.baddbmm(self.last_bias, inside, self.last)

    def lengths(self) -> Tensor:
        """Of the first weights of each column, value and rank together, in each network."""
        first = self.first.reshape(2, self.neurons * self.copies, self.count, -1)
        return (first.square().sum((0, 3)) + 1e-8).sqrt()

    def importance(
        self, columns: Tensor, chance: torch.Generator
    ) -> Float[Tensor, "networks neurons copies"]:
        """Root mean square gradient in each column; over outputs, the root of the sum of squares.

        Several outputs are taken together by one random combination of them for each row, whose
        squared gradient is right on average.
        """
        total = columns.new_zeros(self.count, 2 * self.neurons * self.copies)
        outputs = self.last.shape[2]
        first = self.first.detach().reshape(len(self.first), self.count, -1)
        for begin in range(0, len(columns), _ROWS):
            reached = (columns[begin : begin + _ROWS] @ self.first + self.first_bias).detach()
            reached.requires_grad_()
            shape = (self.count, len(reached), outputs)
            several = outputs > 1
            mixing = torch.randn(shape, generator=chance) if several else torch.ones(shape)
            (slope,) = torch.autograd.grad(self._above(reached), reached, mixing.to(columns))
            slope = slope.reshape(len(reached), self.count, -1)
            # The mean of squares of slope @ first', without forming it: w' (s's) w, column-wise.
            for t in range(self.count):
                moment = slope[:, t].T @ slope[:, t]
                total[t] += ((first[:, t] @ moment) * first[:, t]).sum(1)
        squares = total.reshape(self.count, 2, self.neurons, self.copies).sum(1) / len(columns)
        return squares.clamp(min=0).sqrt()
