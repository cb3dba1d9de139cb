from __future__ import annotations

import numpy as np
import pytest
from designs import gaussian

from neucept.errors import DataError, SettingsError
from neucept.knockoffs import Sampler, fit_sampler


@pytest.fixture(scope="module")
def layer() -> np.ndarray:
    """Six neurons: 1 is constant, 4 is a copy of 0 with noise, 5 is the sum of 2 and 3."""
    x = gaussian("ar 0.5", 2000, 6, np.random.default_rng(0))
    x[:, 1] = 3.0
    x[:, 4] = 2 * x[:, 0] + 0.01 * x[:, 4]
    x[:, 5] = x[:, 2] + x[:, 3]
    return x


@pytest.fixture(scope="module")
def sampler(layer: np.ndarray) -> Sampler:
    return fit_sampler(layer)


def test_same_seed_same_draw_and_another_seed_another(sampler: Sampler, layer: np.ndarray) -> None:
    one = sampler.draw(layer, knockoffs=3, seed=1)
    assert one.shape == (2000, 6, 3)
    np.testing.assert_array_equal(one, sampler.draw(layer, knockoffs=3, seed=1))
    assert not np.array_equal(one, sampler.draw(layer, knockoffs=3, seed=2))
    assert sampler.digest == fit_sampler(layer).digest != fit_sampler(layer[:1500]).digest


def test_untested_neurons_follow_the_tested(sampler: Sampler, layer: np.ndarray) -> None:
    drawn = sampler.draw(layer, knockoffs=2, seed=1)
    np.testing.assert_array_equal(drawn[:, 1], np.full((2000, 2), 3.0))
    for k in range(2):
        assert np.corrcoef(drawn[:, 0, k], drawn[:, 4, k])[0, 1] > 0.99
        np.testing.assert_allclose(drawn[:, 5, k], drawn[:, 2, k] + drawn[:, 3, k], atol=1e-6)
    assert np.corrcoef(drawn[:, 4, 0], layer[:, 4])[0, 1] < 0.9


def test_resampling_follows_the_others(sampler: Sampler, layer: np.ndarray) -> None:
    drawn = sampler.resample(layer, [4, 1, 2], n=3, seed=1)
    assert drawn.shape == (2000, 3, 3)
    np.testing.assert_array_equal(drawn[:, 1], np.full((2000, 3), 3.0))
    assert np.corrcoef(drawn[:, 0, 0], layer[:, 4])[0, 1] > 0.98
    free = sampler.resample(layer, [0, 4], n=1, seed=1)[:, 0, 0]
    assert np.corrcoef(free, layer[:, 0])[0, 1] < 0.5


def test_new_samples_of_the_same_layer(sampler: Sampler, layer: np.ndarray) -> None:
    assert sampler.draw(layer[:3].astype(np.float32), knockoffs=1).shape == (3, 6, 1)
    assert sampler.resample(layer[:3], 2).shape == (3, 1, 8)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda s, x: s.draw(x[:, :5]), "x has 5 neurons and the sampler was fitted on 6"),
        (lambda s, x: s.draw(np.where(x > 4, np.nan, x)), "not finite"),
        (lambda s, x: s.resample(x[:, :5], [0]), "x has 5 neurons"),
    ],
)
def test_foreign_activations_are_refused(sampler: Sampler, layer, call, text: str) -> None:
    with pytest.raises(DataError, match=text):
        call(sampler, layer)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda s, x: s.draw(x, knockoffs=0), "knockoffs is 0"),
        (lambda s, x: s.draw(x, seed=-1), "seed is -1"),
        (lambda s, x: s.resample(x, [6]), r"neurons is \[6\]. Pass different indices from 0 to 5"),
        (lambda s, x: s.resample(x, [1, 1]), r"neurons is \[1, 1\]"),
        (lambda s, x: s.resample(x, [0.5]), r"neurons is \[0.5\]"),
        (lambda s, x: s.resample(x, [1], n=0), "n is 0"),
        (lambda s, x: fit_sampler(x, kind="mixtur"), "no density 'mixtur'"),
        (lambda s, x: fit_sampler(x, seed=-3), "seed is -3"),
    ],
)
def test_impossible_settings_are_refused(sampler: Sampler, layer, call, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        call(sampler, layer)
