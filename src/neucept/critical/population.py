"""The samples that a class is studied on: all, those predicted as it, or those around one of them.

Around a sample, near is measured *along* the samples: in the layer nearest the prediction each is
linked to those most like it, and what a walk along the links reaches soonest is nearest. Straight
distances hardly tell in many neurons which samples are of one kind; a walk seldom leaves its kind,
since few links do. The whole kind is as near as its middle, so that neurons keep their spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from neucept.activations import Activations, Target, predicted_as
from neucept.critical.settings import LEAST_NEIGHBOURS, Search
from neucept.errors import DataError, near_names
from neucept.runtime import THREADS_PER_TASK

ENOUGH, PER_NEURON = 1000, 10
"""Samples that a selection is given: the larger of so many, and so many for each neuron."""

AT_LEAST = 0.5
"""Share of them that is kept where fewer links lead out of a smaller neighbourhood."""

DIRECTIONS = 20
"""Directions, those in which samples differ most, that nearness is measured in."""

LINKS = 15
"""Samples that each is linked to."""

RESTART, STEPS = 0.03, 200
"""How often the walk begins anew, and the steps after which its shares are settled."""

MOST_LINKED = 20_000
"""Samples that are linked; of more, those nearest in a straight line."""

Places = Float[np.ndarray, "samples directions"]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The samples around one.

    Attributes:
        position: Of the sample itself.
        id: Its name.
        rows: Positions of the samples, ascending; the sample itself is one of them.
        predicted: How many samples are predicted alike.
        spread: Variance of the samples in the layer nearest the prediction, as a share of that of
            all that are predicted alike; near 1 where the study is hardly local.
        message: What limits it; "" when all is well.
    """

    position: int
    id: str
    rows: Int[np.ndarray, " rows"] = field(repr=False)
    predicted: int
    spread: float
    message: str

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {**vars(self), "rows": self.rows.tolist()}

    @classmethod
    def from_json(cls, said: dict[str, Any] | None) -> Neighbourhood | None:
        """The neighbourhood that `to_json` took apart; None of None."""
        if said is None:
            return None
        return cls(**{**said, "rows": np.asarray(said["rows"], dtype=np.int64)})


def find_population(
    acts: Activations, target: Target, search: Search, layers: Sequence[str]
) -> tuple[Int[np.ndarray, " rows"], Neighbourhood | None]:
    """The samples that a target is studied on.

    Args:
        acts: Captured activations.
        target: A class, or a pair for a contrast.
        search: Says which samples.
        layers: Those searched, in order of execution.

    Returns:
        Positions, ascending, and the neighbourhood that they are, where it is one.

    Raises:
        DataError: no sample is predicted as the class, the sample asked for is not there or is
            predicted otherwise, or too few are predicted alike.
    """
    if search.samples == "all":
        return np.arange(acts.n_samples), None
    rows = np.flatnonzero(acts.predictions == predicted_as(target))
    if rows.size == 0:
        raise DataError(
            f"No sample is predicted as class {predicted_as(target)}. "
            "Use samples='all', another class, or more samples."
        )
    if search.samples == "predicted":
        return rows, None
    around = _around(acts, target, search, layers, rows)
    return around.rows, around


def find_sample(acts: Activations, near: str | int) -> int:
    """The position of the sample that was named.

    Args:
        acts: Captured activations.
        near: The id of a sample; where there is no such id, a position.

    Raises:
        DataError: there is no such sample, or several have that id.
    """
    name = str(near)
    places = [position for position, own in enumerate(acts.ids) if own == name]
    if len(places) > 1:
        raise DataError(
            f"{len(places)} samples have the id '{name}'. Name one by its position, such as "
            f"{places[0]}, or give samples ids of their own."
        )
    if places:
        return places[0]
    if name.isdecimal() and int(name) < acts.n_samples:
        return int(name)
    raise DataError(
        f"There is no sample '{name}'. {near_names(name, acts.ids)} Pass an id, or a position "
        f"from 0 to {acts.n_samples - 1}."
    )


