"""Which samples of each mechanism choose a cut, and which measure it; how sure a mean is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from neucept.errors import DataError
from neucept.mechanisms import Mechanisms
from neucept.runtime import generator

FEWEST_EACH = 10
"""Samples that choose, and that measure, without which a mechanism is left out."""

RESAMPLES = 2000
OUTSIDE = 0.05
"""What an interval leaves out, on both sides together."""


@dataclass(frozen=True)
class Part:
    """Some samples of several mechanisms.

    Attributes:
        rows: Positions, ascending.
        labels: The mechanism of each.
        units: What each belongs to; samples of one unit were not split.
    """

    rows: Int[np.ndarray, " samples"]
    labels: Int[np.ndarray, " samples"]
    units: Int[np.ndarray, " samples"]

    @classmethod
    def of(cls, rows: Mapping[int, np.ndarray], units: Int[np.ndarray, " all"]) -> Part:
        """The samples of each mechanism together."""
        positions = np.concatenate([*rows.values(), np.zeros(0, dtype=np.int64)])
        labels = np.repeat(list(rows), [len(r) for r in rows.values()]).astype(np.int64)
        order = np.argsort(positions, kind="stable")
        return cls(positions[order], labels[order], units[positions[order]])


def halves(
    mech: Mechanisms, samples: int, groups: Sequence[object] | np.ndarray | None, seed: int, n: int
) -> tuple[Part, Part, dict[int, str]]:
    """Split each mechanism's samples in two, never within a group.

    Args:
        mech: The mechanisms.
        samples: Samples of each mechanism at most, in each half.
        groups: A name for each sample of the data; None when each stands for itself.
        seed: What the split is drawn from.
        n: How many samples the data has.

    Returns:
        The samples that choose, those that measure, and, by mechanism that is left out, why.

    Raises:
        DataError: `groups` does not name every sample once, or fewer than two mechanisms are left.
    """
    units = _units(groups, n)
    side = generator(seed, "selectivity halves").permutation(int(units.max()) + 1) % 2
    choose, measure, left = {}, {}, {}
    for mechanism in range(mech.n_mechanisms):
        rows = mech.samples[mech.labels == mechanism]
        rows = generator(seed, "selectivity rows", mechanism).permutation(rows)
        if groups is None:
            parts = [rows[: (len(rows) + 1) // 2], rows[(len(rows) + 1) // 2 :]]
        else:
            parts = [rows[side[units[rows]] == s] for s in (0, 1)]
        fewest = min(len(part) for part in parts)
        if fewest < FEWEST_EACH:
            left[mechanism] = (
                f"It has {len(rows)} samples, {fewest} of them in the smaller half: at least "
                f"{FEWEST_EACH} must choose a cut and as many measure it. Give more samples."
            )
        else:
            choose[mechanism], measure[mechanism] = (part[:samples] for part in parts)
    if len(choose) < 2:
        sizes = [int((mech.labels == m).sum()) for m in range(mech.n_mechanisms)]
        raise DataError(
            f"A cut can spare others only where two mechanisms have at least {2 * FEWEST_EACH} "
            f"samples each. Mechanisms here: {len(sizes)}, of {_listed(sizes)} samples. Give more "
            "samples, or another number of mechanisms."
        )
    return Part.of(choose, units), Part.of(measure, units), left


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(str(size) for size in sizes) or "0"


def _units(groups: Sequence[object] | np.ndarray | None, n: int) -> Int[np.ndarray, " all"]:
    if groups is None:
        return np.arange(n)
    names = np.asarray(groups)
    if names.shape != (n,):
        raise DataError(
            f"groups has shape {names.shape} for {n} samples. Pass one name for each sample."
        )
    return np.asarray(np.unique(names.astype(str), return_inverse=True)[1], dtype=np.int64)


def interval(
    values: Float[np.ndarray, " samples"],
    units: Int[np.ndarray, " samples"],
    random: np.random.Generator,
    *,
    share: bool = False,
) -> tuple[float, float]:
    """A 95 % interval of a mean by the percentile bootstrap, units drawn whole.

    Args:
        values: One per sample.
        units: What each sample belongs to.
        random: Where the resamples come from.
        share: The values lie in [0, 1]. Where all are 0, or all 1, nothing varies between
            resamples; the far end is then the exact binomial bound for that many units.

    Source: Efron (1979), "Bootstrap methods: another look at the jackknife".
    """
    place = np.unique(units, return_inverse=True)[1]
    sums, sizes = np.bincount(place, weights=values), np.bincount(place)
    drawn = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=RESAMPLES)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, (OUTSIDE / 2, 1 - OUTSIDE / 2))
    if share:
        bound = 1 - (OUTSIDE / 2) ** (1 / len(sizes))
        high = max(high, bound) if not values.any() else high
        low = min(low, 1 - bound) if (values == 1).all() else low
    return float(low), float(high)
