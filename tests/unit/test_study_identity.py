"""What a study is of: the content of samples and network, however they are read."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from neucept.activations import Batches
from neucept.errors import DataError, ModelError
from neucept.study.identity import check_repeatable, identity_of

X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(50) % 3
IDS = [f"sample {number}" for number in range(50)]
NETWORK = nn.Linear(4, 3)


def samples(data: object, batch_size: int = 256) -> str:
    return identity_of(NETWORK, Batches(data, batch_size), 0)["set of samples"]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_how_samples_are_cut_into_batches_does_not_count(size: int) -> None:
    assert samples((X, LABELS, IDS), size) == samples((X, LABELS, IDS))
    assert samples(X, size) == samples(X)
    assert samples(DataLoader(TensorDataset(X, LABELS), size)) == samples((X, LABELS))
    assert samples(list(zip(X.split(size), LABELS.split(size), strict=True))) == samples(
        (X, LABELS)
    )


def test_rows_of_other_lengths_may_be_cut_anywhere() -> None:
    short, long = torch.ones(6, 3, dtype=torch.int64), torch.ones(6, 5, dtype=torch.int64)
    whole = samples([short, long])
    assert samples([*short.split(2), *long.split(4)]) == whole
    assert samples([long, short]) != whole
    assert samples([torch.ones(3, 6, dtype=torch.int64), long]) != whole


@pytest.mark.parametrize(
    "other",
    [
        (X + 1, LABELS, IDS),
        (X.double(), LABELS, IDS),
        (X.flip(0), LABELS, IDS),
        (X[:49], LABELS[:49], IDS[:49]),
        (X.reshape(50, 2, 2), LABELS, IDS),
        (X, LABELS.roll(1), IDS),
        (X, LABELS, IDS[::-1]),
        (X, LABELS, ["sample 0s", "ample 1", *IDS[2:]]),
        (X, LABELS),
        X,
    ],
)
def test_every_part_of_a_sample_counts(other: object) -> None:
    assert samples(other) != samples((X, LABELS, IDS))


def test_names_that_are_no_text_of_unicode_count_as_well() -> None:
    assert samples((X, LABELS, [*IDS[:49], "\udcff"])) != samples((X, LABELS, IDS))


class Noisy(Dataset):
    """Adds noise to each sample whenever it is read."""

    def __init__(self, noise) -> None:
        self.noise = noise

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, position: int) -> Tensor:
        return X[position] + self.noise()


class Flow(IterableDataset):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(X + torch.rand(1))


@pytest.mark.parametrize(
    "data",
    [
        Noisy(lambda: torch.rand(1)),
        Noisy(lambda: float(np.random.rand())),  # noqa: NPY002
        Noisy(random.random),
        Noisy(lambda: float(np.random.default_rng().random())),
        Flow(),
        DataLoader(Flow(), batch_size=8),
    ],
    ids=["torch", "numpy", "python", "own generator", "stream", "loader"],
)
def test_data_that_changes_from_reading_to_reading_is_refused(data: object) -> None:
    with pytest.raises(DataError, match=r"other values each time .* Switch the randomness off"):
        check_repeatable(NETWORK, Batches(data), "cpu")


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.dropout(x, 0.5, training=True))


def test_a_network_that_is_random_in_evaluation_mode_is_refused() -> None:
    with pytest.raises(ModelError, match=r"other outputs each time .* Switch the randomness off"):
        check_repeatable(Dropping(), Batches(X), "cpu")


def test_networks_and_data_that_repeat_themselves_are_let_through() -> None:
    def states() -> tuple[object, ...]:
        numpy = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), random.getstate(), numpy[1].tolist(), numpy[2]

    before = states()
    check_repeatable(nn.Sequential(NETWORK, nn.Dropout()), Batches((X, LABELS, IDS)), "cpu")
    check_repeatable(NETWORK, Batches(torch.full((3, 4), float("nan"))), "cpu")
    check_repeatable(NETWORK, Batches(torch.full((3, 4), float("inf"))), "cpu")
    assert states() == before
