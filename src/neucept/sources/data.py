"""From what the user names as data to something that gives samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neucept.errors import DataError
from neucept.sources.factories import call_factory

SAMPLES = (Dataset, DataLoader, Tensor, Iterable)
"""What may hold samples. Whether it really does is seen when it is read."""

Samples = Dataset[Any] | DataLoader[Any] | Tensor | Iterable[Any]
"""What `load_data` returns: anything that `capture` reads."""


class DataForm(NamedTuple):
    """One way to name data on the command line or in a study file."""

    looks_like: str
    """The form as an error text shows it."""
    accepts: Callable[[str], bool]
    """Whether a text has this form."""
    load: Callable[[str], Samples]
    """Makes the data that the text names."""


def load_data(spec: str) -> Samples:
    """The user's samples.

    Args:
        spec: ``"file.py:factory"`` or ``"package.module:factory"``; the factory takes no arguments
            and returns a Dataset, a DataLoader, inputs alone (tensor or array), a pair (inputs,
            labels) of them, or an iterable of batches.

    Returns:
        What the factory returned.

    Raises:
        DataError: the text has no known form, or what it names cannot be loaded.
    """
    for form in FORMS:
        if form.accepts(spec):
            return form.load(spec)
    forms = " or ".join(form.looks_like for form in FORMS)
    raise DataError(f"The data '{spec}' has no known form. Write {forms}.")


def from_factory(spec: str) -> Samples:
    """The samples that a factory of the user's own code returns.

    Raises:
        DataError: the factory cannot be called, or returns what cannot hold samples.
    """
    data = call_factory(spec, "data", DataError)
    if not isinstance(data, SAMPLES) or isinstance(data, str | bytes | dict):
        got = "nothing (None)" if data is None else f"a {type(data).__name__}"
        raise DataError(
            f"The data factory '{spec}' returned {got}, which holds no samples. Return a Dataset, "
            "a DataLoader, or a pair (inputs, labels) of tensors."
        )
    return data


def class_names(data: object) -> tuple[str, ...] | None:
    """The class names that a dataset brings along, as those of torchvision do.

    Args:
        data: A dataset, or a DataLoader of one.

    Returns:
        Its ``classes`` where they are a list of texts, else None.
    """
    names = getattr(getattr(data, "dataset", data), "classes", None)
    if isinstance(names, list | tuple) and names and all(isinstance(n, str) for n in names):
        return tuple(names)
    return None


FORMS: tuple[DataForm, ...] = (
    DataForm(
        "'file.py:function' or 'package.module:function'", lambda spec: ":" in spec, from_factory
    ),
)
"""Every form in which data can be named, tried in this order. A new form is one line here."""
