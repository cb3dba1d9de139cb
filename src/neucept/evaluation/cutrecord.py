"""What the causal check found: a cut for each mechanism, and what it does to each."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

INDICES = ("chosen_on", "measured_on", "neurons", "maps")


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
        return self.before - self.after


@dataclass(frozen=True)
class Selectivity:
    """For each mechanism, neurons whose cut takes its predictions, and what it does to the others.

    Attributes:
        target: The class of the mechanisms.
        layer: Whose neurons are cut.
        cuts: Per mechanism, the neurons of its cut, in the order in which they came in; none where
            no set was selective or the mechanism was left out.
        messages: Per mechanism, why it has no cut; "" where it has one.
        table: One row per cut and mechanism, measured on samples that did not choose the cut: cut,
            mechanism, neurons (in the cut), samples, probability (of the target before, mean),
            loss (of that probability, mean), loss_low, loss_high (95 % interval over samples,
            given the cut and the donors), changed (share of predictions that are no longer the
            target), changed_low, changed_high, moved (share of the log-odds lost, mean).
        path: How each cut was found, on the samples that chose: cut, step ("added" or "spared"),
            neuron, size, moved (share of the log-odds that the mechanism's samples lose), harmed
            (share that those of the most harmed other mechanism lose), worth (the difference).
        chosen_on: Positions of the samples that chose.
        measured_on: Positions of those that measured.
        settings: What was used.
        layout: Where the layer's neurons are.
        donors: The samples whose values stand in.
        neurons: All neurons of any cut, ascending.
        maps: The donors' maps of these neurons.
    """

    target: int
    layer: str
    cuts: tuple[Int[np.ndarray, " _"], ...]
    messages: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    path: pd.DataFrame = field(repr=False)
    chosen_on: Int[np.ndarray, " chosen"] = field(repr=False)
    measured_on: Int[np.ndarray, " measured"] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    layout: Layout = field(repr=False)
    donors: Donors = field(repr=False)
    neurons: Int[np.ndarray, " kept"] = field(repr=False)
    maps: Float[np.ndarray, "donors kept ..."] = field(repr=False)

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

    def _cut(self, mechanism: int) -> Int[np.ndarray, " cut"]:
        if not is_whole(mechanism) or not 0 <= mechanism < len(self.cuts):
            raise SettingsError(
                f"mechanism is {mechanism!r}. Pass a number from 0 to {len(self.cuts) - 1}."
            )
        if not len(self.cuts[mechanism]):
            raise SettingsError(f"Mechanism {mechanism} has no cut. {self.messages[mechanism]}")
        return np.sort(self.cuts[mechanism])

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
        cut: Int[np.ndarray, " cut"],
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
        width = self.donors.values.shape[1]
        if values[0].shape[1] != width:
            raise ModelError(
                f"Layer '{self.layer}' has {values[0].shape[1]} neurons here; the cut was found "
                f"on {width}. Pass the same network."
            )
        beside = self.donors.beside(values[0])
        columns = np.searchsorted(self.neurons, cut)
        meaning = self.settings["meaning"]
        own = predictions_of(uncut, meaning)
        after, changed = [], []
        for draw in range(chance.shape[1]):
            taken = self.maps[beside.pick(cut, chance[:, draw])][:, columns]
            maps = torch.from_numpy(taken)

            def edit(output: Tensor, maps: Tensor = maps) -> Tensor:
                return set_neurons(output, cut, maps=maps, layout=self.layout)

            with replaced(model, self.layer, edit):
                outputs = forward(model, batch, device).float().cpu().numpy()
            after.append(expit(class_score(outputs, self.target, meaning=meaning)))
            changed.append(predictions_of(outputs, meaning) != own)
        before = expit(class_score(uncut, self.target, meaning=meaning))
        return before, np.mean(after, axis=0), own == self.target, np.mean(changed, axis=0)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays that `runtime.write_arrays` can store."""
        about = {
            "target": self.target,
            "layer": self.layer,
            "messages": self.messages,
            "settings": dict(self.settings),
            "layout": [self.layout.shape, self.layout.axis, self.layout.pooled],
            "nearest": self.donors.nearest,
            "cuts": [cut.tolist() for cut in self.cuts],
            "table": list(self.table.columns),
            "path": list(self.path.columns),
        }
        arrays = {name: getattr(self, name) for name in INDICES}
        for name in ("positions", "values", "weights"):
            arrays[f"donors.{name}"] = getattr(self.donors, name)
        for name in ("table", "path"):
            for column, values in getattr(self, name).items():
                plain = values.to_numpy()
                arrays[f"{name}.{column}"] = plain.astype(str) if plain.dtype == object else plain
        return arrays | {"about": np.array(json.dumps(about))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Selectivity:
        """The record that `to_arrays` took apart."""
        about = json.loads(str(arrays["about"]))
        frames = {
            name: pd.DataFrame({c: _column(arrays[f"{name}.{c}"]) for c in about[name]})
            for name in ("table", "path")
        }
        shape, axis, pooled = about["layout"]
        donors = (arrays[f"donors.{name}"] for name in ("positions", "values", "weights"))
        return cls(
            target=about["target"],
            layer=about["layer"],
            cuts=tuple(np.asarray(cut, dtype=np.int64) for cut in about["cuts"]),
            messages=tuple(about["messages"]),
            settings=about["settings"],
            layout=Layout(tuple(shape), axis, pooled),
            donors=Donors(*donors, about["nearest"]),
            **frames,
            **{name: arrays[name] for name in INDICES},
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


def _column(values: np.ndarray) -> np.ndarray | list[str]:
    return [str(v) for v in values] if values.dtype.kind == "U" else values
