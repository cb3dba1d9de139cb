"""The network is found again exactly as it was, and says clearly what is wrong with it."""

from __future__ import annotations

import copy
import random
import warnings
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neucept.activations import Batches, evaluation_mode, forward, plain_model, resolve_device
from neucept.errors import ModelError, SettingsError

X = torch.randn(4, 3)


class Nosy(nn.Module):
    """Does in its forward pass everything that a forward pass should not do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 2)
        self.register_buffer("count", torch.zeros(()))
        self.raises = False

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        noise = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002
        if self.raises:
            raise ValueError("a bad day")
        return self.head(self.drop(self.norm(self.first(x)))) + 0 * noise


def fingerprint(model: nn.Module) -> dict[str, object]:
    """Everything about a network that a user could notice."""
    numpy = np.random.get_state()  # noqa: NPY002
    return {
        "modes": [module.training for module in model.modules()],
        "state": {name: value.tolist() for name, value in model.state_dict().items()},
        "places": [value.data_ptr() for value in model.state_dict().values()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "wants gradients": [p.requires_grad for p in model.parameters()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": (numpy[0], numpy[1].tolist(), *numpy[2:]),
        "grad mode": torch.is_grad_enabled(),
    }


def nosy() -> Nosy:
    model = Nosy()
    model.first.weight.requires_grad_(False)
    model(X).sum().backward()
    model.norm.eval()
    return model


def batch(x: Tensor = X):
    return next(iter(Batches(x)))


@pytest.mark.parametrize("raises", [False, True])
def test_the_network_is_left_as_it_was_found(raises: bool) -> None:
    model = nosy()
    model.raises = raises
    before = fingerprint(model)
    try:
        with evaluation_mode(model) as device:
            assert not any(module.training for module in model.modules())
            assert not torch.is_grad_enabled()
            forward(model, batch(), device)
    except ModelError:
        assert raises
    assert fingerprint(model) == before


def test_a_move_to_another_device_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nosy()
    before = fingerprint(model)

    def elsewhere(self: nn.Module, *_: object) -> nn.Module:
        return self._apply(lambda tensor: tensor.clone().double())

    # There is one device here: a move is a copy, in another type so that it shows.
    monkeypatch.setattr(nn.Module, "to", elsewhere)
    monkeypatch.setattr("neucept.activations.running._indexed", lambda _: torch.device("cuda:0"))
    with evaluation_mode(model) as device:
        assert model.head.weight.dtype == torch.float64
        assert model.head.weight.grad is None
        forward(model, batch(), device)
    monkeypatch.undo()
    assert fingerprint(model) == before


def test_overridden_train_is_not_called() -> None:
    class Merging(nn.Linear):
        def train(self, mode: bool = True) -> Merging:
            raise AssertionError("merges its weights")

    model = Merging(3, 2)
    with evaluation_mode(model):
        assert not model.training
    assert model.training


def test_wrappers_are_taken_off() -> None:
    inner = nn.Sequential(nn.Linear(3, 2))
    assert plain_model(nn.DataParallel(inner)) is inner


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_models_are_unwrapped() -> None:
    inner = nn.Sequential(nn.Linear(3, 2))
    assert plain_model(torch.compile(inner)) is inner


def test_a_module_compiled_in_place_runs_uncompiled() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    model._compiled_call_impl = None
    compiled = model._compiled_call_impl = object()
    with evaluation_mode(model) as device:
        forward(model, batch(), device)
    assert model._compiled_call_impl is compiled


def test_models_that_cannot_be_recorded() -> None:
    with pytest.raises(ModelError, match="lazy"):
        plain_model(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(ModelError, match="no values yet"):
        plain_model(nn.Linear(2, 2, device="meta"))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_models_are_refused() -> None:
    with pytest.raises(ModelError, match="TorchScript"):
        plain_model(torch.jit.trace(nn.Linear(3, 2), X))


def test_inputs_take_the_type_of_the_weights() -> None:
    model = nn.Linear(3, 2).double()
    with evaluation_mode(model) as device:
        assert forward(model, batch(X.half()), device).dtype == torch.float64


def test_whole_numbers_stay_whole() -> None:
    model = nn.Sequential(nn.Embedding(9, 2), nn.Flatten())
    with evaluation_mode(model) as device:
        assert forward(model, batch(torch.tensor([[3], [4]])), device).shape == (2, 2)


def test_a_failing_model_is_quoted() -> None:
    model = nosy()
    model.raises = True
    with evaluation_mode(model) as device, pytest.raises(ModelError) as caught:
        forward(model, batch(), device)
    assert "batch 0 (samples '0' to '3'), float32 of shape (4, 3): ValueError: a bad day" in str(
        caught.value
    )
    assert isinstance(caught.value.__cause__, ValueError)


def leave(status: object) -> None:
    raise SystemExit(status)


@pytest.mark.parametrize(("status", "said"), [(3, "SystemExit: 3. "), ("", "SystemExit. ")])
def test_a_model_that_ends_the_program_is_quoted(status: object, said: str) -> None:
    model = Returns(lambda _: leave(status))
    with evaluation_mode(model) as device, pytest.raises(ModelError) as caught:
        forward(model, batch(), device)
    assert said in str(caught.value)


class Returns(nn.Module):
    def __init__(self, make) -> None:
        super().__init__()
        self.make = make
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> object:
        return self.make(x)


@dataclass
class Result:
    features: Tensor
    logits: Tensor


Named = namedtuple("Named", "hidden scores")

WRONG_OUTPUTS = {
    "tuple": (
        lambda x: (x.sum(), x),
        r"a tuple with \[0\] \(\), \[1\] \(4, 3\).*returns output\[1\]",
    ),
    "dict": (lambda x: {"hidden": x, "logits": x}, r"a dict with .*returns output\['logits'\]"),
    "dataclass": (lambda x: Result(x, x), r"a Result with .features.*returns output.logits"),
    "named tuple": (lambda x: Named(x.sum(), x), r"a Named .*returns output.scores"),
    "number": (lambda x: 3, "a int. .*one floating tensor"),
    "nothing": (lambda x: None, "a NoneType"),
    "one column lost": (lambda x: x[:, 0], r"float32 of shape \(4,\)"),
    "three dimensions": (lambda x: x[:, None], r"float32 of shape \(4, 1, 3\)"),
    "classes": (lambda x: x.long(), "int64 of shape"),
    "fewer rows": (lambda x: x[:2], r"shape \(2, 3\) for 4 samples"),
    "no classes": (lambda x: x[:, :0], r"shape \(4, 0\)"),
}


@pytest.mark.parametrize(("make", "text"), WRONG_OUTPUTS.values(), ids=WRONG_OUTPUTS)
def test_outputs_that_are_not_class_scores(make, text: str) -> None:
    model = Returns(make)
    with evaluation_mode(model) as device, pytest.raises(ModelError, match=text) as caught:
        forward(model, batch(), device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:9", "cuda:99", "nonsense", "meta", "cpu:x"])
def test_devices_that_do_not_exist(device: str) -> None:
    with pytest.raises(SettingsError, match="Device"):
        resolve_device(device, nn.Linear(1, 1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu() -> None:
    with pytest.raises(SettingsError, match="Device 'cuda' does not exist here.*one of cpu"):
        resolve_device("cuda", nn.Linear(1, 1))
    assert resolve_device("auto", nn.Linear(1, 1)) == torch.device("cpu")


def test_device_of_a_model_without_weights() -> None:
    assert resolve_device(None, nn.ReLU()) == torch.device("cpu")


def test_copies_of_the_model_agree() -> None:
    model = nosy()
    twin = copy.deepcopy(model).eval()
    with evaluation_mode(model) as device:
        outputs = forward(model, batch(), device)
    with torch.no_grad():
        torch.testing.assert_close(outputs, twin(X))


def test_a_device_that_warns_is_refused_in_one_line() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with pytest.raises(SettingsError, match=r"'mkldnn' .* \(torch cannot use it\)"):
            resolve_device("mkldnn", nn.Linear(1, 1))
    assert not heard
