from __future__ import annotations

import json
from functools import partial

import joblib
import numpy as np
import pytest
import torch
import zarr
from designs import gaussian

from neucept import knockoffs
from neucept.errors import DataError, SettingsError
from neucept.knockoffs.filter import contest, threshold
from neucept.knockoffs.statistics import KINDS
from neucept.knockoffs.unformed import Unformed
from neucept.runtime import generator

# The mechanics are tested with the quick kinds; "auto" has a test of its own.
QUICK = {"sampler": "gaussian", "statistic": "lasso", "dither": 0.0}
select = partial(knockoffs.select, **QUICK)
fit_sampler = partial(knockoffs.fit_sampler, kind="gaussian")


@pytest.fixture
def formed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knockoffs are formed also where second moments would do."""
    monkeypatch.setattr(Unformed, "of", lambda *_: None)


SERVING = [1, 4, 6, 10, 12, 15]


@pytest.fixture(scope="module")
def layer() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = gaussian("ar 0.5", 600, 20, random)
    z = (x - x.mean(0)) / x.std(0)
    y = z[:, SERVING] @ random.choice([-1.0, 1.0], (6, 3)) + random.standard_normal((600, 3))
    return x, y


def test_serving_neurons_are_selected(layer) -> None:
    found = select(*layer, draws=4)
    assert set(SERVING) <= set(found.neurons.tolist())
    assert len(found.neurons) <= 7
    assert found.message == ""
    assert found.selected.shape == found.e_values.shape == found.scores.shape == (20,)
    assert found.frequency.max() == 1.0
    assert found.scores[SERVING].min() > np.delete(found.scores, SERVING).max()


def test_settings_tell_what_was_chosen_and_are_plain(layer) -> None:
    x, y = layer
    settings = knockoffs.select(x, y[:, 0], sampler="gaussian", statistic="lasso").settings
    assert json.loads(json.dumps(settings)) == settings
    wanted = {"knockoffs": 16, "draws": 20, "level": 0.05, "fewest": 2}
    assert {name: settings[name] for name in wanted} == wanted
    assert settings["samples"] == 600
    assert settings["targets"] == "joint"
    assert settings["threads_per_task"] == 1
    assert settings["sampler"]["kind"] == "gaussian"
    assert settings["statistic"]["kind"] == "lasso"
    assert settings["rows"] == 600
    assert set(settings["why"]) == {"knockoffs", "draws", "dither", "floor", "rows"}
    assert settings["dither"] in {rung["dither"] for rung in settings["tried"]}
    assert settings["audit"]["passes"]
    assert select(x, y[:, 0], draws=2, knockoffs=2).settings["why"].keys() == {"rows"}


def test_left_to_itself_it_takes_the_mixture_and_the_network(layer) -> None:
    x, y = layer
    found = knockoffs.select(x, y[:, 0], dither=0.25, draws=1, knockoffs=4)
    assert found.settings["sampler"]["kind"] == "mixture"
    assert found.settings["statistic"]["kind"] == "network"
    assert set(found.settings["why"]) == {"sampler", "statistic", "rows"}


def test_one_draw_is_knockoff_plus(layer, formed) -> None:
    x, y = layer
    sampler = fit_sampler(x)
    found = select(x, y, sampler=sampler, draws=1, knockoffs=1, fdr=0.2, seed=3)
    assert found.settings["level"] == 0.2
    drawn = sampler.tested.knockoffs(x, 1, generator(3, "knockoffs", 0))
    outcome = contest(KINDS["lasso"].joint(x, drawn, y, generator(3, "statistic", 0)))
    passed = (outcome.margin >= threshold(outcome, 0.2)) & outcome.original_wins
    np.testing.assert_array_equal(found.selected, passed)


def test_results_do_not_depend_on_workers_or_backend(layer) -> None:
    settings = {"draws": 4, "knockoffs": 3, "targets": "separate"}
    one = select(*layer, n_jobs=1, **settings)
    two = select(*layer, n_jobs=2, **settings)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        processes = select(*layer, **settings)
    for other in (two, processes):
        for name in ("selected", "e_values", "scores", "frequency"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_seeds_matter_and_repeat(layer) -> None:
    one, again, other = (select(*layer, draws=2, seed=s).scores for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_separate_targets_add_an_axis_and_both_is_two_calls(layer) -> None:
    asked = knockoffs.Asked(statistic="lasso", dither=0.0, draws=3)
    joint, separate = knockoffs.run_selection(*layer, fit_sampler(layer[0]), asked, "both")
    assert separate.selected.shape == (20, 3)
    assert separate.settings["targets"] == "separate"
    for found, targets in ((joint, "joint"), (separate, "separate")):
        alone = select(*layer, draws=3, targets=targets)
        np.testing.assert_array_equal(found.e_values, alone.e_values)
        np.testing.assert_array_equal(found.selected, alone.selected)
        assert found.settings == alone.settings
    assert separate.selected[SERVING].mean() > 0.9
    assert select(layer[0], layer[1][:, 0], draws=1, targets="separate").selected.shape == (20, 1)


def test_groups_and_set_aside_neurons(layer) -> None:
    x, y = layer
    more = np.c_[x, np.ones(600), x[:, 4] * 2 + 1, x[:, 0] + x[:, 2]]
    found = select(more, y, draws=3)
    assert found.groups == ((4, 21),)
    assert found.selected[4]
    assert found.selected[21]
    assert found.e_values[4] == found.e_values[21]
    assert found.set_aside[20] == "constant at 1"
    assert len(found.set_aside) == 2
    assert found.settings["tested"] == 20
    for j in found.set_aside:
        assert not found.selected[j]
        assert found.e_values[j] == found.frequency[j] == 0


def test_a_group_of_duplicates_is_one_neuron_to_the_bit(layer) -> None:
    x, y = layer
    alone = select(x, y, draws=3)
    found = select(np.c_[x, x[:, 4] * 2 + 1, -x[:, 7], x[:, 7] / 4], y, draws=3)
    assert found.groups == ((4, 20), (7, 21, 22))
    for name in ("selected", "e_values", "scores", "frequency"):
        values = getattr(found, name)
        np.testing.assert_array_equal(values[:20], getattr(alone, name))
        np.testing.assert_array_equal(values[20:], getattr(alone, name)[[4, 7, 7]])
    for name in ("knockoffs", "fewest", "tested"):
        assert found.settings[name] == alone.settings[name]


@pytest.mark.parametrize("statistic", ["lasso", "network", "lasso_published"])
@pytest.mark.parametrize("targets", ["joint", "separate"])
def test_a_group_is_found_by_what_one_member_tells(layer, statistic, targets) -> None:
    x, y = layer
    random = np.random.default_rng(2)
    more = np.c_[x, x[:, [0]] + 0.05 * random.standard_normal((600, 2)) * x[:, 0].std()]
    difference = more[:, 20] - more[:, 0]
    y = y[:, :2] + 2 * (difference / difference.std())[:, None]
    settings = {"draws": 2, "knockoffs": 10, "fdr": 0.2, "statistic": statistic}
    found = select(more, y, targets=targets, **settings)
    assert found.groups == ((0, 20, 21),)
    assert found.settings["tested"] == 20
    assert found.selected[[0, 20, 21]].all()
    assert found.e_values[0].tolist() == found.e_values[21].tolist()
    assert set(SERVING) <= set(found.neurons.tolist())


def test_a_layer_that_is_nearly_one_group() -> None:
    random = np.random.default_rng(1)
    common = random.standard_normal((500, 1))
    x = np.c_[common + 0.05 * random.standard_normal((500, 27)), random.standard_normal((500, 5))]
    y = x[:, 3] + 0.8 * x[:, [28, 30]].sum(1) + 0.5 * random.standard_normal(500)
    found = select(x, y, draws=4)
    assert found.groups == (tuple(range(27)),)
    assert found.settings["tested"] == 6
    assert found.selected.tolist() == [True] * 27 + [False, True, False, True, False]


def test_without_groups_the_evidence_is_what_it_always_was(layer, formed) -> None:
    """Values of the version that knew no group knockoffs."""
    x, y = layer
    quick = select(x, y[:, 0], draws=3, knockoffs=4, fdr=0.3, seed=5)
    chosen = [1, 4, 5, 6, 10, 12, 15]
    assert quick.neurons.tolist() == [10, 15, 12, 1, 6, 4, 5]
    np.testing.assert_allclose(quick.e_values[chosen], 200 / 9)
    scores = [0.3099, 0.2959, 0.015, 0.3011, 0.3391, 0.3102, 0.3111]
    np.testing.assert_allclose(quick.scores[chosen], scores, atol=2e-4)
    recipe = {"statistic": "lasso_published", "aggregate": "frequency", "knockoffs": 1}
    published = select(x, y[:, 0], **recipe, sampler="gaussian_unscaled", draws=5, fdr=0.2, seed=5)
    shares = dict.fromkeys(chosen, 1.0) | {5: 0.6} | dict.fromkeys([2, 13, 17, 19], 0.2)
    np.testing.assert_allclose(published.frequency, [shares.get(j, 0.0) for j in range(20)])


def test_frequency_is_the_published_score(layer) -> None:
    x, y = layer
    found = select(
        x,
        y[:, 0],
        statistic="lasso_published",
        knockoffs=1,
        draws=5,
        aggregate="frequency",
        fdr=0.2,
    )
    assert found.settings["level"] == 0.2
    np.testing.assert_array_equal(found.scores, found.frequency)
    np.testing.assert_array_equal(found.selected, found.frequency >= 0.5)
    np.testing.assert_allclose(found.frequency * 5, np.round(found.frequency * 5))


def test_empty_selection_says_why() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((300, 12))
    found = select(x, random.standard_normal(300), draws=3)
    assert not found.selected.any()
    assert "Nothing selected at fdr 0.1" in found.message
    assert found.neurons.size == 0


def test_any_holder_of_numbers_is_read(layer) -> None:
    x, y = (np.float32(values) for values in layer)
    plain = select(x, y[:, 0], draws=1).scores
    tensor = select(torch.tensor(x), torch.tensor(y[:, 0], requires_grad=True), draws=1).scores
    chunked = select(zarr.array(x, chunks=(100, 20)), zarr.array(y[:, 0]), draws=1).scores
    np.testing.assert_array_equal(plain, tensor)
    np.testing.assert_array_equal(plain, chunked)


def test_a_sampler_fitted_on_more_rows_serves_fewer(layer) -> None:
    x, y = layer
    found = select(x[:200], y[:200], sampler=fit_sampler(x), draws=2)
    assert found.settings["samples"] == 200


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (lambda x: x, lambda y: y[:10], "y has 10 samples and x has 600"),
        (lambda x: x, lambda y: np.ones(600), "Target 0 is constant at 1"),
        (lambda x: x, lambda y: np.c_[y, np.zeros(600)], "Target 3 is constant at 0"),
        (lambda x: x, lambda y: np.where(y > 2, np.nan, y), "y has .* not finite"),
        (lambda x: np.where(x > 3, np.inf, x), lambda y: y, "x has .* not finite"),
        (lambda x: x[:20], lambda y: y[:20], "There are 20 samples; a selection needs at least 50"),
        (np.ones_like, lambda y: y, "All 20 neurons are constant"),
        (lambda x: x[:, :, None], lambda y: y, "x has 3 axes"),
    ],
)
def test_unusable_data_are_refused(layer, x, y, text: str) -> None:
    with pytest.raises(DataError, match=text):
        select(x(layer[0]), y(layer[1]))


def test_too_few_rows_for_a_fitted_sampler(layer) -> None:
    x, y = layer
    with pytest.raises(DataError, match="There are 30 samples"):
        select(x[:30], y[:30], sampler=fit_sampler(x))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"fdr": 0.0}, "fdr is 0.0. Pass a number between 0 and 1"),
        ({"fdr": 1.0}, "fdr is 1.0"),
        ({"fdr": float("nan")}, "fdr is nan"),
        ({"knockoffs": 0}, "knockoffs is 0. Pass 'auto' or a whole number from 1 to 100"),
        ({"knockoffs": 101}, "knockoffs is 101"),
        ({"draws": 0}, "draws is 0"),
        ({"dither": -0.5}, "dither is -0.5"),
        ({"dither": float("inf")}, "dither is inf"),
        ({"floor": 1.0}, "floor is 1.0"),
        ({"floor": -0.1}, "floor is -0.1"),
        ({"sampler": "copula"}, "no density 'copula'"),
        ({"statistic": "netwrk"}, "no statistic 'netwrk'"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_settings_are_refused(layer, settings: dict, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        select(*layer, **settings)


@pytest.mark.parametrize("scale", [1e20, 1e60, 1e-30, 1e-90])
def test_the_lasso_selects_alike_on_any_scale(layer, scale: float) -> None:
    x, y = layer
    found = select(x * scale, y, draws=2)
    np.testing.assert_array_equal(found.selected, select(x, y, draws=2).selected)
    assert found.selected.any()


@pytest.mark.parametrize("statistic", ["network", "lasso"])
def test_a_target_that_is_constant_on_the_rows_of_a_draw_spoils_no_other(
    layer, statistic: str
) -> None:
    x, y = layer
    rare = np.zeros(len(x))
    rare[:5] = 1.0
    chosen = {"statistic": statistic, "rows": 60, "draws": 2, "knockoffs": 2, "floor": 0.0}
    for sampler in ("gaussian", "mixture"):
        found = select(x, np.c_[y[:, 0], rare], targets="separate", sampler=sampler, **chosen)
        assert np.isfinite(found.scores).all()
        assert found.scores[SERVING, 0].mean() > 0
