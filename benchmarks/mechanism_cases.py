"""The networks of `mechanisms.py`, the images each is studied on, and what is hidden in these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from mechanism_images import affected, chosen, images, marked
from mechanism_networks import (
    ANIMALS,
    CONTINUA,
    SHORTCUTS,
    VEHICLES,
    Continuum,
    Merged,
    Shortcut,
    resnet20,
    scores,
    trained,
)
from torch import Tensor, nn

PARTS = ("merged", "shortcuts", "single", "graded", "edges", "circuits", "foreign", "vgg")

GRADED_IMAGES = 5000

CIFAR_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
CIFAR_DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


@dataclass(frozen=True)
class Subject:
    """A network, the images it is studied on, and what is hidden in each of them."""

    model: nn.Module
    images: Tensor
    truth: np.ndarray
    about: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        name: What its pieces are kept under.
        part: One of `PARTS`.
        layers: Those studied, in order of execution.
        classes: Per class that is studied, its name and the number of groups hidden in it.
        make: The network with its images.
    """

    name: str
    part: str
    layers: tuple[str, ...]
    classes: dict[int, tuple[str, int]]
    make: Callable[[], Subject]


LENET = ("conv3", "linear0")
STAGES = ("network.layer1", "network.layer2", "network.layer3")
VGG = ("conv4", "conv6", "conv9")


def of_digits(name: str) -> Subject:
    own = images("mnist")
    return Subject(trained(name), own.test, own.test_labels)


def of_resnet20() -> Subject:
    network = resnet20()
    x = (images("cifar10").test - CIFAR_MEAN) / CIFAR_DEVIATION
    groups = (ANIMALS, VEHICLES)
    logits = scores(network, x)
    return Subject(Merged(network, groups).eval(), x, logits.argmax(1).numpy())


def of_vgg() -> Subject:
    own = images("cifar10")
    return Subject(trained("vgg11-alive"), own.test, own.test_labels)


def of_shortcut(one: Shortcut) -> Subject:
    """The test images, as many of the class marked as in training; and is the mark used?"""
    own, model = images(one.data), trained(one.name)
    rows = chosen(own.test_labels, one.target, one.share, one.name, "test")
    plain = scores(model, own.test).argmax(1).numpy()
    pulled = scores(model, one.mark.on(own.test)).argmax(1).numpy() == one.target
    others = (own.test_labels != one.target) & (plain != one.target)
    about = {
        "accuracy": float((plain == own.test_labels).mean()),
        "flipped by the mark": float(pulled[others].mean()),
    }
    return Subject(model, marked(own.test, rows, one.mark), rows.astype(np.int64), about)


def of_continuum(one: Continuum) -> Subject:
    x, grade = affected(images(one.data).test[:GRADED_IMAGES], one.affection, one.name, "test")
    model = trained(one.name)
    right = (scores(model, x).argmax(1).numpy() == (grade > 0)).mean()
    return Subject(model, x, grade, {"accuracy": float(right)})


def cases() -> list[Case]:
    """All networks, the most important first."""
    parity, fives = {0: ("even", 5)}, {1: ("multiple of five", 2)}
    digits = {
        "lenet-parity": parity,
        "lenet-parity-head": parity,
        "lenet-fives": fives,
        "lenet-fives-head": fives,
    }
    found = [Case(n, "merged", LENET, c, partial(of_digits, n)) for n, c in digits.items()]
    alive = {0: ("animal", 6), 1: ("vehicle", 4)}
    found.append(Case("resnet20-alive", "merged", STAGES, alive, of_resnet20))
    found += [
        Case(s.name, "shortcuts", LENET, {s.target: (str(s.target), 2)}, partial(of_shortcut, s))
        for s in SHORTCUTS
    ]
    found += [
        Case(c.name, "graded", LENET, {1: ("affected", 1)}, partial(of_continuum, c))
        for c in CONTINUA
    ]
    found.append(Case("vgg11-alive", "vgg", VGG, alive, of_vgg))
    return found
