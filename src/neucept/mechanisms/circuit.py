"""The part of the chain that carries a mechanism: its neurons, and the edges between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from neucept.activations import Activations, predicted_as
from neucept.critical import CLASS_SCORE, Critical
from neucept.errors import DataError, SettingsError
from neucept.mechanisms.describe import HIGH, LOW, MIDDLE
from neucept.mechanisms.features import read_neurons
from neucept.mechanisms.record import Mechanisms
from neucept.runtime import is_real, is_whole, writing

NODE_COLUMNS = (
    "layer",
    "neuron",
    "group",
    "separation",
    "low",
    "median",
    "high",
    "others_low",
    "others_median",
    "others_high",
)
EDGE_COLUMNS = ("layer", "neuron", "target_layer", "target_neuron", "e_value", "score")
GROUP_COLUMNS = ("layer", "group", "neurons", "separation", "alike")
LINK_COLUMNS = (
    "layer",
    "group",
    "target_layer",
    "target_group",
    "edges",
    "possible",
    "score",
)


@dataclass(frozen=True)
class Circuit:
    """One mechanism's neurons in every searched layer, and what connects them.

    Attributes:
        target: The class.
        mechanism: Which of its mechanisms.
        fdr: The level at which edges were selected: the share of wrong ones that is expected at
            most, over all edges of a layer.
        promise: What the level means for these edges, in one sentence.
        nodes: One row per neuron: layer, neuron, group, separation (chance that a sample of the
            mechanism lies above one of the others, less the chance that it lies below, -1 to 1),
            low, median, high (10, 50, 90 % quantiles in the mechanism), and those of the others.
            A description: the grouping used such neurons.
        edges: One row per selected edge between two of the neurons, or from one to the class score
            (target_layer "", target_neuron -1): layer, neuron, target_layer, target_neuron,
            e_value, score.
        groups: Neurons of a layer with the same pattern over the class's samples: layer, group,
            neurons (how many), separation (mean of the absolute values), alike (mean absolute
            correlation of its pairs; 1 for a single neuron).
        links: What connects the groups: layer, group, target_layer, target_group (-1 for the class
            score), edges (selected), possible, score (sum over the edges).
    """

    target: int
    mechanism: int
    fdr: float
    promise: str
    nodes: pd.DataFrame = field(repr=False)
    edges: pd.DataFrame = field(repr=False)
    groups: pd.DataFrame = field(repr=False)
    links: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The nodes; a copy."""
        return self.nodes.copy()

    def save(self, folder: Path | str) -> None:
        """Write nodes, edges, groups and links as Parquet files into a folder.

        Raises:
            StorageError: the folder cannot be written.
        """
        for name in ("nodes", "edges", "groups", "links"):
            with writing(Path(folder) / f"{name}.parquet") as temporary:
                frame = getattr(self, name)
                frame.assign(mechanism=self.mechanism, fdr=self.fdr).to_parquet(temporary)


