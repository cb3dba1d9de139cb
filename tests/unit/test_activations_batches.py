"""The user's data in every form it comes in, and every form it cannot come in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from neucept.activations import Batches
from neucept.errors import DataError, SettingsError

X = torch.arange(20, dtype=torch.float32).reshape(10, 2)
Y = torch.arange(10) % 3


class Samples(Dataset):
    """A dataset with labels; `extra` are attributes such as ids."""

    def __init__(self, n: int = 10, **extra: object) -> None:
        self.n = n
        self.read: list[int] = []
        for name, value in extra.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        self.read.append(position)
        return X[position], int(Y[position])


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return iter([(X[i], int(Y[i])) for i in range(10)])


def pairs(size: int = 4) -> list[tuple[Tensor, Tensor]]:
    return [(X[i : i + size], Y[i : i + size]) for i in range(0, 10, size)]


def read(data: object, positions: list[int] | None = None, batch_size: int = 4):
    batches = Batches(data, batch_size)
    parts = list(batches if positions is None else batches.take(positions))
    x = torch.cat([part.inputs for part in parts])
    y = None if parts[0].labels is None else np.concatenate([part.labels for part in parts])
    ids = [name for part in parts for name in part.ids]
    return x, y, ids, np.concatenate([part.positions for part in parts])


LABELLED = {
    "arrays": lambda: (X, Y),
    "numpy": lambda: (X.numpy(), Y.numpy()),
    "arrays and a list": lambda: (X, Y.tolist()),
    "dataset": Samples,
    "tensor dataset": lambda: TensorDataset(X, Y),
    "subset of everything": lambda: Subset(Samples(), range(10)),
    "loader": lambda: DataLoader(Samples(), batch_size=3),
    "shuffled loader": lambda: DataLoader(Samples(), batch_size=3, shuffle=True),
    "shuffled loader that drops": lambda: DataLoader(Samples(), 4, shuffle=True, drop_last=True),
    "loader of batches": lambda: DataLoader(pairs(), batch_size=None),
    "own batch sampler": lambda: DataLoader(
        Samples(), batch_sampler=[[0, 1, 2], [3, 4], [*range(5, 10)]]
    ),
    "stream": Stream,
    "loader of a stream": lambda: DataLoader(Stream(), batch_size=3),
    "list of batches": pairs,
    "list of numpy batches": lambda: [(x.numpy(), y.numpy()) for x, y in pairs()],
}


@pytest.mark.parametrize("make", LABELLED.values(), ids=LABELLED)
def test_every_form_gives_the_same_samples_each_time(make) -> None:
    data = make()
    for _ in range(2):
        x, y, ids, positions = read(data)
        assert torch.equal(x, X)
        assert y.tolist() == Y.tolist()
        assert y.dtype == np.int64
        assert ids == [str(i) for i in range(10)]
        assert positions.tolist() == list(range(10))


@pytest.mark.parametrize("make", LABELLED.values(), ids=LABELLED)
def test_some_positions_in_increasing_order(make) -> None:
    x, y, ids, positions = read(make(), [7, 2, 3, 7])
    assert positions.tolist() == [2, 3, 7]
    assert torch.equal(x, X[[2, 3, 7]])
    assert y.tolist() == Y[[2, 3, 7]].tolist()
    assert ids == ["2", "3", "7"]


@pytest.mark.parametrize("make", LABELLED.values(), ids=LABELLED)
@pytest.mark.parametrize("positions", [[2, 10], [-1, 2]])
def test_positions_outside_are_refused(make, positions) -> None:
    with pytest.raises(DataError, match=f"Sample {10 if 10 in positions else -1} is not in"):
        read(make(), positions)


def test_no_positions_give_no_batches() -> None:
    assert list(Batches(X).take([])) == []


@given(st.integers(1, 25), st.integers(1, 12), st.data())
def test_batches_of_arrays_cover_what_is_asked(samples: int, size: int, data) -> None:
    x = torch.randn(samples, 3)
    wanted = sorted(data.draw(st.sets(st.integers(0, samples - 1), min_size=1)))
    taken, _, _, positions = read(x, wanted, batch_size=size)
    assert torch.equal(taken, x[wanted])
    assert positions.tolist() == wanted
    assert Batches(x, size).len_samples == samples


def test_only_the_asked_samples_of_a_dataset_are_read() -> None:
    dataset = Samples()
    read(dataset, [1, 8])
    assert dataset.read == [1, 8]


def test_inputs_alone() -> None:
    for data in (X, X.numpy(), [X[:5], X[5:]], TensorDataset(X), iter([X])):
        x, y, _, _ = read(data)
        assert torch.equal(x, X)
        assert y is None


def test_read_only_arrays_and_integers_work() -> None:
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    x.flags.writeable = False
    assert read(x)[0].dtype == torch.uint8


def test_batches_know_their_place() -> None:
    batches = list(Batches((X, Y), 4))
    assert [(b.number, b.start, len(b)) for b in batches] == [(0, 0, 4), (1, 4, 4), (2, 8, 2)]
    assert batches[2].name == "batch 2 (samples '8' to '9')"


# ids


def test_ids_of_the_dataset() -> None:
    names = [f"patient {i}" for i in range(10)]
    for data in (Samples(ids=names), DataLoader(Samples(ids=names), 3, shuffle=True)):
        assert read(data)[2] == names
    assert read(Subset(Samples(ids=names), [4, 2]))[2] == ["patient 4", "patient 2"]
    assert read(Samples(ids=torch.arange(100, 110)))[2][:2] == ["100", "101"]


def test_file_names_relative_to_the_root() -> None:
    files = [f"/data/cats/{i}.png" for i in range(10)]
    with_classes = [(name, 0) for name in files]
    assert read(Samples(samples=with_classes, root="/data"))[2][3] == "cats/3.png"
    assert read(Samples(imgs=with_classes))[2][3] == "/data/cats/3.png"
    assert read(Samples(paths=[Path(f) for f in files], root=Path("/data")))[2][3] == "cats/3.png"


def test_samples_that_are_not_files_are_no_names() -> None:
    assert read(Samples(samples=list(X)))[2][3] == "3"


def test_ids_of_the_samples_come_first() -> None:
    data = [(X[:2], Y[:2], ["a", "b"]), (X[2:4], Y[2:4], torch.tensor([7, 8]))]
    assert read(data)[2] == ["a", "b", "7", "8"]
    assert read((X, Y, [f"s{i}" for i in range(10)]), [3])[2] == ["s3"]


# the user's loader


def test_a_part_of_the_data_keeps_the_numbers_of_the_whole() -> None:
    loader = DataLoader(Samples(), batch_size=2, sampler=SubsetRandomSampler([8, 1, 5]))
    x, _, ids, positions = read(loader)
    assert ids == ["1", "5", "8"]
    assert torch.equal(x, X[[1, 5, 8]])
    assert positions.tolist() == [0, 1, 2]


def test_own_collate_and_workers_are_kept() -> None:
    loader = DataLoader(
        Samples(), 4, num_workers=1, collate_fn=lambda items: torch.stack([x for x, _ in items]) * 2
    )
    assert torch.equal(read(loader)[0], X * 2)


def test_reading_leaves_random_numbers_alone() -> None:
    own = torch.Generator().manual_seed(5)
    loader = DataLoader(Samples(), 4, shuffle=True, generator=own)
    states = torch.get_rng_state(), own.get_state()
    list(Batches(loader))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(own.get_state(), states[1])


def test_samples_drawn_anew_each_time_are_refused() -> None:
    loader = DataLoader(Samples(), sampler=WeightedRandomSampler([1.0] * 10, 10))
    with pytest.raises(DataError, match="WeightedRandomSampler reads other samples"):
        Batches(loader)


def test_an_iterator_can_be_read_once() -> None:
    batches = Batches(iter(pairs()))
    assert sum(len(batch) for batch in batches) == 10
    with pytest.raises(DataError, match="has been read already"):
        list(batches)


# what cannot be read


def broken() -> Iterator[Tensor]:
    yield X
    raise KeyError("no such record")


def leaving() -> Iterator[Tensor]:
    yield X
    raise SystemExit(0)


class Ragged(Samples):
    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return torch.zeros(3, 4 + (position == 6)), 0


REFUSED = {
    "text": ("images/", "The data is a str"),
    "dict": ({"x": X}, "The data is a dict"),
    "number": (3, "The data is a int"),
    "none": (None, "The data is a NoneType"),
    "no samples": (torch.empty(0, 3), "no samples"),
    "no batches": ([], "no samples"),
    "empty batch": ([X, X[:0]], "Batch 1 of the data has no samples"),
    "empty dataset": (Samples(0), "no samples"),
    "scalar": (torch.tensor(3.0), "no samples"),
    "text batches": ([["a", "b"]], "Batch 0 of the data is a list of str"),
    "dict batches": ([{"x": X}], "Batch 0 of the data is a dict"),
    "too many parts": ([(X, Y, Y, Y)], "Batch 0 of the data is a tuple"),
    "tuple of batches": ((X, X, X, X), "tuple of 4 parts"),
    "array of text": (np.array(["a", "b"]), "array of <U1"),
    "array of objects": ([np.array([X, None], dtype=object)], "array of object"),
    "other labels": ((X, Y[:9]), "10 inputs but 9 labels"),
    "other ids": ((X, Y, ["a"]), "10 labels and 1 ids"),
    "other labels in a batch": ([(X, Y[:9])], "9 labels for 10 samples in batch 0"),
    "other ids in a batch": ([(X, Y, ["a"])], "1 ids for 10 samples in batch 0"),
    "float labels": ((X, Y.float()), "labels of batch 0 are float32"),
    "one-hot labels": ((X, torch.eye(10, dtype=torch.int64)), r"int64 of shape \(4, 10\)"),
    "text labels": ([(X, ["cat"] * 10)], "labels of batch 0 are <U3"),
    "masks for ids": ([(X, Y, X)], "ids of batch 0 are a Tensor of other things"),
    "labels now and then": ([(X, Y), X], "Some batches have labels"),
    "images of other sizes": ([torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)], "'2' has shape"),
    "images of other sizes in a batch": (Ragged(), r"\(3, 4\) and \(3, 5\)"),
    "the same in a worker": (DataLoader(Ragged(), 8, num_workers=1), r"^Samples of one batch"),
    "failing": (broken(), "Reading batch 1 of the data failed: KeyError: 'no such record'"),
    "ending the program": (leaving(), "Reading batch 1 of the data failed: SystemExit: 0"),
    "dataset with other ids": (Samples(ids=["a"]), "1 ids for 10 samples"),
}


@pytest.mark.parametrize(("data", "text"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line(data: object, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        list(Batches(data, 4))
    assert "\n" not in str(caught.value)


def test_tokens_may_be_padded_differently_in_each_batch() -> None:
    batches = list(
        Batches([torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 7, dtype=torch.int64)])
    )
    assert [batch.inputs.shape[1] for batch in batches] == [5, 7]


@pytest.mark.parametrize("size", [0, -3, True])
def test_batch_size_is_a_whole_number(size: int) -> None:
    with pytest.raises(SettingsError, match="batch_size is"):
        Batches(X, size)
