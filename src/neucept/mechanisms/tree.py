"""Which groups merge first: from the finest grouping looked at, through the mechanisms, to one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from neucept.errors import DataError, SettingsError
from neucept.mechanisms.mixture import Mixture
from neucept.mechanisms.path import spread_cost
from neucept.runtime import is_whole

LEAF = 15
"""Samples below which a leaf is given up to its neighbours."""

TREE_COLUMNS = ("step", "first", "second", "node", "height", "size", "mechanism")

SEVERAL = -1
"""What the column `mechanism` says of a merge of several mechanisms."""


@dataclass(frozen=True)
class Tree:
    """Groups of samples, and the order in which they merge.

    Attributes:
        leaves: The leaf of each sample, numbered from 0.
        table: One row per merge; see `Mechanisms.tree`.
    """

    leaves: Int[np.ndarray, " samples"]
    table: pd.DataFrame = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Node:
    """Moments of the samples below a node, and the mechanism that they are of."""

    name: int
    mechanism: int
    count: int
    mean: np.ndarray
    scatter: np.ndarray

    def joined(self, other: _Node, name: int) -> _Node:
        """The node above two."""
        count, apart = self.count + other.count, self.mean - other.mean
        mean = (self.count * self.mean + other.count * other.mean) / count
        between = self.count * other.count / count * np.outer(apart, apart)
        same = self.mechanism == other.mechanism
        mechanism = self.mechanism if same else SEVERAL
        return _Node(name, mechanism, count, mean, self.scatter + other.scatter + between)


def grow(
    x: Float[np.ndarray, "samples dimensions"],
    fine: Mixture,
    labels: Int[np.ndarray, " samples"],
) -> Tree:
    """Merge the groups of a fine grouping, two at a time, down to one.

    A leaf is a group of the fine grouping within the mechanism that holds most of it; leaves of
    fewer than `LEAF` samples go to the nearest others of their mechanism. The two merge next whose
    union costs the least likelihood; the leaves of each mechanism before mechanisms among
    themselves, so that the mechanisms are a cut of the tree.

    Args:
        x: The samples in the reduced space.
        fine: The finest grouping looked at.
        labels: The mechanism of each sample.

    Returns:
        The tree; without a merge when there is one leaf only.

    Source: Fraley (1998), agglomeration by likelihood; Hennig (2010) for merging components.
    """
    leaves = _leaves(fine.membership(x), labels)
    found = range(int(leaves.max()) + 1)
    nodes = [_leaf(x[leaves == leaf], leaf, labels[leaves == leaf]) for leaf in found]
    count, height = len(nodes), 0.0
    rows: list[tuple[float, ...]] = []
    pooled = np.add.reduce([node.scatter for node in nodes]) / len(x) + 1e-6 * np.eye(x.shape[1])
    losses: dict[tuple[int, int], float] = {}
    while len(nodes) > 1:
        inside = [(a, b) for a, b in _pairs(nodes) if SEVERAL != a.mechanism == b.mechanism]
        first, second = min(
            inside or _pairs(nodes), key=lambda pair: _loss(pair, pooled, losses, len(x))
        )
        height += max(0.0, _loss((first, second), pooled, losses, len(x)))
        above = first.joined(second, count + len(rows))
        kept = (first.name, second.name, above.name, height, above.count, above.mechanism)
        rows.append((len(rows), *kept))
        nodes = [node for node in nodes if node not in (first, second)] + [above]
    return Tree(leaves, pd.DataFrame(rows, columns=list(TREE_COLUMNS)).astype({"height": float}))


def _leaves(membership: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The leaf of each sample, numbered along the mechanisms."""
    known = np.unique(labels)
    mass = np.stack([membership[labels == mechanism].sum(axis=0) for mechanism in known])
    home = known[mass.argmax(axis=0)]
    leaves = np.empty(len(labels), dtype=np.int64)
    done = 0
    for mechanism in known:
        rows = np.flatnonzero(labels == mechanism)
        groups = np.flatnonzero(home == mechanism)
        found = np.zeros(len(rows), dtype=np.int64)
        while len(groups) > 1:
            nearest = membership[np.ix_(rows, groups)].argmax(axis=1)
            sizes = np.bincount(nearest, minlength=len(groups))
            if sizes.min() >= LEAF:
                found = nearest
                break
            groups = np.delete(groups, sizes.argmin())
        leaves[rows] = done + found
        done += int(found.max()) + 1
    return leaves


