"""How long the parts of a study take, timed on a few samples with the code that will run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn

from neucept.activations import Activations, Batches, evaluation_mode, forward
from neucept.critical import Search
from neucept.critical.core import find_core
from neucept.errors import DataError, InputError
from neucept.evaluation.ablation import RANDOM_ORDERS, REFERENCES, STEPS
from neucept.knockoffs import (
    FEWEST_CHECKED,
    FEWEST_PLANTED,
    Asked,
    Sampler,
    as_targets,
    check_exchange,
    fit_sampler,
    run_selection,
)
from neucept.knockoffs.gaussian import Gaussian
from neucept.knockoffs.lasso import FromMoments
from neucept.knockoffs.selecting import MOST_ROWS, settled_copies, settled_draws
from neucept.knockoffs.statistics import find_statistic
from neucept.mechanisms.discover import BEYOND, SAMPLES_EACH
from neucept.mechanisms.features import DIMENSIONS
from neucept.mechanisms.path import fit_path
from neucept.mechanisms.resampling import IMITATIONS, SPLITS
from neucept.mechanisms.resampling import MOST_ROWS as GROUPED_ROWS
from neucept.runtime import generator, run_tasks
from neucept.study.settings import StudySettings

LOOKS = 3
"""Audits that "auto" usually makes of a layer: two that choose and one that shows."""

PLANTED = 10
"""Targets of one repeat of an audit."""

CRITICAL = 0.5
"""Share of a layer's tested neurons that are usually critical."""

FASTER = 0.85
"""What a second worker is worth: two share memory and caches."""

WARM = 200
"""Rows on which everything runs once before it is timed: the first call compiles and loads."""

LEAST_MEMBERS, TIMED_MEMBERS = 60, 400
"""Samples on which grouping is timed."""


@dataclass(frozen=True)
class Share:
    """The samples that were taken for a probe, of so many.

    Attributes:
        probed: Samples taken.
        samples: Samples in all.
        parts: Each layer is tested on one of so many parts of the samples.
    """

    probed: int
    samples: int
    parts: int = 1

    @property
    def all_times(self) -> float:
        """How many times as many samples there are as were taken."""
        return self.samples / self.probed

    def of(self, parts: int) -> Share:
        """The same, with each layer tested on one of so many parts."""
        return replace(self, parts=parts)

    def times(self, most: int | None = None) -> float:
        """How many times as many are tested on, where at most so many are used."""
        tested = self.samples // self.parts
        return (tested if most is None else min(tested, most)) / self.probed


