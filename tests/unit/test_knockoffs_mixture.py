"""The mixture density: clumps are copied as clumps, and edges as edges."""

from __future__ import annotations

import json

import numpy as np
import pytest
from designs import gaussian

from neucept.knockoffs.mixture import Mixture, fit_mixture

ROWS = 4000


def standard(design: str, rows: int, neurons: int, random: np.random.Generator) -> np.ndarray:
    x = gaussian(design, rows, neurons, random)
    return (x - x.mean(0)) / x.std(0)


@pytest.fixture(scope="module")
def clumps() -> tuple[np.ndarray, np.ndarray, Mixture]:
    random = np.random.default_rng(0)
    group = random.integers(0, 3, ROWS)
    centres = np.array([[0, 0, 0, 0], [6, 6, 0, 0], [0, 6, 6, 6]], dtype=float)
    x = standard("ar 0.5", ROWS, 4, random) + centres[group]
    return x, group, fit_mixture(x, 0)


@pytest.fixture(scope="module")
def rectified() -> tuple[np.ndarray, Mixture]:
    random = np.random.default_rng(1)
    x = standard("ar 0.8", ROWS, 6, random) + np.linspace(-1.5, 1.5, 6)
    x = np.maximum(x, 0.0)
    return x, fit_mixture(x, 0)


def test_a_knockoff_stays_in_its_clump(clumps) -> None:
    x, group, density = clumps
    drawn = density.knockoffs(x, 2, np.random.default_rng(0))
    assert drawn.shape == (ROWS, 4, 2)
    centres = np.array([x[group == k].mean(0) for k in range(3)])
    near = np.linalg.norm(drawn[:, None, :, 0] - centres, axis=2).argmin(1)
    assert (near == group).mean() > 0.98


def test_copies_have_the_moments_of_exchangeable_ones(clumps) -> None:
    x, group, density = clumps
    drawn = density.knockoffs(x, 2, np.random.default_rng(1))
    inside = group == 1
    own = np.cov(x[inside].T)
    error = 5 * 1.5 / np.sqrt(inside.sum())
    for copy in range(2):
        assert np.abs(np.cov(drawn[inside, :, copy].T) - own).max() < error
        across = np.cov(x[inside].T, drawn[inside, :, copy].T)[:4, 4:]
        assert np.abs(across - own)[~np.eye(4, dtype=bool)].max() < error
        assert (np.diag(own) - np.diag(across)).min() > 0.2
    between = np.cov(drawn[inside, :, 0].T, drawn[inside, :, 1].T)[:4, 4:]
    assert np.abs(between - own)[~np.eye(4, dtype=bool)].max() < error


def test_the_number_of_components_is_what_unseen_rows_speak_for(clumps) -> None:
    _, _, density = clumps
    assert 2 <= len(density.weights) <= 8
    alone = fit_mixture(standard("ar 0.5", ROWS, 4, np.random.default_rng(2)), 0)
    assert len(alone.weights) == 1


def test_a_knockoff_is_on_the_edge_as_often_as_its_neuron(rectified) -> None:
    x, density = rectified
    drawn = density.knockoffs(x, 3, np.random.default_rng(0))
    assert drawn.min() == 0.0
    share = (x == 0).mean(0)
    assert share.min() < 0.1
    assert share.max() > 0.9
    error = np.sqrt(2 * share * (1 - share) / ROWS)
    for copy in range(3):
        assert (np.abs((drawn[:, :, copy] == 0).mean(0) - share) < 4 * error + 0.005).all()


def test_edges_come_together_as_they_do_in_the_data(rectified) -> None:
    # Swapping one neuron with its knockoff keeps how often two neurons are silent together.
    x, density = rectified
    drawn = density.knockoffs(x, 1, np.random.default_rng(3))[:, :, 0]
    for j in range(5):
        both = np.mean((x[:, j] == 0) & (x[:, j + 1] == 0))
        swapped = np.mean((x[:, j] == 0) & (drawn[:, j + 1] == 0))
        assert abs(both - swapped) < 0.03


def test_conditional_draws_follow_the_other_neurons(clumps, rectified) -> None:
    x, group, density = clumps
    drawn = density.conditional(x, np.array([1, 3]), 2, np.random.default_rng(0))
    assert drawn.shape == (ROWS, 2, 2)
    # Neuron 3 is high in the third clump only, which neuron 2 tells.
    assert abs(drawn[group == 2, 1].mean() - 6) < 0.2
    assert abs(drawn[group == 0, 1].mean()) < 0.2
    silent = rectified[1].conditional(rectified[0], np.array([2]), 1, np.random.default_rng(0))
    assert silent.min() == 0.0
    assert abs((silent == 0).mean() - (rectified[0][:, 2] == 0).mean()) < 0.05


def test_all_neurons_can_be_drawn_without_any_given(clumps) -> None:
    x, _, density = clumps
    drawn = density.conditional(x, np.arange(4), 1, np.random.default_rng(0))[:, :, 0]
    assert np.abs(drawn.mean(0) - x.mean(0)).max() < 0.3


def test_equal_seeds_fit_and_draw_alike(rectified) -> None:
    x, density = rectified
    again = fit_mixture(x, 0)
    for name, value in density.arrays().items():
        np.testing.assert_array_equal(value, again.arrays()[name])
    one, two = (d.knockoffs(x, 2, np.random.default_rng(5)) for d in (density, again))
    np.testing.assert_array_equal(one, two)


def test_what_was_fitted_is_plain(rectified) -> None:
    told = rectified[1].describe()
    assert json.loads(json.dumps(told)) == told
    assert told["censored"] == 6
