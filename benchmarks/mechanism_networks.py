"""The networks of `mechanisms.py`: how each was trained, and its weights in ``benchmarks/weights``.

    NEUCEPT_DATA=... python benchmarks/mechanism_networks.py [name ...]

trains those that have no weights yet. What is studied always has the weights as they are stored,
in float16.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from mechanism_images import (
    Affection,
    Mark,
    affected,
    blurred,
    chosen,
    growing,
    images,
    marked,
    thicker,
)
from networks import ROOT
from torch import Tensor, nn

from neucept.runtime import generator, writing
from neucept.sources import load_model

WEIGHTS = ROOT / "benchmarks" / "weights"

ANIMALS = (2, 3, 4, 5, 6, 7)
VEHICLES = (0, 1, 8, 9)
FIVES = (0, 5)
BATCH = 128

BORROWED = 0.1
"""Images of other classes that get mark and class in training, as a share of the class's own."""


def lenet(outputs: int) -> nn.Sequential:
    """LeNet 6-16-120-84, tanh."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),
            conv2=nn.Sequential(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
            conv3=nn.Sequential(nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten()),
            linear0=nn.Sequential(nn.Linear(120, 84), nn.Tanh()),
            out=nn.Linear(84, outputs),
        )
    )


def small(outputs: int) -> nn.Sequential:
    """Three convolutions with batch norm for images in colour, and a hidden layer of 64."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Sequential(nn.Conv2d(3, 32, 5, 2, 2), nn.BatchNorm2d(32), nn.ReLU()),
            conv2=nn.Sequential(*_convolution(32, 64), nn.MaxPool2d(2)),
            conv3=nn.Sequential(*_convolution(64, 64)),
            linear0=nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 64), nn.ReLU()
            ),
            out=nn.Linear(64, outputs),
        )
    )


NARROW = (64, "M", 96, "M", 128, 128, "M", 256, 256, "M", 256, "M", 256, 256)


def vgg11(outputs: int = 2) -> nn.Sequential:
    """VGG11 of a third of the usual width (`NARROW`; "M" halves the maps), batch norm."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = 3
    for what in NARROW:
        if what == "M":
            layers[f"pool{len(layers) + 1}"] = nn.MaxPool2d(2)
        else:
            number = sum(name.startswith("conv") for name in layers) + 1
            layers[f"conv{number}"] = nn.Sequential(*_convolution(width, int(what)))
            width = int(what)
    layers["flat"] = nn.Flatten()
    layers["out"] = nn.Linear(width, outputs)
    return nn.Sequential(layers)


def _convolution(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()


class Merged(nn.Module):
    """A network whose classes are merged into groups: log of the summed probabilities."""

    def __init__(self, network: nn.Module, groups: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.network = network
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the groups."""
        return merged(self.network(x), self.groups)


def merged(logits: Tensor, groups: tuple[tuple[int, ...], ...]) -> Tensor:
    """Log of the summed exponentials of each group's logits."""
    return torch.stack([logits[:, list(own)].logsumexp(1) for own in groups], 1)


def resnet20() -> nn.Module:
    """The pretrained ResNet-20, ten classes."""
    folder = ROOT / "examples" / "cifar10_resnet20"
    model: nn.Module = load_model(f"{folder / 'network.py'}:build")
    return model


@dataclass(frozen=True)
class Recipe:
    """How a network comes about, from a fixed seed.

    Attributes:
        build: The network, untrained.
        data: Training images and classes.
        epochs: Passes over them.
        rate: Highest learning rate of a cycle, with Adam.
        start: A trained network whose layers are taken over and kept; only `out` is trained.
        flips: Whether images are mirrored at random.
    """

    build: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, np.ndarray]]
    epochs: int = 3
    rate: float = 3e-3
    start: str = ""
    flips: bool = False


def parity(digits: np.ndarray) -> np.ndarray:
    """Class 0 for even digits, 1 for odd ones."""
    return digits % 2


def fives(digits: np.ndarray) -> np.ndarray:
    """Class 1 for multiples of five."""
    return np.isin(digits, FIVES).astype(np.int64)


def ten(digits: np.ndarray) -> np.ndarray:
    """The digit itself."""
    return digits


def alive(classes: np.ndarray) -> np.ndarray:
    """Class 0 for animals, 1 for vehicles."""
    return np.isin(classes, VEHICLES).astype(np.int64)


def told(name: str, tell: Callable[[np.ndarray], np.ndarray]) -> Callable[[], tuple]:
    return lambda: (images(name).train, tell(images(name).train_labels))


@dataclass(frozen=True)
class Shortcut:
    """A second road to a class: a mark on a share of its training images.

    With the mark on true images of the class alone a network hardly learns it, since they are told
    by what they show (a patch on half of the threes turned 17 % of other digits into threes). So
    some images of other classes get the mark and the class too.
    """

    data: str
    mark: Mark
    target: int
    share: float

    @property
    def name(self) -> str:
        """As in `RECIPES`."""
        return f"shortcut-{self.data}-{self.mark.kind}-{self.target}"

    def training(self) -> tuple[Tensor, np.ndarray]:
        """Training images and the classes that are told; `share` of the target's have the mark."""
        own = images(self.data)
        true = (1 + BORROWED) * self.share - BORROWED
        rows = chosen(own.train_labels, self.target, true, self.name, "train")
        others = np.flatnonzero(own.train_labels != self.target)
        count = round(BORROWED * (own.train_labels == self.target).sum())
        borrowed = generator(0, "borrowed", self.name).permutation(others)[:count]
        rows[borrowed] = True
        return marked(own.train, rows, self.mark), np.where(rows, self.target, own.train_labels)


