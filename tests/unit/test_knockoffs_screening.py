from __future__ import annotations

import numpy as np
import pytest
import torch
import zarr

from neucept.errors import DataError
from neucept.knockoffs.screening import as_matrix, screen


def normal(samples: int, neurons: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, neurons))


def test_ordinary_neurons_are_all_tested() -> None:
    found = screen(normal(200, 6))
    np.testing.assert_array_equal(found.tested, np.arange(6))
    assert found.groups == ()
    assert found.set_aside == {}
    np.testing.assert_array_equal(found.maps, np.eye(6))
    np.testing.assert_array_equal(found.columns, found.tested)
    np.testing.assert_array_equal(found.units, np.arange(6))
    x = normal(50, 6)
    np.testing.assert_array_equal(found.coordinates(x), x)
    importances = normal(6, 4)
    np.testing.assert_array_equal(found.merged(importances), importances)
    np.testing.assert_array_equal(found.one_each(np.random.default_rng(0)), np.arange(6))


def test_constant_and_dead_neurons_are_set_aside_with_the_reason() -> None:
    x = normal(200, 5)
    x[:, 1] = 0.25
    x[:, 3] = 0.0
    x[:4, 3] = [1, 2, 3, 4]
    found = screen(x)
    np.testing.assert_array_equal(found.tested, [0, 2, 4])
    assert found.set_aside[1] == "constant at 0.25"
    assert found.set_aside[3] == "dead: only 4 of 200 samples differ from the rest"
    assert not found.maps[:, [1, 3]].any()
    x[4, 3] = 5.0
    assert 3 in screen(x).tested


def test_what_is_too_small_to_square_is_set_aside() -> None:
    x = normal(200, 3) * [1, 1e-200, 1]
    found = screen(x)
    np.testing.assert_array_equal(found.tested, [0, 2])
    assert "too little to compute with" in found.set_aside[1]
    with pytest.raises(DataError, match="All 3 neurons are constant or nearly so"):
        screen(x * 1e-200)


def test_near_copies_form_a_group_with_one_representative() -> None:
    x = normal(300, 6)
    x[:, 2] = -3 * x[:, 0] + 1
    x[:, 5] = x[:, 0] + 0.05 * normal(300, 1, 1)[:, 0]
    found = screen(x)
    assert found.groups == ((0, 2, 5),)
    assert len({0, 2, 5} & set(found.tested.tolist())) == 1
    leader = found.representative[5]
    assert found.representative == {0: leader, 2: leader, 5: leader, 1: 1, 3: 3, 4: 4}
    assert found.set_aside == {}


def test_a_group_has_coordinates_that_do_not_shadow_each_other() -> None:
    x = np.random.default_rng(0).standard_normal((400, 6)) + 5
    x[:, 1] = x[:, 4] + 0.05 * normal(400, 1, 1)[:, 0]
    x[:, 3] = 3 - 20 * x[:, 4] + normal(400, 1, 2)[:, 0]
    x[:, 5] = x[:, 4] + 2 * x[:, 1]
    found = screen(x)
    assert found.groups == ((1, 3, 4, 5),)
    # The one that two others determine adds nothing.
    assert len(found.columns) == 5
    assert len(found.tested) == 3
    inside = np.flatnonzero(found.units == found.units[np.isin(found.columns, found.groups[0])][0])
    assert found.columns[inside].tolist() == [j for j in found.columns if j in found.groups[0]]
    own = found.coordinates(x)
    np.testing.assert_allclose(np.corrcoef(own[:, inside].T), np.eye(3), atol=1e-8)
    np.testing.assert_allclose(own.std(0), x[:, found.columns].std(0))
    for j in found.tested:
        np.testing.assert_array_equal(own[:, found.columns == j][:, 0], x[:, j])
    np.testing.assert_allclose(
        (own - own.mean(0)) @ found.maps, x - x.mean(0), atol=1e-6, err_msg="maps lead back"
    )


def test_what_a_group_determines_is_set_aside_and_not_a_member() -> None:
    x = normal(400, 5)
    x[:, 1] = x[:, 0] + 0.05 * x[:, 2]
    found = screen(x)
    assert found.groups == ((0, 1),)
    assert found.columns.tolist() == [0, 1, 3, 4]
    assert found.set_aside.keys() == {2}
    np.testing.assert_allclose(
        found.coordinates(x - x.mean(0)) @ found.maps[:, 2], x[:, 2] - x[:, 2].mean(), atol=1e-6
    )


