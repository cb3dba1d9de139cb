"""Second moments of knockoffs that are never formed.

A lasso looks at rows through their second moments. Gaussian knockoffs follow their rows and a
standard normal noise linearly, so the moments of both together follow from the moments of the rows
with the noise, and these have known laws: the noise's part along the rows' span is normal, the
Gram matrix of the rest Wishart. So they are drawn directly, and a draw costs as much for a million
rows as for some thousand. Where rows are few, the noise is formed, but not the knockoffs' products
with what is the same in every draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neucept.knockoffs.gaussian import AffineLaw
from neucept.knockoffs.moments import Folds, Moments, fold_moments, near_root


@dataclass(frozen=True, eq=False)
class Unformed:
    """Rows in parts, and the law of their knockoffs.

    Attributes:
        parts: Moments of the rows of each part.
        roots: For each part an R, (columns + targets) wide: R'R are the second moments of columns
            and targets about their means.
        kept: For each part the share of the knockoffs that follows its rows: columns of R times
            `law.keep`.
        law: Of the knockoffs.
        dither: Standard deviation of the noise that each draw adds to each target.

    Source: He, Liu, Liu, Belloy, Ionita-Laza, Candes (2022), "GhostKnockoff inference empowers
        identification of putative causal variants in genome-wide association studies", for
        knockoffs from summary statistics; Bartlett (1933) for the Wishart law. By parts, with
        several copies and for cross-validation it is ours.
    """

    parts: Sequence[Moments]
    roots: Sequence[Float[np.ndarray, "rank columns_and_targets"]]
    kept: Sequence[Float[np.ndarray, "rank neurons"]]
    law: AffineLaw
    dither: Float[np.ndarray, " targets"]

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "samples neurons"],
        y: Float[np.ndarray, "samples targets"],
        rows: Sequence[slice],
        law: AffineLaw,
        dither: Float[np.ndarray, " targets"],
    ) -> Unformed:
        """The moments of the rows, in one pass.

        Args:
            x: Neurons.
            y: Targets.
            rows: Those of each part.
            law: Of the knockoffs of `x`.
            dither: Standard deviation of the noise that each draw adds to each target.
        """
        both = fold_moments([x, y], y, rows)
        neurons = x.shape[1]
        roots = [
            near_root(part.gram) if part.rows > len(part.gram) else rotated(x[fold], y[fold])
            for part, fold in zip(both, rows, strict=True)
        ]
        parts = [part.first_columns(neurons) for part in both]
        return cls(parts, roots, [root[:, :neurons] @ law.keep for root in roots], law, dither)

    def draw(self, random: np.random.Generator) -> Folds:
        """Moments of each part's neurons, knockoffs and targets, for one draw of knockoffs."""
        return Folds.of(self.drawn(random))

    def drawn(self, random: np.random.Generator) -> Iterator[Moments]:
        """What `draw` adds up, part by part."""
        for part, root, kept in zip(self.parts, self.roots, self.kept, strict=True):
            yield self._drawn(part, root, kept, random)

    def _drawn(
        self,
        part: Moments,
        root: Float[np.ndarray, "rank columns_and_targets"],
        kept: Float[np.ndarray, "rank neurons"],
        random: np.random.Generator,
    ) -> Moments:
        """Compute as if the rows were `root` above rows of zeros, and the noise what it is there.

        Any rotation of the rows leaves second moments as they are. One takes the columns and
        targets to the first `rank` rows, the noise to standard normal rows there and below them to
        an upper triangle whose second moments are Wishart, or where few rows are left, to these.
        """
        neurons, rank = len(part.gram), len(root)
        copies, columns = len(self.law.contrasts), self.law.columns
        shaken = len(self.dither) if self.dither.any() else 0
        noise = np.vstack(
            [
                random.standard_normal((rank, columns + shaken)),
                wishart_root(columns + shaken, part.rows - 1 - rank, random),
            ]
        )
        mean = random.standard_normal(columns + shaken) / np.sqrt(part.rows)
        drawn = self.law.stirred(noise[:, :columns])
        drawn[:rank] += np.tile(kept, copies)
        targets = np.zeros((len(noise), root.shape[1] - neurons))
        targets[:rank] = root[:, neurons:]
        target_means = part.target_means
        if shaken:
            targets += noise[:, columns:] * self.dither
            target_means = target_means + mean[columns:] * self.dither
        gram = np.empty((neurons + columns, neurons + columns))
        gram[:neurons, :neurons] = part.gram
        gram[:neurons, neurons:] = root[:, :neurons].T @ drawn[:rank]
        gram[neurons:, :neurons] = gram[:neurons, neurons:].T
        gram[neurons:, neurons:] = drawn.T @ drawn
        follow = part.means @ self.law.keep + self.law.offset
        return Moments(
            part.rows,
            np.r_[part.means, np.tile(follow, copies) + self.law.stirred(mean[None, :columns])[0]],
            target_means,
            gram,
            np.vstack([root[:, :neurons].T @ targets[:rank], drawn.T @ targets]),
            np.sum(targets**2, axis=0),
        )


def rotated(
    x: Float[np.ndarray, "rows neurons"], y: Float[np.ndarray, "rows targets"]
) -> Float[np.ndarray, "rows_less_one columns_and_targets"]:
    """One row less, with the second moments about 0 that the rows have about their mean.

    A reflection that takes the direction of the mean to the first row, which is left out.
    """
    both = np.hstack([x, y])
    both -= both.mean(0)
    return np.asarray(both[1:] + both[0] / (np.sqrt(len(both)) - 1))


def wishart_root(
    size: int, freedom: int, random: np.random.Generator
) -> Float[np.ndarray, "height size"]:
    """A matrix A, A'A Wishart: the Gram matrix of `freedom` standard normal rows.

    Args:
        size: Columns.
        freedom: How many rows; where these are more than columns, A is an upper triangle.
        random: Where it comes from.
    """
    if freedom < size:
        return random.standard_normal((freedom, size))
    root = np.triu(random.standard_normal((size, size)), 1)
    np.fill_diagonal(root, np.sqrt(random.chisquare(freedom - np.arange(size))))
    return root
