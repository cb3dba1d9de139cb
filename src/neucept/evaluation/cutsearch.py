"""The search for the fewest neurons that carry one mechanism and not the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

WIDTH = 12
"""Neurons tried at each step: those that were worth most when they were last tried."""

PATIENCE = 6
"""Steps without a better set after which no more neurons are added."""

LEAST_SCORE = 1.0
"""Log-odds, in nats, below which a sample's fall is not blown up into a share."""

PATH_COLUMNS = ("cut", "step", "neuron", "size", "moved", "harmed", "worth")

Shift = Callable[[Int[np.ndarray, " cut"]], Float[np.ndarray, " samples"]]
"""From a set of neurons to how far cutting it takes each sample; see `shift_of`."""


@dataclass(frozen=True)
class Found:
    """The cut of one mechanism.

    Attributes:
        neurons: In the order in which they came in.
        path: One row for each set on the way there; see `Selectivity.path`.
    """

    neurons: Int[np.ndarray, " cut"]
    path: pd.DataFrame


def shift_of(
    before: Float[np.ndarray, " samples"], after: Float[np.ndarray, " samples"]
) -> Float[np.ndarray, " samples"]:
    """How far a cut takes samples from their prediction: 0 not at all, 1 to even odds or beyond.

    The share of the log-odds lost. Unlike a loss of probability it also shows a road that was
    closed while another still leads to the same prediction. Below 0, to -1 at most, where the
    prediction became surer.

    Args:
        before: Log-odds of the class, in nats.
        after: The same with neurons cut.
    """
    return np.clip((before - after) / np.maximum(before, LEAST_SCORE), -1.0, 1.0)


class CutSearch:
    """Sets of neurons and what cutting them does to each mechanism, on the rows that choose."""

    def __init__(
        self, shift: Shift, groups: Int[np.ndarray, " samples"], candidates: Sequence[int]
    ) -> None:
        """Try every candidate alone.

        Args:
            shift: How far cutting a set takes each sample.
            groups: The mechanism of each sample.
            candidates: The neurons that may be cut.
        """
        self._shift = shift
        self._groups = groups
        self._alone = {neuron: self._effects([neuron]) for neuron in candidates}

    def _effects(self, cut: Sequence[int]) -> dict[int, tuple[float, float]]:
        """Per mechanism, how far its samples move on average: all told, and falls alone."""
        shift = self._shift(np.sort(np.asarray(cut, dtype=np.int64)))
        found = {}
        for group in np.unique(self._groups):
            own = shift[self._groups == group]
            found[int(group)] = float(own.mean()), float(np.clip(own, 0.0, None).mean())
        return found

    def find(self, mechanism: int, most: int, level: float) -> Found:
        """The smallest set found that is nearly as selective as the best of its path.

        The worth of a set is how far it moves the mechanism's samples, less how far it lowers
        those of the mechanism it harms most. Neurons come in one by one, the one that adds most
        first; the smallest set on the path that reaches `level` of the best worth is taken, and
        then loses every neuron it can spare at that worth.

        Args:
            mechanism: Whose samples are to be moved.
            most: Neurons at most.
            level: Share of the best worth, in (0, 1].

        Returns:
            The cut; empty where no set moves the mechanism more than it harms another.
        """
        known = {c: _worth(effects, mechanism)[2] for c, effects in self._alone.items()}
        cut: list[int] = []
        rows: list[tuple[str, int, int, float, float, float]] = []
        worths: list[float] = []
        while len(cut) < most and known:
            tried = {}
            for neuron in sorted(known, key=lambda c: (-known[c], c))[:WIDTH]:
                # Alone, its effects are known already.
                effects = self._effects([*cut, neuron]) if cut else self._alone[neuron]
                tried[neuron] = _worth(effects, mechanism)
                known[neuron] = tried[neuron][2] - (worths[-1] if worths else 0.0)
            chosen = max(tried, key=lambda c: (tried[c][2], -c))
            cut.append(chosen)
            del known[chosen]
            worths.append(tried[chosen][2])
            rows.append(("added", chosen, len(cut), *tried[chosen]))
            if len(worths) - 1 - int(np.argmax(worths)) >= PATIENCE:
                break
        best = max(worths, default=0.0)
        if best > 0:
            enough = int(np.argmax(np.asarray(worths) >= level * best)) + 1
            cut = self._pruned(cut[:enough], mechanism, level * best, rows)
        else:
            cut = []
        frame = pd.DataFrame(rows, columns=list(PATH_COLUMNS[1:]))
        frame.insert(0, "cut", mechanism)
        return Found(np.asarray(cut, dtype=np.int64), frame)

    def _pruned(
        self,
        cut: list[int],
        mechanism: int,
        needed: float,
        rows: list[tuple[str, int, int, float, float, float]],
    ) -> list[int]:
        """The set without the neurons it can spare; early ones are tried first."""
        for neuron in tuple(cut[:-1]):
            rest = [other for other in cut if other != neuron]
            worth = _worth(self._effects(rest), mechanism)
            if worth[2] >= needed:
                cut = rest
                rows.append(("spared", neuron, len(cut), *worth))
        return cut


def _worth(effects: dict[int, tuple[float, float]], mechanism: int) -> tuple[float, float, float]:
    """How far the mechanism moves, how far the others are lowered at most, and the difference."""
    moved = effects[mechanism][0]
    harmed = max(lowered for group, (_, lowered) in effects.items() if group != mechanism)
    return moved, harmed, moved - harmed
