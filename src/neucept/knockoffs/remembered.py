"""Choices that outlive the process: an audit of a layer takes minutes and is the same each time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np

from neucept.errors import StorageError
from neucept.runtime import digest, read_arrays, write_arrays

Result = TypeVar("Result")

VARIABLE = "NEUCEPT_CACHE"
"""The environment variable that names the folder; empty, nothing is kept on disk."""


def folder() -> Path | None:
    """Where choices are kept: what `VARIABLE` says, else the user's own cache; None for nowhere."""
    named = os.environ.get(VARIABLE)
    try:
        if named is not None:
            return Path(named).expanduser() if named else None
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # nobody of that name, no home
        return None
    return home / "neucept"


def remembered(
    key: str,
    compute: Callable[[], Result],
    encode: Callable[[Result], Mapping[str, np.ndarray]],
    decode: Callable[[dict[str, np.ndarray]], Result],
) -> Result:
    """What was computed under this name before, by the same version of this package; else anew.

    Args:
        key: From `digest`, over everything the result depends on but our own code.
        compute: Makes it.
        encode: Takes it apart into arrays, a few kilobytes.
        decode: Puts it together.

    Returns:
        What `compute` makes. A cache that cannot be read or written is done without.
    """
    place = folder()
    if place is None:
        return compute()
    path = place / f"{digest(key, _code())}.npz"
    # Not there, shut, damaged, or of other content: made anew.
    with suppress(StorageError, OSError, KeyError, TypeError, ValueError):
        return decode(read_arrays(path))
    made = compute()
    with suppress(StorageError, OSError):  # a disk that is shut must not cost the minutes spent
        write_arrays(path, encode(made))
    return made


@cache
def _code() -> str:
    """A name for the code that chooses, which may change without its version, and what it uses."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    used = [version(name) for name in ("neucept", "numpy", "scipy", "scikit-learn", "torch")]
    return digest(used, *(file.read_bytes() for file in files))
