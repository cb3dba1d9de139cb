"""What is said of each mechanism."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from neucept.activations import Activations
from neucept.mechanisms.describe import (
    SIGNATURE_COLUMNS,
    picture,
    prototypes,
    signature,
    size_table,
)
from neucept.mechanisms.features import fit_space

RNG = np.random.default_rng(0)
LABELS = np.arange(300) % 3


def grouped(size: int = 6) -> np.ndarray:
    """Three groups apart along three dimensions."""
    x = RNG.standard_normal((300, size))
    x[np.arange(300), LABELS] += 7.0
    return x


def test_the_signature_names_the_neuron_that_a_mechanism_raises() -> None:
    x = grouped()
    acts = Activations.from_arrays({"fc": x}, outputs=np.zeros((300, 2)))
    used = np.array([0, 1, 2, 5])
    table = signature(fit_space(acts, {"fc": used}, np.arange(300)), LABELS, 3)
    assert tuple(table.columns) == SIGNATURE_COLUMNS
    assert len(table) == 3 * 4
    for mechanism, rows in table.groupby("mechanism"):
        top = rows.iloc[0]
        assert (top["layer"], top["neuron"]) == ("fc", mechanism)
        assert top["difference"] > 3
        assert (rows["difference"].abs().diff().dropna() <= 0).all()
        own, others = x[LABELS == mechanism, mechanism], x[LABELS != mechanism, mechanism]
        expected = [*np.quantile(own, (0.1, 0.5, 0.9)), *np.quantile(others, (0.1, 0.5, 0.9))]
        assert list(top.iloc[3:9]) == pytest.approx(expected, abs=1e-5)


def test_the_signature_of_one_mechanism_has_nothing_to_compare_with() -> None:
    acts = Activations.from_arrays({"fc": grouped()}, outputs=np.zeros((300, 2)))
    space = fit_space(acts, {"fc": np.arange(6)}, np.arange(300))
    table = signature(space, np.zeros(300, dtype=int), 1)
    assert table["median"].notna().all()
    assert table[["others_median", "difference"]].isna().all().all()


def test_a_neuron_that_does_not_vary_has_no_difference() -> None:
    x = np.column_stack([grouped(), np.ones(300)])
    acts = Activations.from_arrays({"fc": x}, outputs=np.zeros((300, 2)))
    table = signature(fit_space(acts, {"fc": np.arange(7)}, np.arange(300)), LABELS, 3)
    assert table[table["neuron"] == 6]["difference"].isna().all()


def test_sizes_accuracy_and_confidence_are_those_of_the_members() -> None:
    logits = np.column_stack([np.full(6, 2.0), np.zeros(6)])
    labels = np.array([0, 0, 1, 0, 1, 1])
    acts = Activations.from_arrays({"fc": np.zeros((6, 1))}, logits, labels)
    samples = np.array([0, 1, 2, 4, 5])
    table = size_table(acts, 0, samples, np.array([0, 0, 0, 1, 1]), np.array([0.9, 0.8]))
    assert list(table["size"]) == [3, 2]
    assert list(table["share"]) == pytest.approx([0.6, 0.4])
    assert list(table["accuracy"]) == pytest.approx([2 / 3, 0.0])
    assert list(table["confidence"]) == pytest.approx([1 / (1 + np.exp(-2))] * 2)
    unlabelled = Activations.from_arrays({"fc": np.zeros((6, 1))}, logits)
    table = size_table(unlabelled, 0, samples, np.zeros(5, dtype=int), np.ones(1))
    assert table["accuracy"].isna().all()


def test_prototypes_are_the_nearest_of_their_own() -> None:
    samples = np.arange(100, 400)
    distances = RNG.random(300)
    found = prototypes(samples, LABELS, distances, 3)
    for mechanism, positions in enumerate(found):
        own = np.flatnonzero(LABELS == mechanism)
        assert positions == [100 + int(i) for i in own[np.argsort(distances[own])][:12]]


def test_the_picture_keeps_mechanisms_apart() -> None:
    # The widest directions say nothing; a principal-component view would show them.
    x = np.column_stack([grouped(), 40 * RNG.standard_normal((300, 2))])
    places = picture(x, LABELS, 3)
    assert places.shape == (300, 2)
    assert silhouette_score(places, LABELS) > 0.6
    assert np.array_equal(places, picture(x, LABELS, 3))


def test_pairs_that_are_hard_to_tell_apart_count_as_much_as_far_ones() -> None:
    # Three groups far apart in a plane, the fourth close to the first, off the plane.
    labels = np.arange(400) % 4
    centres = np.array([[0, 0, 0], [90, 0, 0], [0, 90, 0], [0, 0, 8]], dtype=float)
    x = RNG.standard_normal((400, 3)) + centres[labels]
    places, near = picture(x, labels, 4), np.isin(labels, (0, 3))
    assert silhouette_score(places[near], labels[near]) > 0.5
    assert silhouette_score(places, labels) > 0.7


@pytest.mark.parametrize(("size", "groups"), [(6, 1), (6, 2), (1, 2), (1, 1), (2, 3)])
def test_there_is_a_picture_of_any_shape(size: int, groups: int) -> None:
    labels = LABELS % groups
    x = RNG.standard_normal((300, size)) + 5 * labels[:, None]
    places = picture(x, labels, groups)
    assert places.shape == (300, 2)
    assert np.isfinite(places).all()
    if size > 1:
        assert (places.std(axis=0) > 0.1).all()
