"""A fitted sampler: knockoffs and conditional draws for the neurons of one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from neucept.errors import DataError, SettingsError
from neucept.knockoffs.density import Density, fit_density
from neucept.knockoffs.screening import Screening, as_matrix, screen
from neucept.runtime import check_seed, digest, generator, is_whole, run_tasks

MOST_KNOCKOFFS = 100
DEFAULT_DENSITY = "mixture"


@dataclass(frozen=True, eq=False)
class Sampler:
    """The law of a layer's neurons, from which knockoffs and conditional values are drawn.

    Attributes:
        kind: The density's kind.
        screening: Which neurons are tested, grouped and set aside.
        tested: The law of the coordinates of what is tested (`Screening.coordinates`; without
            groups these are the neurons): knockoffs come from it.
        responsive: Neurons that are not dead, ascending.
        everything: The law of the responsive neurons: conditional draws come from it.
        digest: A name for the fitted law; equal laws have equal names.
    """

    kind: str
    screening: Screening
    tested: Density
    responsive: Int[np.ndarray, " responsive"]
    everything: Density
    digest: str = field(default="")

    @property
    def n_neurons(self) -> int:
        """How many neurons the layer has, dead ones included."""
        return int(self.screening.maps.shape[1])

    def draw(
        self, x_new: Any, knockoffs: int = 4, seed: int = 0
    ) -> Float[np.ndarray, "samples neurons knockoffs"]:
        """Knockoffs of every neuron of each sample.

        Those of a group are exchangeable with its members when all are traded at once. A neuron
        that is not tested keeps what the tested ones do not say about it: a dead one is its own
        knockoff, a determined one moves with those that determine it.

        Args:
            x_new: Activations of the same neurons, any samples.
            knockoffs: Simultaneous copies of each neuron, 1 to 100.
            seed: At least 0.

        Returns:
            The knockoffs, in the unit of `x_new`.

        Raises:
            DataError: another number of neurons, or values that are not finite.
            SettingsError: `knockoffs` or `seed` is out of range.
        """
        x = self.check(x_new)
        if not is_whole(knockoffs) or not 1 <= knockoffs <= MOST_KNOCKOFFS:
            raise SettingsError(
                f"knockoffs is {knockoffs}. Pass a whole number from 1 to {MOST_KNOCKOFFS}."
            )
        own = self.screening.coordinates(x)
        drawn = self.tested.knockoffs(own, knockoffs, generator(seed, "draw"))
        if len(self.screening.tested) == self.n_neurons:
            return drawn
        moved = np.tensordot(drawn - own[:, :, None], self.screening.maps, axes=(1, 0))
        return np.asarray(x[:, :, None] + np.moveaxis(moved, 1, 2))

    def resample(
        self, x_new: Any, neurons: Sequence[int] | Any, n: int = 8, seed: int = 0
    ) -> Float[np.ndarray, "samples chosen n"]:
        """Values of some neurons from their joint law given all the other neurons.

        The chosen neurons' own values are not looked at (a knockoff's law does depend on them).
        Several chosen neurons are drawn jointly, given the neurons outside the set. A dead neuron
        keeps its value. Members of a group are all part of the law, so a member that is drawn
        while its near-copies stay put hardly moves: choose the whole group to free it.

        Args:
            x_new: Activations of the same neurons, any samples.
            neurons: Indices of the neurons to draw, each once.
            n: Draws per sample.
            seed: At least 0.

        Returns:
            The draws, in the order of `neurons`.

        Raises:
            DataError: another number of neurons, or values that are not finite.
            SettingsError: an index is out of range or repeated, or `n` or `seed` is out of range.
        """
        x = self.check(x_new)
        chosen = np.atleast_1d(np.asarray(neurons))
        known = chosen.size == 0 or np.isin(chosen, range(x.shape[1])).all()
        if not known or len(np.unique(chosen)) != len(chosen):
            raise SettingsError(
                f"neurons is {chosen.tolist()}. Pass different indices from 0 to {x.shape[1] - 1}."
            )
        chosen = chosen.astype(np.int64)
        if not is_whole(n) or n < 1:
            raise SettingsError(f"n is {n}. Pass a whole number of at least 1 draw per sample.")
        check_seed(seed)
        drawn = np.repeat(x[:, chosen, None], n, axis=2)
        alive = np.isin(chosen, self.responsive)
        if alive.any():
            drawn[:, alive] = self.everything.conditional(
                x[:, self.responsive],
                np.searchsorted(self.responsive, chosen[alive]),
                n,
                generator(seed, "resample"),
            )
        return drawn

    def check(self, x_new: Any) -> Float[np.ndarray, "samples neurons"]:
        """The activations as a matrix of this sampler's neurons.

        Raises:
            DataError: another number of neurons, or values that are not finite.
        """
        x = as_matrix(x_new)
        if x.shape[1] != self.n_neurons:
            raise DataError(
                f"x has {x.shape[1]} neurons and the sampler was fitted on {self.n_neurons}. "
                "Pass activations of the same layer."
            )
        return x


def fit_sampler(x: Any, kind: str = "auto", seed: int = 0) -> Sampler:
    """Fit the law of a layer's neurons.

    Args:
        x: Activations (samples, neurons): numpy, torch or a chunked array.
        kind: A density's name (`density.KINDS`), or "auto": mixture.
        seed: At least 0.

    Returns:
        The sampler. It remembers what it computes for a number of knockoffs, so keep it.

    Raises:
        DataError: too few samples, values that are not finite, or no neuron that varies.
        SettingsError: the kind or the seed is not valid.
    """
    check_seed(seed)
    matrix = as_matrix(x)
    # One task, so that it has a task's thread count: bit-equal wherever it runs.
    return run_tasks(_fit, [(matrix, DEFAULT_DENSITY if kind == "auto" else kind, seed)], n_jobs=1)[
        0
    ]


def _fit(x: Float[np.ndarray, "samples neurons"], kind: str, seed: int) -> Sampler:
    screening = screen(x)
    tested = fit_density(kind, screening.coordinates(x), seed)
    dead = np.flatnonzero(~screening.maps.any(0))
    responsive = np.setdiff1d(np.arange(x.shape[1]), dead)
    whole = len(responsive) == len(screening.tested)
    everything = tested if whole else fit_density(kind, x[:, responsive], seed)
    name = digest(kind, screening.maps, *tested.arrays().values(), *everything.arrays().values())
    return Sampler(kind, screening, tested, responsive, everything, name)
