from __future__ import annotations

import numpy as np
import pytest
import torch
from designs import gaussian

from neucept.errors import DataError, SettingsError
from neucept.knockoffs import planting
from neucept.knockoffs.planting import PLANTED, WHOLE, Planted, plant, score
from neucept.knockoffs.screening import screen
from neucept.knockoffs.selection import Selection


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return gaussian("ar 0.5", 300, 12, np.random.default_rng(0))


def shuffled(x: np.ndarray, neuron: int, seed: int = 1) -> np.ndarray:
    other = x.copy()
    other[:, neuron] = np.random.default_rng(seed).permutation(other[:, neuron])
    return other


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_each_kind_depends_on_its_set_and_on_nothing_else(x, kind: str, noise: float) -> None:
    settings = {"neurons": 5, "noise": noise, "seed": 3}
    target = plant(x, kind, **settings)
    assert (target.kind, target.noise) == (kind, noise)
    assert len(target.neurons) == (4 if kind == "product" else 5)
    assert (np.diff(target.neurons) > 0).all()
    for neuron in range(12):
        changed = plant(shuffled(x, neuron), kind, **settings)
        np.testing.assert_array_equal(changed.neurons, target.neurons)
        if neuron in target.neurons:
            assert np.abs(changed.clean - target.clean).max() > 0.01
        else:
            np.testing.assert_array_equal(changed.y, target.y)


def test_values_of_each_kind_are_what_the_words_say() -> None:
    z = np.random.default_rng(0).standard_normal((100, 3))
    weights = np.array([1.5, -0.5, 1.0])
    first, second, third = z.T

    def value(kind: str, chosen: np.ndarray = z) -> np.ndarray:
        return PLANTED[kind](chosen, weights, np.random.default_rng(0))

    total = 1.5 * first - 0.5 * second + third
    wanted = {
        "linear": total,
        "relu": total.clip(min=0),
        "even": 1.5 * abs(first) - 0.5 * abs(second) + abs(third),
        "product": 1.5 * first * second,
        "threshold": 1.5 * (first > np.median(first))
        - 0.5 * (second > np.median(second))
        + (third > np.median(third)),
        "max": np.array([1.5 * first, -0.5 * second, third]).max(0),
    }
    assert set(wanted) == set(PLANTED) - {"network", "log_odds"}
    for kind, values in wanted.items():
        np.testing.assert_allclose(value(kind), values, atol=1e-12, err_msg=kind)
    np.testing.assert_allclose(value("even", -z), value("even"), atol=1e-12)
    # 16 tanh units: odd in z, bounded, and not a sum of functions of single neurons.
    np.testing.assert_allclose(value("network", -z), -value("network"), atol=1e-12)
    far = value("network", 1e6 * z)
    np.testing.assert_allclose(far, value("network", 2e6 * z))
    apart = sum(value("network", z * (np.arange(3) == j)) for j in range(3))
    assert np.abs(apart - value("network")).max() > 0.1


def test_log_odds_lean_on_what_neurons_share() -> None:
    random = np.random.default_rng(0)
    shared = random.standard_normal((2000, 1))
    z = 0.7 * shared + 0.71 * random.standard_normal((2000, 12))
    weights = np.ones(12)
    lean = []
    for seed in range(20):
        values = PLANTED["log_odds"](z, weights, np.random.default_rng(seed))
        assert values.shape == (2000,)
        assert np.ptp(values) > 3
        lean.append(abs(np.corrcoef(values, z.mean(1))[0, 1]))
    linear = [
        abs(np.corrcoef(z @ np.random.default_rng(seed).standard_normal(12), z.mean(1))[0, 1])
        for seed in range(20)
    ]
    assert np.median(lean) > 0.8 > np.median(linear)


@pytest.mark.parametrize("kind", PLANTED)
def test_noise_is_measured_in_standard_deviations_of_the_function(kind: str) -> None:
    x = gaussian("ar 0.5", 20_000, 10, np.random.default_rng(1))
    target = plant(x, kind, neurons=4, noise=0.5)
    assert target.clean.mean() == pytest.approx(0, abs=1e-9)
    assert target.clean.std() == pytest.approx(1)
    noise = target.y - target.clean
    # The spread of 20,000 normal values, and their correlation with anything, err by 0.5 and 0.7 %.
    assert noise.std() == pytest.approx(0.5, rel=0.02)
    assert np.corrcoef(noise, target.clean)[0, 1] == pytest.approx(0, abs=0.03)
    np.testing.assert_array_equal(plant(x, kind, neurons=4).y, target.clean)


