"""What sets of neurons keep of what their layer tells, where that is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from neucept.activations import Activations
from neucept.critical import CLASS_SCORE, Critical, Search, chain_information
from neucept.critical.record import EDGE_COLUMNS, KEPT_COLUMNS
from neucept.critical.told import COLUMNS, _Told
from neucept.errors import DataError

WEIGHTS = np.array([2.0, 1.5, 1.0, 0.5])
NOISE = 1.0
DITHER = 0.5

Sets = dict[str, tuple[list[int], list[int]]]


def found(
    layers: dict[str, int], sets: Sets, above: dict[str, str], groups: list[list[int]] | None = None
) -> Critical:
    """What a search would say that selected, and made cores of, these neurons of each layer."""
    tables, kept = [], []
    for layer, width in layers.items():
        selected, core = sets[layer]
        chosen = np.isin(np.arange(width), selected)
        rank = np.array([selected.index(j) if j in selected else width for j in range(width)])
        tables.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "neuron": np.arange(width),
                    "selected": chosen,
                    "e_value": (width - rank) * 1.0,
                    "score": (width - rank) * 1.0,
                    "frequency": 1.0,
                    "note": "",
                }
            )
        )
        if selected:
            sizes = range(len(core) + 1)
            curve = {
                "layer": layer,
                "size": sizes,
                "neuron": [-1, *core],
                "kept": np.arange(len(core) + 1) / max(len(core), 1),
                "measured": True,
            }
            kept.append(pd.DataFrame(curve))
    settings = {
        layer: {"dither": DITHER, "target_layer": above[layer], "groups": groups or []}
        for layer in layers
    }
    return Critical(
        *(1, tuple(layers), Search(), pd.concat(tables, ignore_index=True)),
        pd.DataFrame({column: [] for column in EDGE_COLUMNS}),
        dict.fromkeys(layers, ""),
        settings,
        pd.concat(kept, ignore_index=True)
        if kept
        else pd.DataFrame({column: [] for column in KEPT_COLUMNS}),
    )


def recorded(matrices: dict[str, np.ndarray], score: np.ndarray) -> Activations:
    logits = np.stack([-score / 2, score / 2], axis=1).astype(np.float32)
    return Activations.from_arrays(
        {name: x.astype(np.float32) for name, x in matrices.items()}, outputs=logits
    )


@pytest.fixture(scope="module")
def linear() -> tuple[Activations, np.ndarray]:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((2400, 8))
    score = z[:, :4] @ WEIGHTS + NOISE * rng.standard_normal(len(z))
    return recorded({"low": z}, score), score


def test_shares_and_nats_are_those_of_a_linear_target(linear: tuple) -> None:
    acts, _ = linear
    crit = found({"low": 8}, {"low": ([0, 1, 2], [0, 1])}, {"low": CLASS_SCORE})
    table = chain_information(acts, crit)
    assert tuple(table.columns) == COLUMNS
    assert table["set"].tolist() == ["all", "selected", "core"]
    assert table["size"].tolist() == [8, 3, 2]
    assert (table["dither"] == DITHER).all()
    variance = np.sum(WEIGHTS**2) + NOISE**2
    explained = {n: np.sum(WEIGHTS[:n] ** 2) / variance for n in (2, 3, 4)}
    for row, size in zip(table.itertuples(), (4, 3, 2), strict=True):
        share = explained[size]
        assert row.kept == pytest.approx(share / explained[4], abs=4 * row.kept_error + 0.01)
        assert row.explained == pytest.approx(share / (1 + DITHER**2), abs=0.03)
        nats = np.log((1 + DITHER**2) / (1 - share + DITHER**2)) / 2
        assert row.information == pytest.approx(nats, abs=4 * row.information_error + 0.01)
        assert 0 < row.information_error < 0.03
    assert table["kept"][0] == 1.0 and table["kept_error"][0] == 0.0
    assert (table["kept_error"][1:].between(0.001, 0.03)).all()


def test_each_step_is_asked_about_the_critical_neurons_above() -> None:
    rng = np.random.default_rng(1)
    low = rng.standard_normal((1500, 6))
    # Above, 0 and 1 follow the first two below; 2 and its copy 3 follow the third.
    high = np.tanh(low[:, [0, 1, 2, 2, 4]] + 0.3 * rng.standard_normal((1500, 5)))
    high[:, 3] = high[:, 2] + 1e-3 * rng.standard_normal(1500)
    acts = recorded({"low": low, "high": high}, high[:, 0] + high[:, 1])
    sets = {"high": ([0, 1, 2, 3], [0, 1]), "low": ([0, 1, 3], [0])}
    crit = found({"low": 6, "high": 5}, sets, {"high": CLASS_SCORE, "low": "high"}, [[2, 3]])
    table = chain_information(acts, crit).set_index(["layer", "set"])
    assert table.index.get_level_values(0).tolist() == ["low"] * 3 + ["high"] * 3
    assert table.loc[("high", "core"), "kept"] == pytest.approx(1.0, abs=0.02)
    # Below there are three targets, the copy not one of them: two of them kept, and one.
    for name, share in (("selected", 2 / 3), ("core", 1 / 3)):
        row = table.loc[("low", name)]
        assert row["kept"] == pytest.approx(share, abs=4 * row["kept_error"] + 0.02)


def test_no_neuron_keeps_nothing_and_all_of_them_everything(linear: tuple) -> None:
    acts, _ = linear
    none = chain_information(acts, found({"low": 8}, {"low": ([], [])}, {"low": CLASS_SCORE}))
    assert none.loc[1:, ["kept", "explained", "information"]].to_numpy() == pytest.approx(0.0)
    everyone = list(range(8))
    both = found({"low": 8}, {"low": (everyone, everyone)}, {"low": CLASS_SCORE})
    every = chain_information(acts, both, n_jobs=1)
    assert (every["kept"] == 1.0).all() and (every["kept_error"] == 0.0).all()
    assert every["information"].nunique() == 1
    assert every.loc[0].equals(none.loc[0])


def test_steps_are_judged_by_trees() -> None:
    rng = np.random.default_rng(2)
    z = rng.standard_normal((1500, 5))
    acts = recorded({"low": z}, 3.0 * (z[:, 0] > 0) + 2.0 * (z[:, 1] > 0))
    crit = found({"low": 5}, {"low": ([0, 1], [0])}, {"low": CLASS_SCORE})
    table = chain_information(acts, crit).set_index("set")
    assert set(table["judge"]) == {"trees"}
    assert table.loc["all", "rows"] == 750
    share = 9 / 13
    row = table.loc["core"]
    assert row["kept"] == pytest.approx(share, abs=4 * row["kept_error"] + 0.02)
    assert table.loc["selected", "kept"] == pytest.approx(1.0, abs=0.02)


def test_errors_follow_from_the_rows() -> None:
    rng = np.random.default_rng(3)
    apart = []
    for _ in range(200):
        truth = rng.standard_normal((300, 1))
        whole, some = (
            _Told(truth, truth * a + b * rng.standard_normal((300, 1)), 0.5)
            for a, b in ((0.0, 0.4), (0.5, 0.4))
        )
        known, share = 1 - 0.16, (1 - 0.25 - 0.16) / (1 - 0.16)
        kept, kept_error = some.share_of(whole)
        nats, error = whole.nats
        exact = np.log(1.25 / (1 - known + 0.25)) / 2
        apart.append(((kept - share) / kept_error, (nats - exact) / error))
    # Chi-squared with 200 degrees of freedom: 1 +- 4 times 0.1.
    assert (np.abs(np.mean(np.square(apart), axis=0) - 1) < 0.4).all()


def test_what_cannot_be_measured_is_said_with_the_layer(linear: tuple) -> None:
    few = recorded({"low": np.random.default_rng(4).standard_normal((30, 8))}, np.arange(30.0))
    crit = found({"low": 8}, {"low": ([0], [0])}, {"low": CLASS_SCORE})
    with pytest.raises(DataError, match="Layer 'low': There are 30 samples"):
        chain_information(few, crit)
    still = recorded({"low": np.random.default_rng(5).standard_normal((80, 8))}, np.zeros(80))
    with pytest.raises(DataError, match="Layer 'low': No target varies"):
        chain_information(still, crit)


def test_a_layer_that_tells_nothing_has_no_share() -> None:
    truth = np.random.default_rng(6).standard_normal((60, 2))
    nothing, little = _Told(truth, 1.1 * truth, 0.0), _Told(truth, 0.9 * truth, 0.0)
    assert all(np.isnan(little.share_of(nothing)))
    assert little.share_of(little) == (1.0, 0.0)
    assert nothing.explained < 0 < little.explained
