"""Choices that outlive the process: an audit of a layer takes minutes and is the same each time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from neucept.errors import StorageError
from neucept.runtime import digest, read_arrays, write_arrays

VARIABLE = "NEUCEPT_CACHE"
"""The environment variable that names the folder; empty, nothing is kept on disk."""


def folder() -> Path | None:
    """Where choices are kept: what `VARIABLE` says, else the user's own cache; None for nowhere."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named).expanduser() if named else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "neucept"


def remembered(key: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What was computed under this name before, by the same version of this package; else anew.

    Args:
        key: From `digest`, over everything the result depends on but our own code.
        compute: Makes the arrays, a few kilobytes.

    Returns:
        The arrays, by name. A cache that cannot be read or written is done without.
    """
    place = folder()
    if place is None:
        return dict(compute())
    path = place / f"{digest(key, _code())}.npz"
    if path.exists():
        with suppress(StorageError):  # damaged: made anew, and written over
            return read_arrays(path)
    arrays = dict(compute())
    with suppress(StorageError):  # a disk that cannot be written must not cost the minutes spent
        write_arrays(path, arrays)
    return arrays


@cache
def _code() -> str:
    """A name for the code that chooses, which may change without its version."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return digest(version("neucept"), *(file.read_bytes() for file in files))
