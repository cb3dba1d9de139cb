"""Cuts of mechanisms in networks where it is known which neurons carry which mechanism."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import neucept as nc
from neucept.activations import Activations, capture
from neucept.critical import Critical, Search
from neucept.errors import DataError, InputError, ModelError, SettingsError
from neucept.evaluation.cutsearch import CutSearch, Effect, shift_of
from neucept.evaluation.donors import Donors
from neucept.evaluation.halves import halves, interval
from neucept.evaluation.selectivity import selectivity
from neucept.mechanisms import Mechanisms
from neucept.runtime import generator


def critical(layer: str, neurons: int, target: int = 1) -> Critical:
    """A search that calls every neuron of a layer critical."""
    table = pd.DataFrame(
        {
            "layer": layer,
            "neuron": np.arange(neurons),
            "selected": True,
            "e_value": 1.0,
            "score": np.linspace(1, 0, neurons),
            "frequency": 1.0,
            "note": "",
        }
    )
    return Critical(target, (layer,), Search(), table, table.head(0), {layer: ""}, {layer: {}})


def mechanisms(samples: np.ndarray, labels: np.ndarray, layer: str, target: int = 1) -> Mechanisms:
    """Groups that are known, as the record that a discovery would give."""
    groups = int(labels.max()) + 1
    none = np.full(len(samples), np.nan)
    empty = pd.DataFrame()
    return Mechanisms(
        target=target,
        layers=(layer,),
        method="mixture",
        samples=samples,
        labels=labels,
        membership=np.eye(groups)[labels],
        typicality=none,
        stability=np.ones(groups),
        sample_stability=none,
        prototypes=[],
        map=np.zeros((len(samples), 2)),
        table=empty,
        signature=empty,
        choice=empty,
        ranking=empty,
        message="",
        settings={},
        assigner=None,
        leaves=labels,
        tree=empty,
        order=none,
        together=np.arange(len(samples)),
        ids=[str(i) for i in samples],
        total=-1,
    )


@dataclass(frozen=True)
class Case:
    model: nn.Module
    x: torch.Tensor
    acts: Activations
    crit: Critical
    mech: Mechanisms
    carriers: list[set[int]]

    def run(self, **settings: object) -> nc.Selectivity:
        settings = {"samples": 60, "most": 4, **settings}
        return selectivity(self.model, self.x, self.acts, self.crit, self.mech, **settings)


class Marked(nn.Module):
    """Channels 0 to 2 see a mark in one corner, 3 to 5 one in another; either leads to class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(2, 10, 3, padding=1)
        self.head = nn.Linear(10, 2)
        with torch.no_grad():
            self.features.weight.mul_(0.05)
            self.features.bias.zero_()
            self.head.weight.zero_()
            for road in (0, 1):
                for channel in range(3 * road, 3 * road + 3):
                    self.features.weight[channel, road] += 0.5
                    self.head.weight[1, channel] = 1.5
            self.head.bias.copy_(torch.tensor([6.0, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.features(x)).mean((2, 3)))


def marked() -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Marked().eval()
        x = 0.3 * torch.randn(600, 2, 8, 8)
    road = np.arange(600) % 3
    for r in (0, 1):
        x[road == r, r, 1:6, 1:6] += 2.0
    acts = capture(model, x, ["features"])
    samples = np.flatnonzero(acts.predictions == 1)
    assert set(road[samples]) == {0, 1}
    mech = mechanisms(samples, road[samples], "features")
    return Case(model, x, acts, critical("features", 10), mech, [{0, 1, 2}, {3, 4, 5}])


def planted(layer: str) -> Case:
    network = nc.planted_network(900, 2, seed=4)
    acts = capture(network.model, network.x, [layer])
    samples = np.flatnonzero((acts.predictions == 1) & (network.mechanisms >= 0))
    labels = network.mechanisms[samples]
    values = acts.matrix(layer)
    rest = values[network.mechanisms == -1].mean(axis=0)
    raised = [values[network.mechanisms == g].mean(axis=0) - rest > 0.3 for g in (0, 1)]
    carriers = [
        {int(j) for j in np.flatnonzero(up) if j in network.critical[layer]} for up in raised
    ]
    crit = critical(layer, values.shape[1])
    mech = mechanisms(samples, labels, layer)
    return Case(network.model, network.x, acts, crit, mech, carriers)


CASES = {
    "convolution": marked,
    "first": lambda: planted("first"),
    "second": lambda: planted("second"),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.fixture(scope="module")
def found(case: Case) -> nc.Selectivity:
    return case.run()


def test_each_cut_holds_neurons_of_its_own_mechanism_and_of_no_other(
    case: Case, found: nc.Selectivity
) -> None:
    """A neuron that reaches nothing may come in: without it other donors are near."""
    for mechanism, cut in enumerate(found.cuts):
        chosen = set(cut.neurons.tolist())
        assert len(chosen & case.carriers[mechanism]) >= len(chosen) / 2 > 0
        assert not chosen & case.carriers[1 - mechanism]
        assert not cut.message


def test_a_cut_takes_its_mechanism_and_spares_the_other(found: nc.Selectivity) -> None:
    loss, changed = found.matrix().to_numpy(), found.matrix("changed").to_numpy()
    assert (np.diag(loss) > 0.6).all()
    assert (np.diag(changed) > 0.6).all()
    assert (loss[[0, 1], [1, 0]] < 0.05).all()
    assert (found.table["loss_low"] <= found.table["loss"]).all()
    assert (found.table["loss"] <= found.table["loss_high"]).all()
    assert (found.table["changed_low"] <= found.table["changed"]).all()
    assert (found.table["changed"] <= found.table["changed_high"]).all()


def test_no_sample_both_chooses_and_measures(case: Case, found: nc.Selectivity) -> None:
    assert not np.intersect1d(found.chosen_on, found.measured_on).size
    for mechanism, cut in enumerate(found.cuts):
        inside = case.mech.samples[case.mech.labels == mechanism]
        assert not np.intersect1d(cut.donors.positions, inside).size
        alike = np.isin(cut.donors.positions, case.mech.samples)
        assert 0 < alike.sum() <= len(alike) / 2
    assert np.isin(found.chosen_on, case.mech.samples).all()
    sizes = found.table.groupby("mechanism")["samples"].first()
    assert sizes.sum() == len(found.measured_on)


def test_the_measured_figures_are_those_of_applying_the_cut(
    case: Case, found: nc.Selectivity
) -> None:
    position = {
        int(row): label for row, label in zip(case.mech.samples, case.mech.labels, strict=True)
    }
    labels = np.array([position[int(row)] for row in found.measured_on])
    for cut in (0, 1):
        applied = found.apply(case.model, case.x[found.measured_on], cut, draws=8, seed=3)
        assert applied.predicted.all()
        for group in (0, 1):
            row = found.table[(found.table["cut"] == cut) & (found.table["mechanism"] == group)]
            own = labels == group
            assert applied.before[own].mean() == pytest.approx(row["probability"].item(), abs=1e-4)
            assert applied.loss[own].mean() == pytest.approx(row["loss"].item(), abs=0.06)
            assert applied.changed[own].mean() == pytest.approx(row["changed"].item(), abs=0.06)


def test_equal_seeds_give_equal_results_and_the_network_is_left_as_found(
    case: Case, found: nc.Selectivity
) -> None:
    before = {name: value.clone() for name, value in case.model.state_dict().items()}
    again = case.run()
    pd.testing.assert_frame_equal(found.table, again.table)
    assert not any(module._forward_hooks for module in case.model.modules())
    assert all(torch.equal(before[k], v) for k, v in case.model.state_dict().items())


def test_a_saved_record_applies_as_before(
    case: Case, found: nc.Selectivity, tmp_path: Path
) -> None:
    found.save(tmp_path / "cuts.npz")
    read = nc.Selectivity.load(tmp_path / "cuts.npz")
    for name in ("table", "path"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(read, name))
    assert read.layout == found.layout
    for one, two in zip(read.cuts, found.cuts, strict=True):
        assert (one.message, one.reach) == (two.message, two.reach)
        assert np.array_equal(one.neurons, two.neurons)
    one, two = (r.apply(case.model, case.x[:20], 1) for r in (found, read))
    assert np.array_equal(one.after, two.after)


def test_a_record_applies_alike_whatever_the_batches(case: Case, found: nc.Selectivity) -> None:
    whole = found.apply(case.model, case.x[:50], 0)
    parts = found.apply(case.model, [case.x[:7], case.x[7:50]], 0)
    assert np.allclose(whole.after, parts.after, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"layer": "featurs"}, ModelError, "was not captured"),
        ({"samples": 0}, SettingsError, "samples is 0"),
        ({"most": True}, SettingsError, "most is True"),
        ({"nearest": 0}, SettingsError, "nearest is 0"),
        ({"spare": 1.0}, SettingsError, "spare is 1.0"),
        ({"spare": -0.1}, SettingsError, "spare is -0.1"),
        ({"level": 0.0}, SettingsError, "level is 0.0"),
        ({"level": float("nan")}, SettingsError, "level is nan"),
        ({"seed": -1}, SettingsError, "seed is -1"),
        ({"groups": ["a", "b"]}, DataError, "one name for each sample"),
    ],
)
def test_bad_settings_are_one_line(settings: dict, error: type[InputError], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        marked().run(**settings)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_cut_is_said() -> None:
    case = marked()
    other = replace(case, mech=replace(case.mech, target=0))
    with pytest.raises(SettingsError, match="Pass both of one class"):
        other.run()
    none = case.crit.table.assign(selected=False)
    with pytest.raises(SettingsError, match="no critical neuron"):
        replace(case, crit=replace(case.crit, table=none)).run()
    with pytest.raises(DataError, match="There are no mechanisms"):
        replace(case, mech=replace(case.mech, layers=())).run()
    one = mechanisms(case.mech.samples, np.zeros_like(case.mech.labels), "features")
    with pytest.raises(DataError, match="two mechanisms"):
        replace(case, mech=one).run()


def test_without_samples_of_other_classes_nothing_stands_in() -> None:
    case = marked()
    few = np.sort(np.r_[case.mech.samples, np.flatnonzero(case.acts.predictions == 0)[:5]])
    acts = capture(case.model, case.x[few], ["features"])
    mech = replace(case.mech, samples=np.searchsorted(few, case.mech.samples))
    with pytest.raises(DataError, match="5 of .* are predicted as another class"):
        selectivity(case.model, case.x[few], acts, case.crit, mech)


def test_a_small_mechanism_is_left_out_and_says_why() -> None:
    case = marked()
    labels = case.mech.labels.copy()
    labels[np.flatnonzero(labels == 0)[:15]] = 2
    mech = mechanisms(case.mech.samples, labels, "features")
    found = replace(case, mech=mech).run(most=2)
    assert "15 samples" in found.cuts[2].message
    assert not len(found.cuts[2].neurons)
    assert set(found.table["mechanism"]) == {0, 1}
    with pytest.raises(SettingsError, match="Mechanism 2 has no cut. It has 15 samples"):
        found.apply(case.model, case.x[:3], 2)


def test_mechanisms_that_are_halves_of_one_have_no_selective_cut() -> None:
    """Cuts that chance favours on the choosing samples spare nothing on the others."""
    case = marked()
    first = case.mech.samples[case.mech.labels == 0]
    halved = generator(0, "halved").permutation(len(first)) % 2
    found = replace(case, mech=mechanisms(first, halved, "features")).run()
    for cut in set(found.table["cut"]):
        row = found.matrix().loc[cut]
        assert abs(row[cut] - row[1 - cut]) < 0.15


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"mechanism": 2}, "mechanism is 2"),
        ({"mechanism": -1}, "mechanism is -1"),
        ({"mechanism": 0, "draws": 0}, "draws is 0"),
        ({"mechanism": 0, "seed": -1}, "seed is -1"),
    ],
)
def test_applying_refuses_what_there_is_not(
    case: Case, found: nc.Selectivity, settings: dict, text: str
) -> None:
    with pytest.raises(SettingsError, match=text):
        found.apply(case.model, case.x[:3], **settings)


