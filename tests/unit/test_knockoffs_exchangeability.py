"""The exchangeability check: near chance for exact laws, far from it for wrong ones."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from designs import gaussian

from neucept.errors import DataError, SettingsError
from neucept.knockoffs import Exchangeability, Sampler, check_exchange, fit_sampler
from neucept.runtime import read_arrays, write_arrays

MODULE = sys.modules[Exchangeability.__module__]
ROWS, NEURONS = 4000, 16


class Permuted:
    """Each neuron's values in another order: right one by one, wrong together."""

    def prepare(self, copies: int) -> None:
        pass

    def knockoffs(self, x, copies, random) -> np.ndarray:
        drawn = [[random.permutation(column) for _ in range(copies)] for column in x.T]
        return np.moveaxis(np.array(drawn), -1, 0)

    def conditional(self, x, neurons, n, random) -> np.ndarray:
        return self.knockoffs(x, n, random)[:, neurons]

    def describe(self) -> dict:
        return {"kind": "permuted"}

    def arrays(self) -> dict:
        return {}


class Labelled(Permuted):
    """Copies that keep the first neuron, so that it tells which row they belong to."""

    def knockoffs(self, x, copies, random) -> np.ndarray:
        drawn = super().knockoffs(x, copies, random)
        drawn[:, 0] = x[:, :1]
        return drawn


def clumped() -> np.ndarray:
    """Six clumps of rows, anywhere."""
    random = np.random.default_rng(1)
    centres = random.standard_normal((6, NEURONS))
    return centres[random.integers(6, size=ROWS)] + 0.3 * random.standard_normal((ROWS, NEURONS))


def bimodal() -> np.ndarray:
    """Neurons that are correlated and pile up at both ends."""
    return np.tanh(3 * gaussian("ar 0.8", ROWS, NEURONS, np.random.default_rng(1)))


def with_density(x: np.ndarray, density: object) -> Sampler:
    return replace(fit_sampler(x, "gaussian"), tested=density)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return gaussian("ar 0.8", ROWS, NEURONS, np.random.default_rng(0))


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("design", ["ar 0.8", "factor"])
def test_the_right_law_is_near_chance(design: str, copies: int) -> None:
    rows = gaussian(design, ROWS, NEURONS, np.random.default_rng(0))
    found = check_exchange(rows, fit_sampler(rows, "gaussian"), copies=copies)
    assert abs(found.auc - 0.5) < 4 * found.auc_error
    assert found.z < 1.3 * found.z_chance
    assert found.beyond < 0.02
    assert 0.003 < found.auc_error < 0.02


def test_chance_is_what_the_largest_of_many_moments_reaches(x) -> None:
    """A bar for a single moment, 2 standard errors, would be passed in every check."""
    sampler = fit_sampler(x, "gaussian")
    found = [check_exchange(x, sampler, seed=seed) for seed in range(8)]
    assert sum(check.z > check.z_chance for check in found) <= 2
    assert all(2.5 < check.z_chance < 6 for check in found)
    assert all(check.z > 2 for check in found)


def test_copies_that_ignore_other_neurons_are_seen(x) -> None:
    found = check_exchange(x, with_density(x, Permuted()))
    assert found.auc - 4 * found.auc_error > 0.8
    assert found.z > 3 * found.z_chance
    assert found.moment.startswith("covariance of ")
    assert abs(found.difference) > 0.7
    assert found.beyond > 0.1


@pytest.mark.parametrize("law", [clumped, bimodal])
def test_what_a_gaussian_cannot_copy_is_seen_beyond_second_moments(law) -> None:
    """Second moments are right there, so the classifier has to see more than they."""
    rows = law()
    found = check_exchange(rows, fit_sampler(rows, "gaussian"))
    assert found.auc - 4 * found.auc_error > 0.6
    assert found.z < 1.5 * found.z_chance


