"""One layer of one network whose neurons are drawn anew, and what the prediction then loses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neucept.activations import Activations, evaluation_mode, meaning_of
from neucept.activations.outputs import Meaning
from neucept.critical import Critical, rows_of
from neucept.errors import DataError, ModelError, SettingsError
from neucept.evaluation.ablation import Cut
from neucept.evaluation.nats import log_probabilities, lost, mean_and_error, total
from neucept.knockoffs import Sampler, fit_sampler
from neucept.runtime import check_seed, derived_seed, digest, generator, is_whole

MOST_DRAWN = 2**24
"""Values that are drawn at a time, at most, where that is more than those for one batch."""

SAME = 1e-4
"""Outputs that differ by less than this share of their usual range count as the same."""


@dataclass(frozen=True)
class Question:
    """What both measures are asked, checked."""

    acts: Activations
    crit: Critical
    layer: str
    of: str
    samples: int
    resamples: int
    seed: int

    def __post_init__(self) -> None:
        check_whole("samples", self.samples, 2)
        check_whole("resamples", self.resamples, 2)
        check_seed(self.seed)
        # Also refuses what cannot be asked of these outputs.
        self.predictions(self.acts.outputs[:1])

    def predictions(
        self, outputs: Float[np.ndarray, "samples columns"]
    ) -> Float[np.ndarray, "samples outcomes"]:
        """Log-probabilities of what is asked about."""
        if not np.isfinite(outputs).all():
            raise ModelError(
                f"The network returns values that are not finite once neurons of layer "
                f"'{self.layer}' are drawn anew. Choose another layer."
            )
        return log_probabilities(outputs, self.crit.target, self.of, self._meaning)

    @cached_property
    def _meaning(self) -> Meaning:
        # From all samples with nothing drawn: logits that end in [0, 1] stay logits.
        return meaning_of(self.acts.outputs)

    @contextmanager
    def measuring(
        self, model: nn.Module, data: Any, sampler: Sampler | None, device: str
    ) -> Iterator[Resampled]:
        """The network in evaluation mode, with samples and law chosen, ready to be asked."""
        population = rows_of(self.acts, self.crit)
        if len(population) < 2:
            raise DataError("The search was about a single sample. Search on more samples.")
        shuffled = generator(self.seed, "information samples").permutation(population)
        rows = np.sort(shuffled[: self.samples])
        law = sampler
        if law is None:
            whole = self.acts.matrix(self.layer, rows=population)
            law = fit_sampler(whole, self.crit.search.sampler, self.seed)
        elif not isinstance(law, Sampler):
            raise SettingsError(f"sampler is a {type(law).__name__}. Pass a Sampler, or None.")
        with evaluation_mode(model, device) as place:
            cut = Cut(
                *(model, data, self.acts, self.crit.target, self.layer, "resample"),
                *(rows, place, self.seed, law),
            )
            yield Resampled(self, cut, law, rows)


class Resampled:
    """One layer of one network on one set of samples, ready to tell what neurons tell."""

    def __init__(
        self, question: Question, cut: Cut, sampler: Sampler, rows: Int[np.ndarray, " samples"]
    ) -> None:
        self.question, self.cut, self.sampler, self.rows = question, cut, sampler, rows
        # As the network gives them now: again they may round otherwise than when captured.
        self.truth = question.predictions(torch.cat(cut.network.outputs).numpy())
        self.whole = total(self.truth)
        self.pooled = math.prod(cut.layout.space) > 1
        self.bypassed = _is_bypassed(cut)
        self._ends: dict[int, np.ndarray] = {}

    def about(self) -> dict[str, Any]:
        """What every record says."""
        figure, error = mean_and_error(self.whole)
        return {
            "layer": self.question.layer,
            "target": self.question.crit.target,
            "of": self.question.of,
            "total": figure,
            "total_error": error,
            "pooled": self.pooled,
            "bypassed": self.bypassed,
            "resamples": self.question.resamples,
            "samples": self.rows,
        }

    def kept(self, neurons: Int[np.ndarray, " kept"]) -> Float[np.ndarray, " samples"]:
        """What some neurons tell, sample by sample, all others drawn anew."""
        others = np.setdiff1d(np.arange(self.cut.values.shape[1]), neurons)
        if len(neurons) and len(others):
            return np.asarray(self.whole - self.lost(others))
        # With no neuron kept, or all, it is the same in every order.
        if len(neurons) not in self._ends:
            self._ends[len(neurons)] = self.whole - self.lost(others)
        return self._ends[len(neurons)]

    def lost(self, neurons: Int[np.ndarray, " cut"]) -> Float[np.ndarray, " samples"]:
        """What the prediction loses, sample by sample, when some neurons are drawn anew."""
        losses = np.zeros(len(self.rows))
        if not len(neurons):
            return losses
        for number, values in self._drawn(neurons):
            span = self.cut.spans[number]
            again = [
                self.cut.network(number, self.cut.edit(neurons, span, values[:, :, draw]))
                for draw in range(self.question.resamples)
            ]
            predictions = [self.question.predictions(outputs.numpy()) for outputs in again]
            losses[span] = lost(self.truth[span], np.stack(predictions, axis=2))
        return losses

    def _drawn(
        self, neurons: Int[np.ndarray, " cut"]
    ) -> Iterator[tuple[int, Float[Tensor, "samples cut draws"]]]:
        """Values of some neurons given the others, batch by batch."""
        spans, draws, start = self.cut.spans, self.question.resamples, 0
        room = MOST_DRAWN // (len(neurons) * draws)
        while start < len(spans):
            first, stop = spans[start].start, start + 1
            while stop < len(spans) and spans[stop].stop - first <= room:
                stop += 1
            seed = derived_seed(
                self.question.seed, "information", self.question.layer, digest(neurons), start
            )
            block = self.cut.values[first : spans[stop - 1].stop]
            drawn = torch.from_numpy(self.sampler.resample(block, neurons, n=draws, seed=seed))
            for number in range(start, stop):
                span = spans[number]
                yield number, drawn[span.start - first : span.stop - first].float()
            start = stop


def _is_bypassed(cut: Cut) -> bool:
    """Whether predictions still vary when the layer gives the same for every sample.

    Tried with what it gives for two samples: one alone may close a gate that others leave open.
    """
    given: list[Tensor] = []

    def note(output: Tensor) -> Tensor:
        given.extend((output[:1].clone(), output[-1:].clone()))
        return output

    def same(constant: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda output: constant.expand_as(output).clone()

    cut.network(0, note)
    usual = np.ptp(torch.cat(cut.network.outputs).numpy(), axis=0).max()
    for constant in given[:2]:
        outputs = [cut.network(number, same(constant)) for number in range(len(cut.spans))]
        if np.ptp(torch.cat(outputs).numpy(), axis=0).max() > SAME * usual:
            return True
    return False


def check_whole(name: str, value: object, least: int) -> None:
    """Refuse what is not a whole number, or too small a one.

    Raises:
        SettingsError: as said.
    """
    if not is_whole(value) or value < least:
        raise SettingsError(f"{name} is {value!r}. Pass a whole number of at least {least}.")
