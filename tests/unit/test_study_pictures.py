"""Small pictures of new samples, made from the inputs."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from neucept.errors import DataError
from neucept.study.pictures import LONGEST_SIDE, small_pictures


def read(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_black_and_white_go_by_the_samples_that_are_shown() -> None:
    data = torch.zeros(5, 1, 8, 8)
    data[1, 0, :4] = 2.0
    data[3, 0, 4:] = -2.0
    data[4] = 100.0  # not shown, so it does not count
    found = small_pictures(data, [3, 1])
    assert list(found) == [1, 3]
    one, three = read(found[1])[..., 0], read(found[3])[..., 0]
    assert one.shape == (8, 8)
    assert (one[:4] == 255).all()
    assert (np.abs(one[4:].astype(int) - 128) <= 1).all()
    assert (three[4:] == 0).all()


def test_large_inputs_are_scaled_down() -> None:
    data = torch.rand(2, 3, 200, 100, generator=torch.Generator().manual_seed(0))
    (content,) = small_pictures(data, [0]).values()
    assert read(content).shape == (LONGEST_SIDE, LONGEST_SIDE // 2, 3)


@pytest.mark.parametrize("shape", [(4, 10), (4, 2, 8, 8), (4, 8, 8)])
def test_what_is_no_image_has_no_picture(shape: tuple[int, ...]) -> None:
    assert small_pictures(torch.zeros(shape), [0, 2]) == {}


def test_no_samples_have_no_pictures_and_absent_ones_are_refused() -> None:
    data = torch.zeros(4, 1, 8, 8)
    assert small_pictures(data, []) == {}
    with pytest.raises(DataError, match="7"):
        small_pictures(data, [1, 7])
