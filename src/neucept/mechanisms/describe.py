"""What marks each mechanism: its size and neurons, its typical samples, its place on a map."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.optimize import minimize
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

    A linear projection, in which the average group is round: nearness in the picture is nearness
    along two directions of the reduced space, and far groups may still overlap in it.

    Source: Loog, Duin, Haeb-Umbach (2001): pairs count by how well a view tells them apart, not by
    their distance.
    """
    size = x.shape[1]
    present = [group for group in range(groups) if (labels == group).any()]
    means = np.array([x[labels == group].mean(axis=0) for group in present])
    shares = np.array([(labels == group).mean() for group in present])
    centred = x - means[np.searchsorted(present, labels)]
    within = centred.T @ centred / len(x)
    within += 1e-6 * max(float(np.trace(within)) / size, 1e-12) * np.eye(size)
    spread, axes = np.linalg.eigh(within)
    rounding = (axes / np.sqrt(spread))[:, ::-1]
    view = _best_view(means @ rounding, shares)
    view = view * np.sign(view[np.abs(view).argmax(axis=0), np.arange(view.shape[1])])
    places = np.zeros((len(x), 2))
    places[:, : view.shape[1]] = ((x - x.mean(axis=0)) @ rounding) @ view
    return places


def _best_view(centres: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The plane that tells most pairs of groups apart; the first dimensions where none does."""
    _, sizes, span = np.linalg.svd(centres - shares @ centres, full_matrices=False)
    span = span[sizes > 1e-9 * max(float(sizes[0]), 1e-12)]
    if len(span) > 2:
        inside = centres @ span.T
        one, two = np.triu_indices(len(shares), k=1)
        apart, weight = inside[one] - inside[two], shares[one] * shares[two]

        def confusion(flat: np.ndarray) -> float:
            plane = np.linalg.qr(flat.reshape(-1, 2))[0]
            distance = np.linalg.norm(apart @ plane, axis=1)
            return -float(weight @ erf(distance / (2 * np.sqrt(2))))

        starts = [np.eye(len(span))[:, list(pair)] for pair in combinations(range(len(span)), 2)]
        begin = min(starts, key=confusion)
        found = minimize(confusion, begin.reshape(-1), method="BFGS", options={"maxiter": 200})
        span = np.linalg.qr(found.x.reshape(-1, 2))[0].T @ span
    directions = np.vstack([span[:2], np.eye(centres.shape[1])[:2]])
    return np.asarray(np.linalg.qr(directions.T)[0][:, :2])
