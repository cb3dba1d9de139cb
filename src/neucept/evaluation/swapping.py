"""Cutting neurons by giving them, all together, the values they have in another sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import expit
from torch import Tensor, nn

from neucept.activations import (
    POOLS,
    Activations,
    Batches,
    MapBank,
    class_score,
    meaning_of,
    predictions_of,
    set_neurons,
)
from neucept.errors import DataError
from neucept.evaluation.cutsearch import shift_of
from neucept.evaluation.cutting import BATCH, LayerRun
from neucept.evaluation.donors import FEWEST, Donors, weights_of
from neucept.runtime import generator

MOST_DONORS = 512
SEARCH_DRAWS = 2
"""Donors per sample and cut while a cut is searched for."""


def recorded_donors(
    model: nn.Module,
    data: Any,
    acts: Activations,
    target: int,
    layer: str,
    nearest: int | None,
    device: torch.device,
    seed: int,
) -> tuple[Donors, MapBank]:
    """Samples that are predicted as another class, with the layer's maps.

    Call it inside `evaluation_mode`.

    Raises:
        DataError: there are fewer than 30 of them.
        ModelError: the layer cannot be read.
    """
    others = np.flatnonzero(acts.predictions != target)
    if len(others) < FEWEST:
        raise DataError(
            f"{len(others)} of {acts.n_samples} samples are predicted as another class than "
            f"{target}; what stands in for a cut neuron comes from at least {FEWEST} of them. "
            "Give more samples of other classes."
        )
    rows = np.sort(generator(seed, "donors", layer).permutation(others)[:MOST_DONORS])
    bank = MapBank.record(
        model,
        layer,
        Batches(data, BATCH).take(rows),
        layout=acts.layouts[layer],
        device=device,
        pool=acts.pool if acts.pool in POOLS else "mean",
    )
    rows = rows[: bank.n_references]
    weights = weights_of(acts.matrix(layer))
    return Donors(rows, acts.matrix(layer, rows=rows).astype(float), weights, nearest), bank


class Swapping:
    """Some captured samples, ready to have sets of neurons swapped for those of donors."""

    def __init__(
        self,
        run: LayerRun,
        acts: Activations,
        target: int,
        layer: str,
        donors: Donors,
        bank: MapBank,
        seed: int,
    ) -> None:
        """See what the samples are with nothing cut."""
        self._run, self._bank, self._target, self._seed = run, bank, target, seed
        self._layout = acts.layouts[layer]
        self._meaning = meaning_of(acts.outputs)
        self._beside = donors.beside(run.values.astype(float))
        self.before = self._score(run.uncut)

    @property
    def probability(self) -> Float[np.ndarray, " samples"]:
        """The target's, with nothing cut."""
        return np.asarray(expit(self.before))

    def _score(self, outputs: Float[np.ndarray, "samples columns"]) -> np.ndarray:
        return class_score(outputs, self._target, meaning=self._meaning)

    def outputs(
        self, cut: Int[np.ndarray, " cut"], draw: int
    ) -> Float[np.ndarray, "samples columns"]:
        """What the network returns with neurons cut; another draw takes other donors."""
        random = generator(self._seed, "swap", draw)
        picked = self._beside.pick(cut, random.random(len(self.before)))

        def edit(output: Tensor, span: slice) -> Tensor:
            maps = self._bank.of(cut, picked[span])
            return set_neurons(output, cut, maps=maps, layout=self._layout)

        return self._run.outputs(edit)

    def shift(self, cut: Int[np.ndarray, " cut"]) -> Float[np.ndarray, " samples"]:
        """How far a cut takes each sample; see `shift_of`."""
        after = [self._score(self.outputs(cut, draw)) for draw in range(SEARCH_DRAWS)]
        return np.mean([shift_of(self.before, one) for one in after], axis=0)

    def losses(
        self, cut: Int[np.ndarray, " cut"], draws: int
    ) -> tuple[Float[np.ndarray, " samples"], ...]:
        """Per sample, means over draws: probability lost, share of predictions changed, shift."""
        lost, changed, shift = [], [], []
        for draw in range(draws):
            outputs = self.outputs(cut, SEARCH_DRAWS + draw)
            after = self._score(outputs)
            lost.append(self.probability - expit(after))
            changed.append(predictions_of(outputs, self._meaning) != self._target)
            shift.append(shift_of(self.before, after))
        return tuple(np.mean(each, axis=0) for each in (lost, changed, shift))