def wanted(search: Search, neurons: int, layers: int, predicted: int) -> int:
    """How many samples a neighbourhood is to have at most.

    Args:
        search: The settings.
        neurons: Of the widest layer searched.
        layers: How many are searched.
        predicted: Samples predicted alike.

    Returns:
        The number asked for; for "auto" what selection needs, though no more than half of the
        samples predicted alike, since more would hardly be a neighbourhood.
    """
    if not isinstance(search.neighbours, str):
        return int(search.neighbours)
    return min(needed(search, neurons, layers), predicted // 2)


def needed(search: Search, neurons: int, layers: int) -> int:
    """How many samples selection needs; each layer its own where the search splits them."""
    parts = layers if search.split else 1
    return parts * max(ENOUGH, PER_NEURON * neurons)


def check_near(acts: Activations, target: Target, search: Search, layers: Sequence[str]) -> int:
    """Refuse a neighbourhood that cannot be had, before anything is computed.

    Args:
        acts: Captured activations.
        target: As in `find_population`.
        search: As in `find_population`; where it is not local, there is nothing to check.
        layers: As in `find_population`.

    Returns:
        How many samples the neighbourhood has at most; 0 where the search is not local.

    Raises:
        DataError: as in `find_population`.
    """
    if search.near is None:
        return 0
    position, own = find_sample(acts, search.near), predicted_as(target)
    name, predicted = acts.ids[position], acts.predictions[position]
    if predicted != own:
        raise DataError(
            f"Sample '{name}' is predicted as class {predicted}, not as class {own}. Study the "
            "class it is predicted as, or name another sample."
        )
    alike = int(np.sum(acts.predictions == own))
    neurons = max(acts.n_neurons(layer) for layer in layers)
    most = wanted(search, neurons, len(layers), alike)
    if most > alike or most < LEAST_NEIGHBOURS:
        auto = isinstance(search.neighbours, str)
        fix = "Give more samples" if auto else "Lower neighbours, or give more samples"
        raise DataError(
            f"{alike} samples are predicted as class {own}, as sample '{name}' is; a study around "
            f"it needs at least {2 * LEAST_NEIGHBOURS if auto else most} of them. {fix}."
        )
    return most


def _around(
    acts: Activations,
    target: Target,
    search: Search,
    layers: Sequence[str],
    alike: Int[np.ndarray, " alike"],
) -> Neighbourhood:
    """The neighbourhood of the sample that the search names."""
    most = check_near(acts, target, search, layers)
    position = find_sample(acts, search.near or 0)
    auto = isinstance(search.neighbours, str)
    least = max(round(AT_LEAST * most), LEAST_NEIGHBOURS) if auto else most
    with threadpool_limits(THREADS_PER_TASK):
        places = _places(acts.matrix(layers[-1], rows=alike).astype(np.float64))
        near = nearest(places, int(np.searchsorted(alike, position)), least, most)
    enough = needed(search, max(acts.n_neurons(layer) for layer in layers), len(layers))
    message = (
        f"Half of the {len(alike):,} samples predicted alike are fewer than the {enough:,} that a "
        "selection is given, so critical neurons may be missed. Give more samples."
        if auto and most < enough
        else ""
    )
    everyone = float(places.var(axis=0).sum())
    spread = float(places[near].var(axis=0).sum()) / everyone if everyone else 1.0
    return Neighbourhood(position, acts.ids[position], alike[near], len(alike), spread, message)


def nearest(places: Places, start: int, least: int, most: int) -> Int[np.ndarray, " near"]:
    """The samples nearest to one, along the links between samples.

    Args:
        places: Of the samples.
        start: Which of them the others are to be near to.
        least: Samples at least.
        most: Samples at most. Between the two, as many as leave the smallest share of their links
            leading elsewhere.

    Returns:
        Their numbers, ascending, with `start` among them.

    Source: Andersen, Chung, Lang (2006), "Local graph partitioning using PageRank vectors".
    """
    straight = np.square(places - places[start]).sum(axis=1)
    some = np.sort(np.argsort(straight, kind="stable")[: max(MOST_LINKED, most)])
    links = _linked(places[some])
    first = int(np.searchsorted(some, start))
    degrees = np.asarray(links.sum(axis=1)).ravel()
    reached = _walk(links, degrees, first) / degrees
    reached[first] = np.inf
    order = np.lexsort((straight[some], -reached))
    size = least + int(_leading_out(links, degrees, order)[least - 1 : most].argmin())
    return np.sort(some[order[:size]])


def _places(x: Float[np.ndarray, "samples neurons"]) -> Places:
    """The samples in the directions in which they differ most.

    In the neurons' own units: a neuron in which kinds of samples lie far apart varies more than
    others do, and would lose that if each were scaled to the same variance.
    """
    centred = x - x.mean(axis=0)
    spread, axes = np.linalg.eigh(centred.T @ centred / len(x))
    places = centred @ axes[:, ::-1][:, :DIRECTIONS]
    return np.asarray(places / np.sqrt(max(float(spread[-1]), np.finfo(float).tiny)))


def _linked(places: Places) -> csr_array:
    """Which samples are linked: each to those nearest to it, in both directions."""
    links = min(LINKS, len(places) - 1)
    _, found = NearestNeighbors(n_neighbors=links).fit(places).kneighbors()
    ends = np.repeat(np.arange(len(places)), links), found.ravel()
    one_way = coo_array((np.ones(found.size), ends), shape=(len(places), len(places))).tocsr()
    return one_way.maximum(one_way.T).tocsr()


def _walk(
    links: csr_array, degrees: Float[np.ndarray, " samples"], start: int
) -> Float[np.ndarray, " samples"]:
    """The share of its time that a walk, which begins anew now and then, spends at each sample."""
    begins = np.zeros(len(degrees))
    begins[start] = 1.0
    share = begins
    for _ in range(STEPS):
        share = (1 - RESTART) * (links @ (share / degrees)) + RESTART * begins
    return np.asarray(share)


def _leading_out(
    links: csr_array, degrees: Float[np.ndarray, " samples"], order: Int[np.ndarray, " samples"]
) -> Float[np.ndarray, " samples"]:
    """Of the links of the first 1, 2, ... samples of an order, the share that leads elsewhere."""
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    ends = links.tocoo()
    # A link is inside once the later of its two ends has come in.
    inside = np.bincount(np.maximum(rank[ends.row], rank[ends.col]), minlength=len(order)).cumsum()
    volume = degrees[order].cumsum()
    return np.asarray((volume - inside) / volume)
