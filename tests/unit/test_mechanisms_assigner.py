"""Assignment of samples, and how typical they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neucept.activations import Activations
from neucept.errors import ModelError
from neucept.mechanisms.assigner import FOLDS, Assigner, Fitted, fit_assigner
from neucept.mechanisms.features import fit_space
from neucept.mechanisms.mixture import Ascent, one_hot, spheres

ROWS = 240


def recorded(rows: int = ROWS, seed: int = 0) -> tuple[Activations, np.ndarray]:
    rng = np.random.default_rng(seed)
    group = (np.arange(rows) % 4 == 0).astype(int)
    x = rng.standard_normal((rows, 5)) + 6.0 * group[:, None]
    return Activations.from_arrays({"fc": x}, np.zeros((rows, 2))), group


def fitted(
    method: str = "mixture", together: np.ndarray | None = None
) -> tuple[Assigner, np.ndarray]:
    acts, group = recorded()
    space = fit_space(acts, {"fc": np.arange(5)}, np.arange(ROWS))
    mixture = (
        Ascent(space.x).climb(one_hot(group, 2), 50)
        if method == "mixture"
        else spheres(space.x, group, 2)
    )
    return fit_assigner(Fitted(space.projection, mixture), space.values, method, 0, together), group


@pytest.mark.parametrize("method", ["mixture", "kmeans"])
def test_typicality_of_unseen_samples_is_a_p_value(method: str) -> None:
    assigner, _ = fitted(method)
    fresh, group = recorded(4000, seed=1)
    assigned = assigner.assign(fresh)
    assert (assigned.labels == group).mean() > 0.99
    for level in (0.1, 0.5):
        for mechanism in (0, 1):
            share = (assigned.typicality[group == mechanism] <= level).mean()
            calibration = (level * (1 - level) / (group[:ROWS] == mechanism).sum()) ** 0.5
            assert abs(share - level) < 4 * calibration


def test_own_typicality_is_the_rank_among_the_own_mechanism_ties_aside() -> None:
    assigner, group = fitted()
    typicality = assigner.own_typicality()
    assert np.array_equal(typicality, assigner.own_typicality())
    for mechanism in (0, 1):
        own = group == mechanism
        beyond = np.argsort(np.argsort(-assigner.scores[own]))
        # Scores differ, so the draw moves a sample within its own step only.
        place = typicality[own] * own.sum() - beyond
        assert ((place > 0) & (place < 1)).all()
        assert place.std() > 0.2


def test_samples_that_are_equal_get_different_and_uniform_p_values() -> None:
    assigner, _ = fitted()
    level = replace(assigner, scores=np.ones(ROWS))
    typicality = level.own_typicality()
    assert abs(typicality.mean() - 0.5) < 4 * (1 / 12 / ROWS) ** 0.5
    assert len(np.unique(typicality)) == ROWS


def test_typicality_does_not_depend_on_the_company() -> None:
    assigner, _ = fitted()
    fresh, _ = recorded(50, seed=2)
    part = Activations.from_arrays({"fc": fresh.matrix("fc")[7:9]}, np.zeros((2, 2)))
    both = assigner.assign(fresh).typicality
    assert np.array_equal(assigner.assign(part).typicality, both[7:9])
    assert not np.array_equal(replace(assigner, seed=1).assign(fresh).typicality, both)


def test_each_fold_is_judged_by_groups_that_did_not_see_it() -> None:
    assigner, group = fitted()
    acts, _ = recorded()
    values = assigner.whole.projection.read(acts)
    assert np.bincount(assigner.fold).tolist() == [ROWS // FOLDS] * FOLDS
    for fold, part in enumerate(assigner.parts):
        rows = assigner.fold == fold
        labels, scores = part.nearest(values[rows])
        assert assigner.scores[rows] == pytest.approx(scores)
        assert np.array_equal(assigner.labels[rows], labels)
        assert np.array_equal(labels, group[rows])
        assert not np.allclose(part.mixture.means, assigner.whole.mixture.means)


def test_samples_that_belong_together_share_a_fold_and_count_as_one() -> None:
    together = np.arange(ROWS) // 8
    assigner, _ = fitted(together=together)
    for each in range(ROWS // 8):
        assert len(set(assigner.fold[together == each])) == 1
    alone, _ = fitted()
    # 30 groups, all in both mechanisms: no p-value is below the draw's share of 1 / 31.
    odd = Activations.from_arrays(
        {"fc": np.full((400, 5), 90.0) + np.arange(400)[:, None]}, np.zeros((400, 2))
    )
    assert 0.8 / 31 < assigner.assign(odd).typicality.max() < 1 / 31
    assert alone.assign(odd).typicality.max() < 1 / 61
    again = Assigner.from_arrays(assigner.to_arrays())
    assert np.array_equal(again.assign(odd).typicality, assigner.assign(odd).typicality)
    own = assigner.own_typicality()
    assert abs((own <= 0.5).mean() - 0.5) < 0.15


def test_an_older_file_takes_samples_to_stand_alone() -> None:
    assigner, _ = fitted()
    arrays = assigner.to_arrays()
    del arrays["assigner.together"], arrays["assigner.seed"]
    fresh, _ = recorded(50, seed=2)
    again = Assigner.from_arrays(arrays).assign(fresh)
    assert np.array_equal(again.typicality, assigner.assign(fresh).typicality)


def test_foreign_samples_are_untypical() -> None:
    assigner, _ = fitted()
    odd = np.array([[0, 0, 0, 0, 30.0], [3, 3, 3, 3, 3.0]])
    foreign = Activations.from_arrays({"fc": odd}, np.zeros((2, 2)))
    assert (assigner.assign(foreign).typicality < 0.02).all()


def test_the_assigner_survives_plain_arrays() -> None:
    assigner, _ = fitted()
    arrays = assigner.to_arrays()
    assert not any(array.dtype.hasobject for array in arrays.values())
    fresh, _ = recorded(50, seed=2)
    one, two = assigner.assign(fresh), Assigner.from_arrays(arrays).assign(fresh)
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.membership, two.membership)
    assert np.array_equal(one.typicality, two.typicality)


def test_activations_of_another_network_are_refused() -> None:
    assigner, _ = fitted()
    narrow = Activations.from_arrays({"fc": np.zeros((3, 4))}, np.zeros((3, 2)))
    with pytest.raises(ModelError, match="has 4 neurons, neuron 4 is asked for"):
        assigner.assign(narrow)
    other = Activations.from_arrays({"fc1": np.zeros((3, 5))}, np.zeros((3, 2)))
    with pytest.raises(ModelError, match="Did you mean 'fc1'"):
        assigner.assign(other)
