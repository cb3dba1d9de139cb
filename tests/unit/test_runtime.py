"""Seeds, tasks, atomic files, digests."""

from __future__ import annotations

import errno
import os
import platform
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from neucept import runtime
from neucept.errors import SettingsError, StorageError


def test_a_generator_depends_on_seed_and_key_alone() -> None:
    first = runtime.generator(3, "fc1", 0).normal(size=4)
    runtime.generator(3, "fc2", 0).normal(size=100)
    assert np.array_equal(first, runtime.generator(3, "fc1", 0).normal(size=4))
    for seed, key in ((4, ("fc1", 0)), (3, ("fc2", 0)), (3, ("fc1", 1))):
        assert not np.array_equal(first, runtime.generator(seed, *key).normal(size=4))


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, None])
def test_a_bad_seed_is_refused(seed: object) -> None:
    with pytest.raises(SettingsError, match="seed is"):
        runtime.check_seed(seed)


@pytest.mark.parametrize("n_jobs", [1, 2, None])
def test_tasks_keep_their_order_and_report_progress(n_jobs: int | None) -> None:
    told: list[tuple[str, int, int]] = []
    results = runtime.run_tasks(
        lambda a, b: a * b,
        [(i, 10) for i in range(7)],
        n_jobs=n_jobs,
        progress=lambda *event: told.append(event),
        stage="multiply",
    )
    assert results == [10 * i for i in range(7)]
    assert told == [("multiply", i + 1, 7) for i in range(7)]


@pytest.mark.parametrize("n_jobs", [0, "a", 1.5, True])
def test_a_number_of_workers_that_is_none_is_refused(n_jobs: object) -> None:
    with pytest.raises(SettingsError, match=f"n_jobs is {n_jobs!r}. Pass"):
        runtime.run_tasks(lambda a: a, [(1,)], n_jobs=n_jobs)  # type: ignore[arg-type]


def test_an_interrupted_call_stops_its_tasks() -> None:
    begun = []

    def task(i: int) -> int:
        begun.append(i)
        time.sleep(0.02)
        return i

    def interrupt(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.run_tasks(task, [(i,) for i in range(200)], n_jobs=2, progress=interrupt)
    time.sleep(0.2)
    assert len(begun) < 50


@given(
    arrays_of.arrays(np.float32, arrays_of.array_shapes(max_dims=2, max_side=4)),
    st.text(max_size=5),
)
def test_equal_content_has_equal_digests(array: np.ndarray, text: str) -> None:
    assert runtime.digest(array, text) == runtime.digest(array.copy(order="F"), text)
    assert runtime.digest(array, text) != runtime.digest(array, text + "x")
    assert runtime.digest(array) != runtime.digest(array.astype(np.float64))
    assert runtime.digest(array) != runtime.digest(array.reshape(*array.shape, 1))


def test_parts_of_a_digest_do_not_run_together() -> None:
    assert runtime.digest("ab", "c") != runtime.digest("a", "bc")
    assert runtime.digest(b"ab", b"c") != runtime.digest(b"a", b"bc")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table"
    runtime.write_bytes(path, b"old")
    with pytest.raises(StorageError, match="No space left"), runtime.writing(path) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["table"]


def test_another_error_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table"
    runtime.write_bytes(path, b"old")
    with pytest.raises(KeyError), runtime.writing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError("stop")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["table"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "pictures"
    for name in ("a", "b"):
        with runtime.writing(path) as temporary:
            temporary.mkdir()
            (temporary / name).write_bytes(b"1")
    assert os.listdir(path) == ["b"]
    assert os.listdir(tmp_path) == ["pictures"]


@pytest.mark.parametrize("name", ["pictures", "old"])
def test_a_folder_that_cannot_be_replaced_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    path.mkdir()
    (path / "precious").write_bytes(b"old")
    rename = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target) == path and (Path(source) / "new").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StorageError, match="nothing that was there has changed"):
            write_folder(path)
    assert os.listdir(tmp_path) == [name]
    assert (path / "precious").read_bytes() == b"old"
    write_folder(path)
    assert os.listdir(path) == ["new"]
    assert os.listdir(tmp_path) == [name]


def test_a_folder_that_cannot_be_put_back_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pictures"
    path.mkdir()
    (path / "precious").write_bytes(b"old")
    rename = os.replace

    def broken(source: Path, target: Path) -> None:
        if Path(target) == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(StorageError, match="what was there lies in '") as caught:
        write_folder(path)
    kept = Path(str(caught.value).partition("lies in '")[2].partition("'")[0])
    assert (kept / "precious").read_bytes() == b"old"


def write_folder(path: Path) -> None:
    with runtime.writing(path) as temporary:
        temporary.mkdir()
        (temporary / "new").write_bytes(b"1")


def test_arrays_round_trip_without_pickles(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    written = {"x": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "bc"])}
    runtime.write_arrays(path, written)
    read = runtime.read_arrays(path)
    assert set(read) == set(written)
    assert all(np.array_equal(read[k], written[k]) for k in written)
    with pytest.raises(SettingsError, match="Python objects"):
        runtime.write_arrays(path, {"x": np.array([{}])})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
def test_a_damaged_archive_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "arrays.npz"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="Cannot read"):
        runtime.read_arrays(path)


def test_a_checkpoint_is_computed_once_and_again_when_damaged(tmp_path: Path) -> None:
    calls = []

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"x": np.ones(3)}

    pieces = runtime.Checkpoints(tmp_path)
    for _ in range(2):
        assert np.array_equal(pieces.recall("key", compute)["x"], np.ones(3))
    assert len(calls) == 1
    (tmp_path / "key.npz").write_bytes(b"cut")
    pieces.recall("key", compute)
    assert len(calls) == 2
    pieces.clear()
    assert not tmp_path.exists()
    runtime.Checkpoints(None).recall("key", compute)
    assert len(calls) == 3


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the allocator of glibc is set")
def test_freed_memory_is_used_again() -> None:
    def pages_cleared() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        layers = [torch.zeros(2**22) for _ in range(8)]
        del layers
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with runtime.freed_memory_kept():
        pages_cleared()
        again = [pages_cleared() for _ in range(3)]
    # 8 arrays of 16 MiB are 32,768 pages of 4 KiB.
    assert sorted(again)[1] < 16_000
