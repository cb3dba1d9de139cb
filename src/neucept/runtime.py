"""What every stage needs from the machine: seeds, tasks, atomic files, digests, progress."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from neucept.errors import SettingsError, StorageError

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``: called as work advances; `total` is fixed in a stage."""

THREADS_PER_TASK = 1
"""BLAS threads inside one task. Part of what makes results bit-equal for any number of workers."""

TEMPORARY = ".writing."
"""Prefix of the folders that hold what is being written; one that a kill left may be removed."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of the C library's allocator."""

_KEPT, _LARGEST_FROM_HEAP, _USUAL = 2**30, 2**25, 2**26
"""Bytes: freed memory kept in `freed_memory_kept`, allocations that come from it, and what the
C library keeps on its own once large arrays were used."""

Result = TypeVar("Result")


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed for the next allocation, instead of handing it back to the system.

    A forward pass frees and allocates the same tensors again for every batch. Left to itself, the
    allocator of glibc returns them in between, depending on what happens to lie beside them, and
    the system then clears every page anew: a third of the time of a small network, by measurement.
    Given back at the end. Elsewhere than on glibc nothing is done.
    """
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if library is None or not hasattr(library, "gnu_get_libc_version"):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _LARGEST_FROM_HEAP)
    library.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, _USUAL)
        library.malloc_trim(0)


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """A random generator of its own for one task.

    Args:
        seed: The study's seed, at least 0.
        key: What the task is: layer name, draw number and the like. Order matters.

    Returns:
        A generator that depends on the seed and the key alone, so results do not depend on the
        order of tasks, on the number of workers, or on a resume.

    Raises:
        SettingsError: `seed` is negative or not an integer.
    """
    check_seed(seed)
    words = tuple(zlib.crc32(k.encode()) if isinstance(k, str) else int(k) for k in key)
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=words))


def derived_seed(seed: int, *key: int | str) -> int:
    """A whole-number seed of its own for a part that takes a seed and not a generator.

    Args:
        seed: The study's seed, at least 0.
        key: What the part is; as in `generator`.

    Returns:
        A number in [0, 2^32).

    Raises:
        SettingsError: `seed` is negative or not an integer.
    """
    return int(generator(seed, *key).integers(2**32))


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number, of Python or numpy, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_real(value: object) -> TypeGuard[float]:
    """Whether it is a real number, of Python or numpy, and no truth value."""
    real = int | float | np.integer | np.floating
    return isinstance(value, real) and not isinstance(value, bool)


def check_seed(seed: object) -> None:
    """Refuse a seed that is not a whole number of at least 0.

    Raises:
        SettingsError: as said.
    """
    if not is_whole(seed) or seed < 0:
        raise SettingsError(f"seed is {seed!r}. Pass a whole number of at least 0.")


def run_tasks(
    function: Callable[..., Result],
    jobs: Sequence[tuple[Any, ...]],
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    stage: str = "tasks",
) -> list[Result]:
    """Run independent tasks, in parallel where there are cores, and keep their order.

    The backend is joblib's: threads by default, or whatever the caller set with
    ``joblib.parallel_config`` (processes, Dask). Each task has `THREADS_PER_TASK` BLAS threads.

    Args:
        function: Called as ``function(*job)`` for each job.
        jobs: The arguments of each task.
        n_jobs: Workers; None for one per core (or what `parallel_config` says).
        progress: Told after each finished task.
        stage: The name that `progress` is told.

    Returns:
        The results, in the order of `jobs`.

    Raises:
        SettingsError: `n_jobs` is no number of workers.
    """
    if n_jobs is not None and (not is_whole(n_jobs) or n_jobs == 0):
        raise SettingsError(
            f"n_jobs is {n_jobs!r}. Pass None for one worker per core, or a whole number of at "
            "least 1."
        )
    parent = os.getpid()
    workers = n_jobs if n_jobs is not None else _default_workers()
    parallel = joblib.Parallel(n_jobs=workers, prefer="threads", return_as="generator")
    results: list[Result] = []
    with threadpool_limits(THREADS_PER_TASK):
        stream = parallel(joblib.delayed(_one_task)(function, job, parent) for job in jobs)
        try:
            for result in stream:
                results.append(result)
                if progress is not None:
                    progress(stage, len(results), len(jobs))
        finally:
            # An interrupted call must not leave tasks running; joblib warns that it cancels them.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                stream.close()
    return results


def _default_workers() -> int | None:
    # What `joblib.parallel_config` says goes first, also when it says 1.
    configured = joblib.parallel.get_active_backend()[1]
    return int(joblib.cpu_count()) if configured is None else None


def _one_task(function: Callable[..., Result], job: tuple[Any, ...], parent: int) -> Result:
    # Thread limits belong to the process: in the parent's threads they are already set, and
    # setting them again from several threads at once would race.
    if os.getpid() == parent:
        return function(*job)
    with threadpool_limits(THREADS_PER_TASK):
        return function(*job)


def digest(*parts: object) -> str:
    """A short name for content: equal content gives an equal name on every machine.

    Args:
        parts: Arrays (shape, type and bytes count), bytes, or anything JSON can write.

    Returns:
        32 hexadecimal characters (BLAKE2b).
    """
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(f"array {part.dtype.str} {part.shape}".encode())
            state.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, bytes):
            state.update(f"bytes {len(part)}".encode() + part)
        else:
            text = json.dumps(part, sort_keys=True, default=str)
            state.update(f"json {len(text)}".encode() + text.encode())
    return state.hexdigest()


@contextmanager
def writing(path: Path | str) -> Iterator[Path]:
    """A temporary place beside `path`; what is written there takes its name when all went well.

    Args:
        path: The file (or folder) to make. Its parent is made if needed.

    Yields:
        The temporary path, which does not exist yet.

    Raises:
        StorageError: the place cannot be written; what stood at `path` is untouched.
    """
    final = Path(path)
    temporary: Path | None = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=final.parent))
        temporary = holder / final.name
        yield temporary
        _take_name(temporary, final)
    except OSError as error:
        raise StorageError(
            f"Cannot write '{final}': {error.strerror or error}. "
            "Free space or choose another place; nothing that was there has changed."
        ) from error
    finally:
        # What could not go back to its place must not go with the leftovers.
        if temporary is not None and (final.exists() or not _replaced(temporary).exists()):
            shutil.rmtree(temporary.parent, ignore_errors=True)


def _replaced(temporary: Path) -> Path:
    """Where an old folder lies while the new one takes its name."""
    return temporary.with_name(f"{temporary.name}.replaced")


def _take_name(temporary: Path, final: Path) -> None:
    old = _replaced(temporary)
    # A file is replaced in one step, a folder is not.
    if temporary.is_dir() and final.exists():
        final.replace(old)
    try:
        temporary.replace(final)
    except BaseException:
        if old.exists():
            _put_back(old, final)
        raise


def _put_back(old: Path, final: Path) -> None:
    try:
        old.replace(final)
    except OSError as error:
        raise StorageError(
            f"Cannot write '{final}': {error.strerror or error}. "
            f"Free space or choose another place; what was there lies in '{old}'."
        ) from error


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    Raises:
        StorageError: the file cannot be written.
    """
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_arrays(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write plain arrays as an uncompressed ``.npz``, atomically and without pickles.

    Raises:
        StorageError: the file cannot be written.
        SettingsError: an array holds Python objects.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise SettingsError(f"Array '{name}' holds Python objects. Pass numbers or text.")
    with writing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote.

    Raises:
        StorageError: the file is missing, cut short, or holds pickles.
    """
    try:
        with Path(path).open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise StorageError(
            f"Cannot read '{path}': {error}. Remove it; it is made again when needed."
        ) from error


class Checkpoints:
    """Finished pieces of a long computation, kept in a folder under the digest of what made them.

    A piece that is there is never computed again; one that a kill cut short was never there.
    """

    def __init__(self, folder: Path | str | None) -> None:
        """`folder` holds the pieces; None keeps nothing, so that callers need no second path."""
        self._folder = None if folder is None else Path(folder)

    def recall(
        self, key: str, compute: Callable[[], Mapping[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """The arrays stored under `key`, computed and stored first if they are not there.

        Args:
            key: From `digest`, over everything the result depends on.
            compute: Makes the arrays.

        Returns:
            The arrays, by name.
        """
        if self._folder is None:
            return dict(compute())
        path = self._folder / f"{key}.npz"
        if path.exists():
            try:
                return read_arrays(path)
            except StorageError:
                path.unlink(missing_ok=True)
        arrays = dict(compute())
        write_arrays(path, arrays)
        return arrays

    def clear(self) -> None:
        """Forget every piece; called when the whole computation has been saved elsewhere."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
