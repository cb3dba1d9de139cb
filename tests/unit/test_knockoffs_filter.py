from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neucept.errors import SettingsError
from neucept.knockoffs.filter import (
    Contest,
    contest,
    e_bh,
    e_values,
    fewest,
    floored,
    internal_level,
    knockoffs_for,
    threshold,
)

LEVELS = st.sampled_from([0.05, 0.1, 0.2, 0.5])


def importances(columns: int = 5) -> st.SearchStrategy[np.ndarray]:
    """Few different values, so that ties and zeros are common."""
    shape = st.tuples(st.integers(1, 40), st.integers(2, columns))
    return shape.flatmap(lambda s: arrays(float, s, elements=st.sampled_from([0, 1, 2, 3, 5, 8.5])))


def brute_threshold(outcome: Contest, level: float) -> float:
    """The definition, one candidate after another."""
    passing = [np.inf]
    for t in outcome.margin[outcome.margin > 0]:
        above = outcome.margin >= t
        lost = (above & ~outcome.original_wins).sum()
        won = (above & outcome.original_wins).sum()
        if (1 + lost) / outcome.copies / max(1, won) <= level * (1 + 1e-12):
            passing.append(t)
    return float(min(passing))


@given(importances(), LEVELS)
def test_threshold_is_the_smallest_that_qualifies(values: np.ndarray, level: float) -> None:
    outcome = contest(values)
    assert threshold(outcome, level) == brute_threshold(outcome, level)


@given(importances(2))
def test_one_knockoff_is_the_signed_difference(values: np.ndarray) -> None:
    outcome = contest(values)
    difference = values[:, 0] - values[:, 1]
    np.testing.assert_allclose(outcome.margin, np.abs(difference))
    np.testing.assert_array_equal(outcome.original_wins, difference > 0)
    np.testing.assert_allclose(outcome.signed, difference)


@given(importances(), LEVELS)
def test_e_bh_on_one_draw_is_the_filter(values: np.ndarray, level: float) -> None:
    outcome = contest(values)
    passed = (outcome.margin >= threshold(outcome, level)) & outcome.original_wins
    np.testing.assert_array_equal(e_bh(e_values(outcome, level), level), passed)


@given(importances(), LEVELS, st.randoms(use_true_random=False))
def test_knockoffs_are_interchangeable(values: np.ndarray, level: float, random) -> None:
    order = [0, *random.sample(range(1, values.shape[1]), values.shape[1] - 1)]
    one, other = contest(values), contest(values[:, order])
    np.testing.assert_array_equal(one.margin, other.margin)
    np.testing.assert_array_equal(one.original_wins, other.original_wins)


@given(arrays(float, st.integers(1, 30), elements=st.floats(0, 200)), LEVELS)
def test_e_bh_selects_the_largest_self_consistent_set(evidence: np.ndarray, fdr: float) -> None:
    selected = e_bh(evidence, fdr)
    size = selected.sum()
    needed = len(evidence) / fdr
    if size:
        assert evidence[selected].min() * size >= needed * (1 - 1e-8)
    for k in range(size + 1, len(evidence) + 1):
        assert np.sort(evidence)[-k] * k < needed


def test_e_bh_takes_any_shape() -> None:
    evidence = np.zeros((4, 3))
    evidence[1, 2] = 200
    selected = e_bh(evidence, 0.1)
    assert selected.shape == (4, 3)
    assert selected.sum() == selected[1, 2] == 1


def test_several_knockoffs_by_hand() -> None:
    values = np.array([[9, 1, 0], [8, 2, 1], [1, 7, 0], [6, 0, 0], [0, 0, 0]], dtype=float)
    outcome = contest(values)
    np.testing.assert_array_equal(outcome.original_wins, [True, True, False, True, False])
    np.testing.assert_allclose(outcome.margin, [8.5, 6.5, 6.5, 6, 0])
    assert threshold(outcome, 0.34) == 6
    assert threshold(outcome, 0.33) == np.inf
    np.testing.assert_allclose(e_values(outcome, 0.34), [5, 5, 0, 5, 0])
    assert not e_values(outcome, 0.33).any()
    assert threshold(contest(np.repeat(values[:1], 3, axis=0)), 0.17) == 8.5


