"""Critical neurons, layer by layer: the backward search from the class score to the first layer.

At the top the target is the class score. Below it, on the chain, the targets of a layer are the
critical neurons just found in the layer above; on the direct route every layer is asked about the
class score. Each step is one selection of `knockoffs`; this module only decides what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, cast, overload

import numpy as np
import pandas as pd
from jaxtyping import Int

from neucept.activations import Activations, Target
from neucept.critical.core import CoreCurve
from neucept.critical.layer import Targets, Work, distinct
from neucept.critical.population import find_population
from neucept.critical.record import CLASS_SCORE, EDGE_COLUMNS, KEPT_COLUMNS, NODE_COLUMNS, Critical
from neucept.critical.settings import Search
from neucept.errors import ModelError, SettingsError, near_names
from neucept.knockoffs import FEWEST_PLANTED, Audit, Selection, cells_of
from neucept.runtime import (
    Checkpoints,
    Progress,
    derived_seed,
    generator,
    is_whole,
)


@overload
def find_critical(
    acts: Activations,
    target: Target,
    search: Search = ...,
    *,
    n_jobs: int | None = ...,
    progress: Progress | None = ...,
    checkpoints: Checkpoints | None = ...,
) -> Critical: ...


@overload
def find_critical(
    acts: Activations,
    target: list[int] | range,
    search: Search = ...,
    *,
    n_jobs: int | None = ...,
    progress: Progress | None = ...,
    checkpoints: Checkpoints | None = ...,
) -> dict[int, Critical]: ...


def find_critical(
    acts: Activations,
    target: Target | list[int] | range,
    search: Search = Search(),  # noqa: B008 - frozen
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
) -> Critical | dict[int, Critical]:
    """Find the critical neurons behind a class, layer by layer backwards from the prediction.

    Args:
        acts: Captured activations.
        target: A class index; a pair of two (a tuple) for a contrast, why the first class rather
            than the second; or a list of classes, which then share the layers' densities.
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
    classes = _classes(target)
    for one in classes:
        acts.class_score(one, search.scale)
    if search.samples == "near" and len(classes) > 1:
        raise SettingsError(
            f"target is {target!r} and samples is 'near', but one sample is predicted as one class "
            "only. Pass that class."
        )
    layers = _layers_to_search(acts, search)
    work = Work(acts, search, n_jobs, progress, checkpoints or Checkpoints(None))
    walk = _Walk(acts, search, layers, work)
    if isinstance(target, int | np.integer | tuple):
        return walk.backwards(classes[0])
    return {one: walk.backwards(one) for one in cast(list[int], classes)}


def _classes(target: object) -> list[Target]:
    """What is to be explained, one after the other: a tuple is one contrast, a list are classes."""
    several = isinstance(target, Sequence | np.ndarray) and not isinstance(target, str)
    classes: list[Any] = list(target) if several else [target]  # type: ignore[call-overload]
    pair = isinstance(target, tuple)
    if not classes or not all(is_whole(c) for c in classes) or (pair and len(classes) != 2):
        raise SettingsError(
            f"target is {target!r}. Pass a class index, a pair of two for a contrast, such as "
            "(3, 5), or a list of classes."
        )
    return [(int(classes[0]), int(classes[1]))] if pair else [int(c) for c in classes]


def _layers_to_search(acts: Activations, search: Search) -> tuple[str, ...]:
    if search.layers is None:
        return acts.layers
    for layer in search.layers:
        if layer not in acts.layers:
            raise ModelError(f"Layer '{layer}' was not captured. {near_names(layer, acts.layers)}")
    if not search.layers:
        raise SettingsError("layers is empty. Name at least one, or None for all.")
    return tuple(layer for layer in acts.layers if layer in search.layers)


