"""What is recorded equals a forward pass written out by hand, and the network notices nothing."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from torch import Tensor, nn
from torch.nn import functional

from neucept.activations import Activations, capture
from neucept.errors import DataError, ModelError, SettingsError, StorageError

SAMPLES = 23


class Everything(nn.Module):
    """One layer of each kind, an in-place activation after a norm, and a residual container."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.stage = nn.Sequential(nn.Conv2d(6, 6, 1), nn.Tanh())
        self.pool = nn.AdaptiveMaxPool2d(2)
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(24, 8)
        self.hidden_relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        x += self.stage(x)
        return self.head(self.drop(self.hidden_relu(self.hidden(self.flatten(self.pool(x))))))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """Every layer's output, with nothing in place."""
        out = {"conv": functional.conv2d(x, self.conv.weight, self.conv.bias, padding=1)}
        norm = self.norm
        shaped = [t.view(1, -1, 1, 1) for t in (norm.running_mean, norm.running_var)]
        scale, shift = norm.weight.view(1, -1, 1, 1), norm.bias.view(1, -1, 1, 1)
        out["norm"] = (out["conv"] - shaped[0]) / (shaped[1] + norm.eps).sqrt() * scale + shift
        out["relu"] = out["norm"].clamp(min=0)
        mixed = self.stage[0]
        out["stage.0"] = torch.einsum("nchw,dc->ndhw", out["relu"], mixed.weight[:, :, 0, 0])
        out["stage.0"] = out["stage.0"] + mixed.bias.view(1, -1, 1, 1)
        out["stage.1"] = out["stage"] = out["stage.0"].tanh()
        summed = out["relu"] + out["stage"]
        out["pool"] = functional.adaptive_max_pool2d(summed, 2)
        out["flatten"] = out["pool"].reshape(len(x), -1)
        out["hidden"] = out["flatten"] @ self.hidden.weight.T + self.hidden.bias
        out["hidden_relu"] = out["drop"] = out["hidden"].clamp(min=0)
        out["head"] = out["drop"] @ self.head.weight.T + self.head.bias
        return out


@pytest.fixture
def model() -> Everything:
    torch.manual_seed(0)
    model = Everything()
    with torch.no_grad():
        model(torch.randn(64, 3, 5, 5) + 1)  # running statistics that are not those of a new layer
    return model


@pytest.fixture
def x() -> Tensor:
    return torch.randn(SAMPLES, 3, 5, 5, generator=torch.Generator().manual_seed(1))


LAYERS = [
    *("conv", "norm", "relu", "stage.0", "stage.1", "stage", "pool", "flatten"),
    *("hidden", "hidden_relu", "drop", "head"),
]


