"""Running the user's network without leaving a trace in it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from neucept.activations.batches import Batch, one_line, quoted
from neucept.errors import InputError, ModelError, SettingsError
from neucept.runtime import freed_memory_kept

CPU = torch.device("cpu")


def plain_model(model: nn.Module) -> nn.Module:
    """The module itself, without the wrappers of ``torch.compile`` and data-parallel training.

    Raises:
        ModelError: it is not a Python module, or its weights do not exist yet.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"The model is a {type(model).__name__}. Pass a torch.nn.Module.")
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inner = model.module if isinstance(model, parallel) else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(
            "The model is a TorchScript module, whose layers cannot be recorded. "
            "Pass the Python module that it was made from."
        )
    for name, parameter in model.named_parameters():
        if is_lazy(parameter) or parameter.is_meta:
            raise ModelError(
                f"Parameter '{name}' of the model has no values yet. "
                "Load the weights, or run the model once if it is lazy."
            )
    return model


def resolve_device(device: str | torch.device | None, model: nn.Module) -> torch.device:
    """Where a network will run.

    Args:
        device: A torch device; ``"auto"`` for a GPU if there is one, else the CPU; None for where
            the model is.
        model: The network. ``"auto"`` leaves one that is already on an accelerator where it is.

    Raises:
        SettingsError: the device does not exist on this machine.
    """
    here = next(iter(model.parameters()), next(iter(model.buffers()), torch.empty(0))).device
    if device is None or (device == "auto" and here.type != "cpu"):
        return here
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return check_device(device)


def check_device(device: str | torch.device) -> torch.device:
    """The device of a name, after it was seen to exist; "auto" is taken for the CPU.

    Raises:
        SettingsError: the device does not exist on this machine.
    """
    try:
        # For names that torch gave up it warns before it fails.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            place = torch.device("cpu" if device == "auto" else device)
            torch.empty(0, device=place)
    except (
        RuntimeError,
        AssertionError,
        TypeError,
        ValueError,
        ImportError,
    ) as error:
        # The text of a failed assertion asks to report a bug to torch.
        asserts = "INTERNAL ASSERT" in str(error)
        reason = "torch cannot use it" if asserts else one_line(error)
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise SettingsError(
            f"Device {str(device)!r} does not exist here ({reason}). "
            f"Pass 'auto' or one of {', '.join(there)}."
        ) from error
    if place.type == "meta":
        raise SettingsError("Device 'meta' computes nothing. Pass 'auto', 'cpu' or 'cuda'.")
    return place


@contextmanager
def evaluation_mode(
    model: nn.Module, device: str | torch.device | None = None
) -> Iterator[torch.device]:
    """Put a network into evaluation mode on a device, and leave it as it was found.

    Put back at the end, also after an error: the training flag of every submodule, where weights
    and buffers live and what buffers hold, gradients, grad mode, and the state of the random
    generators of torch, numpy and Python.

    Args:
        model: The network.
        device: As for `resolve_device`.

    Yields:
        The device that inputs must be moved to.

    Raises:
        ModelError: the model cannot be run.
        SettingsError: the device does not exist.
    """
    model = plain_model(model)
    place = resolve_device(device, model)
    homes = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    # One that its owner spread over several devices stays spread.
    spread = device in (None, "auto") and len(homes) > 1
    with freed_memory_kept(), random_state_kept(place), torch.no_grad():
        state = _State(model)
        try:
            state.enter(place, moves=not spread and homes not in (set(), {_indexed(place)}))
            yield place
        finally:
            state.restore()


@dataclass
class _State:
    """What a forward pass, or a move to another device, could change in a network."""

    model: nn.Module
    training: list[tuple[nn.Module, bool]] = field(default_factory=list)
    compiled: list[tuple[nn.Module, object]] = field(default_factory=list)
    parameters: list[tuple[nn.Parameter, Tensor, Tensor | None]] = field(default_factory=list)
    buffers: list[tuple[nn.Module, str, Tensor, Tensor | None]] = field(default_factory=list)

    def enter(self, place: torch.device, moves: bool) -> None:
        for module in self.model.modules():
            self.training.append((module, module.training))
            # Not .eval(): networks override it with side effects of their own.
            module.training = False
            compiled = getattr(module, "_compiled_call_impl", None)
            if compiled is not None:
                # A compiled call would not see the hooks.
                self.compiled.append((module, compiled))
                module._compiled_call_impl = None
            for name, buffer in module.named_buffers(recurse=False):
                self.buffers.append((module, name, buffer, None if moves else buffer.clone()))
        if moves:
            for parameter in self.model.parameters():
                self.parameters.append((parameter, parameter.data, parameter.grad))
                parameter.grad = None
            try:
                self.model.to(place)
            except RuntimeError as error:
                raise ModelError(
                    f"The model cannot be moved to {place}: {one_line(error)}. "
                    "Pass device='cpu', or move it yourself and pass device=None."
                ) from error

    def restore(self) -> None:
        for parameter, data, gradient in self.parameters:
            parameter.data = data
            parameter.grad = gradient
        for module, name, buffer, content in self.buffers:
            module._buffers[name] = buffer
            if content is not None and not torch.equal(buffer, content):
                buffer.copy_(content)
        for module, compiled in self.compiled:
            module._compiled_call_impl = compiled  # type: ignore[assignment]
        for module, flag in self.training:
            module.training = flag