def test_weights_have_both_signs_and_sizes_from_a_half_to_three_halves(x) -> None:
    z = (x - x.mean(0)) / x.std(0)
    sizes, positive = [], []
    for seed in range(100):
        target = plant(x, "linear", neurons=3, seed=seed)
        weights = np.linalg.lstsq(z[:, target.neurons], target.clean)[0]
        # `clean` has variance 1, so weights are known up to a factor; their ratios bound it.
        assert np.ptp(np.sign(weights)) == 2
        assert abs(weights).max() / abs(weights).min() <= 3
        sizes.append(np.sort(abs(weights)) / abs(weights).max())
        positive.append((weights > 0).mean())
    assert np.mean(positive) == pytest.approx(0.5, abs=0.05)
    assert np.min(sizes) < 0.5
    drawn = np.concatenate([planting._weights(5, np.random.default_rng(s)) for s in range(400)])
    assert 0.5 <= abs(drawn).min() < 0.51
    assert 1.49 < abs(drawn).max() <= 1.5
    assert abs(drawn).mean() == pytest.approx(1.0, abs=0.03)


def test_every_neuron_is_chosen_equally_often(x) -> None:
    counts = np.zeros(12)
    for seed in range(150):
        counts[plant(x, "linear", neurons=3, seed=seed).neurons] += 1
    # 37.5 each, with a standard deviation of 5.3.
    assert counts.min() > 16
    assert counts.max() < 59


