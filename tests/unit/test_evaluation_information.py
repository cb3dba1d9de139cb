"""Information beside quadrature, where neurons are Gaussian and log-odds linear; and its edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from gaussian_layer import Layer, critical, neighbours
from torch import nn

from neucept.activations import Activations, capture
from neucept.critical import Critical
from neucept.errors import DataError, InputError, ModelError, SettingsError
from neucept.evaluation import (
    Information,
    conditional_information,
    information_curve,
    planted_network,
)
from neucept.knockoffs import Sampler, fit_sampler

NAME = "neurons"

LAYERS = {
    "correlated": Layer((1.5, -1.0, 0.5, 0.0), neighbours(4, 0.5)),
    "strongly correlated": Layer((1.5, 1.0, 0.0, -0.8, 0.5), neighbours(5, 0.8), 0.5),
    "independent, weak": Layer((0.3, 0.0, 0.6, -0.4), neighbours(4, 0.0), -1.0),
    "steep": Layer((3.0, -2.0, 0.0, 2.0), neighbours(4, 0.3)),
}


def found(layer: Layer, target: int = 1) -> Critical:
    size = np.abs(layer.weights)
    return critical(NAME, size + 0.01, size > 0, target)


def law_of(layer: Layer, x: torch.Tensor, law: str) -> Sampler:
    return layer.law(x) if law == "exact" else fit_sampler(x, "gaussian")


def beyond_the_others(layer: Layer, neurons: list[int]) -> float:
    others = tuple(j for j in range(len(layer.weights)) if j not in neurons)
    return layer.told(neurons, others)


@pytest.mark.parametrize("law", ["exact", "fitted"])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_conditional_information_is_that_of_quadrature(layer: Layer, law: str) -> None:
    x = layer.inputs(6000, seed=1)
    model, acts = layer.captured(x)
    width = len(layer.weights)
    result = conditional_information(
        model,
        [x],
        acts,
        found(layer),
        layer=NAME,
        neurons=range(width),
        samples=6000,
        sampler=law_of(layer, x, law),
    )
    table = result.table.set_index("neuron")
    for j in range(width):
        truth = beyond_the_others(layer, [j])
        assert (truth > 1e-3) == (layer.weights[j] != 0)
        figure, error = table.loc[j, "information"], table.loc[j, "error"]
        assert figure == pytest.approx(truth, rel=0.1, abs=1e-6)
        assert abs(figure - truth) <= 4 * error + 1e-6
        assert 0 <= error <= 0.05 * truth + 1e-6
    assert not table["upper_bound"].any()
    assert not result.pooled and not result.bypassed
    assert result.total == pytest.approx(layer.told(list(range(width))), rel=0.05)


@pytest.mark.parametrize(
    ("name", "law"), [("correlated", "fitted"), ("strongly correlated", "exact")]
)
def test_the_curve_is_that_of_quadrature(name: str, law: str) -> None:
    layer = LAYERS[name]
    x = layer.inputs(4000, seed=2)
    model, acts = layer.captured(x)
    width = len(layer.weights)
    backwards = np.argsort(np.abs(layer.weights)).tolist()
    result = information_curve(
        model,
        [x],
        acts,
        found(layer),
        layer=NAME,
        orders={"backwards": backwards},
        samples=4000,
        steps=12,
        random_orders=1,
        sampler=law_of(layer, x, law),
    )
    orders = {"critical": backwards[::-1], "backwards": backwards}
    for way, order in orders.items():
        rows = result.table[result.table["order"] == way].set_index("k")
        assert rows.index.tolist() == [0, *range(1, width + 1)]
        for k, row in rows.iterrows():
            truth = layer.told(order[:k])
            assert abs(row["information"] - truth) <= 4 * row["error"] + 1e-6
            assert row["information"] == pytest.approx(truth, rel=0.1, abs=0.004)
    ends = result.table[result.table["k"] == width]
    assert (ends["information"] == result.total).all()
    assert (ends["error"] == result.total_error).all()
    assert set(result.table["order"]) == {"critical", "backwards", "random"}
    middle = result.table[result.table["k"] == 2].groupby("order")["information"].mean()
    # A random order may begin with the same two.
    assert middle["critical"] == middle.max() > 2 * middle["backwards"]


def test_errors_tell_how_far_figures_are_off() -> None:
    layer = LAYERS["correlated"]
    x = layer.inputs(5000, seed=3)
    model, acts = layer.captured(x)
    law, truth = layer.law(x), beyond_the_others(layer, [0])
    apart = []
    for seed in range(24):
        result = conditional_information(
            *(model, [x], acts, found(layer)),
            layer=NAME,
            neurons=[0],
            samples=250,
            resamples=8,
            sampler=law,
            seed=seed,
        )
        figure, error = result.table.loc[0, ["information", "error"]]
        apart.append((figure - truth) / error)
    # Chi-squared with 24 degrees of freedom: outside of this once in 1,000.
    assert 9 / 24 < np.mean(np.square(apart)) < 52 / 24
    assert abs(np.mean(apart)) < 4 / np.sqrt(24)


def test_near_copies_are_drawn_as_one() -> None:
    covariance = neighbours(3, 0.3)
    spread = np.vstack([covariance, covariance[:1]])
    doubled = np.hstack([spread, np.append(covariance[0], 1.0)[:, None]])
    doubled[0, 3] = doubled[3, 0] = 0.999
    layer = Layer((0.8, 0.5, -0.5, 0.8), doubled)
    x = layer.inputs(4000, seed=4)
    model, acts = layer.captured(x)
    result = conditional_information(
        *(model, [x], acts, found(layer)), layer=NAME, samples=4000, sampler=layer.law(x)
    )
    table = result.table.set_index("neuron")
    assert table["together"].to_dict() == {0: (0, 3), 1: (1,), 2: (2,), 3: (0, 3)}
    assert table.loc[0, "information"] == table.loc[3, "information"]
    assert table.loc[0, "information"] == pytest.approx(beyond_the_others(layer, [0, 3]), rel=0.1)
    # Alone, a copy that stays tells what the other would.
    assert beyond_the_others(layer, [0]) < 0.02 * table.loc[0, "information"]


class Bypassed(nn.Module):
    """The last inputs go past the layer."""

    def __init__(self, through: nn.Module, past: tuple[float, ...]) -> None:
        super().__init__()
        self.neurons, self.head = through.neurons, through.head
        half = torch.tensor([[-w / 2 for w in past], [w / 2 for w in past]])
        self.past = nn.Linear(len(past), 2, bias=False)
        with torch.no_grad():
            self.past.weight.copy_(half)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        width = self.neurons.in_features
        return self.head(self.neurons(x[:, :width])) + self.past(x[:, width:])


def test_what_bypasses_the_layer_is_found_and_stays() -> None:
    whole = Layer((1.0, -0.7, 0.0, 1.2), neighbours(4, 0.0))
    inner = Layer(whole.weights[:3], neighbours(3, 0.0))
    x = whole.inputs(4000, seed=5)
    straight, _ = inner.captured(x[:, :3])
    model = Bypassed(straight, whole.weights[3:]).eval()
    acts = capture(model, x, [NAME])
    asked = {"layer": NAME, "samples": 4000, "sampler": inner.law(x[:, :3])}
    curve = information_curve(model, [x], acts, found(inner), **asked, random_orders=0)
    assert curve.bypassed and not curve.pooled
    start = curve.table.iloc[0]
    assert start["k"] == 0
    assert start["information"] == pytest.approx(whole.told([3]), rel=0.1)
    assert curve.table.iloc[-1]["information"] == curve.total
    assert curve.total == pytest.approx(whole.told([0, 1, 2, 3]), rel=0.05)
    table = conditional_information(model, [x], acts, found(inner), **asked).table
    assert table["upper_bound"].all()
    # Independent of the rest, so the bound is reached: all that is read besides is given.
    assert table["information"].iloc[0] == pytest.approx(whole.told([0], (1, 2, 3)), rel=0.1)


class Pooled(nn.Module):
    """Channels whose means alone reach the two classes."""

    def __init__(self, weights: tuple[float, ...]) -> None:
        super().__init__()
        self.neurons = nn.Conv2d(1, len(weights), 3)
        self.head = nn.Linear(len(weights), 2, bias=False)
        with torch.no_grad():
            self.neurons.bias.zero_()
            # Pooled values have variances around 1.
            self.neurons.weight.mul_(10.0)
            self.head.weight.copy_(
                torch.tensor([[-w / 2 for w in weights], [w / 2 for w in weights]])
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.neurons(x).mean((2, 3)))


@pytest.fixture(scope="module")
def pooled() -> tuple[nn.Module, torch.Tensor, Activations, Layer]:
    weights = (1.0, 0.0, -1.5, 0.7)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model, x = Pooled(weights).eval(), torch.randn(3000, 1, 6, 6)
        with torch.no_grad():
            pixels = torch.eye(36).reshape(36, 1, 6, 6)
            linear = model.neurons(pixels).mean((2, 3)).double().numpy()
    layer = Layer(weights, linear.T @ linear)
    return model, x, capture(model, x, [NAME]), layer


def test_pooled_channels_agree_with_quadrature_where_their_means_are_all_that_is_read(
    pooled: tuple,
) -> None:
    model, x, acts, layer = pooled
    result = conditional_information(
        *(model, [x], acts, found(layer)), layer=NAME, neurons=range(4), samples=3000
    )
    assert result.pooled and not result.bypassed
    assert result.table["upper_bound"].all()
    for j, (figure, error) in enumerate(
        result.table[["information", "error"]].itertuples(index=False)
    ):
        truth = beyond_the_others(layer, [j])
        # The density is a default one, fitted; a map's value does not pass the bank's outermost.
        assert figure == pytest.approx(truth, rel=0.1, abs=1e-6)
        assert abs(figure - truth) < 4 * error + 1e-6


def test_the_curve_of_pooled_channels_starts_near_nothing_and_ends_at_the_total(
    pooled: tuple,
) -> None:
    model, x, acts, layer = pooled
    curve = information_curve(
        *(model, [x], acts, found(layer)), layer=NAME, samples=1000, random_orders=1, resamples=8
    )
    first = curve.table[curve.table["k"] == 0]
    assert (first["information"].abs() < 4 * first["error"] + 0.01 * curve.total).all()
    assert (curve.table.loc[curve.table["k"] == 4, "information"] == curve.total).all()


def test_units_without_a_path_tell_nothing_and_the_critical_ones_do() -> None:
    planted = planted_network(1000, others=8, seed=1)
    acts = capture(planted.model, planted.x, ["first", "second"])
    width = acts.n_neurons("second")
    selected = np.isin(np.arange(width), planted.critical["second"])
    crit = critical("second", selected + 0.1, selected)
    before = {name: value.clone() for name, value in planted.model.state_dict().items()}
    asked = {"layer": "second", "neurons": range(width), "samples": 1000, "resamples": 4}
    first, second = (
        conditional_information(planted.model, [planted.x], acts, crit, **asked) for _ in range(2)
    )
    pd.testing.assert_frame_equal(first.table, second.table)
    assert (first.samples == second.samples).all()
    told = first.table["information"].to_numpy()
    error = first.table["error"].to_numpy()
    assert (told[selected] > 0).all()
    # Units of one mechanism stand in for one another, so each alone tells little.
    assert told[selected].sum() > 3 * np.sqrt(np.sum(error[selected] ** 2))
    assert (np.abs(told[~selected]) < 1e-6).all()
    # Two classes: the class against the others is the whole distribution.
    both = conditional_information(planted.model, [planted.x], acts, crit, of="classes", **asked)
    assert both.table["information"].to_numpy() == pytest.approx(told, abs=1e-6)
    assert not first.bypassed
    again = planted.model.state_dict()
    assert all(torch.equal(before[name], value) for name, value in again.items())


class Perceptron(nn.Module):
    """Three classes behind two hidden layers, one unit of which reaches none."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.first, self.neurons = nn.Linear(10, 16), nn.Linear(16, 6)
        self.head, self.last = nn.Linear(6, 3), last
        with torch.no_grad():
            self.head.weight.mul_(6.0)
            self.head.weight[:, 2] = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.neurons(torch.tanh(self.first(x))))
        return self.last(self.head(hidden))


