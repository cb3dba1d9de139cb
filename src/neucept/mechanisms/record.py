"""What was discovered: the mechanisms, who belongs to them, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from neucept.activations import Activations
from neucept.errors import DataError
from neucept.mechanisms.assigner import Assigner, Assignment
from neucept.mechanisms.tree import TREE_COLUMNS, below, cut
from neucept.runtime import read_arrays, write_arrays

TABLES = ("table", "signature", "choice", "ranking", "tree")
ARRAYS = (
    "samples",
    "labels",
    "membership",
    "typicality",
    "stability",
    "sample_stability",
    "map",
    "leaves",
    "order",
    "together",
)


@dataclass(frozen=True)
class Mechanisms:
    """The mechanisms behind one predicted class; 0 is the largest.

    Attributes:
        target: The class that the samples are predicted as; of a contrast, the first.
        layers: The layers whose core or critical neurons told the mechanisms apart.
        method: "mixture" or "kmeans".
        samples: Positions of the samples; the arrays below have one row for each.
        labels: The mechanism of each sample; -1 when none could be looked for.
        membership: Probability of each mechanism; rows sum to 1.
        typicality: Smoothed conformal p-value of each sample, judged as a new one would be by
            mechanisms that were fitted without its fold; NaN when none.
        stability: Per mechanism, how fully it comes back in half of the samples, 0 to 1.
        sample_stability: Per sample, the share of those groupings that put it there again.
        prototypes: Per mechanism, positions of its 12 most typical samples, the first first.
        map: A place in the plane for each sample, for a picture.
        table: Per mechanism: mechanism, size, share, stability, accuracy (NaN without labels),
            confidence (mean probability of the class).
        signature: Per mechanism and neuron: low, median, high (10, 50, 90 % quantiles), the same
            of the other mechanisms, and the difference in pooled standard deviations. The grouping
            used these neurons, so the difference is a description, not a test.
        choice: Per number of groups: n, stability (of the weakest), stability_one (what one
            mechanism would give), gap (p-value that some pair has no gap; NaN where a mechanism
            does not come back, which rules the number out), criterion (held-out log-likelihood,
            nats per sample), chosen.
        ranking: Per layer: layer, neurons, n, stability, stability_one, gap, support, leads.
        message: How the number was settled, or why there is none.
        settings: What was used to find them; "used" says per layer whether its "core" or all of its
            "critical" neurons were looked at.
        assigner: Assigns other samples; None when no mechanisms could be looked for.
        leaves: The leaf of each sample in the tree; leaves are numbered along it.
        tree: Per merge, first to last: step, first and second (nodes; leaves are 0, 1, ...), node
            (the new one), height (log-likelihood lost so far, nats per sample), size (samples
            below), mechanism (whose leaves merge; -1 where mechanisms do). Empty in what an
            earlier neucept wrote.
        order: Position of each sample along the tree, 0 to 1, rising with the class score; NaN
            when there are no mechanisms, and in what an earlier neucept wrote.
        together: Which samples belong together, numbered from 0.
        ids: The name of each sample; its position in what an earlier neucept wrote.
        total: How many samples there were, those of other classes among them; -1 if unknown.
    """

    target: int
    layers: tuple[str, ...]
    method: str
    samples: Int[np.ndarray, " samples"] = field(repr=False)
    labels: Int[np.ndarray, " samples"] = field(repr=False)
    membership: Float[np.ndarray, "samples mechanisms"] = field(repr=False)
    typicality: Float[np.ndarray, " samples"] = field(repr=False)
    stability: Float[np.ndarray, " mechanisms"]
    sample_stability: Float[np.ndarray, " samples"] = field(repr=False)
    prototypes: Sequence[Sequence[int]] = field(repr=False)
    map: Float[np.ndarray, "samples 2"] = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    signature: pd.DataFrame = field(repr=False)
    choice: pd.DataFrame = field(repr=False)
    ranking: pd.DataFrame = field(repr=False)
    message: str
    settings: Mapping[str, Any] = field(repr=False)
    assigner: Assigner | None = field(repr=False)
    leaves: Int[np.ndarray, " samples"] = field(repr=False)
    tree: pd.DataFrame = field(repr=False)
    order: Float[np.ndarray, " samples"] = field(repr=False)
    together: Int[np.ndarray, " samples"] = field(repr=False)
    ids: Sequence[str] = field(repr=False)
    total: int

    @property
    def n_mechanisms(self) -> int:
        """How many mechanisms; 0 when none could be looked for."""
        return len(self.stability)

    @property
    def n_leaves(self) -> int:
        """How many leaves the tree has; 0 when there are no mechanisms."""
        return int(self.leaves.max(initial=-1)) + 1

    def cut(self, number: int) -> Int[np.ndarray, " samples"]:
        """The samples in as many groups as the tree is cut into; 0 is the largest.

        Args:
            number: From 1 to `n_leaves`; `n_mechanisms` gives the mechanisms.

        Returns:
            The group of each sample.

        Raises:
            SettingsError: `number` is outside that range.
            DataError: the mechanisms were found by an earlier neucept, which kept no tree.
        """
        return (
            self.labels.copy()
            if number == self.n_mechanisms
            else cut(self.leaves, self.tree, number)
        )

    def branch(self, node: int) -> Bool[np.ndarray, " samples"]:
        """Which samples lie below a node of the tree: they against the rest is a two-way cut.

        Args:
            node: A leaf, or a node of `tree`.

        Raises:
            SettingsError: there is no such node.
        """
        return below(self.leaves, self.tree, node)

    def assign(self, acts: Activations) -> Assignment:
        """The mechanism of other samples, with membership and typicality.

        Args:
            acts: Activations of the same network; every sample is assigned, whatever its
                prediction.

        Returns:
            labels, membership and typicality, one row per sample.

        Raises:
            DataError: there are no mechanisms, or an activation is NaN or infinite.
            ModelError: a layer is missing or has too few neurons.
        """
        if self.assigner is None:
            raise DataError(f"There are no mechanisms to assign to. {self.message}")
        return self.assigner.assign(acts)

    def to_frame(self) -> pd.DataFrame:
        """The table of mechanisms; a copy."""
        return self.table.copy()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays that `runtime.write_arrays` can store."""
        about = {
            "target": self.target,
            "layers": self.layers,
            "method": self.method,
            "prototypes": self.prototypes,
            "message": self.message,
            "settings": dict(self.settings),
            "total": self.total,
            "columns": {name: list(getattr(self, name).columns) for name in TABLES},
        }
        arrays = {name: getattr(self, name) for name in ARRAYS}
        arrays["ids"] = np.array(self.ids, dtype=str)
        for name in TABLES:
            for column, values in getattr(self, name).items():
                plain = values.to_numpy()
                arrays[f"{name}.{column}"] = plain.astype(str) if plain.dtype == object else plain
        if self.assigner is not None:
            arrays |= self.assigner.to_arrays()
        return arrays | {"about": np.array(json.dumps(about))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Mechanisms:
        """The mechanisms that `to_arrays` took apart, by this neucept or an earlier one."""
        about = {"total": -1} | json.loads(str(arrays["about"]))
        parts: dict[str, Any] = {name: arrays[name] for name in ARRAYS if name in arrays}
        samples = parts["samples"]
        earlier = {
            "leaves": parts["labels"],
            "order": np.full(len(samples), np.nan),
            "together": np.arange(len(samples)),
            "ids": [str(position) for position in samples],
            "tree": pd.DataFrame({name: [] for name in TREE_COLUMNS}),
        }
        for name, columns in about.pop("columns").items():
            parts[name] = pd.DataFrame({c: _column(arrays[f"{name}.{c}"]) for c in columns})
        known = "assigner.layers" in arrays
        parts["assigner"] = Assigner.from_arrays(arrays) if known else None
        parts |= about | {"layers": tuple(about["layers"])}
        if "ids" in arrays:
            parts["ids"] = [str(name) for name in arrays["ids"]]
        return cls(**(earlier | parts))

    def save(self, path: Path | str) -> None:
        """Write the mechanisms to one file of plain arrays.

        Raises:
            StorageError: the file cannot be written.
        """
        write_arrays(path, self.to_arrays())

    @classmethod
    def load(cls, path: Path | str) -> Mechanisms:
        """Read mechanisms that `save` wrote.

        Raises:
            StorageError: the file is missing or cut short.
        """
        return cls.from_arrays(read_arrays(path))


def _column(values: np.ndarray) -> np.ndarray | list[str]:
    return [str(v) for v in values] if values.dtype.kind == "U" else values
