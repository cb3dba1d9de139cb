"""Where each sample lies along the continuum that a class may be."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import leaves_list, optimal_leaf_ordering
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from scipy.spatial.distance import pdist
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

from neucept.mechanisms.resampling import MOST_ROWS
from neucept.mechanisms.tree import SEVERAL, Tree, below, seriated
from neucept.runtime import generator

NEIGHBOURS = 20
"""Nearest samples that a sample is linked with."""

LOOSE = 0.1
"""Share of a sample's links that go to all others alike, so that a few odd ones do not lead."""

SCORE = 0.6
"""Spread of the class score, as a share of that of the widest dimension."""

KRYLOV = 25
"""Vectors that the search for the slowest direction keeps."""

FEWEST = 30
"""Samples below which the first principal component stands for the continuum."""


def along(
    x: Float[np.ndarray, "samples dimensions"],
    labels: Int[np.ndarray, " samples"],
    tree: Tree,
    score: Float[np.ndarray, " samples"],
    seed: int,
) -> tuple[Tree, Float[np.ndarray, " samples"]]:
    """Every sample's position along the tree.

    One mechanism: the samples follow their continuum. Several: they lie one after the other, the
    branches of the tree turned so that neighbours are near; within each, samples follow its own
    continuum, from the side of the mechanism before to the side of the one after.

    Args:
        x: The samples in the reduced space, its widest dimension first.
        labels: The mechanism of each sample.
        tree: How they merge.
        score: The class score of each sample; the order rises with it.
        seed: Thins large populations.

    Returns:
        The tree, turned, and the positions, ranks from 0 to 1; equal for samples that are equal.

    Source: Bar-Joseph, Gifford, Jaakkola (2001) for turning the branches.
    """
    blocks = [labels == mechanism for mechanism in _arranged(x, labels, tree)]
    means = np.stack([x[block].mean(axis=0) for block in blocks])
    order, done = np.empty(len(x)), 0
    for place, block in enumerate(blocks):
        own = rankdata(continuum(x[block], score[block], seed))
        after, before = means[min(place + 1, len(blocks) - 1)], means[max(place - 1, 0)]
        if len(blocks) > 1 and _alike(own, x[block] @ (after - before)) < 0:
            own = len(own) + 1 - own
        order[block] = done + own
        done += len(own)
    if len(blocks) > 1 and _alike(order, rankdata(score)) < 0:
        order = len(order) + 1 - order
    order = (order - order.min()) / max(float(np.ptp(order)), 1e-12)
    return seriated(tree, order), order


def _arranged(x: np.ndarray, labels: np.ndarray, tree: Tree) -> Int[np.ndarray, " mechanisms"]:
    """The mechanisms in the order that the tree allows in which neighbours are nearest."""
    known = np.unique(labels)
    if len(known) < 3:
        return known
    means = np.stack([x[labels == mechanism].mean(axis=0) for mechanism in known])
    merges = tree.table[tree.table["mechanism"] == SEVERAL]
    node: dict[frozenset[int], int] = {frozenset([place]): place for place in range(len(known))}
    linkage = []
    for first, second, height in merges[["first", "second", "height"]].itertuples(index=False):
        sides = []
        for side in (int(first), int(second)):
            inside = np.unique(labels[below(tree.leaves, tree.table, side)])
            sides.append(frozenset(np.searchsorted(known, inside).tolist()))
        linkage.append([*(float(node[side]) for side in sides), height, len(sides[0] | sides[1])])
        node[sides[0] | sides[1]] = len(known) + len(linkage) - 1
    best = optimal_leaf_ordering(np.array(linkage, dtype=float), pdist(means))
    return np.asarray(known[leaves_list(best)])


def continuum(
    x: Float[np.ndarray, "samples dimensions"], score: Float[np.ndarray, " samples"], seed: int
) -> Float[np.ndarray, " samples"]:
    """A coordinate of the samples that varies slowly between neighbours.

    The slowest direction of a diffusion over nearest neighbours follows a bent continuum where
    the first principal component folds it. The ranks of the class score are one more dimension
    beside those of the neurons: of several continua, the one along which the network grows surer
    is the longer for it.

    Args:
        x: The samples in the reduced space, its widest dimension first.
        score: The class score of each sample; where it is constant only `x` counts.
        seed: Thins large populations.

    Returns:
        The coordinate, in no unit; it rises with the score, or else with the first dimension.

    Source: Coifman, Lafon (2006), diffusion maps; Zelnik-Manor, Perona (2004) for local scales;
    Amini, Chen, Bickel, Levina (2013) for the links to all others.
    """
    ranks = _standard(rankdata(score))
    lead = x[:, 0]
    if len(x) >= FEWEST:
        widest = float(x.std(axis=0).max())
        lead = _slowest(np.column_stack([x, SCORE * widest * ranks]), seed)
    towards = ranks if ranks.any() else x[:, 0]
    return lead if _alike(lead, towards) >= 0 else -lead


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    return float((one - one.mean()) @ (other - other.mean()))


def _standard(values: np.ndarray) -> np.ndarray:
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 1e-12 else np.zeros(len(values))


def _slowest(x: np.ndarray, seed: int) -> np.ndarray:
    """The slowest direction; that of a part of the samples, carried over to the rest."""
    rows = np.arange(len(x))
    if len(x) > MOST_ROWS:
        rng = generator(seed, "mechanisms", "continuum")
        rows = np.sort(rng.permutation(len(x))[:MOST_ROWS])
    links, nearest, _ = _links(x[rows], x[rows])
    size = len(rows)
    graph = csr_matrix(
        (links.ravel(), (np.repeat(np.arange(size), links.shape[1]), nearest.ravel())),
        shape=(size, size),
    )
    graph = graph.maximum(graph.T)
    degree = np.asarray(graph.sum(axis=1)).ravel()
    loose = LOOSE * float(degree.mean())
    root = (degree + loose) ** -0.5

    def step(vector: np.ndarray) -> np.ndarray:
        inside = root * vector.ravel()
        return np.asarray(root * (graph @ inside + loose / size * inside.sum()))

    operator = LinearOperator((size, size), matvec=step, dtype=float)
    try:
        values, vectors = eigsh(operator, 2, which="LA", v0=1 / root, ncv=KRYLOV, tol=1e-6)
    except ArpackNoConvergence as partial:
        values, vectors = partial.eigenvalues, partial.eigenvectors
    if len(values) < 2:
        return np.asarray(x[:, 0])
    slow = vectors[:, values.argmin()] * root
    if len(rows) == len(x):
        return np.asarray(slow)
    links, nearest, total = _links(x, x[rows])
    return np.asarray((links * slow[nearest]).sum(axis=1) / total)


def _links(x: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How near each sample's nearest ones are, from 0 to 1; which they are; the sum."""
    count = min(NEIGHBOURS + 1, len(among))
    distance, nearest = NearestNeighbors(n_neighbors=count).fit(among).kneighbors(x)
    reach = NearestNeighbors(n_neighbors=count).fit(among).kneighbors(among)[0][:, -1]
    scale = np.maximum(distance[:, -1:] * reach[nearest], 1e-12 * max(float(x.var()), 1e-300))
    links = np.exp(-(distance**2) / scale)
    return links, nearest, links.sum(axis=1)
