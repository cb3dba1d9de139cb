"""Samples that belong together, as those of one patient or one video, and are never parted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from neucept.errors import DataError

FEWEST_GROUPS = 10
"""Groups of samples below which nothing can be said of other groups."""


def check_together(
    groups: Sequence[object] | np.ndarray | None,
    total: int,
    samples: Int[np.ndarray, " samples"],
    target: int,
) -> Int[np.ndarray, " samples"] | None:
    """Which group each sample of the class is of, numbered from 0; None where none are given.

    Args:
        groups: One id for each of all samples, numbers or names.
        total: How many samples there are.
        samples: Positions of those of the class.
        target: The class.

    Raises:
        DataError: not one id for each sample, an id is missing, or the samples of the class are of
            fewer than `FEWEST_GROUPS` groups.
    """
    if groups is None:
        return None
    codes = group_codes(groups, total)[samples]
    kinds, together = np.unique(codes, return_inverse=True)
    if len(kinds) < FEWEST_GROUPS:
        raise DataError(
            f"The {len(samples)} samples of class {target} are of {len(kinds)} groups; at least "
            f"{FEWEST_GROUPS} are needed. Give samples of more groups, or groups=None."
        )
    return np.asarray(together)


def group_codes(groups: Sequence[object] | np.ndarray, total: int) -> Int[np.ndarray, " total"]:
    """Groups as whole numbers, in the order in which they come.

    Raises:
        DataError: not one id for each sample, or an id is missing.
    """
    if isinstance(groups, str) or getattr(groups, "ndim", 1) != 1 or len(groups) != total:
        came = repr(groups) if isinstance(groups, str) else f"of length {len(groups)}"
        raise DataError(f"groups is {came}. Pass one id for each of the {total} samples.")
    codes, _ = pd.factorize(pd.Series(list(groups), dtype=object))
    if (codes < 0).any():
        at = int(np.argmax(codes < 0))
        raise DataError(
            f"Sample {at} has no group. Give it one; a sample that stands alone is a group."
        )
    return np.asarray(codes, dtype=np.int64)


def deal(
    together: Int[np.ndarray, " samples"], parts: int, rng: np.random.Generator
) -> Int[np.ndarray, " samples"]:
    """Deal whole groups, in random order, each to the part with the fewest samples so far.

    Returns:
        The part of each sample.
    """
    _, codes, sizes = np.unique(together, return_inverse=True, return_counts=True)
    filled, part = np.zeros(parts), np.empty(len(sizes), dtype=np.int64)
    for group in rng.permutation(len(sizes)):
        part[group] = int(filled.argmin())
        filled[part[group]] += sizes[group]
    return np.asarray(part[codes])


def shares(together: Int[np.ndarray, " samples"] | None, samples: int) -> Float[np.ndarray, " _"]:
    """What each sample counts, so that every group counts as one."""
    if together is None:
        return np.ones(samples)
    _, codes, sizes = np.unique(together, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[codes])
