"""What a search found: the critical neurons of each layer, and what connects them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from neucept.activations import Activations, Target, predicted_as
from neucept.critical.core import check_keep, first_to_keep
from neucept.critical.population import Neighbourhood
from neucept.critical.settings import Search
from neucept.errors import ModelError, SettingsError, StorageError, near_names
from neucept.runtime import write_bytes, writing

CLASS_SCORE = ""
"""The `target_layer` of an edge that ends at the class score; its `target_neuron` is -1."""

NODE_COLUMNS = ("layer", "neuron", "selected", "e_value", "score", "frequency", "note")
KEPT_COLUMNS = ("layer", "size", "neuron", "kept", "measured")
EDGE_COLUMNS = (
    "layer",
    "neuron",
    "target_layer",
    "target_neuron",
    "selected",
    "e_value",
    "score",
)


def _nothing_kept() -> pd.DataFrame:
    return pd.DataFrame({column: [] for column in KEPT_COLUMNS})


@dataclass(frozen=True)
class Critical:
    """The critical neurons behind one class, per layer, and what connects them.

    Attributes:
        target: The class that was explained; a pair for a contrast, the first rather than the
            second.
        layers: The layers searched, in order of execution.
        search: The settings of the search.
        table: One row per neuron: layer, neuron, selected, e_value, score, frequency, note.
        edges: One row per neuron and target: layer, neuron, target_layer, target_neuron, selected,
            e_value, score. The class score is target_layer "" and target_neuron -1.
        messages: By layer, why nothing was selected or what limits it; "" when all is well.
        settings: By layer, what was chosen and why (rows, draws, knockoffs, level, ...).
        kept: How the core of each layer grows: layer, size, neuron (the one that comes in at this
            size; -1 at size 0), kept (share of what the whole layer tells about the targets, on
            held-out rows), measured (False where `kept` is interpolated).
        around: The samples that a local study looked at; None where it was not local.
    """

    target: Target
    layers: tuple[str, ...]
    search: Search
    table: pd.DataFrame = field(repr=False)
    edges: pd.DataFrame = field(repr=False)
    messages: Mapping[str, str]
    settings: Mapping[str, Mapping[str, Any]] = field(repr=False)
    kept: pd.DataFrame = field(repr=False, default_factory=_nothing_kept)
    around: Neighbourhood | None = None

    def explained(self, acts: Activations) -> Int[np.ndarray, " samples"]:
        """The samples whose prediction is explained; mechanisms and cuts look at these.

        Args:
            acts: The activations that were searched.

        Returns:
            Positions, ascending: of the samples predicted as the class (of a contrast, as the
            first), and in a local study of those around the one that was named.
        """
        if self.around is not None:
            return self.around.rows
        return np.flatnonzero(acts.predictions == predicted_as(self.target))

    def neurons(self, layer: str) -> Int[np.ndarray, " selected"]:
        """The critical neurons of a layer.

        Args:
            layer: One of `layers`.

        Returns:
            Their indices, most evidence first; empty when nothing was selected.

        Raises:
            ModelError: the layer was not searched.
        """
        if layer not in self.layers:
            raise ModelError(f"Layer '{layer}' was not searched. {near_names(layer, self.layers)}")
        rows = self.table[(self.table["layer"] == layer) & self.table["selected"]]
        ranked = rows.sort_values(
            ["e_value", "score", "neuron"], ascending=[False, False, True], kind="stable"
        )
        return ranked["neuron"].to_numpy(dtype=np.int64)

    def core(self, layer: str, keep: float = 0.9) -> Int[np.ndarray, " core"]:
        """The smallest set of critical neurons found to keep a share of what the layer tells.

        It has no error rate of its own. Of a group of near-copies, one member stands for all.

        Args:
            layer: One of `layers`.
            keep: The share, in (0, 1]. Sizes are measured around ``search.keep``.

        Returns:
            Neuron indices, in the order in which the core grows; all critical neurons when no
            set keeps the share, none when nothing was selected.

        Raises:
            ModelError: the layer was not searched.
            SettingsError: `keep` is out of range, or the search was told to find no core.
        """
        check_keep(keep)
        found = self.neurons(layer)
        rows = self.kept[self.kept["layer"] == layer].sort_values("size")
        if len(found) and rows.empty:
            raise SettingsError("The search found no core, with keep=0. Search again with keep.")
        grown = rows["neuron"].to_numpy(dtype=np.int64)[1:]
        return first_to_keep(grown, rows["kept"].to_numpy(dtype=np.float64), keep)

    def to_frame(self) -> pd.DataFrame:
        """The node table, one row per neuron; a copy."""
        return self.table.copy()

    def save(self, folder: Path | str) -> None:
        """Write the tables (critical, edges, kept) and ``critical.json`` into a folder.

        Raises:
            StorageError: the folder cannot be written.
        """
        place = Path(folder)
        for name, frame in (("critical", self.table), ("edges", self.edges), ("kept", self.kept)):
            with writing(place / f"{name}.parquet") as temporary:
                frame.to_parquet(temporary, index=False)
        text = {
            "target": self.target,
            "layers": self.layers,
            "search": asdict(self.search),
            "messages": dict(self.messages),
            "settings": {k: dict(v) for k, v in self.settings.items()},
            "around": None if self.around is None else self.around.to_json(),
        }
        write_bytes(place / "critical.json", json.dumps(text, indent=1).encode())

    @classmethod
    def load(cls, folder: Path | str) -> Critical:
        """Read what `save` wrote.

        Raises:
            StorageError: a file is missing or cannot be read.
        """
        place = Path(folder)
        try:
            text = json.loads((place / "critical.json").read_bytes())
            table = pd.read_parquet(place / "critical.parquet")
            edges = pd.read_parquet(place / "edges.parquet")
            kept = pd.read_parquet(place / "kept.parquet")
            search = dict(text["search"])
            if search["layers"] is not None:
                search["layers"] = tuple(search["layers"])
            return cls(
                target=_target(text["target"]),
                layers=tuple(text["layers"]),
                search=Search(**search),
                table=table,
                edges=edges,
                kept=kept,
                messages=text["messages"],
                settings=text["settings"],
                around=Neighbourhood.from_json(text.get("around")),
            )
        except (OSError, ValueError, KeyError, TypeError, SettingsError) as error:
            raise StorageError(
                f"Cannot read the critical neurons in '{place}' ({error}). Search again."
            ) from error


def _target(said: int | list[int]) -> Target:
    return (said[0], said[1]) if isinstance(said, list) else said
