"""Circuits read off a chain whose neurons and edges are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import neucept as nc
from neucept.critical import CLASS_SCORE, Critical, Search
from neucept.errors import DataError, InputError, ModelError, SettingsError
from neucept.mechanisms import Mechanisms
from neucept.mechanisms.circuit import LINK_COLUMNS, circuit, separation, together

SAMPLES = 200
LABELS = np.arange(SAMPLES) % 2
"""Two mechanisms; neurons 0 and 1 of "low" and 0 of "high" follow the first, others the second."""

EDGES = [
    ("high", 0, CLASS_SCORE, -1, True),
    ("high", 1, CLASS_SCORE, -1, True),
    ("high", 2, CLASS_SCORE, -1, True),
    ("low", 0, "high", 0, True),
    ("low", 1, "high", 0, True),
    ("low", 2, "high", 1, True),
    ("low", 0, "high", 1, False),
    ("low", 3, "high", 0, True),
]


def activations() -> nc.Activations:
    rng = np.random.default_rng(0)
    one, two = (np.where(LABELS == g, 3.0, 0.0)[:, None] for g in (0, 1))
    common = rng.normal(size=(SAMPLES, 1))
    low = np.hstack(
        [
            one + common + 0.2 * rng.normal(size=(SAMPLES, 1)),
            -one - common + 0.2 * rng.normal(size=(SAMPLES, 1)),
            0.3 * two + 3 * rng.normal(size=(SAMPLES, 1)),
            rng.normal(size=(SAMPLES, 1)),
            np.ones((SAMPLES, 1)),
        ]
    )
    high = np.hstack([one, 0.7 * two, 0 * one]) + rng.normal(size=(SAMPLES, 3))
    outputs = np.tile([0.0, 5.0], (SAMPLES, 1))
    return nc.Activations.from_arrays({"low": low, "high": high}, outputs=outputs)


def critical(search: Search | None = None) -> Critical:
    rows = [("low", j, True) for j in range(5)] + [("high", j, True) for j in range(3)]
    table = pd.DataFrame(rows, columns=["layer", "neuron", "selected"])
    table = table.assign(e_value=1.0, score=1.0, frequency=1.0, note="")
    edges = pd.DataFrame(
        EDGES, columns=["layer", "neuron", "target_layer", "target_neuron", "selected"]
    )
    edges = edges.assign(e_value=5.0, score=np.arange(1.0, len(EDGES) + 1))
    about = {"low": "", "high": ""}
    return Critical(
        1, ("low", "high"), search or Search(), table, edges, about, {"low": {}, "high": {}}
    )


def mechanisms(labels: np.ndarray = LABELS) -> Mechanisms:
    groups = int(labels.max()) + 1
    none, empty = np.full(SAMPLES, np.nan), pd.DataFrame()
    return Mechanisms(
        target=1,
        layers=("high",),
        method="mixture",
        samples=np.arange(SAMPLES),
        labels=labels,
        membership=np.eye(groups)[labels],
        typicality=none,
        stability=np.ones(groups),
        sample_stability=none,
        prototypes=[],
        map=np.zeros((SAMPLES, 2)),
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
        together=np.arange(SAMPLES),
        ids=[str(i) for i in range(SAMPLES)],
        total=-1,
    )


def test_nodes_are_the_neurons_that_tell_the_mechanism_apart() -> None:
    found = circuit(activations(), critical(), mechanisms(), mechanism=0)
    nodes = set(zip(found.nodes["layer"], found.nodes["neuron"], strict=True))
    assert nodes == {("low", 0), ("low", 1), ("high", 0), ("high", 1)}
    signs = found.nodes.set_index(["layer", "neuron"])["separation"]
    assert signs["low", 0] > 0.9 > -0.9 > signs["low", 1]
    assert signs["high", 0] > 0.9 > -0.5 > signs["high", 1]
    other = circuit(activations(), critical(), mechanisms(), mechanism=1).nodes
    mirrored = other.set_index(["layer", "neuron"])["separation"]
    assert mirrored.index.equals(signs.index)
    assert mirrored.to_numpy() == pytest.approx(-signs.to_numpy())


def test_edges_are_the_selected_ones_between_nodes() -> None:
    found = circuit(activations(), critical(), mechanisms(), mechanism=0)
    edges = found.edges[["layer", "neuron", "target_layer", "target_neuron"]]
    assert set(edges.itertuples(index=False, name=None)) == {
        ("high", 0, CLASS_SCORE, -1),
        ("high", 1, CLASS_SCORE, -1),
        ("low", 0, "high", 0),
        ("low", 1, "high", 0),
    }
    assert found.fdr == critical().search.fdr


def test_neurons_that_move_together_or_against_each_other_are_one_group() -> None:
    found = circuit(activations(), critical(), mechanisms(), mechanism=0)
    low = found.nodes[found.nodes["layer"] == "low"]
    assert low["group"].tolist() == [0, 0]
    inside = found.groups[found.groups["layer"] == "low"].iloc[0]
    assert inside["neurons"] == 2
    assert inside["alike"] > 0.9
    apart = circuit(activations(), critical(), mechanisms(), mechanism=0, alike=1.0)
    assert len(apart.groups) == len(apart.nodes)


def test_links_count_the_edges_between_groups() -> None:
    found = circuit(activations(), critical(), mechanisms(), mechanism=0)
    groups = found.nodes.set_index(["layer", "neuron"])["group"]
    links = found.links.set_index(list(LINK_COLUMNS[:4]))
    link = links.loc[("low", 0, "high", groups["high", 0])]
    assert (link["edges"], link["possible"]) == (2, 2)
    assert link["score"] == 4.0 + 5.0
    assert links["edges"].sum() == len(found.edges)
    assert links.loc[("high", groups["high", 1], CLASS_SCORE, -1)]["edges"] == 1


def test_what_level_holds_for_edges_is_said_as_it_is() -> None:
    acts, mech = activations(), mechanisms()
    loose = circuit(acts, critical(Search(fdr=0.2)), mech, mechanism=0)
    strict = circuit(acts, critical(Search(fdr=0.2, split=True)), mech, mechanism=0)
    assert loose.fdr == strict.fdr == 0.2
    assert "split=True" in loose.promise
    assert "no rate is promised for the part" in strict.promise


def test_without_edges_or_separation_the_tables_are_empty() -> None:
    acts, mech, crit = activations(), mechanisms(), critical()
    bare = circuit(acts, replace(crit, edges=crit.edges.head(0)), mech, mechanism=0)
    assert len(bare.nodes) == 4
    assert bare.edges.empty
    assert bare.links.empty
    assert bare.links.columns.tolist() == list(LINK_COLUMNS)
    random = mechanisms(np.random.default_rng(3).integers(2, size=SAMPLES))
    none = circuit(acts, crit, random, mechanism=1)
    assert none.nodes.empty
    assert none.groups.empty
    assert none.edges.empty


def test_most_keeps_the_neurons_that_separate_most() -> None:
    found = circuit(activations(), critical(), mechanisms(), mechanism=0, most=1)
    assert found.nodes.groupby("layer").size().to_dict() == {"low": 1, "high": 1}
    assert found.nodes.set_index("layer").loc["high", "neuron"] == 0


def test_saved_tables_can_be_read(tmp_path: Path) -> None:
    found = circuit(activations(), critical(), mechanisms(), mechanism=0)
    found.save(tmp_path)
    for name in ("nodes", "edges", "groups", "links"):
        read = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert len(read) == len(getattr(found, name))
        assert set(read["mechanism"]) == {0}


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"mechanism": 2}, SettingsError, "mechanism is 2"),
        ({"mechanism": True}, SettingsError, "mechanism is True"),
        ({"least": 0.0}, SettingsError, "least is 0.0"),
        ({"alike": 1.5}, SettingsError, "alike is 1.5"),
        ({"most": 0}, SettingsError, "most is 0"),
    ],
)
def test_bad_settings_are_one_line(settings: dict, error: type[InputError], text: str) -> None:
    with pytest.raises(error, match=text):
        circuit(activations(), critical(), mechanisms(), **{"mechanism": 0, **settings})


def test_what_has_no_circuit_is_said() -> None:
    acts, crit = activations(), critical()
    with pytest.raises(DataError, match="nothing tells it from others"):
        circuit(acts, crit, mechanisms(np.zeros(SAMPLES, dtype=np.int64)), mechanism=0)
    with pytest.raises(SettingsError, match="Pass both of one class"):
        circuit(acts, replace(crit, target=0), mechanisms(), mechanism=0)
    part = nc.Activations.from_arrays({"low": acts.matrix("low")}, outputs=acts.outputs)
    with pytest.raises(ModelError, match="'high' is not among"):
        circuit(part, crit, mechanisms(), mechanism=0)


def test_separation_is_the_difference_of_chances_counted_pair_by_pair() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(5, size=(40, 3)).astype(float)
    own = np.arange(40) < 13
    pairs = np.sign(values[own][:, None] - values[~own][None]).mean(axis=(0, 1))
    assert separation(values, own) == pytest.approx(pairs)


def test_groups_are_numbered_by_their_first_neuron() -> None:
    rng = np.random.default_rng(2)
    one, two = rng.normal(size=(2, 300, 1))
    values = np.hstack([two, one, -two, one]) + 0.1 * rng.normal(size=(300, 4))
    assert together(values, 0.7)[0].tolist() == [0, 1, 0, 1]
    assert together(values[:, :1], 0.7)[0].tolist() == [0]
