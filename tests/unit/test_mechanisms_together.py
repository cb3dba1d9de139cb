"""Samples that belong together are numbered, and dealt whole."""

from __future__ import annotations

import numpy as np
import pytest

from neucept.errors import DataError
from neucept.mechanisms.together import check_together, deal, group_codes, shares


def test_ids_of_any_kind_are_numbered_in_their_order() -> None:
    assert group_codes(["b", "a", "b"], 3).tolist() == [0, 1, 0]
    assert group_codes(np.array([7.5, 7.5, 2.0]), 3).tolist() == [0, 0, 1]
    with pytest.raises(DataError, match="Sample 1 has no group"):
        group_codes([1.0, float("nan"), 2.0], 3)
    with pytest.raises(DataError, match="of length 2"):
        group_codes(np.zeros((2, 2)), 2)


def test_only_the_samples_of_the_class_count() -> None:
    groups = np.repeat(np.arange(30), 2)
    together = check_together(groups, 60, np.arange(0, 60, 2), 0)
    assert together is not None
    assert together.tolist() == list(range(30))
    assert check_together(None, 60, np.arange(60), 0) is None
    with pytest.raises(DataError, match="The 8 samples of class 3 are of 4 groups"):
        check_together(groups, 60, np.arange(8), 3)


def test_groups_are_dealt_whole_and_evenly() -> None:
    together = np.random.default_rng(0).integers(0, 40, 400)
    part = deal(together, 5, np.random.default_rng(1))
    for group in range(40):
        assert len(set(part[together == group])) == 1
    sizes = np.bincount(part, minlength=5)
    assert sizes.max() - sizes.min() < 25
    assert not np.array_equal(part, deal(together, 5, np.random.default_rng(2)))


def test_every_group_counts_as_one() -> None:
    together = np.array([3, 3, 3, 5, 9, 9])
    assert shares(together, 6) == pytest.approx([1 / 3] * 3 + [1.0, 0.5, 0.5])
    assert shares(None, 2).tolist() == [1.0, 1.0]
