"""The core: how few neurons keep what a layer tells about its targets.

Two steps. The *order* comes from networks trained on the whole layer: the matrix of second moments
of their mean's gradient says along which directions the targets change, and a forward search takes
the neurons from which these directions are best predicted. It needs no refit, sees members of a
product as well as sums, and lets one neuron stand in for others that say the same. The *curve* is
then measured: for a number of sizes, a network that sees only the first neurons of the order is
judged on rows it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import silu

from neucept.errors import DataError, SettingsError
from neucept.runtime import generator, is_real

FOLDS = 6
"""Networks whose mean gives the order, and judges of each measured size; each of them leaves out
its own part of the rows."""

STEADY = 0.3
"""Noise with which a neuron counts as known when the order is sought, in units of its variance."""

LEAST_ROWS = 40
"""Fewer rows cannot be split into rows to learn from and rows to judge on."""

_HIDDEN = (128, 64)
_EPOCHS = 20
_LEAST_STEPS = 200
_BATCH = 256
_RATE = 5e-3
_DECAY = 0.1
_DIRECTIONS = 8
_SETTLED = 1e-5
_FLAT = 0.97

Matrix = Float[np.ndarray, "n n"]


@dataclass(frozen=True, eq=False)
class CoreCurve:
    """How the core grows, and what it keeps at each size.

    Attributes:
        order: The candidates, in the order in which the core grows.
        kept: Share kept by the first 0, 1, ... candidates, in [0, 1]; it never falls.
        measured: The sizes at which `kept` was measured; between them it is interpolated.
        known: What the whole layer tells about the targets: mean explained variance of the
            targets on held-out rows, in [0, 1].
    """

    order: Int[np.ndarray, " candidates"]
    kept: Float[np.ndarray, " sizes"] = field(repr=False)
    measured: Int[np.ndarray, " measured"] = field(repr=False)
    known: float

    def core(self, keep: float = 0.9) -> Int[np.ndarray, " core"]:
        """The core at a share.

        Args:
            keep: The share to be kept, in (0, 1].

        Returns:
            The shortest beginning of `order` that keeps it; all of it when none does.

        Raises:
            SettingsError: `keep` is outside (0, 1].
        """
        check_keep(keep)
        return first_to_keep(self.order, self.kept, keep)


def first_to_keep(
    order: Int[np.ndarray, " candidates"], kept: Float[np.ndarray, " sizes"], keep: float
) -> Int[np.ndarray, " core"]:
    """The shortest beginning of an order that keeps a share; all of it when none does.

    Args:
        order: Neurons.
        kept: Share kept by the first 0, 1, ... of them.
        keep: The share.
    """
    enough = np.flatnonzero(kept >= keep)
    return order[: enough[0]] if enough.size else order


def check_keep(keep: object) -> None:
    """Refuse a share that is not in (0, 1].

    Raises:
        SettingsError: as said.
    """
    if not is_real(keep) or not 0 < keep <= 1:
        raise SettingsError(f"keep is {keep!r}. Pass a share between 0 and 1, such as 0.9.")


def find_core(
    x: Float[np.ndarray, "samples neurons"],
    y: Float[np.ndarray, "samples targets"],
    candidates: Int[np.ndarray, " candidates"],
    *,
    keep: float = 0.9,
    seed: int = 0,
) -> CoreCurve:
    """Find the order in which a core grows, and measure what it keeps.

    Args:
        x: All neurons of the layer; they say what there is to be kept.
        y: The targets; each counts as much as any other, whatever its scale.
        candidates: The neurons a core may consist of: those selected.
        keep: The share around which every size is measured, in (0, 1].
        seed: At least 0.

    Returns:
        The order and the curve.

    Raises:
        DataError: `x` and `y` differ in samples, there are too few, no target varies, or a
            candidate is no column of `x`.
        SettingsError: `keep` or `seed` is out of range.

    Source: Constantine, Dow, Wang (2014), "Active subspace methods", for the matrix of gradients;
        the search on it is ours.
    """
    check_keep(keep)
    chosen = _checked(x, y, candidates)
    inputs, moving = _described(x)
    wanted = _standard(y)
    folds = _Folds(len(x), seed)
    order = _ordered(
        inputs[:, moving, 0], folds.gradients(inputs[:, moving, 0], wanted), chosen, moving
    )

    def explained(neurons: Int[np.ndarray, " some"]) -> float:
        return folds.explained(inputs[:, neurons].reshape(len(x), -1), wanted)

    whole = explained(moving)
    every = np.isin(moving, order).all()
    found = {len(order): whole} if every else {}
    if whole > 0:
        _measure(lambda size: explained(order[:size]), found, len(order), keep, whole)
    sizes = np.array(sorted({0, *found}))
    heights = np.maximum.accumulate([max(found.get(int(size), 0.0), 0.0) for size in sizes])
    # A predictor on more neurons could ignore those it has too many of.
    known = float(max(whole, heights[-1], 0.0))
    curve = np.interp(np.arange(len(order) + 1), sizes, heights / known if known else heights)
    return CoreCurve(order, curve, sizes, known)


def _measure(
    explained: Callable[[int], float],
    found: dict[int, float],
    most: int,
    keep: float,
    whole: float,
) -> None:
    """Explained variance at sizes that double until all is kept, and all around the wanted share.

    Args:
        explained: What the first so many neurons explain.
        found: What is known already, by size; gains what is measured.
        most: How many there are.
        keep: The wanted share.
        whole: What the whole layer explains.
    """
    if most == 0:
        return
    if most not in found:
        found[most] = explained(most)
    size = 1
    while size < most:
        found[size] = explained(size)
        if found[size] >= max(_FLAT, keep) * max(whole, found[most]):
            break
        size *= 2
    while True:
        enough = keep * max(whole, *found.values())
        above = min((size for size, value in found.items() if value >= enough), default=0)
        below = max((size for size in found if size < above), default=0)
        if above - below <= 1:
            return
        middle = (above + below) // 2
        found[middle] = explained(middle)


def _ordered(
    values: Float[np.ndarray, "samples moving"],
    gradients: Matrix,
    candidates: Int[np.ndarray, " candidates"],
    moving: Int[np.ndarray, " moving"],
) -> Int[np.ndarray, " candidates"]:
    """Candidates by the forward search; those that never vary come last."""
    covariance = np.cov(values.astype(np.float64).T, bias=True).reshape(len(moving), -1)
    places = np.flatnonzero(np.isin(moving, candidates))
    ranked = moving[forward_order(gradients, covariance, places)]
    return np.concatenate([ranked, candidates[~np.isin(candidates, moving)]])


def forward_order(
    gradients: Matrix, covariance: Matrix, candidates: Int[np.ndarray, " candidates"]
) -> Int[np.ndarray, " candidates"]:
    """Neurons in the order in which they best predict the directions that matter.

    With G the gradients' second moments and R the covariance left once the chosen neurons are
    known, tr(G R) is what is still unexplained of a target that is linear along each row's
    gradient. Each step takes the neuron that lowers it most. A neuron is taken to be known up to a
    noise of variance `STEADY`: among near substitutes the choice then hangs less on the sample.

    Args:
        gradients: G, (neurons, neurons).
        covariance: Of the neurons, in units of their standard deviations.
        candidates: Neurons to choose from.

    Returns:
        The candidates, the first chosen first.
    """
    left = covariance.copy()
    # R G R: its diagonal gives every neuron's gain.
    pulled = left @ gradients @ left
    total = float(np.sum(gradients * covariance))
    remaining = np.asarray(candidates, dtype=np.int64)
    order: list[int] = []
    while remaining.size:
        spread = np.diag(left)[remaining] + STEADY
        gains = np.diag(pulled)[remaining] / spread
        best = int(gains.argmax())
        if gains[best] <= _SETTLED * total:
            order += remaining[np.argsort(-gains, kind="stable")].tolist()
            break
        mine = int(remaining[best])
        follow, cross = left[mine] / spread[best], pulled[mine]
        pulled = pulled - np.outer(follow, cross) - np.outer(cross, follow)
        pulled += cross[mine] * np.outer(follow, follow)
        left = left - np.outer(follow, left[mine])
        order.append(mine)
        remaining = np.delete(remaining, best)
    return np.array(order, dtype=np.int64)


class _Folds:
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
    return float((1 - error / truth.var(0, correction=0).clamp(min=1e-12)).mean())


def _tensors(inputs: np.ndarray, wanted: np.ndarray) -> tuple[Tensor, Tensor]:
    flat = np.ascontiguousarray(inputs, dtype=np.float32)
    return torch.from_numpy(flat), torch.from_numpy(wanted.astype(np.float32))


def _described(
    x: Float[np.ndarray, "samples neurons"],
) -> tuple[Float[np.ndarray, "samples neurons forms"], Int[np.ndarray, " moving"]]:
    """Each neuron's value and its distance from the mean, both standardised; and which vary."""
    values, vary = _scaled(x)
    distances, _ = _scaled(np.abs(values))
    return np.stack([values, distances], axis=2).astype(np.float32), np.flatnonzero(vary)