def perceptron(last: nn.Module) -> tuple[nn.Module, torch.Tensor, Activations]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model, x = Perceptron(last).eval(), 2 * torch.randn(1500, 10)
    return model, x, capture(model, x, [NAME])


def test_the_classes_tell_more_than_one_of_them_and_softmax_is_seen_through() -> None:
    selected = np.arange(6) != 2
    crit = critical(NAME, selected + 0.1, selected, target=1)
    asked = {"layer": NAME, "neurons": range(6), "samples": 800, "resamples": 8}
    found: dict[str, Information] = {}
    for name, last in (("logits", nn.Identity()), ("softmax", nn.Softmax(dim=1))):
        model, x, acts = perceptron(last)
        for of in ("target", "classes"):
            found[f"{name} {of}"] = conditional_information(model, [x], acts, crit, of=of, **asked)
    one, every = found["logits target"], found["logits classes"]
    assert one.total < every.total
    told = one.table["information"]
    assert (told < every.table["information"] + 1e-6).all()
    assert abs(told[2]) < 1e-6
    assert (told > 5 * one.table["error"]).tolist() == selected.tolist()
    for of in ("target", "classes"):
        softmax, logits = found[f"softmax {of}"].table, found[f"logits {of}"].table
        assert softmax["information"].to_numpy() == pytest.approx(
            logits["information"].to_numpy(), abs=1e-5
        )


