"""From activations to a reduced space."""

from __future__ import annotations

import numpy as np
import pytest

from neucept.activations import Activations
from neucept.errors import DataError, ModelError
from neucept.mechanisms.features import (
    DIMENSIONS,
    curve_of,
    dimensions_for,
    fit_space,
    read_neurons,
    straighten,
)

RNG = np.random.default_rng(0)
PLAIN = RNG.standard_normal((200, 6))


def recorded(**layers: np.ndarray) -> Activations:
    some = next(iter(layers.values()))
    return Activations.from_arrays(layers, outputs=np.zeros((len(some), 2)))


def space(values: np.ndarray, neurons: list[int] | None = None):
    used = np.arange(values.shape[1]) if neurons is None else np.array(neurons)
    return fit_space(recorded(a=values), {"a": used}, np.arange(len(values)))


def test_dimensions_are_uncorrelated_and_keep_all_variance_of_few_neurons() -> None:
    x = space(PLAIN).x
    assert x.shape == (200, 6)
    covariance = np.cov(x.T, bias=True)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-6)
    assert np.trace(covariance) == pytest.approx(6.0, rel=1e-5)
    assert (np.diff(np.diag(covariance)) <= 1e-9).all()


def test_the_unit_of_a_neuron_does_not_matter() -> None:
    scaled = PLAIN * np.array([1, 100, 0.01, 5, 1, 1]) + 7.0
    assert np.allclose(space(PLAIN).x, space(scaled).x, atol=1e-3)


def test_constant_and_repeated_neurons_add_no_dimension() -> None:
    padded = np.column_stack([PLAIN[:, :3], np.full(200, 2.5), PLAIN[:, 0]])
    assert space(padded).x.shape[1] == 3
    assert space(np.full((200, 4), 1.0)).x.shape[1] == 0


def test_there_are_at_most_twenty_dimensions_and_one_for_ten_samples() -> None:
    assert space(RNG.standard_normal((400, 50))).x.shape[1] == DIMENSIONS
    assert [dimensions_for(n) for n in (30, 95, 1000)] == [3, 9, DIMENSIONS]


def test_only_the_named_neurons_are_used() -> None:
    assert np.allclose(space(PLAIN, [1, 4]).values, PLAIN[:, [1, 4]], atol=1e-6)


def test_the_projection_treats_other_samples_alike() -> None:
    fitted = space(PLAIN)
    assert np.array_equal(fitted.projection.apply(fitted.values[3:9]), fitted.x[3:9])


def test_saturated_layers_are_straightened() -> None:
    before = 2 * RNG.standard_normal((300, 4))
    assert curve_of(np.tanh(before)) == "artanh"
    assert curve_of(1 / (1 + np.exp(-before))) == "logit"
    for plain in (before, np.maximum(before, 0), 0.3 * np.tanh(before), np.zeros((3, 2))):
        assert curve_of(plain) == "none"
    mild = np.clip(before, -5, 5)
    assert np.allclose(straighten(np.tanh(mild), "artanh"), mild, atol=1e-6)
    logistic = 1 / (1 + np.exp(-before))
    assert np.allclose(straighten(logistic, "logit"), before, atol=1e-6)
    bound = np.array([[-1.0, 1.0, 2.0]])
    assert np.isfinite(straighten(bound, "artanh")).all()
    assert np.isfinite(straighten(bound, "logit")).all()
    assert np.array_equal(straighten(before, "none"), before)


def test_layers_lie_side_by_side_each_with_its_own_curve() -> None:
    acts = recorded(bent=np.tanh(2 * PLAIN), plain=PLAIN)
    fitted = fit_space(acts, {"bent": np.array([0, 1]), "plain": np.array([2])}, np.arange(200))
    assert fitted.projection.curves == ("artanh", "none")
    assert fitted.values.shape == (200, 3)
    assert fitted.name == "bent + plain"


def test_what_cannot_be_read_is_refused() -> None:
    acts = recorded(fc1=PLAIN)
    with pytest.raises(ModelError, match=r"Layer 'fc2' .* Did you mean 'fc1'"):
        read_neurons(acts, {"fc2": np.array([0])})
    with pytest.raises(ModelError, match="has 6 neurons, neuron 6 is asked for"):
        read_neurons(acts, {"fc1": np.array([6])})


def test_a_broken_activation_names_its_layer_and_sample() -> None:
    class Broken:
        layers = ("fc1",)

        def matrix(self, layer: str, rows: np.ndarray | None = None) -> np.ndarray:
            values = PLAIN.copy()
            values[5, 2] = np.nan
            return values if rows is None else values[rows]

    with pytest.raises(DataError, match="Layer 'fc1' has a NaN or infinite activation at sample 5"):
        read_neurons.__wrapped__(Broken(), {"fc1": np.array([2])}, np.array([1, 5]))
