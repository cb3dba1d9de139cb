"""The bundled study: a small LeNet that tells even digits from odd ones, asked why it says "even".

The network never hears which digit an image shows. If it found the digits by itself, "even" is
predicted for five reasons; the hidden digits only score and name the answer at the end.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from neucept.errors import StorageError
from neucept.report import write_report
from neucept.runtime import Progress, write_bytes
from neucept.study.folder import Study
from neucept.study.origin import remember_origin
from neucept.study.run import run_study
from neucept.study.settings import StudySettings

CLASSES = ("even", "odd")

QUICK = StudySettings(sampler="gaussian", statistic="lasso", dither=0.0)
"""A network this small, trained on parity alone, ends in layers that nearly move as one. At the
dither that holds the level hardly a neuron could be named there; so the demo selects without, and
its audit says what that costs."""

EPOCHS = 40
TRAINING_IMAGES = 1200


class LeNet(nn.Module):
    """Three convolutions and two linear layers with tanh, for images of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 64, 4)
        self.linear0 = nn.Linear(64, 32)
        self.linear1 = nn.Linear(32, len(CLASSES))
        self.halve = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Float[Tensor, "samples 1 8 8"]) -> Float[Tensor, "samples 2"]:
        """Logits of even and odd."""
        x = self.halve(torch.tanh(self.conv1(images)))
        x = torch.tanh(self.conv3(torch.tanh(self.conv2(x)))).flatten(1)
        x = torch.tanh(self.linear0(self.dropout(x)))
        return self.linear1(self.dropout(x))  # type: ignore[no-any-return]


def run_demo(
    out: Path | str, *, settings: StudySettings | None = None, progress: Progress | None = None
) -> Study:
    """Train the network (once), study "even", and write the page.

    Args:
        out: Folder for the network, the study and its page; a second run resumes there.
        settings: Options of the study; `QUICK` when None.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The finished study, in ``out/study``, with ``report.html`` beside its tables.

    Raises:
        StorageError: the folder cannot be written.
    """
    images, digits = bundled_digits()
    weights = Path(out) / "network.pt"
    model = trained_lenet(weights, images, digits % 2, progress)
    study = run_study(
        model,
        parity(),
        "even",
        Path(out) / "study",
        settings or QUICK,
        classes=CLASSES,
        known=digits.tolist(),
        metadata=described(images, digits),
        name="LeNet, even or odd",
        progress=progress,
    )
    study = remember_origin(study, "neucept.demo:LeNet", "neucept.demo:parity", weights)
    write_report(study, study.path / "report.html")
    return study


def parity() -> TensorDataset:
    """The images with 0 for even and 1 for odd digits: what the network is asked about."""
    images, digits = bundled_digits()
    return TensorDataset(images, digits % 2)


def bundled_digits() -> tuple[Float[Tensor, "1797 1 8 8"], Int[Tensor, " 1797"]]:
    """The 1,797 handwritten digits that come with scikit-learn, scaled to [0, 1]."""
    bundle = load_digits()
    images = torch.from_numpy(bundle.images.astype(np.float32) / 16.0)[:, None]
    return images, torch.from_numpy(bundle.target.astype(np.int64))


def described(
    images: Float[Tensor, "samples 1 8 8"], digits: Int[Tensor, " samples"]
) -> pd.DataFrame:
    """The metadata of the demo: the digit that an image shows, and how much ink it has."""
    ink = images.mean(dim=(1, 2, 3)).numpy()
    return pd.DataFrame({"digit": [str(digit) for digit in digits.tolist()], "ink": ink})


def trained_lenet(
    path: Path,
    images: Float[Tensor, "samples 1 8 8"],
    labels: Int[Tensor, " samples"],
    progress: Progress | None = None,
) -> LeNet:
    """The network, read from `path` when it was trained before, else trained and saved there.

    Raises:
        StorageError: the file is there and cannot be read, or cannot be written.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LeNet()
        if path.exists():
            try:
                model.load_state_dict(torch.load(path, weights_only=True))
            except Exception as error:
                raise StorageError(
                    f"Cannot read '{path}': {type(error).__name__}. "
                    "Remove it, and the demo trains the network again."
                ) from error
            return model.eval()
        _train(model, images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES], progress)
    # Written by us and not by torch, whose errors do not tell a full disk from a bug.
    content = io.BytesIO()
    torch.save(model.state_dict(), content)
    write_bytes(path, content.getvalue())
    return model.eval()


def _train(model: LeNet, images: Tensor, labels: Tensor, progress: Progress | None) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    for epoch in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(images)), 64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if progress is not None:
            progress("train the demo network", epoch + 1, EPOCHS)