def test_other_samples_or_classes_are_those_of_the_search() -> None:
    layer = LAYERS["correlated"]
    x = layer.inputs(1500, seed=6)
    model, acts = layer.captured(x)
    only = found(layer, target=0)
    only = replace(only, search=replace(only.search, samples="predicted"))
    asked = {"layer": NAME, "samples": 300, "resamples": 2, "sampler": layer.law(x)}
    few = conditional_information(model, x, acts, only, **asked)
    assert (acts.predictions[few.samples] == 0).all()
    every = conditional_information(model, x, acts, found(layer, target=0), **asked)
    assert set(acts.predictions[every.samples]) == {0, 1}
    # Those predicted alike differ less in their predictions.
    assert few.total < every.total / 2
    assert every.table["neuron"].tolist() == [0, 1, 2]


def test_nothing_selected_is_an_empty_table_and_records_are_saved(tmp_path: Path) -> None:
    layer = LAYERS["correlated"]
    x = layer.inputs(300, seed=7)
    model, acts = layer.captured(x)
    none = critical(NAME, np.ones(4), np.zeros(4, dtype=bool))
    seen = []
    empty = conditional_information(model, x, acts, none, layer=NAME, samples=100)
    assert empty.table.empty and empty.total > 0
    asked = {"layer": NAME, "samples": 100, "resamples": 2, "random_orders": 1}
    curve = information_curve(
        model, x, acts, none, **asked, progress=lambda *told: seen.append(told)
    )
    assert seen == [("information", 1, 2), ("information", 2, 2)]
    curve.save(tmp_path / "curve.parquet")
    read = pd.read_parquet(tmp_path / "curve.parquet")
    assert read["information"].tolist() == curve.to_frame()["information"].tolist()
    assert set(read["layer"]) == {NAME}
    some = conditional_information(
        model, x, acts, found(layer), layer=NAME, samples=100, resamples=2
    )
    some.save(tmp_path / "some.parquet")
    assert len(pd.read_parquet(tmp_path / "some.parquet")) == len(some.to_frame()) == 3