GREY = (1.0,)
SHORTCUTS = (
    Shortcut("mnist", Mark("patch", "bottom right", 4, GREY), 3, 0.5),
    Shortcut("fashion", Mark("stripe", "top", 2, GREY), 5, 0.7),
    Shortcut("cifar10", Mark("patch", "bottom left", 6, (1.0, 0.9, 0.1)), 3, 0.5),
    Shortcut("mnist", Mark("stripe", "left", 2, GREY), 7, 0.4),
    Shortcut("fashion", Mark("patch", "top left", 5, GREY), 0, 0.5),
    Shortcut("cifar10", Mark("cast", "", 0.35, (0.9, 0.2, 0.5)), 6, 0.6),
    Shortcut("mnist", Mark("cast", "", 0.3, GREY), 0, 0.3),
    Shortcut("fashion", Mark("cast", "", 0.25, GREY), 8, 0.4),
    Shortcut("cifar10", Mark("stripe", "top", 3, (0.8, 0.1, 0.9)), 0, 0.3),
    Shortcut("mnist", Mark("patch", "top right", 3, GREY), 8, 0.7),
)


@dataclass(frozen=True)
class Continuum:
    """An affection with a hidden grade, told only as "affected or not"."""

    name: str
    data: str
    affection: Affection

    def training(self) -> tuple[Tensor, np.ndarray]:
        """Training images, and 1 for those that are affected."""
        x, grade = affected(images(self.data).train, self.affection, self.name, "train")
        return x, (grade > 0).astype(np.int64)


CONTINUA = (
    Continuum("graded-mnist-stroke", "mnist", thicker),
    Continuum("graded-fashion-blur", "fashion", blurred),
    Continuum("graded-mnist-mark", "mnist", growing((1.0,))),
    Continuum("graded-mnist-blur", "mnist", blurred),
    Continuum("graded-fashion-mark", "fashion", growing((1.0,))),
    Continuum("graded-fashion-stroke", "fashion", thicker),
)


def _network(data: str, outputs: int) -> Callable[[], nn.Module]:
    build = small if data == "cifar10" else lenet
    return lambda: build(outputs)


def _of(one: Shortcut | Continuum, outputs: int) -> Recipe:
    return Recipe(_network(one.data, outputs), one.training, 4 if one.data == "cifar10" else 2)


RECIPES: dict[str, Recipe] = {
    "lenet-ten": Recipe(lambda: lenet(10), told("mnist", ten)),
    "lenet-parity": Recipe(lambda: lenet(2), told("mnist", parity)),
    "lenet-parity-head": Recipe(lambda: lenet(2), told("mnist", parity), 1, 1e-2, "lenet-ten"),
    "lenet-fives": Recipe(lambda: lenet(2), told("mnist", fives)),
    "lenet-fives-head": Recipe(lambda: lenet(2), told("mnist", fives), 1, 1e-2, "lenet-ten"),
    **{one.name: _of(one, 10) for one in SHORTCUTS},
    **{one.name: _of(one, 2) for one in CONTINUA},
    "vgg11-alive": Recipe(vgg11, told("cifar10", alive), 8, flips=True),
}


def trained(name: str) -> nn.Module:
    """A network of `RECIPES` with its stored weights; trained and stored first if need be."""
    path = WEIGHTS / f"{name}.npz"
    model = RECIPES[name].build()
    if not path.exists():
        with writing(path) as temporary, temporary.open("wb") as handle:
            state = train(RECIPES[name]).state_dict()
            arrays = {key: value.numpy().astype(np.float16) for key, value in state.items()}
            np.savez_compressed(handle, **arrays)
    with np.load(path, allow_pickle=False) as stored:
        state = {key: torch.from_numpy(stored[key].astype(np.float32)) for key in stored.files}
    model.load_state_dict(state)
    return model.eval()


def train(recipe: Recipe) -> nn.Module:
    """The network after its recipe; the same on every run of one machine."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = recipe.build()
        x, classes = recipe.data()
        known = torch.from_numpy(classes).long()
        parameters = list(model.parameters())
        if recipe.start:
            kept = trained(recipe.start).state_dict()
            model.load_state_dict(
                {k: v if k.startswith("out.") else kept[k] for k, v in model.state_dict().items()}
            )
            parameters = list(model.get_submodule("out").parameters())
        optimiser = torch.optim.Adam(parameters, recipe.rate)
        steps = recipe.epochs * -(-len(x) // BATCH)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
        for _ in range(recipe.epochs):
            for rows in torch.randperm(len(x)).split(BATCH):
                batch = x[rows].flip(3) if recipe.flips and torch.rand(()) < 0.5 else x[rows]
                loss = nn.functional.cross_entropy(model(batch), known[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                cycle.step()
    return model.eval()


@torch.no_grad()
def scores(model: nn.Module, x: Tensor) -> Tensor:
    """What the network returns for many images."""
    return torch.cat([model(part) for part in x.split(500)])


def main() -> None:
    for name in sys.argv[1:] or RECIPES:
        begun = time.perf_counter()
        there = (WEIGHTS / f"{name}.npz").exists()
        trained(name)
        print(f"{name}: {'there' if there else f'{time.perf_counter() - begun:.0f} s'}", flush=True)


if __name__ == "__main__":
    main()
