"""Which layers a network runs, in which order, and which of them have neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor, nn

from neucept.activations.batches import Batch, Batches
from neucept.activations.neurons import CONVOLUTION, LINEAR, Kind, Layout, kind_of
from neucept.activations.running import evaluation_mode, forward, plain_model
from neucept.errors import ModelError, SettingsError, near_names


@dataclass
class Call:
    """What one module did in a forward pass."""

    name: str
    kind: Kind
    layout: Layout | None = None
    problem: str = ""
    times: int = 0
    gives_the_output: bool = False


@dataclass
class _Watch:
    """Follows every module through one forward pass."""

    samples: int
    calls: dict[str, Call] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    axis_by_rank: dict[int, int] = field(default_factory=dict)

    def follow(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, _inputs: object, output: object) -> None:
            call = self.calls.setdefault(name, Call(name, kind_of(module)))
            call.times += 1
            call.problem = output_problem(output, self.samples)
            if isinstance(output, Tensor) and not call.problem:
                call.layout = Layout(tuple(output.shape[1:]), self._axis(call.kind, module, output))
                if output.ndim == 2:
                    self.outputs[name] = output

        return hook

    def _axis(self, kind: Kind, module: nn.Module, output: Tensor) -> int:
        shape = tuple(output.shape)
        if len(shape) == 2:
            return 1
        axis = kind.neuron_axis(module, shape)
        if axis is None:
            return self.axis_by_rank.get(len(shape), 2 if len(shape) == 3 else 1)
        self.axis_by_rank[len(shape)] = axis
        return axis


def output_problem(output: object, samples: int) -> str:
    """Why a module's output has no neurons; empty when it has.

    Args:
        output: What the module returned.
        samples: How many samples went into the network.
    """
    if not isinstance(output, Tensor):
        return f"returns a {type(output).__name__}, not one tensor"
    if not output.is_floating_point():
        return f"returns whole numbers ({str(output.dtype).removeprefix('torch.')})"
    shape = tuple(output.shape)
    if output.ndim < 2:
        return f"returns a tensor of shape {shape}, which has no dimension of neurons"
    if output.shape[0] != samples:
        return f"returns a tensor of shape {shape} for {samples} samples, not one row per sample"
    return ""


def trace(model: nn.Module, batch: Batch, device: torch.device) -> dict[str, Call]:
    """Run one batch and tell what each module did, by name, in order of execution.

    A module counts when it ends, so a container comes after what it contains. Call it inside
    `evaluation_mode`.

    Args:
        model: The network.
        batch: Samples to run; one or two are enough.
        device: From `evaluation_mode`.

    Raises:
        ModelError: the model fails on the batch.
    """
    model = plain_model(model)
    watch = _Watch(len(batch))
    handles = []
    try:
        for name, module in model.named_modules():
            if name and not isinstance(module, torch.jit.ScriptModule):
                handles.append(module.register_forward_hook(watch.follow(name)))
        outputs = forward(model, batch, device)
    finally:
        for handle in handles:
            handle.remove()
    for name, output in watch.outputs.items():
        watch.calls[name].gives_the_output = output is outputs
    return watch.calls


def choose_layers(
    model: nn.Module, calls: dict[str, Call], layers: Sequence[str] | None
) -> dict[str, Call]:
    """The calls to record, in order of execution.

    Args:
        model: The network.
        calls: From `trace`.
        layers: Names from `named_modules()`; None for every module of a kind that is recorded by
            default, but for those called more than once and the one that gives the model's output.

    Raises:
        ModelError: a layer is unknown, did not run, ran more than once, or its output has no
            neurons; or nothing is left.
        SettingsError: `layers` is not a sequence of names, is empty, or names a layer twice.
    """
    if layers is None:
        chosen = {
            name: call
            for name, call in calls.items()
            if call.kind.by_default
            and call.layout is not None
            and call.times == 1
            and not call.gives_the_output
        }
        if not chosen:
            raise ModelError(
                "The model has no linear, convolutional, normalisation or activation layer "
                f"besides the one that gives its output. Name layers. {near_names('', calls)}"
            )
        return chosen
    asked = _layer_names(layers)
    # A module that has two names is traced under the first one.
    known = {id(module): name for name, module in model.named_modules()}
    aliases = {n: known[id(m)] for n, m in model.named_modules(remove_duplicate=False) if n}
    wanted: dict[str, str] = {}
    for name in asked:
        traced = aliases.get(name, name)
        _check_call(name, traced in aliases, calls.get(traced), calls)
        if traced in wanted:
            raise SettingsError(
                f"Layers '{wanted[traced]}' and '{name}' are the same module. Name it once."
            )
        wanted[traced] = name
    return {wanted[traced]: call for traced, call in calls.items() if traced in wanted}


def _layer_names(layers: Sequence[str]) -> tuple[str, ...]:
    if isinstance(layers, str) or not all(isinstance(name, str) for name in layers):
        raise SettingsError(f"layers is {layers!r}. Pass a list of names, such as ['layer1'].")
    if not layers:
        raise SettingsError("layers is empty. Name at least one layer, or pass None for all.")
    return tuple(layers)


def _check_call(name: str, exists: bool, call: Call | None, calls: dict[str, Call]) -> None:
    if not exists:
        usable = [n for n, c in calls.items() if c.layout is not None]
        raise ModelError(f"Layer '{name}' is not in the model. {near_names(name, usable)}")
    if call is None:
        raise ModelError(
            f"Layer '{name}' does not run in the forward pass, so nothing can be recorded. "
            "Choose the module that contains it, or another one."
        )
    if call.times > 1:
        raise ModelError(
            f"Layer '{name}' runs {call.times} times in one forward pass, so its neurons are not "
            "defined. Choose the module around each call, or give each call a module of its own."
        )
    if call.problem:
        raise ModelError(
            f"Layer '{name}' {call.problem}. Choose another layer, or the one inside it."
        )


def weighted_layers(model: nn.Module, example: object) -> tuple[str, ...]:
    """The layers that `capture` records by default and that have weights to combine neurons with.

    A chain of layers through every normalisation and activation would ask each the same question
    again; linear and convolutional layers are where new neurons are made.

    Args:
        model: The network; left as it was found.
        example: As for `list_layers`.

    Returns:
        Names, in order of execution; all default layers where none is linear or convolutional.

    Raises:
        ModelError: the model fails on the example or has no layer to study.
        DataError: the example has no samples.
    """
    with evaluation_mode(model) as device:
        chosen = choose_layers(model, trace(model, _first(example), device), None)
    weighted = [
        n for n, call in chosen.items() if call.kind.name in (LINEAR.name, CONVOLUTION.name)
    ]
    return tuple(weighted or chosen)


def list_layers(model: nn.Module, example: object) -> pd.DataFrame:
    """The layers of a network that can be studied, in order of execution.

    Left out are modules that do not run, run more than once, or do not return one tensor with a
    row per sample.

    Args:
        model: The network; left as it was found.
        example: One batch of inputs: a tensor, or a tuple whose first entry is one. A dataset or
            loader works too (its first samples are used).

    Returns:
        One row per layer: `name`; `kind`; `shape`, the output of one sample; `neurons`, their
        number after pooling.

    Raises:
        ModelError: the model fails on the example or has no layer to study.
        DataError: the example has no samples.
    """
    with evaluation_mode(model) as device:
        calls = trace(model, _first(example), device)
    rows = [
        (call.name, call.kind.name, call.layout.shape, call.layout.neurons)
        for call in calls.values()
        if call.layout is not None and call.times == 1
    ]
    if not rows:
        raise ModelError(
            "The model has no submodule that returns one tensor with a row per sample."
        )
    return pd.DataFrame(rows, columns=["name", "kind", "shape", "neurons"])


def _first(example: object) -> Batch:
    """A few samples. Read inside `evaluation_mode`: reading may draw random numbers."""
    return next(iter(Batches(example, batch_size=2))).head(2)
