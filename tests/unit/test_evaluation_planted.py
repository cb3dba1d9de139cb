"""What is said to be true by construction is true."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from neucept.errors import SettingsError
from neucept.evaluation.planted import PlantedNetwork, planted_data, planted_network
from neucept.knockoffs.planting import PLANTED


@pytest.mark.parametrize("kind", PLANTED)
def test_the_target_depends_on_the_critical_neurons_and_on_nothing_else(kind: str) -> None:
    planted = planted_data(2000, 10, 4, kind=kind, noise=0.0, correlation=0.2, seed=3)
    assert planted.x.shape == (2000, 10)
    assert len(planted.critical) == 4
    assert list(planted.critical) == sorted(set(planted.critical))
    assert planted.y.std() == pytest.approx(1.0)
    inside = planted.x[:, planted.critical]
    outside = np.delete(planted.x, planted.critical, axis=1)
    assert unexplained(inside, planted.y) < 0.25
    assert unexplained(outside, planted.y) > 0.75


def unexplained(x: np.ndarray, y: np.ndarray) -> float:
    """Share of variance that a regression on bent features leaves on unseen rows."""
    rng = np.random.default_rng(0)
    bent = np.abs(x @ rng.standard_normal((x.shape[1], 200)) + rng.standard_normal(200))
    products = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    features = np.hstack([x, np.abs(x), bent, products, np.ones((len(x), 1))])
    fit, test = slice(0, 1500), slice(1500, None)
    ridge = features[fit].T @ features[fit] + np.eye(features.shape[1])
    guess = features[test] @ np.linalg.solve(ridge, features[fit].T @ y[fit])
    return float(((y[test] - guess) ** 2).mean() / y[test].var())


def test_noise_and_correlation_are_as_asked() -> None:
    planted = planted_data(20_000, 6, 2, noise=2.0, correlation=-0.6, seed=1)
    neighbours = [
        np.corrcoef(planted.x[:, a], planted.x[:, b])[0, 1] for a, b in pairwise(range(6))
    ]
    assert np.allclose(neighbours, -0.6, atol=0.03)
    assert planted.x.std(axis=0) == pytest.approx(np.ones(6), abs=0.03)
    assert planted.y.std() == pytest.approx(np.sqrt(5), rel=0.03)


def test_a_seed_gives_the_same_data_and_another_gives_other_data() -> None:
    assert np.array_equal(planted_data(seed=5).y, planted_data(seed=5).y)
    assert not np.array_equal(planted_data(seed=5).y, planted_data(seed=6).y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "linaer"}, "Did you mean 'linear'"),
        ({"critical": 50}, "more than the 40 neurons"),
        ({"critical": 0}, "critical is 0"),
        ({"samples": 1}, "samples is 1"),
        ({"noise": -1.0}, "noise is -1.0"),
        ({"correlation": 1.0}, "correlation is 1.0"),
    ],
)
def test_data_that_cannot_be_made_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        planted_data(**arguments)


@pytest.fixture(scope="module", params=[1, 2, 3])
def planted(request: pytest.FixtureRequest) -> PlantedNetwork:
    return planted_network(900, request.param, seed=request.param)


def outputs(planted: PlantedNetwork, layer: str = "", unit: int = 0) -> torch.Tensor:
    """The logits, with one unit of a layer set to a wild value."""

    def disturb(_: nn.Module, __: object, out: torch.Tensor) -> torch.Tensor:
        changed = out.clone()
        changed[:, unit] = 1000.0
        return changed

    handles = [planted.model.get_submodule(layer).register_forward_hook(disturb)] if layer else []
    with torch.no_grad():
        logits = planted.model(planted.x)
    for handle in handles:
        handle.remove()
    return logits


def test_only_critical_units_reach_the_output(planted: PlantedNetwork) -> None:
    clean = outputs(planted)
    for layer, critical in planted.critical.items():
        for unit in range(planted.model.get_submodule(layer).out_features):
            changed = not torch.equal(outputs(planted, layer, unit), clean)
            assert changed == (unit in critical), (layer, unit)


def test_the_network_knows_the_classes(planted: PlantedNetwork) -> None:
    right = (outputs(planted).argmax(dim=1) == planted.labels).float().mean()
    assert right > 0.98


def test_each_group_goes_through_its_own_units(planted: PlantedNetwork) -> None:
    with torch.no_grad():
        first = torch.tanh(planted.model.first(planted.x)).numpy()
    groups = planted.mechanisms.max() + 1
    assert np.array_equal(planted.mechanisms >= 0, planted.labels.numpy() == 1)
    means = np.array([first[planted.mechanisms == g].mean(axis=0) for g in range(groups)])
    rest = first[planted.mechanisms == -1].mean(axis=0)
    raised = means[:, planted.critical["first"]] - rest[planted.critical["first"]] > 0.5
    # Every critical unit is raised by exactly one group, every group raises as many.
    assert (raised.sum(axis=0) == 1).all()
    assert len(set(raised.sum(axis=1))) == 1


def test_decoys_follow_the_output_without_reaching_it(planted: PlantedNetwork) -> None:
    with torch.no_grad():
        second = planted.model.second(torch.tanh(planted.model.first(planted.x))).numpy()
    score = outputs(planted)[:, 1].numpy()
    others = np.setdiff1d(np.arange(second.shape[1]), planted.critical["second"])
    follows = np.array([abs(np.corrcoef(second[:, j], score)[0, 1]) for j in others])
    assert (follows > 0.3).sum() == (follows < 0.15).sum() == len(others) // 2
    between = np.corrcoef(second, rowvar=False) - np.eye(second.shape[1])
    assert np.abs(between).max() < 0.99


def test_a_seed_gives_the_same_network() -> None:
    one, two = planted_network(60, seed=4), planted_network(60, seed=4)
    assert torch.equal(outputs(one), outputs(two))
    assert not torch.equal(one.x, planted_network(60, seed=5).x)


@pytest.mark.parametrize(
    "arguments", [{"mechanisms": 0}, {"samples": 3}, {"others": -1}, {"mechanisms": True}]
)
def test_networks_that_cannot_be_made_are_refused(arguments: dict) -> None:
    with pytest.raises(SettingsError, match="Pass a whole number"):
        planted_network(**arguments)