def test_the_density_of_clumps_is_told_from_a_gaussian() -> None:
    rows = clumped()
    found = check_exchange(rows, fit_sampler(rows, "mixture"))
    assert found.auc < 0.56


def test_groups_are_traded_as_one(x) -> None:
    own = np.random.default_rng(4).standard_normal((ROWS, 2))
    rows = np.c_[x, x[:, [3, 3]] * (1 + 0.02 * own) + 0.05 * own]
    sampler = fit_sampler(rows, "gaussian")
    assert sampler.screening.groups == ((3, 16, 17),)
    found = check_exchange(rows, sampler)
    assert found.neurons == NEURONS
    assert found.compared == 2 * 18 + 18 * 17 * 2 - 2 * 6
    assert found.z < 1.3 * found.z_chance
    wrong = check_exchange(rows, with_density(rows, Permuted()))
    assert wrong.z > 3 * wrong.z_chance
    # Members of a group depend on each other's originals as they like.
    held = check_exchange(rows, with_density(rows, Held()))
    assert held.z < 1.3 * held.z_chance


class Held(Permuted):
    """Right, and a group is its own knockoff."""

    def knockoffs(self, x, copies, random) -> np.ndarray:
        drawn = fit_sampler(x, "gaussian").tested.knockoffs(x, copies, random)
        drawn[:, [3, 16, 17]] = x[:, [3, 16, 17], None]
        return drawn


def test_a_wrong_variance_is_named(x) -> None:
    class Wide(Permuted):
        def knockoffs(self, x, copies, random) -> np.ndarray:
            drawn = fit_sampler(x, "gaussian").tested.knockoffs(x, copies, random)
            drawn[:, 5] = x[:, 5].mean() + 1.5 * (drawn[:, 5] - x[:, 5].mean())
            return drawn

    found = check_exchange(x, with_density(x, Wide()))
    assert found.moment == "variance of neuron 5"
    assert found.z > 2 * found.z_chance
    assert found.difference < 0


def test_neurons_keep_their_names_where_some_are_set_aside(x) -> None:
    rows = np.hstack([np.zeros((ROWS, 3)), x])
    found = check_exchange(rows, with_density(rows, Shifted()))
    assert found.moment == "mean of neuron 7"
    assert found.neurons == NEURONS


class Shifted(Permuted):
    """Right but for the mean of the fifth neuron that is tested."""

    def knockoffs(self, x, copies, random) -> np.ndarray:
        drawn = fit_sampler(x, "gaussian").tested.knockoffs(x, copies, random)
        drawn[:, 4] += 2 * x[:, 4].std()
        return drawn


def test_a_row_and_its_swaps_stay_on_one_side_of_the_split(monkeypatch, x) -> None:
    seen: dict[str, list[np.ndarray]] = {"learned": [], "held out": []}

    class Spy(MODULE.HistGradientBoostingClassifier):
        def fit(self, rows, truth):
            seen["learned"].append(rows[:, 0])
            return super().fit(rows, truth)

        def decision_function(self, rows):
            seen["held out"].append(rows[:, 0])
            return super().decision_function(rows)

    monkeypatch.setattr(MODULE, "HistGradientBoostingClassifier", Spy)
    rows = x.copy()
    rows[:, 0] = np.arange(ROWS)
    found = check_exchange(rows, with_density(rows, Labelled()))
    learned, held_out = (np.unique(np.concatenate(part)) for part in seen.values())
    assert len(learned) == len(held_out) == found.rows == ROWS // 2
    assert not set(learned) & set(held_out)
    kept, swapped = seen["held out"]
    np.testing.assert_array_equal(kept, swapped)


def test_the_error_is_what_repeats_show() -> None:
    random = np.random.default_rng(0)
    common = random.standard_normal((300, 400))
    rows, swaps = (common + random.standard_normal((300, 400)) for _ in range(2))
    auc, error = np.array([MODULE._auc(*pair) for pair in zip(rows, swaps, strict=True)]).T
    assert error.mean() == pytest.approx(auc.std(), rel=0.15)
    assert MODULE._auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == (1.0, 0.0)
    assert MODULE._auc(np.zeros(3), np.zeros(3)) == (0.5, 0.0)