def test_ties_count_against_the_original() -> None:
    outcome = contest(np.array([[3.0, 3.0, 0.0], [2.0, 2.0, 2.0]]))
    assert not outcome.original_wins.any()
    np.testing.assert_allclose(outcome.margin, [1.5, 0.0])


@given(importances(), st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.randoms())
def test_a_floor_looks_at_margins_alone(values: np.ndarray, floor: float, random) -> None:
    """A neuron that trades places with a knockoff is left out, or not, all the same."""
    outcome = floored(contest(values), floor)
    traded = values.copy()
    for row in traded:
        other = random.randrange(len(row))
        row[[0, other]] = row[[other, 0]]
    np.testing.assert_array_equal(outcome.margin, floored(contest(traded), floor).margin)
    assert (outcome.margin[outcome.margin > 0] >= floor * outcome.margin.max()).all()
    assert not outcome.original_wins[outcome.margin == 0].any()


def test_a_floor_leaves_out_what_matters_little() -> None:
    outcome = Contest(np.array([True, True, False, True]), np.array([10.0, 1.0, 2.0, 0.5]), 4)
    cut = floored(outcome, 0.1)
    np.testing.assert_array_equal(cut.margin, [10, 1, 2, 0])
    np.testing.assert_array_equal(cut.original_wins, [True, True, False, False])
    same = floored(outcome, 0.0)
    np.testing.assert_array_equal(same.margin, outcome.margin)
    np.testing.assert_array_equal(same.original_wins, outcome.original_wins)


def test_null_evidence_sums_to_at_most_the_number_of_neurons() -> None:
    """Mean over repeats of the sum of e-values when every neuron is null, with its error."""
    random = np.random.default_rng(0)
    for copies in (1, 4):
        sums = [
            e_values(contest(random.exponential(size=(30, copies + 1))), 0.4).sum()
            for _ in range(1000)
        ]
        assert np.mean(sums) < 30 + 3 * np.std(sums) / np.sqrt(1000)


@pytest.mark.parametrize(
    ("neurons", "fdr", "draws", "expected"),
    [
        (64, 0.1, 8, 5),
        (10, 0.1, 8, 20),
        (512, 0.1, 8, 1),
        (16, 0.1, 8, 20),
        (64, 0.1, 1, 3),
        (64, 0.02, 8, 20),
    ],
)
def test_width_decides_how_many_knockoffs(
    neurons: int, fdr: float, draws: int, expected: int
) -> None:
    copies = knockoffs_for(neurons, fdr, draws)
    assert copies == expected
    wanted = max(1, neurons / 16)
    assert fewest(copies, fdr, draws) <= np.ceil(wanted) or copies == 20
    assert copies == 1 or 1 / ((copies - 1) * internal_level(fdr, draws)) > wanted


def test_fewest_is_reached() -> None:
    for copies, fdr, draws in ((1, 0.1, 1), (5, 0.1, 8), (3, 0.2, 1), (20, 0.1, 8)):
        least = fewest(copies, fdr, draws)
        level = internal_level(fdr, draws)
        clear = np.r_[1.0, np.zeros(copies)]
        for size in (least - 1, least):
            values = np.zeros((50, copies + 1))
            values[:size] = clear
            assert e_bh(e_values(contest(values), level), fdr).sum() == (
                size if size == least else 0
            )


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 2.0])
def test_levels_outside_their_range_are_refused(bad: float) -> None:
    outcome = contest(np.ones((2, 2)))
    with pytest.raises(SettingsError, match="level is"):
        threshold(outcome, bad)
    with pytest.raises(SettingsError, match="fdr is"):
        e_bh(np.ones(2), bad)
