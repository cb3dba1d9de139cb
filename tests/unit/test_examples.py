"""The examples are a user's own files: they load, reach their accuracy, say what is missing."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from neucept.activations import Batches, list_layers
from neucept.cli import main
from neucept.sources import StudyFile, load_data, load_model, read_study_file, table_of

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("mnist_lenet", "cifar10_resnet20")


def said(name: str) -> StudyFile:
    return read_study_file(EXAMPLES / name / "study.toml")


def accuracy(network: nn.Module, data: object) -> float:
    right = total = 0
    with torch.no_grad():
        for images, labels in DataLoader(data, 250):  # type: ignore[arg-type]
            right += int((network(images).argmax(1) == labels).sum())
            total += len(labels)
    return right / total


@pytest.mark.parametrize(
    ("name", "images", "expected"),
    [
        ("mnist_lenet", 10_000, 0.9761),
        ("cifar10_resnet20", 500, 0.924),
        pytest.param("cifar10_resnet20", 10_000, 0.9173, marks=pytest.mark.full),
    ],
)
def test_the_network_reaches_its_accuracy(
    name: str, images: int, expected: float, data_folder: Path
) -> None:
    file = said(name)
    network = load_model(file.model, file.weights)
    data = load_data(file.data)
    assert len(data) == 10_000  # type: ignore[arg-type]
    assert not network.training
    assert accuracy(network, Subset(data, range(images))) == pytest.approx(expected, abs=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_its_study_file_names_layers_that_are_there(name: str, data_folder: Path) -> None:
    file = said(name)
    first = next(iter(Batches(load_data(file.data), 2)))
    known = set(list_layers(load_model(file.model), first.inputs)["name"])
    assert set(file.settings.get("layers", ())) <= known
    assert file.classes is not None
    assert file.target in file.classes


@pytest.mark.parametrize("name", NAMES)
def test_samples_come_alone_and_in_batches_the_same_and_with_ids(
    name: str, data_folder: Path
) -> None:
    data = load_data(said(name).data)
    batch = next(iter(Batches(Subset(data, [3, 9_999]), 8)))  # type: ignore[arg-type]
    whole = next(Batches(data, 8).take([3, 9_999]))
    alone = [data[3], data[9_999]]  # type: ignore[index]
    for row, (image, label) in enumerate(alone):
        assert torch.equal(image, batch.inputs[row])
        assert torch.equal(image, whole.inputs[row])
        np.testing.assert_array_equal(label, whole.labels[row])  # type: ignore[index]
    assert len(set(data.ids)) == 10_000  # type: ignore[union-attr]
    assert whole.ids == (data.ids[3], data.ids[9_999])  # type: ignore[union-attr]


def test_the_digits_bring_their_metadata_along(data_folder: Path) -> None:
    data = load_data(said("mnist_lenet").data)
    table = table_of(data)
    assert table is not None
    assert list(table.columns) == ["writer", "ink", "slant"]
    assert len(table) == len(data)  # type: ignore[arg-type]
    assert not table.isna().to_numpy().any()
    assert table["writer"].value_counts().to_dict() == {"employee": 5000, "student": 5000}
    described = inspect.getmodule(type(data)).described  # type: ignore[union-attr]
    upright = np.zeros((1, 28, 28), np.uint8)
    upright[0, 4:24, 13:15] = 255
    leaning = np.stack([np.roll(upright[0, row], (14 - row) // 2) for row in range(28)])[None]
    assert described(upright)["slant"].item() == pytest.approx(0)
    assert described(upright)["ink"].item() == pytest.approx(40 / 28**2)
    assert described(leaning)["slant"].item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", [None, "empty"])
def test_one_line_says_what_to_get_and_where_to_put_it(
    name: str,
    folder: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if folder is None:
        monkeypatch.delenv("NEUCEPT_DATA", raising=False)
    else:
        monkeypatch.setenv("NEUCEPT_DATA", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        main(["run", str(EXAMPLES / name / "study.toml"), "--to", str(tmp_path / "study")])
    err = capsys.readouterr().err
    assert left.value.code == 2
    assert err.count("\n") == 1
    assert "NEUCEPT_DATA is" in err
    assert "state dict" in err
    assert not (tmp_path / "study").exists()
