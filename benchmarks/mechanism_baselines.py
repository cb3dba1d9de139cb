"""Other ways from a network to groups of its samples, told how many groups there are.

* k-means, a Gaussian mixture (after 20 principal components) and HDBSCAN (which is told nothing) on
  all neurons, on the ten that the published method selects most often, and on the ten with most
  integrated gradients (Sundararajan et al. 2017, by Captum).
* A mixture of the neurons' contributions to the class score (Dreyer et al. 2024, prototypical
  concept-based explanations).
* Spectral clustering of input relevance (Lapuschkin et al. 2019).
* Ward's tree on the neurons that a support vector regressor, asked for the class score, keeps when
  the weakest are dropped again and again (Yousefzadeh et al. 2023, LAVA); its leaves give an order.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering
from sklearn.cluster import HDBSCAN, KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.feature_selection import RFE
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVR
from torch import Tensor, nn

import neucept as nc
from neucept.runtime import generator

TOP = 10
"""Neurons of the published cut, and of attributions."""

KEPT = 20
"""Neurons that recursive elimination leaves."""

COMPONENTS = 20
MOST = 3000
"""Samples that a method with quadratic cost sees; the others go with their nearest neighbour."""

ORDERED = 1500
"""Samples whose leaves are ordered."""

ATTRIBUTED = 256
"""Samples of the class whose integrated gradients rank the neurons."""

Grouping = Callable[[np.ndarray, int], np.ndarray]
"""Of samples and the number of groups, the group of each."""


def by_kmeans(x: np.ndarray, groups: int) -> np.ndarray:
    return KMeans(groups, n_init=10, random_state=0).fit_predict(x)


def by_mixture(x: np.ndarray, groups: int) -> np.ndarray:
    z = reduced(x)
    spread = 1e-6 * float(z.var(0).mean())
    fitted = GaussianMixture(groups, n_init=3, reg_covar=max(spread, 1e-12), random_state=0)
    return fitted.fit_predict(z)


def by_density(x: np.ndarray, groups: int) -> np.ndarray:
    """HDBSCAN; samples that it leaves out are a group of their own."""
    del groups
    return HDBSCAN(min_cluster_size=max(15, len(x) // 50), copy=True).fit_predict(reduced(x))


def by_spectrum(x: np.ndarray, groups: int) -> np.ndarray:
    method = SpectralClustering(
        groups, affinity="nearest_neighbors", n_neighbors=10, random_state=0, assign_labels="kmeans"
    )
    return on_some(x, method.fit_predict)


def by_ward(x: np.ndarray, groups: int) -> np.ndarray:
    return on_some(x, lambda part: fcluster(linkage(part, "ward"), groups, "maxclust"))


GROUPINGS: dict[str, Grouping] = {
    "k-means": by_kmeans,
    "mixture": by_mixture,
    "HDBSCAN": by_density,
}


def reduced(x: np.ndarray) -> np.ndarray:
    size = min(COMPONENTS, *x.shape)
    return PCA(size, random_state=0).fit_transform(x) if size < x.shape[1] else x


def on_some(x: np.ndarray, grouped: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Groups of at most `MOST` samples; each other sample joins its nearest neighbour's."""
    if len(x) <= MOST:
        return grouped(x)
    rows = generator(0, "baseline rows").permutation(len(x))[:MOST]
    return KNeighborsClassifier(1).fit(x[rows], grouped(x[rows])).predict(x)


def standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0)


def all_groupings(
    acts: nc.Activations,
    model: nn.Module,
    images: Tensor,
    target: int,
    layer: str,
    samples: np.ndarray,
    groups: int,
    published: tuple[np.ndarray, float],
) -> dict[str, tuple[np.ndarray, float]]:
    """Every method that looks at one layer.

    Args:
        acts: Activations of all images.
        model: The network.
        images: What it saw.
        target: The class.
        layer: The layer.
        samples: Those predicted as the class.
        groups: How many groups there are.
        published: The neurons that the published method ranks first, and the seconds that took.

    Returns:
        Per method, the group of each sample, and seconds with all that the method needs.
    """
    x = acts.matrix(layer, samples).astype(np.float64)
    begun = time.perf_counter()
    gradients = attributed(model, images[samples], target, layer)
    sources = {
        "all neurons": (np.arange(x.shape[1]), 0.0),
        "published top 10": published,
        "integrated gradients top 10": (gradients, time.perf_counter() - begun),
    }
    found = {}
    for name, (neurons, spent) in sources.items():
        for kind, group in GROUPINGS.items():
            found[f"{kind}, {name}"] = timed(group, x[:, neurons], groups, spent)
    begun = time.perf_counter()
    parts = contributions(model, images[samples], target, layer)
    spent = time.perf_counter() - begun
    found["mixture of contributions"] = timed(by_mixture, parts, groups, spent)
    begun = time.perf_counter()
    neurons = eliminated(acts.matrix(layer), acts.class_score(target))
    spent = time.perf_counter() - begun
    found["elimination and Ward (LAVA)"] = timed(
        by_ward, standardised(x[:, neurons]), groups, spent
    )
    return found


