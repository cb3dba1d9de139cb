"""Metadata beside mechanisms: effects that are known, p-values that hold, columns that are odd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, fisher_exact, kruskal, mannwhitneyu
from scipy.stats.contingency import association

from neucept.activations import Activations
from neucept.critical import Critical, Search
from neucept.errors import DataError, SettingsError
from neucept.mechanisms import Mechanisms, associate, discover_mechanisms, metadata
from neucept.mechanisms.metadata import ASSOCIATION_COLUMNS, corrected

ROWS = 120


@pytest.fixture(autouse=True)
def _few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "PERMUTATIONS", 499)


@pytest.fixture(scope="module")
def found() -> Mechanisms:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2 * ROWS, 3)) + 6.0 * (np.arange(2 * ROWS) % 6 == 0)[:, None]
    outputs = np.tile([[1.0, 0.0], [0.0, 1.0]], (ROWS, 1))
    names = [f"s{i}" for i in range(2 * ROWS)]
    acts = Activations.from_arrays({"fc": x}, outputs, ids=names)
    table = pd.DataFrame({"layer": "fc", "neuron": np.arange(3), "selected": True})
    table = table.assign(e_value=1.0, score=1.0, frequency=1.0, note="")
    crit = Critical(0, ("fc",), Search(), table, table.head(0), {"fc": ""}, {"fc": {}})
    return discover_mechanisms(acts, crit, n_mechanisms=2)


def whole(mech: Mechanisms, **own: object) -> pd.DataFrame:
    """Metadata of all samples, from values of those of the class."""
    frame = pd.DataFrame(index=range(mech.total))
    for name, values in own.items():
        column = np.empty(mech.total, dtype=object)
        column[:] = values[0]
        column[mech.samples] = values
        frame[name] = pd.Series(list(column)).infer_objects()
    return frame


def one(table: pd.DataFrame, mechanism: int, category: str = "") -> pd.Series:
    rows = table[(table["mechanism"] == mechanism) & (table["category"] == category)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_category_has_the_textbook_figures(found: Mechanisms) -> None:
    rng = np.random.default_rng(1)
    scanner = np.where(rng.random(ROWS) < 0.2 + 0.5 * found.labels, "old", "new")
    table = associate(found, whole(found, scanner=scanner.tolist()))
    assert table.columns.tolist() == list(ASSOCIATION_COLUMNS)
    counts = pd.crosstab(found.labels, scanner).to_numpy()
    row = one(table, -1)
    assert row["measure"] == "Cramer's V"
    assert row["effect"] == pytest.approx(association(counts, method="cramer"))
    row = one(table, 1, "old")
    old, mine = scanner == "old", found.labels == 1
    assert row["inside"] == pytest.approx(old[mine].mean())
    assert row["outside"] == pytest.approx(old[~mine].mean())
    assert row["effect"] == pytest.approx(old[mine].mean() - old[~mine].mean())
    assert row["p_value"] == pytest.approx(fisher_exact(counts).pvalue)
    assert (table["samples"] == ROWS).all()


def test_a_number_has_the_textbook_figures(found: Mechanisms) -> None:
    rng = np.random.default_rng(2)
    age = np.round(rng.normal(50, 10, ROWS) + 9 * found.labels)
    table = associate(found, whole(found, age=age.tolist()))
    first, second = age[found.labels == 0], age[found.labels == 1]
    u = mannwhitneyu(second, first).statistic
    delta = 2 * u / len(first) / len(second) - 1
    row = one(table, 1)
    assert row["measure"] == "Cliff's delta"
    assert row["effect"] == pytest.approx(delta)
    assert (row["inside"], row["outside"]) == (np.median(second), np.median(first))
    share = kruskal(first, second).statistic / (ROWS - 1)
    assert one(table, -1)["effect"] == pytest.approx(share**0.5)
    exact = mannwhitneyu(second, first).pvalue
    assert abs(row["p_value"] - exact) < 1 / 500 + 4 * (exact / 500) ** 0.5


def test_p_values_are_uniform_when_there_is_nothing(found: Mechanisms) -> None:
    rng = np.random.default_rng(3)
    noise = {f"n{i}": rng.standard_normal(ROWS).tolist() for i in range(60)}
    names = {f"c{i}": rng.choice(["a", "b", "c"], ROWS).tolist() for i in range(60)}
    table = associate(found, whole(found, **noise, **names))
    overall = table.loc[table["mechanism"] == -1, "p_value"]
    assert len(overall) == 120
    assert abs((overall <= 0.2).mean() - 0.2) < 3 * (0.16 / 120) ** 0.5
    assert (overall <= 0.2).sum() > 5


def test_whole_groups_change_places(found: Mechanisms) -> None:
    # Sites are of one mechanism each, and so is what goes with a site: 12 groups, not 120 samples.
    labels = np.repeat([0, 1], 60)
    site = np.arange(ROWS) // 10
    mech = replace(found, labels=labels, together=site)
    rng = np.random.default_rng(4)
    small = {"alone": [], "grouped": []}
    for seed in range(60):
        value = rng.standard_normal(12)[site] + 0.1 * rng.standard_normal(ROWS)
        data = whole(mech, value=value.tolist())
        for name, groups in (("grouped", None), ("alone", np.arange(mech.total))):
            table = associate(mech, data, groups=groups, seed=seed)
            small[name].append(one(table, 1)["p_value"] <= 0.2)
    assert abs(np.mean(small["grouped"]) - 0.2) < 3 * (0.16 / 60) ** 0.5
    assert np.mean(small["alone"]) > 0.5
    table = associate(mech, whole(mech, sex=np.where(site < 6, "f", "m").tolist()))
    assert one(table, 1, "f")["test"] == "permutation of groups"
    assert one(table, 1, "f")["effect"] == -1.0
    assert 1 / 500 <= one(table, 1, "f")["p_value"] < 0.05


def test_groups_of_unequal_size_give_valid_p_values(found: Mechanisms) -> None:
    rng = np.random.default_rng(6)
    small = []
    for seed in range(80):
        site = np.sort(rng.integers(0, 25, ROWS))
        labels = (rng.random(25) < 0.5)[site].astype(int)
        mech = replace(found, labels=labels, together=site)
        value = rng.choice(["a", "b"], 25)[site]
        table = associate(mech, whole(mech, value=value.tolist()), seed=seed)
        small.append(one(table, -1)["p_value"] <= 0.2)
    assert 0.02 < np.mean(small) < 0.2 + 3 * (0.16 / 80) ** 0.5


def test_missing_values_are_left_out_and_counted(found: Mechanisms) -> None:
    age = np.arange(ROWS, dtype=float) + 0.5
    age[:30] = np.nan
    scanner = np.array(["a", "b"] * (ROWS // 2), dtype=object)
    scanner[5:12] = None
    table = associate(found, whole(found, age=age.tolist(), scanner=scanner.tolist()))
    seen = table.set_index("column")[["samples", "missing"]].drop_duplicates()
    assert seen.loc["age"].tolist() == [90, 30]
    assert seen.loc["scanner"].tolist() == [113, 7]


def test_q_values_are_those_of_benjamini_and_hochberg(found: Mechanisms) -> None:
    p_values = np.random.default_rng(5).random(40) ** 2
    assert corrected(p_values) == pytest.approx(false_discovery_control(p_values))
    holes = np.append(p_values, np.nan)
    assert corrected(holes)[:-1] == pytest.approx(corrected(p_values))
    assert np.isnan(corrected(holes)[-1])
    table = associate(found, whole(found, a=[*"ab"] * 60, b=list(range(ROWS))))
    assert table["q_value"].to_numpy() == pytest.approx(corrected(table["p_value"].to_numpy()))


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([f"scan {i}" for i in range(ROWS)], "120 categories among 120 samples"),
        (["same"] * ROWS, "one value only"),
        ([1.5] * ROWS, "one value only"),
        ([None] * ROWS, "every value is missing"),
        ([f"s{2 * i}" for i in range(ROWS)], "the id of the samples"),
    ],
)
def test_what_tells_nothing_is_set_aside_and_says_so(
    found: Mechanisms, values: list, note: str
) -> None:
    table = associate(found, whole(found, it=values))
    assert len(table) == 1
    row = table.iloc[0]
    assert row["note"].startswith("set aside: ")
    assert note in row["note"]
    assert np.isnan(row["p_value"])


def test_numbers_that_look_like_ids_are_tested_and_pointed_out(found: Mechanisms) -> None:
    table = associate(found, whole(found, record=list(range(ROWS)), age=list(np.arange(ROWS) / 2)))
    notes = table.drop_duplicates("column").set_index("column")["note"]
    assert notes["record"] == "every value is different: is it an id?"
    assert notes["age"] == ""
    assert table["p_value"].notna().all()


def test_rare_categories_are_not_tested_by_themselves(found: Mechanisms) -> None:
    table = associate(found, whole(found, kind=["a"] * 60 + ["b"] * 56 + ["rare"] * 4))
    assert sorted(set(table["category"])) == ["", "a", "b"]


def test_rows_are_found_by_position_or_by_id(found: Mechanisms) -> None:
    data = whole(found, age=np.random.default_rng(0).random(ROWS).tolist())
    by_position = associate(found, data)
    named = data.set_axis([f"s{i}" for i in range(found.total)]).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(associate(found, named), by_position)
    own = named.loc[[name for name in named.index if name in set(found.ids)]]
    pd.testing.assert_frame_equal(associate(found, own), by_position)


def test_another_cut_can_be_tested_and_one_group_cannot(found: Mechanisms) -> None:
    data = whole(found, kind=["a", "b"] * (ROWS // 2))
    number = found.n_leaves
    table = associate(found, data, number=number)
    assert set(table["mechanism"]) == {-1, *range(number)}
    assert associate(found, data, number=1).empty


def test_bad_metadata_is_one_line(found: Mechanisms) -> None:
    data = whole(found, age=list(range(ROWS)))
    with pytest.raises(DataError, match="has 239 rows, there are 240 samples"):
        associate(found, data.head(239))
    with pytest.raises(DataError, match="no row for 120 of 120 samples, the first is 's0'"):
        associate(found, data.iloc[::-1])
    with pytest.raises(DataError, match="more than one row 's0'"):
        associate(found, data.set_axis(["s0"] * 240))
    with pytest.raises(DataError, match="two columns 'age'"):
        associate(found, pd.concat([data, data], axis=1))
    with pytest.raises(DataError, match="groups is of length 3"):
        associate(found, data, groups=[1, 2, 3])
    with pytest.raises(SettingsError, match="seed"):
        associate(found, data, seed=-1)
    table = associate(found, data, groups=np.arange(found.total) // 60)
    assert table["note"].tolist() == ["set aside: 4 groups of samples, 10 are needed"]