def test_a_pooling_function_is_asked_for_when_a_cut_is_applied() -> None:
    case = marked()
    acts = capture(case.model, case.x, ["features"], pool=largest)
    found = replace(case, acts=acts).run(most=2)
    with pytest.raises(SettingsError, match="Pass that function as pool"):
        found.apply(case.model, case.x[:3], 0)
    applied = found.apply(case.model, case.x[found.measured_on], 0, pool=largest)
    assert applied.loss.max() > 0.5


def largest(maps: torch.Tensor) -> torch.Tensor:
    return maps.amax(2)


def test_another_network_is_refused_when_a_cut_is_applied() -> None:
    case = marked()
    found = case.run(samples=20, most=2)
    other = Marked()
    other.features, other.head = nn.Conv2d(2, 4, 3), nn.Linear(4, 2)
    with pytest.raises(ModelError, match="4 neurons here"):
        found.apply(other, case.x[:3], 0)


def test_shift_is_the_share_of_log_odds_lost() -> None:
    before = np.array([4.0, 4.0, 4.0, 4.0, 0.1])
    after = np.array([4.0, 2.0, -9.0, 30.0, 0.0])
    assert shift_of(before, after) == pytest.approx([0.0, 0.5, 1.0, -1.0, 0.1])


GROUPS = np.repeat([0, 1], 30)


