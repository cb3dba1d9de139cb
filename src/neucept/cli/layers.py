"""``neucept layers``: what can be studied in a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neucept.cli.screen import cells, console, table
from neucept.errors import SettingsError


def layers(
    model: str,
    /,
    *,
    weights: Path | None = None,
    example: str | None = None,
    data: str | None = None,
) -> None:
    """List the layers of a network that can be studied, in order of execution.

    Args:
        model: The network's factory, 'file.py:function' or 'package.module:function'.
        weights: Its weights, as torch.save(model.state_dict(), path) writes them.
        example: Shape of one batch of inputs, such as 1,3,32,32.
        data: A data factory, 'file.py:function'; its first sample is used in place of --example.
    """
    shape = None if example is None else _shape(example)
    if (shape is None) == (data is None):
        raise SettingsError(
            "To see its layers the network must run once. Pass either --example with the shape of "
            "a batch (such as 1,3,32,32) or --data with a data factory."
        )
    import torch

    from neucept.activations import list_layers
    from neucept.sources import load_model

    network = load_model(model, weights)
    batch = torch.zeros(shape) if shape is not None else _first(str(data))
    listed = list_layers(network, batch)
    shown = table(("layer", "kind", "shape", "neurons"), ("neurons",))
    for row in listed.itertuples():
        shown.add_row(*cells(row.name, row.kind, _times(row.shape), row.neurons))
    console().print(shown)


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.strip("()[] ").split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise SettingsError(
            f"--example is '{text}'. Pass the shape of a batch as whole numbers: 1,3,32,32."
        )
    return shape


def _first(spec: str) -> Any:
    from neucept.activations import Batches
    from neucept.sources import load_data

    return next(iter(Batches(load_data(spec), 1))).inputs


def _times(shape: object) -> str:
    return " x ".join(str(n) for n in shape) if isinstance(shape, tuple | list) else str(shape)
