"""The network statistic: how much a small network, trained on all columns, leans on each."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neucept.knockoffs.placing import device
from neucept.knockoffs.shapes import Copies, Importances, Neurons, SeparateImportances, Targets
from neucept.knockoffs.whitening import ROWS, Whitening

QUANTILES = 256
"""Steps of the ranks that the network sees beside the values."""

MANYROWS, FEWEST_STEPS = 10_000, 300


@dataclass(frozen=True)
class Network:
    """Importance = root mean square of the gradient of a network's output in a column.

    Two hidden layers, trained on the neurons and their knockoffs side by side. Each column enters
    as its value and as its rank, which tells apart values where most of them lie close together. A
    neuron and its knockoffs share one scale, one ranking and one first weight, so nothing in the
    fit knows which column is the original. A penalty on each column's weights leaves columns out
    that are of no use.

    Neurons of a layer, and knockoffs with their originals, are strongly correlated, and gradient
    steps are slow where columns hardly differ. So the steps are taken in coordinates in which the
    columns are nearly uncorrelated; penalty and importance are those of the columns themselves.

    Attributes:
        hidden: Units of each hidden layer.
        steps: Of the optimiser at 10,000 rows or more; with fewer rows in proportion, at least 300.
        batch: Rows in each step, at most half of all.
        rate: Largest learning rate; it rises and falls once.
        penalty: On the length of a column's first weights, times sqrt(log(columns) / rows).
        ridge: Variance below which directions of the columns are not stretched to unit variance,
            in units of a column's.

    Source: Lu, Fan, Lv, Noble (2018), "DeepPINK", for networks on knockoffs side by side; Yuan and
    Lin (2006) for the penalty.
    """

    hidden: int = 24
    steps: int = 1000
    batch: int = 500
    rate: float = 0.01
    penalty: float = 0.125
    ridge: float = 0.1

    def separate(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> SeparateImportances:
        """One network for each target; none sees another target."""
        return self._separate(_Inputs.of(z, knockoffs, self.ridge), y, random)

    def joint(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> Importances:
        """One network with an output for each target."""
        return self._joint(_Inputs.of(z, knockoffs, self.ridge), y, random)

    def both(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> tuple[Importances, SeparateImportances]:
        """What `joint` and `separate` return; they share nothing but the inputs."""
        inputs = _Inputs.of(z, knockoffs, self.ridge)
        together = self._joint(inputs, y, random)
        if y.shape[1] == 1:
            return together, together[:, :, None]
        return together, self._separate(inputs, y, random)

    def describe(self) -> dict[str, Any]:
        """The settings, as plain JSON values."""
        return {"kind": "network", **asdict(self)}

    def _joint(self, inputs: _Inputs, y: Targets, random: np.random.Generator) -> Importances:
        wanted = _standard(y, inputs.whitened.device)
        return np.asarray(self._fit(inputs, wanted[:, None, :], random)[0])

    def _separate(
        self, inputs: _Inputs, y: Targets, random: np.random.Generator
    ) -> SeparateImportances:
        wanted = _standard(y, inputs.whitened.device)
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
        whitened, whitening = inputs.whitened, inputs.whitening
        samples, columns = len(y), inputs.neurons * inputs.copies
        weight = self.penalty * math.sqrt(math.log(columns + 1) * y.shape[2] / samples)
        batch = min(self.batch, samples // 2)
        steps = min(self.steps, max(FEWEST_STEPS, self.steps * samples // MANYROWS))
        optimiser = torch.optim.AdamW(
            networks.parameters(), lr=self.rate, weight_decay=1e-3, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.rate, total_steps=steps, pct_start=0.2
        )
        order = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            if len(order) < batch:
                order = torch.randperm(samples, generator=chance)
            rows, order = order[:batch].to(y.device), order[batch:]
            error = (networks(whitened[rows]) - y[rows].transpose(0, 1)).square()
            loss = error.mean(1).sum() + weight * networks.lengths(whitening).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        return networks.importance(whitened, whitening, chance).double().cpu().numpy()


@dataclass(frozen=True, eq=False)
class _Inputs:
    """The columns in whitened coordinates, and the map there."""

    whitened: Float[Tensor, "samples columns"]
    whitening: Whitening
    neurons: int
    copies: int

    @classmethod
    def of(cls, z: Neurons, knockoffs: Copies, ridge: float) -> _Inputs:
        columns = _columns(z, knockoffs)
        whitening = Whitening.of(columns, ridge)
        rows = columns.reshape(len(columns), -1)
        # In place: the columns themselves are not needed again.
        for begin in range(0, len(rows), ROWS):
            rows[begin : begin + ROWS] = whitening(rows[begin : begin + ROWS].T).T
        return cls(rows, whitening, columns.shape[2], columns.shape[3])


def _columns(z: Neurons, knockoffs: Copies) -> Float[Tensor, "samples 2 neurons columns"]:
    """Every neuron and its knockoffs as values and as ranks, of unit variance together."""
    place = device()
    samples, neurons, copies = knockoffs.shape
    columns = torch.empty(samples, 2, neurons, copies + 1, device=place)
    places = torch.linspace(0, samples * (copies + 1) - 1, QUANTILES + 1, device=place).long()
    for j in range(neurons):
        own = np.column_stack([z[:, j], knockoffs[:, j]]).astype(np.float32)
        values = _scaled(torch.from_numpy(own).to(place))
        # Equal steps in rank.
        steps = values.flatten().sort().values[places]
        low = torch.searchsorted(steps, values)
        high = torch.searchsorted(steps, values, right=True)
        columns[:, 0, j] = values
        columns[:, 1, j] = _scaled((low + high).float())
    return columns


def _scaled(values: Tensor) -> Tensor:
    """With mean 0 and variance 1; zeros where they do not vary."""
    centred = values - values.mean()
    return centred / centred.square().mean().sqrt().clamp(min=1e-12)


def _standard(y: Targets, place: torch.device) -> Tensor:
    spread = y.std(0)
    # A target may be constant on the rows that a draw sees.
    scaled = (y - y.mean(0)) / np.where(spread > 0, spread, 1.0)
    return torch.from_numpy(scaled.astype(np.float32)).to(place)


class _Networks(nn.Module):
    """Networks of one shape side by side, each with weights of its own, on whitened columns."""

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
        place = inputs.whitened.device
        return cls(neurons, copies, count, [layer.clone().to(place) for layer in layers])

    def forward(self, whitened: Tensor) -> Float[Tensor, "networks rows outputs"]:
        return self._above(whitened @ self.first + self.first_bias)

    def _above(self, reached: Tensor) -> Tensor:
        inside = torch.relu(reached).reshape(len(reached), self.count, -1).transpose(0, 1)
        inside = torch.relu(torch.baddbmm(self.second_bias, inside, self.second))
        return torch.baddbmm(self.last_bias, inside, self.last)

    def weights(self, whitening: Whitening) -> Float[Tensor, "columns networks hidden"]:
        """The first weights of the columns themselves."""
        return whitening(self.first).reshape(len(self.first), self.count, -1)

    def lengths(self, whitening: Whitening) -> Tensor:
        """Of the first weights of each column, value and rank together, in each network."""
        first = self.weights(whitening)
        squares = first.square().sum(2).reshape(2, -1, self.count).sum(0)
        return (squares + 1e-8).sqrt()

    def importance(
        self, whitened: Tensor, whitening: Whitening, chance: torch.Generator
    ) -> Float[Tensor, "networks neurons copies"]:
        """Root mean square gradient in each column; over outputs, the root of the sum of squares.

        Several outputs are taken together by one random combination of them for each row, whose
        squared gradient is right on average.
        """
        total = whitened.new_zeros(self.count, 2 * self.neurons * self.copies)
        outputs = self.last.shape[2]
        first = self.weights(whitening).detach()
        for begin in range(0, len(whitened), ROWS):
            reached = (whitened[begin : begin + ROWS] @ self.first + self.first_bias).detach()
            reached.requires_grad_()
            shape = (self.count, len(reached), outputs)
            several = outputs > 1
            mixing = torch.randn(shape, generator=chance) if several else torch.ones(shape)
            (slope,) = torch.autograd.grad(self._above(reached), reached, mixing.to(whitened))
            slope = slope.reshape(len(reached), self.count, -1)
            # The mean of squares of slope @ first', without forming it: w' (s's) w, column-wise.
            for t in range(self.count):
                moment = slope[:, t].T @ slope[:, t]
                total[t] += ((first[:, t] @ moment) * first[:, t]).sum(1)
        squares = total.reshape(self.count, 2, self.neurons, self.copies).sum(1) / len(whitened)
        return squares.clamp(min=0).sqrt()
