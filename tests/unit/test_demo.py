"""The bundled study: how its network is kept."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from neucept import demo
from neucept.errors import StorageError


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
