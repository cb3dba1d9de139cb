"""What a study is of: digests of the network and of the inputs, and the layers to record."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neucept.activations import (
    Activations,
    Batch,
    Batches,
    Target,
    evaluation_mode,
    forward,
    weighted_layers,
)
from neucept.errors import DataError, ModelError, StudyError
from neucept.runtime import digest
from neucept.study.settings import StudySettings

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory; another process has it elsewhere."""

REPLAYED = 8
"""Samples whose outputs are computed twice, and again when a study is resumed."""

TOLERANCE = 1e-2
"""Outputs that differ by more, in units of the largest plus one, come from other computations."""


def identity_of(model: nn.Module, batches: Batches, target: Target) -> dict[str, str]:
    """What the study folder must have been made for.

    Args:
        model: The network; its structure and every tensor of its state count.
        batches: The samples; their content, labels and ids count.
        target: The class, or the two of a contrast.

    Returns:
        Digests by the word that an error uses for them.
    """
    seen = _Content()
    for batch in batches:
        seen.add(batch)
    return {
        "network": network_digest(model),
        "set of samples": seen.name(),
        "class": " rather than ".join(map(str, target))
        if isinstance(target, tuple)
        else str(target),
    }


def network_digest(model: nn.Module) -> str:
    """A name for a network: for its structure and every tensor of its state."""
    state = [
        (name, digest(_array(value)))
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)
    ]
    return digest(_ADDRESS.sub("", str(model)), state)


class _Content:
    """A digest of samples that does not depend on how they were cut into batches."""

    def __init__(self) -> None:
        self._inputs, self._labels, self._ids = (hashlib.blake2b(digest_size=16) for _ in range(3))
        self._kind = ""
        self._samples = 0
        self._labelled = False

    def add(self, batch: Batch) -> None:
        """Take in the samples that come next."""
        kind = f"{batch.inputs.dtype} {tuple(batch.inputs.shape[1:])}"
        if kind != self._kind:
            self._kind = kind
            self._inputs.update(f"from {self._samples}: {kind}".encode())
        self._inputs.update(_bytes(batch.inputs))
        if batch.labels is not None:
            self._labelled = True
            self._labels.update(batch.labels.tobytes())
        ids = "".join(f"{len(name)} {name}" for name in batch.ids)
        # File names may hold bytes that are no text.
        self._ids.update(ids.encode(errors="surrogatepass"))
        self._samples += len(batch)

    def name(self) -> str:
        """The digest of what was taken in."""
        parts = (part.hexdigest() for part in (self._inputs, self._labels, self._ids))
        return digest(self._samples, self._labelled, *parts)


def _bytes(value: Tensor) -> memoryview:
    return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _array(value: Tensor) -> np.ndarray:
    flat = value.detach().cpu().contiguous()
    # numpy has no bfloat16; its bytes are what counts.
    return flat.view(torch.uint8).numpy() if flat.dtype == torch.bfloat16 else flat.numpy()


def layers_to_capture(model: nn.Module, data: Any, settings: StudySettings) -> tuple[str, ...]:
    """The layers a study records: those named, or every linear and convolutional one."""
    return settings.layers if settings.layers is not None else weighted_layers(model, data)


def check_repeatable(model: nn.Module, batches: Batches, device: str) -> None:
    """Read the first samples twice and run the network on them twice.

    A study reads its data in every stage and compares what the network says before and after a
    cut, which means nothing where chance has a part in it.

    Args:
        model: The network.
        batches: The samples.
        device: As for `evaluation_mode`.

    Raises:
        DataError: the data gives other values each time it is read.
        ModelError: the network gives other outputs each time it is run.
    """
    with evaluation_mode(model, device) as place:
        first, again = (next(iter(batches)) for _ in range(2))
        if _content_of(first) != _content_of(again):
            raise DataError(
                f"The data gives other values each time it is read, as {first.name} did. Switch "
                "the randomness off (augmentation, noise, sampling): a study reads the data again "
                "for every stage."
            )
        few = first.head(REPLAYED)
        outputs = [forward(model, few, place).float().cpu().numpy() for _ in range(2)]
    if _differ(*outputs):
        raise ModelError(
            "The model gives other outputs each time it is run on the same samples, also in "
            "evaluation mode. Switch the randomness off (dropout, noise, sampling): a study "
            "compares outputs before and after a cut."
        )


def _content_of(batch: Batch) -> str:
    content = _Content()
    content.add(batch)
    return content.name()


def _differ(outputs: np.ndarray, known: np.ndarray) -> bool:
    if outputs.shape != known.shape:
        return True
    scale = float(np.abs(known).max()) + 1.0
    # Infinite outputs are refused later, by name.
    with np.errstate(invalid="ignore"):
        return bool((np.abs(outputs - known) > TOLERANCE * scale).any())


def check_same_outputs(model: nn.Module, batches: Batches, acts: Activations, device: str) -> None:
    """Compute the first outputs of a recalled store again: the code of a network has no digest.

    Raises:
        StudyError: they differ from those recorded.
    """
    first = next(iter(batches.take(np.arange(min(REPLAYED, acts.n_samples)))))
    with evaluation_mode(model, device) as place:
        again = forward(model, first, place).float().cpu().numpy()
    if _differ(again, acts.outputs[: len(again)]):
        raise StudyError(
            f"The network's outputs differ from those recorded in '{acts.path}', though its "
            "weights are the same: its code has changed. Choose another folder with 'to', or "
            "remove this one."
        )
