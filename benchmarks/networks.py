"""The real networks that benchmarks are measured on, and the activations of their layers."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import neucept as nc
from neucept.runtime import writing
from neucept.sources import load_data, load_model

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "benchmarks" / "cache"

# What is timed is the first time.
os.environ["NEUCEPT_CACHE"] = ""

MANY = 50_000
"""Rows of "lenet_many": MNIST training images."""


def data_folder() -> Path:
    """The folder with the real data and weights."""
    return Path(os.environ["NEUCEPT_DATA"])


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1 x 1 and 3 x 3 convolutions side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps, (samples, 2 x expanded, height, width)."""
        x = torch.relu(self.squeeze1x1(x))
        return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 (Iandola et al., 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2)
        widths = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256)]
        inputs = 64
        for number, (squeezed, expanded) in enumerate([*widths, (64, 256)], 2):
            setattr(self, f"fire{number}", Fire(inputs, squeezed, expanded))
            inputs = 2 * expanded
        self.conv10 = nn.Conv2d(512, 1000, 1)
        self.halve = nn.MaxPool2d(3, 2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the 1,000 classes."""
        x = self.halve(torch.relu(self.conv1(x)))
        x = self.halve(self.fire3(self.fire2(x)))
        x = self.halve(self.fire5(self.fire4(x)))
        x = self.fire9(self.fire8(self.fire7(self.fire6(x))))
        return torch.relu(self.conv10(x)).mean((2, 3))


def squeezenet() -> tuple[nn.Module, TensorDataset]:
    """SqueezeNet and the 1,200 ImageNet images, at 227 x 227."""
    model = SqueezeNet()
    weights = torch.load(
        data_folder() / "weights" / "imagenet_squeezenet11_fp16.pt", weights_only=True
    )
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    stored = np.load(data_folder() / "imagenette_subset.npz")
    jpeg, ends = stored["jpeg"].tobytes(), stored["offsets"]
    images = np.empty((len(ends) - 1, 3, 227, 227), dtype=np.float32)
    for i in range(len(images)):
        picture = Image.open(io.BytesIO(jpeg[ends[i] : ends[i + 1]])).convert("RGB")
        pixels = np.asarray(picture.resize((227, 227), Image.Resampling.BILINEAR), dtype=np.float32)
        images[i] = (pixels[:, :, ::-1] - (104, 117, 123)).transpose(2, 0, 1)
    return model, TensorDataset(torch.from_numpy(images))


def lenet(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """LeNet 6-16-120-84; layers 7 (120 units) and 10 (84) follow an activation."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), activation(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), activation(), nn.AvgPool2d(2)),
        *(nn.Conv2d(16, 120, 5), activation(), nn.Flatten()),
        *(nn.Linear(120, 84), activation(), nn.Linear(84, 10)),
    )


def trained_lenet(activation: type[nn.Module] = nn.Tanh, epochs: int = 2) -> nn.Sequential:
    """LeNet after two passes over the MNIST training images; about half a minute."""
    stored = np.load(data_folder() / "mnist.npz")
    images = torch.from_numpy(stored["train_images"]).float()[:, None] / 255
    labels = torch.from_numpy(stored["train_labels"]).long()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = lenet(activation)
        optimiser = torch.optim.Adam(model.parameters(), 2e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(128):
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return model.eval()


def _lenet() -> tuple[nn.Module, TensorDataset]:
    return trained_lenet(), _lenet_images()


def _lenet_images() -> TensorDataset:
    stored = np.load(data_folder() / "mnist.npz")
    return TensorDataset(torch.from_numpy(stored["test_images"]).float()[:, None] / 255)


def _lenet_many() -> tuple[nn.Module, TensorDataset]:
    stored = np.load(data_folder() / "mnist.npz")
    images = torch.from_numpy(stored["train_images"][:MANY]).float()[:, None] / 255
    return trained_lenet(), TensorDataset(images)


def _resnet20() -> tuple[nn.Module, object]:
    folder = ROOT / "examples" / "cifar10_resnet20"
    return load_model(f"{folder / 'network.py'}:build"), load_data(f"{folder / 'images.py'}:load")


SOURCES: dict[str, Callable[[], tuple[nn.Module, object]]] = {
    "resnet20": _resnet20,
    "squeezenet": squeezenet,
    "lenet": _lenet,
    "lenet_many": _lenet_many,
}


def activations(name: str, layers: Sequence[str]) -> nc.Activations:
    """The activations of some layers of a network, captured once and kept in the cache."""
    place = CACHE / f"{name}-{'-'.join(layers)}.zarr"
    if not place.exists():
        model, data = SOURCES[name]()
        with writing(place) as temporary:
            nc.capture(model, data, list(layers), to=temporary)
    return nc.Activations.open(place)
