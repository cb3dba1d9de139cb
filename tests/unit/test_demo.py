"""The bundled study: how its network is kept."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from torch import nn

from neucept import demo
from neucept.errors import StorageError
from neucept.sources import load_data
from neucept.study.folder import KIND, Study
from neucept.study.identity import network_digest
from neucept.study.origin import recall_model


def test_a_network_that_finds_no_room_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "EPOCHS", 0)
    images, digits = demo.bundled_digits()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"Cannot write '.*network.pt': File too large"):
            demo.trained_lenet(tmp_path / "network.pt", images, digits % 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_the_hidden_digits_are_metadata_of_every_image() -> None:
    images, digits = demo.bundled_digits()
    table = demo.described(images, digits)
    assert list(table.columns) == ["digit", "ink"]
    assert table["digit"].tolist() == [str(digit) for digit in digits.tolist()]
    assert table["ink"].between(0.1, 0.5).all()


def test_a_network_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EPOCHS", 1)
    images, digits = demo.bundled_digits()
    told: list[str] = []
    for _ in range(2):
        model = demo.trained_lenet(
            tmp_path / "network.pt", images, digits % 2, lambda stage, *_: told.append(stage)
        )
        assert not model.training
    assert len(told) == 1


def test_the_study_remembers_its_network_and_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finished(model: nn.Module, data: object, target: str, to: Path, *_: object, **__: object):
        identity = {"network": network_digest(model), "set of samples": "s", "class": target}
        info = {
            "kind": KIND,
            "format": 1,
            "finished": True,
            "accepted": True,
            "identity": identity,
            "stages": {},
            "neucept": "0",
            "name": "demo",
            "n_samples": 1797,
            "n_predicted": 900,
            "target": {"index": 0, "name": target},
            "layers": [],
            "mechanisms": {"n": 0},
            "settings": {},
        }
        to.mkdir(parents=True)
        (to / "study.json").write_text(json.dumps(info))
        return Study.open(to)

    monkeypatch.setattr(demo, "EPOCHS", 0)
    monkeypatch.setattr(demo, "run_study", finished)
    monkeypatch.setattr(demo, "write_report", lambda *_: None)
    study = demo.run_demo(tmp_path / "demo")
    assert network_digest(recall_model(study)) == study.info["identity"]["network"]
    data = load_data(study.info["origin"]["data"])
    assert len(data) == 1797
    assert {int(data[k][1]) for k in range(50)} == {0, 1}