def circuit(
    acts: Activations,
    crit: Critical,
    mech: Mechanisms,
    *,
    mechanism: int,
    least: float = 0.5,
    most: int = 16,
    alike: float = 0.7,
) -> Circuit:
    """Read the circuit of a mechanism off the chain.

    Nodes are the critical neurons of each searched layer that tell the mechanism's samples from
    the class's others; edges are those that the search selected between them. Neurons of a layer
    that rise and fall together over the class's samples (or one against the other) make a group,
    and groups are linked by their neurons' edges.

    Args:
        acts: Activations of the samples.
        crit: The critical neurons of the class, with their edges.
        mech: Its mechanisms; at least two.
        mechanism: Which of them.
        least: How far apart, in absolute value, a neuron must hold the mechanism from the others
            (`Circuit.nodes`: separation), in (0, 1].
        most: Neurons per layer at most; those that separate most.
        alike: Mean absolute correlation at which neurons are put into one group, in (0, 1].

    Returns:
        The circuit; a layer without such neurons has no node.

    Raises:
        SettingsError: there is no such mechanism, or a setting is out of range.
        DataError: the mechanism has no others beside it, or an activation is NaN or infinite.
        ModelError: a searched layer was not recorded.
    """
    _check(crit, mech, mechanism, least, most, alike)
    own = mech.labels == mechanism
    if own.all() or not own.any():
        raise DataError(
            f"Mechanism {mechanism} holds {int(own.sum())} of the class's {len(own)} samples, so "
            "nothing tells it from others. Pass mechanisms that are at least two."
        )
    frames, groups = [], []
    for layer in crit.layers:
        neurons = np.sort(crit.neurons(layer))
        values = read_neurons(acts, {layer: neurons}, mech.samples)
        apart = separation(values, own)
        order = np.argsort(-np.abs(apart), kind="stable")[:most]
        kept = np.sort(order[np.abs(apart[order]) >= least])
        if not len(kept):
            continue
        group, likeness = together(values[:, kept], alike)
        frame = _nodes(layer, neurons[kept], values[:, kept], own)
        frames.append(frame.assign(group=group, separation=apart[kept])[list(NODE_COLUMNS)])
        groups.append(_groups(layer, group, apart[kept], likeness))
    nodes = _stacked(frames, NODE_COLUMNS)
    edges = _edges(crit, nodes)
    return Circuit(
        target=predicted_as(crit.target),
        mechanism=int(mechanism),
        fdr=crit.search.fdr,
        promise=_promise(crit),
        nodes=nodes,
        edges=edges,
        groups=_stacked(groups, GROUP_COLUMNS),
        links=_links(nodes, edges),
    )


def _check(
    crit: Critical, mech: Mechanisms, mechanism: object, least: object, most: object, alike: object
) -> None:
    if mech.target != predicted_as(crit.target):
        raise SettingsError(
            f"The mechanisms are those of class {mech.target}, the critical neurons those of class "
            f"{predicted_as(crit.target)}. Pass both of one class."
        )
    if not is_whole(mechanism) or not 0 <= mechanism < max(1, mech.n_mechanisms):
        raise SettingsError(
            f"mechanism is {mechanism!r}. Pass a number from 0 to {mech.n_mechanisms - 1}."
        )
    for name, value in (("least", least), ("alike", alike)):
        if not is_real(value) or not 0 < value <= 1:
            raise SettingsError(f"{name} is {value!r}. Pass a number above 0 and at most 1.")
    if not is_whole(most) or most < 1:
        raise SettingsError(f"most is {most!r}. Pass a whole number of at least 1.")


def separation(
    values: Float[np.ndarray, "samples neurons"], own: Bool[np.ndarray, " samples"]
) -> Float[np.ndarray, " neurons"]:
    """Chance that a sample of a mechanism lies above one of the others, less that it lies below.

    Args:
        values: The activations.
        own: Which samples are the mechanism's; some, and not all.

    Source: Cliff (1993), "Dominance statistics: ordinal analyses to answer ordinal questions".
    """
    inside, outside = int(own.sum()), int((~own).sum())
    ranks = np.asarray(rankdata(values, axis=0))[own].sum(axis=0) if values.size else np.zeros(0)
    above = (ranks - inside * (inside + 1) / 2) / (inside * outside)
    return np.asarray(2 * above - 1)


def together(
    values: Float[np.ndarray, "samples neurons"], alike: float
) -> tuple[Int[np.ndarray, " neurons"], Float[np.ndarray, "neurons neurons"]]:
    """Groups of neurons with the same pattern over samples, 0 the first neuron's, and so on.

    Args:
        values: Activations; every neuron varies.
        alike: Mean absolute correlation between two groups at which they are joined.

    Returns:
        The group of each neuron, and the absolute correlations.

    Source: average linkage, Sokal and Michener (1958).
    """
    neurons = values.shape[1]
    likeness = np.abs(np.corrcoef(values, rowvar=False)).reshape(neurons, neurons)
    if neurons == 1:
        return np.zeros(1, dtype=np.int64), np.ones((1, 1))
    distance = np.clip(1 - (likeness + likeness.T) / 2, 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    found = fcluster(tree, 1 - alike, criterion="distance")
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64), likeness