@dataclass(frozen=True)
class Rows:
    """The rows of a plan, each from a probe.

    Attributes:
        settings: Of the study.
        share: Of the samples that were taken.
        workers: Tasks at once.
    """

    settings: StudySettings
    share: Share
    workers: int

    @property
    def together(self) -> float:
        """What all workers are worth."""
        return self.workers if self.workers == 1 else self.workers * FASTER

    def warm_up(self, x: np.ndarray) -> None:
        """Run everything once on a few rows.

        Args:
            x: Activations of a layer.
        """
        with suppress(InputError):
            self.search("", x[:WARM], 2)
        self.group([1], LEAST_MEMBERS)

    def search(self, layer: str, x: np.ndarray, targets: int) -> dict[str, Any]:
        """What the search in one layer needs.

        Args:
            layer: Its name.
            x: Activations of the probed samples.
            targets: How many it will be asked about.

        Returns:
            The row of the plan, and under "critical" how many neurons will be critical.

        Raises:
            DataError: the layer cannot be searched; names it.
        """
        search, share = self.settings.search, self.share
        x = x.astype(np.float64)
        try:
            sampler, fitting = _timed(lambda: fit_sampler(x, search.sampler, search.seed))
            seen = sampler.check(x)
        except DataError as error:
            raise DataError(f"Layer '{layer}': {error}") from error
        tested = len(sampler.screening.tested)
        rows = None if search.rows == "all" else MOST_ROWS
        rows = search.rows if isinstance(search.rows, int) else rows
        draws, copies = settled_draws(search.asked), settled_copies(search.asked, tested)
        _, preparing = _timed(lambda: sampler.tested.prepare(copies))
        once = replace(search.asked, dither=0.0, floor=0.0, draws=1, knockoffs=copies)
        probe = _Probe(seen, sampler, once, share.times(rows), self.workers)
        fitted = min(share.all_times, max(MOST_ROWS, 40 * tested) / share.probed)
        looks, critical = _audits(search, tested), max(1, round(CRITICAL * tested))
        edges, selecting = self._selecting(probe, targets, looks * draws, draws)
        seconds = fitting * fitted + preparing + selecting
        if search.keep:
            seconds += probe.core(targets, critical) * share.times()
        if search.audit and search.aggregate == "e_values" and len(x) >= FEWEST_CHECKED:
            check = lambda: check_exchange(seen, sampler, copies=copies, seed=0)  # noqa: E731
            seconds += _timed(check)[1] * share.times()
        return {
            "samples": share.samples // share.parts,
            "neurons": x.shape[1],
            "targets": targets,
            "draws": (looks + 1) * draws + edges,
            "memory": min(self.workers, draws) * probe.held(copies, tested),
            "seconds": seconds,
            "critical": critical,
        }

    def _selecting(
        self, probe: _Probe, targets: int, planted: int, draws: int
    ) -> tuple[int, float]:
        """Draws for the lines to the targets, and seconds of all draws."""
        search, edges, seconds = self.settings.search, 0, 0.0
        if planted:
            seconds += planted * probe.seconds(PLANTED, "separate", planted)
        pairs = search.edges and targets > 1
        if pairs and search.statistic in ("auto", "network"):
            edges = settled_draws(replace(search.asked, statistic="lasso"))
            lines = replace(probe, asked=replace(probe.asked, statistic="lasso"))
            seconds += edges * lines.seconds(targets, "separate", edges)
        which = "both" if pairs and not edges else "joint"
        seconds += draws * probe.seconds(targets, which, draws)
        return edges, seconds

    def group(self, neurons: Sequence[int], members: int) -> dict[str, Any]:
        """What finding mechanisms needs.

        Args:
            neurons: Of each layer.
            members: Samples that are predicted as the class.
        """
        used = min(members, GROUPED_ROWS)
        few = min(max(used, LEAST_MEMBERS), TIMED_MEMBERS)
        asked, room = self.settings.n_mechanisms, max(1, members // SAMPLES_EACH)
        most = min(self.settings.max_mechanisms, room)
        if not isinstance(asked, str):
            most = min(asked + BEYOND, max(asked, room))
        seconds: dict[int, float] = {}
        widths = [max(1, min(DIMENSIONS, round(CRITICAL * n))) for n in neurons]
        for width in set(widths):
            random = generator(0, "plan")
            job = (random.standard_normal((few, width)), most, "mixture", random)
            _, one = _timed(lambda job=job: run_tasks(fit_path, [job], n_jobs=1))
            # Each layer's samples once, in halves, and what one mechanism would give.
            seconds[width] = one * max(1.0, used / few) * (1 + SPLITS + 2 * IMITATIONS)
        return {
            "stage": "mechanisms",
            "samples": members,
            "memory": 8e-9 * used * DIMENSIONS * most,
            "seconds": sum(seconds[width] for width in widths) / self.together,
        }

    def ablate(
        self, model: nn.Module, batches: Batches, acts: Activations, members: int
    ) -> dict[str, Any]:
        """What the ablation curves need: the network runs for every cut, from the layer on.

        Args:
            model: The network.
            batches: The samples.
            acts: Activations of the probed samples.
            members: Samples that are predicted as the class.
        """
        samples = min(members, self.settings.ablation_samples)
        with evaluation_mode(model, self.settings.device) as place:
            batch = next(iter(batches)).head(max(1, samples))

            def run() -> None:
                # Read back: a GPU says that it is done before it is.
                forward(model, batch, place).cpu()

            run()
            _, one = _timed(run)
        passes = (1 + RANDOM_ORDERS) * STEPS * one * max(1.0, samples / len(batch)) / 2
        fits = 0.0
        for layer in acts.layers:
            few = acts.matrix(layer)[:REFERENCES]
            with suppress(InputError):
                fits += _timed(lambda few=few: fit_sampler(few, "auto", 0))[1]
        curves = 2 * len(self.settings.ablation_modes)
        return {
            "stage": "ablation",
            "samples": samples,
            "seconds": curves * (passes * len(acts.layers) + fits),
        }


def _audits(search: Search, tested: int) -> int:
    """Selections on planted targets, of `PLANTED` each."""
    if tested <= FEWEST_PLANTED or search.aggregate != "e_values":
        return 0
    if isinstance(search.dither, str):
        return LOOKS * max(2, search.audit)
    return search.audit


@dataclass(frozen=True)
class _Probe:
    """One layer's samples, how one draw is asked, how many times as many rows, how many at once."""

    x: np.ndarray
    sampler: Sampler
    asked: Asked
    times: float
    workers: int

    @property
    def unformed(self) -> bool:
        """Whether knockoffs are never formed, so that rows cost nothing."""
        moments = isinstance(find_statistic(self.asked.statistic), FromMoments)
        return moments and isinstance(self.sampler.tested, Gaussian)

    def held(self, copies: int, neurons: int) -> float:
        """GB that one draw holds: its knockoffs, and all columns as values and as ranks.

        Or, where knockoffs are not formed, the moments of five folds with and without each.
        """
        if self.unformed:
            return 1e-9 * ((copies + 1) * neurons) ** 2 * (5 * 8 + 16)
        rows = self.times * len(self.x)
        return 1e-9 * rows * neurons * (8 * copies + 8 * (copies + 1))

    def targets(self, count: int) -> np.ndarray:
        """Some functions of the neurons."""
        random = generator(0, "plan")
        scaled = (self.x - self.x.mean(0)) / (self.x.std(0) + 1e-12)
        mixed = scaled @ random.standard_normal((scaled.shape[1], count))
        return as_targets(mixed + random.standard_normal(mixed.shape), self.x)

    def seconds(self, targets: int, which: Any, draws: int) -> float:
        """Of one draw of many with so many targets, where all workers are busy."""
        y, at_once = self.targets(targets), min(self.workers, draws)
        asked = replace(self.asked, draws=at_once)
        run = lambda: run_selection(  # noqa: E731
            self.x, y, self.sampler, asked, which, n_jobs=at_once
        )
        return _timed(run)[1] / at_once

    def core(self, targets: int, candidates: int) -> float:
        """Of finding the core among so many neurons."""
        y, first = self.targets(targets), np.arange(min(candidates, self.x.shape[1]))
        return _timed(lambda: run_tasks(find_core, [(self.x, y, first)], n_jobs=1))[1]


def _timed(work: Any) -> tuple[Any, float]:
    begun = perf_counter()
    done = work()
    return done, perf_counter() - begun
