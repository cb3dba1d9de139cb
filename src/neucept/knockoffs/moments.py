"""Second moments by fold: all that a lasso with cross-validation needs to know of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of columns X and targets Y over some rows.

    Attributes:
        rows: How many rows.
        means: Mean of each column.
        target_means: Mean of each target.
        gram: X'X about the means.
        cross: X'Y about the means.
        power: Sum of squares of each target about its mean.
    """

    rows: int
    means: Float[np.ndarray, " columns"]
    target_means: Float[np.ndarray, " targets"]
    gram: Float[np.ndarray, "columns columns"]
    cross: Float[np.ndarray, "columns targets"]
    power: Float[np.ndarray, " targets"]

    def minus(self, part: Moments) -> Moments:
        """The moments of the rows that are not in `part`."""
        rows = self.rows - part.rows
        means = (self.rows * self.means - part.rows * part.means) / rows
        target_means = (self.rows * self.target_means - part.rows * part.target_means) / rows
        weight = self.rows * part.rows / rows
        shift, target_shift = self.means - part.means, self.target_means - part.target_means
        return Moments(
            rows,
            means,
            target_means,
            self.gram - part.gram - weight * np.outer(shift, shift),
            self.cross - part.cross - weight * np.outer(shift, target_shift),
            self.power - part.power - weight * target_shift**2,
        )

    def arranged(
        self, order: Int[np.ndarray, " columns"], scale: Float[np.ndarray, " columns"]
    ) -> Moments:
        """The moments after the columns were put in `order` and each divided by its scale."""
        scale = scale[order]
        return Moments(
            self.rows,
            self.means[order] / scale,
            self.target_means,
            self.gram[np.ix_(order, order)] / np.outer(scale, scale),
            self.cross[order] / scale[:, None],
            self.power,
        )

    def first_columns(self, count: int) -> Moments:
        """The moments of the first columns alone."""
        return Moments(
            self.rows,
            self.means[:count],
            self.target_means,
            self.gram[:count, :count],
            self.cross[:count],
            self.power,
        )

    def in_units(self, units: Float[np.ndarray, " targets"]) -> Moments:
        """The moments after each target was divided by its unit."""
        return Moments(
            self.rows,
            self.means,
            self.target_means / units,
            self.gram,
            self.cross / units,
            self.power / units**2,
        )


def near_root(gram: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """An upper triangular R with R'R = `gram`, but for rounding where that is singular."""
    spread = np.sqrt(np.diag(gram))
    safe = np.where(spread > 0, spread, 1.0)
    scaled = gram / safe[:, None] / safe
    ridge = 0.0
    while True:
        try:
            return np.linalg.cholesky(scaled + ridge * np.eye(len(gram))).T * spread
        except np.linalg.LinAlgError:
            ridge = max(100 * ridge, 1e-13)


def fold_rows(samples: int, folds: int, *, contiguous: bool = False) -> list[slice]:
    """The rows of each fold.

    Args:
        samples: How many rows.
        folds: How many folds.
        contiguous: Runs of rows; otherwise every `folds`-th row, so that data sorted by class
            are spread over all folds.
    """
    if not contiguous:
        return [slice(f, None, folds) for f in range(folds)]
    sizes = np.full(folds, samples // folds)
    sizes[: samples % folds] += 1
    ends = np.cumsum(sizes)
    return [slice(int(e - s), int(e)) for s, e in zip(sizes, ends, strict=True)]


def fold_moments(
    parts: Sequence[Float[np.ndarray, "samples _"]],
    y: Float[np.ndarray, "samples targets"],
    rows: Sequence[slice],
) -> list[Moments]:
    """Moments of the columns of all `parts`, side by side, and the targets, for each fold.

    Args:
        parts: Blocks of columns with the same rows.
        y: Targets.
        rows: Each fold's rows.
    """
    return [_moments(np.hstack([part[fold] for part in parts]), y[fold]) for fold in rows]


def _moments(x: Float[np.ndarray, "rows columns"], y: Float[np.ndarray, "rows targets"]) -> Moments:
    means, target_means = x.mean(0), y.mean(0)
    x, y = x - means, y - target_means
    return Moments(len(x), means, target_means, x.T @ x, x.T @ y, (y**2).sum(0))


def together(parts: Sequence[Moments]) -> Moments:
    """The moments of all rows of several disjoint parts."""
    rows = sum(part.rows for part in parts)
    means = np.sum([part.rows * part.means for part in parts], axis=0) / rows
    target_means = np.sum([part.rows * part.target_means for part in parts], axis=0) / rows
    apart = [np.sqrt(part.rows) * (part.means - means) for part in parts]
    targets = [np.sqrt(part.rows) * (part.target_means - target_means) for part in parts]
    between, target = np.array(apart), np.array(targets)
    gram = between.T @ between
    for part in parts:
        gram += part.gram
    return Moments(
        rows,
        means,
        target_means,
        gram,
        np.sum([part.cross for part in parts], axis=0) + between.T @ target,
        np.sum([part.power for part in parts], axis=0) + (target**2).sum(0),
    )
