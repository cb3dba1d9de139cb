"""Images that carry a known reason: a planted mark, or a hidden grade of an affection."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from networks import data_folder
from PIL import Image
from torch import Tensor

from neucept.errors import DataError
from neucept.runtime import generator

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files; `NEUCEPT_FASHION` names another."""

STEPS = 24
"""Widths of the blur that are told apart."""


@dataclass(frozen=True)
class Images:
    """Training and test images in [0, 1], (samples, channels, height, width), and their classes."""

    train: Tensor
    train_labels: np.ndarray
    test: Tensor
    test_labels: np.ndarray


@cache
def images(name: str) -> Images:
    """The images of "mnist", "fashion" or "cifar10" (30,000 of its training images)."""
    return {"mnist": _mnist, "fashion": _fashion, "cifar10": _cifar10}[name]()


def _mnist() -> Images:
    with np.load(data_folder() / "mnist.npz") as stored:
        return _grey({name: stored[name] for name in stored.files})


def _fashion() -> Images:
    folder = Path(os.environ.get("NEUCEPT_FASHION", FASHION))
    if not folder.is_dir():
        raise DataError(
            f"There is no Fashion-MNIST in '{folder}'. Install Debian's dataset-fashion-mnist, or "
            "set NEUCEPT_FASHION to a folder with its four files."
        )
    names = {"train": "train", "test": "t10k"}
    kinds = {"images": "images-idx3", "labels": "labels-idx1"}
    return _grey(
        {
            f"{part}_{what}": _idx(folder / f"{names[part]}-{kinds[what]}-ubyte.gz")
            for part in names
            for what in kinds
        }
    )


def _idx(path: Path) -> np.ndarray:
    """An array as the MNIST family stores it: dimensions after a magic number, then bytes."""
    content = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(content, ">i4", content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def _grey(stored: dict[str, np.ndarray]) -> Images:
    pixels = {
        part: torch.from_numpy(stored[f"{part}_images"].copy()).float()[:, None] / 255
        for part in ("train", "test")
    }
    known = {part: stored[f"{part}_labels"].astype(np.int64) for part in ("train", "test")}
    return Images(pixels["train"], known["train"], pixels["test"], known["test"])


def _cifar10() -> Images:
    folder = data_folder() / "cifar10"
    parts = {}
    for part in ("train", "test"):
        mosaics = sorted(folder.glob(f"{part}_??.webp"))
        pixels = np.concatenate([_tiles(path) for path in mosaics])
        with np.load(folder / f"{part}_labels.npz") as stored:
            known = stored["labels"].astype(np.int64)
        parts[part] = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, known
    return Images(*parts["train"], *parts["test"])


def _tiles(path: Path) -> np.ndarray:
    mosaic = np.asarray(Image.open(path).convert("RGB"))
    return mosaic.reshape(20, 32, 50, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3)


@dataclass(frozen=True)
class Mark:
    """Something that is put on an image and has nothing to do with what it shows.

    Attributes:
        kind: "patch" (a square in a corner), "stripe" (along an edge) or "cast" (of colour, or of
            grey, over the whole image).
        place: Of a patch "top left", "bottom right" and so on; of a stripe "top" or "left".
        size: Side of a patch or width of a stripe in pixels; strength of a cast in (0, 1).
        colour: Value per channel, or one for all.
    """

    kind: str
    place: str = ""
    size: float = 4
    colour: tuple[float, ...] = (1.0,)

    def on(self, x: Tensor) -> Tensor:
        """The images with the mark."""
        colour = torch.tensor(self.colour).expand(x.shape[1])[None, :, None, None]
        share = self.share(*x.shape[2:])
        return (1 - share) * x + share * colour

    def share(self, height: int, width: int) -> Tensor:
        """How much of each pixel is the mark's colour; edges between pixels are shared."""
        if self.kind == "cast":
            return torch.full((height, width), self.size)
        down, right = (_reach(length, self.size) for length in (height, width))
        if self.kind == "stripe":
            across = down[:, None] if self.place == "top" else right[None]
            return across.expand(height, width)
        rows = down.flip(0) if "bottom" in self.place else down
        columns = right.flip(0) if "right" in self.place else right
        return rows[:, None] * columns[None]


def _reach(length: int, size: float) -> Tensor:
    """1 for the first `size` places, the rest 0; a part of a place where it ends."""
    return (size - torch.arange(length)).clamp(0, 1)


def chosen(labels: np.ndarray, target: int, share: float, *key: str) -> np.ndarray:
    """A share of the samples of one class, drawn at random; True for these."""
    own = np.flatnonzero(labels == target)
    picked = generator(0, "marked", *key).permutation(own)[: round(share * len(own))]
    return np.isin(np.arange(len(labels)), picked)


def marked(x: Tensor, rows: np.ndarray, mark: Mark) -> Tensor:
    """The images, some of them with the mark."""
    out = x.clone()
    out[torch.from_numpy(rows)] = mark.on(x[torch.from_numpy(rows)])
    return out


Affection = Callable[[Tensor, Tensor], Tensor]
"""Of images and their grades in [0, 1], the affected images; grade 0 changes nothing."""


def thicker(x: Tensor, grade: Tensor) -> Tensor:
    """Strokes that widen by up to two pixels on either side."""
    widths = [x, *(torch.nn.functional.max_pool2d(x, 2 * r + 1, 1, r) for r in (1, 2))]
    place = 2 * grade[:, None, None, None]
    first = torch.lerp(widths[0], widths[1], place.clamp(0, 1))
    return torch.where(place <= 1, first, torch.lerp(widths[1], widths[2], place - 1))


def blurred(x: Tensor, grade: Tensor) -> Tensor:
    """A Gaussian blur of up to 2.5 pixels."""
    out = x.clone()
    steps = (grade * STEPS).round().int()
    for step in range(1, STEPS + 1):
        rows = steps == step
        if rows.any():
            out[rows] = _blur(x[rows], 2.5 * step / STEPS)
    return out


def _blur(x: Tensor, width: float) -> Tensor:
    kernel = torch.exp(-0.5 * (torch.arange(-7, 8) / width) ** 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    x = torch.nn.functional.pad(x, (7, 7, 7, 7), mode="replicate")
    x = torch.nn.functional.conv2d(x, kernel, groups=x.shape[1])
    return torch.nn.functional.conv2d(x, kernel.transpose(2, 3), groups=x.shape[1])


def growing(colour: tuple[float, ...]) -> Affection:
    """A square in the lower right corner that grows to ten pixels a side."""

    def affected(x: Tensor, grade: Tensor) -> Tensor:
        side = 10 * grade[:, None]
        reach = [(side - torch.arange(n)).clamp(0, 1).flip(1) for n in x.shape[2:]]
        share = (reach[0][:, :, None] * reach[1][:, None])[:, None]
        return torch.lerp(x, torch.tensor(colour)[:, None, None].expand_as(x), share)

    return affected


def affected(x: Tensor, affection: Affection, *key: str) -> tuple[Tensor, np.ndarray]:
    """Half of the images affected, each to a grade of its own.

    Args:
        x: Images.
        affection: What is done to them.
        key: Names the draw of who is affected, and how far.

    Returns:
        The images, and the grade of each: 0, or uniform on (0, 1).
    """
    random = generator(0, "affected", *key)
    grade = np.where(random.random(len(x)) < 0.5, random.random(len(x)), 0.0).astype(np.float32)
    return affection(x, torch.from_numpy(grade)), grade
