"""The record of a selection: which neurons, on what evidence, under which settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from neucept.runtime import read_arrays, write_arrays


@dataclass(frozen=True, eq=False)
class Selection:
    """Which neurons matter for the targets, at a controlled rate of wrong ones.

    Arrays have one entry for each neuron, and a last axis for the targets where these were
    selected for separately. Neurons that were set aside have no evidence: 0 throughout. Members
    of a group share theirs.

    Attributes:
        selected: Whether the neuron is selected.
        e_values: Evidence, averaged over draws; at least 0.
        scores: Mean signed margin over draws: how far the neuron is ahead of its knockoffs, in
            the statistic's unit; negative where they are ahead.
        frequency: Share of the draws whose own filter the neuron passes, 0 to 1.
        fdr: The level that was asked for.
        message: Why nothing was selected and what would change that; where something was, and an
            audit does not show that the level holds here, that; "" otherwise.
        settings: What was used and, where it was chosen, why; plain JSON values.
        groups: Neurons that are tested as one (correlation at least 0.99).
        set_aside: Neurons that were not tested, with the reason.
    """

    selected: Bool[np.ndarray, " neurons *targets"]
    e_values: Float[np.ndarray, " neurons *targets"]
    scores: Float[np.ndarray, " neurons *targets"]
    frequency: Float[np.ndarray, " neurons *targets"]
    fdr: float
    message: str
    settings: dict[str, Any]
    groups: tuple[tuple[int, ...], ...]
    set_aside: dict[int, str]

    @property
    def neurons(self) -> Int[np.ndarray, " selected"]:
        """The selected neurons, most evidence first; with separate targets, for any of them."""
        flat = (len(self.selected), -1)
        chosen = np.flatnonzero(self.selected.reshape(flat).any(1))
        evidence = self.e_values.reshape(flat).max(1)[chosen]
        score = self.scores.reshape(flat).max(1)[chosen]
        return np.asarray(chosen[np.lexsort((chosen, -score, -evidence))])

    def to_frame(self) -> pd.DataFrame:
        """One row for each neuron (and target): selected, e_value, score, frequency, note."""
        notes = {j: f"not tested: {reason}" for j, reason in self.set_aside.items()}
        for group in self.groups:
            for j in group:
                others = ", ".join(str(k) for k in group if k != j)
                notes.setdefault(j, f"counts as one with {others}")
        shape = self.selected.shape
        columns: dict[str, Any] = {"neuron": np.repeat(np.arange(shape[0]), shape[1:] or 1)}
        if len(shape) > 1:
            columns["target"] = np.tile(np.arange(shape[1]), shape[0])
        columns |= {
            "selected": self.selected.ravel(),
            "e_value": self.e_values.ravel(),
            "score": self.scores.ravel(),
            "frequency": self.frequency.ravel(),
        }
        frame = pd.DataFrame(columns)
        frame["note"] = [notes.get(int(j), "") for j in frame["neuron"]]
        return frame

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays that `runtime.write_arrays` can store."""
        about = {
            "fdr": self.fdr,
            "message": self.message,
            "settings": self.settings,
            "groups": self.groups,
            "set_aside": {str(j): reason for j, reason in self.set_aside.items()},
        }
        return {
            "selected": self.selected,
            "e_values": self.e_values,
            "scores": self.scores,
            "frequency": self.frequency,
            "about": np.array(json.dumps(about)),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Selection:
        """The selection that `to_arrays` took apart."""
        about = json.loads(str(arrays["about"]))
        return cls(
            selected=arrays["selected"],
            e_values=arrays["e_values"],
            scores=arrays["scores"],
            frequency=arrays["frequency"],
            fdr=about["fdr"],
            message=about["message"],
            settings=about["settings"],
            groups=tuple(tuple(group) for group in about["groups"]),
            set_aside={int(j): reason for j, reason in about["set_aside"].items()},
        )

    def save(self, path: Path | str) -> None:
        """Write the selection to one file.

        Raises:
            StorageError: the file cannot be written.
        """
        write_arrays(path, self.to_arrays())

    @classmethod
    def load(cls, path: Path | str) -> Selection:
        """Read a selection that `save` wrote.

        Raises:
            StorageError: the file is missing or cut short.
        """
        return cls.from_arrays(read_arrays(path))
