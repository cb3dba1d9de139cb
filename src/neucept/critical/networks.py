"""Networks that read a layer: what neurons tell about targets, and along which directions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from neucept.runtime import generator

FOLDS = 6
"""Networks whose mean gives the order, and judges of each measured size; each of them leaves out
its own part of the rows."""

_HIDDEN = (128, 64)
_EPOCHS = 20
_LEAST_STEPS = 200
_BATCH = 256
_RATE = 5e-3
_DECAY = 0.1
_DIRECTIONS = 8

Matrix = Float[np.ndarray, "n n"]


class Folds:
    """The rows that each network leaves out, and the networks trained on the others."""

    def __init__(self, rows: int, seed: int) -> None:
        self.parts = np.array_split(generator(seed, "core folds").permutation(rows), FOLDS)
        self.seed = seed

    def explained(
        self,
        inputs: Float[np.ndarray, "samples inputs"],
        wanted: Float[np.ndarray, "samples targets"],
    ) -> float:
        """Mean explained variance of the targets on the rows left out."""
        values, targets = _tensors(inputs, wanted)
        return self._trained(values, targets)[0]

    def guesses(
        self,
        inputs: Float[np.ndarray, "samples inputs"],
        wanted: Float[np.ndarray, "samples targets"],
    ) -> Float[np.ndarray, "samples targets"]:
        """What the network that left a row out says of it."""
        values, targets = _tensors(inputs, wanted)
        _, networks = self._trained(values, targets)
        guesses = np.empty(wanted.shape)
        with torch.no_grad():
            for i, rows in enumerate(self.parts):
                guesses[rows] = networks.one(i, values[rows]).numpy()
        return guesses

    def gradients(
        self,
        inputs: Float[np.ndarray, "samples inputs"],
        wanted: Float[np.ndarray, "samples targets"],
    ) -> Matrix:
        """Second moments of the gradient of the mean of networks on all inputs."""
        values, targets = _tensors(inputs, wanted)
        _, networks = self._trained(values, targets)
        chance = torch.Generator().manual_seed(self.seed % 2**63)
        count = targets.shape[1]
        moments = np.zeros((values.shape[1], values.shape[1]))
        passes = min(count, _DIRECTIONS)
        for _ in range(passes):
            # Random signs for each row stand for all targets in one pass; for one it is exact.
            signs = 2.0 * torch.randint(0, 2, (len(values), count), generator=chance) - 1.0
            rows = values.clone().requires_grad_(True)
            mean = networks(rows.expand(FOLDS, -1, -1)).mean(0)
            (slopes,) = torch.autograd.grad((mean * signs).sum(), rows)
            each = slopes.double().numpy()
            moments += each.T @ each
        return moments / (passes * len(values) * count)

    def _trained(self, values: Tensor, targets: Tensor) -> tuple[float, _Networks]:
        """Train networks side by side, each without its own part of the rows."""
        chance = torch.Generator().manual_seed(self.seed % 2**63)
        networks = _Networks(FOLDS, values.shape[1], targets.shape[1], chance)
        held = [torch.from_numpy(part) for part in self.parts]
        least = len(values) - max(len(part) for part in self.parts)
        learn = torch.stack([self._others(i)[:least] for i in range(FOLDS)])
        batch = max(1, min(_BATCH, least // 8))
        steps = least // batch
        epochs = max(_EPOCHS, math.ceil(_LEAST_STEPS / steps))
        optimiser = torch.optim.AdamW(networks.weights, lr=_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, _RATE, total_steps=epochs * steps, pct_start=0.2
        )
        for _ in range(epochs):
            shuffled = learn[:, torch.randperm(least, generator=chance)]
            for step in range(steps):
                rows = shuffled[:, step * batch : (step + 1) * batch]
                loss = (networks(values[rows]) - targets[rows]).square().mean((1, 2)).sum()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
        with torch.no_grad():
            shares = [
                _share(networks.one(i, values[rows]), targets[rows]) for i, rows in enumerate(held)
            ]
        return float(np.mean(shares)), networks

    def _others(self, fold: int) -> Tensor:
        rows = np.concatenate([part for i, part in enumerate(self.parts) if i != fold])
        return torch.from_numpy(generator(self.seed, "core rows", fold).permutation(rows))


class _Networks:
    """Networks of one shape side by side: two hidden layers, and a linear path past them."""

    def __init__(self, count: int, inputs: int, outputs: int, chance: torch.Generator) -> None:
        sizes = (inputs, *_HIDDEN, outputs)
        self.weights: list[Tensor] = []
        for before, after in pairwise(sizes):
            start = torch.randn(count, before, after, generator=chance) / math.sqrt(before)
            self.weights += [start, torch.zeros(count, 1, after)]
        self.weights.append(torch.zeros(count, inputs, outputs))
        for weight in self.weights:
            weight.requires_grad_(True)

    def __call__(self, rows: Tensor) -> Tensor:
        return _forward(self.weights, rows)

    def one(self, network: int, rows: Tensor) -> Tensor:
        """The outputs of one network."""
        return _forward([w[network : network + 1] for w in self.weights], rows[None])[0]


def _forward(weights: list[Tensor], rows: Tensor) -> Tensor:
    hidden = rows
    for i in range(0, len(weights) - 3, 2):
        hidden = silu(torch.baddbmm(weights[i + 1], hidden, weights[i]))
    out = torch.baddbmm(weights[-2], hidden, weights[-3])
    return torch.baddbmm(out, rows, weights[-1])


def _share(guess: Tensor, truth: Tensor) -> float:
    error = (guess - truth).square().mean(0)
    # Over all rows the variance is 1; on these few a rare target may hardly vary.
    return float(1 - error.mean())


def _tensors(inputs: np.ndarray, wanted: np.ndarray) -> tuple[Tensor, Tensor]:
    flat = np.ascontiguousarray(inputs, dtype=np.float32)
    return torch.from_numpy(flat), torch.from_numpy(wanted.astype(np.float32))
