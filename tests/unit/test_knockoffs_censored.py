"""Latent values follow the truncated normal law that the other values leave them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neucept.knockoffs.censored import below, sweep

ROWS = 20_000


@pytest.mark.parametrize("cut", [-30.0, -8.0, -1.0, -0.01, 0.0, 0.3, 6.0])
def test_one_latent_value_is_truncated_normal(cut: float) -> None:
    random = np.random.default_rng(0)
    spread, centre = 0.5, 1.5
    bound = np.array([centre + spread * cut])
    z = np.zeros((ROWS, 1))
    component = np.zeros(ROWS, dtype=int)
    precision = np.array([[[1 / spread**2]]])
    sweep(z, z < 1, bound, component, np.array([[centre]]), precision, random)
    law = stats.truncnorm(-np.inf, cut, centre, spread)
    assert stats.kstest(z[:, 0], law.cdf).pvalue > 0.001


def test_sweeps_lead_to_the_joint_law() -> None:
    """Normal rows, cut off at a bound and drawn anew below it, are normal again."""
    random = np.random.default_rng(1)
    covariance = np.array([[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]])
    true = random.multivariate_normal(np.zeros(3), covariance, ROWS)
    bound = np.array([0.2, -0.5, -np.inf])
    at = true <= bound
    z = below(np.where(at, bound, true), at, bound, random)
    precisions = np.linalg.inv(covariance)[None]
    for _ in range(20):
        sweep(z, at, bound, np.zeros(ROWS, dtype=int), np.zeros((1, 3)), precisions, random)
    assert (z[at] <= np.broadcast_to(bound, z.shape)[at]).all()
    assert (z[~at] == true[~at]).all()
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.03)
    np.testing.assert_allclose(z.mean(0), 0, atol=0.03)


def test_each_row_by_its_own_component() -> None:
    random = np.random.default_rng(2)
    component = np.repeat([0, 1], ROWS // 2)
    centres = np.array([[-3.0], [-6.0]])
    precisions = np.array([[[1.0]], [[100.0]]])
    z = np.full((ROWS, 1), -1.0)
    sweep(z, z < 0, np.zeros(1), component, centres, precisions, random)
    means = [z[component == k].mean() for k in range(2)]
    spreads = [z[component == k].std() for k in range(2)]
    np.testing.assert_allclose(means, [-3, -6], atol=0.05)
    np.testing.assert_allclose(spreads, [1, 0.1], rtol=0.05)


@pytest.mark.parametrize("bound", [np.nan, -1e200])
def test_what_cannot_be_drawn_ends(bound: float) -> None:
    """No proposal is ever accepted there, so none may be waited for."""
    z = np.zeros((5, 1))
    at = np.ones((5, 1), dtype=bool)
    random = np.random.default_rng(0)
    centres, precisions = np.zeros((1, 1)), np.ones((1, 1, 1))
    sweep(z, at, np.array([bound]), np.zeros(5, dtype=int), centres, precisions, random)
    assert np.array_equal(z[:, 0], np.full(5, bound), equal_nan=True)
