"""How long the parts of a study take, timed on a few samples with the code that will run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn

from neucept.activations import Activations, Batches, evaluation_mode, forward
from neucept.critical import Search
from neucept.critical.core import find_core
from neucept.evaluation.ablation import RANDOM_ORDERS, STEPS
from neucept.knockoffs import (
    FEWEST_PLANTED,
    Asked,
    Sampler,
    as_targets,
    fit_sampler,
    run_selection,
)
from neucept.knockoffs.selecting import settled_copies, settled_draws
from neucept.mechanisms.discover import SAMPLES_EACH
from neucept.mechanisms.path import fit_path
from neucept.mechanisms.resampling import IMITATIONS, MOST_ROWS, SPLITS
from neucept.runtime import generator, run_tasks
from neucept.study.settings import StudySettings

LOOKS = 3
"""Audits that "auto" usually makes of a layer: two that choose and one that shows."""

PLANTED = 10
"""Targets of one repeat of an audit."""

CRITICAL = 0.5
"""Share of a layer's tested neurons that are usually critical."""

EDGE_DRAWS = 20
"""Draws by which the lines between layers are found."""

FASTER = 0.85
"""What a second worker is worth: two share memory and caches."""

DIMENSIONS = 20
"""Of what mechanisms are grouped by, at most."""

LEAST_MEMBERS, TIMED_MEMBERS = 60, 400
"""Samples on which grouping is timed."""


@dataclass(frozen=True)
class Share:
    """The samples that were taken for a probe, of so many.

    Attributes:
        probed: Samples taken.
        samples: Samples in all.
    """

    probed: int
    samples: int

    def times(self, most: int | None = None) -> float:
        """How many times as many samples there will be, where at most so many are used."""
        used = self.samples if most is None else min(self.samples, most)
        return max(1.0, used / self.probed)


def searching(
    acts: Activations, layer: str, targets: int, search: Search, share: Share, workers: int
) -> dict[str, Any]:
    """What the search in one layer needs.

    Args:
        acts: Activations of the probed samples.
        layer: Its name.
        targets: How many it will be asked about.
        search: The settings.
        share: Of the samples.
        workers: Tasks at once.

    Returns:
        The row of the plan, and under "critical" how many neurons will be critical.
    """
    x = acts.matrix(layer).astype(np.float64)
    sampler, fitting = _timed(lambda: fit_sampler(x, search.sampler, search.seed))
    tested = len(sampler.screening.tested)
    seen = sampler.check(x)
    rows = search.rows if isinstance(search.rows, int) else 10_000
    times = share.times(None if search.rows == "all" else rows)
    draws, copies = settled_draws(search.asked), settled_copies(search.asked, tested)
    sampler.tested.prepare(copies)
    once = replace(search.asked, dither=0.0, floor=0.0, draws=1, knockoffs=copies)
    probe = _Probe(seen, sampler, once)
    critical = max(1, round(CRITICAL * tested))
    seconds = fitting * share.times(max(10_000, 40 * tested))
    looks = _audits(search, tested)
    together = workers if workers == 1 else workers * FASTER
    if looks:
        seconds += looks * draws * probe.seconds(PLANTED, "separate") * times / together
    seconds += draws * probe.seconds(targets, "joint") * times / min(draws, together)
    edges = EDGE_DRAWS if search.edges and targets > 1 and search.route == "chain" else 0
    if edges:
        lines = _Probe(seen, sampler, replace(once, statistic="lasso"))
        seconds += edges * lines.seconds(targets, "separate") * times / together
    if search.keep:
        seconds += probe.core(targets, critical) * share.times()
    used = round(times * len(x))
    return {
        "samples": share.samples,
        "neurons": x.shape[1],
        "targets": targets,
        "draws": (looks + 1) * draws + edges,
        "memory": min(workers, draws) * _held(used, tested, copies),
        "seconds": seconds,
        "critical": critical,
    }


def _audits(search: Search, tested: int) -> int:
    """Selections on planted targets, of `PLANTED` each."""
    if tested <= FEWEST_PLANTED or search.aggregate != "e_values":
        return 0
    if isinstance(search.dither, str):
        return LOOKS * max(2, search.audit)
    return search.audit


def _held(rows: int, neurons: int, copies: int) -> float:
    """GB that one draw holds: its knockoffs, and all columns as values and as ranks."""
    return 1e-9 * rows * neurons * (8 * copies + 8 * (copies + 1))


@dataclass(frozen=True)
class _Probe:
    """One layer's samples, and how one draw is asked."""

    x: np.ndarray
    sampler: Sampler
    asked: Asked

    def targets(self, count: int) -> np.ndarray:
        """Some functions of the neurons."""
        random = generator(0, "plan")
        scaled = (self.x - self.x.mean(0)) / (self.x.std(0) + 1e-12)
        mixed = scaled @ random.standard_normal((scaled.shape[1], count))
        return as_targets(mixed + random.standard_normal(mixed.shape), self.x)

    def seconds(self, targets: int, which: Any) -> float:
        """Of one draw with so many targets."""
        y = self.targets(targets)
        return _timed(lambda: run_selection(self.x, y, self.sampler, self.asked, which, n_jobs=1))[
            1
        ]

    def core(self, targets: int, candidates: int) -> float:
        """Of finding the core among so many neurons."""
        y, first = self.targets(targets), np.arange(min(candidates, self.x.shape[1]))
        return _timed(lambda: run_tasks(find_core, [(self.x, y, first)], n_jobs=1))[1]


def grouping(
    neurons: Sequence[int], members: int, settings: StudySettings, workers: int
) -> dict[str, Any]:
    """What finding mechanisms needs, on samples of which so many are predicted as the class."""
    used = min(members, MOST_ROWS)
    few = min(max(used, LEAST_MEMBERS), TIMED_MEMBERS)
    most = min(settings.max_mechanisms, max(1, members // SAMPLES_EACH))
    seconds: dict[int, float] = {}
    widths = [max(1, min(DIMENSIONS, round(CRITICAL * n))) for n in neurons]
    for width in set(widths):
        random = generator(0, "plan")
        job = (random.standard_normal((few, width)), most, "mixture", random)
        _, one = _timed(lambda job=job: run_tasks(fit_path, [job], n_jobs=1))
        # Each layer's samples once, in halves, and what one mechanism would give.
        seconds[width] = one * max(1.0, used / few) * (1 + SPLITS + 2 * IMITATIONS)
    together = workers if workers == 1 else workers * FASTER
    return {
        "stage": "mechanisms",
        "layer": "",
        "samples": members,
        "memory": 8e-9 * used * DIMENSIONS * most,
        "seconds": sum(seconds[width] for width in widths) / together,
    }


def ablating(
    model: nn.Module,
    batches: Batches,
    layers: Sequence[str],
    members: int,
    settings: StudySettings,
) -> dict[str, Any]:
    """What the ablation curves need: the network is run for every cut, from the layer on."""
    samples = min(members, settings.ablation_samples)
    with evaluation_mode(model, settings.device) as place:
        batch = next(iter(batches)).head(max(1, samples))
        forward(model, batch, place)
        _, one = _timed(lambda: forward(model, batch, place))
    curves = 2 * len(layers) * len(settings.ablation_modes)
    passes = curves * (1 + RANDOM_ORDERS) * STEPS
    return {
        "stage": "ablation",
        "layer": "",
        "samples": samples,
        "memory": 0.0,
        "seconds": passes * one * max(1.0, samples / len(batch)) / 2,
    }


def _timed(work: Any) -> tuple[Any, float]:
    begun = perf_counter()
    done = work()
    return done, perf_counter() - begun
