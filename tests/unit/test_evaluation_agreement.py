"""Agreement of groupings: closed forms and limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neucept.errors import DataError
from neucept.evaluation.agreement import agreement


def test_equal_groupings_agree_fully_whatever_their_names() -> None:
    found = agreement(np.array([2, 2, 0, 0, 1, 1]), ["a", "a", "b", "b", "c", "c"])
    assert (found.ami, found.ari, found.homogeneity, found.completeness) == pytest.approx((1,) * 4)
    assert found.mean_entropy == pytest.approx(0.0)


def test_mean_entropy_is_weighted_by_size() -> None:
    labels = np.array([0] * 6 + [1] * 2)
    known = np.array([0, 0, 0, 1, 1, 1, 0, 0])
    # Six samples split evenly (log 2 nats), two samples pure.
    assert agreement(labels, known).mean_entropy == pytest.approx(6 / 8 * np.log(2))


def test_a_finer_grouping_is_homogeneous_but_not_complete() -> None:
    found = agreement(np.arange(8), np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    assert found.homogeneity == pytest.approx(1.0)
    assert found.completeness == pytest.approx(1 / 3)
    assert found.mean_entropy == pytest.approx(0.0)
    assert found.ami == pytest.approx(0.0, abs=1e-9)


def test_unrelated_groupings_have_no_agreement_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    found = agreement(rng.integers(0, 5, 4000), rng.integers(0, 5, 4000))
    assert abs(found.ami) < 0.005
    assert abs(found.ari) < 0.005


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_the_five_figures_keep_their_range(pairs: list[tuple[int, int]]) -> None:
    labels, known = (np.array(column) for column in zip(*pairs, strict=True))
    found = agreement(labels, known)
    assert found.ami <= 1 + 1e-9
    assert -1 <= found.ari <= 1 + 1e-9
    assert -1e-9 <= found.homogeneity <= 1 + 1e-9
    assert -1e-9 <= found.completeness <= 1 + 1e-9
    assert -1e-9 <= found.mean_entropy <= np.log(4) + 1e-9


@pytest.mark.parametrize(("labels", "known"), [([0, 1], [0]), ([], [])])
def test_what_cannot_be_compared_is_refused(labels: list[int], known: list[int]) -> None:
    with pytest.raises(DataError, match=r"labels has shape .* Pass one value per sample"):
        agreement(np.array(labels, dtype=int), np.array(known))


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_a_sample_without_a_group_is_named(missing: object) -> None:
    with pytest.raises(DataError, match=r"^known has no group for sample 2 \(.*\)\. Leave"):
        agreement([0, 1, 1], ["a", "b", missing] if missing is None else [0, 1, missing])


@pytest.mark.parametrize("known", [[[0], [1, 2]], [{}, {}]])
def test_groups_that_are_none_are_refused(known: list[object]) -> None:
    with pytest.raises(DataError, match="known"):
        agreement([0, 1], known)


def test_groups_may_be_named_by_anything_that_can_be_told_apart() -> None:
    labels = [0, 0, 1, 1]
    for known in ([1, 1, "b", "b"], [0.5, 0.5, 1.5, 1.5], [(1, 2), (1, 2), "b", "b"]):
        groups = np.empty(4, dtype=object)
        groups[:] = known
        assert agreement(labels, groups).ami == pytest.approx(1.0)
