"""Our S beside knockpy's: knockpy solves the same problem for one knockoff."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from designs import covariance

from neucept.knockoffs.smatrix import mvr, mvr_objective

pytestmark = pytest.mark.full
smatrix = pytest.importorskip("knockpy.smatrix", reason="knockpy is in the `compare` extra")


def low_rank(neurons: int, rank: int, noise: float) -> np.ndarray:
    loadings = np.random.default_rng(3).standard_normal((neurons, rank))
    matrix = loadings @ loadings.T + noise * np.eye(neurons)
    spread = np.sqrt(np.diag(matrix))
    return matrix / np.outer(spread, spread)


CASES = {
    "ar 0.5": covariance("ar 0.5", 40),
    "ar 0.8": covariance("ar 0.8", 40),
    "factor": covariance("factor", 40),
    "ar 0.95": covariance("ar 0.95", 40),
    "low rank": low_rank(60, 8, 0.05),
}


@pytest.mark.parametrize("name", CASES)
def test_objective_is_at_least_as_good_and_the_solution_the_same(name: str) -> None:
    correlation = CASES[name]
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = np.diag(smatrix.compute_smatrix(correlation, method="mvr", choldate_warning=False))
    ours = mvr(correlation)
    assert mvr_objective(correlation, ours) <= mvr_objective(correlation, theirs) * (1 + 1e-7)
    np.testing.assert_allclose(ours, theirs, rtol=0.02)
