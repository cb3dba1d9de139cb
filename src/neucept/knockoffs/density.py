"""What a density must offer, and the kinds there are.

A new kind is a class that has these methods, in a file of its own, and one line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from neucept.errors import SettingsError, near_names
from neucept.knockoffs.gaussian import fit_gaussian, fit_gaussian_unscaled
from neucept.knockoffs.mixture import fit_mixture


@runtime_checkable
class Density(Protocol):
    """A law fitted to activations, none of which is constant."""

    def prepare(self, copies: int) -> None:
        """Compute, once, what drawing `copies` simultaneous knockoffs needs."""

    def knockoffs(
        self, x: Float[np.ndarray, "samples neurons"], copies: int, random: np.random.Generator
    ) -> Float[np.ndarray, "samples neurons copies"]:
        """Draw `copies` simultaneous knockoffs of each row of `x`."""

    def conditional(
        self,
        x: Float[np.ndarray, "samples neurons"],
        neurons: Int[np.ndarray, " chosen"],
        n: int,
        random: np.random.Generator,
    ) -> Float[np.ndarray, "samples chosen n"]:
        """Draw the `neurons`, jointly, from their law given the other neurons of the row."""

    def describe(self) -> dict[str, Any]:
        """What was fitted, as plain JSON values."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything the law depends on."""


KINDS: dict[str, Callable[[Float[np.ndarray, "samples neurons"], int], Density]] = {
    "gaussian": fit_gaussian,
    "mixture": fit_mixture,
    "gaussian_unscaled": fit_gaussian_unscaled,
}
"""Each kind's fit: called with the activations and a seed."""


def check_density(kind: object) -> None:
    """Refuse a kind that is neither "auto" nor in `KINDS`.

    Raises:
        SettingsError: as said.
    """
    known = ["auto", *KINDS]
    if not isinstance(kind, str):
        raise SettingsError(f"sampler is a {type(kind).__name__}. Pass a name or a Sampler.")
    if kind not in known:
        raise SettingsError(f"There is no density '{kind}'. {near_names(kind, known)}")


def fit_density(kind: str, x: Float[np.ndarray, "samples neurons"], seed: int) -> Density:
    """Fit a density of a kind that `KINDS` lists.

    Raises:
        SettingsError: the kind is not known.
    """
    check_density(kind)
    return KINDS[kind](x, seed)
