"""Groupings into every number of groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from neucept.mechanisms.path import METHODS, fit_path, k_means


def crosses(rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Three long clouds side by side, that round groups would cut across."""
    rng = np.random.default_rng(0)
    group = np.arange(rows) % 3
    long = rng.standard_normal(rows) * 6
    return np.column_stack([group * 3.0 + 0.5 * rng.standard_normal(rows), long]), group


def test_long_groups_are_found_by_the_mixture_and_not_by_k_means() -> None:
    x, group = crosses()
    found = {
        method: fit_path(x, 4, method, np.random.default_rng(1))[2].labels(x) for method in METHODS
    }
    assert adjusted_rand_score(group, found["mixture"]) > 0.95
    assert adjusted_rand_score(group, found["kmeans"]) < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_more_groups_never_fit_the_same_samples_worse(method: str) -> None:
    x, _ = crosses(300)
    path = fit_path(x, 5, method, np.random.default_rng(0))
    assert [mixture.groups for mixture in path] == [1, 2, 3, 4, 5]
    if method == "kmeans":
        return
    assert (np.diff([mixture.likelihood for mixture in path[:3]]) > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_generator_gives_the_same_path(method: str) -> None:
    x, _ = crosses(200)
    one, two = (fit_path(x, 3, method, np.random.default_rng(5)) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.means, b.means)
        assert np.array_equal(a.whiteners, b.whiteners)


def test_k_means_is_as_good_as_scikit_learn_on_round_groups() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 5)) + 6 * rng.standard_normal((4, 5))[np.arange(400) % 4]
    tried = [k_means(x, 4, np.random.default_rng(s), 50) for s in range(5)]
    own = min(within(x, labels) for labels in tried)
    assert own <= KMeans(4, n_init=5, random_state=0).fit(x).inertia_ * 1.0001


def within(x: np.ndarray, labels: np.ndarray) -> float:
    return sum(((x[labels == g] - x[labels == g].mean(axis=0)) ** 2).sum() for g in set(labels))


def test_fewer_distinct_samples_than_groups_is_borne() -> None:
    x = np.repeat(np.array([[0.0, 0.0], [1.0, 2.0]]), 20, axis=0)
    assert set(k_means(x, 4, np.random.default_rng(0))) <= {0, 1, 2, 3}
    for mixture in fit_path(x, 4, "mixture", np.random.default_rng(0)):
        assert np.isfinite(mixture.likelihood)
