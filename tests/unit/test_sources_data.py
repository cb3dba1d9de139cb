"""Samples come from a factory, in any shape that capture reads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from neucept.errors import DataError
from neucept.sources import class_names, load_data
from neucept.sources import data as forms

FACTORIES = """
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

x, y = torch.arange(12.0).reshape(6, 2), torch.arange(6)

def dataset(): return TensorDataset(x, y)
def loader(): return DataLoader(TensorDataset(x, y), 2)
def tensor(): return x
def array(): return x.numpy()
def pair(): return x, y
def batches(): return [(x[:3], y[:3]), (x[3:], y[3:])]
def nothing(): pass
def text(): return "images"
def mapping(): return {"x": x}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "images.py"
    path.write_text(FACTORIES)
    return path


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        ("dataset", TensorDataset),
        ("loader", DataLoader),
        ("tensor", torch.Tensor),
        ("array", np.ndarray),
        ("pair", tuple),
        ("batches", list),
    ],
)
def test_each_kind_is_passed_on(place: Path, factory: str, kind: type) -> None:
    assert isinstance(load_data(f"{place}:{factory}"), kind)


@pytest.mark.parametrize(
    ("factory", "got"), [("nothing", "nothing"), ("text", "a str"), ("mapping", "a dict")]
)
def test_what_holds_no_samples(place: Path, factory: str, got: str) -> None:
    with pytest.raises(DataError, match=f"returned {got}.*holds no samples"):
        load_data(f"{place}:{factory}")


def test_an_unknown_form_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"'images' has no known form.*'file\.py:function'"):
        load_data("images")


def test_a_new_form_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = forms.DataForm("'ones'", lambda spec: spec == "ones", lambda spec: torch.ones(3, 1))
    monkeypatch.setattr(forms, "FORMS", (ones, *forms.FORMS))
    assert torch.equal(load_data("ones"), torch.ones(3, 1))
    with pytest.raises(DataError, match="Write 'ones' or"):
        load_data("twos")


def test_class_names_come_from_the_dataset_or_its_loader() -> None:
    dataset = TensorDataset(torch.zeros(4, 1))
    assert class_names(dataset) is None
    dataset.classes = ["cat", "dog"]  # type: ignore[attr-defined]
    assert class_names(dataset) == ("cat", "dog")
    assert class_names(DataLoader(dataset)) == ("cat", "dog")


@pytest.mark.parametrize("names", [[], "cat", [1, 2], None, {"cat": 0}])
def test_what_is_no_list_of_names_is_ignored(names: object) -> None:
    assert class_names(SimpleNamespace(classes=names)) is None
