"""Running a network with neurons of a layer set to other values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neucept.activations import (
    Batches,
    Layout,
    MapBank,
    capture,
    evaluation_mode,
    forward,
    neuron_values,
    replaced,
    set_neurons,
)
from neucept.errors import DataError, ModelError, SettingsError

X = torch.randn(9, 2, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 3)
    return nn.Sequential(*body)


def run(model: nn.Module, x: Tensor = X) -> Tensor:
    with evaluation_mode(model) as device:
        return torch.cat([forward(model, batch, device) for batch in Batches(x, 4)])


def test_the_layers_above_see_the_replacement(model: nn.Sequential) -> None:
    with replaced(model, "0", lambda output: output * 0 + 2.0):
        outputs = run(model)
    with torch.no_grad():
        expected = model[3](torch.full((9, 64), 2.0))
    torch.testing.assert_close(outputs, expected)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_hooks_are_gone_after_an_error(model: nn.Sequential) -> None:
    with (
        pytest.raises(ModelError, match="failed on batch 0"),
        replaced(model, "0", lambda _: 1 / 0),
    ):
        run(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_setting_channels_equals_cutting_them_by_hand(model: nn.Sequential) -> None:
    neurons = np.array([3, 1])
    with replaced(model, "0", lambda out: set_neurons(out, neurons, torch.zeros(1, 2))):
        outputs = run(model)
    with torch.no_grad():
        maps = model[0](X).clone()
        maps[:, 3] = 0
        maps[:, 1] = 0
        torch.testing.assert_close(outputs, model[3](maps.relu().flatten(1)))


def test_the_given_output_is_not_changed() -> None:
    output = torch.randn(4, 3, 2)
    before = output.clone()
    set_neurons(output, np.array([1]), torch.ones(4, 1))
    assert torch.equal(output, before)


LAYOUTS = {
    "units": (torch.randn(4, 5), Layout((5,))),
    "channels": (torch.randn(4, 5, 2, 3), Layout((5, 2, 3))),
    "channels last in memory": (
        torch.randn(4, 5, 2, 3).to(memory_format=torch.channels_last),
        Layout((5, 2, 3)),
    ),
    "features last": (torch.randn(4, 7, 5), Layout((7, 5), axis=2)),
    "every scalar": (torch.randn(4, 5, 2, 3), Layout((5, 2, 3), pooled=False)),
    "every scalar, channels last in memory": (
        torch.randn(4, 5, 2, 3).to(memory_format=torch.channels_last),
        Layout((5, 2, 3), pooled=False),
    ),
}


@pytest.mark.parametrize(("output", "layout"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("rows", [1, 4])
def test_values_are_what_pooling_gives_back(output: Tensor, layout: Layout, rows: int) -> None:
    neurons = np.array([4, 0, 2])
    values = torch.randn(rows, 3)
    edited = set_neurons(output, neurons, values, layout=layout)
    assert edited.shape == output.shape
    pool = "mean" if layout.pooled else "none"
    before, after = (neuron_values(t, layout, pool) for t in (output, edited))
    torch.testing.assert_close(after[:, neurons], values.expand(4, 3))
    untouched = np.setdiff1d(np.arange(layout.neurons), neurons)
    torch.testing.assert_close(after[:, untouched], before[:, untouched])


@pytest.mark.parametrize(("output", "layout"), LAYOUTS.values(), ids=LAYOUTS)
def test_maps_go_where_they_belong(output: Tensor, layout: Layout) -> None:
    neurons = np.array([4, 0])
    maps = torch.randn(4, 2, *layout.space)
    edited = layout.maps(set_neurons(output, neurons, maps=maps, layout=layout))
    assert torch.equal(edited[:, neurons], maps)


def test_values_and_maps_exclude_each_other() -> None:
    output = torch.randn(4, 3)
    for arguments in ({}, {"values": torch.ones(4, 1), "maps": torch.ones(4, 1)}):
        with pytest.raises(SettingsError, match="both values and maps, or neither"):
            set_neurons(output, np.array([1]), **arguments)


class Repeating(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(2, 2)
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.again(self.pair(x)[0]))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("agian", "Did you mean 'again'"),
        ("again", "runs more than once"),
        ("pair", "returns a tuple"),
    ],
)
def test_layers_that_cannot_be_replaced(layer: str, text: str) -> None:
    model = Repeating()
    with pytest.raises(ModelError, match=text), replaced(model, layer, lambda out: out):
        run(model, torch.randn(3, 2))


def test_an_edit_keeps_the_shape(model: nn.Sequential) -> None:
    cut = replaced(model, "0", lambda out: out[:, :2])
    with pytest.raises(ModelError, match="must keep the shape"), cut:
        run(model)


# the bank of maps


def bank_of(model: nn.Module, layer: str = "0", **settings: object) -> tuple[MapBank, np.ndarray]:
    acts = capture(model, X, [layer])
    with evaluation_mode(model) as device:
        bank = MapBank.record(
            model, layer, Batches(X, 4), layout=acts.layouts[layer], device=device, **settings
        )
    return bank, acts.matrix(layer)


def test_a_recorded_value_gives_its_own_map(model: nn.Sequential) -> None:
    bank, matrix = bank_of(model)
    assert bank.n_references == 9
    neurons = np.array([2, 0])
    maps = bank.maps(neurons, torch.from_numpy(matrix[:, neurons]))
    with torch.no_grad():
        torch.testing.assert_close(maps, model[0](X)[:, neurons], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_maps_pool_to_the_value(model: nn.Sequential, pool: str) -> None:
    acts = capture(model, X, ["0"], pool=pool)
    with evaluation_mode(model) as device:
        layout = acts.layouts["0"]
        bank = MapBank.record(model, "0", Batches(X), layout=layout, device=device, pool=pool)
    low, high = acts.matrix("0").min(0), acts.matrix("0").max(0)
    share = torch.rand(50, 4, generator=torch.Generator().manual_seed(1))
    values = torch.from_numpy(low) + share * torch.from_numpy(high - low)
    pooled = neuron_values(bank.maps(np.arange(4), values), Layout((4, 4, 4)), pool)
    torch.testing.assert_close(pooled, values, rtol=1e-4, atol=1e-5)


def test_values_beyond_the_references_take_the_outermost(model: nn.Sequential) -> None:
    bank, matrix = bank_of(model)
    maps = bank.maps(np.array([1]), torch.tensor([[1e6], [-1e6]]))
    pooled = maps.mean((2, 3))[:, 0].numpy()
    np.testing.assert_allclose(pooled, [matrix[:, 1].max(), matrix[:, 1].min()], rtol=1e-4)


def test_silent_maps_stay_silent() -> None:
    maps = torch.zeros(5, 1, 2, 2)
    maps[3:] = torch.rand(2, 1, 2, 2) + 1
    bank = MapBank(maps, maps.mean((2, 3)))
    assert torch.equal(bank.maps(np.array([0]), torch.zeros(3, 1)), torch.zeros(3, 1, 2, 2))


def test_units_need_no_maps(model: nn.Sequential) -> None:
    bank, matrix = bank_of(model, "2")
    values = torch.from_numpy(matrix[[3, 5]][:, [7]])
    torch.testing.assert_close(bank.maps(np.array([7]), values), values)


def test_mean_map(model: nn.Sequential) -> None:
    bank, _ = bank_of(model)
    with torch.no_grad():
        expected = model[0](X)[:, [3]].mean(0, keepdim=True)
    torch.testing.assert_close(bank.mean(np.array([3])), expected)


def test_the_bank_is_bounded(model: nn.Sequential) -> None:
    per_sample = 4 * 4 * 16
    assert bank_of(model, most_bytes=6 * per_sample)[0].n_references == 6
    assert bank_of(model, most_bytes=1)[0].n_references == 1


def test_a_bank_needs_references(model: nn.Sequential) -> None:
    with evaluation_mode(model) as device, pytest.raises(DataError, match="no reference samples"):
        MapBank.record(model, "0", [], layout=Layout((4, 4, 4)), device=device)
