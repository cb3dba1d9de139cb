"""What the causal check found: a cut for each mechanism, and what it does to each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import expit
from torch import Tensor, nn

from neucept.activations import (
    Batch,
    Batches,
    Layout,
    Pool,
    class_score,
    evaluation_mode,
    forward,
    neuron_values,
    plain_model,
    predictions_of,
    replaced,
    set_neurons,
)
from neucept.errors import ModelError, SettingsError
from neucept.evaluation.donors import Donors
from neucept.runtime import check_seed, generator, is_whole, read_arrays, write_arrays

APPLY_DRAWS = 8
"""Donors per sample when a cut is applied to other samples."""

INDICES = ("chosen_on", "measured_on")
DONOR_ARRAYS = ("positions", "values", "weights")


@dataclass(frozen=True)
class Applied:
    """Samples before and after a cut.

    Attributes:
        before: The target's probability with nothing cut.
        after: The same with the neurons cut, mean over donors.
        predicted: Whether the target is predicted with nothing cut.
        changed: The share of donors with which the prediction, target or not, is another.
    """

    before: Float[np.ndarray, " samples"]
    after: Float[np.ndarray, " samples"]
    predicted: Bool[np.ndarray, " samples"]
    changed: Float[np.ndarray, " samples"]

    @property
    def loss(self) -> Float[np.ndarray, " samples"]:
        """The probability that the cut takes."""
        return np.asarray(self.before - self.after)


@dataclass(frozen=True)
class Cut:
    """The neurons that are cut for one mechanism, and what stands in for them.

    Attributes:
        neurons: In the order in which they came in; none where no set was selective or the
            mechanism was left out.
        message: Why there are none; "" where there are.
        reach: How far the cut takes the mechanism's samples that chose it, 0 to 1: mean of the
            shares of log-odds and of probability lost. To compare layers by, since it leaves the
            samples that measure unseen.
        donors: The samples whose values stand in; None without neurons.
        maps: The donors' values (of a pooled neuron, whole maps) of the neurons.
    """

    neurons: Int[np.ndarray, " cut"]
    message: str = ""
    reach: float = 0.0
    donors: Donors | None = field(repr=False, default=None)
    maps: Float[np.ndarray, "donors cut ..."] | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Selectivity:
    """For each mechanism, neurons whose cut takes its predictions, and what it does to the others.

    Attributes:
        target: The class of the mechanisms.
        layer: Whose neurons are cut.
        cuts: Per mechanism: neurons, message (why there are none), reach, donors, maps.
        table: One row per cut and mechanism, measured on samples that did not choose the cut: cut,
            mechanism, neurons (in the cut), samples, probability (of the target before, mean),
            loss (of that probability, mean), loss_low, loss_high (95 % interval over samples,
            given the cut and the donors), changed (share of predictions that are no longer the
            target), changed_low, changed_high, moved (share of the log-odds lost, mean).
        path: How each cut was found, on the samples that chose, one row per set on the way: cut,
            weight (of the others' log-odds), size, moved (share of the log-odds that the
            mechanism's samples lose), lost (the probability that they lose), gained (the nats that
            they lose), harmed (nats that the most harmed other mechanism loses), taken
            (probability that it loses).
        chosen_on: Positions of the samples that chose.
        measured_on: Positions of those that measured.
        settings: What was used.
        layout: Where the layer's neurons are.
    """

    target: int
    layer: str
    cuts: tuple[Cut, ...]
    table: pd.DataFrame = field(repr=False)
    path: pd.DataFrame = field(repr=False)
    chosen_on: Int[np.ndarray, " chosen"] = field(repr=False)
    measured_on: Int[np.ndarray, " measured"] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    layout: Layout = field(repr=False)

    def matrix(self, what: str = "loss") -> pd.DataFrame:
        """The selectivity matrix: one row per cut, one column per mechanism.

        Args:
            what: A column of `table`.

        Raises:
            SettingsError: there is no such column.
        """
        if what not in self.table.columns[2:]:
            known = ", ".join(self.table.columns[2:])
            raise SettingsError(f"what is {what!r}. Pass one of: {known}.")
        return self.table.pivot_table(index="cut", columns="mechanism", values=what)

    def to_frame(self) -> pd.DataFrame:
        """The table; a copy."""
        return self.table.copy()

    def apply(
        self,
        model: nn.Module,
        data: Any,
        mechanism: int,
        *,
        draws: int = APPLY_DRAWS,
        pool: Pool | None = None,
        device: str = "auto",
        seed: int = 0,
    ) -> Applied:
        """Cut a mechanism's neurons on any other samples, of any class.

        Args:
            model: The same network; left exactly as found.
            data: Samples, in any form that `capture` takes.
            mechanism: Whose cut is made.
            draws: Donors per sample.
            pool: The pooling function, where activations were captured with one of your own.
            device: "auto", "cpu", "cuda" or "cuda:N".
            seed: At least 0.

        Returns:
            The target's probability before and after, one row per sample, in order.

        Raises:
            SettingsError: there is no such mechanism or it has no cut, a setting is out of range,
                or the pooling function is needed and missing.
            ModelError: the network is another one, or fails.
            DataError: the samples cannot be read.
        """
        cut = self._cut(mechanism)
        check_seed(seed)
        if not is_whole(draws) or draws < 1:
            raise SettingsError(f"draws is {draws!r}. Pass a whole number of at least 1.")
        random = generator(seed, "apply", mechanism)
        parts = []
        with evaluation_mode(model, device) as place:
            plain = plain_model(model)
            for batch in Batches(data, 256):
                chance = random.random((len(batch), draws))
                parts.append(self._one(plain, batch, cut, chance, self._pool(pool), place))
        return Applied(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _cut(self, mechanism: int) -> Cut:
        if not is_whole(mechanism) or not 0 <= mechanism < len(self.cuts):
            raise SettingsError(
                f"mechanism is {mechanism!r}. Pass a number from 0 to {len(self.cuts) - 1}."
            )
        cut = self.cuts[mechanism]
        if not len(cut.neurons):
            raise SettingsError(f"Mechanism {mechanism} has no cut. {cut.message}")
        return cut

    def _pool(self, pool: Pool | None) -> Pool:
        name = str(self.settings["pool"])
        if pool is None and self.layout.space and name not in ("mean", "max"):
            raise SettingsError(
                f"The activations were captured with pool={name!r}. Pass that function as pool."
            )
        return pool if pool is not None else name

    def _one(
        self,
        model: nn.Module,
        batch: Batch,
        cut: Cut,
        chance: Float[np.ndarray, "samples draws"],
        pool: Pool,
        device: torch.device,
    ) -> tuple[np.ndarray, ...]:
        """One batch: the fields of `Applied`."""
        values: list[np.ndarray] = []

        def look(output: Tensor) -> Tensor:
            values.append(neuron_values(output, self.layout, pool).double().cpu().numpy())
            return output

        with replaced(model, self.layer, look):
            uncut = forward(model, batch, device).float().cpu().numpy()
        meaning = self.settings["meaning"]
        own = predictions_of(uncut, meaning)
        after, changed = [], []
        for maps in self._stand_ins(cut, values[0], chance):

            def edit(output: Tensor, maps: Tensor = maps) -> Tensor:
                return set_neurons(output, cut.neurons, maps=maps, layout=self.layout)

            with replaced(model, self.layer, edit):
                outputs = forward(model, batch, device).float().cpu().numpy()
            after.append(expit(class_score(outputs, self.target, meaning=meaning)))
            changed.append(predictions_of(outputs, meaning) != own)
        before = expit(class_score(uncut, self.target, meaning=meaning))
        return before, np.mean(after, axis=0), own == self.target, np.mean(changed, axis=0)

    def _stand_ins(
        self,
        cut: Cut,
        values: Float[np.ndarray, "samples neurons"],
        chance: Float[np.ndarray, "samples draws"],
    ) -> Iterator[Tensor]:
        """The maps that stand in, once for each draw of donors."""
        if cut.donors is None or cut.maps is None:
            return
        width = cut.donors.values.shape[1]
        if values.shape[1] != width:
            raise ModelError(
                f"Layer '{self.layer}' has {values.shape[1]} neurons here; the cut was found on "
                f"{width}. Pass the same network."
            )
        for picked in cut.donors.beside(values).pick(cut.neurons, chance).T:
            yield torch.from_numpy(cut.maps[picked])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays that `runtime.write_arrays` can store."""
        about = {
            "target": self.target,
            "layer": self.layer,
            "settings": dict(self.settings),
            "layout": [self.layout.shape, self.layout.axis, self.layout.pooled],
            "messages": [cut.message for cut in self.cuts],
            "reach": [cut.reach for cut in self.cuts],
            "nearest": [cut.donors.nearest if cut.donors else None for cut in self.cuts],
            "table": list(self.table.columns),
            "path": list(self.path.columns),
        }
        arrays = {name: getattr(self, name) for name in INDICES}
        for number, cut in enumerate(self.cuts):
            arrays[f"{number}.neurons"] = cut.neurons
            if cut.donors is not None and cut.maps is not None:
                arrays[f"{number}.maps"] = cut.maps
                for name in DONOR_ARRAYS:
                    arrays[f"{number}.{name}"] = getattr(cut.donors, name)
        for name in ("table", "path"):
            for column, values in getattr(self, name).items():
                arrays[f"{name}.{column}"] = values.to_numpy()
        return arrays | {"about": np.array(json.dumps(about))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Selectivity:
        """The record that `to_arrays` took apart."""
        about = json.loads(str(arrays["about"]))
        parts: dict[str, Any] = {name: arrays[name] for name in INDICES}
        for name in ("table", "path"):
            parts[name] = pd.DataFrame({c: arrays[f"{name}.{c}"] for c in about[name]})
        cuts = []
        for number, message in enumerate(about["messages"]):
            nearest = about["nearest"][number]
            donors = None
            if nearest is not None:
                found = {name: arrays[f"{number}.{name}"] for name in DONOR_ARRAYS}
                donors = Donors(**found, nearest=nearest)
            maps = arrays.get(f"{number}.maps")
            reach = float(about["reach"][number])
            cuts.append(Cut(arrays[f"{number}.neurons"], message, reach, donors, maps))
        shape, axis, pooled = about["layout"]
        return cls(
            target=about["target"],
            layer=about["layer"],
            cuts=tuple(cuts),
            settings=about["settings"],
            layout=Layout(tuple(shape), axis, pooled),
            **parts,
        )

    def save(self, path: Path | str) -> None:
        """Write the record to one file of plain arrays.

        Raises:
            StorageError: the file cannot be written.
        """
        write_arrays(path, self.to_arrays())

    @classmethod
    def load(cls, path: Path | str) -> Selectivity:
        """Read what `save` wrote.

        Raises:
            StorageError: the file is missing or cut short.
        """
        return cls.from_arrays(read_arrays(path))
