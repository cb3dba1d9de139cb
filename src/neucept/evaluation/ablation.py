"""Ablation: what happens to the prediction when neurons of a layer are cut.

Three ways to cut take a neuron's information away whatever the other neurons say: zero, its mean,
or itself plus noise (the paper's). The fourth draws the cut neurons from their law given the
others, and so stays on the data's own distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy.special import expit
from torch import Tensor, nn

from neucept.activations import (
    POOLS,
    Activations,
    Batches,
    MapBank,
    Rerun,
    Target,
    class_score,
    evaluation_mode,
    meaning_of,
    predicted_as,
    predictions_of,
    set_neurons,
)
from neucept.critical import Critical
from neucept.errors import DataError, ModelError, SettingsError, near_names
from neucept.evaluation.cutting import BATCH, check_replay
from neucept.knockoffs import Sampler, fit_sampler
from neucept.runtime import Progress, check_seed, derived_seed, generator, writing

MODES = ("resample", "zero", "mean", "noise")
RANDOM_ORDERS = 20
STEPS = 7
REFERENCES = 512


@dataclass(frozen=True)
class Ablation:
    """Curves of one layer: the prediction against the number of neurons cut (or kept).

    Attributes:
        layer: The layer whose neurons were cut.
        mode: How.
        keep: Whether the k first neurons were the only ones kept, instead of the ones cut.
        target: The class; of a contrast the pair.
        samples: Positions of the samples it was measured on, all predicted as the target.
        table: One row per curve point: order ("critical", "given" or "random"), repeat (0 for
            the first two), k, share (k over the layer's neurons), unchanged (share of samples that
            are still predicted as the target), probability (mean probability of the target). Of a
            contrast both look at its two classes alone: the share of samples in which the first
            still stands above the second, and the probability of the first against the second.
    """

    layer: str
    mode: str
    keep: bool
    target: Target
    samples: Int[np.ndarray, " samples"] = field(repr=False)
    table: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The curves; a copy."""
        return self.table.copy()

    def save(self, path: Path | str) -> None:
        """Write the curves as Parquet, with the layer, mode and way in columns of their own."""
        with writing(path) as temporary:
            named = self.table.assign(layer=self.layer, mode=self.mode, keep=self.keep)
            named.to_parquet(temporary, index=False)


