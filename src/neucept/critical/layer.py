"""What one layer is asked: its density, dither and floor, the selection, the core and the checks.

Each is kept as a piece that a killed search finds again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from neucept.activations import Activations
from neucept.critical.core import CoreCurve, find_core
from neucept.critical.record import CLASS_SCORE
from neucept.critical.settings import Search
from neucept.errors import DataError
from neucept.knockoffs import (
    FEWEST_CHECKED,
    FEWEST_PLANTED,
    Asked,
    Audit,
    Choice,
    Exchangeability,
    Sampler,
    Selection,
    as_targets,
    cells_of,
    check_exchange,
    choose,
    fit_sampler,
    measure,
    run_selection,
    settle,
)
from neucept.runtime import Checkpoints, Progress, derived_seed, digest, run_tasks


@dataclass(frozen=True)
class Targets:
    """What a layer is asked about: columns of numbers and where each comes from."""

    values: Float[np.ndarray, "samples targets"]
    layer: str
    neurons: tuple[int, ...]
    contrast: bool = False

    @property
    def words(self) -> str:
        """For a settings table."""
        if self.layer == CLASS_SCORE:
            against = " against the other class" if self.contrast else ""
            return f"the class score{against}"
        count = len(self.neurons)
        return f"the {count} critical neuron{'s' * (count != 1)} of {self.layer}"


@dataclass(frozen=True)
class Work:
    """The work on layers; what classes share (densities, dithers, audits) is kept between them.

    Attributes:
        acts: Captured activations.
        search: The settings.
        n_jobs: Workers; None for one per core.
        progress: Told after each finished task.
        checkpoints: Where finished pieces are kept.
    """

    acts: Activations
    search: Search
    n_jobs: int | None
    progress: Progress | None
    checkpoints: Checkpoints
    _samplers: dict[tuple[str, str], Sampler] = field(default_factory=dict)
    _choices: dict[str, Choice] = field(default_factory=dict)
    _audits: dict[str, Audit] = field(default_factory=dict)
    _checks: dict[str, Exchangeability] = field(default_factory=dict)

    def select(
        self,
        layer: str,
        asked: Targets,
        rows: Int[np.ndarray, " rows"],
        population: Int[np.ndarray, " everyone"],
    ) -> tuple[Selection, Selection | None]:
        """The neurons that matter for the targets and, where edges are wanted, for which of them.

        Args:
            layer: Its name.
            asked: The targets, of all samples.
            rows: The samples to test on.
            population: The samples that the density is fitted to.

        Raises:
            DataError: the layer or the targets cannot be used; names the layer.
        """
        x = self.acts.matrix(layer, rows=rows).astype(np.float64)
        y = asked.values[rows]
        seed = derived_seed(self.search.seed, "layer", layer)
        pairs = self.search.edges and y.shape[1] > 1
        key = self._key("select", layer, x, y, population, repr((pairs, self.search.audit)))

        def compute() -> dict[str, np.ndarray]:
            sampler = self._sampler(layer, population)
            x_, y_ = sampler.check(x), as_targets(y, x)
            settled = self._settled(layer, x_, population)
            run = partial(
                run_selection,
                x_,
                y_,
                sampler,
                seed=seed,
                n_jobs=self.n_jobs,
            )
            told = self._told(f"critical neurons of {layer}")
            if not pairs:
                found = run(settled, "joint", progress=told)
            elif self._lasso_edges:
                # A network for every pair would take hours on wide layers.
                lines = replace(settled, statistic="lasso")
                edges = self._told(f"edges of {layer}")
                found = (
                    *run(settled, "joint", progress=told),
                    *run(lines, "separate", progress=edges),
                )
            else:
                found = run(settled, "both", progress=told)
            return {
                f"{name} {part}": array
                for name, selection in zip(("node", "edge"), found, strict=False)
                for part, array in selection.to_arrays().items()
            }

        try:
            arrays = self.checkpoints.recall(key, compute)
        except DataError as error:
            raise DataError(f"Layer '{layer}': {error}") from error
        node = _selection(arrays, "node")
        if not self.search.edges:
            return node, None
        return node, (_selection(arrays, "edge") if pairs else node)

    @property
    def _lasso_edges(self) -> bool:
        return self.search.statistic in ("auto", "network")

    def _key(self, what: str, *parts: Any) -> str:
        """A name for a piece of work, over everything that it depends on."""
        settings = repr((self.search.asked, self.search.sampler, self.search.seed))
        return digest(what, *parts, settings, version("neucept"))

    def _told(self, stage: str, *, within: bool = False) -> Progress | None:
        """Progress under the name of this work; with the names of its own stages `within`."""
        progress = self.progress
        if progress is None:
            return None
        return lambda own, done, of: progress(f"{stage}: {own}" if within else stage, done, of)

    def _sampler(self, layer: str, population: Int[np.ndarray, " everyone"]) -> Sampler:
        """The density of the whole population, whatever rows are tested."""
        name = (layer, digest(population))
        if name not in self._samplers:
            seed = derived_seed(self.search.seed, "layer", layer)
            whole = self.acts.matrix(layer, rows=population)
            self._samplers[name] = fit_sampler(whole, self.search.sampler, seed)
        return self._samplers[name]

    def _settled(
        self,
        layer: str,
        x: Float[np.ndarray, "rows neurons"],
        population: Int[np.ndarray, " everyone"],
    ) -> Asked:
        """The settings of this layer's selection, its dither chosen if that is left to us."""
        asked = self.search.asked
        if not isinstance(asked.dither, str) or asked.aggregate != "e_values":
            return settle(x, self._sampler(layer, population), asked)

        def compute() -> dict[str, np.ndarray]:
            return choose(
                x,
                self._sampler(layer, population),
                asked,
                repeats=max(2, self.search.audit),
                n_jobs=self.n_jobs,
                progress=self._told(layer, within=True),
            ).to_arrays()

        repeats = repr(self.search.audit)
        key = self._key("dither", x, population, layer, repeats)
        if key not in self._choices:
            self._choices[key] = Choice.from_arrays(self.checkpoints.recall(key, compute))
        return self._choices[key].settles(asked)

    def core(
        self, layer: str, asked: Targets, rows: Int[np.ndarray, " rows"], node: Selection
    ) -> CoreCurve | None:
        """How few of the critical neurons suffice; None where there are none, or no core is wanted.

        A group of near-copies counts as one: its first member stands for it.
        """
        found = distinct(node)
        if not found or not self.search.keep:
            return None
        x, y = self.acts.matrix(layer, rows=rows).astype(np.float64), asked.values[rows]
        seed = derived_seed(self.search.seed, "core", layer)
        neurons = np.array(found, dtype=np.int64)
        key = digest("core", x, y, neurons, self.search.keep, seed, version("neucept"))

        def compute() -> dict[str, np.ndarray]:
            # One task, so that it has a task's thread count: bit-equal wherever it runs.
            jobs = [(x, y, neurons)]
            (curve,) = run_tasks(
                partial(find_core, keep=self.search.keep, seed=seed), jobs, n_jobs=1
            )
            arrays = {"order": curve.order, "kept": curve.kept, "measured": curve.measured}
            return {**arrays, "known": np.array(curve.known)}

        arrays = self.checkpoints.recall(key, compute)
        return CoreCurve(
            arrays["order"], arrays["kept"], arrays["measured"], float(arrays["known"])
        )

    def audit(
        self,
        layer: str,
        rows: Int[np.ndarray, " rows"],
        population: Int[np.ndarray, " everyone"],
        node: Selection,
    ) -> dict[str, Any] | None:
        """What targets planted on this layer say of the level; None where there is no audit."""
        if "audit" in node.settings:
            chosen: dict[str, Any] | None = node.settings["audit"]
            return chosen
        promised = self.search.aggregate == "e_values"
        if not self.search.audit or not promised or node.settings["tested"] <= FEWEST_PLANTED:
            return None
        seed = derived_seed(self.search.seed, "layer", layer)
        # Without noise, as the targets that choose a floor.
        found = self.measured(
            layer, rows, population, self.search.asked, (0.0,), self.search.audit, seed
        )
        return found.to_json()

    def measured(
        self,
        layer: str,
        rows: Int[np.ndarray, " rows"],
        population: Int[np.ndarray, " everyone"],
        asked: Asked,
        noises: tuple[float, ...],
        repeats: int,
        seed: int,
    ) -> Audit:
        """Plant targets of every kind on a layer and count what is wrong.

        Args:
            layer: Its name.
            rows: The samples to select on.
            population: The samples that the density is fitted to.
            asked: How to select; the dither is a number.
            noises: Of the targets.
            repeats: Targets of each kind and noise, at least 2.
            seed: Of the targets and of the draws.
        """
        x = self.acts.matrix(layer, rows=rows).astype(np.float64)
        key = self._key("audit", x, population, layer, repr((asked, noises, repeats, seed)))

        def compute() -> dict[str, np.ndarray]:
            (found,) = measure(
                x,
                self._sampler(layer, population),
                asked,
                cells_of(None, noises, repeats),
                repeats=repeats,
                seed=seed,
                n_jobs=self.n_jobs,
                progress=self._told(f"audit of {layer}"),
            )
            return found.to_arrays()

        if key not in self._audits:
            self._audits[key] = Audit.from_arrays(self.checkpoints.recall(key, compute))
        return self._audits[key]

    def exchangeability(
        self,
        layer: str,
        rows: Int[np.ndarray, " rows"],
        population: Int[np.ndarray, " everyone"],
        node: Selection,
    ) -> dict[str, Any] | None:
        """How well knockoffs pass for the layer's neurons; None where no audit is asked for."""
        promised = self.search.aggregate == "e_values"
        if not self.search.audit or not promised or len(rows) < FEWEST_CHECKED:
            return None
        x = self.acts.matrix(layer, rows=rows).astype(np.float64)
        copies = int(node.settings["knockoffs"])
        key = self._key("exchangeability", x, population, layer, copies)

        def compute() -> dict[str, np.ndarray]:
            seed = derived_seed(self.search.seed, "layer", layer)
            sampler = self._sampler(layer, population)
            return check_exchange(x, sampler, copies=copies, seed=seed).to_arrays()

        if key not in self._checks:
            self._checks[key] = Exchangeability.from_arrays(self.checkpoints.recall(key, compute))
        return self._checks[key].to_json()


def _selection(arrays: dict[str, np.ndarray], name: str) -> Selection:
    start = f"{name} "
    return Selection.from_arrays(
        {part.removeprefix(start): a for part, a in arrays.items() if part.startswith(start)}
    )


def distinct(node: Selection) -> tuple[int, ...]:
    """The selected neurons, most evidence first; of a group of near-copies only the first."""
    return first_of_each(node.neurons, node.groups)


def first_of_each(
    neurons: Int[np.ndarray, " neurons"], groups: Sequence[Sequence[int]]
) -> tuple[int, ...]:
    """Some neurons in their order; of a group of near-copies only the group's first."""
    spare = {member for group in groups for member in group[1:]}
    return tuple(int(j) for j in neurons if int(j) not in spare)
