"""The laws of groups: their knockoffs' moments, exchangeability, and the level outside them."""

from __future__ import annotations

import numpy as np
import pytest
from designs import covariance, gaussian, scales

from neucept.knockoffs import Sampler, fit_sampler, select

SAMPLES, NEURONS = 20_000, 12
SIGMAS = 4.5
"""Largest deviation allowed, in standard errors: about 2,000 entries are compared at once."""

UNITS = np.array([0, 1, 2, 3, 1, 5, 2, 7, 8, 1, 10, 11])
"""Neurons 1, 4 and 9 are a group, and 2 and 6; near-copies that differ by a tenth or less."""

FDR = 0.2

# Exact on these designs.
LINEAR = {
    "fdr": FDR,
    "sampler": "gaussian",
    "statistic": "lasso",
    "dither": 0.0,
    "draws": 4,
    "n_jobs": 1,
}


def copied() -> np.ndarray:
    """From neurons without near-copies to neurons with them."""
    mixing = np.eye(NEURONS)
    mixing[[1, 4], 4] = -2.0, 0.1
    mixing[[1, 4, 9], 9] = 1.0, 0.05, 0.03
    mixing[[2, 6], 6] = 1.0, 0.02
    return mixing


def apart() -> np.ndarray:
    """Back to neurons without near-copies, so that small differences of members count in full."""
    return np.linalg.inv(copied())


@pytest.fixture(scope="module")
def layer() -> tuple[np.ndarray, np.ndarray, Sampler]:
    """Neurons, their covariance and a fitted sampler."""
    plain = gaussian("ar 0.5", SAMPLES, NEURONS, np.random.default_rng(1))
    sigma = covariance("ar 0.5", NEURONS) * np.outer(scales(NEURONS), scales(NEURONS))
    x = plain @ copied()
    sampler = fit_sampler(x, "gaussian")
    assert sampler.screening.groups == ((1, 4, 9), (2, 6))
    return x, copied().T @ sigma @ copied(), sampler


