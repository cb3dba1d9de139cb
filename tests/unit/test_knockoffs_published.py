from __future__ import annotations

import numpy as np
from designs import gaussian
from sklearn.linear_model import LassoCV

from neucept.knockoffs.published import PublishedLasso


def test_coefficients_are_those_of_a_plain_cross_validated_lasso() -> None:
    random = np.random.default_rng(0)
    x = gaussian("ar 0.8", 303, 12, random)
    y = x[:, [0, 5]] @ [1.0, -0.3] + random.standard_normal(303)
    fitted = LassoCV(alphas=np.geomspace(1e4, 1e-4, 20), cv=5, tol=1e-3, max_iter=500).fit(x, y)
    found = PublishedLasso().coefficients(x, np.c_[y, 2 * y])
    np.testing.assert_allclose(found[:, 0], fitted.coef_, atol=1e-10)
    assert not np.allclose(found[:, 1], 2 * fitted.coef_)


def test_folds_are_runs_of_rows() -> None:
    """A slope that only the first fifth of the rows has does not carry over to other runs."""
    random = np.random.default_rng(1)
    x = random.standard_normal((300, 4))
    y = 2 * x[:, 0] * (np.arange(300) < 60) + 0.1 * random.standard_normal(300)
    fitted = LassoCV(alphas=np.geomspace(1e4, 1e-4, 20), cv=5, tol=1e-3, max_iter=500).fit(x, y)
    spread = np.argsort(np.arange(300) % 5, kind="stable")
    other = LassoCV(alphas=np.geomspace(1e4, 1e-4, 20), cv=5).fit(x[spread], y[spread])
    assert fitted.alpha_ != other.alpha_
    np.testing.assert_allclose(
        PublishedLasso().coefficients(x, y[:, None])[:, 0], fitted.coef_, atol=1e-10
    )


def test_folds_that_disagree_are_gone_down_to_the_last_penalty() -> None:
    """Sorted by class, one fold's error rises where the others' still fall."""
    random = np.random.default_rng(0)
    label = np.sort(random.integers(0, 5, 1000))
    x = np.maximum(1.5 * random.standard_normal((5, 20))[label], 0) + random.exponential(
        size=(1000, 20)
    )
    y = np.maximum(x @ random.standard_normal((20, 3)), 0) @ random.standard_normal(3)
    y += (2 * random.standard_normal(5))[label] + random.standard_normal(1000)
    found = PublishedLasso().coefficients(x, y[:, None])[:, 0]
    grid = np.geomspace(1e4, 1e-4, 20)
    wanted = LassoCV(alphas=grid, cv=5, tol=1e-3, max_iter=500).fit(x, y)
    assert np.abs(wanted.coef_).sum() > 0.1
    np.testing.assert_allclose(found, wanted.coef_, atol=1e-6)


def test_importances_come_back_in_the_order_of_the_columns() -> None:
    random = np.random.default_rng(0)
    x, drawn = random.standard_normal((2, 400, 5))
    y = x[:, [3]] - 2 * drawn[:, [1]]
    found = PublishedLasso().joint(x, drawn[:, :, None], y, random)
    np.testing.assert_allclose(found[3], [1, 0], atol=0.02)
    np.testing.assert_allclose(found[1], [0, 2], atol=0.02)
    assert PublishedLasso().describe()["kind"] == "lasso_published"
