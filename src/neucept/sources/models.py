"""From a model factory and a weights file to a torch module."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neucept.errors import ModelError
from neucept.sources.factories import call_factory

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the state dict when they save more beside it."""


def load_model(spec: str, weights: Path | str | None = None) -> nn.Module:
    """The user's network, with its weights.

    Args:
        spec: ``"file.py:factory"`` or ``"package.module:factory"``; the factory takes no arguments
            and returns a torch module.
        weights: A state dict saved by ``torch.save(model.state_dict(), path)``, or one wrapped as
            ``{"state_dict": ...}``; None leaves the module as the factory made it.

    Returns:
        The module, in the mode in which the factory left it.

    Raises:
        ModelError: the factory or the weights cannot be used. Pickled objects in a weights file
            are refused: only tensors are ever read from it.
    """
    model = call_factory(spec, "model", ModelError)
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"The model factory '{spec}' returned {_a(model)}, not a torch.nn.Module. "
            "Return the network itself."
        )
    if weights is not None:
        path = Path(weights)
        _load_weights(model, _state_dict(_read(path), path), path, spec)
    return model


def _read(path: Path) -> object:
    if not path.is_file():
        raise ModelError(f"There is no weights file '{path}'. Check its path.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _holds_pickle(path):
            raise ModelError(
                f"The weights file '{path}' holds pickled Python objects, which can run code and "
                "are refused. Where you trust it, load it yourself and save the weights alone: "
                "torch.save(model.state_dict(), path)."
            ) from error
        raise _unreadable(path) from error
    # torch.load raises nearly any type on a file that is not its own.
    except Exception as error:
        raise _unreadable(path) from error


def _holds_pickle(path: Path) -> bool:
    with path.open("rb") as handle:
        first = handle.read(1)
    return first == b"\x80" or zipfile.is_zipfile(path)


def _unreadable(path: Path) -> ModelError:
    return ModelError(
        f"The weights file '{path}' ({path.stat().st_size:,} bytes) is cut short or was not "
        "written by torch.save. Copy it again, or save it anew: "
        "torch.save(model.state_dict(), path)."
    )


def _state_dict(content: object, path: Path) -> dict[str, Any]:
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
    if not isinstance(content, Mapping) or not all(isinstance(k, str) for k in content):
        raise ModelError(
            f"The weights file '{path}' holds {_a(content)}, not a state dict. "
            "Save it with torch.save(model.state_dict(), path)."
        )
    state: dict[str, Any] = dict(content)
    # DataParallel wraps the network and so puts this before every name.
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def _load_weights(model: nn.Module, state: dict[str, Any], path: Path, spec: str) -> None:
    _check_real(model, state, path)
    # The original mapping's metadata is dropped on purpose: without it torch fills in the counters
    # (num_batches_tracked) that older files lack.
    try:
        model.load_state_dict(state, strict=True)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ModelError(
            f"The weights in '{path}' are not those of '{spec}': {_difference(model, state)}. "
            "Name the weights of this network, or the factory of the network they belong to."
        ) from error


def _check_real(model: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Refuse complex numbers for real weights: torch would drop their imaginary part."""
    for name, own in model.state_dict().items():
        if _is_complex(state.get(name)) and not _is_complex(own):
            raise ModelError(
                f"The weights in '{path}' are not those of this network: '{name}' holds complex "
                "numbers, the network's are real. Save its real weights, or name the factory of "
                "the complex network."
            )


def _is_complex(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_complex()


def _difference(model: nn.Module, state: Mapping[str, Any]) -> str:
    own = model.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing = [name for name in own if name not in state and name not in counters]
    unexpected = [name for name in state if name not in own]
    parts = []
    if missing:
        parts.append(f"missing {_some(missing)}")
    if unexpected:
        parts.append(f"unexpected {_some(unexpected)}")
    if not parts:
        parts.extend(
            f"'{name}' has shape {_shape(state[name])}, the network's is {_shape(value)}"
            for name, value in own.items()
            if name in state and _shape(state[name]) != _shape(value)
        )
        del parts[2:]
    return "; ".join(parts) or "they do not load"


def _some(names: Iterable[str], most: int = 3) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(f"'{name}'" for name in listed[:most]) + more


def _shape(value: object) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _a(value: object) -> str:
    return "nothing (None)" if value is None else f"a {type(value).__name__}"