def deviations(found: np.ndarray, truth: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """How far covariances are from the truth, in standard errors of drawn ones."""
    return (found - truth) / np.sqrt(2 * (np.outer(spread, spread) + truth**2) / SAMPLES)


@pytest.mark.parametrize("copies", [1, 4])
def test_joint_second_moments_of_group_knockoffs(layer, copies: int) -> None:
    x, sigma, sampler = layer
    drawn = sampler.draw(x, knockoffs=copies, seed=2)
    other = UNITS[:, None] != UNITS
    for view in (np.eye(NEURONS), apart()):
        sides = [x @ view, *(drawn[:, :, m] @ view for m in range(copies))]
        truth = view.T @ sigma @ view
        spread = np.diag(truth)
        for side in sides:
            assert np.abs(deviations(np.cov(side.T), truth, spread)).max() < SIGMAS
        for i, one in enumerate(sides):
            for another in sides[:i]:
                across = np.cov(one.T, another.T)[:NEURONS, NEURONS:]
                assert np.abs(deviations(across, truth, spread))[other].max() < SIGMAS
                even = (across - across.T) / np.sqrt(4 * np.outer(spread, spread) / SAMPLES)
                assert np.abs(even).max() < SIGMAS


def test_groups_traded_for_their_knockoffs_are_not_told_apart(layer) -> None:
    x, _, sampler = layer
    random = np.random.default_rng(3)
    everything = np.concatenate([x[:, :, None], sampler.draw(x, 2, seed=4)], axis=2)
    everything = np.einsum("snc,nm->smc", everything, apart())
    everything = (everything - everything[:, :, :1].mean(0)) / everything[:, :, :1].std(0)
    traded = everything.copy()
    for unit in np.unique(UNITS):
        members = np.flatnonzero(UNITS == unit)
        traded[:, members] = everything[:, members][:, :, random.permutation(3)]
    waves = random.standard_normal((NEURONS * 3, 300)) / np.sqrt(3)
    before, after = everything.reshape(SAMPLES, -1), traded.reshape(SAMPLES, -1)
    for wave in (np.cos, np.sin):
        difference = wave(before @ waves) - wave(after @ waves)
        z = difference.mean(0) / (difference.std(0) / np.sqrt(SAMPLES) + 1e-12)
        assert np.abs(z).max() < SIGMAS


def test_group_knockoffs_keep_their_distance(layer) -> None:
    """In what a group's members have in common and in what they differ by."""
    x, _, sampler = layer
    drawn = sampler.draw(x, 1, seed=2)[:, :, 0]
    own, copy = x @ apart(), drawn @ apart()
    between = [np.corrcoef(own[:, j], copy[:, j])[0, 1] for j in range(NEURONS)]
    assert max(between) < 0.75


GROUPS = 5


def told_by_members(seed: int, own: float, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Neurons 0 to 4, near-copies of them in 5 to 9, and in 10 to 14 what these add.

    The target depends on the near-copies, or on them and their originals: given all others,
    neurons from 10 on tell nothing about it.

    Args:
        seed: Of the rows.
        own: Spread of what a near-copy adds on its own.
        target: "copies", "both" or "differences".
    """
    random = np.random.default_rng((seed, 11))
    x = gaussian("ar 0.5", 600, 30, random)
    x = (x - x.mean(0)) / x.std(0)
    originals, copies, added = (np.arange(k * GROUPS, (k + 1) * GROUPS) for k in range(3))
    difference = x[:, added] + own * random.standard_normal((600, GROUPS))
    x[:, copies] = x[:, originals] + 0.1 * difference
    parts = {"copies": x[:, copies], "both": x[:, originals] + difference}
    y = parts.get(target, difference) @ random.choice([-1.0, 1.0], GROUPS)
    return x, y + 0.5 * random.standard_normal(600)


@pytest.mark.parametrize("target", ["copies", "both", "differences"])
@pytest.mark.parametrize("own", [0.0, 0.5])
def test_what_carries_the_difference_of_members_is_not_named(own: float, target: str) -> None:
    """With one member for each group in the fit, half of the names were wrong here, or all."""
    proportions, powers, carriers = [], [], []
    for repeat in range(12):
        x, y = told_by_members(repeat, own, target)
        found = select(x, y, seed=repeat, **LINEAR)
        assert found.groups == tuple((j, j + GROUPS) for j in range(GROUPS))
        right, wrong = found.selected[:GROUPS].sum(), found.selected[2 * GROUPS :].sum()
        proportions.append(wrong / max(1, right + wrong))
        powers.append(right / GROUPS)
        carriers.append(found.selected[2 * GROUPS : 3 * GROUPS].mean())
    error = np.std(proportions, ddof=1) / np.sqrt(len(proportions))
    assert np.mean(proportions) <= FDR + 2 * error
    assert np.mean(carriers) <= FDR
    assert np.mean(powers) > 0.9


def pairs(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Five pairs of near-copies and twenty neurons: the unit of each neuron."""
    x = told_by_members(int(random.integers(2**31)), 0.5, "copies")[0]
    return x, np.r_[np.tile(np.arange(GROUPS), 2), np.arange(2 * GROUPS, 30)]


def nearly_one(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Near-copies of one another but for 14 neurons."""
    common = random.standard_normal((600, 1))
    near = common + 0.05 * random.standard_normal((600, 18))
    return np.c_[near, random.standard_normal((600, 14))], np.r_[np.zeros(18, int), 18:32]


@pytest.mark.parametrize("design", [pairs, nearly_one])
def test_the_level_where_groups_tell_nothing(design) -> None:
    """A group has many chances to look important; so have all of its knockoffs."""
    proportions, named = [], []
    for repeat in range(20):
        random = np.random.default_rng(repeat)
        x, units = design(random)
        y = x[:, -10:] @ random.choice([-0.4, 0.4], 10) + random.standard_normal(600)
        found = select(x, y, seed=repeat, **LINEAR)
        wrong = np.unique(units[:-10][found.selected[:-10]])
        proportions.append(len(wrong) / max(1, len(wrong) + found.selected[-10:].sum()))
        named.append([len(group) > 1 and found.selected[group[0]] for group in found.groups])
        assert found.settings["tested"] == len(np.unique(units))
    error = np.std(proportions, ddof=1) / np.sqrt(len(proportions))
    assert np.mean(proportions) <= FDR + 2 * error
    assert np.mean(named) < 0.5
