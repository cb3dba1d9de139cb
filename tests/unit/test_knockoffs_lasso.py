from __future__ import annotations

import numpy as np
from designs import gaussian
from sklearn.linear_model import LassoCV

from neucept.knockoffs import fit_sampler
from neucept.knockoffs.filter import contest
from neucept.knockoffs.lasso import Lasso


def problem(targets: int, samples: int = 500, copies: int = 2):
    random = np.random.default_rng(0)
    x = gaussian("ar 0.5", samples, 10, random)
    y = x[:, [1, 4, 8]] @ random.standard_normal((3, targets)) + random.standard_normal(
        (samples, targets)
    )
    return x, fit_sampler(x).draw(x, copies, 1), y


def test_importances_are_scikit_learns_coefficients() -> None:
    x, drawn, y = problem(1)
    found = Lasso(folds=3).separate(x, drawn, y, np.random.default_rng(2))[:, :, 0]
    assert found.shape == (10, 3)
    spread = np.concatenate([x[:, :, None], drawn], axis=2).var(0).mean(1) ** 0.5
    design = np.concatenate([x[:, :, None], drawn], axis=2) / spread[:, None]
    flat = design.reshape(len(x), -1)
    fitted = LassoCV(alphas=100, cv=3, tol=1e-8).fit(flat, y[:, 0] / y.std())
    truth = np.abs(fitted.coef_.reshape(10, 3))
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.995


def test_targets_do_not_see_each_other() -> None:
    x, drawn, y = problem(3)
    together = Lasso().separate(x, drawn, y, np.random.default_rng(2))
    alone = Lasso().separate(x, drawn, y[:, 1:2], np.random.default_rng(2))
    np.testing.assert_allclose(together[:, :, 1], alone[:, :, 0], atol=1e-6)


def test_joint_is_the_norm_over_targets_and_does_not_depend_on_their_units() -> None:
    x, drawn, y = problem(3)
    joint, separate = Lasso().both(x, drawn, y, np.random.default_rng(2))
    np.testing.assert_allclose(joint, np.linalg.norm(separate, axis=2))
    scaled = Lasso().joint(x, drawn, y * [1e-3, 1, 1e3] + 7, np.random.default_rng(2))
    np.testing.assert_allclose(joint, scaled, rtol=1e-5, atol=1e-8)


def test_a_trade_of_columns_is_the_same_trade_in_the_result() -> None:
    x, drawn, y = problem(2)
    exact = Lasso(tolerance=1e-12, most_iterations=100_000)
    found = exact.separate(x, drawn, y, np.random.default_rng(2))
    swapped, traded = x.copy(), drawn.copy()
    for j in (1, 3):
        swapped[:, j], traded[:, j, 1] = drawn[:, j, 1], x[:, j]
    again = exact.separate(swapped, traded, y, np.random.default_rng(3))
    again[[1, 3]] = again[[1, 3]][:, [2, 1, 0]]
    np.testing.assert_allclose(found, again, atol=1e-5)


def test_one_target_of_many_is_enough() -> None:
    """A neuron that only one of thirty targets needs is found by the joint statistic."""
    random = np.random.default_rng(5)
    x = gaussian("ar 0.5", 800, 20, random)
    z = (x - x.mean(0)) / x.std(0)
    weights = np.zeros((20, 30))
    weights[[2, 5, 9]] = random.standard_normal((3, 30))
    weights[14, 17] = 0.5
    y = z @ weights + random.standard_normal((800, 30))
    outcome = contest(Lasso().joint(x, fit_sampler(x).draw(x, 4, 1), y, random))
    best = np.argsort(-outcome.signed)[:4]
    assert set(best) == {2, 5, 9, 14}


def test_describes_itself() -> None:
    assert Lasso(folds=4).describe()["folds"] == 4
