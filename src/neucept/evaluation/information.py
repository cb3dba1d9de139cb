"""Information: what neurons tell about the prediction, in nats, with the user's own upper network.

Neurons are drawn anew from their law given the others, and pushed through the network above. What
the prediction then loses, as a divergence, is what they told beyond the neurons that stayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from torch import nn

from neucept.activations import Activations
from neucept.critical import Critical
from neucept.errors import ModelError, SettingsError, near_names
from neucept.evaluation.ablation import checked_order, critical_order
from neucept.evaluation.nats import mean_and_error
from neucept.evaluation.resampled import Question, check_whole
from neucept.knockoffs import Sampler
from neucept.runtime import Progress, generator, writing

SAMPLES = 1000
RESAMPLES = 16
RANDOM_ORDERS = 20
STEPS = 7


@dataclass(frozen=True)
class Information:
    """What single neurons tell about the prediction that the others of their layer do not.

    Attributes:
        layer: Whose neurons.
        target: The class.
        of: "target" (the class against all others) or "classes" (the whole distribution).
        total: What all neurons of the layer tell, with whatever else the network reads, in nats.
        total_error: Its standard error.
        pooled: Whether a neuron is a map of several values, of which its own is a summary.
        bypassed: Whether something reaches the prediction past the layer.
        resamples: Draws of each neuron and sample.
        samples: Positions of the samples it was measured on.
        table: One row per neuron: neuron, information (nats), error (its standard error),
            upper_bound (whether the layer is pooled or bypassed), together (the neurons that were
            drawn as one: itself and its near-copies).
    """

    layer: str
    target: int | tuple[int, int]
    of: str
    total: float
    total_error: float
    pooled: bool
    bypassed: bool
    resamples: int
    samples: Int[np.ndarray, " samples"] = field(repr=False)
    table: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The table; a copy."""
        return self.table.copy()

    def save(self, path: Path | str) -> None:
        """Write the table as Parquet, with the layer and what is told in columns of their own."""
        _save(self, path)


