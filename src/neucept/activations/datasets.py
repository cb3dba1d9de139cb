"""Reading the user's data: in which order, under which names, one raw batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    default_collate,
)

from neucept.errors import DataError

Positions = np.ndarray
"""Places in the data, int64, increasing."""

NAME_ATTRIBUTES = ("paths", "samples", "imgs")
"""Where datasets of files keep their file names, alone or as the first of a tuple."""


Raw = tuple[object, Positions | None, Callable[[int], str]]
"""A batch as the user made it, its positions where they are known, and names by position."""


@runtime_checkable
class Reader(Protocol):
    """One way to read data; `length` is None when only reading would tell how many samples."""

    length: int | None

    def read(self, wanted: Positions | None) -> Iterator[Raw]:
        """The batches; only those with a wanted sample where that saves reading."""


def reader_of(data: object, batch_size: int) -> Reader:
    """The reader for what the user gave.

    Raises:
        DataError: there is none.
    """
    if isinstance(data, Tensor | np.ndarray | tuple):
        return _Arrays(data if isinstance(data, tuple) else (data,), batch_size)
    if isinstance(data, DataLoader):
        return _reader_of_loader(data, batch_size)
    if isinstance(data, IterableDataset):
        return _Stream(DataLoader(data, batch_size=batch_size, collate_fn=collate))
    numbered = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if numbered and not isinstance(data, list | str | bytes | dict):
        return _Indexed(data, range(len(data)), batch_size)  # type: ignore[arg-type]
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | dict | set):
        return _Stream(data)
    raise DataError(
        f"The data is a {type(data).__name__}. Pass a tensor, an array, a torch Dataset or "
        "DataLoader, or an iterable of batches."
    )


def _reader_of_loader(loader: DataLoader[object], batch_size: int) -> Reader:
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return _Stream(loader)
    return _Indexed(loader.dataset, loader_order(loader), loader.batch_size or batch_size, loader)


class _Arrays:
    """Inputs, and perhaps labels and ids, that are there as a whole."""

    def __init__(self, parts: tuple[object, ...], batch_size: int) -> None:
        if not 1 <= len(parts) <= 3 or not isinstance(parts[0], Tensor | np.ndarray):
            raise DataError(
                f"The data is a tuple of {len(parts)} parts. Pass arrays (x, labels) or "
                "(x, labels, ids); put batches into a list."
            )
        self._parts = [p if hasattr(p, "__getitem__") else np.asarray(p) for p in parts]
        lengths = [len(part) if np.ndim(part) else 0 for part in self._parts]  # type: ignore[arg-type]
        if len(set(lengths)) > 1:
            raise DataError(
                f"The data has {lengths[0]} inputs but {lengths[1]} labels"
                f"{f' and {lengths[2]} ids' if len(lengths) > 2 else ''}. "
                "Pass one of each per sample."
            )
        self.length: int | None = lengths[0]
        self._batch_size = batch_size

    def read(self, wanted: Positions | None) -> Iterator[Raw]:
        for positions in _chunks(wanted, self.length or 0, self._batch_size):
            yield tuple(_rows(part, positions) for part in self._parts), positions, str


def _rows(part: object, positions: Positions) -> object:
    whole = positions[-1] - positions[0] + 1 == len(positions)
    index = slice(int(positions[0]), int(positions[-1]) + 1) if whole else positions
    if isinstance(part, Tensor):
        return part[index if whole else torch.from_numpy(positions)]
    if isinstance(part, np.ndarray):
        return part[index]
    return [part[position] for position in positions]  # type: ignore[index]


class _Indexed:
    """A dataset whose samples are fetched by number, read through the user's loader settings."""

    def __init__(
        self,
        dataset: object,
        order: Sequence[int],
        batch_size: int,
        loader: DataLoader[object] | None = None,
    ) -> None:
        self.length: int | None = len(order)
        self._dataset = dataset
        self._order = order
        self._batch_size = batch_size
        self._loader = loader
        self._name = sample_names(dataset)

    def read(self, wanted: Positions | None) -> Iterator[Raw]:
        chunks = _chunks(wanted, self.length or 0, self._batch_size)
        sampler = [[self._order[position] for position in chunk] for chunk in chunks]
        for chunk, raw in zip(chunks, self._batches(sampler), strict=True):
            yield raw, chunk, lambda position: self._name(self._order[position])

    def _batches(self, sampler: list[list[int]]) -> Iterator[object]:
        user = self._loader
        loader: DataLoader[object] = DataLoader(
            self._dataset,  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=collate
            if user is None or user.collate_fn is default_collate
            else user.collate_fn,
            num_workers=0 if user is None else user.num_workers,
            multiprocessing_context=None if user is None else user.multiprocessing_context,
            worker_init_fn=None if user is None else user.worker_init_fn,
            # Its own, so that reading does not advance the user's random numbers.
            generator=torch.Generator(),
        )
        try:
            yield from loader
        except Exception as error:
            if not loader.num_workers:
                raise
            # The traceback would keep the workers alive; theirs is in the text.
            raise error.with_traceback(None)  # noqa: B904


