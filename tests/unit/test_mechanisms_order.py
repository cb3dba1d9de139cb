"""Positions along a continuum, and along groups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from neucept.mechanisms import order
from neucept.mechanisms.mixture import Ascent, one_hot
from neucept.mechanisms.order import along, continuum
from neucept.mechanisms.tree import grow

NO_SCORE = np.zeros(600)


def horseshoe(rows: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bent line with noise about it; its first component folds it."""
    rng = np.random.default_rng(seed)
    grade = rng.uniform(0, 1, rows)
    angle = 1.75 * np.pi * grade
    x = 0.1 * rng.standard_normal((rows, 6))
    x[:, 0] += 2 * np.cos(angle)
    x[:, 1] += 2 * np.sin(angle)
    return (x - x.mean(axis=0)) @ np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2].T, grade


def strength(one: np.ndarray, other: np.ndarray) -> float:
    return float(abs(spearmanr(one, other)[0]))


def test_a_bent_continuum_is_followed_where_the_first_component_folds_it() -> None:
    x, grade = horseshoe()
    assert strength(x[:, 0], grade) < 0.9
    assert strength(continuum(x, NO_SCORE, 0), grade) > 0.97


def test_it_rises_with_the_score_or_else_with_the_first_dimension() -> None:
    x, grade = horseshoe()
    assert spearmanr(continuum(x, grade, 0), grade)[0] > 0.97
    assert spearmanr(continuum(x, -grade, 0), grade)[0] < -0.97
    assert spearmanr(continuum(x, NO_SCORE, 0), x[:, 0])[0] > 0


def test_of_two_continua_the_one_with_the_score_is_meant() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.uniform(-1, 1, (2, 600))
    x = np.column_stack([one, 0.95 * two, 0.05 * rng.standard_normal((600, 3))])
    assert strength(continuum(x, NO_SCORE, 0), one) > 0.9
    assert strength(continuum(x, two, 0), two) > 0.9


def test_a_score_of_noise_hardly_matters() -> None:
    x, grade = horseshoe()
    noise = np.random.default_rng(4).standard_normal(600)
    assert strength(continuum(x, noise, 0), grade) > 0.95


def test_a_few_odd_samples_do_not_lead() -> None:
    x, grade = horseshoe()
    x[:12] += 6 * np.random.default_rng(1).standard_normal((12, 6))
    assert strength(continuum(x, NO_SCORE, 0)[12:], grade[12:]) > 0.95


def test_many_samples_are_carried_over_from_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MOST_ROWS", 200)
    x, grade = horseshoe()
    assert strength(continuum(x, NO_SCORE, 0), grade) > 0.97


@pytest.mark.parametrize("rows", [1, 2, 29, 30, 31])
def test_few_samples_and_equal_samples_have_a_place(rows: int) -> None:
    x, _ = horseshoe(rows)
    for values in (x, np.zeros((rows, 3))):
        place = continuum(values, np.zeros(rows), 0)
        assert place.shape == (rows,)
        assert np.isfinite(place).all()


def test_groups_lie_one_after_the_other_in_the_order_of_the_tree() -> None:
    rng = np.random.default_rng(2)
    group = np.arange(600) % 3
    x = np.array([[0.0, 0], [30, 0], [14, 4]])[group] + rng.standard_normal((600, 2))
    tree = grow(x, Ascent(x).climb(one_hot(group, 3), 30), group)
    inside = x[:, 1] - np.array([0, 0, 4])[group]
    score = x[:, 0] + inside
    _, place = along(x, group, tree, score, 0)
    assert group[np.argsort(place)].tolist() == np.repeat([0, 2, 1], 200).tolist()
    assert (place.min(), place.max()) == (0.0, 1.0)
    again = along(x, group, tree, score, 0)[1]
    assert np.array_equal(place, again)


def test_a_continuum_that_was_divided_is_still_followed() -> None:
    x, grade = horseshoe()
    parts = np.minimum((3 * grade).astype(int), 2)
    tree = grow(x, Ascent(x).climb(one_hot(parts, 3), 30), parts)
    _, place = along(x, parts, tree, grade, 0)
    assert spearmanr(place, grade)[0] > 0.95
