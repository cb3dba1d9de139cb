"""The diagonal matrix S that decides how far a knockoff may stray from its original."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from neucept.errors import DataError

_BLOCK = 64

_EXACT = 4
"""Sweeps after which the inverse is computed anew; until then rounding gathers, some 1e-15."""


def mvr(
    correlation: Float[np.ndarray, "neurons neurons"],
    copies: int = 1,
    *,
    tolerance: float = 1e-6,
    most_sweeps: int = 100,
) -> Float[np.ndarray, " neurons"]:
    """The diagonal of S with the least variance-based reconstructability.

    Minimises the trace of the inverse of the joint covariance of a neuron vector and its
    `copies` knockoffs: tr(A^-1) + M tr(S^-1) with A = (M + 1) C - M S, over all S for which A is
    positive. Coordinates are solved one at a time, exactly; the rank-one changes of A^-1 are
    gathered and applied a block at a time, which changes nothing but the speed.

    Args:
        correlation: C, a positive definite correlation matrix.
        copies: M, the number of simultaneous knockoffs.
        tolerance: A sweep that lowers the objective by less than this share is the last.
        most_sweeps: Sweeps at most; a safeguard that ordinary matrices do not reach.

    Returns:
        The diagonal of S, each entry above 0.

    Raises:
        DataError: `correlation` is not positive definite.

    Source: Spector and Janson (2022), "Powerful knockoffs via minimizing reconstructability",
    section 3, extended here to several copies (feasible set: Gimenez and Zou, 2019).
    """
    neurons = len(correlation)
    eigenvalues = np.linalg.eigvalsh(correlation)
    if not eigenvalues[0] > 0:
        raise DataError(
            f"The correlation matrix has the eigenvalue {eigenvalues[0]:.3g}, so it is not "
            "positive definite. Shrink it, or leave out neurons that others determine."
        )
    s = np.full(neurons, _best_equal(eigenvalues, copies))
    before = np.inf
    inverse = np.empty_like(correlation)
    for sweep in range(most_sweeps):
        if sweep % _EXACT == 0:
            inverse = _inverse((copies + 1) * correlation - copies * np.diag(s))
        value = float(np.trace(inverse) + copies * np.sum(1.0 / s))
        if before - value <= tolerance * value:
            break
        before = value
        for start in range(0, neurons, _BLOCK):
            _solve_block(inverse, s, start, min(start + _BLOCK, neurons), copies)
    return s


def mvr_objective(
    correlation: Float[np.ndarray, "neurons neurons"],
    s: Float[np.ndarray, " neurons"],
    copies: int = 1,
) -> float:
    """What `mvr` minimises, at a given S; infinite where S is not feasible.

    Args:
        correlation: A positive definite correlation matrix.
        s: The diagonal of S.
        copies: The number of simultaneous knockoffs.
    """
    eigenvalues = np.linalg.eigvalsh((copies + 1) * correlation - copies * np.diag(s))
    if eigenvalues[0] <= 0 or s.min() <= 0:
        return float("inf")
    return float(np.sum(1.0 / eigenvalues) + copies * np.sum(1.0 / s))


def _best_equal(eigenvalues: Float[np.ndarray, " neurons"], copies: int) -> float:
    """The best S with equal entries: where the objective's slope in them changes its sign."""
    low, high = 0.0, float(eigenvalues[0]) * (copies + 1) / copies
    for _ in range(60):
        middle = 0.5 * (low + high)
        rest = (copies + 1) * eigenvalues - copies * middle
        if rest[0] <= 0 or np.sum(rest**-2.0) > len(eigenvalues) / middle**2:
            high = middle
        else:
            low = middle
    return low


def _solve_block(
    inverse: Float[np.ndarray, "neurons neurons"],
    s: Float[np.ndarray, " neurons"],
    start: int,
    stop: int,
    copies: int,
) -> None:
    """Solve coordinates start to stop in turn, then bring the whole inverse up to date."""
    changes = np.zeros((len(s), stop - start))
    weights = np.zeros(stop - start)
    for i, j in enumerate(range(start, stop)):
        column = inverse[:, j] + changes[:, :i] @ (weights[:i] * changes[j, :i])
        norm = np.sqrt(column @ column)
        step = (1.0 - norm * s[j]) / (norm + copies * column[j])
        s[j] += step
        changes[:, i] = column
        weights[i] = copies * step / (1.0 - copies * step * column[j])
    inverse += (changes * weights) @ changes.T


def _inverse(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    factor, failed = lapack.dpotrf(matrix, lower=1, clean=1)
    if failed:
        return np.asarray(np.linalg.inv(matrix))
    inverse, _ = lapack.dpotri(factor, lower=1)
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T)
