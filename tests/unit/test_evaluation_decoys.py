"""Decoys are nulls by construction, and leave what is real as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from neucept.activations import Activations, capture
from neucept.errors import DataError, ModelError, SettingsError
from neucept.evaluation.decoys import Decoys, decoy_activations

SAMPLES = 4000


@pytest.fixture(scope="module")
def acts() -> Activations:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(1, 9, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            *(nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 3)),
        )
        images = torch.randn(SAMPLES, 1, 5, 5)
    labels = torch.arange(SAMPLES) % 3
    data = TensorDataset(images, labels)
    data.ids = [f"image {i}" for i in range(SAMPLES)]
    return capture(model, data, ["0", "5"])


@pytest.fixture(scope="module")
def widened(acts: Activations) -> Decoys:
    return decoy_activations(acts, seed=3)


def values(widened: Decoys, layer: str) -> np.ndarray:
    return widened.acts.matrix(layer)[:, widened.neurons(layer)].astype(np.float64)


def standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / x.std(0)


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return standard(x).T @ standard(y) / len(x)


def test_what_is_real_is_bit_equal(acts: Activations, widened: Decoys) -> None:
    assert widened.acts.layers == acts.layers
    for layer in acts.layers:
        real = acts.matrix(layer)
        assert np.array_equal(widened.acts.matrix(layer)[:, : real.shape[1]], real)
        assert np.array_equal(widened.neurons(layer), np.arange(real.shape[1]) + real.shape[1])
    assert np.array_equal(widened.acts.outputs, acts.outputs)
    assert np.array_equal(widened.acts.predictions, acts.predictions)
    assert np.array_equal(widened.acts.class_score(1), acts.class_score(1))
    assert np.array_equal(widened.acts.labels, acts.labels)
    assert widened.acts.ids == acts.ids


@pytest.mark.parametrize(("samples", "share"), [(SAMPLES, 0.3), (40, 0.3), (SAMPLES, 0.6)])
def test_the_noise_is_the_share_of_a_decoy_that_was_asked_for(
    acts: Activations, samples: int, share: float
) -> None:
    few = Activations.from_arrays(
        {"5": acts.matrix("5", slice(0, samples))}, acts.outputs[:samples]
    )
    found = decoy_activations(few, noise=share, decoys=40)
    shares = found.noise["5"].std(0) / values(found, "5").std(0)
    assert shares == pytest.approx(np.full(40, share), rel=1e-5)


def test_without_its_noise_a_decoy_is_a_function_of_its_sources_alone(acts: Activations) -> None:
    rows = 500
    x = np.tile(acts.matrix("5", slice(0, rows)), (2, 1))
    twice = Activations.from_arrays({"5": x}, np.tile(acts.outputs[:rows], (2, 1)))
    found = decoy_activations(twice, decoys=18)
    clean = values(found, "5") - found.noise["5"]
    assert np.abs(clean[:rows] - clean[rows:]).max() < 1e-6
    assert np.abs(found.noise["5"][:rows] - found.noise["5"][rows:]).std() > 0.01
    table = zip(found.table["kind"], found.table["sources"], strict=True)
    for place, (kind, sources) in enumerate(table):
        assert max(sources) < x.shape[1]
        assert len(sources) == {"copy": 1, "product": 2}.get(kind, 3)
        if kind == "copy":
            alike = correlations(clean[:, [place]], x[:, list(sources)])
            assert np.abs(alike) == pytest.approx(1.0, abs=1e-6)


def test_the_noise_tells_nothing_of_anything_else(acts: Activations, widened: Decoys) -> None:
    noise = np.hstack([widened.noise[layer] for layer in acts.layers])
    count = noise.shape[1]
    assert np.abs(correlations(noise, noise) - np.eye(count)).max() < 4.5 / np.sqrt(SAMPLES)
    real = np.hstack([acts.outputs, *(acts.matrix(layer) for layer in acts.layers)])
    for seen in (real, np.abs(standard(real)), real**2):
        for hidden in (noise, noise**2):
            assert np.abs(correlations(hidden, seen)).max() < 4.5 / np.sqrt(SAMPLES)


def test_decoys_follow_the_outputs_only_through_the_real_neurons(
    acts: Activations, widened: Decoys
) -> None:
    decoys, outputs = values(widened, "5"), acts.outputs.astype(np.float64)
    assert (np.abs(correlations(decoys, outputs)).max(1) > 0.3).sum() >= 4
    clean = decoys - widened.noise["5"]
    left = outputs - fitted(np.hstack([acts.matrix("5"), clean]), outputs[:, :1])
    assert np.abs(correlations(decoys - fitted(clean, decoys), left)).max() < 4 / np.sqrt(SAMPLES)


def fitted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    design = np.hstack([x, np.ones((len(x), 1))])
    return design @ np.linalg.lstsq(design, y, rcond=None)[0]


def test_a_seed_repeats_and_another_differs(acts: Activations, widened: Decoys) -> None:
    again, other = decoy_activations(acts, seed=3), decoy_activations(acts, seed=4)
    assert again.acts.digest() == widened.acts.digest()
    assert again.table.equals(widened.table)
    for layer in acts.layers:
        alike = correlations(other.noise[layer], widened.noise[layer])
        assert np.abs(alike).max() < 4.5 / np.sqrt(SAMPLES)


def test_a_layer_gets_the_same_decoys_whatever_else_is_widened(
    acts: Activations, widened: Decoys
) -> None:
    alone = decoy_activations(acts, "5", seed=3)
    assert np.array_equal(alone.acts.matrix("5"), widened.acts.matrix("5"))
    assert np.array_equal(alone.acts.matrix("0"), acts.matrix("0"))
    assert alone.neurons("0").size == 0


def test_decoys_look_like_neurons_and_not_like_copies(acts: Activations, widened: Decoys) -> None:
    for layer in acts.layers:
        real, decoys = acts.matrix(layer), values(widened, layer)
        assert np.abs(correlations(decoys, real)).max() < 0.98
        assert np.isclose(decoys.std(0)[:, None], real.std(0), rtol=1e-3).any(1).all()
        assert np.isclose(decoys.mean(0)[:, None], real.mean(0), atol=1e-3).any(1).all()


def test_there_are_as_many_as_asked_of_all_kinds(acts: Activations) -> None:
    found = decoy_activations(acts, ["5"], decoys=30)
    kinds = found.table["kind"].value_counts()
    assert kinds["copy"] == kinds["sum"] == kinds.drop(["copy", "sum"]).sum() == 10
    assert len(kinds) == 8
    assert found.acts.n_neurons("5") == acts.n_neurons("5") + 30


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": "6"}, ModelError, "Layer '6' was not captured. Known: 0, 5."),
        ({"layers": []}, SettingsError, "layers is []. Pass a name"),
        ({"decoys": 0}, SettingsError, "decoys is 0. Pass a whole number"),
        ({"noise": 0.2}, SettingsError, "noise is 0.2. Pass a share from 0.3"),
        ({"noise": 1.0}, SettingsError, "noise is 1.0. Pass a share from 0.3"),
        ({"noise": np.nan}, SettingsError, "noise is nan. Pass a share from 0.3"),
        ({"seed": -1}, SettingsError, "seed is -1. Pass a whole number"),
    ],
)
def test_bad_input_gives_one_line(
    acts: Activations, arguments: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        decoy_activations(acts, **arguments)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_layer_in_which_nothing_varies_gives_one_line() -> None:
    still = Activations.from_arrays({"fc": np.ones((60, 5))}, np.eye(3)[np.arange(60) % 3])
    with pytest.raises(DataError, match="No decoy of kind 'copy' can be made for layer 'fc'"):
        decoy_activations(still)
