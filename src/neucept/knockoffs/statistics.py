"""What a statistic must offer, and the kinds there are.

A new kind is a class that has these methods, in a file of its own, and one line in `KINDS`.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from neucept.errors import SettingsError, near_names
from neucept.knockoffs.lasso import Lasso
from neucept.knockoffs.network import Network
from neucept.knockoffs.published import PublishedLasso
from neucept.knockoffs.shapes import Copies, Importances, Neurons, SeparateImportances, Targets


@runtime_checkable
class Statistic(Protocol):
    """How important each neuron and each of its knockoffs is for the targets.

    Importances are at least 0. Their law must not change when a neuron trades places with one of
    its knockoffs, but for the same trade in the result: no ties broken by position, no scaling
    by the originals alone.
    """

    def separate(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> SeparateImportances:
        """Importance for each target, from fits that see no other target; the original first."""

    def joint(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> Importances:
        """Importance for all targets together; the original first."""

    def both(
        self, z: Neurons, knockoffs: Copies, y: Targets, random: np.random.Generator
    ) -> tuple[Importances, SeparateImportances]:
        """What `joint` and `separate` return; cheaper where these share their fits."""

    def describe(self) -> dict[str, Any]:
        """The settings, as plain JSON values."""


KINDS: dict[str, Statistic] = {
    "lasso": Lasso(),
    "network": Network(),
    "lasso_published": PublishedLasso(),
}
"""Each kind with its default settings."""

DEFAULT = "network"


def find_statistic(statistic: object) -> Statistic:
    """The statistic of a name, or the one given.

    Raises:
        SettingsError: the name is not known, or the object lacks a method.
    """
    if isinstance(statistic, Statistic) and not isinstance(statistic, type):
        return statistic
    known = ["auto", *KINDS]
    if not isinstance(statistic, str):
        raise SettingsError(
            f"statistic is a {type(statistic).__name__}. Pass a name, or an object with the "
            "methods of `statistics.Statistic`."
        )
    if statistic not in known:
        raise SettingsError(f"There is no statistic '{statistic}'. {near_names(statistic, known)}")
    return KINDS[DEFAULT if statistic == "auto" else statistic]
