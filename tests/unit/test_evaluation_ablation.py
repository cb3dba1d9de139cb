"""Cuts in a network whose prediction hangs on a known few neurons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from neucept.activations import Activations, capture
from neucept.critical import Critical, Search
from neucept.errors import DataError, InputError, ModelError, SettingsError
from neucept.evaluation.ablation import MODES, Ablation, ablate, checked_order

NEURONS, USED = 12, (7, 2, 9)


class Convolutional(nn.Module):
    """A layer of 12 channels, of which only three reach the two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, NEURONS, 3)
        self.head = nn.Linear(NEURONS, 2)
        with torch.no_grad():
            self.head.weight.zero_()
            for sign, j in zip((1.0, -1.0, 1.0), USED, strict=True):
                self.head.weight[:, j] = sign * torch.tensor([4.0, -4.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.features(x)).mean((2, 3)))


class Dense(nn.Module):
    """The same with a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Linear(36, NEURONS)
        self.head = nn.Linear(NEURONS, 2)
        with torch.no_grad():
            self.head.weight.zero_()
            for j in USED:
                self.head.weight[:, j] = torch.tensor([2.0, -2.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x.flatten(1)))


def critical(layer: str = "features") -> Critical:
    """What a search would say that ranks the three used neurons first."""
    score = np.linspace(0.1, 0.0, NEURONS)
    score[list(USED)] = (3.0, 2.0, 1.0)
    table = pd.DataFrame(
        {
            "layer": layer,
            "neuron": np.arange(NEURONS),
            "selected": np.isin(np.arange(NEURONS), USED),
            "e_value": np.isin(np.arange(NEURONS), USED) * 12.0,
            "score": score,
            "frequency": 1.0,
            "note": "",
        }
    )
    return Critical(0, (layer,), Search(), table, table.head(0), {layer: ""}, {layer: {}})


@pytest.fixture(scope="module", params=[Convolutional, Dense])
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, torch.Tensor, Activations]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = request.param().eval()
        x = torch.randn(300, 1, 6, 6)
    with torch.no_grad():  # as many samples on one side as on the other
        model.head.bias -= model(x).median(dim=0).values
    return model, x, capture(model, x, ["features"])


def curve(result: Ablation, order: str = "critical", what: str = "unchanged") -> pd.Series:
    rows = result.table[result.table["order"] == order]
    return rows.groupby("k")[what].mean()


@pytest.mark.parametrize("mode", MODES)
def test_cutting_the_used_neurons_changes_predictions_and_others_do_not(
    case: tuple, mode: str
) -> None:
    model, x, acts = case
    result = ablate(model, x, acts, critical(), layer="features", mode=mode, random_orders=3)
    assert curve(result)[0] == 1.0
    probability = curve(result, what="probability")
    assert probability.iloc[-1] < probability[0] - 0.01
    backwards = [j for j in range(NEURONS) if j not in USED] + list(USED)
    result = ablate(
        model, x, acts, critical(), layer="features", mode=mode, order=backwards, random_orders=0
    )
    spared = curve(result, order="given")
    assert (spared[spared.index <= NEURONS - len(USED)] == 1.0).all()


@pytest.mark.parametrize("mode", MODES)
def test_keeping_only_the_used_neurons_keeps_every_prediction(case: tuple, mode: str) -> None:
    model, x, acts = case
    result = ablate(
        model, x, acts, critical(), layer="features", mode=mode, keep=True, random_orders=2
    )
    kept = curve(result)
    assert (kept[kept.index >= len(USED)] == 1.0).all()
    probability = curve(result, what="probability")
    assert probability[0] < probability.iloc[-1] - 0.01


def test_the_table_has_every_curve_and_is_equal_when_repeated(case: tuple) -> None:
    model, x, acts = case
    first, second = (
        ablate(model, x, acts, critical(), layer="features", samples=50, random_orders=2)
        for _ in range(2)
    )
    assert first.table.equals(second.table)
    assert len(first.samples) == 50
    assert (acts.predictions[first.samples] == 0).all()
    sizes = first.table.groupby(["order", "repeat"])["k"].apply(list)
    assert len(sizes) == 3
    assert all(k[0] == 0 and k[-1] == NEURONS for k in sizes)


def test_the_network_is_left_as_found(case: tuple) -> None:
    model, x, acts = case
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    ablate(model, x, acts, critical(), layer="features", samples=20, random_orders=1)
    assert model.training
    model.eval()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.features._forward_hooks


def test_saved_curves_can_be_read(case: tuple, tmp_path: Path) -> None:
    model, x, acts = case
    result = ablate(model, x, acts, critical(), layer="features", samples=20, random_orders=1)
    result.save(tmp_path / "curves.parquet")
    read = pd.read_parquet(tmp_path / "curves.parquet")
    assert len(read) == len(result.to_frame())
    assert set(read["layer"]) == {"features"}


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"layer": "featurs"}, ModelError, "Did you mean 'features'"),
        ({"mode": "zeros"}, SettingsError, "Did you mean 'zero'"),
        ({"samples": 0}, SettingsError, "samples is 0"),
        ({"steps": 0}, SettingsError, "steps is 0"),
        ({"random_orders": -1}, SettingsError, "random_orders is -1"),
        ({"order": [0, 1]}, SettingsError, "each of the layer's 12 neurons once"),
        ({"seed": -1}, SettingsError, "seed"),
    ],
)
def test_bad_settings_are_one_line(
    case: tuple, settings: dict, error: type[InputError], text: str
) -> None:
    model, x, acts = case
    with pytest.raises(error, match=text):
        ablate(model, x, acts, critical(), **{"layer": "features", **settings})


def test_other_data_than_was_captured_is_noticed(case: tuple) -> None:
    model, x, acts = case
    with pytest.raises(DataError, match="differ by up to"):
        ablate(model, x.flip(0) * 3, acts, critical(), layer="features")


@pytest.mark.parametrize("order", ["random", ["a", "b"], [[0], [1]], None])
def test_an_order_that_is_none_is_refused(order: object) -> None:
    with pytest.raises(SettingsError, match="Pass 'critical'"):
        checked_order(order, NEURONS)


class Weak(nn.Module):
    """A layer whose neurons move the outputs about a given bias."""

    def __init__(self, bias: tuple[float, ...], strength: float) -> None:
        super().__init__()
        self.features = nn.Linear(36, NEURONS)
        self.head = nn.Linear(NEURONS, len(bias))
        with torch.no_grad():
            self.head.weight.mul_(strength)
            self.head.bias.copy_(torch.tensor(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.features(x.flatten(1))))


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("bias", [(0.1, 0.05), (0.3,)], ids=["two logits", "one logit"])
def test_logits_that_a_cut_brings_into_the_unit_interval_stay_logits(
    bias: tuple[float, ...], target: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = Weak(bias, 5.0).eval(), torch.randn(200, 1, 6, 6)
    acts = capture(model, x, ["features"])
    crit = replace(critical(), target=target)
    result = ablate(model, x, acts, crit, layer="features", mode="zero", random_orders=0)
    last = result.table.iloc[-1]
    logits = torch.tensor(bias if len(bias) == 2 else (0.0, *bias))
    assert last["probability"] == pytest.approx(float(torch.softmax(logits, 0)[target]), abs=1e-6)
    assert last["unchanged"] == float(logits.argmax() == target)


@pytest.mark.parametrize("mode", ["zero", "resample"])
@pytest.mark.parametrize("target", [0, 1])
def test_with_nothing_cut_nothing_changes_whatever_the_samples(mode: str, target: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = Weak((0.0,), 0.3).eval(), torch.randn(200, 1, 6, 6)
    acts = capture(model, x, ["features"])
    assert -1 < acts.outputs.min() < 0 < acts.outputs.max() < 1
    crit = replace(critical(), target=target)
    result = ablate(model, x, acts, crit, layer="features", mode=mode, random_orders=1)
    assert (result.table.loc[result.table["k"] == 0, "unchanged"] == 1.0).all()


def test_a_contrast_looks_at_its_two_classes_alone() -> None:
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(6))
        model[1].weight.copy_(torch.kron(torch.eye(3), torch.ones(1, 2)))
    x = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
    acts = capture(model, x, ["0"])
    table = critical("0").table.head(6)
    crit = Critical((0, 1), ("0",), Search(), table, table.head(0), {"0": ""}, {"0": {}})
    # Two neurons of each class; the third class's are cut first, then the first class's.
    settings = {"layer": "0", "mode": "zero", "order": [4, 5, 0, 1, 2, 3], "steps": 6}
    contrast = ablate(model, x, acts, crit, **settings, random_orders=0)
    one = ablate(model, x, acts, replace(crit, target=0), **settings, random_orders=0)
    assert contrast.target == (0, 1)
    assert np.array_equal(contrast.samples, one.samples)
    by_size, by_size_one = (c.table.set_index("k") for c in (contrast, one))
    kept = by_size.loc[2]
    assert kept["unchanged"] == by_size.loc[0, "unchanged"] == 1.0
    assert kept["probability"] == pytest.approx(by_size.loc[0, "probability"])
    odds = acts.outputs[contrast.samples, 0] - acts.outputs[contrast.samples, 1]
    assert kept["probability"] == pytest.approx(np.mean(1 / (1 + np.exp(-odds))))
    assert abs(by_size_one["probability"].diff().loc[2]) > 0.02
    cut = acts.outputs[contrast.samples, 1]
    assert by_size.loc[4, "unchanged"] == pytest.approx(np.mean(cut < 0))
