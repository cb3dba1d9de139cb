from __future__ import annotations

import numpy as np
import pytest

from neucept.knockoffs.moments import Folds, Moments, fold_moments, fold_rows, near_root


def of(x: np.ndarray, y: np.ndarray) -> Moments:
    return fold_moments([x], y, [slice(None)])[0]


def same(one: Moments, other: Moments) -> None:
    assert one.rows == other.rows
    for name in ("means", "target_means", "gram", "cross", "power"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.standard_normal((37, 5)) + 3, random.standard_normal((37, 2)) - 1


@pytest.mark.parametrize("contiguous", [True, False])
def test_folds_partition_the_rows_and_add_up(data, contiguous: bool) -> None:
    x, y = data
    rows = fold_rows(37, 5, contiguous=contiguous)
    assert sorted(np.concatenate([np.arange(37)[fold] for fold in rows])) == list(range(37))
    parts = fold_moments([x[:, :2], x[:, 2:]], y, rows)
    folds = Folds.of(parts)
    whole, x = folds.whole, x / folds.units
    assert folds.parts[0].gram.dtype == np.float32
    same(whole, of(x, y))
    kept = np.ones(37, dtype=bool)
    kept[rows[2]] = False
    same(whole.minus(parts[2].divided(folds.units)), of(x[kept], y[kept]))


def test_what_is_constant_on_the_rows_left_has_no_spread(data) -> None:
    x, y = data
    rows = fold_rows(37, 2, contiguous=True)
    x[:, 3] = 1e4
    x[rows[0], 3] += np.arange(19)
    folds = Folds.of(fold_moments([x], y, rows))
    left = folds.whole.minus(folds.parts[0])
    assert left.gram[3, 3] == 0
    assert not left.gram[3].any() and not left.cross[3].any()
    assert left.gram[2, 2] > 0


@pytest.mark.parametrize("singular", [False, True])
def test_a_near_root_has_the_same_moments(data, singular: bool) -> None:
    x, y = data
    if singular:
        x = np.c_[x, x[:, 0], np.ones(len(x))]
    gram = of(x, y).gram
    root = near_root(gram)
    assert np.array_equal(root, np.triu(root))
    np.testing.assert_allclose(root.T @ root, gram, atol=1e-8)
