"""Assignment of samples, and how typical they are."""

from __future__ import annotations

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


def fitted(method: str = "mixture") -> tuple[Assigner, np.ndarray]:
    acts, group = recorded()
    space = fit_space(acts, {"fc": np.arange(5)}, np.arange(ROWS))
    mixture = (
        Ascent(space.x).climb(one_hot(group, 2), 50)
        if method == "mixture"
        else spheres(space.x, group, 2)
    )
    return fit_assigner(Fitted(space.projection, mixture), space.values, method, 0), group


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


def test_own_typicality_is_the_rank_among_the_own_mechanism() -> None:
    assigner, group = fitted()
    typicality = assigner.own_typicality()
    for mechanism in (0, 1):
        own = group == mechanism
        ranks = np.argsort(np.argsort(-assigner.scores[own])) + 1
        assert typicality[own] == pytest.approx(ranks / own.sum())


def test_each_fold_is_judged_by_groups_that_did_not_see_it() -> None:
    assigner, group = fitted()
    acts, _ = recorded()
    values = assigner.whole.projection.read(acts)
    assert np.bincount(assigner.fold).tolist() == [ROWS // FOLDS] * FOLDS
    for fold, part in enumerate(assigner.parts):
        rows = assigner.fold == fold
        own = part.distances(values[rows])[np.arange(rows.sum()), group[rows]]
        assert assigner.scores[rows] == pytest.approx(own)
        assert not np.allclose(part.mixture.means, assigner.whole.mixture.means)


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
