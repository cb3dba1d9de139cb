"""The user's samples, in whatever form they come, as batches with ids and positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from neucept.activations.datasets import Positions, Raw, reader_of
from neucept.errors import DataError, InputError, SettingsError


@dataclass(frozen=True)
class Batch:
    """Some samples.

    Args:
        inputs: What the network gets; samples are the first dimension.
        labels: Class indices; None when the data has none.
        ids: A name for each sample.
        positions: Where each sample stands in the data, from 0.
        number: Which batch of the pass this is, from 0.
    """

    inputs: Tensor
    labels: Int[np.ndarray, " samples"] | None
    ids: tuple[str, ...]
    positions: Int[np.ndarray, " samples"]
    number: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def start(self) -> int:
        """Position of the first sample."""
        return int(self.positions[0])

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"batch {self.number} (samples '{self.ids[0]}' to '{self.ids[-1]}')"

    def pick(self, rows: Int[np.ndarray, " rows"]) -> Batch:
        """Some of its samples, by their place in the batch."""
        return Batch(
            self.inputs[torch.from_numpy(rows)],
            None if self.labels is None else self.labels[rows],
            tuple(self.ids[row] for row in rows),
            self.positions[rows],
            self.number,
        )

    def head(self, most: int) -> Batch:
        """Its first samples."""
        return self.pick(np.arange(min(most, len(self))))


class Batches:
    """A view on the user's data that can be read again and again, one batch at a time.

    Samples are ``x``, ``(x, label)`` or ``(x, label, id)``. Without ids of their own they are
    called after the dataset's `ids`, `paths` or `samples` (file names), else by their position in
    it. A loader that shuffles is read in the order of its dataset, so that positions mean the same
    each time.
    """

    def __init__(self, data: object, batch_size: int = 256) -> None:
        """Look at what the data is; nothing is read yet.

        Args:
            data: A tensor or array of inputs; a tuple of arrays (x, labels) or (x, labels, ids);
                a torch Dataset or DataLoader; or an iterable of batches. A one-shot iterator can
                be read once.
            batch_size: Samples per batch, at least 1. Loaders and iterables keep their own.

        Raises:
            DataError: the data is of another type, or its parts differ in length.
            SettingsError: `batch_size` is not a whole number of at least 1.
        """
        whole = isinstance(batch_size, int) and not isinstance(batch_size, bool)
        if not whole or batch_size < 1:
            raise SettingsError(f"batch_size is {batch_size!r}. Pass a whole number of at least 1.")
        self._reader = reader_of(data, batch_size)

    @property
    def len_samples(self) -> int | None:
        """How many samples there are; None when only reading them would tell."""
        return self._reader.length

    def __iter__(self) -> Iterator[Batch]:
        """All samples, in order.

        Raises:
            DataError: there are none, or they cannot be used; which and why is said.
        """
        number = -1
        for number, batch in enumerate(self._read(None)):  # noqa: B007
            yield batch
        if number < 0:
            raise DataError("The data has no samples. Pass at least one.")

    def take(self, positions: Sequence[int] | Int[np.ndarray, " taken"]) -> Iterator[Batch]:
        """The samples at some positions, in increasing order of position, each once.

        Datasets and arrays are read at these positions only; an iterable is read through.

        Args:
            positions: Places in the data, from 0.

        Raises:
            DataError: a position is outside the data, or as for iteration.
        """
        wanted = np.unique(np.asarray(positions, dtype=np.int64))
        if not len(wanted):
            return
        most = self.len_samples
        outside = wanted[(wanted < 0) | (most is not None and wanted >= most)]
        if len(outside):
            raise _absent(int(outside[0]), most)
        last = -1
        for batch in self._read(wanted):
            last = int(batch.positions[-1])
            yield batch
        if last != wanted[-1]:
            raise _absent(int(wanted[-1]), most)

    def _read(self, wanted: Positions | None) -> Iterator[Batch]:
        check = _Consistency()
        start = 0
        for number, (raw, positions, name) in enumerate(self._raw(wanted)):
            inputs, labels, ids = _parse(raw, number)
            places = np.arange(start, start + len(inputs)) if positions is None else positions
            ids = ids or tuple(name(int(place)) for place in places)
            batch = Batch(inputs, labels, ids, places, number)
            check(batch)
            start += len(batch)
            if wanted is None:
                yield batch
                continue
            rows = np.flatnonzero(np.isin(places, wanted))
            if len(rows):
                yield batch if len(rows) == len(batch) else batch.pick(rows)
            if places[-1] >= wanted[-1]:
                return

    def _raw(self, wanted: Positions | None) -> Iterator[Raw]:
        number = 0
        try:
            for number, raw in enumerate(self._reader.read(wanted), start=1):  # noqa: B007
                yield raw
        # A dataset that ends the program must not pass for a study that went well.
        except (Exception, SystemExit) as error:
            if isinstance(error, InputError):
                # One from a loader's worker comes with the worker's traceback.
                text = one_line(error).rpartition("neucept.errors.DataError: ")[2]
                raise type(error)(text) from error
            raise DataError(
                f"Reading batch {number} of the data failed: {quoted(error)}. "
                "Mend the dataset or loader; neucept only reads from it."
            ) from error


def _absent(position: int, samples: int | None) -> DataError:
    return DataError(
        f"Sample {position} is not in the data"
        f"{'' if samples is None else f', which has {samples} samples'}. "
        "Positions count from 0; pass the data that they belong to."
    )


@dataclass
class _Consistency:
    """Compares each batch of a pass with the first one."""

    shape: tuple[int, ...] | None = None
    labelled: bool = False
    seen: str = field(default="")

    def __call__(self, batch: Batch) -> None:
        shape = tuple(batch.inputs.shape[1:])
        labelled = batch.labels is not None
        if self.shape is None:
            self.shape, self.labelled, self.seen = shape, labelled, batch.ids[0]
        # Rows of whole numbers are tokens, which loaders pad to the longest of a batch.
        if shape != self.shape and batch.inputs.is_floating_point():
            raise DataError(
                f"Sample '{batch.ids[0]}' has shape {shape}, sample '{self.seen}' {self.shape}. "
                "Bring all samples to one shape."
            )
        if labelled != self.labelled:
            raise DataError(
                f"Some batches have labels and {batch.name} "
                f"{'has' if labelled else 'has not'}. Give labels to all samples or to none."
            )


def _parse(
    raw: object, number: int
) -> tuple[Tensor, Int[np.ndarray, " samples"] | None, tuple[str, ...]]:
    """Inputs, labels (None if there are none) and ids (empty if there are none) of a batch."""
    parts = list(raw) if isinstance(raw, list | tuple) else [raw]
    if not 1 <= len(parts) <= 3 or not isinstance(parts[0], Tensor | np.ndarray):
        what = _described(parts)
        raise DataError(
            f"Batch {number} of the data is a {type(raw).__name__}"
            f"{f' of {what}' if isinstance(raw, list | tuple) else ''}. "
            "Yield tensors of inputs, (inputs, labels) or (inputs, labels, ids)."
        )
    inputs = _inputs(parts[0], number)
    labels = None if len(parts) < 2 else check_labels(parts[1], len(inputs), f"batch {number}")
    ids = () if len(parts) < 3 else check_ids(parts[2], len(inputs), f"batch {number}")
    return inputs, labels, ids


def _described(parts: list[object]) -> str:
    if not parts:
        return "empty"
    inner = parts[0][0] if isinstance(parts[0], list | tuple) and parts[0] else None
    return type(parts[0]).__name__ + (f" of {type(inner).__name__}" if inner is not None else "")


def _inputs(part: Tensor | np.ndarray, number: int) -> Tensor:
    if isinstance(part, np.ndarray):
        if part.dtype.kind not in "fiub":
            raise DataError(
                f"The inputs of batch {number} are an array of {part.dtype}. Pass numbers."
            )
        part = torch.from_numpy(np.array(part))
    if part.ndim == 0 or len(part) == 0:
        raise DataError(
            f"Batch {number} of the data has no samples (shape {tuple(part.shape)}). "
            "Pass batches with at least one."
        )
    return part


def check_labels(labels: object, samples: int, where: str) -> Int[np.ndarray, " samples"]:
    """Labels as int64.

    Args:
        labels: A tensor, array or sequence of class indices.
        samples: How many there must be.
        where: What they belong to, for the message.

    Raises:
        DataError: they are not whole numbers, or not one per sample.
    """
    try:
        values = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    except (TypeError, ValueError):
        values = np.empty(0, dtype=object)
    if values.dtype.kind not in "iub" or values.ndim != 1:
        raise DataError(
            f"The labels of {where} are {values.dtype} of shape {values.shape}. "
            "Pass one whole number (a class index) per sample."
        )
    if len(values) != samples:
        raise DataError(
            f"There are {len(values)} labels for {samples} samples in {where}. Pass one per sample."
        )
    return values.astype(np.int64)


def check_ids(ids: object, samples: int, where: str) -> tuple[str, ...]:
    """Ids as text.

    Args:
        ids: Text or whole numbers, one per sample.
        samples: How many there must be.
        where: What they belong to, for the message.

    Raises:
        DataError: they are something else.
    """
    values = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else ids
    fits = isinstance(values, list | tuple) and all(isinstance(v, str | int) for v in values)
    if not isinstance(values, list | tuple) or not fits:
        raise DataError(
            f"The ids of {where} are a {type(ids).__name__} of other things than text. "
            "Pass one text or whole number per sample, as the third part of each sample."
        )
    if len(values) != samples:
        raise DataError(
            f"There are {len(values)} ids for {samples} samples in {where}. Pass one per sample."
        )
    return tuple(str(value) for value in values)


def one_line(error: BaseException, most: int = 300) -> str:
    """What an exception says, on one line; of a worker's traceback its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if "Traceback" in str(error) else " ".join(lines)
    text = text if len(text) <= most else text[:most] + "..."
    return text.removesuffix(".") if not isinstance(error, InputError) else text


def quoted(error: BaseException) -> str:
    """An exception's type and what it says, on one line without a full stop."""
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
