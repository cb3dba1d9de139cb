"""What must hold of mechanisms in distribution, each with its error bar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from neucept.activations import Activations, capture
from neucept.critical import Critical, Search
from neucept.evaluation import planted_network
from neucept.mechanisms import Mechanisms, discover_mechanisms
from neucept.mechanisms.gaps import gap_counts, gap_p_value
from neucept.mechanisms.mixture import Ascent, one_hot
from neucept.mechanisms.path import k_means

Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def mixed(rng: np.random.Generator, neurons: int) -> np.ndarray:
    """A random mixing of neurons with a falling spectrum, as in networks."""
    fall = np.exp(-4 * np.arange(neurons) / neurons)
    return rng.standard_normal((neurons, neurons)) * fall[:, None]


def gaussian(rng: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    return rng.standard_normal((samples, neurons)) @ mixed(rng, neurons)


def skewed(rng: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    return rng.exponential(size=(samples, neurons)) @ mixed(rng, neurons)


def heavy_tailed(rng: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    return gaussian(rng, samples, neurons) / np.sqrt(rng.chisquare(3, (samples, 1)) / 3)


def elongated(rng: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    x = rng.standard_normal((samples, neurons))
    x[:, 0] = rng.uniform(-15, 15, samples)
    return x @ np.linalg.qr(rng.standard_normal((neurons, neurons)))[0]


def cone(rng: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    strength = rng.gamma(2.0, 1.0, (samples, 1))
    direction = 0.5 + rng.standard_normal(neurons)
    return strength * (direction + 0.4 * rng.standard_normal((samples, neurons)))


def curved(rng: np.random.Generator, samples: int, neurons: int) -> np.ndarray:
    angle = rng.uniform(-1.2, 1.2, samples)
    x = 0.5 * rng.standard_normal((samples, neurons))
    x[:, 0] += 3 * np.sin(angle)
    x[:, 1] += 3 * np.cos(angle)
    return x @ np.linalg.qr(rng.standard_normal((neurons, neurons)))[0]


UNIMODAL: tuple[Draw, ...] = (gaussian, skewed, heavy_tailed, elongated, cone, curved)


def discovered(x: np.ndarray, most: int, seed: int = 0) -> Mechanisms:
    acts = Activations.from_arrays({"layer": x}, np.tile([1.0, 0.0], (len(x), 1)))
    return discover_mechanisms(acts, every_neuron(acts), max_mechanisms=most, seed=seed)


def every_neuron(acts: Activations, target: int = 0) -> Critical:
    frames = [
        pd.DataFrame({"layer": layer, "neuron": np.arange(acts.n_neurons(layer))})
        for layer in acts.layers
    ]
    table = pd.concat(frames).assign(selected=True, e_value=1.0, score=1.0, frequency=1.0, note="")
    messages = dict.fromkeys(acts.layers, "")
    settings: dict[str, dict] = {layer: {} for layer in acts.layers}
    return Critical(target, acts.layers, Search(), table, table.head(0), messages, settings)


@pytest.mark.parametrize("draw", UNIMODAL)
def test_one_unimodal_group_is_not_split(draw: Draw) -> None:
    x = draw(np.random.default_rng(0), 160, 12)
    assert discovered(x, 3).n_mechanisms == 1


@pytest.mark.full
@pytest.mark.timeout(600)
def test_false_splits_are_at_most_one_in_twenty() -> None:
    cases = [
        (draw, samples, neurons, seed)
        for draw in UNIMODAL
        for samples, neurons in ((150, 10), (300, 30))
        for seed in range(2)
    ]
    split = [
        discovered(draw(np.random.default_rng(seed), samples, neurons), 4, seed).n_mechanisms > 1
        for draw, samples, neurons, seed in cases
    ]
    error = (0.05 * 0.95 / len(cases)) ** 0.5
    assert np.mean(split) <= 0.05 + 2 * error


@pytest.mark.parametrize("draw", [gaussian, skewed, heavy_tailed])
def test_the_gap_p_value_is_valid_when_there_is_one_peak(draw: Draw) -> None:
    # One split and two groups; a single p-value is half of twice the median of one.
    p_values = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        x = draw(rng, 200, 3)
        own, other = x[:100], x[100:]
        mixture = Ascent(own).climb(one_hot(k_means(own, 2, rng), 2), 30)
        counts = gap_counts(mixture, own, other, np.array([0, 1]))
        p_values.append(gap_p_value([counts], [np.ones(2, dtype=bool)]))
    for level in (0.05, 0.2):
        error = (level * (1 - level) / len(p_values)) ** 0.5
        assert np.mean(np.array(p_values) / 2 <= level) <= level + 2 * error


def test_typicality_of_fresh_samples_is_uniform_on_average() -> None:
    # Within one study the share below 0.1 wanders with its 200 samples; over studies it averages.
    shares = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        mixing = mixed(rng, 6)
        draw = [rng.exponential(size=(rows, 6)) @ mixing for rows in (200, 2000)]
        mech = discovered(draw[0], 1, seed)
        fresh = Activations.from_arrays({"layer": draw[1]}, np.zeros((2000, 2)))
        shares.append((mech.assign(fresh).typicality <= 0.1).mean())
    error = (0.1 * 0.9 / 200) ** 0.5 / len(shares) ** 0.5
    assert abs(np.mean(shares) - 0.1) < 3 * error


def test_groups_five_deviations_apart_are_told_apart() -> None:
    right = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        group = rng.integers(0, 2, 300)
        direction = rng.standard_normal(20)
        apart = 5 * direction / np.linalg.norm(direction)
        mech = discovered(rng.standard_normal((300, 20)) + group[:, None] * apart, 3, seed)
        agrees = adjusted_mutual_info_score(group, mech.labels)
        right.append(mech.n_mechanisms == 2 and agrees > 0.8)
    assert sum(right) >= 3


@pytest.mark.parametrize("mechanisms", [pytest.param(2, marks=pytest.mark.full), 3])
def test_mechanisms_planted_in_a_network_are_found(mechanisms: int) -> None:
    planted = planted_network(700, mechanisms, seed=1)
    acts = capture(planted.model, planted.x, ["first", "second"])
    everything = every_neuron(acts, target=1)
    kept = [
        table["neuron"].isin(planted.critical[layer])
        for layer, table in everything.table.groupby("layer", sort=False)
    ]
    table = everything.table.assign(selected=pd.concat(kept))
    crit = Critical(1, acts.layers, Search(), table, table.head(0), {}, {})
    mech = discover_mechanisms(acts, crit, max_mechanisms=4)
    assert mech.n_mechanisms == mechanisms
    known = planted.mechanisms[mech.samples]
    assert adjusted_mutual_info_score(known, mech.labels) > 0.85
