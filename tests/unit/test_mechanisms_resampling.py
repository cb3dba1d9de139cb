"""What comes back on other samples, and the population with one mechanism."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kurtosis, skew
from sklearn.metrics import jaccard_score

from neucept.mechanisms import resampling
from neucept.mechanisms.resampling import (
    fit_half,
    fit_whole,
    halves,
    imitate,
    matched,
    one_mechanism,
    overlap,
    recovery,
    single_peak_width,
)

RNG = np.random.default_rng(0)


def two_groups(rows: int = 240, apart: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    group = np.arange(rows) % 2
    return rng.standard_normal((rows, 3)) + apart * group[:, None] * np.array([1, 0, 0]), group


def test_halves_are_disjoint_and_cover_the_samples() -> None:
    one, two = halves(101, 0, 7, "fc1")
    assert len(one) == 50
    assert not set(one) & set(two)
    assert set(one) | set(two) == set(range(101)) - (set(range(101)) - set(one) - set(two))
    assert len(set(one) | set(two)) == 101
    assert not np.array_equal(one, halves(101, 1, 7, "fc1")[0])
    assert not np.array_equal(one, halves(101, 0, 7, "fc2")[0])
    assert np.array_equal(one, halves(101, 0, 7, "fc1")[0])


def test_large_populations_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "MOST_ROWS", 40)
    one, two = halves(500, 0, 0)
    assert (len(one), len(two)) == (20, 20)
    assert not set(one) & set(two)
    x, _ = two_groups(500)
    assert len(fit_whole(x, 2, "mixture", 0, "a")) == 2


def test_overlap_is_the_jaccard_index() -> None:
    labels, found = RNG.integers(0, 3, 90), RNG.integers(0, 3, 90)
    table = overlap(labels, found, 3)
    for a in range(3):
        for b in range(3):
            assert table[a, b] == pytest.approx(jaccard_score(labels == a, found == b))


def test_recovery_takes_the_best_match_and_averages() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    swapped, blurred = 1 - labels, np.array([0, 0, 0, 1, 1, 1, 1, 1])
    assert recovery(labels, [swapped], 2) == pytest.approx([1.0, 1.0])
    assert recovery(labels, [swapped, blurred], 2) == pytest.approx([0.875, 0.9])
    assert list(matched(labels, swapped, 2)) == [1, 0]


def test_a_half_groups_its_own_rows_and_scores_the_others() -> None:
    x, group = two_groups()
    half = fit_half(x, 3, "mixture", 0, "a", split=0, side=1)
    one, two = halves(len(x), 0, 0, "a")
    assert half.path[1].likelihood == pytest.approx(half.path[1].score(x[two]))
    assert half.held_out[1] == pytest.approx(half.path[1].score(x[one]))
    assert recovery(group, [half.path[1].labels(x)], 2).min() > 0.95


def test_two_groups_are_far_stabler_than_one_mechanism_would_be() -> None:
    x, _ = two_groups()
    alone = imitate(x, 3, "mixture", 0, "a", copy=0)
    assert alone[0] == pytest.approx(1.0)
    assert alone[1] < 0.8


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [
        (RNG.standard_normal(2000), 0.0, 0.5),
        (RNG.exponential(size=2000), 0.0, 0.6),
        (RNG.standard_normal(2000) + 6 * (np.arange(2000) % 2), 2.0, 4.0),
    ],
)
def test_the_width_that_leaves_one_peak(values: np.ndarray, least: float, most: float) -> None:
    assert least < single_peak_width(values) < most


def test_values_that_do_not_differ_have_no_width() -> None:
    assert single_peak_width(np.ones(50)) == 0.0
    assert np.isfinite(single_peak_width(np.append(np.zeros(500), 1.0)))


def test_one_mechanism_keeps_moments_and_dependence_but_not_the_groups() -> None:
    x, _ = two_groups(3000)
    x = np.column_stack([x, x[:, 1] * 0.8 + 0.6 * RNG.standard_normal(3000)])
    x = np.column_stack([x, RNG.gamma(2.0, 1.0, 3000)])
    alone = one_mechanism(x, np.random.default_rng(0))
    assert np.allclose(alone.mean(axis=0), x.mean(axis=0), atol=0.3)
    assert np.allclose(alone.std(axis=0), x.std(axis=0), rtol=0.1)
    assert np.corrcoef(alone, rowvar=False)[1, 3] == pytest.approx(0.8, abs=0.05)
    assert skew(alone[:, 4]) > 0.8
    # Two far groups have a flat-topped law of kurtosis -2; with one peak it is rounder.
    assert kurtosis(x[:, 0]) < -1.6 < -1.3 < kurtosis(alone[:, 0])
    assert single_peak_width(alone[:, 0]) < 0.3 * x[:, 0].std()


def test_samples_that_belong_together_are_in_the_same_half(monkeypatch: pytest.MonkeyPatch) -> None:
    together = np.repeat(np.arange(20), np.arange(1, 21))
    one, two = halves(len(together), 0, 7, "fc1", together=together)
    assert sorted([*one, *two]) == list(range(len(together)))
    assert not set(together[one]) & set(together[two])
    assert abs(len(one) - len(two)) <= 20
    monkeypatch.setattr(resampling, "MOST_ROWS", 60)
    one, two = halves(len(together), 0, 7, "fc1", together=together)
    assert not set(together[one]) & set(together[two])
    assert 40 < len(one) + len(two) <= 60
    for group in set(together[np.append(one, two)]):
        assert np.isin(np.flatnonzero(together == group), np.append(one, two)).all()


def test_one_mechanism_keeps_samples_that_belong_together_alike() -> None:
    together = np.arange(3000) // 10
    rng = np.random.default_rng(0)
    each = rng.standard_normal((300, 2)) * np.array([3.0, 0.0])
    x = each[together] + rng.standard_normal((3000, 2))
    alone = one_mechanism(x, np.random.default_rng(1), together)

    def alike(values: np.ndarray) -> np.ndarray:
        return values.reshape(300, 10, 2).mean(axis=1).var(axis=0) / values.var(axis=0)

    assert alike(alone)[0] == pytest.approx(alike(x)[0], abs=0.05)
    assert alike(alone)[1] < 0.15
    assert alike(one_mechanism(x, np.random.default_rng(1)))[0] < 0.15
