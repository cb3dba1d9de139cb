"""What a study is of: digests of the network and of the inputs, and the layers to record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.activations import Activations, Batches, evaluation_mode, forward, weighted_layers
from neucept.errors import StudyError
from neucept.runtime import digest
from neucept.study.settings import StudySettings

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory; another process has it elsewhere."""

REPLAYED = 8
"""Samples whose outputs are computed again when a study is resumed."""


def identity_of(model: nn.Module, batches: Batches, target: int) -> dict[str, str]:
    """What the study folder must have been made for.

    Args:
        model: The network; its structure and every tensor of its state count.
        batches: The samples; their content, labels and ids count.
        target: The class.

    Returns:
        Digests by the word that an error uses for them.
    """
    state = [
        (name, digest(_array(value)))
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)
    ]
    seen = [digest(*_parts(b.inputs), _parts(b.labels), list(b.ids)) for b in batches]
    return {
        "network": digest(_ADDRESS.sub("", str(model)), state),
        "set of samples": digest(seen),
        "class": str(target),
    }


def _parts(value: object) -> list[str]:
    if isinstance(value, Tensor):
        return [digest(_array(value))]
    if isinstance(value, np.ndarray):
        return [digest(value)]
    if isinstance(value, Mapping):
        return [part for key in sorted(value) for part in (str(key), *_parts(value[key]))]
    if isinstance(value, list | tuple):
        return [part for item in value for part in _parts(item)]
    return [digest(_ADDRESS.sub("", repr(value)))]


def _array(value: Tensor) -> np.ndarray:
    flat = value.detach().cpu().contiguous()
    # numpy has no bfloat16; its bytes are what counts.
    return flat.view(torch.uint8).numpy() if flat.dtype == torch.bfloat16 else flat.numpy()


def layers_to_capture(model: nn.Module, data: Any, settings: StudySettings) -> tuple[str, ...]:
    """The layers a study records: those named, or every linear and convolutional one."""
    return settings.layers if settings.layers is not None else weighted_layers(model, data)


def check_same_outputs(model: nn.Module, batches: Batches, acts: Activations, device: str) -> None:
    """Compute the first outputs again: the code of a forward pass has no digest.

    Raises:
        StudyError: they differ from those recorded.
    """
    first = next(iter(batches.take(np.arange(min(REPLAYED, acts.n_samples)))))
    with evaluation_mode(model, device) as place:
        again = forward(model, first, place).float().cpu().numpy()
    known = acts.outputs[: len(again)]
    scale = float(np.abs(known).max()) + 1.0
    if again.shape != known.shape or float(np.abs(again - known).max()) > 1e-2 * scale:
        raise StudyError(
            f"The network's outputs differ from those recorded in '{acts.path}', though its "
            "weights are the same: its code has changed. Choose another folder with 'to', or "
            "remove this one."
        )
