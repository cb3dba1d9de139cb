"""A network comes from its factory, its weights from a plain state dict; nothing is unpickled."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from neucept.errors import ModelError
from neucept.sources import load_model

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

def nothing():
    pass

def number():
    return 3
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "network.py").write_text(NETWORK)
    return f"{tmp_path / 'network.py'}:build"


@pytest.fixture
def trained() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def refused(spec: str, weights: Path | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(spec, weights)
    text = str(caught.value)
    assert "\n" not in text
    assert "\x1b" not in text
    return text


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_without_weights_the_module_is_as_the_factory_made_it(spec: str) -> None:
    assert same(load_model(spec), load_model(spec))


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_loaded_plain_or_wrapped(
    spec: str, trained: nn.Module, tmp_path: Path, wrapper: str | None
) -> None:
    state = trained.state_dict()
    path = tmp_path / "weights.pt"
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, path)
    assert not same(load_model(spec), trained)
    assert same(load_model(spec, path), trained)
    assert same(load_model(spec, str(path)), trained)


def test_names_of_a_data_parallel_network_are_understood(
    spec: str, trained: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    torch.save({f"module.{k}": v for k, v in trained.state_dict().items()}, path)
    assert same(load_model(spec, path), trained)


def test_files_older_than_the_batch_counters_load(
    spec: str, trained: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    state = {k: v for k, v in trained.state_dict().items() if "num_batches" not in k}
    torch.save(state, path)
    assert torch.equal(load_model(spec, path)[0].weight, trained[0].weight)


def test_the_old_file_format_loads(spec: str, trained: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(trained.state_dict(), path, _use_new_zipfile_serialization=False)
    assert same(load_model(spec, path), trained)


@pytest.mark.parametrize(("factory", "got"), [("nothing", "nothing (None)"), ("number", "a int")])
def test_a_factory_that_returns_no_module(spec: str, factory: str, got: str) -> None:
    text = refused(spec.replace(":build", f":{factory}"))
    assert f"returned {got}, not a torch.nn.Module" in text


def test_a_missing_file(spec: str, tmp_path: Path) -> None:
    assert "There is no weights file" in refused(spec, tmp_path / "none.pt")
    assert "There is no weights file" in refused(spec, tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_short_at_any_place(
    spec: str, trained: nn.Module, tmp_path: Path, zipped: bool
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(trained.state_dict(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for share in (0.0, 0.01, 0.3, 0.7, 0.95, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        assert "cut short" in refused(spec, path), share


@pytest.mark.parametrize(
    "content",
    [b"hello, this is text\n" * 20, b"\x89PNG\r\n\x1a\n" + bytes(300), b"0", bytes(1000)],
    ids=["text", "picture", "one byte", "zeros"],
)
def test_a_file_that_torch_did_not_write(spec: str, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    text = refused(spec, path)
    assert "was not written by torch.save" in text
    assert f"({len(content):,} bytes)" in text


class Tripwire:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


def test_pickled_objects_are_refused_and_never_run(spec: str, tmp_path: Path) -> None:
    path, touched = tmp_path / "weights.pt", tmp_path / "touched"
    torch.save(Tripwire(touched), path)
    assert "torch.save(model.state_dict(), path)" in refused(spec, path)
    path.write_bytes(pickle.dumps(Tripwire(touched)))
    assert "refused" in refused(spec, path)
    assert not touched.exists()


def test_a_whole_pickled_module_is_refused(spec: str, trained: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(trained, path)
    assert "holds pickled Python objects" in refused(spec, path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {1: torch.zeros(3)}])
def test_content_that_is_no_state_dict(spec: str, tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    assert "not a state dict" in refused(spec, path)


def test_weights_of_another_network_name_what_differs(spec: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({f"block{i}.weight": torch.zeros(2) for i in range(5)}, path)
    text = refused(spec, path)
    assert "missing '0.weight', '0.bias', '1.weight' and 5 more" in text
    assert "unexpected 'block0.weight', 'block1.weight', 'block2.weight' and 2 more" in text
    assert "num_batches_tracked" not in text


def test_weights_of_another_size_name_both_shapes(
    spec: str, trained: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    state = dict(trained.state_dict())
    state["0.weight"] = torch.zeros(7, 3)
    torch.save(state, path)
    assert "'0.weight' has shape (7, 3), the network's is (4, 3)" in refused(spec, path)


def test_a_value_that_is_no_tensor(spec: str, trained: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({**trained.state_dict(), "0.weight": "text"}, path)
    assert "'0.weight' has shape str" in refused(spec, path)


def test_complex_weights_of_a_real_network_are_refused(
    spec: str, trained: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    state = dict(trained.state_dict())
    torch.save({**state, "2.bias": state["2.bias"].to(torch.complex64)}, path)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert "'2.bias' holds complex numbers, the network's are real" in refused(spec, path)
    assert not heard
