"""What the page reads of a study, and the few look-ups that every part of the page shares."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from neucept.report.words import known, plain, shorten

BORDERLINE = 0.8
"""A sample is borderline when its membership in its own mechanism is below this."""


@runtime_checkable
class Finished(Protocol):
    """A finished study, as `neucept.study.folder.Study` reads it from its folder."""

    @property
    def info(self) -> Mapping[str, Any]:
        """The content of ``study.json``."""

    @property
    def critical(self) -> pd.DataFrame:
        """One row per neuron and layer."""

    @property
    def edges(self) -> pd.DataFrame:
        """One row per neuron and target."""

    @property
    def kept(self) -> pd.DataFrame:
        """One row per layer and size of its core; empty where none was looked for."""

    @property
    def mechanisms(self) -> pd.DataFrame:
        """One row per mechanism."""

    @property
    def signature(self) -> pd.DataFrame:
        """One row per mechanism and neuron."""

    @property
    def choice(self) -> pd.DataFrame:
        """One row per number of mechanisms considered."""

    @property
    def ablation(self) -> pd.DataFrame:
        """One row per cut."""

    @property
    def tree(self) -> pd.DataFrame:
        """One row per merge; empty in older studies."""

    @property
    def associations(self) -> pd.DataFrame:
        """One row per column of the metadata, and per mechanism; empty without metadata."""

    @property
    def selectivity(self) -> pd.DataFrame:
        """One row per cut and mechanism; empty where no cuts were looked for."""

    @property
    def samples(self) -> pd.DataFrame:
        """One row per sample."""

    def thumbnail(self, position: int) -> bytes | None:
        """The picture of a sample as WebP bytes, or None."""


@dataclass(frozen=True)
class Subject:
    """A study with the names of its things resolved; what views and charts are made from.

    Attributes:
        study: The finished study.
        images: Whether pictures of inputs may be shown.
    """

    study: Finished
    images: bool = True

    @property
    def info(self) -> Mapping[str, Any]:
        """The content of ``study.json``."""
        return self.study.info

    @property
    def target(self) -> str:
        """The class that was studied, as a reader names it."""
        return plain(str(self.info["target"]["name"]))

    @property
    def against(self) -> str:
        """The class that it is set against, in a contrast; "" in another study."""
        other = self.info["target"].get("against")
        return plain(str(other["name"])) if other else ""

    @property
    def around(self) -> Mapping[str, Any] | None:
        """What ``study.json`` says of the sample that a local study looks around; else None."""
        return self.info.get("near")

    def predicted(self, most: int = 80) -> str:
        """How cuts are judged: the class in quotes, or “cat” rather than “dog”."""
        own = f"“{shorten(self.target, most)}”"
        return f"{own} rather than “{shorten(self.against, most)}”" if self.against else own

    @property
    def score(self) -> str:
        """What the top layer is asked about: the score of a class, or of one against another."""
        return f"score of {self.target}" + (f" against {self.against}" if self.against else "")

    def class_name(self, index: int) -> str:
        """The name of a class; its number when it has none; empty when it is not known (-1)."""
        names = self.info.get("classes") or []
        if index < 0:
            return ""
        return plain(str(names[index])) if index < len(names) else f"class {index}"

    @cached_property
    def layers(self) -> list[Mapping[str, Any]]:
        """One entry per layer, from the one nearest the prediction down to the first."""
        return list(reversed(self.info.get("layers", [])))

    @cached_property
    def explained(self) -> pd.DataFrame:
        """The samples that belong to a mechanism and have a place on the map."""
        table = self.study.samples
        if table.empty or not len(self.study.mechanisms):
            return table.iloc[:0]
        placed = table["map_x"].notna() & table["map_y"].notna()
        return table[placed & table["mechanism"].fillna(-1).ge(0)]

    @property
    def ordered(self) -> pd.DataFrame:
        """Those of them that have a place along the tree; none in older studies."""
        table = self.explained
        return table[table["order"].notna()] if "order" in table else table.iloc[:0]

    @cached_property
    def ids(self) -> Mapping[int, str]:
        """The id of each sample, by its position in the data."""
        table = self.study.samples
        return {int(k): plain(str(v)) for k, v in zip(table["position"], table["id"], strict=True)}

    @cached_property
    def labels(self) -> Mapping[int, int]:
        """The label of each sample predicted as the class, by position; -1 when not known."""
        table = self.study.samples
        return {int(k): int(v) for k, v in zip(table["position"], table["label"], strict=True)}

    def prototypes(self, mechanism: int) -> list[int]:
        """Positions of the most typical samples of a mechanism, the most typical first."""
        rows = self.study.mechanisms
        held = rows.loc[rows["mechanism"] == mechanism, "prototypes"].iloc[0]
        return [int(k) for k in (json.loads(held) if isinstance(held, str) else held)]

    @cached_property
    def typical(self) -> list[int]:
        """Positions of the most typical samples of all mechanisms."""
        groups = [int(k) for k in self.study.mechanisms["mechanism"]]
        return list(dict.fromkeys(p for k in groups for p in self.prototypes(k)))

    @cached_property
    def usual(self) -> Mapping[tuple[int, str, int], tuple[float, float, float]]:
        """The 10 %, 50 % and 90 % quantiles of a neuron, by mechanism, layer and number."""
        return {
            (int(row.mechanism), str(row.layer), int(row.neuron)): (row.low, row.median, row.high)
            for row in records(self.study.signature)
        }

    @cached_property
    def _ranked(self) -> Mapping[str, pd.DataFrame]:
        order = ["selected", "e_value", "score", "neuron"]
        table = self.study.critical.sort_values(
            order, ascending=[False, False, False, True], kind="stable"
        )
        return {str(layer): rows for layer, rows in table.groupby("layer")}

    def ranked(self, layer: str) -> pd.DataFrame:
        """The neurons of a layer, the critical ones first and most evidence first."""
        return self._ranked.get(layer, self.study.critical.iloc[:0])

    @cached_property
    def _selected(self) -> Mapping[str, list[int]]:
        return {
            layer: [int(k) for k in rows.loc[rows["selected"].astype(bool), "neuron"]]
            for layer, rows in self._ranked.items()
        }

    def selected(self, layer: str) -> list[int]:
        """The critical neurons of a layer, most evidence first."""
        return self._selected.get(layer, [])

    @cached_property
    def _cores(self) -> Mapping[str, list[int]]:
        return {
            str(entry["name"]): [int(k) for k in (entry.get("core") or {}).get("neurons", [])]
            for entry in self.layers
        }

    def core(self, layer: str) -> list[int]:
        """The core of a layer, in the order in which it grows; empty where none was looked for."""
        return self._cores.get(layer, [])

    @cached_property
    def _groups(self) -> Mapping[str, list[list[int]]]:
        return {
            str(entry["name"]): [[int(k) for k in group] for group in entry.get("groups") or []]
            for entry in self.layers
        }

    def groups(self, layer: str) -> list[list[int]]:
        """Neurons of a layer that move together and were tested as one."""
        return self._groups.get(layer, [])

    def distinct(self, layer: str) -> list[int]:
        """The critical neurons of a layer, of each group only the first."""
        spare = {member for group in self.groups(layer) for member in group[1:]}
        return [neuron for neuron in self.selected(layer) if neuron not in spare]


def found_words(subject: Subject, entry: Mapping[str, Any]) -> str:
    """How many neurons of a layer are critical, and as how many they count."""
    layer = str(entry["name"])
    found, distinct = len(subject.selected(layer)), len(subject.distinct(layer))
    text = f"{found:,} of {int(entry['neurons']):,}"
    return text if distinct == found else f"{text} (as {distinct:,})"


def records(table: pd.DataFrame) -> Iterator[Any]:
    """The rows of a table, columns as attributes; pandas-stubs cannot type them."""
    return iter(table.itertuples(index=False))


def optional(value: object) -> float | None:
    """A number from a table, None where the table has none."""
    if not isinstance(value, int | float) or not known(float(value)):
        return None
    return float(value)
