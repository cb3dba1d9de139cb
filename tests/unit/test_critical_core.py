"""The core on neurons and targets whose needed neurons are known."""

from __future__ import annotations

import numpy as np
import pytest

from neucept.critical.core import CoreCurve, find_core, forward_order
from neucept.errors import DataError, SettingsError

WEIGHTS = np.array([2.0, 2.0, 1.6, 1.6, 1.2, 1.2, 0.3, 0.3])
PLANTED = np.array([11, 3, 7, 0, 14, 9, 5, 2])
EVERY = np.arange(16)


def layer(samples: int = 900, seed: int = 0) -> np.ndarray:
    """Sixteen neurons, neighbours correlated, on scales of their own."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, 16))
    for j in range(1, 16):
        x[:, j] = 0.4 * x[:, j - 1] + np.sqrt(1 - 0.4**2) * x[:, j]
    return x


def target(x: np.ndarray, kind: str) -> np.ndarray:
    z = x[:, PLANTED]
    if kind == "linear":
        return z @ (WEIGHTS * [1, -1, 1, -1, 1, -1, 1, -1])
    if kind == "relu":
        return np.maximum(z @ WEIGHTS, 0)
    if kind == "absolute":
        return np.abs(z) @ WEIGHTS
    return (z[:, ::2] * z[:, 1::2]) @ WEIGHTS[::2]


@pytest.fixture(scope="module")
def linear() -> CoreCurve:
    x = layer()
    return find_core(x, target(x, "linear")[:, None], EVERY)


@pytest.mark.parametrize("kind", ["linear", "absolute", "products"])
def test_the_core_is_what_the_target_needs_and_not_its_trifles(
    kind: str, linear: CoreCurve
) -> None:
    x = layer()
    y = target(x, kind)[:, None]
    core = (linear if kind == "linear" else find_core(x, y, EVERY)).core()
    # The two of least weight carry under a tenth; the largest four cannot be missed.
    assert set(PLANTED[:4]) <= set(core)
    assert set(core) <= set(PLANTED)
    assert len(core) <= 7


def test_steps_are_judged_by_trees_where_targets_are_few() -> None:
    """Networks blur steps: they know less of the layer, and would call a smaller core enough."""
    x = layer(3000)
    steps = (x[:, PLANTED] > 0) @ WEIGHTS
    alone = find_core(x, steps[:, None], EVERY)
    # The same target four times is too many for trees.
    blurred = find_core(x, np.repeat(steps[:, None], 4, axis=1), EVERY)
    assert alone.known > 0.98 and blurred.known < 0.9
    assert set(PLANTED[:6]) >= set(alone.core()) >= set(PLANTED[:4])
    kept = alone.kept[len(alone.core())]
    assert 0.9 <= kept <= 1


def test_the_curve_agrees_with_a_regression_on_other_rows(linear: CoreCurve) -> None:
    fit, test = layer(4000, seed=1), layer(4000, seed=2)
    for size in linear.measured[1:]:
        columns = linear.order[:size]
        weights = np.linalg.lstsq(fit[:, columns], target(fit, "linear"), rcond=None)[0]
        truth = target(test, "linear")
        share = 1 - (truth - test[:, columns] @ weights).var() / truth.var()
        # A third of 900 rows judge: four standard errors of a share, and what networks miss.
        error = 4 * 2 * np.sqrt(share / 300) * (1 - share) + 0.02
        assert linear.kept[size] == pytest.approx(share, abs=error)
    assert linear.known > 0.97


def test_the_core_is_the_shortest_that_keeps_the_share(linear: CoreCurve) -> None:
    size = len(linear.core(0.9))
    assert {size - 1, size} <= set(linear.measured)
    assert linear.kept[size - 1] < 0.9 <= linear.kept[size]
    assert list(linear.core(0.9)) == list(linear.order[:size])
    assert len(linear.core(0.5)) < size < len(linear.core(0.999))


def test_a_curve_starts_at_nothing_and_never_falls(linear: CoreCurve) -> None:
    assert linear.kept.shape == (17,)
    assert linear.kept[0] == 0 and linear.kept.max() == pytest.approx(1)
    assert np.all(np.diff(linear.kept) >= 0)
    assert sorted(linear.order) == list(EVERY)


def test_candidates_alone_are_in_a_core_and_the_whole_layer_is_the_measure() -> None:
    x = layer()
    curve = find_core(x, target(x, "linear")[:, None], PLANTED[4:])
    assert set(curve.order) == set(PLANTED[4:])
    assert curve.known > 0.97 and curve.kept[-1] < 0.6
    assert set(curve.core(0.9)) == set(PLANTED[4:])


def test_targets_count_alike_whatever_their_scale() -> None:
    x = layer()
    y = np.stack([1000 * x[:, 1], x[:, 8], 0.001 * x[:, 15], np.full(len(x), 3.0)], axis=1)
    curve = find_core(x, y, np.array([1, 4, 8, 15]))
    assert set(curve.order[:3]) == {1, 8, 15}
    assert curve.kept[2] == pytest.approx(2 / 3, abs=0.12)
    assert set(curve.core(0.9)) == {1, 8, 15}


def test_one_of_two_substitutes_is_enough() -> None:
    x = layer()
    x[:, 12] = x[:, 4] + 0.05 * np.random.default_rng(3).standard_normal(len(x))
    core = find_core(x, (x[:, 4] + x[:, 8])[:, None], np.array([4, 8, 12])).core()
    assert len(core) == 2 and 8 in core


def test_scale_and_dead_neurons_change_nothing(linear: CoreCurve) -> None:
    x = layer()
    dead = np.insert(x * np.geomspace(1e-3, 1e3, 16) + 5, 16, 7.0, axis=1)
    y = 9 - 4 * target(x, "linear")[:, None]
    scaled = find_core(dead, y, np.append(PLANTED[:4], 16))
    assert [j for j in linear.order if j in PLANTED[:4]] == list(scaled.order[:4])
    assert scaled.known == pytest.approx(linear.known, abs=0.02)
    assert scaled.order[-1] == 16


def test_equal_seeds_give_equal_curves_and_the_inputs_stay() -> None:
    x = layer(200)
    y = target(x, "relu")[:, None]
    before = x.copy(), y.copy()
    one, two, other = (find_core(x, y, PLANTED[:2], seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.order, two.order) and np.array_equal(one.kept, two.kept)
    assert one.known != other.known
    assert np.array_equal(x, before[0]) and np.array_equal(y, before[1])


def test_where_nothing_is_known_no_core_is_claimed() -> None:
    x = layer(300)
    curve = find_core(x, np.random.default_rng(5).standard_normal((300, 1)), PLANTED[:3])
    assert curve.known == 0.0 and len(curve.core()) == 3
    empty = find_core(x, target(x, "linear")[:, None], np.array([], dtype=np.int64))
    assert empty.core().size == 0 and list(empty.kept) == [0.0]


def test_the_search_is_the_best_regression_step_by_step() -> None:
    x = layer(3000) @ np.random.default_rng(8).standard_normal((16, 16))
    covariance = np.corrcoef(x.T)
    slope = np.random.default_rng(6).standard_normal(16)
    order = forward_order(np.outer(slope, slope), covariance, EVERY)
    chosen: list[int] = []
    for _ in range(10):
        gains = {}
        for j in set(EVERY) - set(chosen):
            columns = [*chosen, j]
            noisy = covariance[np.ix_(columns, columns)] + 0.3 * np.eye(len(columns))
            reach = covariance[columns] @ slope
            gains[j] = reach @ np.linalg.solve(noisy, reach)
        chosen.append(max(gains, key=gains.__getitem__))
    assert list(order[:10]) == chosen


def test_unusable_input_is_refused() -> None:
    x = layer(100)
    y = x[:, :1]
    with pytest.raises(DataError, match="y has 99 samples"):
        find_core(x, y[:99], EVERY)
    with pytest.raises(DataError, match="at least 40"):
        find_core(x[:30], y[:30], EVERY)
    with pytest.raises(DataError, match="No target varies"):
        find_core(x, np.ones((100, 2)), EVERY)
    with pytest.raises(DataError, match="neuron 16"):
        find_core(x, y, np.array([2, 16]))
    with pytest.raises(DataError, match="not finite"):
        find_core(np.where(x > 3, np.nan, x) * np.inf, y, EVERY)
    for keep in (0, 1.5, "0.9", True):
        with pytest.raises(SettingsError, match="keep is"):
            find_core(x, y, EVERY, keep=keep)  # type: ignore[arg-type]


def test_a_rare_target_does_not_hide_what_the_others_tell() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((600, 8))
    rare = np.zeros(600)
    rare[random.permutation(600)[:6]] = 1.0
    found = find_core(x, np.c_[x[:, :3].sum(1), rare], np.arange(8))
    assert found.known > 0.4
    assert set(found.core(0.9)) == {0, 1, 2}
