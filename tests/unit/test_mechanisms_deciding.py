"""Shares of the neurons in a membership: they add up, and are right where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from neucept.activations import Activations
from neucept.mechanisms.assigner import Assigner, Fitted, fit_assigner
from neucept.mechanisms.deciding import decide, separations, spread_of
from neucept.mechanisms.features import Projection, Space, fit_space
from neucept.mechanisms.mixture import TAILS, Ascent, Mixture, one_hot, spheres

ROWS, NEURONS = 240, 6


def grouped(rows: int = ROWS, seed: int = 0, groups: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Correlated neurons of different scales; each group is far up in two of them."""
    rng = np.random.default_rng(seed)
    group = np.arange(rows) % groups
    x = rng.standard_normal((rows, NEURONS)) @ (np.eye(NEURONS) + 0.4)
    for each in range(groups):
        x[np.ix_(group == each, [2 * each, 2 * each + 1])] += 6.0
    return x * np.array([1.0, 10.0, 0.1, 1.0, 3.0, 1.0]), group


def assigner_of(
    method: str = "mixture", groups: int = 3, dimensions: int = NEURONS
) -> tuple[Assigner, np.ndarray]:
    values, group = grouped(groups=groups)
    acts = Activations.from_arrays({"fc": values}, np.zeros((ROWS, 2)))
    space = fit_space(acts, {"fc": np.arange(NEURONS)}, np.arange(ROWS))
    projection = space.projection.refitted(space.values, dimensions)
    space = Space(projection, space.values, projection.apply(space.values))
    mixture = (
        Ascent(space.x).climb(one_hot(group, groups), 50)
        if method == "mixture"
        else spheres(space.x, group, groups)
    )
    fitted = Fitted(space.projection, mixture)
    return fit_assigner(fitted, space.values, method, 0), space.values


@pytest.mark.parametrize("method", ["mixture", "kmeans"])
def test_shares_add_up_to_the_log_ratio_of_the_memberships(method: str) -> None:
    assigner, values = assigner_of(method)
    fresh = 0.6 * grouped(50, seed=1)[0]
    found = decide(assigner, spread_of(assigner.whole.projection, values), fresh)
    member = assigner.whole.mixture.membership(assigner.whole.projection.apply(fresh))
    best = np.sort(member, axis=1)[:, ::-1]
    assert np.array_equal(found.labels, member.argmax(axis=1))
    assert np.array_equal(found.rivals, member.argsort(axis=1)[:, -2])
    assert found.log_ratio == pytest.approx(np.log(best[:, 0] / best[:, 1]), rel=1e-6)
    assert found.start + found.shares.sum(axis=1) == pytest.approx(found.log_ratio, rel=1e-9)


def test_parts_are_squares_that_add_up_to_the_distance() -> None:
    assigner, values = assigner_of()
    found = decide(assigner, spread_of(assigner.whole.projection, values), values)
    apart = assigner.whole.mixture.distances(assigner.whole.projection.apply(values))
    own = apart[np.arange(ROWS), found.labels]
    assert (found.parts >= 0).all()
    assert found.distances == pytest.approx(own)
    assert found.parts.sum(axis=1) == pytest.approx(own)


def test_a_wrong_spread_bends_the_shares_but_never_their_sum() -> None:
    assigner, values = assigner_of(dimensions=3)
    spread = spread_of(assigner.whole.projection, values)
    right = decide(assigner, spread, values)
    wrong = decide(assigner, spread * np.linspace(0.5, 2, NEURONS), values)
    assert wrong.shares.sum(axis=1) == pytest.approx(right.shares.sum(axis=1))
    assert not np.allclose(wrong.shares, right.shares)
    assert right.start + right.shares.sum(axis=1) == pytest.approx(right.log_ratio)


def independent(spreads: np.ndarray, centres: np.ndarray) -> Assigner:
    """Groups of neurons that do not depend on each other, seen through a turned reduced space."""
    size = len(spreads)
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((size, size)))[0]
    axes = turn / spreads[:, None]
    projection = Projection(("fc",), (np.arange(size),), ("none",), np.zeros(size), axes)
    # Within a group each neuron has half of its spread: the whitener undoes that and the turn.
    whiteners = np.repeat((turn.T * 2)[None], len(centres), axis=0)
    mixture = Mixture(np.full(len(centres), 1 / len(centres)), centres @ axes, whiteners)
    fitted = Fitted(projection, mixture)
    none = np.zeros(0, dtype=int)
    return Assigner(fitted, (), none, none, np.zeros(0), none, 0)


