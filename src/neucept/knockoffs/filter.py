"""From importances of originals and knockoffs to a selection: filter, e-values, e-BH."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from neucept.errors import SettingsError


@dataclass(frozen=True, eq=False)
class Contest:
    """Who won among a neuron and its knockoffs, and by how much.

    Attributes:
        original_wins: The original is strictly more important than every knockoff. Where a neuron
            is null this happens with probability at most 1 / (copies + 1), whatever the margins.
        margin: The largest importance less the median of the others; for one knockoff the
            absolute difference.
        copies: Knockoffs per neuron.
    """

    original_wins: Bool[np.ndarray, " neurons"]
    margin: Float[np.ndarray, " neurons"]
    copies: int

    @property
    def signed(self) -> Float[np.ndarray, " neurons"]:
        """The margin, positive where the original won and negative where a knockoff did."""
        return np.where(self.original_wins, self.margin, -self.margin)


def contest(importances: Float[np.ndarray, "neurons columns"]) -> Contest:
    """Compare each neuron with its knockoffs.

    Args:
        importances: The original's first, then one for each knockoff; at least 0, unitless.

    Returns:
        The outcome. A tie for the first place counts against the original.

    Source: Gimenez and Zou (2019), section 3.
    """
    ordered = np.sort(importances, axis=1)
    margin = ordered[:, -1] - np.median(ordered[:, :-1], axis=1)
    wins = importances[:, 0] > importances[:, 1:].max(axis=1)
    return Contest(wins, margin, importances.shape[1] - 1)


def floored(outcome: Contest, floor: float) -> Contest:
    """The contest without neurons that matter little beside the one that matters most.

    Margins do not tell an original from its knockoffs, so what is left out depends on nothing
    that a selection must not look at, and the level is promised as before. What an imperfect
    density leaks onto null neurons is small beside what it leaks from, whatever the number of
    samples.

    Args:
        outcome: From `contest`.
        floor: Share of the largest margin under which a neuron is left out, in [0, 1).

    Returns:
        The contest; neurons that are left out have margin 0 and have not won.
    """
    high = outcome.margin >= floor * outcome.margin.max(initial=0.0)
    margin = np.where(high, outcome.margin, 0.0)
    return Contest(outcome.original_wins & high, margin, outcome.copies)


def threshold(outcome: Contest, level: float) -> float:
    """The smallest margin at which the estimated false discovery proportion is at most `level`.

    Args:
        outcome: From `contest`.
        level: Target level, in (0, 1).

    Returns:
        The threshold; infinity when no margin qualifies, so that nothing is selected.

    Raises:
        SettingsError: `level` is outside (0, 1).

    Source: Barber and Candes (2015), knockoff+; Gimenez and Zou (2019) for several knockoffs.
    """
    if not 0 < level < 1:
        raise SettingsError(f"level is {level}. Pass a number between 0 and 1.")
    counted = outcome.margin > 0
    margin, wins = outcome.margin[counted], outcome.original_wins[counted]
    order = np.argsort(-margin, kind="stable")
    margin, wins = margin[order], wins[order]
    lost = np.cumsum(~wins)
    won = np.cumsum(wins)
    # Equal margins stand or fall together: only the last of them is a candidate.
    last = np.r_[margin[1:] < margin[:-1], True] if len(margin) else np.zeros(0, dtype=bool)
    proportion = (1 + lost) / outcome.copies / np.maximum(1, won)
    passing = np.flatnonzero(last & (proportion <= level * (1 + 1e-12)))
    return float(margin[passing[-1]]) if passing.size else float("inf")


def e_values(outcome: Contest, level: float) -> Float[np.ndarray, " neurons"]:
    """Evidence of each neuron from one draw.

    Summed over the null neurons, its mean is at most the number of neurons.

    Args:
        outcome: From `contest`.
        level: The internal level at which the draw is cut, in (0, 1).

    Returns:
        One value for the neurons that pass, 0 for the others.

    Raises:
        SettingsError: `level` is outside (0, 1).

    Source: Ren and Barber (2024), "Derandomised knockoffs: leveraging e-values for false
    discovery rate control", equation 6, for several knockoffs.
    """
    cut = threshold(outcome, level)
    above = outcome.margin >= cut
    lost = int((above & ~outcome.original_wins).sum())
    neurons = len(outcome.margin)
    return np.where(above & outcome.original_wins, neurons * outcome.copies / (1 + lost), 0.0)


def e_bh(evidence: Float[np.ndarray, " ..."], fdr: float) -> Bool[np.ndarray, " ..."]:
    """The largest set of hypotheses whose e-values all reach (hypotheses) / (fdr x size).

    Args:
        evidence: e-values, at least 0, any shape.
        fdr: Target level, in (0, 1).

    Returns:
        What is selected, in the shape of `evidence`.

    Raises:
        SettingsError: `fdr` is outside (0, 1).

    Source: Wang and Ramdas (2022), "False discovery rate control with e-values".
    """
    if not 0 < fdr < 1:
        raise SettingsError(f"fdr is {fdr}. Pass a number between 0 and 1.")
    ordered = np.sort(evidence, axis=None)[::-1]
    sizes = np.arange(1, len(ordered) + 1)
    # Averages over draws are sums in floating point: equality must survive their rounding.
    enough = np.flatnonzero(ordered * sizes * fdr * (1 + 1e-9) >= len(ordered))
    if not enough.size:
        return np.zeros(evidence.shape, dtype=bool)
    return np.asarray(evidence >= ordered[enough[-1]])


def fewest(copies: int, fdr: float, draws: int) -> int:
    """The least number of neurons that a selection can name.

    Args:
        copies: Knockoffs per neuron.
        fdr: Target level.
        draws: One draw is cut at the level itself, several at half of it each.
    """
    return max(1, int(np.ceil(1 / (copies * internal_level(fdr, draws)) - 1e-9)))


def internal_level(fdr: float, draws: int) -> float:
    """The level at which each draw is cut: half of `fdr` when several draws are averaged.

    At the full level the average of several draws has no power: each draw's evidence is then just
    enough for its own selection, and any disagreement between draws takes it below.
    """
    return fdr if draws == 1 else fdr / 2


def knockoffs_for(neurons: int, fdr: float, draws: int, most: int = 20) -> int:
    """How many simultaneous knockoffs let a selection be as small as a sixteenth of the layer.

    Args:
        neurons: How many are tested.
        fdr: Target level.
        draws: How many draws are averaged.
        most: At most so many.

    Returns:
        The smallest number with `fewest` at most max(1, neurons / 16), at most `most`.
    """
    wanted = max(1.0, neurons / 16)
    return min(most, max(1, int(np.ceil(1 / (internal_level(fdr, draws) * wanted) - 1e-9))))
