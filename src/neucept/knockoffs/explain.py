"""Why a selection is empty or its level doubtful, and what would change that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neucept.knockoffs.filter import Contest, e_bh, e_values, internal_level

_LEVELS = (*np.arange(0.01, 0.3, 0.01), *np.arange(0.3, 1.0, 0.05))


def explain(contests: Sequence[Sequence[Contest]], settings: dict[str, Any]) -> str:
    """One paragraph on an empty selection.

    Args:
        contests: For each draw, those of each target (or the one for all).
        settings: The selection's settings.

    Returns:
        The fewest neurons that could have been named, how many lean towards being critical, the
        smallest level that would have selected, and what to try.
    """
    margins = np.mean([[c.signed for c in draw] for draw in contests], axis=0)
    leaning = int((margins > 0).any(axis=0).sum())
    tested, fewest = settings["tested"], settings["fewest"]
    text = (
        f"Nothing selected at fdr {settings['fdr']:g}. {leaning} of {tested} tested neurons are "
        f"ahead of their knockoffs on average. With {_count(settings['knockoffs'], 'knockoff')} "
        f"and {_count(settings['draws'], 'draw')} a selection names no fewer than {fewest}."
    )
    if settings["floor"] > 0:
        text += f" Neurons under {settings['floor']:g} of the largest importance do not count."
    level = smallest_level(contests, settings)
    if level is None:
        text += " No level below 1 would have selected."
    else:
        text += f" The smallest fdr that would have selected is {level:.2g}."
    if leaning < fewest:
        return text + " Fewer than that are ahead: try more knockoffs, or a larger fdr."
    return text + " Try more samples, or a larger fdr."


def unshown(settings: Mapping[str, Any]) -> str:
    """One sentence where the audit that chose dither and floor does not support the level.

    Args:
        settings: The selection's settings.

    Returns:
        The sentence; "" where there was no audit, or one that supports the level.
    """
    audit = settings.get("audit")
    if not audit or settings.get("supported", True):
        return ""
    return (
        f"An audit does not show that the level holds here: {audit['summary']}. Read the neurons "
        "as candidates, or pass more samples, a larger fdr or a dither of your own."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def smallest_level(contests: Sequence[Sequence[Contest]], settings: dict[str, Any]) -> float | None:
    """The smallest level on a grid at which the same draws would have selected a neuron.

    Args:
        contests: For each draw, those of each target (or the one for all).
        settings: The selection's settings.
    """
    for level in _LEVELS:
        if level <= settings["fdr"]:
            continue
        alone = settings["aggregate"] == "frequency"
        cut = internal_level(level, 1 if alone else settings["draws"])
        evidence = np.array([[e_values(c, cut) for c in draw] for draw in contests])
        if alone:
            found = ((evidence > 0).mean(0) >= 0.5).any()
        else:
            found = e_bh(evidence.mean(0), level).any()
        if found:
            return float(level)
    return None