def test_the_seed_decides_everything(x) -> None:
    one, again, other = (plant(x, "network", neurons=4, noise=0.5, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.y, again.y)
    np.testing.assert_array_equal(one.neurons, again.neurons)
    assert not np.array_equal(one.y, other.y)


def test_activations_are_only_read_and_may_be_a_tensor(x) -> None:
    before = x.copy()
    plain = plant(x, "relu", neurons=4)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(plant(torch.tensor(x), "relu", neurons=4).y, plain.y)


def test_only_candidates_that_vary_are_chosen(x) -> None:
    still = x.copy()
    still[:, [2, 5]] = (0.0, 7.0)
    assert set(plant(still, "linear", neurons=10).neurons) == set(range(12)) - {2, 5}
    chosen = plant(still, "linear", neurons=2, candidates=[9, 2, 4]).neurons
    assert chosen.tolist() == [4, 9]
    with pytest.raises(DataError, match="Only 2 of the neurons to choose from vary, and 3 are"):
        plant(still, "linear", neurons=3, candidates=[9, 2, 4])


def test_neurons_without_which_the_target_is_the_same_are_left_out(x) -> None:
    # The first six are at their maximum in most samples: none is ever above its median.
    ceiling = x.copy()
    ceiling[:, :6] = np.minimum(x[:, :6], np.quantile(x[:, :6], 0.3, axis=0))
    target = plant(ceiling, "threshold", neurons=6)
    assert target.neurons.size
    assert target.neurons.min() >= 6
    settings = {"neurons": 3, "candidates": [0, 1, 7]}
    assert plant(ceiling, "threshold", **settings).neurons.tolist() == [7]
    assert plant(ceiling, "linear", **settings).neurons.tolist() == [0, 1, 7]
    with pytest.raises(DataError, match="No target of kind 'threshold' on 2 of 6 neurons varies"):
        plant(ceiling, "threshold", neurons=2, candidates=range(6))
    with pytest.raises(DataError, match="No target of kind 'product' on 1 of 12 neurons varies"):
        plant(x, "product", neurons=1)


def test_a_set_in_which_every_neuron_matters_is_preferred(x) -> None:
    ceiling = x.copy()
    ceiling[:, :2] = np.minimum(x[:, :2], np.quantile(x[:, :2], 0.3, axis=0))
    for seed in range(20):
        target = plant(ceiling, "threshold", neurons=4, seed=seed)
        assert len(target.neurons) == 4
        assert target.neurons.min() >= 2


def test_a_new_kind_is_a_function_and_a_line(x, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANTED, "first", lambda z, weights, random: z[:, 0] ** 3)
    target = plant(x, "first", neurons=3)
    assert len(target.neurons) == 1
    z = x[:, target.neurons[0]]
    z = (z - z.mean()) / z.std()
    np.testing.assert_allclose(target.clean, (z**3 - (z**3).mean()) / (z**3).std())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"kind": "linaer"}, "no kind of target 'linaer'. Did you mean 'linear'"),
        ({"neurons": 0}, "neurons is 0. Pass a whole number of at least 1"),
        ({"neurons": True}, "neurons is True"),
        ({"noise": -0.1}, "noise is -0.1. Pass a number of at least 0"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"candidates": [0, 12]}, r"candidates is \[0, 12\]. Pass different indices from 0 to 11"),
        ({"candidates": [1, 1]}, r"candidates is \[1, 1\]"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_settings_are_refused(x, settings: dict, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        plant(x, **{"kind": "linear", "neurons": 2, **settings})


def test_unusable_activations_are_refused(x) -> None:
    with pytest.raises(DataError, match="not finite"):
        plant(np.where(x > 3, np.nan, x), "linear", neurons=2)
    with pytest.raises(DataError, match="Only 0 of the neurons"):
        plant(np.ones((80, 4)), "linear", neurons=2)


def selection(named: list[int], neurons: int = 8, groups: tuple = ()) -> Selection:
    selected = np.isin(np.arange(neurons), named)
    evidence = selected.astype(float)
    return Selection(selected, evidence, evidence, evidence, 0.1, "", {}, groups, {})


def planted(neurons: list[int]) -> Planted:
    return Planted(np.zeros(3), np.array(neurons), "linear", 0.0, np.zeros(3))


@pytest.mark.parametrize(
    ("named", "true", "groups", "wanted"),
    [
        ([0, 1, 2, 3], [0, 1, 4, 5, 6], (), (0.5, 0.4)),
        ([], [0, 1], (), (0.0, 0.0)),
        ([6, 7], [0], (), (1.0, 0.0)),
        ([0, 1], [0, 1], (), (0.0, 1.0)),
        # All members of a group are named together; one of them is planted, and not the first.
        ([0, 3, 5], [5], ((0, 3, 5),), (0.0, 1.0)),
        ([0, 3, 5, 6], [5, 7], ((0, 3, 5),), (0.5, 0.5)),
        # Two planted members are one neuron to be found.
        ([0, 3, 5], [0, 5, 7], ((0, 3, 5),), (0.0, 0.5)),
        # A wrong group is one wrong name of two, whichever its size.
        ([0, 3, 5, 6], [6], ((0, 3, 5),), (0.5, 1.0)),
        # Any member counts, also where only some are named.
        ([3], [5], ((0, 3, 5), (1, 2)), (0.0, 1.0)),
    ],
)
def test_scores_count_a_group_as_one(named, true, groups, wanted) -> None:
    assert score(selection(named, groups=groups), planted(true)) == wanted


def test_groups_of_real_near_duplicates_are_scored_as_one(x) -> None:
    rows = np.c_[x, 2 * x[:, 4] + 1]
    screening = screen(rows)
    assert screening.groups == ((4, 12),)
    target = plant(rows, "linear", neurons=12, candidates=screening.tested)
    assert score(selection([4, 12], 13, screening.groups), target) == (0.0, 1 / 12)
    assert score(selection([12], 13, screening.groups), target) == (0.0, 1 / 12)


def test_scores_of_what_does_not_belong_together_are_refused() -> None:
    several = selection([1])
    wide = Selection(
        np.ones((8, 2), dtype=bool), *(np.ones((8, 2)) for _ in range(3)), 0.1, "", {}, (), {}
    )
    with pytest.raises(DataError, match="has 2 separate targets"):
        score(wide, planted([0]))
    with pytest.raises(DataError, match="Neuron 8 is planted and the selection has 8 neurons"):
        score(several, planted([8]))


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_all_neurons_matter_where_that_is_taken_for_granted(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).standard_normal((200, 8))
    x[:, 0] = x[:, 0] > 1  # a neuron of two values
    taken = plant(x, kind, neurons=6, seed=3)
    monkeypatch.setattr("neucept.knockoffs.planting.WHOLE", frozenset())
    checked = plant(x, kind, neurons=6, seed=3)
    assert list(taken.neurons) == list(checked.neurons)
    assert np.array_equal(taken.y, checked.y)
