"""The mixture against textbook densities, and its ascent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_t

from neucept.mechanisms.mixture import TAILS, Ascent, Mixture, one_hot, spheres


def two_clouds(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    group = (np.arange(rows) % 3 == 0).astype(int)
    shape = np.array([[[1.0, 0.0], [0.0, 0.2]], [[0.3, 0.4], [0.0, 1.0]]])
    x = np.einsum("rd,rde->re", rng.standard_normal((rows, 2)), shape[group])
    return x + np.array([[0.0, 0.0], [3.0, 1.0]])[group], group


@pytest.fixture(scope="module")
def fitted() -> tuple[np.ndarray, np.ndarray, Mixture]:
    x, group = two_clouds()
    start = one_hot((x[:, 0] > 2).astype(int), 2)
    return x, group, Ascent(x).climb(start, 100)


def test_the_density_is_a_mixture_of_student_laws(fitted) -> None:
    x, _, mixture = fitted
    density = sum(
        weight * multivariate_t(mean, scatter, df=TAILS).pdf(x)
        for weight, mean, scatter in zip(
            mixture.weights, mixture.means, mixture.scatter(), strict=True
        )
    )
    assert mixture.score(x) == pytest.approx(np.log(density).mean(), rel=1e-10)
    assert mixture.likelihood == pytest.approx(mixture.score(x))


def test_distances_are_mahalanobis(fitted) -> None:
    x, _, mixture = fitted
    for group, scatter in enumerate(mixture.scatter()):
        precision = np.linalg.inv(scatter)
        textbook = cdist(x, mixture.means[[group]], "mahalanobis", VI=precision)[:, 0] ** 2
        assert mixture.distances(x)[:, group] == pytest.approx(textbook, rel=1e-8)


def test_membership_is_a_probability_and_finds_the_clouds(fitted) -> None:
    x, group, mixture = fitted
    membership = mixture.membership(x)
    assert membership.sum(axis=1) == pytest.approx(np.ones(len(x)))
    assert (mixture.labels(x) == group).mean() > 0.97
    assert mixture.weights == pytest.approx([2 / 3, 1 / 3], abs=0.03)


def test_the_ascent_never_loses_likelihood_on_many_rows() -> None:
    # With many rows the prior weighs little, and each step is a step up.
    x, _ = two_clouds(6000)
    membership = one_hot(np.random.default_rng(1).integers(0, 2, len(x)), 2)
    reached = [Ascent(x).climb(membership, steps).likelihood for steps in (1, 2, 4, 8, 16, 32)]
    assert (np.diff(reached) > -1e-6).all()


def test_a_few_wild_samples_do_not_bend_the_groups(fitted) -> None:
    x, group, _ = fitted
    wild = np.vstack([x, [[60.0, -60.0], [-80.0, 10.0], [0.0, 90.0]]])
    labels = Ascent(wild).climb(one_hot(np.append(group, [0, 0, 1]), 2), 100).labels(wild)
    assert (labels[: len(x)] == group).mean() > 0.97


def test_a_dimension_in_which_nothing_differs_is_borne() -> None:
    x, group = two_clouds()
    flat = np.hstack([x, np.zeros((len(x), 1))])
    mixture = Ascent(flat).climb(one_hot(group, 2), 50)
    assert np.isfinite(mixture.likelihood)
    assert (mixture.labels(flat) == group).mean() > 0.97


def test_spheres_choose_the_nearest_centre(fitted) -> None:
    x, group, _ = fitted
    mixture = spheres(x, group, 2)
    nearest = cdist(x, np.array([x[group == g].mean(axis=0) for g in (0, 1)])).argmin(axis=1)
    assert np.array_equal(mixture.labels(x), nearest)


def test_reordering_only_renames(fitted) -> None:
    x, _, mixture = fitted
    turned = mixture.reordered(np.array([1, 0]))
    assert np.array_equal(turned.labels(x), 1 - mixture.labels(x))