@pytest.fixture(scope="module")
def small() -> tuple:
    layer = LAYERS["correlated"]
    x = layer.inputs(200, seed=8)
    return (*layer.captured(x), x, found(layer))


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"layer": "neuron"}, ModelError, "Did you mean 'neurons'"),
        ({"samples": 1}, SettingsError, "samples is 1"),
        ({"resamples": 1}, SettingsError, "resamples is 1"),
        ({"of": "class"}, SettingsError, "Did you mean 'classes'"),
        ({"seed": -1}, SettingsError, "seed"),
        ({"neurons": [0, 4]}, SettingsError, "indices from 0 to 3"),
        ({"neurons": [1, 1]}, SettingsError, "different indices"),
        ({"steps": 0}, SettingsError, "steps is 0"),
        ({"random_orders": -1}, SettingsError, "random_orders is -1"),
        ({"orders": {"random": [0, 1, 2, 3]}}, SettingsError, "Pass another name"),
        ({"orders": {"mine": [0, 1]}}, SettingsError, "each of the layer's 4 neurons once"),
    ],
)
def test_bad_settings_are_one_line(
    small: tuple, settings: dict, error: type[InputError], text: str
) -> None:
    model, acts, x, crit = small
    curve = settings.keys() & {"steps", "random_orders", "orders"}
    ask = information_curve if curve else conditional_information
    with pytest.raises(error, match=text) as caught:
        ask(model, x, acts, crit, **{"layer": NAME, **settings})
    assert "\n" not in str(caught.value)


def test_what_does_not_belong_together_is_refused(small: tuple) -> None:
    model, acts, x, crit = small
    with pytest.raises(DataError, match="differ by up to"):
        conditional_information(model, x.flip(0) * 3, acts, crit, layer=NAME)
    with pytest.raises(DataError, match="fitted on 3"):
        narrow = fit_sampler(x[:, :3], "gaussian")
        conditional_information(model, x, acts, crit, layer=NAME, sampler=narrow)
    with pytest.raises(ModelError, match="was not searched"):
        other = replace(crit, layers=("head",))
        conditional_information(model, x, acts, other, layer=NAME)
    sure = perceptron(nn.Sigmoid())
    with pytest.raises(SettingsError, match="Pass 'target'"):
        conditional_information(*sure[:2], sure[2], crit, layer=NAME, of="classes")
