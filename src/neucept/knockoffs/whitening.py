"""Coordinates in which columns are nearly uncorrelated, so that gradient steps are even."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

WHOLE = 1024
"""Up to so many columns (values and ranks of the neurons) all directions are told apart."""

DIRECTIONS = 256
"""Of more columns so many are."""

_ITERATIONS = 5

ROWS = 2000
"""Rows that are worked on at once."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """A symmetric map of the columns after which they are nearly uncorrelated.

    The second moments it rests on are averaged over every trade of a neuron with its knockoffs, so
    it treats them alike: means over copies have moments across neurons, and what a copy differs by
    from that mean has moments of its value with its rank alone. `between` and `within` are the
    inverse square roots of the two.
    """

    between: _Root
    within: Float[Tensor, "neurons 2 2"]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, columns: Float[Tensor, "samples 2 neurons columns"], ridge: float) -> Whitening:
        """The map for these columns.

        Args:
            columns: Values and ranks of neurons and knockoffs, of unit variance.
            ridge: Variance below which directions are not stretched.
        """
        samples, _, neurons, copies = columns.shape
        between = torch.zeros(2 * neurons, 2 * neurons, device=columns.device)
        within = torch.zeros(neurons, 2, 2, device=columns.device)
        for begin in range(0, samples, ROWS):
            rows = columns[begin : begin + ROWS]
            mean = rows.mean(3, keepdim=True)
            together = mean.reshape(len(rows), -1)
            between += together.T @ together
            apart = (rows - mean).permute(2, 1, 0, 3).reshape(neurons, 2, -1)
            within += apart @ apart.mT
        between *= copies / samples
        within /= samples * (copies - 1)
        shape = (2, neurons, copies)
        return cls(_Root.of(between, ridge), _root(within.double(), ridge), shape)

    def __call__(self, columns: Float[Tensor, "columns n"]) -> Float[Tensor, "columns n"]:
        """Columns in the other coordinates; first weights in the columns' own."""
        apart = columns.reshape(*self.shape, -1)
        mean = apart.mean(2, keepdim=True)
        together = self.between(mean.reshape(2 * self.shape[1], -1)).reshape(mean.shape)
        value, rank = apart - mean
        # Written out: a batch of products with 2 x 2 matrices is several times slower.
        parts = [
            value * self.within[:, i, 0, None, None] + rank * self.within[:, i, 1, None, None]
            for i in range(2)
        ]
        return (together + torch.stack(parts)).reshape(columns.shape)


@dataclass(frozen=True, eq=False)
class _Root:
    """The damped inverse square root of second moments: `left` `right` + `rest` times identity.

    Of a wide layer only the directions in which columns vary most are told apart: the product with
    all of them would cost several times what the networks do, in every step.
    """

    left: Float[Tensor, "n directions"]
    right: Float[Tensor, "directions n"] | None
    rest: float

    @classmethod
    def of(cls, moments: Float[Tensor, "n n"], ridge: float) -> _Root:
        size = len(moments)
        if size <= WHOLE:
            return cls(_root(moments.double(), ridge), None, 0.0)
        chance = torch.Generator().manual_seed(0)
        vectors = torch.randn(size, DIRECTIONS, generator=chance).to(moments)
        for _ in range(_ITERATIONS):
            vectors = torch.linalg.qr(moments @ vectors).Q
        values, turned = torch.linalg.eigh(vectors.T @ moments @ vectors)
        vectors = vectors @ turned
        left_over = float((moments.diagonal().sum() - values.sum()) / (size - DIRECTIONS))
        rest = (max(left_over, 0.0) + ridge) ** -0.5
        stretch = (values.clamp(min=0) + ridge).rsqrt() - rest
        return cls(vectors * stretch, vectors.T.contiguous(), rest)

    def __call__(self, columns: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        if self.right is None:
            return self.left @ columns
        return torch.addmm(columns, self.left, self.right @ columns, beta=self.rest)


def _root(moments: Float[Tensor, "... n n"], ridge: float) -> Float[Tensor, "... n n"]:
    """The inverse square root, damped."""
    values, vectors = torch.linalg.eigh(moments)
    stretch = (values.clamp(min=0) + ridge).rsqrt()
    root: Tensor = (vectors * stretch[..., None, :]) @ vectors.mT
    return root.float()
