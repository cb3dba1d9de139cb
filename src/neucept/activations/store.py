"""Recorded activations: one matrix per layer in a Zarr store, chunked by samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from jaxtyping import Float, Float32, Int
from torch import Tensor
from zarr.storage import LocalStore, MemoryStore

from neucept.activations.batches import check_ids, check_labels, one_line
from neucept.activations.neurons import Layout
from neucept.activations.outputs import Scale, Target, class_count, class_score, predictions_of
from neucept.activations.writer import (
    FORMAT,
    VERSION,
    Writer,
    fill_value,
    new_array,
    refuse_foreign,
)
from neucept.errors import (
    DataError,
    ModelError,
    SettingsError,
    StorageError,
    StudyError,
    near_names,
)
from neucept.runtime import digest, writing

Rows = slice | Sequence[int] | np.ndarray


class Activations:
    """What a network's layers gave for every sample, read from its store as needed.

    Made by `capture`, `from_arrays` or `open`; never changed afterwards.
    """

    def __init__(self, group: zarr.Group, path: Path | None = None) -> None:
        """A view on a complete store; users call `capture`, `from_arrays` or `open`."""
        self._group = group
        self.path = path
        self._layers = {
            str(entry["name"]): entry for entry in cast(list[dict[str, Any]], group.attrs["layers"])
        }

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, Any],
        outputs: Any,
        labels: Any = None,
        ids: Sequence[str] | None = None,
    ) -> Activations:
        """Activations that were recorded elsewhere; no model is needed.

        Args:
            arrays: Layer name to matrix (samples, neurons), in order of execution.
            outputs: What the network returned, (samples, classes); logits or probabilities.
            labels: Class index of each sample; None if unknown.
            ids: A name for each sample; positions by default.

        Raises:
            DataError: shapes do not fit together, a value is no number, NaN or infinite, or
                nothing is there.
        """
        matrices = _by_layer(arrays)
        scores = _matrix("outputs", outputs)
        samples = len(scores)
        for name, x in matrices.items():
            if len(x) != samples:
                raise DataError(
                    f"Layer '{name}' has {len(x)} samples, outputs have {samples}. "
                    "Pass the same samples in the same order."
                )
        names = check_ids(ids, samples, "arrays") if ids is not None else _numbers(samples)
        known = None if labels is None else check_labels(labels, samples, "arrays")
        writer = Writer(MemoryStore(), pool="none", samples=samples)
        for name, x in matrices.items():
            writer.add_layer(name, "given", Layout((x.shape[1],)), np.dtype("float32"))
        writer.append(matrices, scores, known, names)
        return cls(writer.finish())

    @classmethod
    def open(cls, path: Path | str) -> Activations:
        """Activations from a folder that `capture` or `save` made; matrices are read on demand.

        Raises:
            StorageError: there is no such store, or it is damaged or only half written.
            StudyError: a newer version of neucept wrote it.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise StorageError(f"There is no activations store at '{folder}'. Capture it first.")
        try:
            group = zarr.open_group(LocalStore(folder, read_only=True), mode="r", zarr_format=3)
            attributes = dict(group.attrs)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise StorageError(
                f"'{folder}' is not an activations store. Pass a folder that capture or save made."
            ) from error
        if attributes.get("format") != FORMAT:
            raise StorageError(
                f"'{folder}' is a Zarr store, but not one of activations. "
                "Pass a folder that capture or save made."
            )
        version = attributes.get("version")
        if version != VERSION:
            raise StudyError(
                f"The activations in '{folder}' have format {version}, this neucept reads "
                f"{VERSION}. Update neucept, or capture them again."
            )
        if attributes.get("complete") is not True:
            raise StorageError(f"'{folder}' is only half written. Remove it and capture again.")
        try:
            acts = cls(group, folder)
            acts._check_shapes()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageError(
                f"The description of '{folder}' is damaged. Remove the store and capture again."
            ) from error
        return acts

    def save(self, path: Path | str) -> None:
        """Write the store to a folder; a store of activations that is there is replaced.

        Raises:
            StorageError: the folder holds something else, or cannot be written.
        """
        refuse_foreign(path)
        with writing(path) as temporary:
            group = zarr.open_group(LocalStore(temporary), mode="w", zarr_format=3)
            for name in (*self._matrices(), *self._side_arrays()):
                array = self._array(name)
                copy = new_array(group, name, array.shape, array.chunks, array.dtype)
                step = array.chunks[0]
                for start in range(0, array.shape[0], step):
                    rows = slice(start, min(start + step, array.shape[0]))
                    copy[rows] = self._read(name, rows)
            group.attrs.update(dict(self._group.attrs))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of execution."""
        return tuple(self._layers)

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each layer; "given" for arrays that came without a model."""
        return {name: str(entry["kind"]) for name, entry in self._layers.items()}

    @property
    def layouts(self) -> dict[str, Layout]:
        """Where the neurons are in each layer's output."""
        return {name: self._layout(name) for name in self._layers}

    @property
    def pool(self) -> str:
        """How maps became scalars: "mean", "max", "none", or the name of a function."""
        return str(self._group.attrs["pool"])

    @property
    def n_samples(self) -> int:
        """How many samples there are."""
        return int(cast(int, self._group.attrs["samples"]))

    @cached_property
    def outputs(self) -> Float32[np.ndarray, "samples classes"]:
        """What the network returned."""
        return _frozen(self._read("outputs"))

    @cached_property
    def predictions(self) -> Int[np.ndarray, " samples"]:
        """The predicted class of each sample."""
        return _frozen(predictions_of(self.outputs))

    @cached_property
    def labels(self) -> Int[np.ndarray, " samples"] | None:
        """The class each sample really has; None if the data did not say."""
        return _frozen(self._read("labels")) if self._labelled else None

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """A name for each sample."""
        text = self._read("ids").tobytes()
        try:
            names = tuple(json.loads(text.decode()))
        except ValueError as error:
            raise self._damaged("ids", "is not text") from error
        return names

    @property
    def n_classes(self) -> int:
        """How many classes the network tells apart."""
        return class_count(self.outputs)

    def n_neurons(self, layer: str) -> int:
        """How many neurons a layer has.

        Raises:
            ModelError: the layer was not recorded.
        """
        return int(self._entry(layer)["neurons"])

    def digest(self, layer: str | None = None) -> str:
        """A name for the content of a layer, or of everything: equal content, equal name.

        Args:
            layer: A recorded layer; None for all of them with outputs, labels and ids.

        Raises:
            ModelError: the layer was not recorded.
        """
        if layer is not None:
            return str(self._entry(layer)["digest"])
        layers = [[name, self.digest(name)] for name in self.layers]
        known = [] if self.labels is None else [self.labels]
        return digest(layers, self.pool, self.outputs, list(self.ids), *known)

    def matrix(self, layer: str, rows: Rows | None = None) -> Float32[np.ndarray, "rows neurons"]:
        """The activations of one layer.

        Args:
            layer: A recorded layer.
            rows: Which samples: positions, a slice or a mask; None for all. Only the chunks that
                hold them are read.

        Returns:
            A new array, rows in the order asked for.

        Raises:
            ModelError: the layer was not recorded.
            SettingsError: a row is negative or beyond the last sample.
            StorageError: the store is damaged.
        """
        name = str(self._entry(layer)["array"])
        values = self._read(name, check_rows(rows, self.n_samples))
        return values.astype(np.float32, copy=False)

    def class_score(
        self, target: Target, scale: Scale = "log_odds"
    ) -> Float[np.ndarray, " samples"]:
        """How strongly the network speaks for a class, per sample.

        Args:
            target: Index of the class; of a pair, the first rather than the second.
            scale: ``"log_odds"`` (nats) or ``"raw"``.

        Raises:
            SettingsError: no such class, or an unknown scale.
        """
        return class_score(self.outputs, target, scale)

    def __repr__(self) -> str:
        layers = ", ".join(f"{name} ({self.n_neurons(name)})" for name in self.layers)
        return f"Activations({self.n_samples} samples; {layers})"

    @property
    def _labelled(self) -> bool:
        return bool(self._group.attrs["labelled"])

    def _matrices(self) -> dict[str, str]:
        """Names of arrays in the store, and the layers that they hold."""
        return {str(entry["array"]): name for name, entry in self._layers.items()}

    def _side_arrays(self) -> tuple[str, ...]:
        return ("outputs", "ids", "labels") if self._labelled else ("outputs", "ids")

    def _entry(self, layer: str) -> dict[str, Any]:
        if layer not in self._layers:
            raise ModelError(f"Layer '{layer}' was not recorded. {near_names(layer, self._layers)}")
        return self._layers[layer]

    def _layout(self, layer: str) -> Layout:
        entry = self._entry(layer)
        return Layout(tuple(entry["shape"]), int(entry["axis"]), bool(entry["pooled"]))

    def _array(self, name: str) -> zarr.Array[Any]:
        return cast("zarr.Array[Any]", self._group[name])

    def _read(self, name: str, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        try:
            values = np.asarray(self._array(name).oindex[rows])
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise self._damaged(name, "cannot be read") from error
        # Zarr gives the fill value for a chunk that is not there, and nothing recorded equals it.
        fill = fill_value(values.dtype)
        if (np.isnan(values) if values.dtype.kind == "f" else values == fill).any():
            raise self._damaged(name, "is incomplete")
        return values

    def _damaged(self, array: str, how: str) -> StorageError:
        layer = self._matrices().get(array)
        what = array.capitalize() if layer is None else f"Layer '{layer}'"
        return StorageError(
            f"{what} in the activations store '{self.path or 'in memory'}' {how}. "
            "Remove the store and capture again."
        )

    def _check_shapes(self) -> None:
        for name in (*self._matrices(), *self._side_arrays()):
            try:
                shape = tuple(self._array(name).shape)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise self._damaged(name, "is missing") from error
            layer = self._matrices().get(name)
            fits = layer is None or shape == (self.n_samples, self.n_neurons(layer))
            if not fits or (name in ("outputs", "labels") and shape[0] != self.n_samples):
                raise self._damaged(name, f"has shape {shape}")


def _by_layer(arrays: object) -> dict[str, Float32[np.ndarray, "samples neurons"]]:
    if not isinstance(arrays, Mapping):
        raise DataError(
            f"arrays is a {type(arrays).__name__}. Pass a mapping of layer names to matrices."
        )
    if not arrays:
        raise DataError("There are no layers in arrays. Pass at least one matrix.")
    return {str(name): _matrix(f"layer '{name}'", x) for name, x in arrays.items()}


def _matrix(what: str, values: Any) -> Float32[np.ndarray, "samples neurons"]:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # numpy has no bfloat16.
        values = values.float() if values.is_floating_point() else values
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"The array of {what} is not one table of numbers: {one_line(error)}. "
            "Pass an array, a dense tensor, or lists of equal length."
        ) from error
    if array.dtype.kind not in "fiub" or array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"The array of {what} is {array.dtype} of shape {array.shape}. "
            "Pass numbers of shape (samples, neurons), at least one of each."
        )
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def check_rows(rows: Rows | None, samples: int) -> slice | np.ndarray:
    """Rows as zarr and numpy both understand them.

    Args:
        rows: Positions, a slice, or a mask; None for all.
        samples: How many there are.

    Raises:
        SettingsError: a row is negative or beyond the last sample, or a mask has another length.
    """
    if rows is None:
        return slice(None)
    if isinstance(rows, slice):
        bounds = [b for b in (rows.start, rows.stop) if b is not None]
        if any(not 0 <= b <= samples for b in bounds) or (rows.step or 1) < 1:
            raise SettingsError(f"rows is {rows} of {samples} samples. Stay within 0 to {samples}.")
        return np.arange(samples)[rows] if (rows.step or 1) > 1 else rows
    index = np.asarray(rows)
    if index.size == 0 and index.ndim == 1:
        return np.empty(0, dtype=np.int64)
    if index.dtype == bool and index.shape == (samples,):
        return np.flatnonzero(index)
    if index.dtype.kind not in "iu" or index.ndim != 1:
        raise SettingsError(
            f"rows is {index.dtype} of shape {index.shape} for {samples} samples. "
            "Pass positions, a slice, or one True or False per sample."
        )
    outside = index[(index < 0) | (index >= samples)]
    if len(outside):
        raise SettingsError(
            f"Row {outside[0]} does not exist: there are {samples} samples. "
            f"Pass positions from 0 to {samples - 1}."
        )
    return index.astype(np.int64)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _numbers(samples: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(samples))