def audit_layers(
    acts: Activations,
    crit: Critical,
    *,
    noises: tuple[float, ...] = (0.0, 0.5),
    repeats: int = 4,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
) -> dict[str, Audit]:
    """Audit each layer of a finished search, on targets that it has not seen.

    Targets are planted on the samples that the layer was tested on, and selected for with its
    density, dither, floor, knockoffs and draws.

    Args:
        acts: The activations that were searched.
        crit: What was found.
        noises: Of the planted targets, in standard deviations.
        repeats: Targets of each kind and noise, at least 2.
        n_jobs: Workers; None for one per core.
        progress: Told after each finished task.
        checkpoints: Where finished pieces are kept, so that a killed audit goes on.

    Returns:
        By layer, in order of execution; without layers that are too narrow for an audit. Nothing
        at all where the search promises no level.

    Raises:
        SettingsError: a noise or the number of repeats is out of range.
    """
    search = crit.search
    cells_of(None, noises, repeats)
    if search.aggregate != "e_values":
        return {}
    work = Work(acts, search, n_jobs, progress, checkpoints or Checkpoints(None))
    walk = _Walk(acts, search, crit.layers, work)
    population, _ = find_population(acts, crit.target, search, crit.layers)
    found = {}
    for step, layer in enumerate(reversed(crit.layers)):
        if crit.settings[layer]["tested"] <= FEWEST_PLANTED:
            continue
        used = {name: crit.settings[layer][name] for name in ("dither", "floor")}
        asked = replace(search.asked, **used)
        seed = derived_seed(search.seed, "audit afterwards", layer)
        rows = walk.rows(population, step)
        found[layer] = work.measured(layer, rows, population, asked, noises, repeats, seed)
    return {layer: found[layer] for layer in crit.layers if layer in found}


def rows_of(
    acts: Activations, crit: Critical, layer: str | None = None
) -> Int[np.ndarray, " rows"]:
    """The samples that a finished search was about.

    Args:
        acts: The activations that were searched.
        crit: What was found.
        layer: For those of them that this layer was tested on.
    """
    work = Work(acts, crit.search, None, None, Checkpoints(None))
    walk = _Walk(acts, crit.search, crit.layers, work)
    population, _ = find_population(acts, crit.target, crit.search, crit.layers)
    if layer is None:
        return population
    return walk.rows(population, crit.layers[::-1].index(layer))


@dataclass(frozen=True)
class _Walk:
    """One way through the layers; classes share the work on them."""

    acts: Activations
    search: Search
    layers: tuple[str, ...]
    work: Work

    def backwards(self, target: Target) -> Critical:
        score = self.acts.class_score(target, self.search.scale)[:, None]
        population, around = find_population(self.acts, target, self.search, self.layers)
        top = Targets(score, CLASS_SCORE, (-1,), contrast=isinstance(target, tuple))
        asked, nodes, edges, kept = top, [], [], []
        messages: dict[str, str] = {}
        settings: dict[str, dict[str, Any]] = {}
        for step, layer in enumerate(reversed(self.layers)):
            begun = perf_counter()
            rows = self.rows(population, step)
            node, edge = self.work.select(layer, asked, rows, population)
            nodes.append(_node_frame(layer, node))
            if edge is not None:
                edges.append(_edge_frame(layer, asked, edge))
            core = self.work.core(layer, asked, rows, node)
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
                "audit": self.work.audit(layer, rows, population, node),
                "exchangeability": self.work.exchangeability(layer, rows, population, node),
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
            around=around,
        )

    def rows(
        self, population: Int[np.ndarray, " rows"], step: int
    ) -> Int[np.ndarray, " some_rows"]:
        """Those of them that one step backwards is tested on."""
        if not self.search.split:
            return population
        shuffled = generator(self.search.seed, "split rows").permutation(population)
        return np.sort(np.array_split(shuffled, len(self.layers))[step])

    def _next(self, layer: str, node: Selection, top: Targets, messages: dict[str, str]) -> Targets:
        if self.search.route == "direct":
            return top
        found = distinct(node)
        if not found:
            below = f"The layer below was asked about {top.words} instead."
            messages[layer] = f"{messages[layer]} {below}".strip()
            return top
        columns = self.acts.matrix(layer)[:, list(found)].astype(np.float64)
        return Targets(columns, layer, found)


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


def _edge_frame(layer: str, asked: Targets, edge: Selection) -> pd.DataFrame:
    frame = edge.to_frame().assign(layer=layer, target_layer=asked.layer)
    column = frame["target"] if "target" in frame else np.zeros(len(frame), dtype=np.int64)
    return frame.assign(target_neuron=np.asarray(asked.neurons)[column])


def _joined(frames: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    # Layers were visited backwards; tables read in order of execution.
    if not frames:
        return pd.DataFrame({column: [] for column in columns})
    return pd.concat(frames[::-1], ignore_index=True)[list(columns)]