def _indexed(place: torch.device) -> torch.device:
    """The device as tensors name it: 'cuda' is 'cuda:0' there."""
    return torch.empty(0, device=place).device


@contextmanager
def random_state_kept(place: torch.device = CPU) -> Iterator[None]:
    """Put the random generators of torch, numpy and Python back at the end, also after an error.

    Args:
        place: A device whose own generator is put back too.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = [_indexed(place)] if place.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def forward(
    model: nn.Module, batch: Batch, device: torch.device
) -> Float[Tensor, "samples classes"]:
    """Run one batch and check what the network returned. Call it inside `evaluation_mode`.

    Args:
        model: The network.
        batch: The samples. Floating inputs are given the type of the model's weights.
        device: From `evaluation_mode`.

    Returns:
        The outputs, on `device`.

    Raises:
        ModelError: the model raised, or did not return one floating tensor (samples, classes).
    """
    model = plain_model(model)
    inputs = batch.inputs.to(device)
    weights = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    if weights is not None and inputs.is_floating_point():
        inputs = inputs.to(weights)
    try:
        outputs = model(inputs)
    except InputError:
        raise
    # A network that ends the program must not pass for a study that went well.
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"The model failed on {batch.name}, {_type(inputs)} of shape {tuple(inputs.shape)}: "
            f"{quoted(error)}. {_advice(error)}"
        ) from error
    return _checked(outputs, len(batch))


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _advice(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "Take the exit out of its forward pass."
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return "Pass a smaller batch_size."
    return "Pass inputs as the network was trained on: shape, type, device."


def _checked(outputs: object, samples: int) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise ModelError(
            f"The model returned {_describe(outputs)}. neucept needs the class scores alone: wrap "
            f"it in a module whose forward returns {_choice(outputs, samples)}."
        )
    shape = tuple(outputs.shape)
    fits = outputs.ndim == 2 and shape[0] == samples and shape[1] > 0
    if not fits or not outputs.is_floating_point():
        raise ModelError(
            f"The model returned {_type(outputs)} of shape {shape} for {samples} samples. "
            "It must return floating class scores of shape (samples, classes)."
        )
    return outputs


def _entries(outputs: object) -> list[tuple[str, object]]:
    """The parts of what a network returned, each with how to reach it."""
    if isinstance(outputs, dict):
        return [(f"[{key!r}]", value) for key, value in outputs.items()]
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return [(f".{key}", getattr(outputs, key)) for key in outputs._fields]
    if isinstance(outputs, list | tuple):
        return [(f"[{i}]", value) for i, value in enumerate(outputs)]
    return (
        [(f".{key}", value) for key, value in vars(outputs).items()] if _has_fields(outputs) else []
    )


def _has_fields(outputs: object) -> bool:
    return hasattr(outputs, "__dict__") and not isinstance(outputs, type)


def _describe(outputs: object) -> str:
    parts = [
        f"{key} {tuple(value.shape)}"
        if isinstance(value, Tensor)
        else f"{key} {type(value).__name__}"
        for key, value in _entries(outputs)
    ]
    listed = f" with {', '.join(parts[:8])}" if parts else ""
    return f"a {type(outputs).__name__}{listed}"


def _choice(outputs: object, samples: int) -> str:
    scores = [
        key
        for key, value in _entries(outputs)
        if isinstance(value, Tensor)
        and value.ndim == 2
        and value.shape[0] == samples
        and value.is_floating_point()
    ]
    named = [key for key in scores if "logit" in key.lower()]
    return f"output{(named or scores)[0]}" if scores else "one floating tensor (samples, classes)"