@dataclass(frozen=True)
class InformationCurve:
    """What the k first neurons of an order tell about the prediction, all others drawn anew.

    Attributes:
        layer: Whose neurons.
        target: The class.
        of: "target" (the class against all others) or "classes" (the whole distribution).
        total: What all neurons of the layer tell, with whatever else the network reads, in nats.
        total_error: Its standard error.
        pooled: Whether a neuron is a map of several values, of which its own is a summary.
        bypassed: Whether something reaches the prediction past the layer.
        resamples: Draws of each sample.
        samples: Positions of the samples it was measured on.
        table: One row per curve point: order ("critical", the name of an order that was passed,
            or "random"), repeat (0 unless random), k, share (k over the layer's neurons),
            information (nats), error (its standard error). At k = 0 it is what the rest of the
            network alone gives: 0 where nothing bypasses the layer, but for errors.
    """

    layer: str
    target: int | tuple[int, int]
    of: str
    total: float
    total_error: float
    pooled: bool
    bypassed: bool
    resamples: int
    samples: Int[np.ndarray, " samples"] = field(repr=False)
    table: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The curves; a copy."""
        return self.table.copy()

    def save(self, path: Path | str) -> None:
        """Write the curves as Parquet, with the layer and what is told in columns of their own."""
        _save(self, path)


def conditional_information(
    model: nn.Module,
    data: Any,
    acts: Activations,
    crit: Critical,
    *,
    layer: str,
    neurons: Sequence[int] | Int[np.ndarray, " neurons"] | None = None,
    of: str = "target",
    samples: int = SAMPLES,
    resamples: int = RESAMPLES,
    sampler: Sampler | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Information:
    """Measure what each neuron tells about the prediction given the other neurons, in nats.

    I(Z_j; prediction | the others) is the mean divergence of the prediction, with the neuron as it
    is, from the mean prediction over values drawn from its law given the others. A law that is not
    the true one makes the figure larger in the mean, never smaller. Where a neuron is pooled or
    something bypasses the layer, the figure is about all that the network reads besides the
    neuron, and an upper bound on what the neuron's value tells given that.

    Args:
        model: The network that `acts` was captured from; left exactly as found.
        data: The samples that `acts` was captured from.
        acts: Captured activations.
        crit: Critical neurons; they give the target and the samples.
        layer: Whose neurons.
        neurons: Which, by index; None for the critical ones. A neuron with near-copies is drawn
            together with them, and the figure is that of the group.
        of: "target": the class of the search against all others, which is what its selection
            explains; "classes": the whole distribution.
        samples: Samples at most, drawn from those that the search was about; at least 2.
        resamples: Draws of each neuron and sample, at least 2. The bias of order 1 / resamples is
            corrected; raise it where predictions are very sure.
        sampler: The layer's law; None to fit the search's kind to the search's samples.
        seed: At least 0.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: Called as ``progress("information", done, total)``.

    Returns:
        The figures, with standard errors over samples and draws; the law is taken as given.

    Raises:
        ModelError: the layer was not captured or not searched, or the model fails.
        DataError: there are too few samples, or `data` is not what `acts` came from.
        SettingsError: a setting is out of range.

    Source: Vu, Nguyen, Thai (2022), section 3, for the objective.
    """
    chosen = _chosen_neurons(acts, crit, layer, neurons)
    question = Question(acts, crit, layer, of, samples, resamples, seed)
    with question.measuring(model, data, sampler, device) as told:
        groups = {j: group for group in told.sampler.screening.groups for j in group}
        together = [groups.get(int(j), (int(j),)) for j in chosen]
        figures: dict[tuple[int, ...], tuple[float, float]] = {}
        for done, group in enumerate(together):
            if group not in figures:
                figures[group] = mean_and_error(told.lost(np.array(group, dtype=np.int64)))
            if progress is not None:
                progress("information", done + 1, len(together))
        table = pd.DataFrame(
            {
                "neuron": chosen,
                "information": [figures[group][0] for group in together],
                "error": [figures[group][1] for group in together],
                "upper_bound": told.pooled or told.bypassed,
                "together": together,
            }
        )
        return Information(**told.about(), table=table)


def information_curve(
    model: nn.Module,
    data: Any,
    acts: Activations,
    crit: Critical,
    *,
    layer: str,
    orders: Mapping[str, Sequence[int] | Int[np.ndarray, " neurons"]] | None = None,
    of: str = "target",
    samples: int = SAMPLES,
    resamples: int = RESAMPLES,
    steps: int = STEPS,
    random_orders: int = RANDOM_ORDERS,
    sampler: Sampler | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> InformationCurve:
    """Measure what the k most critical neurons tell about the prediction; beside other orders.

    All neurons outside the first k are drawn jointly from their law given these; what the
    prediction then loses is taken from what the whole layer tells. A law that is not the true one
    makes the figure smaller in the mean, at small k even negative.

    Args:
        model: The network that `acts` was captured from; left exactly as found.
        data: The samples that `acts` was captured from.
        acts: Captured activations.
        crit: Critical neurons; they give the target, the samples and the critical order (the
            selected neurons, most evidence first, then the others by score).
        layer: Whose neurons.
        orders: Further orders to compare with, such as an attribution's, by name: each of the
            layer's neurons once, the most important first.
        of: "target": the class of the search against all others; "classes": the whole
            distribution.
        samples: Samples at most, drawn from those that the search was about; at least 2.
        resamples: Draws of each sample, at least 2; the bias of order 1 / resamples is corrected.
        steps: Sizes k to try between 0 and all neurons.
        random_orders: Random orders to compare with.
        sampler: The layer's law; None to fit the search's kind to the search's samples.
        seed: At least 0.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: Called as ``progress("information", done, total)``.

    Returns:
        The curves, with standard errors over samples and draws; the law is taken as given.

    Raises:
        ModelError: the layer was not captured or not searched, or the model fails.
        DataError: there are too few samples, or `data` is not what `acts` came from.
        SettingsError: a setting is out of range.
    """
    _check_layer(acts, crit, layer)
    check_whole("steps", steps, 1)
    check_whole("random_orders", random_orders, 0)
    width = acts.n_neurons(layer)
    ranked = [("critical", 0, critical_order(crit, layer)), *_named(orders, width)]
    question = Question(acts, crit, layer, of, samples, resamples, seed)
    for repeat in range(random_orders):
        shuffled = generator(seed, "information order", layer, repeat).permutation(width)
        ranked.append(("random", repeat, shuffled))
    sizes = [0, *np.unique(np.geomspace(1, width, steps).round().astype(int)).tolist()]
    points = []
    with question.measuring(model, data, sampler, device) as told:
        for done, (name, repeat, order) in enumerate(ranked):
            points += [
                (name, repeat, k, k / width, *mean_and_error(told.kept(order[:k]))) for k in sizes
            ]
            if progress is not None:
                progress("information", done + 1, len(ranked))
        columns = ["order", "repeat", "k", "share", "information", "error"]
        return InformationCurve(**told.about(), table=pd.DataFrame(points, columns=columns))


def _check_layer(acts: Activations, crit: Critical, layer: str) -> None:
    if layer not in acts.layers:
        raise ModelError(f"Layer '{layer}' was not captured. {near_names(layer, acts.layers)}")
    crit.neurons(layer)


def _chosen_neurons(
    acts: Activations, crit: Critical, layer: str, neurons: Any
) -> Int[np.ndarray, " chosen"]:
    _check_layer(acts, crit, layer)
    if neurons is None:
        return crit.neurons(layer)
    chosen = np.atleast_1d(np.asarray(neurons))
    width = acts.n_neurons(layer)
    known = chosen.ndim == 1 and (chosen.size == 0 or np.isin(chosen, range(width)).all())
    if not known or len(np.unique(chosen)) != len(chosen):
        raise SettingsError(
            f"neurons is {chosen.tolist()}. Pass different indices from 0 to {width - 1}."
        )
    return chosen.astype(np.int64)


def _named(
    orders: Mapping[str, Any] | None, width: int
) -> list[tuple[str, int, Int[np.ndarray, " neurons"]]]:
    named = {} if orders is None else orders
    if not isinstance(named, Mapping):
        raise SettingsError(f"orders is a {type(orders).__name__}. Pass a dict of orders by name.")
    for name in named:
        if not isinstance(name, str) or name in ("critical", "random"):
            raise SettingsError(f"An order is called {name!r}. Pass another name.")
    return [(name, 0, checked_order(order, width)) for name, order in named.items()]


def _save(record: Information | InformationCurve, path: Path | str) -> None:
    with writing(path) as temporary:
        named = record.table.assign(layer=record.layer, of=record.of, total=record.total)
        named.to_parquet(temporary, index=False)
