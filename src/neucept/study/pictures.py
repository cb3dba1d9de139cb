"""Small pictures of the samples, where samples are images."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from neucept.activations import Batches
from neucept.mechanisms import Mechanisms
from neucept.runtime import Progress, writing

LONGEST_SIDE = 64
"""Pixels; larger inputs are scaled down to it."""


def write_pictures(
    folder: Path, batches: Batches, mech: Mechanisms, most: int, progress: Progress | None = None
) -> None:
    """Write the pictures of the samples of a class, prototypes first where not all fit.

    Args:
        folder: Made anew; it stays empty when the inputs are not images.
        batches: The samples.
        mech: Says which samples, and which are prototypes.
        most: Pictures at most.
        progress: Called as ``progress("pictures", done, total)``.

    Raises:
        StorageError: the folder cannot be written.
    """
    positions = pictured(mech, most)
    images = _images(batches, positions)
    with writing(folder) as temporary:
        temporary.mkdir()
        if images is None:
            return
        low, high = _range(images)
        for number, (position, image) in enumerate(zip(positions, images, strict=True)):
            content = _encoded(image, low, high)
            (temporary / f"{position:06d}.webp").write_bytes(content)
            if progress is not None and (number + 1) % 100 in (0, len(positions) % 100):
                progress("pictures", number + 1, len(positions))


def small_pictures(
    data: Any, positions: Iterable[int], *, batch_size: int = 256
) -> dict[int, bytes]:
    """Small pictures of a few samples, made from the inputs themselves.

    Args:
        data: What `explain` takes as new samples; at these positions it is read once more.
        positions: Which samples.
        batch_size: Samples read at a time.

    Returns:
        WebP bytes by position; empty when the inputs are not images. What is black and what is
        white goes by all of these samples.

    Raises:
        DataError: the data cannot be read.
    """
    rows = np.array(sorted(set(positions)), dtype=np.int64)
    images = _images(Batches(data, batch_size), rows)
    if images is None:
        return {}
    low, high = _range(images)
    return {
        int(position): _encoded(image, low, high)
        for position, image in zip(rows, images, strict=True)
    }


def pictured(mech: Mechanisms, most: int) -> Int[np.ndarray, " pictures"]:
    """Positions of the samples that get a picture, ascending: prototypes, then evenly the rest."""
    first = np.unique(np.asarray([p for rows in mech.prototypes for p in rows], dtype=np.int64))
    rest = np.setdiff1d(mech.samples, first)
    room = max(0, most - len(first))
    if room < len(rest):
        rest = rest[np.linspace(0, len(rest) - 1, room).round().astype(int)] if room else rest[:0]
    return np.sort(np.concatenate([first[:most], rest]))


def _images(batches: Batches, positions: Int[np.ndarray, " n"]) -> list[np.ndarray] | None:
    if not len(positions):
        return None
    images: list[np.ndarray] = []
    for batch in batches.take(positions):
        inputs = batch.inputs
        if not isinstance(inputs, Tensor) or inputs.ndim != 4 or inputs.shape[1] not in (1, 3):
            return None
        images += list(inputs.float().cpu().numpy())
    return images


def _encoded(
    image: np.ndarray, low: Float[np.ndarray, " channels"], high: Float[np.ndarray, " channels"]
) -> bytes:
    small = Image.fromarray(_pixels(image, low, high).squeeze())
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    held = io.BytesIO()
    small.save(held, "WEBP", lossless=max(image.shape[1:]) <= 32)
    return held.getvalue()


def _range(
    images: list[np.ndarray],
) -> tuple[Float[np.ndarray, " channels"], Float[np.ndarray, " channels"]]:
    # Inputs are usually normalised per channel; black and white of the whole set undo that.
    low = np.min([image.min(axis=(1, 2)) for image in images], axis=0)
    high = np.max([image.max(axis=(1, 2)) for image in images], axis=0)
    return low.astype(np.float64), high.astype(np.float64)


def _pixels(
    image: np.ndarray, low: Float[np.ndarray, " channels"], high: Float[np.ndarray, " channels"]
) -> UInt8[np.ndarray, "height width channels"]:
    span = np.maximum(high - low, 1e-12)[:, None, None]
    scaled = (image - low[:, None, None]) / span
    return np.asarray((255 * scaled).round().clip(0, 255), dtype=np.uint8).transpose(1, 2, 0)