def _nodes(
    layer: str,
    neurons: Int[np.ndarray, " kept"],
    values: Float[np.ndarray, "samples kept"],
    own: Bool[np.ndarray, " samples"],
) -> pd.DataFrame:
    frame = pd.DataFrame({"layer": layer, "neuron": neurons})
    levels = (LOW, MIDDLE, HIGH)
    frame[["low", "median", "high"]] = np.quantile(values[own], levels, axis=0).T
    others = np.quantile(values[~own], levels, axis=0).T
    frame[["others_low", "others_median", "others_high"]] = others
    return frame


def _groups(
    layer: str,
    group: Int[np.ndarray, " kept"],
    apart: Float[np.ndarray, " kept"],
    likeness: Float[np.ndarray, "kept kept"],
) -> pd.DataFrame:
    rows = []
    for number in range(int(group.max()) + 1):
        inside = np.flatnonzero(group == number)
        pairs = likeness[np.ix_(inside, inside)][np.triu_indices(len(inside), k=1)]
        mean = float(pairs.mean()) if len(pairs) else 1.0
        rows.append((layer, number, len(inside), float(np.abs(apart[inside]).mean()), mean))
    return pd.DataFrame(rows, columns=list(GROUP_COLUMNS))


def _stacked(frames: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame({name: [] for name in columns})
    return pd.concat(frames, ignore_index=True)


def _group_of(nodes: pd.DataFrame) -> Mapping[tuple[str, int], int]:
    places = zip(nodes["layer"], nodes["neuron"], nodes["group"], strict=True)
    return {(str(layer), int(j)): int(g) for layer, j, g in places} | {(CLASS_SCORE, -1): -1}


def _edges(crit: Critical, nodes: pd.DataFrame) -> pd.DataFrame:
    """The selected edges both ends of which are nodes, or the class score."""
    known = _group_of(nodes)
    chosen = crit.edges[crit.edges["selected"].astype(bool)]
    ends = zip(
        zip(chosen["layer"], chosen["neuron"], strict=True),
        zip(chosen["target_layer"], chosen["target_neuron"], strict=True),
        strict=True,
    )
    inside = [start in known and end in known for start, end in ends]
    return chosen.loc[inside, list(EDGE_COLUMNS)].reset_index(drop=True)


def _links(nodes: pd.DataFrame, edges: pd.DataFrame) -> pd.DataFrame:
    known = _group_of(nodes)
    sizes = nodes.groupby(["layer", "group"]).size().to_dict() | {(CLASS_SCORE, -1): 1}
    starts = zip(edges["layer"], edges["neuron"], strict=True)
    ends = zip(edges["target_layer"], edges["target_neuron"], strict=True)
    named = edges.assign(
        group=[known[start] for start in starts], target_group=[known[end] for end in ends]
    )
    rows = []
    for place, inside in named.groupby(list(LINK_COLUMNS[:4]), sort=False):
        layer, group, above, other = place
        possible = int(sizes[layer, group] * sizes[above, other])
        rows.append((*place, len(inside), possible, float(inside["score"].sum())))
    return pd.DataFrame(rows, columns=list(LINK_COLUMNS))


def _promise(crit: Critical) -> str:
    level = f"{100 * crit.search.fdr:g} %"
    if crit.search.split or crit.search.route == "direct":
        return (
            f"Of a layer's selected edges at most {level} are expected to be wrong; no rate is "
            "promised for the part of them that one circuit shows."
        )
    return (
        f"Edges were selected at {level}, each layer on the rows that had selected the layer "
        "above: as a promise that level holds with Search(split=True) only."
    )
