"""What merges first, and what a cut leaves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from neucept.errors import DataError, SettingsError
from neucept.mechanisms.mixture import Ascent, Mixture, one_hot
from neucept.mechanisms.tree import LEAF, Tree, below, cut, grow, seriated

PLACES = np.array([[0.0, 0.0], [4.0, 0.0], [40.0, 0.0], [46.0, 0.0]])


def four(rows: int = 400) -> tuple[np.ndarray, np.ndarray, Mixture]:
    """Four groups: two near, two less near, and far between the pairs."""
    group = np.arange(rows) % 4
    x = PLACES[group] + np.random.default_rng(0).standard_normal((rows, 2))
    return x, group, Ascent(x).climb(one_hot(group, 4), 50)


def planted(labels: np.ndarray | None = None) -> tuple[Tree, np.ndarray]:
    x, group, fine = four()
    return grow(x, fine, np.zeros(len(x), dtype=int) if labels is None else labels), group


def test_the_nearest_merge_first_and_the_farthest_last() -> None:
    tree, group = planted()
    assert tree.table["size"].tolist() == [200, 200, 400]
    assert tree.table["node"].tolist() == [4, 5, 6]
    assert (np.diff(tree.table["height"]) > 0).all()
    steps = np.diff(np.append(0.0, tree.table["height"]))
    assert steps[2] > 2 * steps[1] > 0
    first = below(tree.leaves, tree.table, 4)
    assert set(group[first]) == {0, 1}
    assert adjusted_mutual_info_score(cut(tree.leaves, tree.table, 2), group // 2) == 1.0
    assert adjusted_mutual_info_score(cut(tree.leaves, tree.table, 4), group) > 0.9


def test_mechanisms_are_a_cut_of_the_tree_even_against_nearness() -> None:
    _, group, _ = four()
    # Far groups taken for one mechanism.
    labels = np.where(np.isin(group, (1, 2)), 1, 0)
    tree, _ = planted(labels)
    assert adjusted_mutual_info_score(cut(tree.leaves, tree.table, 2), labels) == 1.0
    assert tree.table["mechanism"].tolist()[-1] == -1
    assert sorted(tree.table["mechanism"].tolist()[:-1]) == [0, 1]


def test_cuts_are_nested_numbered_by_size_and_cover_every_number() -> None:
    tree, _ = planted()
    before = np.zeros(400, dtype=int)
    for number in range(1, 5):
        found = cut(tree.leaves, tree.table, number)
        sizes = np.bincount(found)
        assert len(sizes) == number
        assert (np.diff(sizes) <= 0).all()
        assert all(len(set(before[found == part])) == 1 for part in range(number))
        before = found


def test_small_leaves_go_to_their_neighbours() -> None:
    group = np.repeat([0, 1, 2], [100, 100, LEAF - 1])
    x = 9.0 * group[:, None] + np.random.default_rng(0).standard_normal((len(group), 2))
    fine = Ascent(x).climb(one_hot(group, 3), 50)
    tree = grow(x, fine, np.zeros(len(x), dtype=int))
    assert np.bincount(tree.leaves).tolist() == [100, 100 + LEAF - 1]
    # A mechanism of its own keeps its leaf, however small.
    tree = grow(x, fine, (group == 2).astype(int))
    assert np.bincount(tree.leaves).tolist() == [100, 100, LEAF - 1]


def test_one_leaf_has_no_merge() -> None:
    x = np.random.default_rng(0).standard_normal((50, 2))
    tree = grow(x, Ascent(x).climb(np.ones((50, 1)), 5), np.zeros(50, dtype=int))
    assert tree.table.empty
    assert not cut(tree.leaves, tree.table, 1).any()
    assert below(tree.leaves, tree.table, 0).all()


def test_branches_turn_so_that_places_rise() -> None:
    tree, group = planted()
    # 3 lies before 2, and their branch before that of 0 and 1.
    place = np.array([3.0, 4.0, 2.0, 1.0])[group]
    turned = seriated(tree, place)
    means = [place[turned.leaves == leaf].mean() for leaf in range(4)]
    assert means == sorted(means)
    assert (turned.table["first"] < turned.table["second"]).sum() >= 2
    for number in range(1, 5):
        one, two = (cut(t.leaves, t.table, number) for t in (tree, turned))
        assert adjusted_mutual_info_score(one, two) == pytest.approx(1.0)


def test_what_cannot_be_cut_is_one_line() -> None:
    tree, _ = planted()
    for number in (0, 5, True):
        with pytest.raises(SettingsError, match="whole number from 1 to 4"):
            cut(tree.leaves, tree.table, number)
    with pytest.raises(SettingsError, match="no node 7. Pass a whole number from 0 to 6"):
        below(tree.leaves, tree.table, 7)
    with pytest.raises(DataError, match="kept no tree"):
        cut(tree.leaves, tree.table.head(0), 2)