def searched(
    weights: dict[int, tuple[float, float]], mechanism: int, *, fragile: float = 0.0
) -> CutSearch:
    """Cuts whose neurons add up: by neuron, the share it takes of each of two mechanisms.

    `fragile` is the probability that the other mechanism loses with each unit of its share.
    """

    def effect(cut: np.ndarray) -> Effect:
        both = [min(1.0, sum(weights[int(j)][g] for j in cut)) for g in (0, 1)]
        moved = np.asarray(both)[GROUPS]
        return Effect(moved, 5 * moved, np.where(GROUPS == mechanism, 1.0, fragile) * moved)

    return CutSearch(effect, GROUPS, mechanism, list(weights))


WEIGHTED = {0: (0.5, 0.0), 1: (0.3, 0.0), 2: (0.15, 0.0), 3: (0.4, 0.5), 4: (0.04, 0.0)}


def test_the_search_takes_the_fewest_neurons_at_the_level() -> None:
    search = searched(WEIGHTED, 0, fragile=1.0)
    assert search.find(5, 0.95, 0.05).neurons.tolist() == [0, 1, 2]
    assert search.find(5, 0.7, 0.05).neurons.tolist() == [0, 1]
    assert search.find(1, 0.9, 0.05).neurons.tolist() == [0]
    path = search.find(5, 1.0, 0.05).path
    assert (path["taken"] <= 0.05).all()
    first = path[path["weight"] == 1.0]
    assert first["size"].tolist() == [1, 2, 3, 4]
    assert first["moved"].tolist() == pytest.approx([0.5, 0.8, 0.95, 0.99])
    found = searched(WEIGHTED, 1).find(5, 0.9, 0.05)
    assert found.neurons.tolist() == [3]
    assert found.reach == 0.5


