"""The search for the fewest neurons that carry one mechanism and not the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

WIDTH = 8
"""Neurons tried at each step: those that were worth most when they were last tried."""

SHARE = 5
"""One neuron for so many that are there already comes in at a step; one at least."""

WEIGHTS = (1.0, 0.5, 0.0)
"""How much a loss of the others' log-odds counts in the worth of a neuron; each is tried."""

WHOLE = 0.99
"""A cut that moves its mechanism this far cannot do much more."""

LEAST_SCORE = 1.0
"""Log-odds, in nats, below which a sample's fall is not blown up into a share."""

PATH_COLUMNS = ("cut", "weight", "size", "moved", "lost", "gained", "harmed", "taken")


@dataclass(frozen=True)
class Effect:
    """What a cut does to each sample.

    Attributes:
        moved: The share of the log-odds lost; see `shift_of`.
        nats: The log-odds lost, in nats; no more than there were, nor less than minus that.
        loss: The probability lost.
    """

    moved: Float[np.ndarray, " samples"]
    nats: Float[np.ndarray, " samples"]
    loss: Float[np.ndarray, " samples"]


@dataclass(frozen=True)
class Step:
    """A set of neurons on the way, and its means over the samples that choose.

    Attributes:
        moved: The share of the log-odds that the mechanism's samples lose.
        lost: The probability that they lose.
        gained: The log-odds that they lose, in nats.
        harmed: The log-odds lost by the other mechanism that loses most, in nats.
        taken: The probability lost by the other mechanism that loses most.
    """

    cut: tuple[int, ...]
    moved: float
    lost: float
    gained: float
    harmed: float
    taken: float

    @property
    def reach(self) -> float:
        """How far the mechanism's samples go: towards even odds, and over to other predictions."""
        return (self.moved + self.lost) / 2

    def worth(self, weight: float) -> float:
        """Nats gained, less what the others lose."""
        return self.gained - weight * self.harmed


@dataclass(frozen=True)
class Found:
    """The cut of one mechanism.

    Attributes:
        neurons: In the order in which they came in.
        reach: How far it takes the mechanism's samples that choose; see `Step.reach`.
        path: One row for each set on the way there; see `Selectivity.path`.
    """

    neurons: Int[np.ndarray, " cut"]
    reach: float
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
    return np.asarray(np.clip((before - after) / np.maximum(before, LEAST_SCORE), -1.0, 1.0))


class CutSearch:
    """Sets of neurons, and what cutting them does to a mechanism and to those beside it."""

    def __init__(
        self,
        effect: Callable[[Int[np.ndarray, " cut"]], Effect],
        labels: Int[np.ndarray, " samples"],
        mechanism: int,
        candidates: Sequence[int],
    ) -> None:
        """Try every candidate alone.

        Args:
            effect: What cutting a set, its neurons ascending, does to each sample that chooses.
            labels: The mechanism of each sample.
            mechanism: Whose samples are to be moved.
            candidates: The neurons that may be cut.
        """
        self._effect, self._labels, self._mechanism = effect, labels, mechanism
        self._others = [group for group in np.unique(labels) if group != mechanism]
        self._alone = {neuron: self._step((neuron,)) for neuron in candidates}

    def _step(self, cut: tuple[int, ...]) -> Step:
        effect = self._effect(np.sort(np.asarray(cut, dtype=np.int64)))
        own = self._labels == self._mechanism
        beside = [self._labels == group for group in self._others]
        return Step(
            cut,
            moved=float(effect.moved[own].mean()),
            lost=float(effect.loss[own].mean()),
            gained=float(effect.nats[own].mean()),
            harmed=max(float(np.clip(effect.nats[rows], 0.0, None).mean()) for rows in beside),
            taken=max(float(effect.loss[rows].mean()) for rows in beside),
        )

    def find(self, most: int, level: float, spare: float) -> Found:
        """The smallest set found that reaches nearly as far as any that spares the others.

        A cut reaches half of the share of the log-odds that it takes from the mechanism's samples,
        and half of the probability: the first alone grows while another road still leads to the
        class, the second where it is lost at last.

        Neurons come in one by one, later a few at a time: those worth most, of those with which no
        other mechanism loses more than `spare` of its probability. That is done for weights of
        the others' log-odds, and the path that reaches farthest is taken, to its smallest set that
        reaches `level` of that. The set then loses every neuron it can spare.

        Args:
            most: Neurons at most.
            level: Share of the farthest reach, in (0, 1].
            spare: Mean probability that any other mechanism may lose.

        Returns:
            The cut; empty where no set takes more from the mechanism than from another.
        """
        paths = {weight: self._grown(weight, most, spare) for weight in WEIGHTS}
        rows = [(w, *_row(step)) for w, path in paths.items() for step in path]
        frame = pd.DataFrame(rows, columns=list(PATH_COLUMNS[1:]))
        frame.insert(0, "cut", self._mechanism)
        useful = {w: [s for s in path if s.worth(1.0) > 0] for w, path in paths.items()}
        farthest = {w: max((s.reach for s in path), default=0.0) for w, path in useful.items()}
        weight = max(WEIGHTS, key=lambda w: farthest[w])
        needed = level * farthest[weight]
        if needed <= 0:
            return Found(np.zeros(0, dtype=np.int64), 0.0, frame)
        step = next(s for s in useful[weight] if s.reach >= needed)
        step = self._pruned(step, needed, spare)
        return Found(np.asarray(step.cut, dtype=np.int64), step.reach, frame)

    def _grown(self, weight: float, most: int, spare: float) -> list[Step]:
        """One path: each step is the last one and what is worth most beside it."""
        known = {neuron: step.worth(weight) for neuron, step in self._alone.items()}
        path: list[Step] = []
        cut: tuple[int, ...] = ()
        while len(cut) < most and known:
            last = path[-1].worth(weight) if path else 0.0
            together = min(max(1, len(cut) // SHARE), most - len(cut))
            tried: dict[int, Step] = {}
            for neuron in sorted(known, key=lambda c: (-known[c], c))[: WIDTH + together]:
                step = self._step((*cut, neuron)) if cut else self._alone[neuron]
                known[neuron] = step.worth(weight) - last
                if step.taken <= spare:
                    tried[neuron] = step
            if not tried:
                break
            best = sorted(tried, key=lambda c: (-tried[c].worth(weight), c))[:together]
            step = tried[best[0]] if len(best) == 1 else self._step((*cut, *best))
            path.append(step if step.taken <= spare else tried[best[0]])
            cut = path[-1].cut
            known = {neuron: worth for neuron, worth in known.items() if neuron not in cut}
            if path[-1].moved >= WHOLE:
                break
        return path

    def _pruned(self, full: Step, needed: float, spare: float) -> Step:
        """The set without the neurons it can do without; early ones are tried first."""
        for neuron in full.cut[:-1]:
            step = self._step(tuple(other for other in full.cut if other != neuron))
            if step.reach >= needed and step.taken <= spare and step.worth(1.0) > 0:
                full = step
        return full


def _row(step: Step) -> tuple[int, float, float, float, float, float]:
    return len(step.cut), step.moved, step.lost, step.gained, step.harmed, step.taken
