"""The network statistic: what it sees, and that it cannot tell originals from knockoffs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from designs import gaussian

from neucept.knockoffs import whitening
from neucept.knockoffs.gaussian import fit_gaussian
from neucept.knockoffs.network import Network, _columns, _Inputs
from neucept.knockoffs.whitening import Whitening

ROWS, NEURONS, COPIES = 3000, 12, 3
PLANTED = [1, 4, 7, 10]


@pytest.fixture(scope="module")
def layer() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = gaussian("ar 0.5", ROWS, NEURONS, random)
    return x, fit_gaussian(x).knockoffs(x, COPIES, random)


def targets(x: np.ndarray) -> np.ndarray:
    z = x[:, PLANTED] / x[:, PLANTED].std(0)
    noise = 0.3 * np.random.default_rng(1).standard_normal((len(x), 4))
    kinds = [
        z.sum(1),
        np.abs(z).sum(1),
        z[:, 0] * z[:, 1] + z[:, 2] * z[:, 3],
        (z > 0).sum(1),
    ]
    return np.column_stack(kinds) + noise


def test_it_sees_even_and_product_targets(layer) -> None:
    x, drawn = layer
    found = Network().separate(x, drawn, targets(x), np.random.default_rng(0))
    assert found.shape == (NEURONS, COPIES + 1, 4)
    assert found.min() >= 0
    null = np.delete(np.arange(NEURONS), PLANTED)
    for t in range(4):
        assert (found[PLANTED, 0, t] > found[PLANTED, 1:, t].max(1)).all()
        assert found[PLANTED, 0, t].min() > found[null, :, t].max()


def test_it_tells_neurons_apart_that_nearly_move_as_one() -> None:
    """Between them gradient steps are slow: it takes the whitened coordinates."""
    random = np.random.default_rng(0)
    x = random.standard_normal((ROWS, 1)) + 0.1 * random.standard_normal((ROWS, NEURONS))
    drawn = fit_gaussian(x).knockoffs(x, COPIES, random)
    y = x[:, [1, 4]].sum(1, keepdims=True) - x[:, [7, 10]].sum(1, keepdims=True)
    y += 0.3 * y.std() * random.standard_normal(y.shape)
    found = Network(steps=300).joint(x, drawn, y, np.random.default_rng(0))
    # Without them 11 times.
    assert found[PLANTED, 0].min() > 30 * found[PLANTED, 1:].max()


def test_whitened_columns_are_nearly_uncorrelated_and_trade_with_their_columns(layer) -> None:
    moments = np.cov(_Inputs.of(*layer, ridge=1e-6).whitened.cpu().numpy(), rowvar=False)
    # Each sample moment has an error of about 1 / sqrt(rows).
    off = moments[~np.eye(len(moments), dtype=bool)]
    assert np.sqrt(np.square(off).mean()) < 2 / np.sqrt(ROWS)

    x, drawn = layer
    swapped, other = x.copy(), drawn.copy()
    swapped[:, 4], other[:, 4, 1] = drawn[:, 4, 1], x[:, 4]
    traded = _Inputs.of(swapped, other, 0.1).whitening
    plain = _Inputs.of(x, drawn, 0.1).whitening
    torch.testing.assert_close(traded.between.left, plain.between.left, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(traded.within, plain.within, rtol=1e-4, atol=1e-5)


def test_of_a_wide_layer_the_directions_that_vary_most_are_stretched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    common = random.standard_normal((ROWS, 3)) @ random.standard_normal((3, 40))
    x = common + 0.1 * random.standard_normal((ROWS, 40))
    columns = _columns(x, fit_gaussian(x).knockoffs(x, 1, random))
    exact = Whitening.of(columns, 0.1)
    monkeypatch.setattr(whitening, "WHOLE", 40)
    monkeypatch.setattr(whitening, "DIRECTIONS", 16)
    short = Whitening.of(columns, 0.1)
    assert short.between.right is not None
    flat = columns.permute(1, 2, 3, 0).reshape(160, -1)
    # A line of three directions and little beside: both maps make one size of all that is left.
    spreads = [torch.linalg.svdvals(one(flat)) / ROWS**0.5 for one in (exact, short)]
    torch.testing.assert_close(spreads[1][:6], spreads[0][:6], rtol=0.1, atol=0)
    assert torch.linalg.svdvals(flat)[0] / ROWS**0.5 > 5 * spreads[1][0]


def test_one_target_is_the_same_joint_and_separate(layer) -> None:
    x, drawn = layer
    quick, y = Network(steps=30), targets(x)[:, :1]
    joint, separate = quick.both(x, drawn, y, np.random.default_rng(0))
    np.testing.assert_array_equal(joint, separate[:, :, 0])
    np.testing.assert_array_equal(joint, quick.joint(x, drawn, y, np.random.default_rng(0)))
    again = quick.separate(x, drawn, y, np.random.default_rng(0))
    np.testing.assert_allclose(again[:, :, 0], joint, rtol=1e-5)


def test_a_neuron_that_serves_one_of_many_targets_is_seen(layer) -> None:
    x, drawn = layer
    y = np.random.default_rng(2).standard_normal((ROWS, 8))
    y[:, :7] += x[:, [1]]
    y[:, 7] += np.abs(x[:, 9])
    joint = Network().joint(x, drawn, y, np.random.default_rng(0))
    assert joint[9, 0] > joint[9, 1:].max()
    assert joint[9, 0] > np.delete(joint, [1, 9], axis=0).max()


def test_trading_a_neuron_with_its_knockoff_trades_their_importance(layer) -> None:
    x, drawn = layer
    quick, y = Network(steps=40), targets(x)[:, :2]
    plain = quick.separate(x, drawn, y, np.random.default_rng(3))
    swapped, other = x.copy(), drawn.copy()
    swapped[:, 4], other[:, 4, 1] = drawn[:, 4, 1], x[:, 4]
    traded = quick.separate(swapped, other, y, np.random.default_rng(3))
    wanted = plain.copy()
    wanted[4, [0, 2]] = plain[4, [2, 0]]
    np.testing.assert_allclose(traded, wanted, rtol=0.02, atol=1e-3)


def test_originals_of_null_neurons_win_no_more_than_their_share() -> None:
    wins, contests = 0, 0
    for repeat in range(12):
        random = np.random.default_rng(repeat)
        x = gaussian("ar 0.5", 400, 10, random)
        drawn = fit_gaussian(x).knockoffs(x, 1, random)
        y = (np.abs(x[:, :1]) + random.standard_normal((400, 1))) * np.ones((1, 1))
        found = Network(steps=80).separate(x, drawn, y, random)[1:, :, 0]
        wins += int((found[:, 0] > found[:, 1]).sum())
        contests += len(found)
    error = np.sqrt(0.25 / contests)
    assert abs(wins / contests - 0.5) < 3 * error


def test_few_rows_and_constant_draws_are_borne() -> None:
    random = np.random.default_rng(0)
    x, drawn = random.standard_normal((60, 3)), random.standard_normal((60, 3, 2))
    drawn[:, 2] = x[:, [2]] = 0.0
    found = Network(steps=10).joint(x, drawn, x[:, :1], random)
    assert np.isfinite(found).all()