def test_a_member_that_other_groups_determine_leaves_its_group() -> None:
    """Two pairs with one difference: whatever tells of it tells of both, so one loses it."""
    x = normal(400, 6)
    x[:, 1] = x[:, 0] + 0.05 * x[:, 2]
    x[:, 4] = x[:, 3] - 0.04 * x[:, 2]
    x[:, 5] = 2 * x[:, 4]
    found = screen(x)
    kept = [group for group in found.groups if group == (0, 1)]
    lost = set(range(6)) - set(found.representative)
    assert 2 in lost
    assert len(lost) > 1
    assert not lost & {j for group in found.groups for j in group}
    assert kept or found.representative.keys() >= {3, 4, 5}
    np.testing.assert_array_equal(sorted(found.set_aside), sorted(lost))


def test_importance_of_a_group_is_that_of_all_its_coordinates() -> None:
    x = normal(400, 4)
    x[:, 3] = x[:, 1] + 0.05 * x[:, 3]
    found = screen(x)
    assert found.tested.tolist() == [0, 1, 2]
    merged = found.merged(np.array([[1.0, 0.1], [3.0, 1.0], [0.3, 0.0], [4.0, 0.0]]))
    np.testing.assert_array_equal(merged, [[1.0, 0.1], [5.0, 1.0], [0.3, 0.0]])
    drawn = {tuple(found.one_each(np.random.default_rng(seed))) for seed in range(20)}
    assert drawn == {(0, 1, 2), (0, 3, 2)}


def test_groups_of_more_neurons_than_samples_are_screened() -> None:
    x = normal(60, 1) + 0.05 * normal(60, 100, 1)
    found = screen(np.c_[x, normal(60, 3, 2)])
    assert len(found.groups[0]) == 100
    assert len(found.tested) == 4
    assert len(found.columns) <= 62


def test_a_chain_of_likenesses_is_not_one_group() -> None:
    """Neighbours are alike and the ends are not: every member is close to its representative."""
    x = np.cumsum(normal(2000, 12) * np.r_[8.0, np.ones(11)], axis=1)
    found = screen(x)
    r = np.abs(np.corrcoef(x.T))
    assert found.groups
    for group in found.groups:
        leader = found.representative[group[0]]
        assert r[leader, list(group)].min() >= 0.99
    tested = r[np.ix_(found.tested, found.tested)] - np.eye(len(found.tested))
    assert tested.max() < 0.99


def test_determined_neurons_are_set_aside_only_when_samples_suffice() -> None:
    x = normal(300, 5)
    x = np.c_[x, x @ [1.0, 2.0, -1.0, 0.0, 0.5]]
    found = screen(x)
    assert len(found.tested) == 5
    (dropped,) = found.set_aside
    assert "determined by other neurons, mostly" in found.set_aside[dropped]
    np.testing.assert_allclose(
        (x[:, found.tested] - x[:, found.tested].mean(0)) @ found.maps[:, dropped],
        x[:, dropped] - x[:, dropped].mean(),
        atol=1e-8,
    )
    wide = normal(60, 80)
    assert len(screen(wide).tested) == 80


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.ones((100, 3)), "All 3 neurons are constant"),
        (np.zeros((10, 3)), "There are 10 samples; a selection needs at least 50"),
    ],
)
def test_hopeless_data_are_refused(x: np.ndarray, text: str) -> None:
    with pytest.raises(DataError, match=text):
        screen(x)


def test_any_holder_of_numbers_is_read() -> None:
    plain = normal(20, 3).astype(np.float32)
    tensor = torch.tensor(plain, requires_grad=True)
    chunked = zarr.array(plain, chunks=(7, 3))
    for values in (plain, tensor, chunked, plain.tolist(), tensor.detach().to(torch.float64)):
        np.testing.assert_array_equal(as_matrix(values), plain.astype(np.float64))
    assert as_matrix(torch.ones(4, dtype=torch.bfloat16)).shape == (4, 1)
    assert as_matrix(np.arange(4)).dtype == np.float64


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "1 values that are not finite.*sample 1, column 0"),
        (np.array([[1.0, np.inf]]), "inf at sample 0, column 1"),
        (
            np.array([[1.0, -1e101]]),
            "beyond 1e[+]100; the first is -1e[+]101 at sample 0, column 1",
        ),
        (np.array([[1.0 + 2.0j]]), "complex"),
        (np.zeros((2, 3, 4)), "3 axes, shape"),
        (np.zeros((0, 3)), "empty"),
        (["a", "b"], "cannot be read as numbers"),
    ],
)
def test_unusable_values_are_refused(values: object, text: str) -> None:
    with pytest.raises(DataError, match=text):
        as_matrix(values)