def test_of_independent_neurons_each_loses_by_its_own_deviation() -> None:
    spreads = np.array([1.0, 10.0, 0.1])
    centres = np.array([[0.0, 0.0, 0.0], [3.0, 30.0, 0.0]])
    sample = np.array([[1.0, 5.0, 0.2]])
    found = decide(independent(spreads, centres), spreads, sample)
    squares = ((sample - centres) / (spreads / 2)) ** 2
    losses = (TAILS + 3) / 2 * np.log1p(squares.sum(axis=1) / TAILS)
    lost = squares / squares.sum(axis=1, keepdims=True) * losses[:, None]
    assert found.labels.tolist() == [0]
    assert found.start == pytest.approx([0.0], abs=1e-12)
    assert found.parts[0] == pytest.approx(squares[0])
    assert found.shares[0] == pytest.approx(lost[1] - lost[0])
    # The third neuron is as far from either centre, so the nearer mechanism loses more by it.
    assert found.shares[0, 2] < 0 < found.shares[0, 1]


def test_of_near_gaussian_groups_shares_are_log_likelihood_ratios(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neucept.mechanisms.deciding.TAILS", 1e9)
    spreads = np.array([1.0, 2.0])
    centres = np.array([[0.0, 0.0], [2.0, 4.0]])
    sample = np.array([[0.2, -1.0]])
    found = decide(independent(spreads, centres), spreads, sample)
    squares = ((sample - centres) / (spreads / 2)) ** 2
    assert found.shares[0] == pytest.approx((squares[1] - squares[0]) / 2, rel=1e-6)


def test_at_the_centre_nothing_is_far() -> None:
    spreads = np.ones(2)
    centres = np.array([[0.0, 0.0], [4.0, 0.0]])
    found = decide(independent(spreads, centres), spreads, centres[:1])
    assert found.distances == pytest.approx([0.0])
    assert not found.parts.any()
    assert found.shares[0, 0] == pytest.approx(found.log_ratio[0])
    assert found.shares[0, 1] == pytest.approx(0.0)


def test_one_mechanism_decides_nothing_but_tells_what_is_unusual() -> None:
    assigner, values = assigner_of(groups=1)
    odd = values.mean(axis=0, keepdims=True)
    odd[0, 1] += 80.0
    found = decide(assigner, spread_of(assigner.whole.projection, values), odd)
    assert found.rivals.tolist() == [-1]
    assert np.isnan(found.log_ratio).all()
    assert np.isnan(found.shares).all()
    assert found.parts[0].argmax() == 1


def test_a_constant_neuron_has_no_share() -> None:
    values, group = grouped()
    values = np.hstack([values, np.full((ROWS, 1), 7.0)])
    acts = Activations.from_arrays({"fc": values}, np.zeros((ROWS, 2)))
    space = fit_space(acts, {"fc": np.arange(NEURONS + 1)}, np.arange(ROWS))
    fitted = Fitted(space.projection, Ascent(space.x).climb(one_hot(group, 3), 50))
    assigner = fit_assigner(fitted, space.values, "mixture", 0)
    found = decide(assigner, spread_of(space.projection, space.values), space.values)
    assert found.shares[:, -1] == pytest.approx(0.0)
    assert found.shares.sum(axis=1) + found.start == pytest.approx(found.log_ratio)


def test_the_neurons_that_tell_two_groups_apart_speak_most() -> None:
    assigner, values = assigner_of()
    found = decide(assigner, spread_of(assigner.whole.projection, values), values)
    group = np.arange(ROWS) % 3
    # The mixture's own numbering: the group of most of its samples.
    own = np.array([np.bincount(group[found.labels == g]).argmax() for g in range(3)])
    marks = {2 * g + k for g in range(3) for k in (0, 1)}
    assert marks == set(range(NEURONS))
    hits = 0
    for row in range(ROWS):
        two = {int(n) for n in np.argsort(-found.shares[row])[:2]}
        telling = [2 * own[found.labels[row]], 2 * own[found.rivals[row]]]
        hits += two <= {n + k for n in telling for k in (0, 1)}
    assert hits > 0.9 * ROWS


def test_separations_are_distances_in_the_shape_of_a_mechanism() -> None:
    assigner, values = assigner_of()
    mixture = assigner.whole.mixture
    x = assigner.whole.projection.apply(values[:4])
    centres = mixture.means[:2]
    apart = separations(mixture, x, centres, 1)
    assert apart.shape == (4, 2)
    assert apart[:, 1] == pytest.approx(mixture.distances(x)[:, 1])
