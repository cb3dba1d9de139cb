"""Compiled kernels, kept on disk where there is a place for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a kernel for numba, without the lock of the interpreter.

    Args:
        function: What to compile, when it is first called.

    Returns:
        The kernel. Where neither the installation nor the home can be written, as in a container,
        each process compiles it anew.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)
