"""Foreign inputs: does a low typicality find those that a network takes for a class all the same?

Fashion-MNIST through a LeNet that tells digits, and ImageNet's photographs, made as small as
CIFAR-10's, through a ResNet-20 that knows ten classes.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from mechanism_cases import CIFAR_DEVIATION, CIFAR_MEAN
from mechanism_images import images
from mechanism_networks import resnet20
from networks import ROOT, data_folder
from PIL import Image
from torch import Tensor, nn

import neucept as nc
from neucept.evaluation.ranking import auroc
from neucept.sources import load_model

LEVEL = 0.05


@dataclass(frozen=True)
class Foreign:
    """A network, images of the kind that it knows, and others.

    Attributes:
        name: What its pieces are kept under.
        layers: Those that mechanisms may be found in.
        classes: Whose predictions are looked at.
        make: Network, own images, foreign ones.
    """

    name: str
    layers: tuple[str, ...]
    classes: tuple[int, ...]
    make: Callable[[], tuple[nn.Module, Tensor, Tensor]]


def of_digits() -> tuple[nn.Module, Tensor, Tensor]:
    folder = ROOT / "examples" / "mnist_lenet"
    return (
        load_model(f"{folder / 'network.py'}:build"),
        images("mnist").test,
        images("fashion").test,
    )


def of_objects() -> tuple[nn.Module, Tensor, Tensor]:
    own = (images("cifar10").test - CIFAR_MEAN) / CIFAR_DEVIATION
    return resnet20(), own, (photographs() - CIFAR_MEAN) / CIFAR_DEVIATION


def photographs() -> Tensor:
    """The 1,200 ImageNet images at 32 x 32, in [0, 1]."""
    with np.load(data_folder() / "imagenette_subset.npz") as stored:
        jpeg, ends = stored["jpeg"].tobytes(), stored["offsets"]
    pictures = []
    for begin, end in pairwise(ends):
        picture = Image.open(io.BytesIO(jpeg[begin:end])).convert("RGB")
        pictures.append(np.asarray(picture.resize((32, 32), Image.Resampling.BOX)))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


FOREIGN = (
    Foreign("digits-lenet", ("conv2", "fc1"), (0, 2, 3, 5, 8), of_digits),
    Foreign("resnet20", ("layer2", "layer3"), (0, 1, 3, 8, 9), of_objects),
)


@dataclass(frozen=True)
class Looked:
    """One such network under study; what it gives for the images is recorded when first needed."""

    one: Foreign
    search: nc.Search
    workers: int | None

    @cached_property
    def acts(self) -> tuple[nc.Activations, nc.Activations]:
        """What the layers give for own images and for foreign ones."""
        model, own, others = self.one.make()
        return nc.capture(model, own, self.one.layers), nc.capture(model, others, self.one.layers)

    def unusual(self, target: int) -> dict[str, float | str]:
        """How well low typicality tells foreign inputs from own ones, at the layer that leads."""
        begun = time.perf_counter()
        known, strange = self.acts
        crit = nc.find_critical(known, target, self.search, n_jobs=self.workers)
        mech = nc.discover_mechanisms(known, crit, n_jobs=self.workers)
        taken = np.flatnonzero(strange.predictions == target)
        new = mech.assign(strange).typicality[taken]
        area, error = auroc(-new, -mech.typicality)
        return {
            "layer": " + ".join(mech.layers),
            "mechanisms": mech.n_mechanisms,
            "own": len(mech.samples),
            "foreign": len(taken),
            "auroc": area,
            "error": error,
            "flagged": float((new <= LEVEL).mean()) if len(taken) else float("nan"),
            "seconds": time.perf_counter() - begun,
        }