class _Stream:
    """Batches that can only be read from the first on."""

    def __init__(self, batches: Iterable[object]) -> None:
        self.length: int | None = None
        self._batches = batches
        self._one_shot = iter(batches) is batches if isinstance(batches, Iterator) else False
        self._spent = False

    def read(self, _wanted: Positions | None) -> Iterator[Raw]:
        if self._one_shot and self._spent:
            raise DataError(
                "The data is an iterator that has been read already. "
                "Pass a list of batches, a Dataset or a DataLoader, which can be read again."
            )
        self._spent = True
        for raw in self._batches:
            yield raw, None, str


def _chunks(wanted: Positions | None, length: int, size: int) -> list[Positions]:
    positions = np.arange(length) if wanted is None else wanted
    return [positions[start : start + size] for start in range(0, len(positions), size)]


def loader_order(loader: DataLoader[object]) -> Sequence[int]:
    """The numbers of the samples that a loader reads, in an order that is the same each time.

    Shuffling is undone: the samples come in the order of the dataset.

    Args:
        loader: Over a dataset whose samples are fetched by number.

    Raises:
        DataError: which samples it reads is random.
    """
    batches = loader.batch_sampler
    plain = type(batches) is BatchSampler and batches.sampler is loader.sampler
    if plain and isinstance(loader.sampler, SequentialSampler):
        return range(len(loader.sampler))
    generators = {
        id(g): (g, g.get_state())
        for g in (loader.generator, getattr(loader.sampler, "generator", None))
        if isinstance(g, torch.Generator)
    }
    with torch.random.fork_rng(devices=[]):
        first, second = (_listed(loader, plain) for _ in range(2))
    for generator, state in generators.values():
        generator.set_state(state)
    shuffles = isinstance(loader.sampler, RandomSampler | SubsetRandomSampler)
    if first == second and not shuffles:
        return first
    if sorted(first) != sorted(second):
        sampler = type(loader.sampler if plain else batches).__name__
        raise DataError(
            f"The loader's {sampler} reads other samples each time. "
            "Pass the dataset itself, or a loader without a random sampler."
        )
    return sorted(first)


def _listed(loader: DataLoader[object], plain: bool) -> list[int]:
    if plain:
        return [int(number) for number in loader.sampler]
    batches = cast(Iterable[Iterable[int]], loader.batch_sampler)
    return [int(number) for batch in batches for number in batch]


def sample_names(dataset: object) -> Callable[[int], str]:
    """How each sample of a dataset is called: by its `ids`, its file name, or its number.

    Args:
        dataset: Samples by number. File names are given relative to its `root` if it has one.

    Raises:
        DataError: it has `ids`, but not one per sample.
    """
    if isinstance(dataset, Subset):
        inner, numbers = sample_names(dataset.dataset), dataset.indices
        return lambda number: inner(int(numbers[number]))
    length = len(dataset)  # type: ignore[arg-type]
    ids = getattr(dataset, "ids", None)
    if ids is not None and hasattr(ids, "__getitem__"):
        if len(ids) != length:
            raise DataError(f"The dataset has {len(ids)} ids for {length} samples. Give one each.")
        return lambda number: _text(ids[number])
    for attribute in NAME_ATTRIBUTES:
        files = getattr(dataset, attribute, None)
        if isinstance(files, Sequence) and len(files) == length > 0 and _file(files[0]) is not None:
            root = getattr(dataset, "root", None)
            return lambda number: _relative(str(_file(files[number])), root)
    return str


def _text(value: object) -> str:
    return str(value.item() if isinstance(value, Tensor) else value)


def _file(entry: object) -> str | PurePath | None:
    first = entry[0] if isinstance(entry, tuple | list) and entry else entry
    return first if isinstance(first, str | PurePath) else None


def _relative(file: str, root: object) -> str:
    path = PurePath(file)
    inside = isinstance(root, str | PurePath) and path.is_relative_to(root)
    return path.relative_to(cast(str, root)).as_posix() if inside else file


def collate(samples: list[object]) -> object:
    """Stack samples into a batch, as torch does, but say which two differ in shape.

    Raises:
        DataError: inputs of different shapes.
    """
    inputs = [sample[0] if isinstance(sample, tuple | list) else sample for sample in samples]
    shapes = [tuple(np.shape(x)) for x in inputs if isinstance(x, Tensor | np.ndarray)]
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise DataError(
                f"Samples of one batch have shapes {shapes[0]} and {shape} (the first and number "
                f"{number} of the batch). Bring all samples to one shape."
            )
    return default_collate(samples)
