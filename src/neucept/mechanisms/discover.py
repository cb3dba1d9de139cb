"""The verb: from activations and critical neurons to mechanisms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from threadpoolctl import threadpool_limits

from neucept.activations import Activations, predicted_as
from neucept.critical import Critical
from neucept.errors import DataError, SettingsError, near_names
from neucept.mechanisms.assigner import Fitted, fit_assigner
from neucept.mechanisms.choice import LEVEL, STABLE, Survey, survey
from neucept.mechanisms.describe import (
    SIGNATURE_COLUMNS,
    SIZE_COLUMNS,
    picture,
    prototypes,
    signature,
    size_table,
)
from neucept.mechanisms.features import Space, fit_space
from neucept.mechanisms.mixture import Ascent, Mixture
from neucept.mechanisms.order import along
from neucept.mechanisms.path import LONG, METHODS
from neucept.mechanisms.record import Mechanisms
from neucept.mechanisms.resampling import (
    IMITATIONS,
    MOST_ROWS,
    SPLITS,
    fit_half,
    fit_whole,
    imitate,
    matched,
    recovery,
)
from neucept.mechanisms.together import check_together
from neucept.mechanisms.tree import TREE_COLUMNS, grow
from neucept.runtime import THREADS_PER_TASK, Progress, check_seed, run_tasks

FEWEST_SAMPLES = 30
"""Samples below which no grouping means anything."""

SAMPLES_EACH = 15
"""Samples per mechanism that a number of mechanisms must leave room for."""

BEYOND = 2
"""How many groups more than an imposed number are looked at."""

NEURONS = ("critical", "core")
"""Which neurons of a layer tell mechanisms apart: all that are critical, or its core."""

KEPT = 0.99
"""Share of what a layer tells that its core keeps here: with less, mechanisms are lost first."""

CHOICE_COLUMNS = ("n", "stability", "stability_one", "gap", "criterion", "chosen")
RANKING_COLUMNS = (
    "layer",
    "neurons",
    "n",
    "stability",
    "stability_one",
    "gap",
    "support",
    "leads",
)


def discover_mechanisms(
    acts: Activations,
    crit: Critical,
    *,
    n_mechanisms: int | str = "auto",
    max_mechanisms: int = 12,
    layers: Sequence[str] | None = None,
    neurons: str = "critical",
    method: str = "mixture",
    groups: Sequence[object] | np.ndarray | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Mechanisms:
    """Find the distinct patterns of critical neurons among samples with the same prediction.

    The activations are straightened, reduced to at most 20 principal components, and described by
    a mixture of groups of any shape. How many there are is decided on samples that did not draw
    them: each mechanism must come back in half of the samples, and every two must have a gap
    between them. "One mechanism" is the answer when no division passes.

    Args:
        acts: Activations of the samples.
        crit: The critical neurons of the class. Samples are those predicted as it (of a contrast,
            as the first class); after a local search, those around the sample that it named.
        n_mechanisms: A number to impose; "auto" to find it.
        max_mechanisms: The largest number considered.
        layers: Layers to take together; None tries each layer by itself, and the one whose
            mechanisms are stable farthest beyond what one mechanism would give leads.
        neurons: "critical" (all critical neurons of a layer) or "core" (the smallest set that
            keeps 0.99 of what the layer tells about its targets, at most half of the layer; all
            critical neurons of a layer whose core was not searched). Where the target is the class
            score alone, few neurons tell it, and their core may lose mechanisms.
        method: "mixture" (groups of any shape) or "kmeans" (round groups, for comparison).
        groups: Which samples belong together, as those of one patient or one video: one id for
            each sample of `acts`. They are never split between halves or folds, count as one in
            every test, and the one mechanism that stability is compared with keeps them alike.
        seed: Every random choice derives from it.
        n_jobs: Workers; None for one per core. The result does not depend on it.
        progress: Called as ``progress("mechanisms", done, total)``.

    Returns:
        The mechanisms; none (`n_mechanisms` 0, with a message) when no layer has a critical
        neuron that varies among the samples.

    Raises:
        DataError: too few samples are predicted as the class, an activation is NaN, or `groups`
            has not one id for each sample, or too few of them.
        ModelError: a layer was not searched or not recorded.
        SettingsError: a setting is outside its range.
    """
    asked = _check(n_mechanisms, max_mechanisms, method, layers, neurons)
    check_seed(seed)
    samples = _explained(acts, crit, asked)
    together = check_together(groups, acts.n_samples, samples, predicted_as(crit.target))
    room = len(samples) // SAMPLES_EACH
    # Fits of a few more groups than asked for, merged, help the asked ones out of poor optima.
    most = min(max_mechanisms, room) if asked is None else min(asked + BEYOND, max(asked, room))
    used = {layer: _used(crit, layer, neurons) for layer in layers or crit.layers}
    settings = {
        "n_mechanisms": n_mechanisms,
        "max_mechanisms": max_mechanisms,
        "layers": None if layers is None else list(layers),
        "neurons": neurons,
        "used": {layer: which for layer, (which, _) in used.items()},
        "groups": None if together is None else int(together.max()) + 1,
        "seed": seed,
        "splits": SPLITS,
        "stable": STABLE,
        "level": LEVEL,
    }
    with threadpool_limits(THREADS_PER_TASK):
        spaces = _spaces(acts, used, layers is not None, samples)
        if not spaces:
            return _nothing(acts, crit, samples, together, method, settings)
        surveys = _surveys(spaces, most, method, seed, asked, together, n_jobs, progress)
        target = predicted_as(crit.target)
        return _describe(acts, target, samples, together, surveys, method, settings)


def _check(
    n_mechanisms: object,
    max_mechanisms: object,
    method: str,
    layers: Sequence[str] | None,
    neurons: str,
) -> int | None:
    if method not in METHODS:
        raise SettingsError(f"method is {method!r}. {near_names(str(method), METHODS)}")
    if neurons not in NEURONS:
        raise SettingsError(f"neurons is {neurons!r}. {near_names(str(neurons), NEURONS)}")
    for name, value in (("n_mechanisms", n_mechanisms), ("max_mechanisms", max_mechanisms)):
        if name == "n_mechanisms" and value == "auto":
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            hint = " or 'auto'" if name == "n_mechanisms" else ""
            raise SettingsError(f"{name} is {value!r}. Pass a whole number of at least 1{hint}.")
    if layers is not None and (isinstance(layers, str) or not layers):
        raise SettingsError(f"layers is {layers!r}. Pass a list of names, or None for all.")
    return int(n_mechanisms) if isinstance(n_mechanisms, int | np.integer) else None


def _explained(acts: Activations, crit: Critical, asked: int | None) -> Int[np.ndarray, " samples"]:
    samples, target = crit.explained(acts), predicted_as(crit.target)
    needed = max(FEWEST_SAMPLES, SAMPLES_EACH * (asked or 1))
    if len(samples) >= needed:
        return samples
    if crit.around is not None:
        raise DataError(
            f"{len(samples)} samples around sample '{crit.around.id}' were studied; mechanisms "
            f"need at least {needed}. Search again with more neighbours."
        )
    classes, counts = np.unique(acts.predictions, return_counts=True)
    often = np.argsort(-counts, kind="stable")[:5]
    shown = ", ".join(f"{classes[i]} ({counts[i]})" for i in often)
    what = f"{asked} mechanisms need" if asked else "mechanisms need"
    raise DataError(
        f"{len(samples)} of {acts.n_samples} samples are predicted as class {target}; {what} at "
        f"least {needed}. Predicted most: {shown}. Give more samples, or another class."
    )


def _used(crit: Critical, layer: str, neurons: str) -> tuple[str, Int[np.ndarray, " used"]]:
    """The neurons of a layer to group by, and whether they are its core or all critical ones."""
    found = crit.neurons(layer)
    measured = bool((crit.kept["layer"] == layer).any())
    if neurons == "core" and measured and crit.search.keep:
        core = crit.core(layer, max(crit.search.keep, KEPT))
        width = int((crit.table["layer"] == layer).sum())
        if len(core):
            return "core", np.sort(core[: max(1, width // 2)])
    return "critical", np.sort(found)


def _spaces(
    acts: Activations,
    used: Mapping[str, tuple[str, Int[np.ndarray, " used"]]],
    joined: bool,
    samples: Int[np.ndarray, " samples"],
) -> list[Space]:
    """What there is to group by: each layer, or all of them together."""
    found = {layer: neurons for layer, (_, neurons) in used.items() if len(neurons)}
    together = [found] if joined else [{layer: neurons} for layer, neurons in found.items()]
    spaces = [fit_space(acts, neurons, samples) for neurons in together if neurons]
    return [space for space in spaces if space.x.shape[1]]


def _surveys(
    spaces: Sequence[Space],
    most: int,
    method: str,
    seed: int,
    asked: int | None,
    together: Int[np.ndarray, " samples"] | None,
    n_jobs: int | None,
    progress: Progress | None,
) -> list[Survey]:
    jobs: list[tuple[Any, ...]] = []
    for space in spaces:
        common = (space.x, most, method, seed, space.name)
        jobs.append((fit_whole, *common))
        sides = [(split, side) for split in range(SPLITS) for side in (0, 1)]
        jobs += [(fit_half, *common, *side, together) for side in sides]
        jobs += [(imitate, *common, copy, together) for copy in range(IMITATIONS)]
    done = iter(run_tasks(_call, jobs, n_jobs=n_jobs, progress=progress, stage="mechanisms"))
    surveys = []
    for space in spaces:
        whole = next(done)
        parts = [next(done) for _ in range(2 * SPLITS)]
        alone = [next(done) for _ in range(IMITATIONS)]
        surveys.append(survey(space, whole, parts, alone, seed, asked, together))
    return surveys


def _call(function: Any, *arguments: Any) -> Any:
    return function(*arguments)


def _describe(
    acts: Activations,
    target: int,
    samples: Int[np.ndarray, " samples"],
    together: Int[np.ndarray, " samples"] | None,
    surveys: Sequence[Survey],
    method: str,
    settings: Mapping[str, Any],
) -> Mechanisms:
    place = max(range(len(surveys)), key=lambda i: (surveys[i].support, i))
    lead = surveys[place]
    x, groups = lead.space.x, lead.number
    mixture = _final(lead, method)
    labels = mixture.labels(x)
    found = [part.path[groups - 1].labels(x) for part in lead.parts]
    stability = recovery(labels, found, groups)
    again = [matched(labels, other, groups)[labels] == other for other in found]
    fitted = Fitted(lead.space.projection, mixture)
    seed = int(settings["seed"])
    assigner = fit_assigner(fitted, lead.space.values, method, seed, together)
    score = acts.class_score(target)[samples]
    tree, order = along(x, labels, grow(x, lead.whole[-1], labels), score, seed)
    own = mixture.distances(x)[np.arange(len(x)), labels]
    return Mechanisms(
        target=target,
        layers=lead.space.projection.layers,
        method=method,
        samples=samples,
        labels=labels,
        membership=mixture.membership(x),
        typicality=assigner.own_typicality(),
        stability=stability,
        sample_stability=np.mean(again, axis=0),
        prototypes=prototypes(samples, labels, own, groups),
        map=picture(x, labels, groups),
        table=size_table(acts, target, samples, labels, stability),
        signature=signature(lead.space, labels, groups),
        choice=lead.table,
        ranking=_ranking(surveys, lead),
        message=_message(lead, len(samples), settings["n_mechanisms"] != "auto"),
        settings=settings,
        assigner=assigner,
        leaves=tree.leaves,
        tree=tree.table,
        order=order,
        **_known(acts, samples, together),
    )


def _known(
    acts: Activations,
    samples: Int[np.ndarray, " samples"],
    together: Int[np.ndarray, " samples"] | None,
) -> dict[str, Any]:
    """What is known of the samples whatever is found."""
    alone = np.arange(len(samples)) if together is None else together
    return {"together": alone, "ids": [acts.ids[i] for i in samples], "total": acts.n_samples}


def _final(lead: Survey, method: str) -> Mixture:
    """The chosen groups, fitted to every sample, the largest first."""
    x, mixture = lead.space.x, lead.whole[lead.number - 1]
    if method == "mixture" and len(x) > MOST_ROWS:
        mixture = Ascent(x).climb(mixture.membership(x), LONG)
    sizes = np.bincount(mixture.labels(x), minlength=mixture.groups)
    return mixture.reordered(np.argsort(-sizes, kind="stable"))


def _ranking(surveys: Sequence[Survey], lead: Survey) -> pd.DataFrame:
    rows = []
    for one in surveys:
        row = one.row
        rows.append(
            {
                "layer": one.space.name,
                "neurons": one.space.values.shape[1],
                "n": one.number,
                "stability": float(row["stability"]),
                "stability_one": float(row["stability_one"]),
                "gap": float(row["gap"]),
                "support": one.support,
                "leads": one is lead,
            }
        )
    return pd.DataFrame(rows, columns=list(RANKING_COLUMNS))


def _message(lead: Survey, samples: int, given: bool) -> str:
    row, table = lead.row, lead.table
    seen = (
        f"Weakest of them: stability {row['stability']:.2f}, where one mechanism would give "
        f"{row['stability_one']:.2f}; gap between every two, {_p(row['gap'])}."
    )
    if given:
        return "The number was given." + (f" {seen}" if lead.number > 1 else "")
    if lead.number > 1:
        return f"Settled on samples that did not draw the groups. {seen}"
    others = table[table["n"] > 1]
    if others.empty:
        return f"With {samples} samples, or as set, only one mechanism was considered."
    best = others.iloc[int((others["stability"] - others["gap"].fillna(1.0)).to_numpy().argmax())]
    return (
        f"No division into 2 to {int(table['n'].max())} groups came back on other samples with a "
        f"gap between every two groups. Nearest: {int(best['n'])} groups, stability "
        f"{best['stability']:.2f} (needed: {STABLE}), {_gap_of(best['gap'])}."
    )


def _gap_of(value: float) -> str:
    if np.isnan(value):
        return "so that no gap was looked for"
    return f"gap {_p(value)} (needed: {LEVEL})"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _nothing(
    acts: Activations,
    crit: Critical,
    samples: Int[np.ndarray, " samples"],
    together: Int[np.ndarray, " samples"] | None,
    method: str,
    settings: Mapping[str, Any],
) -> Mechanisms:
    none = np.full(len(samples), np.nan)
    some = any(len(crit.neurons(layer)) for layer in crit.layers)
    why = (
        f"No critical neuron varies among the {len(samples)} samples of the class"
        if some
        else "No layer has a critical neuron"
    )
    return Mechanisms(
        target=predicted_as(crit.target),
        layers=(),
        method=method,
        samples=samples,
        labels=np.full(len(samples), -1),
        membership=np.zeros((len(samples), 0)),
        typicality=none,
        stability=np.zeros(0),
        sample_stability=none,
        prototypes=[],
        map=np.full((len(samples), 2), np.nan),
        table=pd.DataFrame({name: [] for name in SIZE_COLUMNS}),
        signature=pd.DataFrame({name: [] for name in SIGNATURE_COLUMNS}),
        choice=pd.DataFrame({name: [] for name in CHOICE_COLUMNS}),
        ranking=pd.DataFrame({name: [] for name in RANKING_COLUMNS}),
        message=f"{why}, so there was nothing to group by.",
        settings=settings,
        assigner=None,
        leaves=np.full(len(samples), -1),
        tree=pd.DataFrame({name: [] for name in TREE_COLUMNS}),
        order=none,
        **_known(acts, samples, together),
    )
