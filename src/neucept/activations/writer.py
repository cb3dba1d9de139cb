"""Writing a store of activations: whole chunks, checked values, and a mark when it is complete."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float, Int
from zarr.codecs import Crc32cCodec
from zarr.storage import LocalStore, MemoryStore

from neucept.activations.neurons import Layout
from neucept.errors import DataError, StorageError

FORMAT = "neucept activations"
VERSION = 1
CHUNK_BYTES = 2**20
"""Size of a chunk; a layer being recorded holds about as much in memory."""


class Writer:
    """Fills a new store batch by batch; memory is about one chunk per layer."""

    def __init__(
        self, store: LocalStore | MemoryStore, *, pool: str, samples: int | None = None
    ) -> None:
        """Start a store.

        Args:
            store: Where it goes; what is there is replaced.
            pool: The name of the pooling.
            samples: How many there will be, if that is known.
        """
        self._group = zarr.open_group(store, mode="w", zarr_format=3)
        self._group.attrs.update({"format": FORMAT, "version": VERSION, "complete": False})
        self._expected = samples
        self._pool = pool
        self._layers: dict[str, dict[str, Any]] = {}
        self._columns: dict[str, _Column] = {}
        self._outputs: _Column | None = None
        self._labels: _Column | None = None
        self._ids: list[str] = []

    def add_layer(self, name: str, kind: str, layout: Layout, dtype: np.dtype[Any]) -> None:
        """Announce a layer; in order of execution, before the first `append`."""
        array = f"layer{len(self._layers):04d}"
        self._layers[name] = {
            "name": name,
            "array": array,
            "kind": kind,
            "neurons": layout.neurons,
            "shape": list(layout.shape),
            "axis": layout.axis,
            "pooled": layout.pooled,
        }
        self._columns[name] = self._column(array, layout.neurons, dtype)

    def append(
        self,
        matrices: Mapping[str, np.ndarray],
        outputs: Float[np.ndarray, "samples classes"],
        labels: Int[np.ndarray, " samples"] | None,
        ids: Sequence[str],
    ) -> None:
        """Add a batch; every layer that was announced, finite values only.

        Raises:
            DataError: a value is NaN or infinite; the layer and the sample are named.
        """
        if self._outputs is None:
            self._outputs = self._column("outputs", outputs.shape[1], np.dtype("float32"))
        for name, column in self._columns.items():
            column.append(_finite(f"layer '{name}'", matrices[name], column.dtype, ids))
        self._outputs.append(_finite("the model's output", outputs, self._outputs.dtype, ids))
        if labels is not None:
            if self._labels is None:
                self._labels = self._column("labels", None, np.dtype("int64"))
            self._labels.append(labels)
        self._ids.extend(ids)

    def finish(self) -> zarr.Group:
        """Write what is left, then the mark that says the store is complete."""
        for name, column in self._columns.items():
            self._layers[name]["digest"] = column.finish()
        for side in (self._outputs, self._labels):
            if side is not None:
                side.finish()
        text = np.frombuffer(json.dumps(self._ids).encode(), dtype=np.uint8)
        ids = new_array(self._group, "ids", text.shape, (min(len(text), CHUNK_BYTES),), text.dtype)
        ids[:] = text
        self._group.attrs.update(
            {
                "pool": self._pool,
                "samples": len(self._ids),
                "labelled": self._labels is not None,
                "layers": list(self._layers.values()),
            }
        )
        self._group.attrs["complete"] = True
        return self._group

    def _column(self, array: str, width: int | None, dtype: np.dtype[Any]) -> _Column:
        return _Column(self._group, array, width, dtype, self._expected)


class _Column:
    """One growing array of the store, written whole chunks at a time."""

    def __init__(
        self,
        group: zarr.Group,
        name: str,
        width: int | None,
        dtype: np.dtype[Any],
        expected: int | None,
    ) -> None:
        self.dtype = dtype
        tail = () if width is None else (width,)
        rows = max(1, CHUNK_BYTES // (dtype.itemsize * math.prod(tail)))
        self._chunk = rows if expected is None else max(1, min(rows, expected))
        self._array = new_array(group, name, (expected or 0, *tail), (self._chunk, *tail), dtype)
        # Filled in place: batches that wait one by one would lie between what the next forward
        # passes allocate and free, and the process would grow with the holes.
        self._waiting = np.empty((self._chunk, *tail), dtype)
        self._filled = 0
        self._written = 0
        self._state = hashlib.blake2b(f"{dtype.str} {tail}".encode(), digest_size=16)

    def append(self, values: np.ndarray) -> None:
        begin = 0
        while begin < len(values):
            part = values[begin : begin + self._chunk - self._filled]
            self._waiting[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            begin += len(part)
            if self._filled == self._chunk:
                self._write(self._waiting)
                self._filled = 0

    def finish(self) -> str:
        if self._filled:
            self._write(self._waiting[: self._filled])
        if self._array.shape[0] != self._written:
            self._array.resize((self._written, *self._array.shape[1:]))
        return self._state.hexdigest()

    def _write(self, block: np.ndarray) -> None:
        end = self._written + len(block)
        if end > self._array.shape[0]:
            self._array.resize((end, *self._array.shape[1:]))
        self._array[self._written : end] = block
        self._state.update(np.ascontiguousarray(block).data)
        self._written = end


def new_array(
    group: zarr.Group, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: Any
) -> zarr.Array[Any]:
    """An array of the store; chunks that are missing read as `fill_value`."""
    # No compression: activations hardly shrink, and capture must not wait for it. The checksum
    # tells a damaged chunk.
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=fill_value(np.dtype(dtype)),
        compressors=Crc32cCodec(),
    )


def fill_value(dtype: np.dtype[Any]) -> float | int:
    """A value that is never recorded: NaN, the least integer, a byte that UTF-8 does not have."""
    if dtype.kind == "f":
        return math.nan
    return 255 if dtype == np.uint8 else int(np.iinfo(dtype).min)


def _finite(what: str, values: np.ndarray, dtype: np.dtype[Any], ids: Sequence[str]) -> np.ndarray:
    with np.errstate(over="ignore"):
        stored = values.astype(dtype, copy=False)
    finite = np.isfinite(stored)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        hint = (
            f"too large for {dtype.name}; capture with dtype='float32'"
            if np.isfinite(values[row, column])
            else "leave such samples out, or mend the network"
        )
        raise DataError(
            f"Sample '{ids[row]}' gives {values[row, column]} in {what}, neuron {column}: {hint}."
        )
    return stored


def refuse_foreign(path: Path | str) -> None:
    """Refuse to replace anything but a store of activations, or nothing.

    Raises:
        StorageError: something else is there.
    """
    folder = Path(path)
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
        text = (folder / "zarr.json").read_text()
        ours = json.loads(text)["attributes"]["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise StorageError(
            f"'{folder}' exists and is not an activations store, so it is not replaced. "
            "Choose another place."
        )
