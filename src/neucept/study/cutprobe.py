"""How long the causal check takes, from one cut on a few samples."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn

from neucept.activations import Activations, evaluation_mode
from neucept.errors import InputError
from neucept.evaluation.cutsearch import SHARE, WEIGHTS, WIDTH
from neucept.evaluation.cutting import LayerRun
from neucept.evaluation.selectivity import CANDIDATES, MEASURE_DRAWS, NEAREST
from neucept.evaluation.swapping import SEARCH_DRAWS, Swapping, recorded_donors
from neucept.study.probes import CRITICAL
from neucept.study.settings import StudySettings

USUAL = 3
"""Mechanisms that a study usually has."""

TRIED = 0.5
"""Share of the sets that a search could try which it usually does: paths end early."""

TIMED = 200
"""Samples on which a cut is timed."""


def sets_tried(candidates: int) -> float:
    """How many sets a search among so many neurons usually looks at."""
    most, size, sets = max(1, candidates // 2), 1, 0
    while size < most:
        together = min(max(1, size // SHARE), most - size)
        sets += min(WIDTH + together, candidates - size) + (together > 1)
        size += together
    return candidates + TRIED * len(WEIGHTS) * sets


def cut_row(
    settings: StudySettings,
    model: nn.Module,
    some: Iterable[Any],
    acts: Activations,
    target: int,
    members: int,
) -> dict[str, Any]:
    """The row of a plan for the causal check.

    Args:
        settings: Of the study.
        model: The network.
        some: The probed samples.
        acts: Their activations.
        target: The class that samples are predicted as.
        members: Samples predicted so, of all.

    Returns:
        The row; without seconds where too few samples were probed to make a cut.
    """
    groups = USUAL if isinstance(settings.n_mechanisms, str) else settings.n_mechanisms
    each = min(settings.selectivity, members // (2 * max(groups, 1)))
    layer = sorted(acts.layers, key=acts.n_neurons)[len(acts.layers) // 2]
    candidates = min(CANDIDATES, max(1, round(CRITICAL * acts.n_neurons(layer))))
    passes = sets_tried(candidates) * SEARCH_DRAWS + MEASURE_DRAWS
    seconds = np.nan
    if groups < 2:
        seconds = 0.0
    else:
        with suppress(InputError):
            once, recording = _timed(settings, model, some, acts, target, layer, candidates)
            seconds = groups * (recording + passes * once * groups * each)
    return {"stage": "selectivity", "samples": 2 * groups * each, "seconds": seconds}


def _timed(
    settings: StudySettings,
    model: nn.Module,
    some: Iterable[Any],
    acts: Activations,
    target: int,
    layer: str,
    candidates: int,
) -> tuple[float, float]:
    """Seconds of one donor for one sample, and of what is recorded for each mechanism."""
    own = np.flatnonzero(acts.predictions == target)
    rows = own[:TIMED]
    with evaluation_mode(model, settings.device) as place:
        begun = perf_counter()
        donors, bank = recorded_donors(
            model, some, acts, layer, own[: len(own) // 2], NEAREST, place, 0
        )
        run = LayerRun(model, some, acts, layer, rows, place)
        swapping = Swapping(run, acts, target, layer, donors, bank, 0)
        recording = perf_counter() - begun
        cut = np.arange(max(1, candidates // 4), dtype=np.int64)
        swapping.effect(cut)
        begun = perf_counter()
        swapping.effect(cut)
        return (perf_counter() - begun) / (SEARCH_DRAWS * len(rows)), recording
