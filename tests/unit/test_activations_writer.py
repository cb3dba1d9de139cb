"""Writing a store: chunks are whole, unequal batches do not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore, MemoryStore

from neucept.activations import Activations, Layout
from neucept.activations.writer import Writer, fill_value, refuse_foreign
from neucept.errors import DataError, StorageError


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    chunk_rows=st.integers(1, 12),
    known=st.booleans(),
)
def test_any_batches_into_any_chunks(sizes: list[int], chunk_rows: int, known: bool) -> None:
    samples = sum(sizes)
    x = np.random.default_rng(samples).normal(size=(samples, 3)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neucept.activations.writer.CHUNK_BYTES", 12 * chunk_rows)
        writer = Writer(MemoryStore(), pool="none", samples=samples if known else None)
        writer.add_layer("a", "linear", Layout((3,)), np.dtype("float32"))
        for start, size in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True):
            part = x[start : start + size]
            labels = np.arange(start, start + size)
            writer.append({"a": part}, part, labels, [str(i) for i in labels])
        acts = Activations(writer.finish())
    assert np.array_equal(acts.matrix("a"), x)
    assert np.array_equal(acts.labels, np.arange(samples))
    assert acts.ids == tuple(str(i) for i in range(samples))
    assert acts.digest("a") == Activations.from_arrays({"a": x}, x).digest("a")


def test_whole_chunks_are_on_disk_before_the_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("neucept.activations.writer.CHUNK_BYTES", 4 * 3 * 10)
    writer = Writer(LocalStore(tmp_path), pool="none")
    writer.add_layer("a", "linear", Layout((3,)), np.dtype("float32"))
    x = np.ones((25, 3), dtype=np.float32)
    writer.append({"a": x}, x, None, [str(i) for i in range(25)])
    assert len(list((tmp_path / "layer0000" / "c").iterdir())) == 2
    writer.finish()
    assert len(list((tmp_path / "layer0000" / "c").iterdir())) == 3


def test_the_first_bad_value_is_named() -> None:
    writer = Writer(MemoryStore(), pool="none")
    writer.add_layer("a", "linear", Layout((3,)), np.dtype("float32"))
    x = np.ones((4, 3), dtype=np.float32)
    bad = x.copy()
    bad[2, 1], bad[3, 0] = np.inf, np.nan
    with pytest.raises(DataError, match="Sample 'c' gives inf in layer 'a', neuron 1"):
        writer.append({"a": bad}, x, None, list("abcd"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8"])
def test_the_fill_value_is_of_the_type(dtype: str) -> None:
    value = fill_value(np.dtype(dtype))
    assert np.isnan(value) or np.array(value, dtype=dtype) == value


def test_only_stores_and_empty_places_may_be_replaced(tmp_path: Path) -> None:
    refuse_foreign(tmp_path / "new")
    refuse_foreign(tmp_path)
    (tmp_path / "zarr.json").write_text('{"attributes": 3}')
    with pytest.raises(StorageError, match="Choose another place"):
        refuse_foreign(tmp_path)
