"""What marks each mechanism: its size and neurons, its typical samples, its place on a map."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.special import erf, expit

from neucept.activations import Activations
from neucept.mechanisms.features import Space

PROTOTYPES = 12
"""Typical samples shown per mechanism."""

LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9

SIZE_COLUMNS = ("mechanism", "size", "share", "stability", "accuracy", "confidence")
SIGNATURE_COLUMNS = (
    "mechanism",
    "layer",
    "neuron",
    "low",
    "median",
    "high",
    "others_low",
    "others_median",
    "others_high",
    "difference",
)


def size_table(
    acts: Activations,
    target: int,
    samples: Int[np.ndarray, " samples"],
    labels: Int[np.ndarray, " samples"],
    stability: Float[np.ndarray, " mechanisms"],
) -> pd.DataFrame:
    """One row per mechanism; see `Mechanisms.table`."""
    confidence = expit(acts.class_score(target)[samples])
    right = None if acts.labels is None else acts.labels[samples] == target
    rows = []
    for mechanism, steady in enumerate(stability):
        members = labels == mechanism
        some = bool(members.any())
        rows.append(
            {
                "mechanism": mechanism,
                "size": int(members.sum()),
                "share": float(members.mean()),
                "stability": float(steady),
                "accuracy": float(right[members].mean()) if right is not None and some else np.nan,
                "confidence": float(confidence[members].mean()) if some else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=list(SIZE_COLUMNS))


def signature(space: Space, labels: Int[np.ndarray, " samples"], groups: int) -> pd.DataFrame:
    """Each neuron in each mechanism beside the same neuron in the others.

    Returns:
        See `Mechanisms.signature`; within a mechanism from the largest difference to the smallest,
        which is NaN where nothing varies or there are no others.
    """
    projection, values = space.projection, space.values
    names = [name for name, n in zip(projection.layers, projection.neurons, strict=True) for _ in n]
    frames = []
    for group in range(groups):
        own, others = values[labels == group], values[labels != group]
        frame = pd.DataFrame(
            {"mechanism": group, "layer": names, "neuron": np.concatenate(projection.neurons)}
        )
        frame[["low", "median", "high"]] = _quantiles(own)
        frame[["others_low", "others_median", "others_high"]] = _quantiles(others)
        frame["difference"] = _difference(own, others)
        order = np.argsort(-frame["difference"].abs().fillna(0.0).to_numpy(), kind="stable")
        frames.append(frame.iloc[order])
    return pd.concat(frames, ignore_index=True)


def _quantiles(values: np.ndarray) -> np.ndarray:
    if not len(values):
        return np.full((values.shape[1], 3), np.nan)
    return np.asarray(np.quantile(values, (LOW, MIDDLE, HIGH), axis=0).T)


def _difference(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    if not len(own) or not len(others):
        return np.full(own.shape[1], np.nan)
    total = len(own) + len(others)
    pooled = (own.var(axis=0) * len(own) + others.var(axis=0) * len(others)) / total
    apart = own.mean(axis=0) - others.mean(axis=0)
    return np.where(pooled > 0, apart / np.sqrt(np.where(pooled > 0, pooled, 1.0)), np.nan)


def prototypes(
    samples: Int[np.ndarray, " samples"],
    labels: Int[np.ndarray, " samples"],
    distances: Float[np.ndarray, " samples"],
    groups: int,
) -> list[list[int]]:
    """Positions of the samples nearest to the centre of each mechanism, nearest first."""
    found = []
    for group in range(groups):
        rows = np.flatnonzero(labels == group)
        order = np.argsort(distances[rows], kind="stable")[:PROTOTYPES]
        found.append([int(position) for position in samples[rows[order]]])
    return found


def picture(
    x: Float[np.ndarray, "samples dimensions"], labels: Int[np.ndarray, " samples"], groups: int
) -> Float[np.ndarray, "samples 2"]:
    """Places in the plane on which the mechanisms lie apart as well as a flat view allows.

    A linear projection, so nearness on it is nearness along two directions of the reduced space.
    Pairs that are hard to tell apart count more than pairs that any view separates.

    Source: Loog, Duin, Haeb-Umbach (2001), "approximate pairwise accuracy criterion".
    """
    size = x.shape[1]
    present = [group for group in range(groups) if (labels == group).any()]
    means = np.array([x[labels == group].mean(axis=0) for group in present])
    shares = np.array([(labels == group).mean() for group in present])
    centred = x - means[np.searchsorted(present, labels)]
    within = centred.T @ centred / len(x)
    within += 1e-6 * max(float(np.trace(within)) / size, 1e-12) * np.eye(size)
    spread, axes = np.linalg.eigh(within)
    white = x @ (axes / np.sqrt(spread))
    centres = means @ (axes / np.sqrt(spread))
    between = np.zeros((size, size))
    for a, b in combinations(range(len(present)), 2):
        apart = centres[a] - centres[b]
        distance = max(float(np.sqrt(apart @ apart)), 1e-12)
        weight = erf(distance / (2 * np.sqrt(2))) / (2 * distance**2)
        between += shares[a] * shares[b] * weight * np.outer(apart, apart)
    # Directions without any difference between groups are ranked by how far the samples spread.
    scale = 1e-6 * max(float(np.trace(between)), 1e-6)
    _, best = np.linalg.eigh(between + scale * np.diag(spread / spread.max()))
    best = best[:, ::-1][:, :2]
    best = best * np.sign(best[np.abs(best).argmax(axis=0), np.arange(best.shape[1])])
    places = np.zeros((len(x), 2))
    places[:, : best.shape[1]] = (white - white.mean(axis=0)) @ best
    return places
