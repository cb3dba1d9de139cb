"""Gaussian neurons with known covariance, for laws that are checked against the truth."""

from __future__ import annotations

import numpy as np
from scipy.linalg import toeplitz


def covariance(name: str, neurons: int) -> np.ndarray:
    """A correlation matrix: "ar 0.5", "ar 0.8" or "factor" (three common factors)."""
    if name.startswith("ar"):
        return toeplitz(float(name.split()[1]) ** np.arange(neurons))
    loadings = np.random.default_rng(7).standard_normal((neurons, 3))
    matrix = loadings @ loadings.T + 2 * np.eye(neurons)
    spread = np.sqrt(np.diag(matrix))
    return matrix / np.outer(spread, spread)


def gaussian(name: str, samples: int, neurons: int, random: np.random.Generator) -> np.ndarray:
    """Rows with that covariance, with means and scales that differ between neurons."""
    rows = (
        random.standard_normal((samples, neurons)) @ np.linalg.cholesky(covariance(name, neurons)).T
    )
    return rows * np.geomspace(0.5, 2, neurons) + np.linspace(-1, 3, neurons)


def scales(neurons: int) -> np.ndarray:
    """The standard deviations of `gaussian`'s columns."""
    return np.geomspace(0.5, 2, neurons)