def _standard(
    y: Float[np.ndarray, "samples targets"],
) -> Float[np.ndarray, "samples varying"]:
    values, vary = _scaled(y)
    if not vary.any():
        raise DataError("No target varies, so no neuron can tell about one. Pass other targets.")
    return values[:, vary]


def _scaled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of mean 0 and variance 1 (0 where they do not vary), and which do vary."""
    values = np.asarray(values, dtype=np.float64)
    vary = np.ptp(values, axis=0) > 1e-6 * np.abs(values).max(axis=0, initial=0.0)
    spread = np.where(vary, values.std(axis=0), 1.0)
    return np.where(vary, (values - values.mean(axis=0)) / spread, 0.0), vary


def _checked(x: np.ndarray, y: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The candidates, without repeats; refuses what no core can be found in."""
    if len(x) != len(y):
        raise DataError(f"y has {len(y)} samples and x has {len(x)}. Pass the same samples.")
    if len(x) < LEAST_ROWS:
        raise DataError(f"There are {len(x)} samples; a core needs at least {LEAST_ROWS}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("x or y has a value that is not finite. Leave such samples out.")
    chosen = np.unique(np.asarray(candidates, dtype=np.int64))
    if chosen.size and not 0 <= chosen[0] <= chosen[-1] < x.shape[1]:
        raise DataError(
            f"A candidate is neuron {chosen[chosen.size - 1 if chosen[0] >= 0 else 0]}; "
            f"x has {x.shape[1]} neurons, from 0. Pass columns of x."
        )
    return chosen