def _leaf(x: np.ndarray, name: int, labels: np.ndarray) -> _Node:
    mean = x.mean(axis=0)
    return _Node(name, int(labels[0]), len(x), mean, (x - mean).T @ (x - mean))


def _pairs(nodes: list[_Node]) -> list[tuple[_Node, _Node]]:
    return [(a, b) for place, b in enumerate(nodes) for a in nodes[:place]]


def _loss(
    pair: tuple[_Node, _Node],
    pooled: np.ndarray,
    known: dict[tuple[int, int], float],
    samples: int,
) -> float:
    """What one group for two costs, nats per sample of all."""
    a, b = pair
    key = (a.name, b.name)
    if key not in known:
        union = a.joined(b, -1)
        parts = sum(spread_cost(node.scatter, float(node.count), pooled) for node in pair)
        known[key] = (spread_cost(union.scatter, float(union.count), pooled) - parts) / samples
    return known[key]


def cut(
    leaves: Int[np.ndarray, " samples"], table: pd.DataFrame, number: int
) -> Int[np.ndarray, " samples"]:
    """The groups that are left when the tree is cut so that there are `number`; 0 is the largest.

    Raises:
        SettingsError: `number` is no whole number from 1 to the number of leaves.
        DataError: the tree was not kept.
    """
    count = int(leaves.max(initial=-1)) + 1
    if not is_whole(number) or not 1 <= number <= count:
        raise SettingsError(
            f"The tree cannot be cut into {number!r} groups. Pass a whole number from 1 to {count}."
        )
    if count - 1 != len(table):
        raise DataError(
            "These mechanisms were found by an earlier neucept, which kept no tree. Find them anew."
        )
    found = leaves.copy()
    for first, second, node in _merges(table)[: count - int(number)]:
        found[(found == first) | (found == second)] = node
    _, found, sizes = np.unique(found, return_inverse=True, return_counts=True)
    return np.asarray(np.argsort(np.argsort(-sizes, kind="stable"))[found])


def below(
    leaves: Int[np.ndarray, " samples"], table: pd.DataFrame, node: int
) -> Bool[np.ndarray, " samples"]:
    """Which samples lie below a node.

    Raises:
        SettingsError: there is no such node.
    """
    nodes = int(leaves.max(initial=-1)) + 1 + len(table)
    if not is_whole(node) or not 0 <= node < nodes:
        raise SettingsError(
            f"The tree has no node {node!r}. Pass a whole number from 0 to {nodes - 1}."
        )
    inside = {int(node)}
    for first, second, above in reversed(_merges(table)):
        if above in inside:
            inside |= {first, second}
    return np.isin(leaves, list(inside))


def _merges(table: pd.DataFrame) -> list[tuple[int, int, int]]:
    columns = (table[name].astype(int).tolist() for name in ("first", "second", "node"))
    return list(zip(*columns, strict=True))


def seriated(tree: Tree, place: Float[np.ndarray, " samples"]) -> Tree:
    """The tree with its branches turned so that the samples' places rise along it.

    Args:
        tree: The tree.
        place: A number per sample, such as its position in the order.

    Returns:
        The tree with its leaves numbered along it and the lower branch of each merge first.
    """
    count = int(tree.leaves.max()) + 1
    line = {leaf: [leaf] for leaf in range(count)}
    means = {
        node: float(place[below(tree.leaves, tree.table, node)].mean())
        for node in range(count + len(tree.table))
    }
    turned = []
    for first, second, node in _merges(tree.table):
        low, high = sorted((first, second), key=lambda side: means[side])
        line[node] = line[low] + line[high]
        turned.append((low, high))
    along = line[count + len(tree.table) - 1]
    number = np.empty(count + len(tree.table), dtype=np.int64)
    number[along] = np.arange(count)
    number[count:] = np.arange(count, len(number))
    table = tree.table.copy()
    table[["first", "second"]] = number[np.array(turned, dtype=np.int64).reshape(-1, 2)]
    return Tree(number[tree.leaves], table)