def by_input(
    model: nn.Module, images: Tensor, target: int, groups: int
) -> tuple[np.ndarray, float]:
    """Spectral clustering of input relevance, which is the same whatever the layer."""
    begun = time.perf_counter()
    heat = relevance(model, images, target)
    return timed(by_spectrum, heat, groups, time.perf_counter() - begun)


def timed(group: Grouping, x: np.ndarray, groups: int, before: float) -> tuple[np.ndarray, float]:
    begun = time.perf_counter()
    with warnings.catch_warnings():
        # Of methods that do not converge, or graphs in parts, nothing is to be done here.
        warnings.simplefilter("ignore")
        labels = np.asarray(group(x, groups))
    return labels, before + time.perf_counter() - begun


def published_order(crit: nc.Critical, layer: str) -> np.ndarray:
    """The neurons that a search by `paper_recipe` selects most often, `TOP` of them."""
    rows = crit.table[crit.table["layer"] == layer]
    ranked = rows.sort_values(["frequency", "score"], ascending=False, kind="stable")
    return ranked["neuron"].to_numpy(dtype=np.int64)[:TOP]


def attributed(model: nn.Module, x: Tensor, target: int, layer: str) -> np.ndarray:
    """The `TOP` neurons with most integrated gradients towards the class, from a black image."""
    rows = generator(0, "attributed").permutation(len(x))[:ATTRIBUTED]
    method = LayerIntegratedGradients(model, model.get_submodule(layer))
    parts = [
        method.attribute(part, torch.zeros_like(part), target=target, n_steps=16).detach()
        for part in x[torch.from_numpy(rows)].split(32)
    ]
    values = pooled(torch.cat(parts))
    return np.argsort(-np.abs(values).mean(0), kind="stable")[:TOP]


def pooled(values: Tensor) -> np.ndarray:
    """Sums over the places of a map."""
    return values.flatten(2).sum(2).numpy() if values.ndim > 2 else values.numpy()


def log_odds(scores: Tensor, target: int) -> Tensor:
    others = [c for c in range(scores.shape[1]) if c != target]
    return scores[:, target] - scores[:, others].logsumexp(1)


def contributions(model: nn.Module, x: Tensor, target: int, layer: str) -> np.ndarray:
    """Activation times gradient of the class's log-odds, summed over the places of a map."""
    kept: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: kept.append(output)
    )
    try:
        parts = []
        for part in x.split(200):
            kept.clear()
            score = log_odds(model(part), target).sum()
            (slope,) = torch.autograd.grad(score, kept[0])
            parts.append((slope * kept[0]).detach())
    finally:
        hook.remove()
    return pooled(torch.cat(parts)).astype(np.float64)


def relevance(model: nn.Module, x: Tensor, target: int) -> np.ndarray:
    """Input times gradient of the class's log-odds, on half of the resolution, of one size."""
    maps = []
    for part in x.split(200):
        seen = part.clone().requires_grad_()
        (slope,) = torch.autograd.grad(log_odds(model(seen), target).sum(), seen)
        heat = (slope * part).sum(1, keepdim=True)
        maps.append(nn.functional.avg_pool2d(heat, 2).flatten(1))
    flat = torch.cat(maps).numpy().astype(np.float64)
    return flat / np.maximum(np.abs(flat).max(1, keepdims=True), 1e-12)


def eliminated(x: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The `KEPT` neurons that are left when those a linear regressor uses least are dropped."""
    rows = generator(0, "eliminated").permutation(len(x))[:MOST]
    z = standardised(x[rows].astype(np.float64))
    y = (score[rows] - score[rows].mean()) / score[rows].std()
    regressor = LinearSVR(C=0.1, max_iter=2000, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = RFE(regressor, n_features_to_select=min(KEPT, x.shape[1]), step=0.1).fit(z, y)
    return np.flatnonzero(kept.support_)


def leaf_order(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of the leaves of Ward's tree: which samples (`ORDERED` at most), and their place.

    Neighbours in the order are as alike as the tree allows (Bar-Joseph et al. 2001).
    """
    rows = np.sort(generator(0, "ordered").permutation(len(x))[:ORDERED])
    z = standardised(x[rows])
    leaves = leaves_list(optimal_leaf_ordering(linkage(z, "ward"), z))
    place = np.empty(len(rows))
    place[leaves] = np.arange(len(rows))
    return rows, place


def orders(
    acts: nc.Activations, target: int, layer: str, samples: np.ndarray
) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Other orders of the samples of a class: which samples, and their place."""
    x = acts.matrix(layer, samples).astype(np.float64)
    everyone = np.arange(len(samples))
    kept = eliminated(acts.matrix(layer), acts.class_score(target))
    return {
        "elimination and Ward (LAVA)": leaf_order(x[:, kept]),
        "first principal component": (everyone, PCA(1).fit_transform(x)[:, 0]),
        "class score": (everyone, acts.class_score(target)[samples]),
    }