def ablate(
    model: nn.Module,
    data: Any,
    acts: Activations,
    crit: Critical,
    *,
    layer: str,
    mode: str = "resample",
    order: Literal["critical"] | Sequence[int] | Int[np.ndarray, " neurons"] = "critical",
    keep: bool = False,
    samples: int = 500,
    steps: int = STEPS,
    random_orders: int = RANDOM_ORDERS,
    device: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Ablation:
    """Cut neurons of a layer, most critical first, and watch the prediction; beside random orders.

    Args:
        model: The network that `acts` was captured from; left exactly as found.
        data: The samples that `acts` was captured from.
        acts: Captured activations.
        crit: Critical neurons; they give the target and the order.
        layer: Whose neurons are cut.
        mode: "resample" draws the cut neurons jointly from their law given the others (a Gaussian
            fitted to all samples; a pooled channel takes the whole map of the sample whose pooled
            value is nearest, scaled to it); "zero"; "mean" (their mean over reference samples);
            "noise" adds to the whole map one Gaussian draw of the neuron's standard deviation.
        order: "critical" (the selected neurons, most evidence first, then the others by score), or
            neuron indices of your own.
        keep: False cuts the first k neurons; True keeps only them and cuts all others.
        samples: Samples at most, drawn from those whose prediction `crit` explains: all that are
            predicted as the target, and after a local search those around its sample.
        steps: Sizes k to try between 0 and all neurons.
        random_orders: Random orders to compare with.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: At least 0.
        progress: Called as ``progress("ablation", done, total)``.

    Returns:
        The curves.

    Raises:
        ModelError: the layer was not captured, or the model fails.
        DataError: no sample is predicted as the target, or `data` is not what `acts` came from.
        SettingsError: a setting is out of range.
    """
    numbers = {"samples": samples, "steps": steps, "random_orders": random_orders}
    _check(acts, layer, mode, numbers)
    check_seed(seed)
    rows = _chosen_rows(acts, crit, samples, seed)
    neurons = acts.n_neurons(layer)
    ranked = critical_order(crit, layer) if _is_critical(order) else order
    name = "critical" if _is_critical(order) else "given"
    orders = [(name, 0, checked_order(ranked, neurons))]
    for repeat in range(random_orders):
        shuffled = generator(seed, "ablation order", layer, repeat).permutation(neurons)
        orders.append(("random", repeat, shuffled))
    sizes = np.unique(np.geomspace(1, neurons, steps).round().astype(int))
    points = []
    with evaluation_mode(model, device) as place:
        sampler = fit_sampler(acts.matrix(layer), seed=seed) if mode == "resample" else None
        cut = Cut(model, data, acts, crit.target, layer, mode, rows, place, seed, sampler)
        for done, (name, repeat, ranked) in enumerate(orders):
            points += [
                (name, repeat, k, k / neurons, unchanged, probability)
                for k, unchanged, probability in cut.curve(ranked, sizes, keep)
            ]
            if progress is not None:
                progress("ablation", done + 1, len(orders))
    columns = ["order", "repeat", "k", "share", "unchanged", "probability"]
    table = pd.DataFrame(points, columns=columns)
    return Ablation(layer, mode, keep, crit.target, rows, table)


def _is_critical(order: object) -> bool:
    return isinstance(order, str) and order == "critical"


def critical_order(crit: Critical, layer: str) -> Int[np.ndarray, " neurons"]:
    """All neurons of a layer: the selected ones, most evidence first, then the others by score."""
    first = crit.neurons(layer)
    rest = crit.table[(crit.table["layer"] == layer) & ~crit.table["neuron"].isin(first)]
    ranked = rest.sort_values(["score", "neuron"], ascending=[False, True], kind="stable")
    return np.concatenate([first, ranked["neuron"].to_numpy(dtype=np.int64)])


class Cut:
    """One layer of one network on one set of samples, ready to have neurons replaced.

    The sampler is only needed to resample.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        acts: Activations,
        target: Target,
        layer: str,
        mode: str,
        rows: Int[np.ndarray, " samples"],
        device: torch.device,
        seed: int,
        sampler: Sampler | None,
    ) -> None:
        self.layer, self.mode, self.target, self.seed = layer, mode, target, seed
        self.ends: dict[int, tuple[float, float]] = {}
        self.layout = acts.layouts[layer]
        # From all samples with nothing cut: logits that a cut brings into [0, 1] stay logits.
        self.meaning = meaning_of(acts.outputs)
        self.uncut = acts.outputs[rows]
        batches = Batches(data, BATCH)
        taken = list(batches.take(rows))
        starts = np.cumsum([0, *(len(batch) for batch in taken)])
        self.spans = [slice(*ends) for ends in pairwise(starts.tolist())]
        self.values = acts.matrix(layer, rows=rows)
        self.spread = torch.from_numpy(acts.matrix(layer).std(axis=0))
        self.sampler = sampler
        self.bank: MapBank | None = None
        if mode == "mean" or (mode == "resample" and self.layout.space):
            reference = np.sort(
                generator(seed, "references").permutation(acts.n_samples)[:REFERENCES]
            )
            pool = acts.pool if acts.pool in POOLS else "mean"
            self.bank = MapBank.record(
                model, layer, batches.take(reference), layout=self.layout, device=device, pool=pool
            )
        self.network = Rerun(model, layer, taken, device)
        check_replay(torch.cat(self.network.outputs).numpy(), self.uncut, layer)

    def curve(
        self,
        ranked: Int[np.ndarray, " neurons"],
        sizes: Int[np.ndarray, " sizes"],
        keep: bool,
    ) -> Iterator[tuple[int, float, float]]:
        """(k, share unchanged, mean probability) for the first k neurons cut, or kept."""
        for k in (0, *sizes):
            cut = np.sort(ranked[k:] if keep else ranked[:k])
            # Cutting no neuron or all of them is the same in every order.
            if len(cut) in (0, len(ranked)):
                if len(cut) not in self.ends:
                    self.ends[len(cut)] = self.measure(cut)
                yield int(k), *self.ends[len(cut)]
            else:
                yield int(k), *self.measure(cut)

    def measure(self, cut: Int[np.ndarray, " cut"]) -> tuple[float, float]:
        """Share still predicted as the target, and its mean probability, with neurons cut."""
        # With nothing cut, the outputs that chose the samples: again they may round otherwise.
        outputs = torch.cat(self._run(cut)).numpy() if len(cut) else self.uncut
        score = class_score(outputs, self.target, meaning=self.meaning)
        as_before = (
            score > 0
            if isinstance(self.target, tuple)
            else predictions_of(outputs, self.meaning) == self.target
        )
        return float(np.mean(as_before)), float(np.mean(expit(score)))

    def _run(self, cut: Int[np.ndarray, " cut"]) -> list[Float[Tensor, "samples classes"]]:
        drawn = None if self.sampler is None else self._drawn(self.sampler, cut)
        return [
            self.network(number, self.edit(cut, span, None if drawn is None else drawn[span]))
            for number, span in enumerate(self.spans)
        ]

    def _drawn(self, sampler: Sampler, cut: Int[np.ndarray, " cut"]) -> Tensor:
        seed = derived_seed(self.seed, "resample", self.layer, len(cut))
        return torch.from_numpy(sampler.resample(self.values, cut, n=1, seed=seed)[:, :, 0]).float()

    def edit(
        self,
        cut: Int[np.ndarray, " cut"],
        span: slice,
        drawn: Float[Tensor, "samples cut"] | None = None,
    ) -> Callable[[Tensor], Tensor]:
        """What cuts neurons in the layer's output for the samples of a batch.

        Args:
            cut: Which neurons.
            span: The batch's samples.
            drawn: Their values, where the mode is to resample.
        """

        def edit(output: Tensor) -> Tensor:
            put = partial(set_neurons, output, cut, layout=self.layout)
            if self.mode == "zero":
                return put(torch.zeros(1, len(cut)))
            if self.mode == "noise":
                return put(maps=self._noisy(output, cut, span))
            if self.mode == "mean" and self.bank is not None:
                return put(maps=self.bank.mean(cut))
            values = torch.zeros(1, len(cut)) if drawn is None else drawn
            return put(values) if self.bank is None else put(maps=self.bank.maps(cut, values))

        return edit

    def _noisy(self, output: Tensor, cut: Int[np.ndarray, " cut"], span: slice) -> Tensor:
        maps = self.layout.maps(output)[:, torch.from_numpy(cut).to(output.device)]
        random = generator(self.seed, "noise", self.layer, span.start)
        noise = self.spread[cut] * torch.from_numpy(random.normal(size=tuple(maps.shape[:2])))
        return maps + noise.reshape(*noise.shape, *[1] * (maps.ndim - 2)).to(maps)


def _check(acts: Activations, layer: str, mode: str, numbers: dict[str, int]) -> None:
    if layer not in acts.layers:
        raise ModelError(f"Layer '{layer}' was not captured. {near_names(layer, acts.layers)}")
    if mode not in MODES:
        raise SettingsError(f"mode is {mode!r}. {near_names(str(mode), MODES)}")
    for name, value in numbers.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value < (name != "random_orders")
        ):
            least = int(name != "random_orders")
            raise SettingsError(f"{name} is {value!r}. Pass a whole number of at least {least}.")


def _chosen_rows(
    acts: Activations, crit: Critical, samples: int, seed: int
) -> Int[np.ndarray, " samples"]:
    rows = crit.explained(acts)
    if not len(rows):
        raise DataError(
            f"No sample is predicted as class {predicted_as(crit.target)}. Choose another class."
        )
    return np.sort(generator(seed, "ablation samples").permutation(rows)[:samples])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def checked_order(ranked: Any, neurons: int) -> Int[np.ndarray, " neurons"]:
    """An order of all neurons of a layer, as indices.

    Raises:
        SettingsError: it is not each neuron once.
    """
    try:
        order = np.asarray(ranked, dtype=np.int64)
    except (TypeError, ValueError):
        order = np.array([-1])
    if sorted(order.tolist()) != list(range(neurons)):
        raise SettingsError(
            f"order is {_short(ranked)}. Pass 'critical', or each of the layer's {neurons} "
            "neurons once."
        )
    return order
