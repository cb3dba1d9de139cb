"""Which layers run, in which order, and where their neurons are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from neucept.activations import list_layers, weighted_layers
from neucept.activations.batches import Batches
from neucept.activations.running import evaluation_mode
from neucept.activations.tracing import choose_layers, trace
from neucept.errors import ModelError, SettingsError


class Crossed(nn.Module):
    """Runs its layers in another order than it declares them; one is never run, one runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.unused = nn.Linear(6, 6)
        self.twice = nn.ReLU()
        self.second = nn.Linear(6, 6)
        self.first = nn.Linear(4, 6)
        self.alias = self.second
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.twice(self.second(self.twice(self.first(x))))
        return self.head(self.pair(hidden)[0])


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Tokens(nn.Module):
    """Convolution over length, then features last; an activation after each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 5, 1)
        self.after_conv = nn.ReLU()
        self.mix = nn.Linear(5, 6)
        self.after_mix = nn.ReLU()
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.after_conv(self.conv(x)).transpose(1, 2)
        return self.head(self.norm(self.after_mix(self.mix(maps))).mean(1))


class FirstNormLayout(nn.LayerNorm):
    """Channels first, as in networks that permute inside the norm."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def traced(model: nn.Module, x: Tensor):
    with evaluation_mode(model) as device:
        return trace(model, next(iter(Batches(x))), device)


def test_order_is_that_of_execution() -> None:
    table = list_layers(Crossed(), torch.randn(3, 4))
    assert table["name"].tolist() == ["first", "second", "head"]


def test_table_of_a_convolutional_network() -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    model = nn.Sequential(body, nn.Flatten(), nn.Linear(36, 2))
    table = list_layers(model, (torch.randn(5, 3, 8, 8), torch.zeros(5, dtype=torch.int64)))
    assert table.to_dict("list") == {
        "name": ["0.0", "0.1", "0.2", "0", "1", "2"],
        "kind": ["convolution", "activation", "pooling", "container", "reshaping", "linear"],
        "shape": [(4, 6, 6), (4, 6, 6), (4, 3, 3), (4, 3, 3), (36,), (2,)],
        "neurons": [4, 4, 4, 4, 36, 2],
    }


def test_neurons_of_rank_three_follow_the_layer_before() -> None:
    layouts = {n: c.layout for n, c in traced(Tokens(), torch.randn(2, 3, 9)).items()}
    axes = {name: layout.axis for name, layout in layouts.items() if layout is not None}
    assert axes == {"conv": 1, "after_conv": 1, "mix": 2, "after_mix": 2, "norm": 2, "head": 1}
    assert {n: layouts[n].neurons for n in ("after_conv", "after_mix")} == {
        "after_conv": 5,
        "after_mix": 6,
    }


def test_layer_norm_that_keeps_channels_first() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 1), FirstNormLayout(5), nn.Flatten(), nn.Linear(80, 2))
    layout = traced(model, torch.randn(2, 3, 4, 4))["1"].layout
    assert layout is not None
    assert (layout.axis, layout.neurons) == (1, 5)


def test_by_default_the_output_and_repetitions_are_left_out() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(8, 3)),
    )
    chosen = choose_layers(model, traced(model, torch.randn(2, 1, 4, 4)), None)
    assert list(chosen) == ["0", "1", "2"]


def test_named_layers_come_in_order_of_execution_under_the_name_that_was_given() -> None:
    model = Crossed()
    chosen = choose_layers(model, traced(model, torch.randn(2, 4)), ["head", "alias", "first"])
    assert list(chosen) == ["first", "alias", "head"]


@pytest.mark.parametrize(
    ("layers", "error", "text"),
    [
        (["frist"], ModelError, "'frist' is not in the model. Did you mean 'first'"),
        (["unused"], ModelError, "does not run"),
        (["twice"], ModelError, "runs 2 times"),
        (["pair"], ModelError, "returns a tuple"),
        (["second", "alias"], SettingsError, "same module"),
        (["first", "first"], SettingsError, "same module"),
        ([], SettingsError, "empty"),
        ("first", SettingsError, "list of names"),
        ([""], ModelError, "'' is not in the model"),
    ],
)
def test_layers_that_cannot_be_recorded(layers, error: type[Exception], text: str) -> None:
    model = Crossed()
    with pytest.raises(error, match=text):
        choose_layers(model, traced(model, torch.randn(2, 4)), layers)


def test_nothing_but_the_output_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(ModelError, match="besides the one"):
        choose_layers(model, traced(model, torch.randn(2, 4)), None)


def test_sequence_first_layers_are_not_listed() -> None:
    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.inner(x.transpose(0, 1)).mean(0))

    assert list_layers(SequenceFirst(), torch.randn(2, 7, 4))["name"].tolist() == ["head"]


def test_hooks_are_gone_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(3, 2))
    with pytest.raises(ModelError):
        list_layers(model, torch.randn(2, 4))
    assert not any(module._forward_hooks for module in model.modules())


class Augmented(Dataset):
    """Draws from the global generators whenever a sample is read."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, position: int) -> Tensor:
        return torch.randn(4) + np.random.rand()  # noqa: NPY002


class Streamed(IterableDataset):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.zeros(6, 4))


@pytest.mark.parametrize("look", [list_layers, weighted_layers])
@pytest.mark.parametrize(
    "example", [Augmented(), Streamed(), DataLoader(Streamed(), batch_size=3)], ids=range(3)
)
def test_looking_leaves_the_users_random_numbers_alone(look, example: object) -> None:
    def states() -> tuple[object, ...]:
        # Not Python's own generator: the type checks that are on in tests draw from it.
        numpy = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), numpy[1].tolist(), numpy[2]

    model = Crossed()
    before = states()
    look(model, example)
    assert states() == before
