"""Discovery end to end, on groups that are known, on one group, and on nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from neucept.activations import Activations
from neucept.critical import Critical, Search
from neucept.errors import DataError, InputError, ModelError, SettingsError
from neucept.mechanisms import Mechanisms, discover_mechanisms
from neucept.mechanisms.choice import STABLE

NEURONS = 8


def population(groups: int, samples: int = 300, seed: int = 0) -> tuple[Activations, np.ndarray]:
    """Samples of class 0 in well separated groups, and as many of class 1."""
    noise = np.random.default_rng(seed)
    truth = np.arange(samples) % groups
    centres = 4.0 * np.random.default_rng(99).normal(size=(groups, NEURONS))
    own = centres[truth] + noise.normal(size=(samples, NEURONS))
    x = np.concatenate([own, noise.normal(size=(samples, NEURONS))])
    score = np.repeat([2.0, -2.0], samples)
    labels = np.repeat([0, 1], samples)
    outputs = np.stack([score, -score], axis=1)
    return Activations.from_arrays({"layer": x}, outputs=outputs, labels=labels), truth


def critical(selected: int = NEURONS) -> Critical:
    neurons = np.arange(NEURONS)
    table = pd.DataFrame(
        {
            "layer": "layer",
            "neuron": neurons,
            "selected": neurons < selected,
            "e_value": 1.0,
            "score": 1.0,
            "frequency": 1.0,
            "note": "",
        }
    )
    return Critical(0, ("layer",), Search(), table, table.head(0), {"layer": ""}, {"layer": {}})


def test_a_contrast_groups_the_samples_of_its_first_class() -> None:
    acts, _ = population(2, samples=60)
    quick = {"max_mechanisms": 2, "n_jobs": 1}
    one = discover_mechanisms(acts, critical(), **quick)
    contrast = discover_mechanisms(acts, replace(critical(), target=(0, 1)), **quick)
    assert contrast.target == 0
    assert np.array_equal(contrast.samples, one.samples)
    assert contrast.table.equals(one.table)


def discover(groups: int, **settings) -> tuple[Mechanisms, np.ndarray]:
    acts, truth = population(groups)
    return discover_mechanisms(acts, critical(), **{"max_mechanisms": 5, **settings}), truth


@pytest.fixture(scope="module")
def three() -> tuple[Mechanisms, np.ndarray]:
    return discover(3)


def test_separate_groups_are_found_with_their_number(three) -> None:
    mech, truth = three
    assert mech.n_mechanisms == 3
    assert adjusted_mutual_info_score(truth, mech.labels) > 0.98
    assert (mech.stability > 0.9).all()


def test_one_group_is_one_mechanism() -> None:
    mech, _ = discover(1)
    assert mech.n_mechanisms == 1
    assert not mech.labels.any()


def test_everything_said_of_samples_and_mechanisms_agrees(three) -> None:
    mech, _ = three
    assert np.allclose(mech.membership.sum(axis=1), 1)
    assert (mech.membership.argmax(axis=1) == mech.labels).all()
    assert ((mech.typicality > 0) & (mech.typicality <= 1)).all()
    assert mech.table["size"].tolist() == np.bincount(mech.labels).tolist()
    assert mech.choice.loc[mech.choice["chosen"], "n"].tolist() == [3]
    for group, positions in enumerate(mech.prototypes):
        places = np.searchsorted(mech.samples, positions)
        assert (mech.labels[places] == group).all()


def test_gaps_are_looked_for_where_mechanisms_come_back(three) -> None:
    choice = three[0].choice
    back = choice["stability"] >= STABLE
    assert back.sum() > 1
    assert not back.all()
    assert (choice["gap"].notna() == back).all()


def test_it_is_equal_for_any_number_of_workers(three) -> None:
    one, _ = discover(3, n_jobs=1)
    for name, array in one.to_arrays().items():
        np.testing.assert_array_equal(array, three[0].to_arrays()[name], err_msg=name)


def test_new_samples_get_the_mechanism_of_their_group(three, tmp_path: Path) -> None:
    mech, truth = three
    fresh, fresh_truth = population(3, seed=1)
    names = {int(t): int(mech.labels[truth == t][0]) for t in range(3)}
    mech.save(tmp_path / "assigner.npz")
    again = Mechanisms.load(tmp_path / "assigner.npz")
    for assigned in (mech.assign(fresh), again.assign(fresh)):
        own = assigned.labels[: len(fresh_truth)]
        assert np.mean(own == [names[int(t)] for t in fresh_truth]) > 0.98
        usual = assigned.typicality[: len(fresh_truth)]
        assert abs(np.mean(usual <= 0.1) - 0.1) < 0.08
        foreign = assigned.typicality[len(fresh_truth) :]
        assert np.median(foreign) < 0.05


def test_a_number_can_be_imposed() -> None:
    mech, _ = discover(3, n_mechanisms=2)
    assert mech.n_mechanisms == 2


def test_no_critical_neuron_gives_no_mechanism_and_says_so() -> None:
    acts, _ = population(2)
    mech = discover_mechanisms(acts, critical(selected=0))
    assert mech.n_mechanisms == 0
    assert mech.message


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"method": "kmaens"}, SettingsError, "Did you mean 'kmeans'"),
        ({"neurons": "all"}, SettingsError, "neurons is 'all'. Known: critical, core"),
        ({"n_mechanisms": 0}, SettingsError, "n_mechanisms is 0"),
        ({"max_mechanisms": 0}, SettingsError, "max_mechanisms is 0"),
        ({"layers": []}, SettingsError, "layers is"),
        ({"layers": ["layre"]}, ModelError, "Did you mean 'layer'"),
        ({"n_mechanisms": 50}, DataError, "at least 750"),
        ({"seed": -1}, SettingsError, "seed"),
    ],
)
def test_bad_settings_are_one_line(settings: dict, error: type[InputError], text: str) -> None:
    with pytest.raises(error, match=text):
        discover(2, **settings)


def all_critical(acts: Activations, target: int = 0, **selected: int) -> Critical:
    """Every neuron of every layer, or only the first few of a layer that is named."""
    frames = []
    for layer in acts.layers:
        neurons = np.arange(acts.n_neurons(layer))
        chosen = neurons < selected.get(layer, len(neurons))
        frames.append(pd.DataFrame({"layer": layer, "neuron": neurons, "selected": chosen}))
    table = pd.concat(frames).assign(e_value=1.0, score=1.0, frequency=1.0, note="")
    messages = dict.fromkeys(acts.layers, "")
    settings: dict[str, dict] = {layer: {} for layer in acts.layers}
    return Critical(target, acts.layers, Search(), table, table.head(0), messages, settings)


def layered(samples: int = 300) -> tuple[Activations, np.ndarray]:
    """A layer that tells three groups apart, between one that tells none and one that tells two."""
    rng = np.random.default_rng(5)
    truth = np.arange(samples) % 3
    centres = 3.0 * rng.standard_normal((3, NEURONS))
    arrays = {
        "early": rng.standard_normal((samples, NEURONS)),
        "middle": centres[truth] + rng.standard_normal((samples, NEURONS)),
        "late": 5.0 * (truth == 1)[:, None] + rng.standard_normal((samples, 4)),
    }
    outputs = np.stack([np.ones(samples), np.zeros(samples)], axis=1)
    return Activations.from_arrays(arrays, outputs), truth


def test_the_layer_with_the_best_supported_mechanisms_leads() -> None:
    acts, truth = layered()
    told: list[tuple[str, int, int]] = []
    mech = discover_mechanisms(
        acts,
        all_critical(acts),
        max_mechanisms=4,
        progress=lambda *event: told.append(event),
    )
    assert mech.layers == ("middle",)
    assert adjusted_mutual_info_score(truth, mech.labels) > 0.95
    ranking = mech.ranking.set_index("layer")
    assert ranking["n"].to_dict() == {"early": 1, "middle": 3, "late": 2}
    assert ranking["leads"].to_dict() == {"early": False, "middle": True, "late": False}
    assert ranking.loc["early", "support"] == 0.0
    assert {stage for stage, _, _ in told} == {"mechanisms"}
    assert [done for _, done, _ in told] == list(range(1, told[-1][2] + 1))


def with_core(crit: Critical, layer: str, order: list[int], kept: list[float]) -> Critical:
    """The same, with a core measured in one layer."""
    curve = {"layer": layer, "size": range(len(kept)), "neuron": [-1, *order], "kept": kept}
    return replace(crit, kept=pd.DataFrame({**curve, "measured": True}))


def test_the_core_of_a_layer_serves_when_asked_for(tmp_path: Path) -> None:
    acts, truth = layered()
    crit = with_core(all_critical(acts), "middle", [5, 2, 7, 0], [0.0, 0.5, 0.93, 0.991, 0.995])
    mech = discover_mechanisms(acts, crit, neurons="core", max_mechanisms=4)
    assert mech.settings["neurons"] == "core"
    assert mech.settings["used"] == {"early": "critical", "middle": "core", "late": "critical"}
    assert mech.ranking["neurons"].tolist() == [NEURONS, 3, 4]
    assert mech.layers == ("middle",)
    assert sorted(set(mech.signature["neuron"])) == [2, 5, 7]
    mech.save(tmp_path / "assigner.npz")
    again = Mechanisms.load(tmp_path / "assigner.npz")
    assert again.settings["used"] == mech.settings["used"]
    # What is outside the core has no say.
    other = np.random.default_rng(3).standard_normal((len(truth), NEURONS))
    other[:, [2, 5, 7]] = acts.matrix("middle")[:, [2, 5, 7]]
    fresh = Activations.from_arrays({"middle": other}, acts.outputs)
    assert np.array_equal(again.assign(fresh).labels, mech.labels)


def test_a_core_is_at_most_half_of_its_layer() -> None:
    acts, _ = layered()
    order = list(range(NEURONS))
    crit = with_core(all_critical(acts), "middle", order, [0.0, *np.linspace(0.5, 1.0, NEURONS)])
    mech = discover_mechanisms(acts, crit, neurons="core", layers=["middle"], n_mechanisms=2)
    assert mech.ranking["neurons"].tolist() == [NEURONS // 2]


def test_all_critical_neurons_serve_by_default_and_where_there_is_no_core() -> None:
    acts, _ = layered()
    crit = with_core(all_critical(acts), "middle", [5, 2], [0.0, 0.5, 0.95])
    usual = discover_mechanisms(acts, crit, layers=["middle"], n_mechanisms=2)
    assert usual.settings["used"] == {"middle": "critical"}
    assert usual.ranking["neurons"].tolist() == [NEURONS]
    none = replace(crit, search=Search(keep=0.0), kept=crit.kept.iloc[:0])
    asked = discover_mechanisms(acts, none, neurons="core", layers=["middle"], n_mechanisms=2)
    assert asked.settings["used"] == {"middle": "critical"}
    assert np.array_equal(asked.labels, usual.labels)


def test_named_layers_are_taken_together() -> None:
    acts, truth = layered()
    crit = all_critical(acts)
    mech = discover_mechanisms(acts, crit, layers=["middle", "late"], n_mechanisms=3)
    assert mech.layers == ("middle", "late")
    assert set(mech.signature["layer"]) == {"middle", "late"}
    assert adjusted_mutual_info_score(truth, mech.labels) > 0.95
    assert mech.message.startswith("The number was given.")


def test_layers_without_critical_neurons_are_passed_over() -> None:
    acts, _ = layered()
    mech = discover_mechanisms(acts, all_critical(acts, middle=0, late=0), max_mechanisms=2)
    assert mech.layers == ("early",)
    assert mech.n_mechanisms == 1
    assert "No division into 2 to 2 groups" in mech.message


def test_round_groups_are_found_by_k_means_too() -> None:
    mech, truth = discover(3, method="kmeans")
    assert mech.method == "kmeans"
    assert mech.n_mechanisms == 3
    assert adjusted_mutual_info_score(truth, mech.labels) > 0.98


def test_many_samples_are_grouped_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("resampling", "discover"):
        monkeypatch.setattr(f"neucept.mechanisms.{module}.MOST_ROWS", 120)
    mech, truth = discover(2, max_mechanisms=3)
    assert mech.n_mechanisms == 2
    assert len(mech.labels) == 300
    assert adjusted_mutual_info_score(truth, mech.labels) > 0.98


def test_neurons_that_do_not_vary_within_the_class_give_no_mechanism() -> None:
    x = np.concatenate([np.ones((60, 4)), np.random.default_rng(0).standard_normal((60, 4))])
    outputs = np.repeat([[1.0, 0.0], [0.0, 1.0]], 60, axis=0)
    acts = Activations.from_arrays({"fc": x}, outputs)
    mech = discover_mechanisms(acts, all_critical(acts))
    assert mech.n_mechanisms == 0
    assert "No critical neuron varies among the 60 samples" in mech.message
    assert (mech.labels == -1).all()
    with pytest.raises(DataError, match="There are no mechanisms to assign to"):
        mech.assign(acts)


def test_too_few_samples_say_how_many_are_needed_and_what_is_predicted() -> None:
    outputs = np.repeat([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [12, 50], axis=0)
    acts = Activations.from_arrays({"fc": np.zeros((62, 4))}, outputs)
    with pytest.raises(DataError, match=r"12 of 62 .* at least 30\. Predicted most: 1 \(50\), 0"):
        discover_mechanisms(acts, all_critical(acts, 0))
    with pytest.raises(DataError, match="0 of 62 samples are predicted as class 2"):
        discover_mechanisms(acts, all_critical(acts, 2))


def test_few_samples_allow_few_mechanisms() -> None:
    acts, _ = population(2, samples=36)
    mech = discover_mechanisms(acts, critical())
    assert mech.choice["n"].tolist() == [1, 2]


def test_whole_groups_are_resampled_and_tested() -> None:
    # Six patients here and six there: many samples, but no more than twelve patients say so.
    rng = np.random.default_rng(8)
    patient = np.arange(360) % 12
    x = rng.standard_normal((360, 3)) + 7.0 * (patient % 2)[:, None]
    acts = Activations.from_arrays({"fc": x}, np.tile([1.0, 0.0], (360, 1)))
    alone = discover_mechanisms(acts, all_critical(acts), max_mechanisms=2)
    known = discover_mechanisms(acts, all_critical(acts), max_mechanisms=2, groups=patient)
    assert alone.n_mechanisms == 2
    assert known.n_mechanisms == 1
    gaps = [mech.choice.set_index("n").loc[2, "gap"] for mech in (alone, known)]
    assert gaps[0] < 0.001
    assert gaps[1] > 0.05
    assert known.settings["groups"] == 12
    assert np.array_equal(known.together, patient)
    for each in range(12):
        assert len(set(known.assigner.fold[patient == each])) == 1


def test_mechanisms_within_patients_are_still_found() -> None:
    acts, truth = population(2)
    patient = [f"p{i}" for i in np.arange(acts.n_samples) // 6]
    mech = discover_mechanisms(acts, critical(), max_mechanisms=3, groups=patient)
    assert mech.n_mechanisms == 2
    assert adjusted_mutual_info_score(truth, mech.labels) > 0.98


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ([1, 2, 3], "groups is of length 3. Pass one id for each of the 600"),
        ("patient", "groups is 'patient'"),
        (np.zeros(600), "are of 1 groups; at least 10"),
        ([None, *range(599)], "Sample 0 has no group"),
    ],
)
def test_groups_that_do_not_fit_are_one_line(groups: object, text: str) -> None:
    with pytest.raises(DataError, match=text):
        discover_mechanisms(population(2)[0], critical(), groups=groups)


def test_the_mechanisms_are_a_cut_of_a_finer_tree(three) -> None:
    mech, _ = three
    assert mech.n_leaves >= mech.n_mechanisms == 3
    assert np.array_equal(mech.cut(3), mech.labels)
    assert mech.order.min() == 0.0
    assert mech.order.max() == 1.0
    # Each mechanism is one stretch of the order.
    along = mech.labels[np.argsort(mech.order)]
    assert (np.diff(along) != 0).sum() == 2
    one, _ = discover(1)
    assert one.n_leaves > 1
    assert len(np.unique(one.cut(2))) == 2
