"""Which samples a class is studied on, and what is near."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_regions import planted_regions

from neucept.activations import Activations
from neucept.critical import Critical, Search, audit_layers, find_critical
from neucept.critical.layer import Work
from neucept.critical.population import (
    Neighbourhood,
    _leading_out,
    _linked,
    _places,
    check_near,
    find_population,
    find_sample,
    nearest,
    needed,
    wanted,
)
from neucept.errors import DataError, SettingsError
from neucept.mechanisms import discover_mechanisms

QUICK = {"sampler": "gaussian", "statistic": "lasso", "dither": 0.0, "keep": 0.0, "draws": 2}
NEAR = Search(samples="near", near=0, **QUICK)


def clumps(*sizes: int, apart: float = 8.0, neurons: int = 12, seed: int = 0) -> np.ndarray:
    """Groups of samples, each raised in a neuron of its own."""
    x = np.random.default_rng(seed).normal(size=(sum(sizes), neurons))
    for j, (first, size) in enumerate(zip(np.cumsum((0, *sizes)), sizes, strict=False)):
        x[first : first + size, j] += apart
    return x


def acts_of(x: np.ndarray, predictions: np.ndarray | None = None, **more) -> Activations:
    given = np.zeros(len(x), dtype=int) if predictions is None else predictions
    score = 3.0 * np.eye(2)[given] + 0.1 * x[:, -2:]
    return Activations.from_arrays({"first": x[:, :5], "last": x}, outputs=score, **more)


def test_nearest_are_those_of_the_same_clump_whatever_lies_between() -> None:
    x = clumps(300, 300, 300)
    for start in (0, 400, 899):
        near = nearest(_places(x), start, 200, 200)
        assert len(near) == 200 and start in near
        assert (near // 300 == start // 300).all()
    # In a straight line many of other clumps are nearer, where clumps are near and neurons many.
    x = clumps(800, 800, 800, apart=4.0, neurons=40)
    places, starts = _places(x), range(5, 45, 8)
    inside = [np.mean(nearest(places, start, 400, 400) < 800) for start in starts]
    straight = [np.mean(np.argsort(np.square(x - x[i]).sum(1))[:400] < 800) for i in starts]
    assert np.mean(inside) > 0.95
    assert np.mean(straight) < 0.9


def test_a_neighbourhood_keeps_the_spread_of_its_clump() -> None:
    x = clumps(1000, 1000)
    near = nearest(_places(x), 3, 500, 500)
    # Neurons that tell clumps apart, and others; cut to a ball they would vary less.
    assert 0.8 < (x[near].var(0) / x[:1000].var(0)).mean() < 1.1


def test_no_more_than_a_clump_is_taken_where_it_is_enough() -> None:
    x = clumps(300, 300, 300)
    assert np.array_equal(nearest(_places(x), 310, 200, 400), np.arange(300, 600))
    assert len(nearest(_places(x), 310, 350, 400)) >= 350
    alone = np.random.default_rng(1).normal(size=(900, 12))
    assert len(nearest(_places(alone), 310, 200, 400)) > 380


def test_links_that_lead_out_are_counted() -> None:
    places = _places(clumps(60, 60))
    links = _linked(places)
    dense = links.toarray()
    assert np.array_equal(dense, dense.T) and not dense.diagonal().any()
    assert (dense.sum(1) >= 15).all()
    order = np.random.default_rng(0).permutation(120)
    out = _leading_out(links, dense.sum(1), order)
    for size in (1, 40, 119, 120):
        inside, outside = order[:size], order[size:]
        leaving = dense[np.ix_(inside, outside)].sum()
        assert out[size - 1] == pytest.approx(leaving / dense[inside].sum())


def test_what_no_walk_reaches_is_ordered_by_distance() -> None:
    x = np.zeros((200, 2))
    x[:, 0] = np.repeat(np.arange(10.0), 20)
    # Clumps of equal samples, with links inside only; the nearest clumps come first.
    near = nearest(_places(x), 5, 60, 60)
    assert set(near // 20) == {0, 1, 2}
    assert len(nearest(_places(np.ones((80, 3))), 7, 50, 50)) == 50


def test_of_very_many_samples_those_nearest_in_a_line_are_linked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neucept.critical.population.MOST_LINKED", 250)
    x = clumps(300, 300, 300)
    near = nearest(_places(x), 650, 200, 200)
    assert 650 in near and (near >= 600).all()


def test_the_populations(tmp_path: Path) -> None:
    x = clumps(300, 300)
    given = (np.arange(600) % 3 == 0).astype(int)
    acts = acts_of(x, given)
    layers = acts.layers
    assert len(find_population(acts, 0, Search(), layers)[0]) == 600
    rows, around = find_population(acts, (1, 0), Search(samples="predicted"), layers)
    assert np.array_equal(rows, np.flatnonzero(given)) and around is None
    search = replace(NEAR, near=333, neighbours=80)
    rows, around = find_population(acts, 1, search, layers)
    assert (acts.predictions[rows] == 1).all() and (rows >= 300).all() and 333 in rows
    assert (around.position, around.id, around.predicted, len(rows)) == (333, "333", 200, 80)
    assert around.spread < 0.7 and around.message == ""
    said = Neighbourhood.from_json(json.loads(json.dumps(around.to_json())))
    assert np.array_equal(said.rows, rows) and vars(said).keys() == vars(around).keys()


def test_how_many_are_taken() -> None:
    assert needed(NEAR, 40, 3) == 1000 and needed(NEAR, 250, 3) == 2500
    assert needed(replace(NEAR, split=True), 40, 3) == 3000
    assert wanted(NEAR, 40, 1, 5000) == 1000
    assert wanted(NEAR, 40, 1, 1500) == 750
    assert wanted(replace(NEAR, neighbours=77), 40, 1, 90) == 77
    acts = acts_of(np.random.default_rng(0).normal(size=(600, 12)))
    _, around = find_population(acts, 0, NEAR, acts.layers)
    assert 150 <= len(around.rows) <= 300 and around.predicted == 600
    assert "fewer than the 1,000" in around.message and "600" in around.message
    # Nothing to be local about: a half of one cloud varies nearly as much as all of it.
    assert around.spread > 0.6


def test_a_sample_is_named_by_its_id_or_else_by_its_position() -> None:
    x = clumps(40, 40)
    ids = [f"{79 - i}" if i < 40 else f"scan {i}" for i in range(80)]
    acts = acts_of(x, ids=ids)
    assert find_sample(acts, "scan 41") == 41
    assert find_sample(acts, 79) == find_sample(acts, "79") == 0
    assert find_sample(acts, "3") == 3
    with pytest.raises(DataError, match="no sample 'scan 4x'. Did you mean 'scan"):
        find_sample(acts, "scan 4x")
    for wrong in (80, -1, "", "80"):
        with pytest.raises(DataError, match="a position from 0 to 79"):
            find_sample(acts, wrong)
    twice = acts_of(x, ids=["a", "b"] * 40)
    with pytest.raises(DataError, match="40 samples have the id 'a'.* such as 0"):
        find_sample(twice, "a")


def test_a_neighbourhood_that_cannot_be_had_is_refused() -> None:
    x = clumps(150, 30)
    acts = acts_of(x, np.repeat([0, 1], (150, 30)))
    with pytest.raises(DataError, match="Sample '160' is predicted as class 1, not as class 0"):
        find_critical(acts, 0, replace(NEAR, near=160))
    with pytest.raises(DataError, match=r"30 samples are predicted as class 1.* at least 100 of"):
        find_critical(acts, 1, replace(NEAR, near=160))
    with pytest.raises(DataError, match=r"150 samples .* at least 500 of them. Lower neighbours"):
        find_critical(acts, 0, replace(NEAR, neighbours=500))
    with pytest.raises(SettingsError, match="predicted as one class only"):
        find_critical(acts, [0, 1], NEAR)
    assert check_near(acts, 0, Search(), acts.layers) == 0
    assert check_near(acts, 0, NEAR, acts.layers) == 75


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"samples": "near"}, "near is not set"),
        ({"near": "a"}, "near is 'a', but samples is 'all'"),
        ({"samples": "predicted", "near": 0}, "near is 0, but samples is 'predicted'"),
        ({"neighbours": 100}, "neighbours is 100, but samples is 'all'"),
        ({"samples": "near", "near": 1.5}, "near is 1.5"),
        ({"samples": "near", "near": True}, "near is True"),
        ({"samples": "near", "near": "a", "neighbours": 49}, "at least 50"),
        ({"samples": "near", "near": "a", "neighbours": "few"}, "neighbours is 'few'"),
        ({"samples": "nearby"}, "Did you mean 'near'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        Search(**settings)


@pytest.fixture(scope="module")
def local() -> tuple[Activations, Critical, set[int], int]:
    made = planted_regions(samples=3000)
    acts = made.acts
    sample = int(np.flatnonzero(made.region == 1)[7])
    search = replace(NEAR, near=acts.ids[sample], neighbours=500, draws=10)
    return acts, find_critical(acts, 1, search), set(made.own[1].tolist()), sample


def test_around_a_sample_its_regions_neurons_are_named(local) -> None:
    _, crit, own, sample = local
    named = set(crit.neurons("neurons").tolist())
    assert len(named & own) >= 5 and len(named - own) <= 2
    assert sample in crit.around.rows
    assert crit.settings["neurons"]["samples"] == 500


def test_mechanisms_look_at_the_same_samples(local, tmp_path: Path) -> None:
    acts, crit, _, _ = local
    mech = discover_mechanisms(acts, crit, max_mechanisms=1)
    assert np.array_equal(mech.samples, crit.around.rows)
    assert np.array_equal(crit.explained(acts), crit.around.rows)
    crit.save(tmp_path)
    again = Critical.load(tmp_path)
    assert np.array_equal(again.explained(acts), crit.around.rows)
    assert again.around.spread == crit.around.spread
    with pytest.raises(DataError, match="500 samples around sample .* more neighbours"):
        discover_mechanisms(acts, crit, n_mechanisms=40)


class Measured(Exception):
    """Carries the samples that an audit looks at."""


def test_the_audit_looks_at_the_same_samples(local, monkeypatch: pytest.MonkeyPatch) -> None:
    def spy(work, layer, rows, population, *rest) -> None:
        raise Measured(rows, population)

    acts, crit, _, _ = local
    monkeypatch.setattr(Work, "measured", spy)
    with pytest.raises(Measured) as seen:
        audit_layers(acts, crit)
    assert all(np.array_equal(rows, crit.around.rows) for rows in seen.value.args)


def test_a_local_search_does_not_depend_on_workers() -> None:
    acts = acts_of(clumps(400, 400))
    one, two = (find_critical(acts, 0, replace(NEAR, near=450), n_jobs=n) for n in (1, 2))
    assert one.table.equals(two.table)
    assert np.array_equal(one.around.rows, two.around.rows)
