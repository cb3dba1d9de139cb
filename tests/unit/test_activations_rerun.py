"""Running batches again with one layer edited, without what lies below it."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from functools import wraps

import pytest
import torch
from torch import Tensor, nn

from neucept.activations import Batches, Rerun, evaluation_mode, forward, replaced
from neucept.errors import ModelError


class Residual(nn.Module):
    """A block whose input is read again after its inner layer, with an in-place activation."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.outer = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(self.act(self.norm(self.inner(x))))


class WritesBelow(nn.Module):
    """The activation's work is only seen in the tensor it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = nn.Linear(6, 5), nn.ReLU(inplace=True)
        self.second, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        self.act(hidden)
        return self.last(self.second(hidden))


class Twice(nn.Module):
    """One module serves below and above the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.first, self.last = nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.first(self.act(x))))


class Three(nn.Module):
    """Three linear modules; how they are put together is given."""

    def __init__(self, together: Callable[..., Tensor], **more: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.act = nn.ReLU(inplace=True)
        for name, module in more.items():
            self.add_module(name, module)
        self.together = together

    def forward(self, x: Tensor) -> Tensor:
        return self.together(self, x)


def seldom(m: Three, x: Tensor) -> Tensor:
    """The layer runs only for a batch with a sample of its own kind."""
    hidden = m.first(x)
    return m.last(m.second(hidden) if bool((x[:, 0] > 1).any()) else hidden)


def either_order(m: Three, x: Tensor) -> Tensor:
    hidden = m.first(x)
    if len(x) <= 2:
        return m.last(m.other(hidden) + m.second(hidden))
    return m.last(m.second(hidden) + m.other(hidden))


def masked(m: Three, x: Tensor) -> Tensor:
    """An in-place activation whose result is dropped, and a class that is never chosen."""
    hidden = m.first(x)
    m.act(hidden)
    scores = m.last(m.second(hidden) + hidden)
    return scores.masked_fill(torch.tensor([False, False, True]), -1e9)


def again(m: Three, x: Tensor) -> Tensor:
    """With large values, a module below runs a second time."""
    hidden = m.tanh(m.first(x))
    mixed = m.second(hidden)
    return m.last((m.tanh(mixed) if bool((mixed.abs() > 10).any()) else mixed) + hidden)


def written(m: Three, x: Tensor) -> Tensor:
    hidden = m.first(x)
    mixed = m.second(hidden)
    return m.last(hidden.relu_() if bool((mixed.abs() > 10).any()) else mixed)


def compared_to_zero(m: Three, x: Tensor) -> Tensor:
    hidden = m.first(x)
    mixed = m.second(hidden)
    return m.last((hidden > 0).float() if bool((mixed.abs() > 10).any()) else mixed)


def gated(m: Three, x: Tensor) -> Tensor:
    """Without the edit the layer has no effect, so what gates it seems not to be read."""
    gate = m.other(m.first(x)) > 0
    return m.last(torch.relu(m.second(m.first(x)) - 20) * gate)


def aliased(m: Three, x: Tensor) -> Tensor:
    """A module that hands its input on, which is written into later."""
    hidden = m.first(x)
    same = m.drop(hidden)
    hidden += m.second(same)
    return m.last(torch.relu(hidden) + same)


def sparse(m: Three, x: Tensor) -> Tensor:
    return m.last(m.second(m.thin(m.first(x)).to_dense()))


def by_signature(m: Three, x: Tensor) -> Tensor:
    """What a module is given depends on what its forward asks for."""
    hidden = m.first(x)
    asks = "mask" in inspect.signature(m.masks.forward).parameters
    return m.last(m.second(m.masks(hidden, mask=hidden > 0) if asks else m.masks(hidden)))


def skipping(m: Three, x: Tensor) -> Tensor:
    """Above the layer, something is read that a module below has left behind."""
    return m.last(m.second(m.stem(m.first(x))) + m.stem.saved)


def noisy_below(m: Three, x: Tensor) -> Tensor:
    return m.last(m.second(m.noise(m.first(x))))


class Thin(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x).to_sparse()


class Masks(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x if mask is None else x * mask


class Saves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.saved = x * 2
        return torch.relu(self.saved)


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Noisy(nn.Module):
    """Never the same twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.last(hidden + torch.randn_like(hidden))


def compiled() -> nn.Module:
    return torch.compile(nn.Sequential(nn.Linear(5, 5), nn.ReLU()), backend="eager")


def convolutional() -> nn.Sequential:
    flat = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), Residual(), Residual(), *flat)


def runs(model: nn.Module) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, module in model.named_modules():
        own = module.forward

        @wraps(own)
        def counted(*args, name=name, own=own, **keywords):
            counts[name] += 1
            return own(*args, **keywords)

        module.forward = counted
    return counts


def compared(
    model: nn.Module, shape: tuple[int, ...], layer: str, edit=torch.relu, samples=10, **bound
):
    """What a rerun gives, and what whole passes give; and how often each module ran for it."""
    torch.manual_seed(0)
    batches = list(Batches(torch.randn(samples, *shape), 4))
    counts = runs(model)
    with evaluation_mode(model, "cpu") as place:
        whole = []
        for batch in batches:
            with replaced(model, layer, edit):
                whole.append(forward(model, batch, place))
        rerun = Rerun(model, layer, batches, place, **bound)
        counts.clear()
        again = [rerun(number, edit) for number in range(len(batches))]
    return torch.cat(whole), torch.cat(again), counts


@pytest.mark.parametrize(
    ("layer", "below", "above"),
    [
        ("0", ["0"], ["1", "2", "2.inner", "6"]),
        ("1", ["0", "1"], ["2", "2.inner"]),
        ("2.inner", ["0", "2.inner"], ["1", "2", "2.norm"]),
        ("2.act", ["0", "2.inner", "2.norm"], ["2.outer"]),
        ("2", ["0", "2", "2.inner", "2.outer"], ["3", "3.inner"]),
        ("3.outer", ["2", "2.norm", "3.inner", "3.outer"], ["3", "4"]),
    ],
)
def test_only_what_lies_above_runs_again(layer: str, below: list[str], above: list[str]) -> None:
    whole, again, counts = compared(convolutional(), (1, 8, 8), layer, lambda out: out * 0.5)
    assert torch.equal(whole, again)
    assert {name: counts[name] for name in below} == dict.fromkeys(below, 0)
    assert {name: counts[name] for name in above} == dict.fromkeys(above, 3)


@pytest.mark.parametrize(("model", "layer"), [(WritesBelow(), "second"), (Twice(), "first")])
def test_networks_that_reach_around_their_modules(model: nn.Module, layer: str) -> None:
    whole, again, _ = compared(model, (6,), layer)
    assert torch.equal(whole, again)


@pytest.mark.parametrize(
    ("together", "edit", "more"),
    [
        (seldom, torch.relu, {}),
        (either_order, torch.relu, {"other": nn.Linear(5, 5)}),
        (masked, torch.relu, {}),
        (again, lambda out: out * 100, {"tanh": nn.Tanh()}),
        (written, lambda out: out * 100, {}),
        (compared_to_zero, lambda out: out * 100, {}),
        (gated, lambda out: out + 30, {"other": nn.Linear(5, 5)}),
        (aliased, lambda out: out + 1, {"drop": nn.Dropout()}),
        (sparse, torch.relu, {"thin": Thin()}),
        (by_signature, torch.relu, {"masks": Masks()}),
        (skipping, torch.relu, {"stem": Saves()}),
        (noisy_below, torch.relu, {"noise": Noise()}),
        (lambda m, x: m.last(m.second(m.fast(m.first(x)))), torch.relu, {"fast": compiled()}),
    ],
)
@pytest.mark.parametrize("samples", [8, 10])
def test_what_cannot_be_recalled_runs_whole(together, edit, more: dict, samples: int) -> None:
    model = Three(together, **more)
    nn.init.zeros_(model.second.bias)
    whole, again, counts = compared(model, (6,), "second", edit, samples=samples)
    if together is noisy_below:
        assert counts["first"] == (samples + 3) // 4
    else:
        assert torch.equal(whole, again)


def test_a_network_that_draws_numbers_runs_whole() -> None:
    _, _, counts = compared(Noisy(), (6,), "first")
    assert counts["first"] == 3


@pytest.mark.parametrize(("most_bytes", "again"), [(0, 3), (4 * 5 * 4, 2), (10**6, 0)])
def test_memory_is_bounded(most_bytes: int, again: int) -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5), nn.Linear(5, 3))
    whole, reran, counts = compared(model, (6,), "2", most_bytes=most_bytes)
    assert torch.equal(whole, reran)
    assert counts["0"] == again


def test_the_network_is_left_as_it_was() -> None:
    model = convolutional()
    model[2].forward = own = model[2].forward
    batches = list(Batches(torch.randn(4, 1, 8, 8), 4))
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    with evaluation_mode(model, "cpu") as place:
        rerun = Rerun(model, "2", batches, place)
        assert torch.equal(rerun.outputs[0], forward(model, batches[0], place))
        rerun(0, torch.relu)
        with pytest.raises(ModelError, match="must keep the shape"):
            rerun(0, lambda output: output[:, :1])
    assert vars(model[2])["forward"] is own
    for name, module in model.named_modules():
        assert vars(module).keys() == before[name].keys()


def test_an_unknown_layer() -> None:
    model, batches = convolutional(), list(Batches(torch.randn(4, 1, 8, 8), 4))
    with (
        evaluation_mode(model, "cpu") as place,
        pytest.raises(ModelError, match="Layer '9' is not in the model"),
    ):
        Rerun(model, "9", batches, place)
