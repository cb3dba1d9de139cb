"""What counts as a neuron for each kind of layer, against formulas written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neucept.activations import KINDS, Layout, neuron_values
from neucept.activations.neurons import kind_of, pool_name
from neucept.errors import ModelError, SettingsError


def test_no_module_class_has_two_kinds() -> None:
    modules = [module for kind in KINDS for module in kind.modules]
    assert len(modules) == len(set(modules))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.Linear(2, 2), "linear"),
        (nn.Conv1d(1, 1, 1), "convolution"),
        (nn.BatchNorm2d(1), "normalisation"),
        (nn.LayerNorm(3), "normalisation"),
        (nn.GELU(), "activation"),
        (nn.AvgPool2d(2), "pooling"),
        (nn.Flatten(), "reshaping"),
        (nn.Dropout(), "dropout"),
        (nn.Sequential(nn.ReLU()), "container"),
        (nn.PixelShuffle(2), "other"),
    ],
)
def test_kind_of_a_module(module: nn.Module, name: str) -> None:
    assert kind_of(module).name == name


@pytest.mark.parametrize("shape", [(5, 4, 7), (5, 4, 3, 6), (5, 4, 2, 3, 6)])
def test_channels_are_pooled_over_their_positions(shape: tuple[int, ...]) -> None:
    output = torch.randn(shape)
    layout = Layout(shape[1:])
    rows = output.reshape(5, 4, -1)
    torch.testing.assert_close(neuron_values(output, layout, "mean"), rows.sum(2) / rows.shape[2])
    assert torch.equal(neuron_values(output, layout, "max"), rows.sort(2).values[:, :, -1])
    assert (layout.neurons, layout.space) == (4, shape[2:])


def test_features_last_are_pooled_over_tokens() -> None:
    output = torch.randn(5, 7, 4)
    layout = Layout((7, 4), axis=2)
    torch.testing.assert_close(neuron_values(output, layout, "mean"), output.sum(1) / 7)
    assert (layout.neurons, layout.space) == (4, (7,))


def test_without_pooling_every_scalar_is_a_neuron() -> None:
    output = torch.randn(5, 4, 3, 6)
    layout = Layout((4, 3, 6), pooled=False)
    assert (layout.neurons, layout.space) == (72, ())
    assert torch.equal(neuron_values(output, layout, "none"), output.reshape(5, 72))


@pytest.mark.parametrize(
    ("output", "layout", "pool"),
    [
        (torch.randn(5, 4), Layout((4,)), "mean"),
        (torch.randn(5, 4, 2), Layout((4, 2), pooled=False), "none"),
        (torch.randn(5, 4, 2), Layout((4, 2)), "max"),
        (torch.randn(5, 4, 2), Layout((4, 2)), lambda maps: maps[:, :, 0]),
    ],
)
def test_values_share_no_memory_with_the_output(output, layout, pool) -> None:
    values = neuron_values(output, layout, pool)
    before = values.clone()
    output.fill_(99.0)
    assert torch.equal(values, before)


def test_half_precision_is_pooled_in_single() -> None:
    output = torch.full((1, 1, 10_000), 1.001, dtype=torch.bfloat16)
    values = neuron_values(output, Layout((1, 10_000)), "mean")
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.item(), output[0, 0, 0].item(), rtol=1e-5, atol=0)


def test_pooling_function_sees_samples_neurons_positions() -> None:
    output = torch.randn(5, 7, 4)

    def second(maps: torch.Tensor) -> torch.Tensor:
        assert maps.shape == (5, 4, 7)
        return maps[:, :, 1]

    assert torch.equal(neuron_values(output, Layout((7, 4), axis=2), second), output[:, 1])


def test_pooling_function_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match=r"returned \(5,\).*here \(5, 4\)"):
        neuron_values(torch.randn(5, 4, 2), Layout((4, 2)), lambda maps: maps.sum((1, 2)))


@pytest.mark.parametrize("pool", ["median", "Mean", ""])
def test_unknown_pooling_is_refused(pool: str) -> None:
    with pytest.raises(SettingsError, match="pool is"):
        pool_name(pool)


def test_pooling_function_is_stored_by_its_name() -> None:
    assert pool_name(torch.std) == "torch._C._VariableFunctions.std" or "std" in pool_name(
        torch.std
    )
    assert pool_name("max") == "max"
