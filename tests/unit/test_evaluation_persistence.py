"""Which groups of one grouping are in another: known answers, chance, and edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact

from neucept.evaluation.persistence import Fate, persistence, wilson


def pairs(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels that have this contingency table."""
    counts = np.array(table)
    cells = [(i, j) for i, j in np.ndindex(counts.shape) for _ in range(counts[i, j])]
    labels = np.array(cells).reshape(-1, 2)
    return labels[:, 0], labels[:, 1]


def told(table: list[list[int]], one: float = 0.95, two: float = 0.95) -> tuple[list[str], ...]:
    rows, columns = len(table), len(table[0])
    found = persistence(*pairs(table), np.full(rows, one), np.full(columns, two))
    return tuple([fate.status for fate in side] for side in (found.first, found.second))


def partners(fates: tuple[Fate, ...]) -> list[tuple[int, ...]]:
    return [fate.partners for fate in fates]


def test_the_same_groups_under_other_numbers_persist() -> None:
    found = persistence(*pairs([[0, 0, 50], [80, 0, 0], [0, 30, 0]]), np.ones(3), np.ones(3))
    assert [f.status for f in (*found.first, *found.second)] == ["persists"] * 6
    assert partners(found.first) == [(2,), (0,), (1,)]
    assert partners(found.second) == [(1,), (2,), (0,)]
    assert found.ami == pytest.approx(1.0)
    assert found.ami_chance == pytest.approx(1 / 1000)
    assert {f.overlap for f in found.first} == {1.0}


def test_stability_is_what_persisting_is_measured_with() -> None:
    table = [[90, 10], [10, 90]]  # an overlap of 90 / 110 = 0.82
    assert told(table, 0.95, 0.95) == (["lost"] * 2, ["lost"] * 2)  # needed: 0.90
    assert told(table, 0.95, 0.85) == (["persists"] * 2, ["persists"] * 2)  # needed: 0.81
    found = persistence(*pairs(table), np.array([0.95, 0.4]), np.array([0.85, 1.0]))
    assert [f.needed for f in found.first] == pytest.approx([0.95 * 0.85, 0.5])


def test_a_group_is_lost_only_where_its_overlap_is_clearly_too_small() -> None:
    # 0.97 with an interval up to 0.99, where 0.98 is expected.
    table = [[177, 2], [3, 300]]
    found = persistence(*pairs(table), np.full(2, 0.99), np.full(2, 0.99))
    assert [f.status for f in found.first] == ["persists", "persists"]
    assert found.first[0].overlap < found.first[0].needed < found.first[0].high
    # The same share of ten times as many samples is clearly too small.
    many = persistence(
        *pairs((10 * np.array(table)).tolist()), np.full(2, 0.995), np.full(2, 0.995)
    )
    assert many.first[0].high < many.first[0].needed
    assert many.first[0].status == "lost"


def test_pieces_that_reach_what_is_needed_go_before_a_partner_that_only_may() -> None:
    # One to one 0.60 with an interval to 0.78, in pieces 1.00; needed are 0.72.
    first, second = told([[12, 8, 0], [0, 0, 40]], 0.85, 0.85)
    assert first == ["splits", "persists"]
    assert second == ["merges", "merges", "persists"]


def test_a_split_and_a_merge_are_each_others_mirror() -> None:
    table = [[60, 40, 0, 0], [0, 0, 50, 0], [2, 0, 0, 70]]
    found = persistence(*pairs(table), np.full(3, 0.95), np.full(4, 0.95))
    back = persistence(*pairs(np.array(table).T.tolist()), np.full(4, 0.95), np.full(3, 0.95))
    assert [f.status for f in found.first] == ["splits", "persists", "persists"]
    assert partners(found.first)[0] == (0, 1)
    assert [f.status for f in found.second] == ["merges", "merges", "persists", "persists"]
    assert partners(found.second) == [(0,), (0,), (1,), (2,)]
    assert found.first[0].overlap == pytest.approx(100 / 102)
    for one, two in ((back.first, found.second), (back.second, found.first)):
        told = [[(f.status, f.partners, f.overlap, f.needed) for f in side] for side in (one, two)]
        assert told[0] == told[1]


def test_a_group_that_is_scattered_is_lost_and_one_from_everywhere_appears() -> None:
    table = [[60, 0, 0, 20], [0, 60, 0, 20], [0, 0, 60, 20]]
    first, second = told(table, 0.8, 0.8)
    assert first == ["persists"] * 3
    assert second == ["persists"] * 3 + ["lost"]


def test_half_of_a_group_is_no_group_however_unstable() -> None:
    first, second = told([[50, 50]], 0.1, 0.1)
    assert first == ["splits"]
    assert second == ["merges", "merges"]
    first, _ = told([[50, 30, 20], [30, 50, 20], [0, 0, 100]], 0.4, 0.4)
    assert first == ["unstable", "unstable", "persists"]


def test_a_group_of_nearly_all_samples_overlaps_by_chance_and_is_not_believed() -> None:
    # Independent: 0.9 x 0.9, so overlap 0.82 without any relation.
    first, second = told([[810, 90], [90, 10]], 0.85, 0.85)
    assert first == ["lost", "lost"]
    assert second == ["lost", "lost"]
    first, _ = told([[880, 20], [20, 80]], 0.85, 0.85)
    assert first[0] == "persists"


def test_unrelated_groupings_are_hardly_ever_related() -> None:
    rng = np.random.default_rng(0)
    wrong, chances = 0, []
    for seed in range(100):
        first = rng.choice(3, 120, p=[0.7, 0.2, 0.1])
        second = rng.choice(2, 120, p=[0.8, 0.2])
        found = persistence(first, second, np.full(3, 0.7), np.full(2, 0.7), seed=seed)
        wrong += any(f.status not in ("lost", "unstable") for f in found.first)
        chances.append(found.ami_chance)
    assert wrong <= 100 * 0.05 + 3 * np.sqrt(100 * 0.05 * 0.95)
    share = np.mean(np.array(chances) <= 0.1)
    assert abs(share - 0.1) < 3 * np.sqrt(0.1 * 0.9 / 100)


def test_chance_is_fishers() -> None:
    table = [[30, 10], [15, 45]]
    found = persistence(*pairs(table), np.ones(2), np.ones(2))
    expected = fisher_exact(table, alternative="greater").pvalue
    assert found.first[0].chance == pytest.approx(expected)


def test_one_group_each_persists_and_has_no_agreement() -> None:
    found = persistence(*pairs([[40]]), np.ones(1), np.ones(1))
    assert [f.status for f in (*found.first, *found.second)] == ["persists", "persists"]
    assert np.isnan([found.ami, found.ami_chance]).all()


def test_one_group_beside_several_splits() -> None:
    found = persistence(*pairs([[40, 25]]), np.ones(1), np.ones(2))
    assert [f.status for f in found.first] == ["splits"]
    assert [f.status for f in found.second] == ["merges", "merges"]
    assert np.isnan(found.ami)


def test_a_group_without_samples_here_is_lost() -> None:
    first, second = pairs([[40, 0], [0, 30]])
    found = persistence(first, second, np.ones(3), np.ones(2))
    assert [f.status for f in found.first] == ["persists", "persists", "lost"]
    assert found.first[2].overlap == 0
    assert found.counts.tolist() == [[40, 0], [0, 30], [0, 0]]


def test_the_interval_holds_the_overlap_and_narrows_with_samples() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    small, large = wilson(9, 10), wilson(900, 1000)
    assert small[0] < large[0] < 0.9 < large[1] < small[1]
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
