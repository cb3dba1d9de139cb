"""Running a network with some neurons of a layer set to other values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neucept.activations.batches import Batch
from neucept.activations.neurons import Layout, Pool, neuron_values
from neucept.activations.running import forward, plain_model
from neucept.errors import DataError, ModelError, SettingsError, near_names

MOST_BYTES = 256 * 2**20
"""How much memory a bank of maps may take."""

LARGEST_SCALING = 2.0
"""A map is scaled by at most this factor (or its inverse); beyond, a constant is added."""

Edit = Callable[[Tensor], Tensor]


@contextmanager
def replaced(model: nn.Module, layer: str, edit: Edit) -> Iterator[None]:
    """While the context lasts, a layer hands on ``edit(its output)``.

    Args:
        model: The network.
        layer: Name of a layer that runs once per forward pass.
        edit: Given the layer's output, returns a tensor of the same shape. It must not change the
            one it is given.

    Raises:
        ModelError: the layer is unknown or runs more than once, its output is not a tensor, or
            `edit` returned another shape.
    """
    model = plain_model(model)
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    if layer not in names:
        raise ModelError(f"Layer '{layer}' is not in the model. {near_names(layer, names)}")
    calls = 0

    def begin(_module: nn.Module, _inputs: object) -> None:
        nonlocal calls
        calls = 0

    def hook(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 1 or not isinstance(output, Tensor):
            problem = (
                "runs more than once in one forward pass"
                if calls > 1
                else f"returns a {type(output).__name__}, not one tensor"
            )
            raise ModelError(f"Layer '{layer}' {problem}. Choose another layer.")
        edited = edit(output)
        if edited.shape != output.shape:
            raise ModelError(
                f"The edit of layer '{layer}' returned shape {tuple(edited.shape)} for "
                f"{tuple(output.shape)}. It must keep the shape."
            )
        return edited

    # First in the list, so that the count starts before hooks of the user's own.
    handles = [
        model.register_forward_pre_hook(begin, prepend=True),
        model.get_submodule(layer).register_forward_hook(hook),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def set_neurons(
    output: Float[Tensor, "samples ..."],
    neurons: Int[np.ndarray, " set"],
    values: Float[Tensor, "#samples set"] | None = None,
    maps: Float[Tensor, "#samples set ..."] | None = None,
    *,
    layout: Layout | None = None,
) -> Float[Tensor, "samples ..."]:
    """A copy of a layer's output in which some neurons have other values.

    Args:
        output: What the layer returned.
        neurons: Which neurons to set.
        values: One scalar per sample (or one for all samples) and neuron; fills the whole map of a
            pooled neuron.
        maps: A whole map per sample (or one for all samples) and neuron, space as in
            ``layout.space``; instead of `values`.
        layout: From ``Activations.layouts``; by default neurons are dimension 1 and pooled.

    Raises:
        SettingsError: neither or both of `values` and `maps` are given.
    """
    if (values is None) == (maps is None):
        raise SettingsError("set_neurons got both values and maps, or neither. Pass one of them.")
    layout = layout or Layout(tuple(output.shape[1:]))
    # Contiguous, so that `maps` gives a view to write through.
    edited = output.clone(memory_format=torch.contiguous_format)
    target = layout.maps(edited)
    new = values if maps is None else maps
    if new is None:
        return edited
    new = new.to(output.device, output.dtype)
    if maps is None:
        new = new.reshape(*new.shape, *(1 for _ in range(target.ndim - 2)))
    target[:, torch.from_numpy(np.asarray(neurons)).to(output.device)] = new.expand(
        len(output), -1, *target.shape[2:]
    )
    return edited


class MapBank:
    """Whole maps of a layer from reference samples, to set a pooled neuron to a value.

    A value is given the map of the reference sample whose pooled value is nearest, scaled so that
    it pools to that value; so the network sees maps as it knows them.
    """

    def __init__(
        self,
        maps: Float[Tensor, "references neurons ..."],
        pooled: Float[Tensor, "references neurons"],
    ) -> None:
        """Sort the references by pooled value, neuron by neuron; `record` makes both arguments."""
        self._maps = maps
        self._sorted, self._order = pooled.T.contiguous().sort(dim=1)

    @classmethod
    def record(
        cls,
        model: nn.Module,
        layer: str,
        batches: Iterable[Batch],
        *,
        layout: Layout,
        device: torch.device,
        pool: Pool = "mean",
        most_bytes: int = MOST_BYTES,
    ) -> MapBank:
        """Record reference samples until the batches end or the memory is full.

        Call it inside `evaluation_mode`.

        Args:
            model: The network.
            layer: The layer.
            batches: Reference samples, in the order in which they are taken.
            layout: From ``Activations.layouts``.
            device: From `evaluation_mode`; the bank stays there.
            pool: How the activations were pooled.
            most_bytes: Memory for the maps; at least one sample is kept.

        Raises:
            ModelError: the layer cannot be read.
            DataError: there is no reference sample.
        """
        per_sample = 4 * math.prod(layout.shape)
        room = max(1, most_bytes // per_sample)
        maps: list[Tensor] = []
        pooled: list[Tensor] = []

        def keep(output: Tensor) -> Tensor:
            maps.append(layout.maps(output).to(torch.float32, copy=True))
            pooled.append(neuron_values(output, layout, pool))
            return output

        with replaced(model, layer, keep):
            for batch in batches:
                forward(model, batch.head(room), device)
                room -= len(maps[-1])
                if room <= 0:
                    break
        if not maps:
            raise DataError("There are no reference samples to take maps from. Pass at least one.")
        return cls(torch.cat(maps), torch.cat(pooled).to(torch.float32))

    @property
    def n_references(self) -> int:
        """How many reference samples the bank holds."""
        return len(self._maps)

    def mean(self, neurons: Int[np.ndarray, " set"]) -> Float[Tensor, "1 set ..."]:
        """The mean map of some neurons over the references.

        Args:
            neurons: Which neurons.
        """
        index = torch.from_numpy(np.asarray(neurons)).to(self._maps.device)
        return self._maps[:, index].mean(dim=0, keepdim=True)

    def of(
        self, neurons: Int[np.ndarray, " set"], references: Int[np.ndarray, " samples"]
    ) -> Float[Tensor, "samples set ..."]:
        """The maps of some neurons, all taken from one reference sample at a time.

        Args:
            neurons: Which neurons.
            references: Whose maps, in the order of recording; one may come several times.
        """
        index = torch.from_numpy(np.asarray(neurons)).to(self._maps.device)
        return self._maps[torch.from_numpy(np.asarray(references)).to(index.device)[:, None], index]

    def maps(
        self,
        neurons: Int[np.ndarray, " set"],
        values: Float[Tensor, "samples set"],
    ) -> Float[Tensor, "samples set ..."]:
        """Maps that pool to given values; values beyond the references count as the outermost.

        Args:
            neurons: Which neurons.
            values: What each should pool to.
        """
        index = torch.from_numpy(np.asarray(neurons)).to(self._maps.device)
        known = self._sorted[index]
        wanted = values.to(known.device, torch.float32).T.contiguous()
        wanted = torch.minimum(torch.maximum(wanted, known[:, :1]), known[:, -1:])
        above = torch.searchsorted(known, wanted).clamp_(max=known.shape[1] - 1)
        below = (above - 1).clamp_(min=0)
        higher, lower = known.gather(1, above), known.gather(1, below)
        nearest = torch.where(higher - wanted < wanted - lower, above, below)
        found = known.gather(1, nearest)
        references = self._order[index].gather(1, nearest)
        maps = self._maps[references.T, index]
        return _pooling_to(maps, found.T, wanted.T)


def _pooling_to(maps: Tensor, found: Tensor, wanted: Tensor) -> Tensor:
    """The maps, scaled from their pooled values `found` to `wanted`; shifted where that is far."""
    shape = (*found.shape, *(1 for _ in range(maps.ndim - 2)))
    ratio = torch.where(found == 0, torch.zeros_like(found), wanted / found)
    scales = (ratio <= LARGEST_SCALING) & (ratio >= 1.0 / LARGEST_SCALING)
    factor = torch.where(scales, ratio, torch.ones_like(ratio))
    offset = torch.where(scales, torch.zeros_like(ratio), wanted - found)
    return maps * factor.reshape(shape) + offset.reshape(shape)
