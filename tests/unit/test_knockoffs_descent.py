from __future__ import annotations

import numpy as np
import pytest
from designs import gaussian
from sklearn.linear_model import Lasso, lasso_path

from neucept.knockoffs.descent import Effort, Fits
from neucept.knockoffs.moments import Moments, fold_moments


def data(samples: int = 200, columns: int = 8) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = gaussian("ar 0.8", samples, columns, random)
    y = x[:, :5] @ random.standard_normal((5, 3)) + random.standard_normal((samples, 3))
    return x, y * [1e-3, 1, 1e3]


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    return fold_moments([x], y, [slice(None)])[0]


def test_a_path_is_scikit_learns() -> None:
    x, y = data(400, 60)
    known = moments(x, y)
    grid = np.abs(known.cross).max(0) / known.rows * np.geomspace(1, 1e-4, 15)[:, None]
    fits = Fits(known, Effort(1e-10, 100_000))
    centred, target = x - x.mean(0), y - y.mean(0)
    found = []
    for alphas in grid:
        fits.lower(alphas)
        found.append(fits.weights.copy())
    for t in range(3):
        _, path, _ = lasso_path(centred, target[:, t], alphas=grid[:, t], tol=1e-10, max_iter=10**5)
        np.testing.assert_allclose(np.array(found)[:, t].T, path, rtol=0, atol=1e-6 * path.max())


@pytest.mark.parametrize(("tolerance", "sweeps"), [(1e-3, 500), (1e-2, 500), (1e-12, 3)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_that_stops_early_stops_where_scikit_learns_does(
    tolerance: float, sweeps: int
) -> None:
    x, y = data()
    for t, alpha in enumerate([5e-5, 0.05, 50.0]):
        fits = Fits(moments(x, y[:, t : t + 1]), Effort(tolerance, sweeps), sweeps_only=True)
        fits.lower(np.array([alpha]))
        fitted = Lasso(alpha=alpha, tol=tolerance, max_iter=sweeps).fit(x, y[:, t])
        np.testing.assert_allclose(fits.weights[0], fitted.coef_, rtol=1e-9, atol=1e-12)


def test_targets_do_not_see_each_other_and_stay_where_they_are_unless_wanted() -> None:
    x, y = data()
    alphas = np.array([5e-5, 0.05, 50.0])
    whole = Fits(moments(x, y), Effort(1e-8, 1000))
    whole.lower(alphas, np.array([True, False, True]))
    assert not whole.weights[1].any()
    for t in (0, 2):
        alone = Fits(moments(x, y[:, t : t + 1]), Effort(1e-8, 1000))
        alone.lower(alphas[t : t + 1])
        np.testing.assert_allclose(whole.weights[t], alone.weights[0], rtol=1e-9)


def test_a_fit_can_begin_elsewhere_and_a_column_that_never_varies_gets_nothing() -> None:
    x, y = data()
    x[:, 6] = 2.5
    known, alphas, effort = moments(x, y), np.array([5e-5, 0.05, 50.0]), Effort(1e-12, 10_000)
    cold = Fits(known, effort)
    cold.lower(alphas)
    assert not cold.weights[:, 6].any()
    warm = Fits(known, effort, np.random.default_rng(1).standard_normal((8, 3)))
    warm.lower(alphas)
    np.testing.assert_allclose(warm.weights[:, :6], cold.weights[:, :6], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("single", [True, False])
def test_errors_are_those_on_the_rows(single: bool) -> None:
    x, y = data()
    train, held = fold_moments([x], y, [slice(150), slice(150, None)])
    fits = Fits(train, Effort(1e-3, 500), single=single)
    fits.lower(np.array([5e-5, 0.05, 50.0]))
    guess = (x[150:] - train.means) @ fits.weights.T + train.target_means
    rtol = 1e-5 if single else 1e-9
    np.testing.assert_allclose(fits.errors(held), ((y[150:] - guess) ** 2).mean(0), rtol=rtol)


@pytest.mark.parametrize("single", [False, True])
def test_slopes_are_derivatives_of_the_error_on_the_way_to_least_squares(single: bool) -> None:
    x, y = data(400, 12)
    folds = fold_moments([x], y, [slice(0, 300), slice(300, None)])
    scale = np.geomspace(0.5, 2, 12)
    fits = Fits(folds[0], Effort(1e-10, 10_000), scale=scale, single=single)
    fits.lower(np.array([5e-5, 0.05, 50.0]))
    among = np.array([True, False, True])
    begun, least = fits.weights.copy(), np.linalg.lstsq(x[:300] - x[:300].mean(0), y[:300])[0].T
    slopes = fits.slopes(folds[1], among)
    errors = []
    for share in (0.0, 1e-2):
        fits.weights = (begun + share * (least * scale - begun)).astype(begun.dtype)
        errors.append(fits.errors(folds[1]))
    # A parabola through both, with this slope at the first.
    way = (least - begun / scale) @ (x[300:] - x[:300].mean(0)).T
    expected = (errors[1] - errors[0]) / 1e-2 - 1e-2 * (way**2).mean(1)
    near = 1e-2 if single else 1e-5
    np.testing.assert_allclose(2 * slopes, expected[among], rtol=near)


def test_no_slope_where_least_squares_cannot_be_told() -> None:
    x, y = data(400, 12)
    known = moments(x, y)
    # Not a Gram matrix: its least eigenvalue is negative.
    known.gram[0, 1] = known.gram[1, 0] = 2 * known.gram[0, 0]
    fits = Fits(known, Effort(1e-3, 10))
    assert np.isnan(fits.slopes(known, np.ones(3, dtype=bool))).all()
