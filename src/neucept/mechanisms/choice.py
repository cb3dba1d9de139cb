"""How many mechanisms a layer shows, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from neucept.mechanisms.features import Space
from neucept.mechanisms.gaps import gap_counts, gap_p_value
from neucept.mechanisms.mixture import Mixture
from neucept.mechanisms.resampling import SPLITS, Half, halves, matched, overlap, recovery

STABLE = 0.75
"""Least overlap with which each mechanism must come back in half of the samples."""

FOUND = 0.5
"""Overlap above which a group counts as found in a half."""

LEVEL = 0.05
"""Largest p-value of the gap between every two mechanisms."""


@dataclass(frozen=True)
class Survey:
    """What was found in one layer (or in several taken together).

    Attributes:
        space: The samples as these layers see them.
        whole: Groupings of the samples into 1, 2, ... groups.
        parts: Groupings of halves of them.
        table: One row per number of groups; see `Mechanisms.choice`.
    """

    space: Space
    whole: Sequence[Mixture] = field(repr=False)
    parts: Sequence[Half] = field(repr=False)
    table: pd.DataFrame = field(repr=False)

    @property
    def row(self) -> pd.Series:
        """The row of the table that was chosen."""
        return self.table[self.table["chosen"]].iloc[0]

    @property
    def number(self) -> int:
        """The number of mechanisms chosen."""
        return int(self.row["n"])

    @property
    def support(self) -> float:
        """Stability beyond what one mechanism would give; 0 where one was found."""
        row = self.row
        return float(row["stability"] - row["stability_one"]) if self.number > 1 else 0.0


def survey(
    space: Space,
    whole: Sequence[Mixture],
    parts: Sequence[Half],
    alone: Sequence[Float[np.ndarray, " numbers"]],
    seed: int,
    asked: int | None,
    together: Int[np.ndarray, " samples"] | None = None,
) -> Survey:
    """Judge every number of groups, and choose one.

    Args:
        space: The samples.
        whole: Groupings of all of them.
        parts: Groupings of halves: first and second half of each split.
        alone: Stability per number in populations with one mechanism.
        seed: That drew the halves.
        asked: A number the user wants; None to choose.
        together: Which samples belong together; None where each stands alone.

    Returns:
        The groupings and the table.
    """
    x = space.x
    both = [halves(len(x), s, seed, space.name, together=together) for s in range(SPLITS)]
    rows = []
    for index, mixture in enumerate(whole):
        labels = mixture.labels(x)
        found = [part.path[index].labels(x) for part in parts]
        stability = float(recovery(labels, found, index + 1).min())
        gap = 0.0 if index == 0 else np.nan
        # Of a number that falls by its stability, gaps would cost most and change nothing.
        if index and (stability >= STABLE or asked == index + 1):
            gap = _gap(x, labels, found, [part.path[index] for part in parts], both, together)
        rows.append(
            {
                "n": index + 1,
                "stability": stability,
                "stability_one": float(np.mean([one[index] for one in alone])),
                "gap": gap,
                "criterion": float(np.mean([part.held_out[index] for part in parts])),
            }
        )
    table = pd.DataFrame(rows)
    table["chosen"] = table["n"] == (asked or choose(table))
    return Survey(space, whole, parts, table)


def _gap(
    x: Float[np.ndarray, "samples dimensions"],
    labels: Int[np.ndarray, " samples"],
    found: Sequence[np.ndarray],
    parts: Sequence[Mixture],
    both: Sequence[Sequence[np.ndarray]],
    together: Int[np.ndarray, " samples"] | None,
) -> float:
    """The p-value that some two groups have no gap, over all splits; see `gap_p_value`."""
    groups = parts[0].groups
    counts, came = [], []
    for split, (first, second) in enumerate(both):
        one, two = 2 * split, 2 * split + 1
        order = [matched(labels, found[part], groups) for part in (one, two)]
        overlaps = [overlap(labels, found[part], groups) for part in (one, two)]
        alike = [o[np.arange(groups), p] for o, p in zip(overlaps, order, strict=True)]
        came.append(np.minimum(*alike) >= FOUND)
        sides = ((one, first, second, order[0]), (two, second, first, order[1]))
        seen = [
            gap_counts(parts[part], x[own], x[other], match, _of(together, other))
            for part, own, other, match in sides
        ]
        counts.append(seen[0] + seen[1])
    return gap_p_value(counts, came)


def _of(together: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if together is None else together[rows]


def choose(table: pd.DataFrame) -> int:
    """The number of mechanisms: of those that stand, the one that fits unseen samples best.

    A number above one stands when each of its mechanisms comes back in half of the samples
    (overlap at least `STABLE`, and more than one mechanism would give), and every two of them have
    a gap between them on samples that did not draw them (p at most `LEVEL`). One is the answer
    when no other number stands.
    """
    stands = (
        (table["n"] > 1)
        & (table["stability"] >= STABLE)
        & (table["stability"] > table["stability_one"])
        & (table["gap"] <= LEVEL)
    )
    among = table[stands]
    if among.empty:
        return 1
    return int(among["n"].to_numpy()[among["criterion"].to_numpy().argmax()])