def test_moments_are_those_of_the_textbook(x) -> None:
    random = np.random.default_rng(3)
    own, copy = random.standard_normal((2, 500, 4)) @ random.standard_normal((4, 4))
    z, differences = MODULE._differences(own, copy, np.arange(4), np.array([1, 3]))
    moment = {side: values.T @ own / 500 for side, values in (("own", own), ("copy", copy))}
    cross = {side: values.T @ copy / 500 for side, values in (("own", own), ("copy", copy))}
    expected = [own.mean(0) - copy.mean(0), (own**2).mean(0) - (copy**2).mean(0)]
    for side in ("own", "copy"):
        gap = (moment[side] - cross[side])[[1, 3]]
        gap[[0, 1], [1, 3]] = 0
        expected.append(gap.ravel())
    np.testing.assert_allclose(differences, np.concatenate(expected), atol=1e-12)
    apart = own[:, 3] * (own[:, 2] - copy[:, 2])
    assert z[4 + 4 + 4 + 2] == pytest.approx(apart.sum() / np.sqrt((apart**2).sum()))


def test_a_wide_layer_is_cut_to_what_can_be_afforded(monkeypatch) -> None:
    monkeypatch.setattr(MODULE, "MOST_SHOWN", 8)
    monkeypatch.setattr(MODULE, "MOST_PARTNERS", 4)
    rows = gaussian("ar 0.8", 1000, 24, np.random.default_rng(0))
    found = check_exchange(rows, with_density(rows, Permuted()), rows=600)
    assert found.compared == 2 * 24 + 2 * 4 * 23
    assert (found.rows, found.neurons) == (300, 24)
    assert found.auc > 0.7


def test_one_neuron_and_neurons_of_few_values_are_checked() -> None:
    random = np.random.default_rng(0)
    one = random.random((400, 1))
    assert check_exchange(one, fit_sampler(one, "gaussian")).compared == 2
    coins = random.integers(2, size=(400, 3)).astype(float)
    assert check_exchange(coins, fit_sampler(coins, "gaussian")).auc > 0.9


def test_a_seed_gives_the_same_numbers(x) -> None:
    sampler = fit_sampler(x, "gaussian")
    one, two = (check_exchange(x, sampler, rows=500, seed=3) for _ in range(2))
    assert one == two
    assert one != check_exchange(x, sampler, rows=500, seed=4)


def test_the_record_is_plain_and_comes_back(x, tmp_path) -> None:
    found = check_exchange(x, fit_sampler(x, "gaussian"), rows=500)
    assert json.loads(json.dumps(found.to_json())) == found.to_json()
    write_arrays(tmp_path / "check.npz", found.to_arrays())
    assert Exchangeability.from_arrays(read_arrays(tmp_path / "check.npz")) == found
    assert found.summary().startswith(f"told apart with AUC {found.auc:.2f} +- ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"copies": 0}, "copies is 0"),
        ({"copies": 101}, "copies is 101"),
        ({"rows": 199}, "rows is 199"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(x, settings: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        check_exchange(x, fit_sampler(x, "gaussian"), **settings)
    assert "\n" not in str(caught.value)


def test_data_that_cannot_be_checked_is_refused_in_one_line(x) -> None:
    sampler = fit_sampler(x, "gaussian")
    with pytest.raises(DataError, match="199 rows; the exchangeability check needs at least 200"):
        check_exchange(x[:199], sampler)
    with pytest.raises(DataError, match="15 neurons and the sampler was fitted on 16"):
        check_exchange(x[:, :15], sampler)
    with pytest.raises(DataError, match="not finite"):
        check_exchange(np.full_like(x, np.nan), sampler)
