"""Second moments by fold: all that a lasso with cross-validation needs to know of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas

_ROUNDING = 1e-6
"""Share of a column's sum of squares that single precision cannot tell from nothing."""


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
        gram = self.gram - part.gram
        # In place; the transpose of a symmetric matrix is itself, in the order that BLAS wants.
        gram = blas.dger(-weight, shift, shift, a=gram.T, overwrite_a=1).T
        cross = self.cross - part.cross - weight * np.outer(shift, target_shift)
        # What is constant on these rows has a spread of rounding.
        constant = np.diag(gram) <= _ROUNDING * np.diag(self.gram)
        gram[constant] = gram[:, constant] = cross[constant] = 0.0
        return Moments(
            rows,
            means,
            target_means,
            gram,
            cross,
            self.power - part.power - weight * target_shift**2,
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

    def divided(self, units: Float[np.ndarray, " columns"]) -> Moments:
        """The moments after each column was divided by its unit."""
        gram = self.gram / units
        gram /= units[:, None]
        return replace(self, means=self.means / units, gram=gram, cross=self.cross / units[:, None])

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


@dataclass(frozen=True, eq=False)
class Folds:
    """Disjoint parts of some rows, and all of these rows.

    Attributes:
        parts: Moments of each part, their Gram matrices in single precision.
        whole: Moments of all rows.
        units: What columns were divided by, powers of 2 near their spread, so that single
            precision holds them whatever their scale.
    """

    parts: Sequence[Moments]
    whole: Moments
    units: Float[np.ndarray, " columns"]

    @classmethod
    def of(cls, parts: Iterable[Moments]) -> Folds:
        """Add the parts up; each is held in full for its own turn only.

        Args:
            parts: Moments of at least one part.
        """
        gram, units = np.zeros(()), np.zeros(0)
        kept: list[Moments] = []
        for part in parts:
            if not kept:
                units = _near_spread(part)
            part = part.divided(units)  # noqa: PLW2901 - or both would be held
            gram = gram + part.gram if gram.ndim == 0 else np.add(gram, part.gram, out=gram)
            kept.append(replace(part, gram=part.gram.astype(np.float32)))
            del part  # Or it would be held while the next is made.
        rows = sum(part.rows for part in kept)
        means = np.sum([part.rows * part.means for part in kept], axis=0) / rows
        target_means = np.sum([part.rows * part.target_means for part in kept], axis=0) / rows
        between = np.array([np.sqrt(part.rows) * (part.means - means) for part in kept])
        target = np.array([np.sqrt(p.rows) * (p.target_means - target_means) for p in kept])
        gram += between.T @ between
        cross = np.sum([part.cross for part in kept], axis=0) + between.T @ target
        power = np.sum([part.power for part in kept], axis=0) + (target**2).sum(0)
        return cls(kept, Moments(rows, means, target_means, gram, cross, power), units)

    def in_units(self, units: Float[np.ndarray, " targets"]) -> Folds:
        """The moments after each target was divided by its unit."""
        parts = [part.in_units(units) for part in self.parts]
        return Folds(parts, self.whole.in_units(units), self.units)


def _near_spread(part: Moments) -> Float[np.ndarray, " columns"]:
    """Powers of 2 near the columns' spreads; 1 for those that do not vary."""
    spread = np.sqrt(np.diag(part.gram) / part.rows)
    safe = np.where((spread > 0) & np.isfinite(spread), spread, 1.0)
    return np.asarray(np.exp2(np.round(np.log2(safe))))
