"""What a neuron is, per kind of layer.

To add a kind of layer: write a `Kind`, add it to `KINDS`. To add a pooling: write a function of
(samples, neurons, *space), add it to `POOLS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neucept.errors import ModelError, SettingsError, near_names

Shape = tuple[int, ...]
Pool = str | Callable[[Tensor], Tensor]
"""``"mean"``, ``"max"``, ``"none"``, or a function
(samples, neurons, positions) -> (samples, neurons)."""


@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    Args:
        name: The word that tables show.
        modules: The torch classes that are of this kind.
        neuron_axis: From a module and the shape of its output (samples first) to the dimension that
            holds the neurons; None when the values keep the arrangement of the layer before.
        by_default: Whether such layers are recorded when the user names none. False for kinds
            that repeat the layer before them once pooled.
    """

    name: str
    modules: tuple[type[nn.Module], ...]
    neuron_axis: Callable[[nn.Module, Shape], int | None]
    by_default: bool = True


def _channels_first(_module: nn.Module, _shape: Shape) -> int | None:
    return 1


def _features_last(_module: nn.Module, shape: Shape) -> int | None:
    return len(shape) - 1


def _as_before(_module: nn.Module, _shape: Shape) -> int | None:
    return None


def _normalised_axis(module: nn.Module, shape: Shape) -> int | None:
    # Layer and RMS norm over one dimension act on features, over several on (channels, *space).
    # Networks that keep channels first derive from them and permute inside.
    normalised = tuple(getattr(module, "normalized_shape", ()))
    one_feature_axis = len(normalised) == 1 and shape[-1] == normalised[0]
    return len(shape) - 1 if one_feature_axis else 1


LINEAR = Kind("linear", (nn.Linear, nn.Bilinear), _features_last)
CONVOLUTION = Kind(
    "convolution",
    (
        *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
        *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    ),
    _channels_first,
)
NORMALISATION = Kind(
    "normalisation",
    (
        *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm),
        *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.LocalResponseNorm),
    ),
    _channels_first,
)
FEATURE_NORMALISATION = Kind("normalisation", (nn.LayerNorm, nn.RMSNorm), _normalised_axis)
ACTIVATION = Kind(
    "activation",
    (
        *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU),
        *(nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh),
        *(nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Softsign, nn.Softmax, nn.LogSoftmax),
        *(nn.Threshold, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.GLU),
    ),
    _as_before,
)
POOLING = Kind(
    "pooling",
    (
        *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.LPPool1d),
        *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.LPPool2d),
    ),
    _channels_first,
    by_default=False,
)
RESHAPING = Kind("reshaping", (nn.Flatten, nn.Unflatten, nn.Identity), _as_before, by_default=False)
DROPOUT = Kind(
    "dropout",
    (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    _as_before,
    by_default=False,
)
CONTAINER = Kind("container", (), _as_before, by_default=False)
OTHER = Kind("other", (), _as_before, by_default=False)

KINDS: tuple[Kind, ...] = (
    LINEAR,
    CONVOLUTION,
    NORMALISATION,
    FEATURE_NORMALISATION,
    ACTIVATION,
    POOLING,
    RESHAPING,
    DROPOUT,
)


def kind_of(module: nn.Module) -> Kind:
    """The first kind in `KINDS` that the module is of, else `CONTAINER` or `OTHER`."""
    for kind in KINDS:
        if isinstance(module, kind.modules):
            return kind
    return OTHER if next(module.children(), None) is None else CONTAINER


@dataclass(frozen=True)
class Layout:
    """Where the neurons are in a layer's output.

    Args:
        shape: Shape of the output of one sample.
        axis: The dimension of the output (samples are dimension 0) that holds the neurons.
        pooled: Whether the other dimensions are pooled over; otherwise every scalar is a neuron.
    """

    shape: Shape
    axis: int = 1
    pooled: bool = True

    @property
    def neurons(self) -> int:
        """How many neurons a sample has."""
        return self.shape[self.axis - 1] if self.pooled else math.prod(self.shape)

    @property
    def space(self) -> Shape:
        """The dimensions that each neuron is pooled over; empty when a neuron is one scalar."""
        return self.shape[: self.axis - 1] + self.shape[self.axis :] if self.pooled else ()

    def maps(self, output: Float[Tensor, "samples ..."]) -> Float[Tensor, "samples neurons ..."]:
        """The output with its neurons in dimension 1; a view where the memory allows."""
        return output.movedim(self.axis, 1) if self.pooled else output.flatten(1)


def _mean(maps: Tensor) -> Tensor:
    return maps.mean(
        tuple(range(2, maps.ndim)), dtype=torch.promote_types(maps.dtype, torch.float32)
    )


def _largest(maps: Tensor) -> Tensor:
    return maps.amax(tuple(range(2, maps.ndim)))


POOLS: dict[str, Callable[[Tensor], Tensor]] = {"mean": _mean, "max": _largest}


def pool_name(pool: Pool) -> str:
    """The word under which a pooling is stored.

    Raises:
        SettingsError: `pool` is neither a function nor one of the known words.
    """
    if callable(pool):
        module = getattr(pool, "__module__", type(pool).__module__)
        return f"{module}.{getattr(pool, '__qualname__', type(pool).__qualname__)}"
    known = (*POOLS, "none")
    if not isinstance(pool, str) or pool not in known:
        raise SettingsError(
            f"pool is {pool!r}. {near_names(str(pool), known)} A function (samples, neurons, "
            "positions) -> (samples, neurons) works too."
        )
    return pool


def neuron_values(
    output: Float[Tensor, "samples ..."], layout: Layout, pool: Pool
) -> Float[Tensor, "samples neurons"]:
    """One scalar per sample and neuron; never shares memory with `output`.

    Args:
        output: What the layer returned.
        layout: Where its neurons are.
        pool: How each neuron's map becomes a scalar.

    Returns:
        The values, on the device of `output`, in its type or float32 if that is wider.

    Raises:
        ModelError: a pooling function returned another shape than (samples, neurons).
    """
    maps = layout.maps(output)
    if maps.ndim == 2:
        # A clone, since the network may go on to change its own tensor in place.
        return maps.to(torch.promote_types(maps.dtype, torch.float32), copy=True)
    if not callable(pool):
        return POOLS[pool](maps)
    values = pool(maps.flatten(2))
    wanted = tuple(maps.shape[:2])
    if not isinstance(values, Tensor) or tuple(values.shape) != wanted:
        came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ModelError(
            f"The pooling function '{pool_name(pool)}' returned {came} for maps of shape "
            f"{tuple(maps.flatten(2).shape)}. It must return (samples, neurons), here {wanted}."
        )
    return values.clone()
