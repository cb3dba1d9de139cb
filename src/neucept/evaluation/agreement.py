"""How well groups that were found agree with groups that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    completeness_score,
    homogeneity_score,
)
from sklearn.metrics.cluster import contingency_matrix

from neucept.errors import DataError


@dataclass(frozen=True)
class Agreement:
    """Five views of how a grouping agrees with a known one.

    Attributes:
        ami: Adjusted mutual information: 1 for equal groupings, 0 on average for unrelated ones.
        ari: Adjusted Rand index, on the same scale; counts pairs, so large groups weigh more.
        homogeneity: 1 when every found group holds members of one known group only.
        completeness: 1 when every known group lies within one found group.
        mean_entropy: Entropy of the known groups within a found one, in nats, weighted by size.
            It falls mechanically as groups are added (0 when every sample is its own group), so
            compare it only between groupings of equal number.
    """

    ami: float
    ari: float
    homogeneity: float
    completeness: float
    mean_entropy: float


def agreement(
    labels: Int[np.ndarray, " samples"] | Sequence[int],
    known: np.ndarray | Sequence[object],
) -> Agreement:
    """Compare the mechanisms of samples with a grouping known from elsewhere.

    Args:
        labels: The mechanism of each sample.
        known: The known group of each sample, numbers or names, in the same order.

    Returns:
        The figures. `ami` is the one to quote: it neither rewards nor punishes the number of
        groups as such.

    Raises:
        DataError: the two differ in length, a sample has no group, or there is nothing to compare.

    Source: Vinh, Epps, Bailey (2010) for `ami`; Rosenberg, Hirschberg (2007) for homogeneity.
    """
    found, truth = _groups("labels", labels), _groups("known", known)
    if found.ndim != 1 or found.shape != truth.shape or not len(found):
        raise DataError(
            f"labels has shape {found.shape}, known has {truth.shape}. "
            "Pass one value per sample in each, for at least one sample."
        )
    return Agreement(
        ami=float(adjusted_mutual_info_score(truth, found)),
        ari=float(adjusted_rand_score(truth, found)),
        homogeneity=float(homogeneity_score(truth, found)),
        completeness=float(completeness_score(truth, found)),
        mean_entropy=_mean_entropy(truth, found),
    )


def _groups(name: str, values: Any) -> np.ndarray:
    """The group of each sample, as whole numbers or text."""
    try:
        groups = np.asarray(values)
        if groups.dtype.kind in "iubU" or groups.ndim != 1:
            return groups
        numbers = groups.dtype.kind in "fc"
        missing = np.flatnonzero(~np.isfinite(groups) if numbers else pd.isna(groups))
        if len(missing):
            raise DataError(
                f"{name} has no group for sample {missing[0]} ({groups[missing[0]]}). Leave such "
                "samples out of both, or give them a group of their own."
            )
        return np.asarray(pd.factorize(groups)[0])
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} cannot be read as groups: {error}. Pass one number or name per sample."
        ) from error


def _mean_entropy(truth: np.ndarray, found: np.ndarray) -> float:
    counts = np.asarray(contingency_matrix(truth, found), dtype=float)
    within = counts / counts.sum(axis=0)
    surprise = -np.log(np.where(counts > 0, within, 1.0))
    return float((counts * surprise).sum() / counts.sum())
