"""What a study will do and how long it will take, before anything long starts.

Every stage is timed on a few samples, with the code that will run, and multiplied by how often it
will run. What cannot be known before (how many neurons will be critical, how many looks a choice of
the floor takes) is taken as studies usually have it, so that the sum is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import nn

from neucept.activations import (
    Activations,
    Batches,
    Target,
    capture,
    predicted_as,
    random_state_kept,
)
from neucept.critical.population import wanted
from neucept.errors import DataError
from neucept.runtime import Progress
from neucept.sources import target_index
from neucept.study.checks import check_predicted, check_samples
from neucept.study.cutprobe import cut_row
from neucept.study.identity import check_repeatable, layers_to_capture
from neucept.study.probes import Rows, Share
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
    """

    table: pd.DataFrame

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
    target: int | str | tuple[int | str, int | str],
    settings: StudySettings = StudySettings(),  # noqa: B008 - frozen
    *,
    classes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Estimate what `run_study` will need, from a few samples; nothing is written.

    Args:
        model: As in `run_study`.
        data: As in `run_study`.
        target: As in `run_study`.
        settings: As in `run_study`.
        classes: As in `run_study`.
        progress: Called as ``progress("plan", done, total)``.

    Returns:
        The plan, of a study from the beginning: it does not know what is already in a folder or
        in the cache.

    Raises:
        InputError: its subclasses say what is wrong with the network, data or settings.
    """
    index: Target = target_index(target, classes)
    batches = Batches(data, settings.batch_size)
    check_repeatable(model, batches, settings.device)
    layers = layers_to_capture(model, data, settings)
    workers = settings.n_jobs if settings.n_jobs and settings.n_jobs > 0 else joblib.cpu_count()
    steps = len(layers) + 2
    told = progress or (lambda *_: None)
    told("plan", 0, steps)
    some = _Some.of(batches)
    acts, each = some.recorded(model, layers, settings)
    check_samples(acts, index, classes, whole=False)
    counts = np.bincount(acts.predictions, minlength=acts.n_classes) * some.share.all_times
    check_predicted(np.round(counts).astype(int), predicted_as(index), classes)
    told("plan", 1, steps)
    members = round(float(counts[predicted_as(index)]))
    searched = list(acts.layers)[::-1]
    if settings.samples == "near":
        members = _around(settings, acts, members)
    chain = settings.route == "chain"
    tested = some.share.samples if settings.samples == "all" else members
    parts = len(searched) if chain and settings.split else 1
    rows = Rows(settings, replace(some.share, samples=tested, parts=parts), workers)
    table, above = [_captured(acts, some, each)], 1
    for number, layer in enumerate(searched):
        if number == 0:
            rows.warm_up(acts.matrix(layer))
        found = rows.search(layer, acts.matrix(layer), above if chain else 1)
        above = found.pop("critical")
        table.append({"stage": "critical neurons", "layer": layer, **found})
        told("plan", 2 + number, steps)
    widths = [int(row["neurons"]) for row in table[1:]]
    table.append(rows.group(widths, members))
    table.append(rows.ablate(model, batches, acts, members))
    if settings.selectivity:
        table.append(cut_row(settings, model, some, acts, predicted_as(index), members))
    pictures = min(settings.pictures, members)
    table.append({"stage": "pictures", "samples": pictures, "seconds": pictures * some.read})
    told("plan", steps, steps)
    frame = pd.DataFrame(table, columns=list(COLUMNS))
    return Plan(frame.fillna({"layer": "", "memory": 0.0}))


def _around(settings: StudySettings, acts: Activations, predicted: int) -> int:
    """How many samples a study around one will look at; which they are is not known yet."""
    neurons = max(acts.n_neurons(layer) for layer in acts.layers)
    return min(wanted(settings.search, neurons, len(acts.layers), predicted), predicted)


@dataclass(frozen=True)
class _Some:
    """Some of the samples, spread over all; read anew each time, so that none stays in memory."""

    batches: Batches
    chosen: Int[np.ndarray, " probed"]
    share: Share
    read: float

    @classmethod
    def of(cls, batches: Batches) -> _Some:
        samples = batches.len_samples
        if samples is None:
            samples = sum(len(batch) for batch in batches)
        if samples == 0:
            raise DataError("The data holds no samples. Pass some.")
        chosen = np.unique(np.linspace(0, samples - 1, min(samples, PROBED)).astype(int))
        begun = perf_counter()
        for _ in batches.take(chosen):
            pass
        read = (perf_counter() - begun) / len(chosen)
        return cls(batches, chosen, Share(len(chosen), samples), read)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches.take(self.chosen):
            own = batch.labels
            yield batch.inputs if own is None else (batch.inputs, torch.from_numpy(own))

    def recorded(
        self, model: nn.Module, layers: Sequence[str], settings: StudySettings
    ) -> tuple[Activations, float]:
        """Their activations, and the seconds of each sample."""
        record = partial(
            capture,
            model,
            layers=layers,
            pool=settings.pool,
            batch_size=settings.batch_size,
            device=settings.device,
        )
        record([next(iter(self))])
        begun = perf_counter()
        acts = record(self)
        return acts, (perf_counter() - begun) / len(self.chosen)


def _captured(acts: Activations, some: _Some, each: float) -> dict[str, Any]:
    """The row of the stage that records activations; identifying the samples reads them too."""
    neurons = sum(acts.matrix(layer, rows=[0]).shape[1] for layer in acts.layers)
    samples = some.share.samples
    return {
        "stage": "capture",
        "samples": samples,
        "neurons": neurons,
        "seconds": (each + some.read) * samples,
    }
