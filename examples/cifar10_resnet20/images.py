"""The 10,000 test images of CIFAR-10, and where this example finds its files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from neucept.errors import DataError

NEEDED = {
    "cifar10": "the test images as mosaics of 20 x 50, test_00.webp to test_09.webp, with "
    "test_labels.npz",
    "weights/cifar10_resnet20_akamaster.pt": "the state dict of the network in network.py",
}

MOSAICS = 10
ROWS, COLUMNS, SIDE = 20, 50, 32

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class Photographs(Dataset[tuple[Tensor, int]]):
    """Images of 3 x 32 x 32, normalised, with their class; kept as bytes until asked for."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.pixels = pixels
        self.labels = labels.astype(np.int64)
        each = ROWS * COLUMNS
        self.ids = [f"test_{p // each:02d}.webp, image {p % each}" for p in range(len(pixels))]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Many at once, which loaders prefer because it is faster."""
        inputs = torch.from_numpy(self.pixels[positions]).permute(0, 3, 1, 2).float() / 255
        inputs = (inputs - MEAN) / DEVIATION
        return list(zip(inputs, self.labels[positions].tolist(), strict=True))


def load() -> Photographs:
    folder = find("cifar10")
    pixels = np.concatenate([read(folder / f"test_{m:02d}.webp") for m in range(MOSAICS)])
    with np.load(folder / "test_labels.npz") as arrays:
        return Photographs(pixels, arrays["labels"])


def read(path: Path) -> np.ndarray:
    """The 1,000 images of one mosaic, 32 x 32 x 3 bytes each, row by row."""
    mosaic = np.asarray(Image.open(path).convert("RGB"))
    tiles = mosaic.reshape(ROWS, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(-1, SIDE, SIDE, 3)


def find(name: str) -> Path:
    """A file or folder in the folder that NEUCEPT_DATA names."""
    folder = os.environ.get("NEUCEPT_DATA")
    if not folder:
        everything = " and ".join(f"{name} ({what})" for name, what in NEEDED.items())
        raise DataError(f"NEUCEPT_DATA is not set. Set it to a folder with {everything}.")
    path = Path(folder) / name
    if not path.exists():
        raise DataError(f"NEUCEPT_DATA is '{folder}', which lacks {name} ({NEEDED[name]}).")
    return path