def test_others_may_lose_log_odds_as_long_as_they_keep_their_probability() -> None:
    weights = {0: (0.3, 0.0), 1: (0.6, 0.5)}
    kept = searched(weights, 0, fragile=0.0).find(2, 0.9, 0.05).neurons
    assert sorted(kept.tolist()) == [0, 1]
    assert searched(weights, 0, fragile=0.2).find(2, 0.9, 0.05).neurons.tolist() == [0]
    assert sorted(searched(weights, 0, fragile=0.2).find(2, 0.9, 0.2).neurons.tolist()) == [0, 1]


def test_a_large_set_grows_a_few_neurons_at_a_time() -> None:
    weights = dict.fromkeys(range(60), (0.005, 0.0))
    path = searched(weights, 0).find(60, 1.0, 0.05).path
    sizes = path.loc[path["weight"] == 1.0, "size"]
    assert sizes.iloc[-1] == 60
    assert len(sizes) < 30
    assert sizes.tolist()[:10] == list(range(1, 11))


def test_the_search_drops_a_neuron_that_later_ones_make_needless() -> None:
    def effect(cut: np.ndarray) -> Effect:
        chosen = set(cut.tolist())
        own = 1.0 if {1, 2} <= chosen else 0.4 * (0 in chosen) + 0.1 * len(chosen & {1, 2})
        moved = np.where(GROUPS == 0, own, 0.0)
        return Effect(moved, 5 * moved, moved)

    found = CutSearch(effect, GROUPS, 0, [0, 1, 2]).find(3, 0.9, 0.05)
    assert sorted(found.neurons) == [1, 2]


