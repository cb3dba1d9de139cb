"""From the activations of critical neurons to a few uncorrelated dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from neucept.activations import Activations
from neucept.errors import DataError, ModelError, near_names

DIMENSIONS = 20
"""Most principal components that are kept."""

LEAST_SPREAD = 1e-3
"""Components narrower than this share of the widest are left out."""

SATURATED = 0.9
"""Beyond this share of its bound an activation counts as saturated."""

SHRUNK = 1e-6
"""How near to its bound a saturated activation is taken to be, at most."""


@dataclass(frozen=True)
class Projection:
    """How the neurons of one or several layers become a few dimensions.

    Attributes:
        layers: Names of the layers.
        neurons: Per layer, the neurons used.
        curves: Per layer, what straightens its values first; see `straighten`.
        centre: Mean of each straightened neuron.
        axes: Maps centred neurons to dimensions, neurons scaled to unit variance on the way.
    """

    layers: tuple[str, ...]
    neurons: tuple[Int[np.ndarray, " _"], ...]
    curves: tuple[str, ...]
    centre: Float[np.ndarray, " neurons"]
    axes: Float[np.ndarray, "neurons dimensions"]

    def apply(
        self, values: Float[np.ndarray, "samples neurons"]
    ) -> Float[np.ndarray, "samples dimensions"]:
        """The samples in the reduced space."""
        return np.asarray((self._straight(values) - self.centre) @ self.axes)

    def refitted(self, values: Float[np.ndarray, "samples neurons"], dimensions: int) -> Projection:
        """The same neurons and curves, with centre and axes fitted to other samples."""
        straight = self._straight(values)
        centre = straight.mean(axis=0)
        spread = straight.std(axis=0)
        usable = spread > 1e-7 * np.maximum(np.abs(straight).max(axis=0, initial=0.0), 1e-12)
        scale = np.where(usable, 1 / np.where(usable, spread, 1.0), 0.0)
        _, sizes, axes = np.linalg.svd((straight - centre) * scale, full_matrices=False)
        sizes /= np.sqrt(len(values))
        rank = int((sizes > LEAST_SPREAD * sizes[0]).sum()) if usable.any() else 0
        kept = min(dimensions, rank)
        axes = (
            axes[:kept]
            * np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(axis=1)])[:, None]
        )
        axes = np.ascontiguousarray(scale[:, None] * axes.T)
        return Projection(self.layers, self.neurons, self.curves, centre, axes)

    def _straight(self, values: np.ndarray) -> np.ndarray:
        widths = np.cumsum([len(n) for n in self.neurons])[:-1]
        blocks = np.split(np.asarray(values, dtype=float), widths, axis=1)
        pairs = zip(blocks, self.curves, strict=True)
        return np.hstack([straighten(block, curve) for block, curve in pairs])

    def read(
        self, acts: Activations, rows: Int[np.ndarray, " rows"] | None = None
    ) -> Float[np.ndarray, "rows neurons"]:
        """The activations of the used neurons, layers side by side.

        Raises:
            ModelError: a layer was not recorded, or is narrower than the one that was studied.
            DataError: an activation is NaN or infinite.
        """
        return read_neurons(acts, dict(zip(self.layers, self.neurons, strict=True)), rows)


def read_neurons(
    acts: Activations,
    neurons: Mapping[str, Int[np.ndarray, " _"]],
    rows: Int[np.ndarray, " rows"] | None = None,
) -> Float[np.ndarray, "rows neurons"]:
    """The activations of some neurons of some layers, layers side by side.

    Raises:
        ModelError: a layer was not recorded, or lacks a neuron.
        DataError: an activation is NaN or infinite.
    """
    blocks = []
    for layer, used in neurons.items():
        if layer not in acts.layers:
            raise ModelError(
                f"Layer '{layer}' is not among the activations. {near_names(layer, acts.layers)}"
            )
        matrix = acts.matrix(layer, rows)
        if len(used) and int(np.max(used)) >= matrix.shape[1]:
            raise ModelError(
                f"Layer '{layer}' has {matrix.shape[1]} neurons, neuron {int(np.max(used))} is "
                "asked for. Pass activations of the same network."
            )
        block = matrix[:, used].astype(float)
        if not np.isfinite(block).all():
            at = int(np.argwhere(~np.isfinite(block))[0, 0])
            position = at if rows is None else int(rows[at])
            raise DataError(
                f"Layer '{layer}' has a NaN or infinite activation at sample {position}. "
                "Remove that sample, or mend the network."
            )
        blocks.append(block)
    return np.hstack(blocks)


@dataclass(frozen=True)
class Space:
    """Samples seen through some neurons.

    Attributes:
        projection: From the neurons to the reduced space.
        values: The activations.
        x: The same in the reduced space.
    """

    projection: Projection
    values: Float[np.ndarray, "samples neurons"]
    x: Float[np.ndarray, "samples dimensions"]

    @property
    def name(self) -> str:
        """The layers, for seeds and tables."""
        return " + ".join(self.projection.layers)


def fit_space(
    acts: Activations,
    neurons: Mapping[str, Int[np.ndarray, " _"]],
    rows: Int[np.ndarray, " rows"],
) -> Space:
    """The reduced space of some samples.

    Args:
        acts: The activations.
        neurons: Layer to neurons.
        rows: The samples.

    Returns:
        The space; without any dimension when every neuron is constant.

    Raises:
        ModelError: a layer was not recorded, or lacks a neuron.
        DataError: an activation is NaN or infinite.
    """
    values = read_neurons(acts, neurons, rows)
    blocks = np.split(values, np.cumsum([len(n) for n in neurons.values()])[:-1], axis=1)
    blank = Projection(
        tuple(neurons),
        tuple(np.asarray(n, dtype=np.int64) for n in neurons.values()),
        tuple(curve_of(block) for block in blocks),
        np.zeros(values.shape[1]),
        np.zeros((values.shape[1], 0)),
    )
    projection = blank.refitted(values, dimensions_for(len(rows)))
    return Space(projection, values, projection.apply(values))


def dimensions_for(samples: int) -> int:
    """How many dimensions that many samples can fill: one for ten, at least 2."""
    return min(DIMENSIONS, max(2, samples // 10))


def curve_of(values: Float[np.ndarray, "samples neurons"]) -> str:
    """Which curve undoes the bend that an activation function gave to a layer's values.

    Groups that are round before a tanh are pressed against its bounds after it, and what is left
    of their shape is skewed. The range of the values shows what happened to them.

    Returns:
        "artanh" for values that saturate at -1 and 1, "logit" at 0 and 1, else "none".
    """
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if -1 <= low < -0.5 and high <= 1 and (np.abs(values) > SATURATED).mean() > 0.01:
        return "artanh"
    if low >= 0 and SATURATED < high <= 1 and (values > 0).all():
        return "logit"
    return "none"


def straighten(
    values: Float[np.ndarray, "samples neurons"], curve: str
) -> Float[np.ndarray, "samples neurons"]:
    """Apply the curve that `curve_of` named; values beyond its bounds count as on them."""
    if curve == "artanh":
        return np.asarray(np.arctanh(np.clip(values, SHRUNK - 1, 1 - SHRUNK)))
    if curve == "logit":
        inside = np.clip(values, SHRUNK, 1 - SHRUNK)
        return np.asarray(np.log(inside / (1 - inside)))
    return values