@pytest.mark.parametrize("pool", ["mean", "max", "none"])
@torch.no_grad()
def test_equals_the_forward_pass_by_hand(model: Everything, x: Tensor, pool: str) -> None:
    acts = capture(model, x, LAYERS, pool=pool, batch_size=7)
    expected = model.by_hand(x)
    assert acts.layers == tuple(LAYERS)
    for name in LAYERS:
        maps = expected[name].reshape(SAMPLES, expected[name].shape[1], -1).double()
        wanted = {"mean": maps.mean(2), "max": maps.amax(2), "none": maps.flatten(1)}[pool]
        np.testing.assert_allclose(acts.matrix(name), wanted.numpy(), atol=1e-6, err_msg=name)
        assert acts.matrix(name).dtype == np.float32
    np.testing.assert_allclose(acts.outputs, expected["head"].numpy(), atol=1e-6)
    assert acts.pool == pool


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(3, 4, 2), (3, 9)),
        (nn.Conv3d(3, 4, 2), (3, 4, 5, 6)),
        (nn.ConvTranspose2d(3, 4, 2), (3, 4, 5)),
        (nn.GroupNorm(1, 3), (3, 4, 5)),
        (nn.InstanceNorm1d(3), (3, 9)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
@torch.no_grad()
def test_channels_first_layers(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(6, *shape)
    expected = layer(x).flatten(2).mean(2)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(layer(x)[0].numel(), 2))
    acts = capture(model, x, ["0"], batch_size=4)
    np.testing.assert_allclose(acts.matrix("0"), expected.numpy(), atol=1e-6)


@torch.no_grad()
def test_features_last_layers() -> None:
    class MeanOverTokens(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(1)

    model = nn.Sequential(
        *(nn.Linear(3, 5), nn.GELU(), nn.LayerNorm(5), MeanOverTokens(), nn.Linear(5, 2))
    )
    x = torch.randn(6, 7, 3)
    acts = capture(model, x, ["0", "1", "2"])
    for last in range(3):
        expected = model[: last + 1](x).sum(1) / 7
        np.testing.assert_allclose(acts.matrix(str(last)), expected.numpy(), atol=1e-6)


@torch.no_grad()
def test_pooling_by_a_function(model: Everything, x: Tensor) -> None:
    acts = capture(model, x, ["conv", "hidden"], pool=corner)
    expected = model.by_hand(x)
    np.testing.assert_allclose(acts.matrix("conv"), expected["conv"][:, :, 0, 0], atol=1e-6)
    np.testing.assert_allclose(acts.matrix("hidden"), expected["hidden"], atol=1e-6)
    assert acts.pool.endswith("test_activations_capture.corner")


def corner(maps: Tensor) -> Tensor:
    return maps[:, :, 0]


def test_default_layers_kinds_and_layouts(model: Everything, x: Tensor) -> None:
    acts = capture(model, x)
    assert acts.layers == (
        *("conv", "norm", "relu", "stage.0", "stage.1", "hidden", "hidden_relu"),
    )
    assert list(acts.kinds.values()) == [
        *("convolution", "normalisation", "activation", "convolution", "activation"),
        *("linear", "activation"),
    ]
    assert acts.layouts["conv"].shape == (6, 5, 5)
    assert acts.layouts["conv"].pooled


def test_layers_come_in_order_of_execution(model: Everything, x: Tensor) -> None:
    assert capture(model, x, ["hidden", "stage", "conv"]).layers == ("conv", "stage", "hidden")


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_batch_size_does_not_matter(model: Everything, x: Tensor, batch_size: int) -> None:
    whole = capture(model, x, ["norm"]).matrix("norm")
    parts = capture(model, x, ["norm"], batch_size=batch_size).matrix("norm")
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_labels_and_ids_of_any_data_reach_the_result(model: Everything, x: Tensor) -> None:
    labels = torch.arange(SAMPLES) % 4
    names = [f"scan {i}" for i in range(SAMPLES)]
    acts = capture(model, (x, labels, names), ["hidden"], batch_size=6)
    assert acts.labels is not None
    assert acts.labels.tolist() == labels.tolist()
    assert acts.ids == tuple(names)
    assert capture(model, x, ["hidden"]).labels is None
    assert capture(model, x, ["hidden"]).ids == tuple(map(str, range(SAMPLES)))


def test_a_generator_of_batches_is_read_once(model: Everything, x: Tensor) -> None:
    read = []

    def batches() -> Iterator[Tensor]:
        for start in range(0, SAMPLES, 5):
            read.append(start)
            yield x[start : start + 5]

    acts = capture(model, batches(), ["hidden"])
    assert read == list(range(0, SAMPLES, 5))
    assert acts.digest("hidden") == capture(model, x, ["hidden"], batch_size=5).digest("hidden")


def test_double_arrays_meet_single_weights(model: Everything, x: Tensor) -> None:
    acts = capture(model, x.numpy().astype(np.float64), ["hidden"])
    np.testing.assert_allclose(
        acts.matrix("hidden"), capture(model, x, ["hidden"]).matrix("hidden")
    )


def test_half_precision_store(model: Everything, x: Tensor) -> None:
    single, half = (
        capture(model, x, ["norm"], dtype=d).matrix("norm") for d in ("float32", "float16")
    )
    assert half.dtype == np.float32
    assert np.array_equal(half, single.astype(np.float16).astype(np.float32))
    assert not np.array_equal(half, single)


def test_progress_tells_samples(model: Everything, x: Tensor) -> None:
    told: list[tuple[str, int, int]] = []
    capture(model, x, ["conv"], batch_size=10, progress=lambda *step: told.append(step))
    assert told == [("capture", 10, 23), ("capture", 20, 23), ("capture", 23, 23)]
    capture(model, iter([x]), ["conv"], progress=lambda *step: told.append(step))
    assert told[-1] == ("capture", 23, 0)


def test_a_network_that_uses_its_output_again(x: Tensor) -> None:
    class Reusing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Flatten()
            self.out = torch.empty(5, 75)

        def forward(self, x: Tensor) -> Tensor:
            return self.out[: len(x)].copy_(self.inner(x))

    acts = capture(Reusing(), x, ["inner"], batch_size=5)
    assert np.array_equal(acts.outputs, x.flatten(1).numpy())


# the network is left alone


def snapshot(model: nn.Module) -> tuple[object, ...]:
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        torch.get_rng_state(),
        torch.is_grad_enabled(),
    )


def assert_same(first: tuple[object, ...], second: tuple[object, ...]) -> None:
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)
    assert first[1:3] == second[1:3]
    assert torch.equal(first[3], second[3])
    assert first[4] == second[4]


