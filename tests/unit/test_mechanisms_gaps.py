"""Gaps between groups, on samples that did not draw them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from neucept.mechanisms.gaps import NO_GAP, SHALLOW, gap_counts, gap_p_value
from neucept.mechanisms.mixture import Ascent, one_hot


def counts_of(apart: float, rows: int = 800, order: tuple[int, int] = (0, 1)) -> np.ndarray:
    rng = np.random.default_rng(1)
    group = rng.integers(0, 2, rows)
    x = rng.standard_normal((rows, 4)) + apart * group[:, None] * np.array([1, 0, 0, 0])
    own, other = slice(0, rows // 2), slice(rows // 2, None)
    mixture = Ascent(x[own]).climb(one_hot(group[own], 2), 50)
    return gap_counts(mixture, x[own], x[other], np.array(order))


def test_far_groups_have_a_gap_and_near_ones_have_none() -> None:
    first, middle, second = counts_of(6.0)[0, 1]
    assert middle < 0.2 * min(first, second)
    first, middle, second = counts_of(1.0)[0, 1]
    assert middle > 0.8 * min(first, second)


def test_a_gap_between_groups_of_different_shape_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    group = (rng.random(1600) > 0.85).astype(int)
    wide = rng.standard_normal((1600, 6)) * np.array([1, 4, 4, 4, 4, 4])
    narrow = rng.standard_normal((1600, 6)) * np.array([4, 0.3, 0.3, 0.3, 0.3, 0.3])
    narrow[:, 1:] += 3
    x = np.where(group[:, None] == 1, narrow, wide)
    mixture = Ascent(x[:800]).climb(one_hot(group[:800], 2), 50)
    first, middle, second = gap_counts(mixture, x[:800], x[800:], np.array([0, 1]))[0, 1]
    assert middle < 0.5 * min(first, second)
    # The direction that weighs the shapes by the sizes alone hides half of it.
    monkeypatch.setattr("neucept.mechanisms.gaps.SHARES", ())
    first, middle, second = gap_counts(mixture, x[:800], x[800:], np.array([0, 1]))[0, 1]
    assert middle > 0.6 * min(first, second)


def test_the_order_of_groups_only_swaps_the_ends() -> None:
    assert list(counts_of(5.0)[0, 1]) == list(counts_of(5.0, order=(1, 0))[0, 1][::-1])


def test_unseen_rows_are_the_ones_counted() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 2)) + 8 * (np.arange(300) % 2)[:, None]
    mixture = Ascent(x).climb(one_hot(np.arange(300) % 2, 2), 50)
    filled = np.column_stack([np.linspace(0, 8, 500), np.linspace(0, 8, 500)])
    own = gap_counts(mixture, x, x, np.array([0, 1]))[0, 1]
    bridge = gap_counts(mixture, x, filled, np.array([0, 1]))[0, 1]
    assert own[1] == 0
    assert bridge[1] > 0.8 * min(bridge[0], bridge[2])


def test_too_few_members_mean_no_gap() -> None:
    x = np.vstack([np.zeros((40, 2)), np.full((3, 2), 9.0)]) + 0.01 * np.arange(43)[:, None]
    mixture = Ascent(x).climb(one_hot((np.arange(43) >= 40).astype(int), 2), 20)
    assert list(gap_counts(mixture, x, x, np.array([0, 1]))[0, 1]) == list(NO_GAP)


def pairs(*counts: tuple[int, int, int]) -> list[np.ndarray]:
    """Counts of one pair of groups, split by split."""
    stack = np.zeros((len(counts), 2, 2, 3), dtype=np.int64)
    stack[:, 0, 1] = counts
    return list(stack)


def test_the_p_value_is_twice_the_median_of_binomial_ones() -> None:
    splits = [(40, 12, 30), (40, 20, 30), (40, 15, 33)]
    odds = SHALLOW / (1 + SHALLOW)
    # The poorer neighbour decides: 15 between, 33 beside.
    median = binomtest(15, 15 + 33, odds, alternative="less").pvalue
    found = [np.ones(2, dtype=bool)] * 3
    assert gap_p_value(pairs(*splits), found) == pytest.approx(2 * median)


def test_the_worst_pair_decides() -> None:
    counts = np.zeros((3, 3, 3), dtype=np.int64)
    counts[0, 1] = counts[0, 2] = (100, 1, 100)
    counts[1, 2] = (100, 95, 100)
    assert gap_p_value([counts], [np.ones(3, dtype=bool)]) > 0.5


def test_splits_that_lost_a_group_cannot_judge_it() -> None:
    good, bad = (100, 5, 100), (100, 100, 100)
    seen, lost = np.array([True, True]), np.array([True, False])
    counts = pairs(good, bad, bad, good)
    assert gap_p_value(counts, [seen, lost, lost, seen]) < 1e-6
    assert gap_p_value(counts, [seen] * 4) > 0.05
    assert gap_p_value(counts, [seen, lost, lost, lost]) == 1.0


def test_one_group_needs_no_gap() -> None:
    assert gap_p_value([np.zeros((1, 1, 3), dtype=np.int64)], [np.ones(1, dtype=bool)]) == 0.0


def test_samples_that_belong_together_count_as_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 2)) + 8 * (np.arange(600) % 2)[:, None]
    mixture = Ascent(x).climb(one_hot(np.arange(600) % 2, 2), 50)
    alone = gap_counts(mixture, x, x, np.array([0, 1]))[0, 1]
    # Fifty groups of twelve, half of each in either mechanism.
    groups = gap_counts(mixture, x, x, np.array([0, 1]), np.arange(600) // 12)[0, 1]
    assert groups == pytest.approx(alone / 12)
    single = gap_counts(mixture, x, x, np.array([0, 1]), np.arange(600)[::-1].copy())[0, 1]
    assert single == pytest.approx(alone)


def test_parts_of_a_sample_are_rounded_against_the_gap() -> None:
    parts = [np.array(pair, dtype=float) for pair in pairs((10, 1, 10))]
    parts[0][0, 1] = (10.9, 0.1, 10 - 1e-12)
    seen = [np.ones(2, dtype=bool)]
    assert gap_p_value(parts, seen) == gap_p_value(pairs((10, 1, 10)), seen)
