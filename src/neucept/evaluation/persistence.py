"""Two groupings of the same samples: what of the one is found in the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.stats import hypergeom, norm, random_table

from neucept.evaluation.agreement import agreement
from neucept.runtime import generator

HALF = 0.5
"""Overlap that a partner must exceed: more than half of what either holds is then in both, so no
other group can be the partner. A group whose own stability is no more than that comes back in no
other grouping of its own samples, and cannot be said to be gone from another."""

CHANCE = 0.05
"""Probability, over all pairs compared, of an overlap as large between unrelated groupings."""

ROUNDING = 1e-9
"""By how much an overlap may miss what is needed."""

PERMUTATIONS = 999
"""Unrelated groupings of the same sizes that the agreement is compared with."""


@dataclass(frozen=True)
class Fate:
    """What became of one group in the other grouping.

    Attributes:
        group: The group.
        status: "persists", "splits" (into groups of the other, which together hold it), "merges"
            (with others, into one group), "lost" (none of these), or "unstable" (none of these,
            but it hardly comes back within its own study either).
        partners: Groups of the other grouping: the partner, the pieces, or the whole it is part
            of; the nearest one where it is lost.
        overlap: Jaccard index of the group, or of all that merge, with the partners together.
        low, high: 95 % interval of the overlap over samples, the groupings being as they are.
        needed: Overlap that the stability of the groups makes expect.
        chance: Probability of such an overlap between unrelated groups of these sizes.
    """

    group: int
    status: str
    partners: tuple[int, ...]
    overlap: float
    low: float
    high: float
    needed: float
    chance: float


@dataclass(frozen=True)
class Persistence:
    """Two groupings side by side.

    Attributes:
        counts: Samples by group of the first and of the second grouping.
        first, second: The fate of every group.
        ami: Adjusted mutual information of the two; NaN where either has a single group.
        ami_chance: Probability of as much between unrelated groupings of these sizes; NaN too.
    """

    counts: Int[np.ndarray, "first second"]
    first: tuple[Fate, ...] = field(repr=False)
    second: tuple[Fate, ...] = field(repr=False)
    ami: float
    ami_chance: float


def persistence(
    first: Int[np.ndarray, " samples"],
    second: Int[np.ndarray, " samples"],
    stability_first: Float[np.ndarray, " groups"],
    stability_second: Float[np.ndarray, " others"],
    *,
    seed: int = 0,
) -> Persistence:
    """Which groups of one grouping are found in another, one to one or in pieces.

    Two groupings that are each a noisy view of the same groups overlap by about the product of
    their stabilities (mean Jaccard index over resamplings). So a group persists when its overlap
    with its partner is not below that product (the upper end of its interval reaches it), over one
    half, and larger than chance gives; it splits when that holds of it and all groups of the other
    that have most of their samples in it; it merges when that holds the other way round. Where
    several hold, one whose overlap itself reaches the product goes before one whose interval does.

    Args:
        first: The group of each sample in the one grouping, from 0.
        second: Its group in the other.
        stability_first: Per group of the one, how fully it comes back when its samples are drawn
            again, 0 to 1.
        stability_second: The same of the other.
        seed: Draws the unrelated groupings.

    Returns:
        Both groupings side by side.

    Source: Hennig (2007) for stability and the bound of one half; Wilson (1927) for the interval.
    """
    counts = np.zeros((len(stability_first), len(stability_second)), dtype=np.int64)
    np.add.at(counts, (first, second), 1)
    forth = _fates(counts, stability_first, stability_second)
    back = _fates(counts.T, stability_second, stability_first)
    several = min((counts.sum(axis=1) > 0).sum(), (counts.sum(axis=0) > 0).sum()) > 1
    ami, chance = float("nan"), float("nan")
    if several:
        ami, chance = agreement(first, second).ami, _chance_of_agreement(counts, seed)
    return Persistence(counts, forth, back, ami, chance)


def _fates(counts: np.ndarray, own: np.ndarray, others: np.ndarray) -> tuple[Fate, ...]:
    """The fate of every row's group among the columns' groups."""
    view = _View(counts, own, others)
    return tuple(view.fate(group) for group in range(len(own)))


class _View:
    """A contingency table seen from its rows."""

    def __init__(self, counts: np.ndarray, own: np.ndarray, others: np.ndarray) -> None:
        self._counts, self._own, self._others = counts, own, others
        self._rows, self._columns = counts.sum(axis=1), counts.sum(axis=0)
        either = self._rows[:, None] + self._columns[None, :] - counts
        jaccard = counts / np.maximum(either, 1)
        self._nearest = jaccard.argmax(axis=1)
        matched = dict(zip(*linear_sum_assignment(-jaccard), strict=True))
        self._partner = {int(i): int(j) for i, j in matched.items()}
        self._pairs = max(1, len(self._partner))

    def fate(self, group: int) -> Fate:
        partner = self._partner.get(group)
        tried = [] if partner is None else [("persists", [group], [partner])]
        pieces = self._inside(group)
        if len(pieces) > 1:
            tried.append(("splits", [group], pieces))
        whole = self._around(group)
        if whole is not None and len(parts := self._parts(whole)) > 1:
            tried.append(("merges", parts, [whole]))
        found = [self._compared(group, *one) for one in tried]
        found = [fate for fate in found if fate.overlap > HALF and self._real(fate)]
        # Best what reaches the overlap needed; else what is not clearly below it.
        for reached in ("overlap", "high"):
            for fate in found:
                if getattr(fate, reached) > fate.needed - ROUNDING:
                    return fate
        status = "unstable" if self._own[group] <= HALF else "lost"
        return self._compared(group, status, [group], [int(self._nearest[group])])

    def _real(self, found: Fate) -> bool:
        # Groups that are all the samples overlap whatever is said of them.
        return found.overlap == 1 or found.chance * self._pairs <= CHANCE

    def _inside(self, group: int) -> list[int]:
        """Groups of the other grouping that have most of their samples in this one."""
        most = self._counts[group] > HALF * self._columns
        return [int(j) for j in np.flatnonzero(most)]

    def _around(self, group: int) -> int | None:
        """The group of the other grouping that holds most of this one."""
        most = np.flatnonzero(self._counts[group] > HALF * self._rows[group])
        return int(most[0]) if len(most) else None

    def _parts(self, whole: int) -> list[int]:
        """Groups of this grouping that have most of their samples in one of the other."""
        most = self._counts[:, whole] > HALF * self._rows
        return [int(i) for i in np.flatnonzero(most)]

    def _compared(
        self, group: int, status: str, rows: Sequence[int], columns: Sequence[int]
    ) -> Fate:
        both = int(self._counts[np.ix_(rows, columns)].sum())
        here, there = int(self._rows[rows].sum()), int(self._columns[columns].sum())
        either = here + there - both
        low, high = wilson(both, either)
        needed = _mean(self._own, self._rows, rows) * _mean(self._others, self._columns, columns)
        chance = float(hypergeom.sf(both - 1, self._counts.sum(), here, there))
        overlap = both / either if either else 0.0
        return Fate(group, status, tuple(columns), overlap, low, high, max(HALF, needed), chance)


def _mean(stability: np.ndarray, sizes: np.ndarray, groups: Sequence[int]) -> float:
    weights = sizes[list(groups)] + 1e-9
    return float(weights @ stability[list(groups)] / weights.sum())


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    Args:
        successes: How often it was so.
        trials: Out of how many; (0, 1) comes back for none.

    Source: Wilson (1927).
    """
    if not trials:
        return 0.0, 1.0
    z = float(norm.ppf(0.975))
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + (z / trials / 2) ** 2)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _chance_of_agreement(counts: np.ndarray, seed: int) -> float:
    """Probability of as much mutual information in a table of the same margins.

    The margins hold, so that adjusted and plain mutual information order tables alike. Drawing
    tables costs the same for any number of samples.
    """
    kept = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    random = generator(seed, "compare", "agreement")
    drawn = random_table(kept.sum(axis=1), kept.sum(axis=0), seed=random).rvs(PERMUTATIONS)
    own = _information(kept[None])[0]
    # A table that says the same up to rounding counts as one that says as much.
    as_much = int((_information(np.asarray(drawn)) >= own - 1e-9).sum())
    return (1 + as_much) / (1 + PERMUTATIONS)


def _information(tables: np.ndarray) -> np.ndarray:
    """Mutual information up to a constant that depends on the margins alone."""
    logs = np.log(np.where(tables > 0, tables, 1))
    return np.asarray((tables * logs).sum(axis=(1, 2)) / tables[0].sum())