def failing_on(number: int, model: Everything) -> None:
    """Make the forward pass raise when the network runs for the number-th time."""
    runs = itertools.count(1)

    def forward(x: Tensor) -> Tensor:
        model.norm.running_mean.add_(1.0)
        torch.rand(3)
        if next(runs) == number:
            raise RuntimeError("out of order")
        return Everything.forward(model, x)

    model.forward = forward  # type: ignore[method-assign]


@pytest.mark.parametrize("number", [1, 3, None])
def test_the_model_is_untouched(model: Everything, x: Tensor, number: int | None, tmp_path) -> None:
    model.stage.eval()
    if number is not None:
        failing_on(number, model)
    before = snapshot(model)
    try:
        capture(model, x, ["conv", "norm"], batch_size=10, to=tmp_path / "acts")
    except ModelError as error:
        assert isinstance(error.__cause__, RuntimeError)
        assert f"batch {max(0, number - 2)} (samples" in str(error)
        assert "out of order" in str(error)
        assert list(tmp_path.iterdir()) == []
    else:
        assert number is None
    assert_same(snapshot(model), before)


def test_the_model_is_untouched_when_the_data_fails(model: Everything, x: Tensor) -> None:
    def batches() -> Iterator[Tensor]:
        yield x
        torch.rand(1)
        raise OSError("disk gone")

    before = snapshot(model)
    with pytest.raises(DataError, match="disk gone"):
        capture(model, batches(), ["conv"])
    assert_same(snapshot(model), before)


# what cannot be recorded


