from __future__ import annotations

import threading
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from neucept.knockoffs.moments import fold_moments
from neucept.knockoffs.paths import Effort, held_out_error, lasso_fits, quiet_solver


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.standard_normal((200, 8)) + 1
    return x, x @ np.r_[1.0, -2.0, np.zeros(6)] + random.standard_normal(200)


def test_fit_from_moments_is_the_fit_on_the_rows() -> None:
    x, y = data()
    moments = fold_moments([x], y[:, None], [slice(None)])[0]
    effort = Effort(1e-3, 50)
    for gram in (True, False):
        found = lasso_fits(moments, 0, np.array([0.05]), effort)[:, 0]
        centred = np.asfortranarray(x - x.mean(0))
        fitted = Lasso(alpha=0.05, tol=1e-3, max_iter=50, precompute=gram, fit_intercept=False).fit(
            centred, y - y.mean()
        )
        np.testing.assert_allclose(found, fitted.coef_, atol=1e-10)


def test_held_out_error_is_the_error_on_the_rows() -> None:
    x, y = data()
    train, held = (
        fold_moments([x], y[:, None], [rows])[0] for rows in (slice(150), slice(150, None))
    )
    weights = np.random.default_rng(1).standard_normal((8, 3))
    guess = (x[150:] - train.means) @ weights + train.target_means
    found = held_out_error(held.about(train.means, train.target_means), weights, 0)
    np.testing.assert_allclose(found, ((y[150:, None] - guess) ** 2).mean(0))


def test_solver_is_quiet_in_the_main_thread_and_leaves_others_alone() -> None:
    with quiet_solver():
        warnings.warn("close enough", ConvergenceWarning, stacklevel=1)
    before = list(warnings.filters)
    thread = threading.Thread(target=lambda: quiet_solver().__enter__())
    thread.start()
    thread.join()
    assert list(warnings.filters) == before


def test_fitting_leaves_the_users_random_numbers_alone() -> None:
    x, y = data()
    moments = fold_moments([x], y[:, None], [slice(None)])[0]
    before = np.random.get_state()  # noqa: NPY002
    lasso_fits(moments, 0, np.array([0.1, 0.05]), Effort(1e-3, 50))
    after = np.random.get_state()  # noqa: NPY002
    assert before[2] == after[2]
    assert np.array_equal(before[1], after[1])
