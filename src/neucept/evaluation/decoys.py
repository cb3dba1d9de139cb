"""Decoy neurons: true nulls beside a real forward pass.

A layer is widened by neurons that are computed from its real ones, each with noise of its own, and
that have no outgoing weight. The outputs and the real neurons stay what the network gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from neucept.activations import Activations
from neucept.errors import DataError, ModelError, SettingsError, near_names
from neucept.knockoffs import plant
from neucept.runtime import check_seed, derived_seed, is_real, is_whole

LEAST_NOISE = 0.3
"""Of a decoy's own standard deviation. With much less it would count as one with its source."""

SOURCES = 3
"""Real neurons that a decoy is computed from; two for a product, one for a copy."""

_SIZES = {"copy": 1, "product": 2}

_FORMS = {"copy": "linear", "sum": "linear"}

_BENT = ("relu", "even", "product", "network", "max", "threshold")
"""What is neither a copy nor a sum: kinds of `knockoffs.planting`, in turn."""


@dataclass(frozen=True, eq=False)
class Decoys:
    """Activations with decoys in some layers.

    By construction a decoy is a function of the real neurons of its layer and of independent
    noise. So, given these, it is independent of the outputs, of all other layers and of the other
    decoys, and whoever names it as critical is wrong.

    Attributes:
        acts: All layers that there were, with the same samples, outputs, labels and ids. In a
            widened layer the real neurons come first, unchanged, and then the decoys.
        table: One row per decoy: layer, neuron, kind ("copy", "sum", or a kind of
            `knockoffs.planting`), sources (the real neurons it is computed from).
        noise: By layer, the part of each decoy that is noise, in the decoy's unit.
    """

    acts: Activations
    table: pd.DataFrame = field(repr=False)
    noise: Mapping[str, Float[np.ndarray, "samples decoys"]] = field(repr=False)

    def neurons(self, layer: str) -> Int[np.ndarray, " decoys"]:
        """Which neurons of a layer are decoys.

        Args:
            layer: A layer of `acts`.

        Returns:
            Their indices, ascending; none in a layer that was not widened.

        Raises:
            ModelError: there is no such layer.
        """
        self.acts.n_neurons(layer)
        return self.table["neuron"][self.table["layer"] == layer].to_numpy(dtype=np.int64)


def decoy_activations(
    acts: Activations,
    layers: str | Sequence[str] | None = None,
    *,
    decoys: int | None = None,
    noise: float = LEAST_NOISE,
    seed: int = 0,
) -> Decoys:
    """Widen recorded layers by decoys, of which it is certain that no output depends on them.

    A third of the decoys are noisy copies of one real neuron, a third sums of three, and the rest
    are functions that are not linear. Each has the mean and the spread of a real neuron.

    Args:
        acts: Captured activations; they are not changed.
        layers: Which layers to widen, by name; None for all.
        decoys: How many each of them gets, at least 1; None for as many as it has neurons.
        noise: Standard deviation of a decoy's noise, as a share of the decoy's own; from 0.3 to
            less than 1.
        seed: Functions and noise derive from it and from the layer's name; at least 0.

    Returns:
        The widened activations, and which neurons are decoys.

    Raises:
        ModelError: a layer was not captured.
        DataError: so few neurons of a layer vary that no decoys can be made of them.
        SettingsError: a setting is out of range.
    """
    wanted = _wanted(acts, layers)
    if decoys is not None and (not is_whole(decoys) or decoys < 1):
        raise SettingsError(
            f"decoys is {decoys!r}. Pass a whole number of at least 1, or None for as many as "
            "there are neurons."
        )
    if not is_real(noise) or not LEAST_NOISE <= noise < 1:
        raise SettingsError(f"noise is {noise!r}. Pass a share from {LEAST_NOISE} to less than 1.")
    check_seed(seed)
    matrices = {layer: acts.matrix(layer) for layer in acts.layers}
    rows, noises = [], {}
    for layer in wanted:
        real = matrices[layer].astype(np.float64)
        made = [
            _decoy(real, layer, number, float(noise), seed)
            for number in range(real.shape[1] if decoys is None else int(decoys))
        ]
        values = np.stack([decoy.values for decoy in made], axis=1)
        matrices[layer] = np.hstack([matrices[layer], values.astype(np.float32)])
        noises[layer] = np.stack([decoy.noise for decoy in made], axis=1)
        rows += [
            {"layer": layer, "neuron": place, "kind": decoy.kind, "sources": decoy.sources}
            for place, decoy in enumerate(made, real.shape[1])
        ]
    widened = Activations.from_arrays(matrices, acts.outputs, acts.labels, acts.ids)
    return Decoys(widened, pd.DataFrame(rows), noises)


def _wanted(acts: Activations, layers: object) -> list[str]:
    if layers is None:
        return list(acts.layers)
    named = [layers] if isinstance(layers, str) else layers
    if not isinstance(named, list | tuple) or not named:
        raise SettingsError(
            f"layers is {layers!r}. Pass a name, several names, or None for all layers."
        )
    for layer in named:
        if layer not in acts.layers:
            raise ModelError(f"Layer '{layer}' was not captured. {near_names(layer, acts.layers)}")
    return list(dict.fromkeys(named))


@dataclass(frozen=True, eq=False)
class _Decoy:
    values: Float[np.ndarray, " samples"]
    noise: Float[np.ndarray, " samples"]
    kind: str
    sources: tuple[int, ...]


def _decoy(
    real: Float[np.ndarray, "samples neurons"], layer: str, number: int, share: float, seed: int
) -> _Decoy:
    kind = ("copy", "sum", _BENT[number // 3 % len(_BENT)])[number % 3]
    try:
        made = plant(
            real,
            _FORMS.get(kind, kind),
            neurons=_SIZES.get(kind, SOURCES),
            noise=1.0,
            seed=derived_seed(seed, "decoy", layer, number),
        )
    except DataError as error:
        raise DataError(
            f"No decoy of kind '{kind}' can be made for layer '{layer}': too few of its "
            f"{real.shape[1]} neurons vary, or not enough, over {len(real)} samples. Leave the "
            "layer out, or pass more samples."
        ) from error
    noise = _scaled(made.y - made.clean, made.clean, share)
    values = made.clean + noise
    source = real[:, made.neurons[0]]
    unit = source.std() / values.std()
    sources = tuple(int(j) for j in made.neurons)
    return _Decoy(source.mean() + unit * (values - values.mean()), unit * noise, kind, sources)


def _scaled(
    noise: Float[np.ndarray, " samples"], clean: Float[np.ndarray, " samples"], share: float
) -> Float[np.ndarray, " samples"]:
    """The noise, scaled so that its spread is this share of that of its sum with `clean`.

    Args:
        noise: Of any spread.
        clean: With variance 1.
        share: In (0, 1).
    """
    # The positive root of t^2 var(noise) = share^2 var(clean + t noise), so that chance
    # correlation on few samples cannot bring a decoy below the share.
    odds = share**2 / (1 - share**2)
    spread, together = noise.var(), np.mean(clean * noise)
    factor = odds * together + np.sqrt((odds * together) ** 2 + odds * spread)
    return np.asarray(noise * factor / spread)