def test_log_odds_alone_are_not_all_of_the_way() -> None:
    def effect(cut: np.ndarray) -> Effect:
        moved = np.where(GROUPS == 0, 0.92 * (0 in cut) + 0.08 * (1 in cut), 0.0)
        return Effect(moved, 9 * moved, np.where(moved == 1, 1.0, 0.2 * moved))

    assert CutSearch(effect, GROUPS, 0, [0, 1]).find(2, 0.9, 0.05).neurons.tolist() == [0, 1]


def test_nothing_is_cut_where_every_set_harms_others_as_much() -> None:
    weights = {0: (0.5, 0.6), 1: (0.0, 0.0), 2: (0.1, 0.1)}
    assert not len(searched(weights, 0).find(3, 0.9, 0.05).neurons)
    assert not len(searched({0: (0.9, 0.3)}, 0, fragile=1.0).find(3, 0.9, 0.05).neurons)


def test_a_donor_is_one_of_the_nearest_in_what_is_not_cut() -> None:
    rng = np.random.default_rng(0)
    theirs, own = rng.normal(size=(40, 6)), rng.normal(size=(25, 6))
    weights = np.array([1.0, 2.0, 0.5, 1.0, 0.0, 3.0])
    donors = Donors(np.arange(40), theirs, weights, 4)
    cut = np.array([0, 5])
    rest = np.array([1, 2, 3, 4])
    apart = (((own[:, None] - theirs)[:, :, rest] * weights[rest]) ** 2).sum(axis=2)
    order = apart.argsort(axis=1)
    chance = np.tile(np.arange(4) / 4 + 0.01, (25, 1))
    assert np.array_equal(donors.beside(own).pick(cut, chance), order[:, :4])
    own[:, cut] = 100.0
    assert np.array_equal(donors.beside(own).pick(cut, chance), order[:, :4])


def test_a_sample_that_is_among_the_donors_is_not_its_own() -> None:
    theirs = np.random.default_rng(0).normal(size=(40, 6))
    beside = Donors(np.arange(40), theirs, np.ones(6), 1).beside(theirs)
    for cut in (np.array([2]), np.arange(5)):
        picked = beside.pick(cut, np.zeros((40, 1)))[:, 0]
        assert (picked != np.arange(40)).all()


@pytest.mark.parametrize("grouped", [False, True])
def test_halves_share_no_sample_and_no_group(grouped: bool) -> None:
    samples = np.sort(np.random.default_rng(1).permutation(500)[:300])
    mech = mechanisms(samples, np.arange(300) % 3, "features")
    names = [f"patient {i // 4}" for i in range(500)] if grouped else None
    choose, measure, left = halves(mech, 40, names, 0, 500)
    assert not left
    for part in (choose, measure):
        assert (np.diff(part.rows) > 0).all()
        assert np.array_equal(part.labels, mech.labels[np.searchsorted(samples, part.rows)])
        assert (np.bincount(part.labels) <= 40).all()
    assert not np.intersect1d(choose.rows, measure.rows).size
    assert not np.intersect1d(choose.units, measure.units).size


def test_intervals_cover_the_mean_at_their_level() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for repeat in range(200):
        units = np.repeat(np.arange(40), 3)
        values = np.repeat(rng.exponential(size=40), 3) + 0.2 * rng.normal(size=120)
        low, high = interval(values, units, generator(0, repeat))
        covered += low <= 1.0 <= high
    assert 0.87 <= covered / 200 <= 0.99


def test_a_share_that_does_not_vary_has_the_exact_bound() -> None:
    units = np.arange(20)
    assert interval(np.zeros(20), units, generator(0), share=True) == pytest.approx(
        (0, 0.1684), abs=1e-4
    )
    assert interval(np.ones(20), units, generator(0), share=True) == pytest.approx(
        (0.8316, 1), abs=1e-4
    )
