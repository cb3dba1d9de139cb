from __future__ import annotations

import numpy as np
import pytest
from designs import gaussian
from sklearn.linear_model import LassoCV
from sklearn.model_selection import PredefinedSplit

from neucept.knockoffs.moments import fold_moments, fold_rows, together
from neucept.knockoffs.paths import Effort
from neucept.knockoffs.penalty import penalty_grid, search_paths, search_together


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = gaussian("ar 0.8", 600, 30, random)
    x = (x - x.mean(0)) / x.std(0)
    y = x[:, :9] @ random.standard_normal((9, 4)) + np.r_[0.5, 1, 4, 12] * random.standard_normal(
        (600, 4)
    )
    return x, y


def test_grid_starts_where_the_first_coefficient_appears(data) -> None:
    x, y = data
    grid = penalty_grid(fold_moments([x], y, fold_rows(600, 3)), 5, 1e-2)
    largest = np.abs(x.T @ (y - y.mean(0))).max(0) / 600
    np.testing.assert_allclose(grid[:, 0], largest)
    np.testing.assert_allclose(grid[:, -1], 1e-2 * largest)


def test_both_searches_agree_with_scikit_learn(data) -> None:
    x, y = data
    rows = fold_rows(600, 3)
    parts = fold_moments([x], y, rows)
    grid = penalty_grid(parts, 20, 1e-4)
    together_, start = search_together(parts, grid)
    paths, _ = search_paths(parts, grid, Effort(1e-8, 10_000))
    fold = np.empty(600, dtype=int)
    for i, part in enumerate(rows):
        fold[part] = i
    for t in range(4):
        fitted = LassoCV(alphas=grid[t], cv=PredefinedSplit(fold), tol=1e-8, max_iter=10_000)
        fitted.fit(x, y[:, t])
        assert paths[t] == pytest.approx(fitted.alpha_)
        chosen = np.argmin(np.abs(grid[t] - together_[t]))
        error = fitted.mse_path_.mean(1)
        assert error[chosen] <= error.min() * 1.001
        assert np.corrcoef(start[:, t], fitted.coef_)[0, 1] > 0.9


def test_search_does_not_depend_on_the_order_of_columns_or_on_other_targets(data) -> None:
    x, y = data
    rows = fold_rows(600, 3)
    parts = fold_moments([x], y, rows)
    grid = penalty_grid(parts, 20, 1e-4)
    alphas, start = search_together(parts, grid)
    order = np.random.default_rng(1).permutation(30)
    shuffled = [part.arranged(order, np.ones(30)) for part in parts]
    again, moved = search_together(shuffled, grid)
    np.testing.assert_allclose(alphas, again)
    np.testing.assert_allclose(start[order], moved, atol=1e-4)
    alone, _ = search_together(fold_moments([x], y[:, 2:3], rows), grid[2:3])
    assert alone[0] == pytest.approx(alphas[2])


def test_search_survives_a_target_that_is_exactly_linear(data) -> None:
    x, _ = data
    parts = fold_moments([x], x[:, :1] - 2 * x[:, 4:5], fold_rows(600, 3))
    grid = penalty_grid(parts, 20, 1e-4)
    alphas, start = search_together(parts, grid)
    assert alphas[0] <= grid[0, -4]
    assert np.abs(start[[0, 4], 0] - [1, -2]).max() < 0.01
    assert together(parts).rows == 600
