"""Critical neurons, layer by layer: the backward search from the class score to the first layer.

At the top the target is the class score. Below it, on the chain, the targets of a layer are the
critical neurons just found in the layer above; on the direct route every layer is asked about the
class score. Each step is one call of `knockoffs.select`; this module only decides what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from time import perf_counter
from typing import Any, overload

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from neucept.activations import Activations
from neucept.critical.core import CoreCurve, find_core
from neucept.critical.record import CLASS_SCORE, EDGE_COLUMNS, KEPT_COLUMNS, NODE_COLUMNS, Critical
from neucept.critical.settings import Search
from neucept.errors import DataError, ModelError, SettingsError, near_names
from neucept.knockoffs import (
    FEWEST_PLANTED,
    Audit,
    Sampler,
    Selection,
    audit,
    fit_sampler,
    select,
    select_both,
)
from neucept.runtime import (
    Checkpoints,
    Progress,
    derived_seed,
    digest,
    generator,
    is_whole,
    run_tasks,
)


@overload
def find_critical(
    acts: Activations,
    target: int,
    search: Search = ...,
    *,
    n_jobs: int | None = ...,
    progress: Progress | None = ...,
    checkpoints: Checkpoints | None = ...,
) -> Critical: ...


@overload
def find_critical(
    acts: Activations,
    target: Sequence[int],
    search: Search = ...,
    *,
    n_jobs: int | None = ...,
    progress: Progress | None = ...,
    checkpoints: Checkpoints | None = ...,
) -> dict[int, Critical]: ...


def find_critical(
    acts: Activations,
    target: int | Sequence[int],
    search: Search = Search(),  # noqa: B008 - frozen
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
) -> Critical | dict[int, Critical]:
    """Find the critical neurons behind a class, layer by layer backwards from the prediction.

    Args:
        acts: Captured activations.
        target: A class index, or a list of them, which then share the layers' densities.
        search: Level, route and the settings of each selection.
        n_jobs: Workers; None for one per core.
        progress: Called as ``progress(stage, done, total)``; the stage names the layer.
        checkpoints: Where finished layers are kept, so that a killed search goes on from there.

    Returns:
        The critical neurons; a dict by class for a list of classes.

    Raises:
        ModelError: a layer was not captured.
        DataError: the class is unknown, too few samples, or a layer has no usable neuron.
        SettingsError: a setting is out of range.

    Source: Vu, Nguyen, Thai (2022), algorithm 1; for the promise at each step, see
        ``docs/guarantee.md``.
    """
    for one in _classes(target):
        acts.class_score(one, search.scale)
    layers = _layers_to_search(acts, search)
    walk = _Walk(acts, search, layers, n_jobs, progress, checkpoints or Checkpoints(None))
    if isinstance(target, int | np.integer):
        return walk.backwards(int(target))
    return {int(t): walk.backwards(int(t)) for t in target}


def _classes(target: object) -> list[int]:
    several = isinstance(target, Sequence | np.ndarray) and not isinstance(target, str)
    classes: list[Any] = list(target) if several else [target]  # type: ignore[call-overload]
    if not classes or not all(is_whole(c) for c in classes):
        raise SettingsError(f"target is {target!r}. Pass a class index, or a list of them.")
    return [int(c) for c in classes]


def _layers_to_search(acts: Activations, search: Search) -> tuple[str, ...]:
    if search.layers is None:
        return acts.layers
    for layer in search.layers:
        if layer not in acts.layers:
            raise ModelError(f"Layer '{layer}' was not captured. {near_names(layer, acts.layers)}")
    if not search.layers:
        raise SettingsError("layers is empty. Name at least one, or None for all.")
    return tuple(layer for layer in acts.layers if layer in search.layers)


@dataclass(frozen=True)
class _Targets:
    """What a layer is asked about: columns of numbers and where each comes from."""

    values: Float[np.ndarray, "samples targets"]
    layer: str
    neurons: tuple[int, ...]

    @property
    def words(self) -> str:
        if self.layer == CLASS_SCORE:
            return "the class score"
        count = len(self.neurons)
        return f"the {count} critical neuron{'s' * (count != 1)} of {self.layer}"


@dataclass(frozen=True)
class _Walk:
    """One way through the layers; what classes share (densities, audits) is kept between them."""

    acts: Activations
    search: Search
    layers: tuple[str, ...]
    n_jobs: int | None
    progress: Progress | None
    checkpoints: Checkpoints
    samplers: dict[tuple[str, str], Sampler] = field(default_factory=dict)
    audits: dict[str, dict[str, Any]] = field(default_factory=dict)

    def backwards(self, target: int) -> Critical:
        score = self.acts.class_score(target, self.search.scale)[:, None]
        population = self._population(target)
        top = _Targets(score, CLASS_SCORE, (-1,))
        asked, nodes, edges, kept = top, [], [], []
        messages: dict[str, str] = {}
        settings: dict[str, dict[str, Any]] = {}
        for step, layer in enumerate(reversed(self.layers)):
            begun = perf_counter()
            rows = self._rows(population, step)
            node, edge = self._select(layer, asked, rows, population)
            nodes.append(_node_frame(layer, node))
            if edge is not None:
                edges.append(_edge_frame(layer, asked, edge))
            core = self._core(layer, asked, rows, node)
            if core is not None:
                kept.append(_kept_frame(layer, core))
            messages[layer] = node.message
            settings[layer] = {
                **node.settings,
                "target": asked.words,
                "target_layer": asked.layer,
                "samples": len(rows),
                "groups": [list(group) for group in node.groups],
                "set_aside": {str(k): v for k, v in node.set_aside.items()},
                "seconds": round(perf_counter() - begun, 3),
                "known": None if core is None else core.known,
                "audit": self._audit(layer, rows, population, node),
            }
            asked = self._next(layer, node, top, messages)
        return Critical(
            target=target,
            layers=self.layers,
            search=self.search,
            table=_joined(nodes, NODE_COLUMNS),
            edges=_joined(edges, EDGE_COLUMNS),
            messages=messages,
            settings=settings,
            kept=_joined(kept, KEPT_COLUMNS),
        )

    def _population(self, target: int) -> Int[np.ndarray, " rows"]:
        if self.search.samples == "all":
            return np.arange(self.acts.n_samples)
        rows = np.flatnonzero(self.acts.predictions == target)
        if rows.size == 0:
            raise DataError(
                f"No sample is predicted as class {target}. "
                "Use samples='all', another class, or more samples."
            )
        return rows

    def _rows(
        self, population: Int[np.ndarray, " rows"], step: int
    ) -> Int[np.ndarray, " some_rows"]:
        if not self.search.split:
            return population
        shuffled = generator(self.search.seed, "split rows").permutation(population)
        return np.sort(np.array_split(shuffled, len(self.layers))[step])

    def _select(
        self,
        layer: str,
        asked: _Targets,
        rows: Int[np.ndarray, " rows"],
        population: Int[np.ndarray, " everyone"],
    ) -> tuple[Selection, Selection | None]:
        x = self.acts.matrix(layer, rows=rows)
        y = asked.values[rows]
        seed = derived_seed(self.search.seed, "layer", layer)
        pairs = self.search.edges and y.shape[1] > 1
        everyone = digest(population)
        key = digest(x, y, self.search.select_settings, seed, pairs, everyone, version("neucept"))

        def compute() -> dict[str, np.ndarray]:
            options = self._options(layer, x, population, everyone, seed)
            found: tuple[Selection, ...]
            if not pairs:
                found = (select(x, y, **options),)
            elif self.search.statistic == "network":
                # A network for every pair would take hours on wide layers.
                lines = {**options, "statistic": "lasso", "targets": "separate"}
                found = (select(x, y, **options), select(x, y, **lines))
            else:
                found = select_both(x, y, **options)
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

    def _options(
        self,
        layer: str,
        x: Float[np.ndarray, "rows neurons"],
        population: Int[np.ndarray, " everyone"],
        everyone: str,
        seed: int,
    ) -> dict[str, Any]:
        # The density is fitted on the whole population, whatever rows are tested.
        if (layer, everyone) not in self.samplers:
            whole = x if len(x) == len(population) else self.acts.matrix(layer, rows=population)
            self.samplers[layer, everyone] = fit_sampler(whole, self.search.sampler, seed)
        progress = self.progress
        return {
            **self.search.select_settings,
            "sampler": self.samplers[layer, everyone],
            "seed": seed,
            "n_jobs": self.n_jobs,
            "progress": None
            if progress is None
            else lambda _, done, of: progress(f"critical neurons of {layer}", done, of),
        }

    def _core(
        self, layer: str, asked: _Targets, rows: Int[np.ndarray, " rows"], node: Selection
    ) -> CoreCurve | None:
        """How few of the critical neurons suffice; None where there are none, or no core is wanted.

        A group of near-copies counts as one: its first member stands for it.
        """
        found = _distinct(node)
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

    def _audit(
        self,
        layer: str,
        rows: Int[np.ndarray, " rows"],
        population: Int[np.ndarray, " everyone"],
        node: Selection,
    ) -> dict[str, Any] | None:
        """What targets planted on this layer say of the level; None where there is no audit."""
        promised = self.search.aggregate == "e_values"
        if not self.search.audit or not promised or node.settings["tested"] <= FEWEST_PLANTED:
            return None
        x = self.acts.matrix(layer, rows=rows)
        seed = derived_seed(self.search.seed, "layer", layer)
        everyone = digest(population)
        asked = {**self.search.select_settings, "repeats": self.search.audit}
        key = digest("audit", x, asked, seed, everyone, version("neucept"))
        progress = self.progress

        def compute() -> dict[str, np.ndarray]:
            options = self._options(layer, x, population, everyone, seed)
            options.pop("aggregate")
            options["progress"] = (
                None
                if progress is None
                else lambda _, done, of: progress(f"audit of {layer}", done, of)
            )
            # Without noise the level is hardest to keep.
            return audit(x, **options, noises=(0.0,), repeats=self.search.audit).to_arrays()

        if key not in self.audits:
            found = Audit.from_arrays(self.checkpoints.recall(key, compute))
            self.audits[key] = found.to_json()
        return self.audits[key]

    def _next(
        self, layer: str, node: Selection, top: _Targets, messages: dict[str, str]
    ) -> _Targets:
        if self.search.route == "direct":
            return top
        found = _distinct(node)
        if not found:
            below = "The layer below was asked about the class score instead."
            messages[layer] = f"{messages[layer]} {below}".strip()
            return top
        columns = self.acts.matrix(layer)[:, list(found)].astype(np.float64)
        return _Targets(columns, layer, found)


def _selection(arrays: dict[str, np.ndarray], name: str) -> Selection:
    start = f"{name} "
    return Selection.from_arrays(
        {part.removeprefix(start): a for part, a in arrays.items() if part.startswith(start)}
    )


def _distinct(node: Selection) -> tuple[int, ...]:
    """The selected neurons, most evidence first; of a group of near-copies only the first."""
    spare = {member for group in node.groups for member in group[1:]}
    return tuple(int(j) for j in node.neurons if int(j) not in spare)


def _kept_frame(layer: str, core: CoreCurve) -> pd.DataFrame:
    sizes = np.arange(len(core.kept))
    return pd.DataFrame(
        {
            "layer": layer,
            "size": sizes,
            "neuron": np.concatenate([[-1], core.order]),
            "kept": core.kept,
            "measured": np.isin(sizes, core.measured),
        }
    )


def _node_frame(layer: str, node: Selection) -> pd.DataFrame:
    return node.to_frame().assign(layer=layer)


def _edge_frame(layer: str, asked: _Targets, edge: Selection) -> pd.DataFrame:
    frame = edge.to_frame().assign(layer=layer, target_layer=asked.layer)
    column = frame["target"] if "target" in frame else np.zeros(len(frame), dtype=np.int64)
    return frame.assign(target_neuron=np.asarray(asked.neurons)[column])


def _joined(frames: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    # Layers were visited backwards; tables read in order of execution.
    if not frames:
        return pd.DataFrame({column: [] for column in columns})
    return pd.concat(frames[::-1], ignore_index=True)[list(columns)]
