"""The sampler's laws: second moments, exchangeability, conditional draws. Error bars throughout."""

from __future__ import annotations

import numpy as np
import pytest
from designs import covariance, gaussian, scales

from neucept.knockoffs import fit_sampler

SAMPLES = 20_000
NEURONS = 12
DESIGNS = ["ar 0.5", "ar 0.8", "factor"]
SIGMAS = 4.5
"""Largest deviation allowed, in standard errors: about 2,000 entries are compared at once."""


def deviations(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How far sample covariances are from the truth, in units of their standard error.

    Draws inherit the error of the covariance that was fitted and add their own: twice the variance.
    """
    diagonal = np.diag(truth)
    return (found - truth) / np.sqrt(2 * (np.outer(diagonal, diagonal) + truth**2) / SAMPLES)


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("design", DESIGNS)
def test_joint_second_moments(design: str, copies: int) -> None:
    x = gaussian(design, SAMPLES, NEURONS, np.random.default_rng(1))
    sampler = fit_sampler(x, "gaussian")
    drawn = sampler.draw(x, knockoffs=copies, seed=2)
    columns = np.hstack([x, *(drawn[:, :, m] for m in range(copies))])
    sigma = covariance(design, NEURONS) * np.outer(scales(NEURONS), scales(NEURONS))
    s = np.mean((x[:, :, None] - drawn) ** 2, axis=(0, 2)) / 2
    across = sigma - np.diag(s)
    truth = np.kron(np.ones((copies + 1, copies + 1)), across)
    truth += np.kron(np.eye(copies + 1), np.diag(s))
    assert np.abs(deviations(np.cov(columns.T), truth)).max() < SIGMAS
    assert np.abs(columns.mean(0) - np.tile(x.mean(0), copies + 1)).max() < 0.1


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("design", DESIGNS)
def test_swap_exchangeability(design: str, copies: int) -> None:
    """Waves in random directions cannot tell a layer from one with originals traded for copies."""
    random = np.random.default_rng(3)
    x = gaussian(design, SAMPLES, NEURONS, random)
    everything = np.concatenate(
        [x[:, :, None], fit_sampler(x, "gaussian").draw(x, copies, seed=4)], axis=2
    )
    everything = (everything - x.mean(0)[:, None]) / x.std(0)[:, None]
    traded = everything.copy()
    for j in range(NEURONS):
        traded[:, j] = everything[:, j, random.permutation(copies + 1)]
    waves = random.standard_normal((NEURONS * (copies + 1), 300)) / np.sqrt(copies + 1)
    before, after = everything.reshape(SAMPLES, -1), traded.reshape(SAMPLES, -1)
    for wave in (np.cos, np.sin):
        difference = wave(before @ waves) - wave(after @ waves)
        z = difference.mean(0) / (difference.std(0) / np.sqrt(SAMPLES) + 1e-12)
        assert np.abs(z).max() < SIGMAS


def test_knockoffs_keep_their_distance() -> None:
    """A copy that equals its original is exchangeable too, and useless."""
    x = gaussian("ar 0.5", SAMPLES, NEURONS, np.random.default_rng(1))
    drawn = fit_sampler(x, "gaussian").draw(x, knockoffs=1, seed=2)[:, :, 0]
    between = [np.corrcoef(x[:, j], drawn[:, j])[0, 1] for j in range(NEURONS)]
    assert max(between) < 0.6


@pytest.mark.parametrize("chosen", [[3], [7, 2, 3]])
def test_conditional_draws_complete_the_rest(chosen: list[int]) -> None:
    x = gaussian("ar 0.8", SAMPLES, NEURONS, np.random.default_rng(5))
    sampler = fit_sampler(x, "gaussian")
    drawn = sampler.resample(x, chosen, n=2, seed=6)
    sigma = covariance("ar 0.8", NEURONS) * np.outer(scales(NEURONS), scales(NEURONS))
    for k in range(2):
        replaced = x.copy()
        replaced[:, chosen] = drawn[:, :, k]
        assert np.abs(deviations(np.cov(replaced.T), sigma)).max() < SIGMAS
    others = [j for j in range(NEURONS) if j not in chosen]
    weights = np.linalg.solve(sigma[np.ix_(others, others)], sigma[np.ix_(others, chosen)])
    within = sigma[np.ix_(chosen, chosen)] - sigma[np.ix_(chosen, others)] @ weights
    rest = drawn.mean(2) - x.mean(0)[chosen] - (x - x.mean(0))[:, others] @ weights
    spread = np.cov(rest.T).reshape(within.shape)
    assert np.abs(deviations(spread, within / 2)).max() < SIGMAS


def test_conditional_draws_do_not_look_at_the_neuron() -> None:
    x = gaussian("ar 0.8", 500, NEURONS, np.random.default_rng(8))
    sampler = fit_sampler(x, "gaussian")
    changed = x.copy()
    changed[:, [3, 4]] = 1e3
    np.testing.assert_array_equal(
        sampler.resample(x, [3, 4], seed=9), sampler.resample(changed, [3, 4], seed=9)
    )
    assert not np.array_equal(sampler.draw(x, 1, 9)[:, 3], sampler.draw(changed, 1, 9)[:, 3])
