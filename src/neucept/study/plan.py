"""What a study will do and how long it will take, before anything long starts.

Every stage is timed on a few samples, with the code that will run, and multiplied by how often it
will run. What cannot be known before (how many neurons will be critical, how many looks a choice of
the floor takes) is taken as studies usually have it, so that the sum is an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from torch import nn

from neucept.activations import Activations, Batches, capture, random_state_kept
from neucept.errors import DataError
from neucept.runtime import Progress
from neucept.study.identity import check_repeatable, layers_to_capture
from neucept.study.probes import Share, ablating, grouping, searching
from neucept.study.settings import StudySettings

PROBED = 3000
"""Samples on which stages are timed; with fewer, networks take as many steps as with these."""

COLUMNS = ("stage", "layer", "samples", "neurons", "targets", "draws", "memory", "seconds")


@dataclass(frozen=True)
class Plan:
    """What a study will do.

    Attributes:
        table: One row per stage and layer, in the order in which they run: stage, layer ("" where
            it is none's), samples, neurons, targets, draws (of knockoffs, over everything), memory
            (GB beyond what the process holds), seconds (estimated). Missing where it means nothing.
        classes: Outputs of the network.
    """

    table: pd.DataFrame
    classes: int

    @property
    def seconds(self) -> float:
        """Estimated seconds of the whole study."""
        return float(self.table["seconds"].sum())

    @property
    def memory(self) -> float:
        """Estimated most memory of any stage, in GB beyond what the process holds."""
        return float(self.table["memory"].max())


@random_state_kept()
def plan_study(
    model: nn.Module,
    data: Any,
    target: int,
    settings: StudySettings = StudySettings(),  # noqa: B008 - frozen
    *,
    progress: Progress | None = None,
) -> Plan:
    """Estimate what `run_study` will need, from a few samples; nothing is written.

    Args:
        model: As in `run_study`.
        data: As in `run_study`.
        target: Index of the class.
        settings: As in `run_study`.
        progress: Called as ``progress("plan", done, total)``.

    Returns:
        The plan. It does not know what is already in a study's folder.

    Raises:
        InputError: its subclasses say what is wrong with the network, data or settings.
    """
    batches = Batches(data, settings.batch_size)
    check_repeatable(model, batches, settings.device)
    layers = layers_to_capture(model, data, settings)
    workers = settings.n_jobs if settings.n_jobs and settings.n_jobs > 0 else joblib.cpu_count()
    steps = len(layers) + 2
    if progress is not None:
        progress("plan", 0, steps)
    begun = perf_counter()
    samples = batches.len_samples or sum(len(batch) for batch in batches)
    counted = perf_counter() - begun
    acts, share, each = _probed(model, batches, layers, samples, settings)
    rows = [_captured(acts, samples, each, counted)]
    members = _members(acts, target, samples)
    above = 1
    if progress is not None:
        progress("plan", 1, steps)
    searched = list(acts.layers)[::-1]
    for number, layer in enumerate(searched):
        top = number == 0 or settings.route == "direct"
        found = searching(acts, layer, 1 if top else above, settings.search, share, workers)
        above = found.pop("critical")
        rows.append({"stage": "critical neurons", "layer": layer, **found})
        if progress is not None:
            progress("plan", 2 + number, steps)
    rows.append(grouping([int(row["neurons"]) for row in rows[1:]], members, settings, workers))
    rows.append(ablating(model, batches, searched, members, settings))
    if progress is not None:
        progress("plan", steps, steps)
    return Plan(pd.DataFrame(rows, columns=list(COLUMNS)), acts.outputs.shape[1])


def _probed(
    model: nn.Module,
    batches: Batches,
    layers: Sequence[str],
    samples: int,
    settings: StudySettings,
) -> tuple[Activations, Share, float]:
    """Activations of some samples, which share of all they are, and seconds of a sample."""
    if samples == 0:
        raise DataError("The data holds no samples. Pass some.")
    chosen = np.unique(np.linspace(0, samples - 1, min(samples, PROBED)).astype(int))
    parts = list(batches.take(chosen))
    labels = [part.labels for part in parts]
    pairs: list[Any] = [
        part.inputs if own is None else (part.inputs, torch.from_numpy(own))
        for part, own in zip(parts, labels, strict=True)
    ]

    def recorded(some: list[Any]) -> Activations:
        return capture(
            model,
            some,
            layers,
            pool=settings.pool,
            batch_size=settings.batch_size,
            device=settings.device,
        )

    recorded(pairs[:1])
    begun = perf_counter()
    acts = recorded(pairs)
    return acts, Share(len(chosen), samples), (perf_counter() - begun) / len(chosen)


def _captured(acts: Activations, samples: int, each: float, counted: float) -> dict[str, Any]:
    """The row of the stage that records activations; identifying the samples reads them once."""
    neurons = sum(acts.matrix(layer, rows=[0]).shape[1] for layer in acts.layers)
    return {
        "stage": "capture",
        "layer": "",
        "samples": samples,
        "neurons": neurons,
        "memory": 4e-9 * neurons * min(samples, PROBED),
        "seconds": each * samples + counted,
    }


def _members(acts: Activations, target: int, samples: int) -> int:
    """About how many samples are predicted as the class."""
    return round(float(np.mean(acts.predictions == target)) * samples)
