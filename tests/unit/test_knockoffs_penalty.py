from __future__ import annotations

import numpy as np
import pytest
from designs import gaussian
from sklearn.linear_model import LassoCV
from sklearn.model_selection import PredefinedSplit

from neucept.knockoffs import penalty
from neucept.knockoffs.descent import Effort, Fits
from neucept.knockoffs.moments import Folds, fold_moments, fold_rows
from neucept.knockoffs.penalty import cross_validated, penalty_grid

EFFORT = Effort(1e-6, 10_000)
ROWS = fold_rows(600, 3)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = gaussian("ar 0.8", 600, 30, random)
    x = (x - x.mean(0)) / x.std(0)
    y = x[:, :9] @ random.standard_normal((9, 4)) + np.r_[0.5, 1, 4, 12] * random.standard_normal(
        (600, 4)
    )
    return x, y


def chosen(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    folds = Folds.of(fold_moments([x], y, ROWS))
    grid = penalty_grid(np.abs(folds.whole.cross).max(0) / 600, 20, 1e-4)
    return grid, *cross_validated(folds, grid, EFFORT)


def test_the_grid_is_even_on_the_log_scale() -> None:
    grid = penalty_grid(np.array([2.0, 30.0]), 3, 1e-2)
    np.testing.assert_allclose(grid, [[2, 0.2, 0.02], [30, 3, 0.3]])


def test_the_penalty_is_scikit_learns(data) -> None:
    x, y = data
    grid, alphas, start = chosen(x, y)
    fold = np.empty(600, dtype=int)
    for i, part in enumerate(ROWS):
        fold[part] = i
    for t in range(4):
        fitted = LassoCV(alphas=grid[t], cv=PredefinedSplit(fold), tol=1e-6, max_iter=10_000)
        fitted.fit(x, y[:, t])
        assert alphas[t] == pytest.approx(fitted.alpha_)
        assert np.corrcoef(start[:, t], fitted.coef_)[0, 1] > 0.9


def test_the_choice_does_not_depend_on_the_order_of_columns_or_on_other_targets(data) -> None:
    x, y = data
    _, alphas, start = chosen(x, y)
    order = np.random.default_rng(1).permutation(30)
    _, again, moved = chosen(x[:, order], y)
    np.testing.assert_allclose(alphas, again)
    np.testing.assert_allclose(start[order], moved, atol=1e-2)
    _, alone, _ = chosen(x, y[:, 2:3])
    assert alone[0] == pytest.approx(alphas[2])


def test_order_and_scale_are_those_of_columns_that_were_arranged_before(data) -> None:
    x, y = data
    folds = Folds.of(fold_moments([x], y, ROWS))
    order, scale = np.random.default_rng(1).permutation(30), np.geomspace(0.1, 10, 30)
    own = scale / folds.units
    grid = penalty_grid(np.abs(folds.whole.cross / own[:, None]).max(0) / 600, 20, 1e-4)
    alphas, start = cross_validated(folds, grid, EFFORT, order=order, scale=own)
    before = Folds.of(fold_moments([(x / scale)[:, order]], y, ROWS))
    wanted, arranged = cross_validated(before, grid, EFFORT, scale=1 / before.units)
    np.testing.assert_allclose(alphas, wanted)
    np.testing.assert_allclose(start[order], arranged, atol=1e-2)


def test_a_target_may_be_exactly_linear(data) -> None:
    x, _ = data
    grid, alphas, start = chosen(x, x[:, :1] - 2 * x[:, 4:5])
    # Below that single precision sees no error that is left.
    assert alphas[0] < 2e-3 * grid[0, 0]
    assert np.abs(start[[0, 4], 0] - [1, -2]).max() < 0.01


@pytest.mark.parametrize("design", ["ar 0.8", "ar 0.999"])
@pytest.mark.parametrize("rows", [90, 600])
def test_ending_early_chooses_what_the_whole_path_does(
    design: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(2)
    x = gaussian(design, rows, 60, random)
    waves = np.tanh(2 * x @ random.standard_normal((60, 30)))
    y = waves[:, :15] ** 2 - waves[:, 15:] + random.standard_normal((rows, 15))
    folds = Folds.of(fold_moments([x], y, fold_rows(rows, 3)))
    grid = penalty_grid(np.abs(folds.whole.cross / folds.units[:, None]).max(0) / rows, 20, 1e-4)
    counted = []
    lower = Fits.lower
    monkeypatch.setattr(Fits, "lower", lambda *a: (counted.append(a[2].sum()), lower(*a))[1])
    early, _ = cross_validated(folds, grid, EFFORT)
    fits = sum(counted)
    monkeypatch.setattr(penalty, "_ALIKE", np.inf)
    whole, _ = cross_validated(folds, grid, EFFORT)
    np.testing.assert_array_equal(early, whole)
    assert fits < sum(counted) - fits
