"""What the benchmark of mechanisms plants, and the methods it compares with, on known answers."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import adjusted_mutual_info_score
from torch import nn

import neucept as nc

pytest.importorskip("captum", reason="captum comes with the extra 'compare'")
import mechanism_baselines as baselines
import mechanism_circuits as carried
import mechanism_images as planted
from mechanism_page import groups_table, single_section

pytestmark = pytest.mark.full


def test_a_mark_is_where_it_is_said_to_be() -> None:
    x = torch.zeros(2, 3, 12, 10)
    patch = planted.Mark("patch", "bottom right", 3, (1.0, 0.5, 0.0)).on(x)
    assert torch.equal(
        patch[0, :, 9:, 7:], torch.tensor([1.0, 0.5, 0.0])[:, None, None] * torch.ones(3, 3, 3)
    )
    assert float(patch.sum()) == 2 * 1.5 * 9
    assert float(planted.Mark("stripe", "left", 2).on(x)[0, 0].sum()) == 24
    assert torch.allclose(planted.Mark("cast", "", 0.3).on(x), torch.full_like(x, 0.3))


@pytest.fixture
def line() -> nn.Sequential:
    """Only the second neuron below and the third above carry class 1."""
    model = nn.Sequential(
        OrderedDict(first=nn.Linear(4, 4), second=nn.Linear(4, 4), last=nn.Linear(4, 2))
    )
    with torch.no_grad():
        for layer in model:
            layer.weight.zero_()
            layer.bias.zero_()
        model.first.weight.copy_(torch.eye(4))
        model.second.weight[2, 1] = 2.0
        model.second.weight[0, 3] = 5.0
        model.last.weight[1, 2] = 3.0
    return model


def test_core_neurons_are_those_on_the_road_to_the_class(line: nn.Sequential) -> None:
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    kept = carried.neurflow(line, x, ("first", "second"), 1, {"first": 1, "second": 1})
    assert {name: neurons.tolist() for name, neurons in kept.items()} == {
        "first": [1],
        "second": [2],
    }


def test_what_is_kept_carries_the_prediction(line: nn.Sequential) -> None:
    x = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    x = x - x.mean(0)
    network = carried.Keeper(line, x, ("first", "second"))
    sure = x[x[:, 1] > 1]

    def share(first: int, second: int) -> float:
        kept = {"first": np.array([first]), "second": np.array([second])}
        return network.share(kept, sure, 1)

    assert share(1, 2) == pytest.approx(1)
    # Held at the mean, the class is as likely as not.
    assert share(1, 0) == pytest.approx(share(0, 2))
    assert share(0, 2) < 0.6


def test_a_share_of_one_class_is_chosen_and_the_same_again() -> None:
    labels = np.arange(400) % 4
    rows = planted.chosen(labels, 2, 0.3, "one")
    assert rows.sum() == 30 and (labels[rows] == 2).all()
    assert np.array_equal(rows, planted.chosen(labels, 2, 0.3, "one"))
    assert not np.array_equal(rows, planted.chosen(labels, 2, 0.3, "two"))


@pytest.mark.parametrize("affection", [planted.thicker, planted.blurred, planted.growing((1.0,))])
def test_an_affection_grows_with_its_grade(affection: planted.Affection) -> None:
    one = torch.zeros(1, 1, 28, 28)
    one[:, :, 6:22, 12:16] = 1.0
    grades = torch.linspace(0, 1, 9)
    out = affection(one.repeat(9, 1, 1, 1), grades)
    change = (out - one).abs().sum((1, 2, 3))
    assert float(change[0]) == 0
    assert (change.diff() > 0).all()


def blobs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = np.arange(450) % 3
    centres = 6.0 * random.standard_normal((3, 24))
    return centres[truth] + random.standard_normal((450, 24)), truth


@pytest.mark.parametrize(
    "group",
    [*baselines.GROUPINGS.values(), baselines.by_spectrum, baselines.by_ward],
)
def test_every_method_finds_groups_far_apart(group: baselines.Grouping) -> None:
    x, truth = blobs()
    labels, seconds = baselines.timed(group, x, 3, 10.0)
    assert adjusted_mutual_info_score(truth, labels) > 0.95
    assert seconds > 10


def test_samples_beyond_the_most_join_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    x, truth = blobs()
    monkeypatch.setattr(baselines, "MOST", 60)
    assert adjusted_mutual_info_score(truth, baselines.by_ward(x, 3)) > 0.95


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(hidden=nn.Sequential(nn.Flatten(), nn.Linear(16, 30)), out=nn.Linear(30, 2))
    )


def test_contributions_of_a_linear_head_are_activation_times_weight() -> None:
    model, x = network(), torch.randn(250, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    found = baselines.contributions(model, x, 1, "hidden")
    weight = model.get_submodule("out").weight.detach()
    expected = model.get_submodule("hidden")(x).detach() * (weight[1] - weight[0])
    assert np.allclose(found, expected.numpy(), atol=1e-6)


def test_integrated_gradients_name_the_neurons_that_count() -> None:
    model, x = network(), torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    out = model.get_submodule("out")
    with torch.no_grad():
        out.weight[1, :20] = 0.0
    assert set(baselines.attributed(model, x, 1, "hidden")) == set(range(20, 30))


def test_relevance_is_of_one_size() -> None:
    model, x = network(), torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    heat = baselines.relevance(model, x, 1)
    assert heat.shape == (5, 4)
    assert np.allclose(np.abs(heat).max(1), 1)


def test_elimination_keeps_what_the_score_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((500, 30))
    monkeypatch.setattr(baselines, "KEPT", 4)
    kept = baselines.eliminated(x, x[:, [3, 8, 11, 20]].sum(1))
    assert kept.tolist() == [3, 8, 11, 20]


def test_leaves_of_a_line_are_in_its_order() -> None:
    random = np.random.default_rng(0)
    along = random.permutation(80).astype(float)
    rows, place = baselines.leaf_order(along[:, None] * np.ones(5))
    assert len(rows) == 80
    assert abs(np.corrcoef(along[rows], place)[0, 1]) > 0.999


def test_the_published_cut_takes_what_is_selected_most_often() -> None:
    often = np.random.default_rng(0).permutation(16) / 16
    table = pd.DataFrame({"layer": "layer", "neuron": np.arange(16), "frequency": often})
    table = table.assign(score=0.0, selected=False, e_value=0.0, note="")
    search = nc.paper_recipe()
    crit = nc.Critical(0, ("layer",), search, table, table.head(0), {"layer": ""}, {"layer": {}})
    top = baselines.published_order(crit, "layer")
    assert top.tolist() == np.argsort(-often)[:10].tolist()


def piece(support: float, ami: float) -> dict:
    one = {"ami": ami, "number": 2, "neurons": 3, "support": support, "seconds": 1.0}
    own = {"searching": 1.0, "width": 9, "audited": True, "default": one, "core": one, "given": one}
    others = {"methods": {"a": {"ami": 0.5, "seconds": 1.0}, "b": {"ami": 0.6, "seconds": 2.0}}}
    return {"about": {"groups": 2, "samples": 50}, "ours": own, "others": others}


def test_the_page_names_the_leading_layer_and_the_best_method() -> None:
    pieces = {
        f"merged | network | class | {layer}": piece(support, 0.9)
        for layer, support in (("early", 0.2), ("middle", 0.4), ("late", 0.4))
    }
    cells, methods = groups_table(pieces)
    assert cells.loc[cells["leads"], "layer"].tolist() == ["late"]
    assert set(cells["best"]) == {"b"}
    assert methods["ours, own number"].tolist() == [0.9] * 3


def test_the_page_counts_splits() -> None:
    pieces = {"single | Gaussian | 10 neurons, 150 samples": {"ours": {"numbers": [1, 2, 1, 3]}}}
    assert "2 of 4 are split" in "\n".join(single_section(pieces))
