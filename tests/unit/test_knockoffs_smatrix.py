from __future__ import annotations

import numpy as np
import pytest
from designs import covariance
from scipy.optimize import minimize

from neucept.errors import DataError
from neucept.knockoffs.smatrix import mvr, mvr_objective


@pytest.mark.parametrize("copies", [1, 3, 20])
@pytest.mark.parametrize("design", ["ar 0.5", "ar 0.8", "factor"])
def test_no_direction_improves_the_objective(design: str, copies: int) -> None:
    correlation = covariance(design, 8)
    s = mvr(correlation, copies)
    value = mvr_objective(correlation, s, copies)
    other = minimize(
        lambda t: mvr_objective(correlation, np.exp(t), copies),
        np.log(0.7 * s),
        method="Nelder-Mead",
        options={"maxfev": 4000, "fatol": 1e-10},
    )
    assert value <= other.fun * (1 + 1e-5)


@pytest.mark.parametrize("copies", [1, 5])
def test_blocks_change_only_the_speed(copies: int, monkeypatch: pytest.MonkeyPatch) -> None:
    correlation = covariance("factor", 100)
    whole = mvr(correlation, copies)
    monkeypatch.setattr("neucept.knockoffs.smatrix._BLOCK", 1)
    np.testing.assert_allclose(whole, mvr(correlation, copies), rtol=1e-10)


@pytest.mark.parametrize("copies", [1, 4])
def test_result_is_feasible_and_independent_neurons_are_copied_freely(copies: int) -> None:
    correlation = covariance("ar 0.8", 30)
    s = mvr(correlation, copies)
    assert s.min() > 0
    assert np.linalg.eigvalsh((copies + 1) / copies * correlation - np.diag(s))[0] > 0
    np.testing.assert_allclose(mvr(np.eye(6), copies), 1.0, rtol=1e-6)


def test_singular_matrix_is_refused() -> None:
    with pytest.raises(DataError, match="not positive definite"):
        mvr(np.ones((3, 3)))


def test_objective_outside_the_feasible_set() -> None:
    assert mvr_objective(np.eye(2), np.array([3.0, 1.0])) == np.inf
    assert mvr_objective(np.eye(2), np.array([-1.0, 1.0])) == np.inf
