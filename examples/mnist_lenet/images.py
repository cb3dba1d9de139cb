"""The 10,000 test images of MNIST, and where this example finds its files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from neucept.errors import DataError

NEEDED = {
    "mnist.npz": "MNIST as arrays test_images (10000 x 28 x 28, uint8) and test_labels",
    "weights/mnist_lenet10-20-50_wang.pt": "the state dict of the network in network.py",
}


STUDENTS_FROM = 5000
"""The first half of the test images was written by census employees, the other by students."""


class Digits(Dataset[tuple[Tensor, int]]):
    """Images of 1 x 28 x 28 in [0, 1] with their digit; kept as bytes until they are asked for."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.pixels = pixels
        self.labels = labels.astype(np.int64)
        self.ids = [f"test {position}" for position in range(len(pixels))]
        self.metadata = described(pixels)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Many at once, which loaders prefer because it is faster."""
        inputs = torch.from_numpy(self.pixels[positions])[:, None].float() / 255
        return list(zip(inputs, self.labels[positions].tolist(), strict=True))


def described(pixels: np.ndarray) -> pd.DataFrame:
    """What can be told of each image without its digit: who wrote it, how much ink, how slanted.

    ink: the share of the area that is ink. slant: pixels to the right per pixel upwards, from the
    second moments of the ink.
    """
    ink = pixels.astype(float) / 255
    mass = ink.sum(axis=(1, 2))
    side = np.arange(pixels.shape[1], dtype=float)
    down = side[:, None] - (ink.sum(axis=2) @ side / mass)[:, None, None]
    across = side[None, :] - (ink.sum(axis=1) @ side / mass)[:, None, None]
    slant = -(ink * down * across).sum(axis=(1, 2)) / (ink * down**2).sum(axis=(1, 2))
    writer = np.where(np.arange(len(pixels)) < STUDENTS_FROM, "employee", "student")
    return pd.DataFrame({"writer": writer, "ink": mass / pixels[0].size, "slant": slant})


def load() -> Digits:
    with np.load(find("mnist.npz")) as arrays:
        return Digits(arrays["test_images"], arrays["test_labels"])


def find(name: str) -> Path:
    """A file of the folder that NEUCEPT_DATA names."""
    folder = os.environ.get("NEUCEPT_DATA")
    if not folder:
        everything = " and ".join(f"{name} ({what})" for name, what in NEEDED.items())
        raise DataError(f"NEUCEPT_DATA is not set. Set it to a folder with {everything}.")
    path = Path(folder) / name
    if not path.is_file():
        raise DataError(f"NEUCEPT_DATA is '{folder}', which lacks {name} ({NEEDED[name]}).")
    return path
