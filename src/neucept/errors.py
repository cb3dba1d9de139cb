"""Every error that neucept raises on purpose.

::

    NeuceptError
    └── InputError           something the user gave is wrong: one line, exit code 2
        ├── SettingsError    a setting: unknown key, value out of range
        ├── ModelError       the network, its weights, its layers, its outputs
        ├── DataError        samples, labels, activations
        ├── StudyError       the study folder: another network, newer, incomplete
        └── StorageError     a file or folder that cannot be read or written

A text says what failed, the value that came, and what to do. Anything else that
escapes is a bug in neucept.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeuceptError(Exception):
    """Root of every error raised on purpose."""


class InputError(NeuceptError):
    """Something the user gave is wrong; the text fits on one line."""


class SettingsError(InputError):
    """A setting has an unknown name or a value outside its range."""


class ModelError(InputError):
    """The network, its weights, one of its layers or its output cannot be used."""


class DataError(InputError):
    """The samples, labels or activations cannot be used."""


class StudyError(InputError):
    """The study folder belongs to something else, is newer, or is incomplete."""


class StorageError(InputError):
    """A file or folder cannot be read or written."""


def near_names(name: str, known: Iterable[str], most: int = 8) -> str:
    """Advice for a name that is not among the known ones.

    Args:
        name: What the user wrote.
        known: The names that would have worked, in a sensible order.
        most: How many to list when none is close.

    Returns:
        ``"Did you mean 'fc1'?"`` when one is close, else ``"Known: a, b, c, ..."``.
    """
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if close:
        return "Did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
    if not names:
        return "There are none."
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f"Known: {shown}."
