"""Recording what the layers of a network give for every sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from zarr.storage import LocalStore, MemoryStore

from neucept.activations.batches import Batch, Batches
from neucept.activations.neurons import Layout, Pool, neuron_values, pool_name
from neucept.activations.running import evaluation_mode, forward, plain_model
from neucept.activations.store import Activations
from neucept.activations.tracing import Call, choose_layers, output_problem, trace
from neucept.activations.writer import Writer, refuse_foreign
from neucept.errors import DataError, ModelError, SettingsError, near_names
from neucept.runtime import Progress, writing

TRACED_SAMPLES = 2
"""How many samples show which layers run and in which order."""

STORED_TYPES = ("float32", "float16")


def capture(
    model: nn.Module,
    data: object,
    layers: Sequence[str] | None = None,
    *,
    pool: Pool = "mean",
    batch_size: int = 256,
    device: str | torch.device | None = "auto",
    dtype: str = "float32",
    to: Path | str | None = None,
    progress: Progress | None = None,
) -> Activations:
    """Run a network over samples and record one matrix (samples, neurons) per layer.

    The network is left as it was found, also after an error. Memory stays within a batch and about
    a megabyte per layer when `to` is given.

    Args:
        model: A classifier that returns class scores (samples, classes).
        data: Tensor or array, tuple (x, labels) or (x, labels, ids) of arrays, Dataset, DataLoader,
            or iterable of batches; samples are x, (x, label) or (x, label, id).
        layers: Dotted names from `named_modules()`; None for all linear, convolutional,
            normalisation and activation modules that run once and are not the output.
        pool: How a neuron's map over space or tokens becomes one scalar: ``"mean"``, ``"max"``,
            ``"none"`` (every scalar is a neuron), or a function (samples, neurons, positions) ->
            (samples, neurons).
        batch_size: Samples per forward pass; loaders and iterables keep their own.
        device: ``"auto"`` (a GPU if there is one), a torch device, or None for where the model is.
        dtype: What is stored: ``"float32"`` or ``"float16"``.
        to: Folder for the store; an older store of activations there is replaced once the new one
            is complete. None keeps it in memory.
        progress: Told ("capture", samples done, samples in all or 0 if unknown).

    Returns:
        The activations, with outputs, labels and ids.

    Raises:
        ModelError: a layer cannot be recorded, or the model fails; the batch is named.
        DataError: the samples cannot be used, or an activation is NaN or infinite.
        SettingsError: a setting has an unknown value, or the device does not exist.
        StorageError: the folder holds something else, or cannot be written.
    """
    model = plain_model(model)
    if dtype not in STORED_TYPES:
        raise SettingsError(f"dtype is {dtype!r}. {near_names(str(dtype), STORED_TYPES)}")
    name = pool_name(pool)
    batches = Batches(data, batch_size)

    def record(store: LocalStore | MemoryStore) -> Activations:
        writer = Writer(store, pool=name, samples=batches.len_samples)
        with evaluation_mode(model, device) as place:
            _record(model, batches, place, layers, pool, np.dtype(dtype), writer, progress)
        return Activations(writer.finish())

    if to is None:
        return record(MemoryStore())
    refuse_foreign(to)
    with writing(to) as temporary:
        record(LocalStore(temporary))
    return Activations.open(to)


def _record(
    model: nn.Module,
    batches: Batches,
    device: torch.device,
    layers: Sequence[str] | None,
    pool: Pool,
    dtype: np.dtype[np.floating],
    writer: Writer,
    progress: Progress | None,
) -> None:
    done = 0
    recorder: _Recorder | None = None
    with ExitStack() as stack:
        for batch in batches:
            if recorder is None:
                chosen = choose_layers(
                    model, trace(model, batch.head(TRACED_SAMPLES), device), layers
                )
                recorder = _Recorder(_layouts(chosen, pool), pool)
                stack.enter_context(recorder.listening(model))
                for name, layout in recorder.layouts.items():
                    writer.add_layer(name, chosen[name].kind.name, layout, dtype)
            matrices, outputs = recorder.run(model, batch, device)
            writer.append(matrices, outputs, batch.labels, batch.ids)
            done += len(batch)
            if progress is not None:
                progress("capture", done, batches.len_samples or 0)


def _layouts(calls: dict[str, Call], pool: Pool) -> dict[str, Layout]:
    return {
        name: replace(call.layout, pooled=pool != "none")
        for name, call in calls.items()
        if call.layout is not None
    }


class _Recorder:
    """Collects the neurons of some layers in each forward pass."""

    def __init__(self, layouts: dict[str, Layout], pool: Pool) -> None:
        self.layouts = layouts
        self._pool = pool
        self._samples = 0
        self._classes = 0
        self._values: dict[str, Tensor] = {}

    @contextmanager
    def listening(self, model: nn.Module) -> Iterator[None]:
        """Keep hooks on the layers while the context lasts."""
        handles = []
        try:
            for name in self.layouts:
                module = model.get_submodule(name)
                handles.append(module.register_forward_hook(self._hook(name)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def run(
        self, model: nn.Module, batch: Batch, device: torch.device
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The matrices of one batch by layer, and the model's outputs.

        Raises:
            ModelError: the model fails, or a layer behaves otherwise than in the first batch.
        """
        self._values = {}
        self._samples = len(batch)
        outputs = forward(model, batch, device)
        for name in self.layouts:
            if name not in self._values:
                raise ModelError(
                    f"Layer '{name}' did not run on {batch.name}, though it did on the first. "
                    "Choose a layer that runs for every sample."
                )
        matrices = {name: values.cpu().numpy() for name, values in self._values.items()}
        self._check_widths(matrices, outputs.shape[1], batch)
        return matrices, outputs.to("cpu", torch.float32, copy=True).numpy()

    def _hook(self, name: str) -> Callable[[nn.Module, object, object], None]:
        layout = self.layouts[name]

        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            problem = output_problem(output, self._samples)
            if name in self._values:
                problem = "runs more than once in one forward pass"
            if problem or not isinstance(output, Tensor):
                raise ModelError(f"Layer '{name}' {problem}. Choose another layer.")
            self._values[name] = neuron_values(output, layout, self._pool)

        return hook

    def _check_widths(self, matrices: dict[str, np.ndarray], classes: int, batch: Batch) -> None:
        self._classes = self._classes or classes
        if classes != self._classes:
            raise ModelError(
                f"The model returned {classes} class scores on {batch.name}, {self._classes} on "
                "the first batch. It must return the same classes for every sample."
            )
        for name, matrix in matrices.items():
            neurons = self.layouts[name].neurons
            if matrix.shape[1] != neurons:
                raise DataError(
                    f"Layer '{name}' has {matrix.shape[1]} neurons on {batch.name}, {neurons} on "
                    "the first batch. Bring all samples to one shape, or pool with 'mean' or 'max'."
                )
