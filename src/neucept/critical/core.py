"""The core: how few neurons keep what a layer tells about its targets.

Two steps. The *order* comes from networks trained on the whole layer: the matrix of second moments
of their mean's gradient says along which directions the targets change, and a forward search takes
the neurons from which these directions are best predicted. It needs no refit, sees members of a
product as well as sums, and lets one neuron stand in for others that say the same. The *curve* is
then measured: for a number of sizes, a network that sees only the first neurons of the order is
judged on rows it has not seen; where trees tell more of the whole layer, these are judged instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from neucept.critical.networks import Folds
from neucept.critical.trees import MOST_TARGETS, explained_by_trees
from neucept.errors import DataError, SettingsError
from neucept.runtime import is_real

STEADY = 0.3
"""Noise with which a neuron counts as known when the order is sought, in units of its variance."""

LEAST_ROWS = 40
"""Fewer rows cannot be split into rows to learn from and rows to judge on."""

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
    chosen = checked(x, y, candidates)
    inputs, moving = described(x)
    wanted = standard(y)
    folds = Folds(len(x), seed)
    order = _ordered(
        inputs[:, moving, 0], folds.gradients(inputs[:, moving, 0], wanted), chosen, moving
    )

    explained, whole = _judge(x, inputs, wanted, moving, folds)
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


def _judge(
    x: Float[np.ndarray, "samples neurons"],
    inputs: Float[np.ndarray, "samples neurons forms"],
    wanted: Float[np.ndarray, "samples targets"],
    moving: Int[np.ndarray, " moving"],
    folds: Folds,
) -> tuple[Callable[[Int[np.ndarray, " some"]], float], float]:
    """What measures explained variance, networks or trees, and what it says of the whole layer."""

    def by_networks(neurons: Int[np.ndarray, " some"]) -> float:
        return folds.explained(inputs[:, neurons].reshape(len(x), -1), wanted)

    def by_trees(neurons: Int[np.ndarray, " some"]) -> float:
        return explained_by_trees(x[:, neurons], wanted, folds.parts)

    known = by_networks(moving)
    if moving.size and wanted.shape[1] <= MOST_TARGETS:
        seen = by_trees(moving)
        if seen > known:
            return by_trees, seen
    return by_networks, known


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


def described(
    x: Float[np.ndarray, "samples neurons"],
) -> tuple[Float[np.ndarray, "samples neurons forms"], Int[np.ndarray, " moving"]]:
    """Each neuron's value and its distance from the mean, both standardised; and which vary."""
    values, vary = _scaled(x)
    distances, _ = _scaled(np.abs(values))
    return np.stack([values, distances], axis=2).astype(np.float32), np.flatnonzero(vary)


def standard(
    y: Float[np.ndarray, "samples targets"],
) -> Float[np.ndarray, "samples varying"]:
    """The targets that vary, with mean 0 and variance 1; refuses where none does."""
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


def checked(x: np.ndarray, y: np.ndarray, candidates: np.ndarray) -> np.ndarray:
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