class Changing(nn.Module):
    """A network whose inner layer behaves differently from the second batch on."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.inner = Reshaping()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        odd = bool((x > 5).any())
        if odd and self.how == "skips":
            return self.head(x)
        self.inner.how = self.how if odd else ""
        inner = self.inner(x)
        if odd and self.how == "twice":
            self.inner(x)
        inner = inner[0] if isinstance(inner, tuple) else inner
        scores = self.head(inner[: len(x), :4].float())
        return scores[:, :1] if odd and self.how == "classes" else scores


class Reshaping(nn.Module):
    how = ""

    def forward(self, x: Tensor):
        return {
            "rows": lambda: torch.cat([x, x]),
            "tuple": lambda: (x, x),
            "integers": x.long,
            "wider": lambda: torch.cat([x, x], 1),
        }.get(self.how, lambda: x * 1)()


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("rows", ModelError, r"'inner' returns a tensor of shape \(4, 4\) for 2 samples"),
        ("tuple", ModelError, "'inner' returns a tuple"),
        ("integers", ModelError, r"'inner' returns whole numbers \(int64\)"),
        ("wider", DataError, "'inner' has 8 neurons on batch 1 .*, 4 on the first"),
        ("skips", ModelError, "'inner' did not run on batch 1"),
        ("twice", ModelError, "'inner' runs more than once"),
        ("classes", ModelError, "returned 1 class scores on batch 1 .*, 2 on the first"),
    ],
)
def test_layers_that_change_their_ways(how: str, error: type[Exception], text: str) -> None:
    x = torch.zeros(4, 4)
    x[2:] = 9.0
    with pytest.raises(error, match=text):
        capture(Changing(how), x, ["inner"], batch_size=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_name_layer_and_sample(
    model: Everything, x: Tensor, value
) -> None:
    x[13, 0, 2, 2] = value
    data = (x, torch.zeros(SAMPLES, dtype=torch.int64), [f"scan {i}" for i in range(SAMPLES)])
    with pytest.raises(DataError, match=r"'scan 13' gives .* in layer 'conv', neuron \d"):
        capture(model, data, ["conv"], batch_size=5)


def test_outputs_that_are_not_finite(x: Tensor) -> None:
    class Overflowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Flatten()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)[:, :3] / 0.0

    with pytest.raises(DataError, match="'0' gives .* in the model's output"):
        capture(Overflowing(), x, ["inner"])


def test_values_too_large_for_half_precision(x: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(75, 3), nn.Linear(3, 2))
    with pytest.raises(DataError, match="capture with dtype='float32'"):
        capture(model, x * 1e6, ["1"], dtype="float16")


@pytest.mark.parametrize(
    "settings", [{"pool": "median"}, {"dtype": "int8"}, {"device": "cuda:9"}, {"batch_size": 0}]
)
def test_settings_out_of_range(model: Everything, x: Tensor, settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="(?i)" + next(iter(settings))):
        capture(model, x, **settings)


# the folder


def test_to_a_folder(model: Everything, x: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "acts.zarr"
    acts = capture(model, x, to=path)
    assert acts.path == path
    assert acts.digest() == capture(model, x).digest() == Activations.open(path).digest()
    assert [p.name for p in path.parent.iterdir()] == ["acts.zarr"]


def test_an_older_capture_is_replaced_once_the_new_one_is_complete(
    model: Everything, x: Tensor, tmp_path: Path
) -> None:
    old = capture(model, x, ["conv"], to=tmp_path / "acts").digest()
    failing_on(2, model)
    with pytest.raises(ModelError):
        capture(model, x, ["norm"], to=tmp_path / "acts")
    assert Activations.open(tmp_path / "acts").digest() == old
    del model.forward
    assert capture(model, x, ["norm"], to=tmp_path / "acts").layers == ("norm",)


def test_other_folders_are_not_replaced(model: Everything, x: Tensor, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    zarr.open_group(str(tmp_path / "zarr"), mode="w").attrs["format"] = "another"
    for place in (tmp_path, tmp_path / "thesis.txt", tmp_path / "zarr"):
        with pytest.raises(StorageError, match="not replaced"):
            capture(model, x, ["conv"], to=place)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_no_space_left(model: Everything, x: Tensor, tmp_path: Path, monkeypatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zarr.storage.LocalStore.set", full)
    with pytest.raises(StorageError, match="No space left on device"):
        capture(model, x, ["conv"], to=tmp_path / "acts")
    assert list(tmp_path.iterdir()) == []


def test_memory_is_a_batch_and_a_chunk(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(64, 2048), nn.ReLU(), nn.Linear(2048, 2))
    batches = 60

    def stream() -> Iterator[Tensor]:
        for seed in range(batches):
            yield torch.randn(64, 64, generator=torch.Generator().manual_seed(seed))

    # numpy's memory only; a batch of one layer is 0.5 MB, all batches of both are 63 MB.
    tracemalloc.start()
    capture(model, stream(), ["0", "1"], to=tmp_path / "acts")
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak < 16
