"""The backward search on two layers whose critical neurons are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neucept.activations import Activations
from neucept.critical import CLASS_SCORE, Critical, Search, find_critical, paper_recipe
from neucept.critical.chain import _classes
from neucept.critical.record import EDGE_COLUMNS, NODE_COLUMNS
from neucept.errors import DataError, ModelError, SettingsError
from neucept.runtime import Checkpoints

LOWER, UPPER = set(range(6)), set(range(4))
TRUTH = {"lower": LOWER, "upper": UPPER}
QUICK = {"sampler": "gaussian", "statistic": "lasso", "dither": 0.0, "keep": 0.0}
FAST = Search(draws=4, **{**QUICK, "keep": 0.9})


def two_layers(samples: int = 1500, signal: float = 1.0) -> Activations:
    """Layer "lower" has 20 neurons of which 6 feed "upper"; 4 of its 12 neurons feed the class."""
    noise = np.random.default_rng(0)
    lower = noise.normal(size=(samples, 20))
    weights = noise.uniform(0.7, 1.3, size=(6, 12)) * noise.choice([-1, 1], size=(6, 12))
    upper = lower[:, :6] @ weights + 1.5 * noise.normal(size=(samples, 12))
    score = signal * upper[:, :4] @ np.array([1.0, -1.0, 0.8, -1.2]) + noise.normal(size=samples)
    return Activations.from_arrays(
        {"lower": lower, "upper": upper}, outputs=np.stack([score, -score], axis=1)
    )


@pytest.fixture(scope="module")
def acts() -> Activations:
    return two_layers()


@pytest.fixture(scope="module")
def crit(acts: Activations) -> Critical:
    return find_critical(acts, 0, FAST)


def test_the_chain_finds_both_layers(acts: Activations, crit: Critical) -> None:
    assert crit.layers == ("lower", "upper")
    assert UPPER <= set(crit.neurons("upper")) and LOWER <= set(crit.neurons("lower"))
    # A single search may name a few more by chance.
    quick = replace(FAST, keep=0.0, edges=False)
    others = [find_critical(acts, 0, replace(quick, seed=seed)) for seed in range(5)]
    wrong = [[len(set(c.neurons(layer)) - true) for c in others] for layer, true in TRUTH.items()]
    assert np.mean(wrong, axis=1).max() <= 2


def test_tables_have_one_row_per_neuron_and_per_pair(crit: Critical) -> None:
    assert tuple(crit.table.columns) == NODE_COLUMNS
    assert list(crit.table["layer"].unique()) == ["lower", "upper"]
    assert len(crit.table) == 20 + 12
    assert tuple(crit.edges.columns) == EDGE_COLUMNS
    top = crit.edges[crit.edges["layer"] == "upper"]
    assert set(top["target_layer"]) == {CLASS_SCORE} and set(top["target_neuron"]) == {-1}
    below = crit.edges[crit.edges["layer"] == "lower"]
    assert set(below["target_neuron"]) == set(crit.neurons("upper"))
    assert len(below) == 20 * len(crit.neurons("upper"))


def test_edges_join_only_neurons_that_matter(crit: Critical) -> None:
    below = crit.edges[(crit.edges["layer"] == "lower") & crit.edges["selected"]]
    assert len(below) >= 15
    assert np.mean(below["neuron"] < 6) >= 0.8


def test_neurons_come_with_most_evidence_first(crit: Critical) -> None:
    table = crit.table[crit.table["layer"] == "lower"].set_index("neuron")
    evidence = table.loc[crit.neurons("lower"), "e_value"].to_numpy()
    assert np.all(np.diff(evidence) <= 0)


def test_the_direct_route_asks_every_layer_about_the_class(acts: Activations) -> None:
    crit = find_critical(acts, 0, Search(route="direct", draws=2, **QUICK))
    assert set(crit.edges["target_layer"]) == {CLASS_SCORE}
    assert crit.settings["lower"]["target"] == "the class score"


def test_split_gives_each_layer_rows_of_its_own(acts: Activations) -> None:
    crit = find_critical(acts, 0, Search(split=True, draws=2, **QUICK))
    assert crit.settings["lower"]["samples"] + crit.settings["upper"]["samples"] == acts.n_samples


def test_below_an_empty_layer_the_class_score_is_asked_and_said() -> None:
    noise = np.random.default_rng(1)
    lower = noise.normal(size=(400, 12))
    score = lower[:, :3].sum(1) + noise.normal(size=400)
    silent = Activations.from_arrays(
        {"lower": lower, "upper": noise.normal(size=(400, 12))},
        outputs=np.stack([score, -score], axis=1),
    )
    crit = find_critical(silent, 0, Search(draws=2, fdr=0.05, **QUICK))
    assert crit.neurons("upper").size == 0
    assert "asked about the class score instead" in crit.messages["upper"]
    assert crit.settings["lower"]["target"] == "the class score"
    assert {0, 1, 2} <= set(crit.neurons("lower"))


def test_several_classes_equal_one_by_one(acts: Activations) -> None:
    search = Search(draws=2, edges=False, **QUICK)
    both = find_critical(acts, [0, 1], search)
    assert set(both) == {0, 1}
    alone = find_critical(acts, 1, search)
    assert both[1].table.equals(alone.table)


def test_a_search_is_equal_for_any_number_of_workers(acts: Activations) -> None:
    one, two = (find_critical(acts, 0, Search(draws=2, **QUICK), n_jobs=n) for n in (1, 2))
    assert one.table.equals(two.table) and one.edges.equals(two.edges)


def test_saved_and_loaded_is_equal(crit: Critical, tmp_path: Path) -> None:
    crit.save(tmp_path)
    again = Critical.load(tmp_path)
    assert again.table.equals(crit.table) and again.edges.equals(crit.edges)
    assert again.search == crit.search and again.layers == crit.layers
    assert again.settings == crit.settings and again.messages == crit.messages


def test_finished_layers_are_not_searched_again(acts: Activations, tmp_path: Path) -> None:
    told: list[str] = []
    tables = []
    for _ in range(2):
        told.clear()
        crit = find_critical(
            acts,
            0,
            Search(draws=2, **QUICK),
            progress=lambda stage, done, total: told.append(stage),
            checkpoints=Checkpoints(tmp_path),
        )
        tables.append(crit.table)
    assert tables[0].equals(tables[1])
    assert told == []


def test_the_paper_recipe_scores_by_frequency(acts: Activations) -> None:
    crit = find_critical(acts, 0, paper_recipe(draws=4))
    upper = crit.table[crit.table["layer"] == "upper"]
    assert set(np.unique(4 * upper["frequency"])) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert len(crit.edges) == 0


def test_unknown_things_are_named(acts: Activations, crit: Critical) -> None:
    with pytest.raises(ModelError, match="Did you mean 'lower'"):
        find_critical(acts, 0, Search(layers=("lowr",)))
    with pytest.raises(ModelError, match="Did you mean 'upper'"):
        crit.neurons("uper")
    with pytest.raises(SettingsError, match="layers is empty"):
        find_critical(acts, 0, Search(layers=()))
    with pytest.raises(SettingsError, match="route is 'chian'"):
        Search(route="chian")
    with pytest.raises(SettingsError, match="fdr"):
        find_critical(acts, 0, Search(fdr=1.0))
    with pytest.raises((DataError, SettingsError), match="class|target"):
        find_critical(acts, 7)


def three_classes(samples: int = 800) -> Activations:
    """Neurons 0 to 3 feed class 0, 4 to 7 class 1, and 8 to 11 class 2 alone; the rest feed none.

    The score of class 2 is above the others' in most samples, so that it rules their log-odds.
    """
    layer = np.random.default_rng(3).normal(size=(samples, 24))
    sums = layer[:, :12].reshape(-1, 3, 4).sum(2)
    return Activations.from_arrays({"fc": layer}, outputs=sums + np.array([0.0, 0.0, 3.0]))


def test_a_contrast_names_what_tells_two_classes_apart_and_no_other() -> None:
    acts = three_classes()
    quick = Search(edges=False, draws=3, **QUICK)
    found = [find_critical(acts, (0, 1), replace(quick, seed=seed)) for seed in range(3)]
    crit = found[0]
    assert crit.target == (0, 1)
    assert all(set(range(8)) <= set(c.neurons("fc")) for c in found)
    assert np.mean([len(set(c.neurons("fc")) - set(range(8))) for c in found]) <= 2
    # Against all other classes the third counts: the score of one class is another question.
    assert set(range(8, 12)) <= set(find_critical(acts, 0, quick).neurons("fc"))
    assert crit.settings["fc"]["target"] == "the class score against the other class"
    assert np.array_equal(crit.explained(acts), np.flatnonzero(acts.predictions == 0))


def test_a_pair_is_one_contrast_and_a_list_are_several_classes(
    acts: Activations, tmp_path: Path
) -> None:
    search = Search(draws=2, edges=False, **QUICK)
    contrast = find_critical(acts, (0, 1), search)
    assert isinstance(contrast, Critical)
    assert set(find_critical(acts, [0, 1], search)) == {0, 1}
    assert set(find_critical(acts, range(2), search)) == {0, 1}
    assert _classes((np.int64(0), np.int64(1))) == [(0, 1)]
    contrast.save(tmp_path)
    loaded = Critical.load(tmp_path)
    assert loaded.target == (0, 1) and loaded.around is None
    # Of two classes it is the score of the first, up to its scale.
    np.testing.assert_allclose(acts.class_score((0, 1)), acts.class_score(0))


def test_a_contrast_of_one_class_or_of_an_unknown_one_is_refused(acts: Activations) -> None:
    with pytest.raises(SettingsError, match="two different ones"):
        find_critical(acts, (1, 1))
    with pytest.raises(SettingsError, match="target is 9, but the outputs have classes 0 to 1"):
        find_critical(acts, (0, 9))
    with pytest.raises(SettingsError, match="a pair of two for a contrast"):
        _classes((0, 1, 0))


@pytest.mark.parametrize("target", ["3", "12", 1.5, None, [], [0, "1"], True, (), (0,), ((0, 1),)])
def test_a_target_that_is_no_class_index_is_refused(target: object) -> None:
    with pytest.raises(SettingsError, match="target is"):
        _classes(target)


def test_the_core_grows_and_comes_back_from_files(crit: Critical, tmp_path: Path) -> None:
    crit.save(tmp_path)
    again = Critical.load(tmp_path)
    for layer in crit.layers:
        critical = set(crit.neurons(layer))
        if not critical:
            continue
        core = crit.core(layer)
        assert 0 < len(core) <= len(critical)
        assert set(core) <= critical
        assert set(crit.core(layer, keep=0.5)) <= set(core)
        assert np.array_equal(again.core(layer), core)
        rows = crit.kept[crit.kept["layer"] == layer]
        assert rows["kept"].is_monotonic_increasing
        assert list(rows["size"]) == list(range(len(rows)))
    with pytest.raises(SettingsError, match="keep is 0.0"):
        crit.core(crit.layers[0], keep=0.0)


def test_an_audit_of_each_layer_is_told(acts: Activations) -> None:
    search = Search(draws=2, layers=acts.layers[-1:], audit=2, **QUICK)
    crit = find_critical(acts, 0, search)
    told = crit.settings[acts.layers[-1]]["audit"]
    assert {row["kind"] for row in told["table"]} >= {"linear", "product", "max"}
    assert {row["noise"] for row in told["table"]} == {0.0}
    assert 0 <= told["fdr"] <= 1
    with pytest.raises(SettingsError, match="found no core"):
        crit.core(acts.layers[-1])
    with pytest.raises(SettingsError, match="audit is 1"):
        Search(audit=1)


def test_another_number_of_repeats_chooses_anew(acts: Activations, tmp_path: Path) -> None:
    top = acts.layers[-1]
    settings = {**QUICK, "dither": "auto", "layers": (top,), "draws": 2, "knockoffs": 3}
    for repeats in (2, 3):
        search = Search(audit=repeats, **settings)
        crit = find_critical(acts, 0, search, checkpoints=Checkpoints(tmp_path))
        assert crit.settings[top]["audit"]["repeats"] == repeats


def test_the_exchangeability_of_each_layer_is_told_and_kept(acts: Activations, tmp_path) -> None:
    top = acts.layers[-1]
    search = Search(draws=2, knockoffs=3, layers=(top,), audit=2, **QUICK)
    first = find_critical(acts, [0, 1], search, checkpoints=Checkpoints(tmp_path))
    told = first[0].settings[top]["exchangeability"]
    assert told == first[1].settings[top]["exchangeability"]
    assert abs(told["auc"] - 0.5) < 4 * told["auc_error"]
    assert (told["copies"], told["neurons"], told["rows"]) == (3, 12, 750)
    again = find_critical(acts, 0, search, checkpoints=Checkpoints(tmp_path))
    assert again.settings[top]["exchangeability"] == told


def test_exchangeability_is_left_out_where_no_audit_is_asked_for(
    acts: Activations, crit: Critical
) -> None:
    few = Activations.from_arrays(
        {"upper": acts.matrix("upper", rows=np.arange(150))}, outputs=acts.outputs[:150]
    )
    published = find_critical(acts, 0, paper_recipe(draws=1))
    small = find_critical(few, 0, Search(draws=2, audit=2, **QUICK))
    for found in (crit, published, small):
        assert all(s["exchangeability"] is None for s in found.settings.values())
