"""Cutting neurons by giving them, all together, the values they have in another sample."""

from __future__ import annotations

from collections.abc import Iterator
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
from neucept.evaluation.cutsearch import Effect, shift_of
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
    layer: str,
    inside: Int[np.ndarray, " inside"],
    nearest: int,
    device: torch.device,
    seed: int,
) -> tuple[Donors, MapBank]:
    """Samples outside a mechanism, half of its class at most, with the layer's maps.

    Call it inside `evaluation_mode`.

    Args:
        model: The network.
        data: The samples that `acts` was captured from.
        acts: Captured activations.
        layer: Whose maps are recorded.
        inside: Positions of the mechanism's samples.
        nearest: See `Donors`.
        device: From `evaluation_mode`.
        seed: What they are drawn with.

    Raises:
        DataError: fewer than 30 samples are predicted as another class.
        ModelError: the layer cannot be read.
    """
    outside = np.setdiff1d(np.arange(acts.n_samples), inside)
    alike = acts.predictions[outside] == acts.predictions[inside[0]]
    random = generator(seed, "donors", layer)
    own = random.permutation(outside[alike])[: MOST_DONORS // 2]
    others = random.permutation(outside[~alike])[: MOST_DONORS - len(own)]
    if len(others) < FEWEST:
        raise DataError(
            f"{len(others)} of {acts.n_samples} samples are predicted as another class; at least "
            f"{FEWEST} are needed to stand in for cut neurons. Give more samples of other classes."
        )
    rows = np.sort(np.concatenate([own, others]))
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
        self, cut: Int[np.ndarray, " cut"], draws: int, purpose: str
    ) -> Iterator[Float[np.ndarray, "samples columns"]]:
        """What the network returns with neurons cut, once for each draw of donors.

        Args:
            cut: The neurons, ascending.
            draws: Donors per sample.
            purpose: Another purpose draws others; for one purpose every cut has the same chances.
        """
        random = generator(self._seed, "swap", purpose)
        picked = self._beside.pick(cut, random.random((len(self.before), draws)))
        for draw in range(draws):

            def edit(output: Tensor, span: slice, draw: int = draw) -> Tensor:
                maps = self._bank.of(cut, picked[span, draw])
                return set_neurons(output, cut, maps=maps, layout=self._layout)

            yield self._run.outputs(edit)

    def effect(self, cut: Int[np.ndarray, " cut"]) -> Effect:
        """What a cut does to each sample, mean over few donors."""
        moved, nats, loss = [], [], []
        bound = np.abs(self.before)
        for outputs in self.outputs(cut, SEARCH_DRAWS, "search"):
            after = self._score(outputs)
            moved.append(shift_of(self.before, after))
            nats.append(np.clip(self.before - after, -bound, bound))
            loss.append(self.probability - expit(after))
        return Effect(*(np.mean(each, axis=0) for each in (moved, nats, loss)))

    def losses(
        self, cut: Int[np.ndarray, " cut"], draws: int
    ) -> tuple[Float[np.ndarray, " samples"], ...]:
        """Per sample, means over draws: probability lost, share of predictions changed, shift."""
        lost, changed, shift = [], [], []
        for outputs in self.outputs(cut, draws, "measure"):
            after = self._score(outputs)
            lost.append(self.probability - expit(after))
            changed.append(predictions_of(outputs, self._meaning) != self._target)
            shift.append(shift_of(self.before, after))
        return tuple(np.mean(each, axis=0) for each in (lost, changed, shift))
