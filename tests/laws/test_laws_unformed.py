"""Second moments drawn without knockoffs have the law of those of formed knockoffs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from designs import gaussian

from neucept.knockoffs import select
from neucept.knockoffs.gaussian import fit_gaussian
from neucept.knockoffs.moments import Moments, fold_moments, fold_rows
from neucept.knockoffs.unformed import Unformed, wishart_root

DRAWS = 1000


def layer(samples: int, neurons: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = np.maximum(gaussian("ar 0.5", samples, neurons, random), -1) * 3
    y = x[:, :3] @ random.standard_normal((3, 2)) + random.standard_normal((samples, 2))
    # A target that the others determine, as one of a network's class scores may be.
    return x, np.c_[y, y @ [1.0, -1.0]]


def in_a_row(parts: Iterable[Moments]) -> np.ndarray:
    names = ("means", "target_means", "gram", "cross", "power")
    return np.concatenate([getattr(part, name).ravel() for part in parts for name in names])


def both_ways(copies: int, dither: float, samples: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = layer(samples)
    rows = fold_rows(samples, 3)
    law = fit_gaussian(x)
    spread = dither * y.std(0)
    unformed = Unformed.of(x, y, rows, law.affine(copies), spread)
    random = np.random.default_rng(1)
    direct, formed = [], []
    for _ in range(DRAWS):
        direct.append(in_a_row(unformed.drawn(random)))
        drawn = np.moveaxis(law.knockoffs(x, copies, random), 2, 1).reshape(len(x), -1)
        shaken = y + spread * random.standard_normal(y.shape)
        formed.append(in_a_row(fold_moments([x, drawn], shaken, rows)))
    return np.array(direct), np.array(formed)


@pytest.mark.parametrize(
    ("copies", "dither", "samples"),
    # Many rows; fewer than neurons, targets and knockoffs; fewer than neurons and targets.
    [(1, 0.0, 150), (3, 0.5, 150), (3, 0.5, 60), (1, 0.0, 45), (1, 0.0, 24), (2, 0.5, 21)],
)
def test_means_and_covariances_are_those_of_formed_knockoffs(
    copies: int, dither: float, samples: int
) -> None:
    direct, formed = both_ways(copies, dither, samples)
    spread = formed.std(0)
    moves = spread > 1e-9 * np.abs(formed).max(0)
    np.testing.assert_allclose(direct[:, ~moves], formed[:, ~moves], rtol=1e-6, atol=1e-8)
    direct, formed = (values[:, moves] / spread[moves] for values in (direct, formed))
    error = np.sqrt((direct.var(0) + formed.var(0)) / DRAWS)
    assert np.abs((direct.mean(0) - formed.mean(0)) / error).max() < 4.5
    one, other = np.cov(direct.T), np.cov(formed.T)
    level = np.sqrt(np.outer(np.diag(one), np.diag(one)) + one**2)
    error = level * np.sqrt(2 / DRAWS)
    # Products of products have heavier tails than normal ones.
    assert np.abs((one - other) / error).max() < 7
    assert np.sqrt(np.mean(((one - other) / error) ** 2)) < 1.3


def test_a_wishart_root_has_the_moments_of_a_gram_matrix() -> None:
    random = np.random.default_rng(0)
    grams = np.array([(a := wishart_root(4, 9, random)).T @ a for _ in range(4000)])
    np.testing.assert_allclose(grams.mean(0), 9 * np.eye(4), atol=0.3)
    np.testing.assert_allclose(grams[:, 0, 1].var(), 9, rtol=0.1)
    np.testing.assert_allclose(grams[:, 2, 2].var(), 18, rtol=0.1)


@pytest.mark.parametrize("recipe", ["lasso", "published"])
def test_selected_sets_are_those_of_formed_knockoffs(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 200 draws each neuron is selected as often either way."""
    random = np.random.default_rng(3)
    x = np.maximum(gaussian("ar 0.5", 400, 20, random), 0)
    y = x[:, :8] @ random.uniform(0.1, 0.5, 8) + random.standard_normal(400)
    settings = (
        {"sampler": "gaussian", "statistic": "lasso"}
        if recipe == "lasso"
        else {"sampler": "gaussian_unscaled", "statistic": "lasso_published"}
    )
    settings |= {"draws": 200, "knockoffs": 1, "dither": 0.0, "floor": 0.0, "fdr": 0.2}
    settings |= {"rows": "all", "aggregate": "frequency"}
    direct = select(x, y, **settings, seed=1)
    again = select(x, y, **settings, seed=2)
    monkeypatch.setattr(Unformed, "of", lambda *_: None)
    formed = select(x, y, **settings, seed=1)
    error = np.sqrt(0.25 * 2 / 200)
    assert np.abs(direct.frequency - formed.frequency).max() < 4 * error
    apart = np.abs(direct.frequency - formed.frequency).mean()
    assert apart < np.abs(direct.frequency - again.frequency).mean() + error
    clear = np.abs(formed.frequency - 0.5) > 4 * error
    np.testing.assert_array_equal(direct.selected[clear], formed.selected[clear])
