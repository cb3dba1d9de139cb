"""Scores and predictions from logits, probabilities, and single columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neucept.activations import class_score, meaning_of, predicted_as, predictions_of
from neucept.errors import SettingsError

LOGITS = np.random.default_rng(0).normal(scale=4.0, size=(50, 4)).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def test_log_odds_of_logits_are_those_of_their_softmax() -> None:
    p = softmax(LOGITS).astype(np.float64)
    expected = np.log(p[:, 2] / (1 - p[:, 2]))
    np.testing.assert_allclose(class_score(LOGITS, 2), expected, rtol=1e-4)


@given(st.integers(0, 3), st.floats(0.1, 4))
def test_a_network_that_ends_in_a_softmax_has_the_same_score(target: int, scale: float) -> None:
    logits = LOGITS * scale
    np.testing.assert_allclose(
        class_score(softmax(logits), target), class_score(logits, target), rtol=1e-3, atol=1e-3
    )


def test_sure_probabilities_keep_their_order() -> None:
    logits = np.array([[30.0, 0.0], [40.0, 0.0], [60.0, 0.0]], dtype=np.float32)
    scores = class_score(softmax(logits), 0)
    np.testing.assert_allclose(scores, [30, 40, 60], rtol=1e-3)


def test_log_softmax_has_the_same_score() -> None:
    np.testing.assert_allclose(
        class_score(np.log(softmax(LOGITS)), 1), class_score(LOGITS, 1), rtol=1e-3, atol=1e-4
    )


def test_raw_scale_is_the_output() -> None:
    assert np.array_equal(class_score(LOGITS, 3, "raw"), LOGITS[:, 3].astype(np.float64))
    assert class_score(LOGITS, 3, "raw").dtype == np.float64


def test_single_column_of_logits() -> None:
    logit = LOGITS[:, :1]
    assert np.array_equal(class_score(logit, 1), logit[:, 0].astype(np.float64))
    assert np.array_equal(class_score(logit, 0), -logit[:, 0].astype(np.float64))
    assert np.array_equal(predictions_of(logit), (logit[:, 0] > 0).astype(np.int64))


def test_single_column_of_probabilities() -> None:
    p = np.array([[0.0], [0.25], [0.75], [1.0]], dtype=np.float32)
    expected = [np.log(1e-7 / (1 - 1e-7)), np.log(1 / 3), np.log(3), -np.log(1e-7 / (1 - 1e-7))]
    np.testing.assert_allclose(class_score(p, 1), expected, rtol=1e-6)
    np.testing.assert_allclose(class_score(p, 0), np.negative(expected), rtol=1e-6)
    assert predictions_of(p).tolist() == [0, 0, 1, 1]


def test_one_sigmoid_per_class() -> None:
    p = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.1]], dtype=np.float32)
    np.testing.assert_allclose(class_score(p, 1), np.log([4, 3 / 7]), rtol=1e-5)


def test_a_contrast_is_the_log_odds_of_two_classes_whatever_the_others_have() -> None:
    expected = LOGITS[:, 2].astype(np.float64) - LOGITS[:, 0]
    np.testing.assert_allclose(class_score(LOGITS, (2, 0)), expected)
    np.testing.assert_allclose(class_score(LOGITS, (0, 2)), -expected)
    np.testing.assert_allclose(class_score(LOGITS, (2, 0), "raw"), expected)
    np.testing.assert_allclose(class_score(softmax(LOGITS), (2, 0)), expected, rtol=1e-3, atol=1e-3)
    moved = LOGITS.copy()
    moved[:, [1, 3]] += 5 * np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    np.testing.assert_allclose(class_score(moved, (2, 0)), expected)


def test_a_contrast_of_sigmoids_and_of_a_lone_column() -> None:
    p = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.1]], dtype=np.float32)
    np.testing.assert_allclose(class_score(p, (0, 1)), np.log([9 / 4, 7 / 12]), rtol=1e-5)
    logit = LOGITS[:, :1]
    for scale in ("log_odds", "raw"):
        assert np.array_equal(class_score(logit, (1, 0), scale), class_score(logit, 1))
        assert np.array_equal(class_score(logit, (0, 1), scale), class_score(logit, 0))
    sure = np.array([[0.25], [0.75]], dtype=np.float32)
    np.testing.assert_allclose(class_score(sure, (1, 0)), [-np.log(3), np.log(3)], rtol=1e-6)
    assert [predicted_as(3), predicted_as((3, 5))] == [3, 3]


def test_predictions_are_the_largest_outputs() -> None:
    assert predictions_of(LOGITS).tolist() == [int(np.argmax(row)) for row in LOGITS]
    assert predictions_of(LOGITS).dtype == np.int64


@pytest.mark.parametrize("target", [4, -1, True, (1, 1), (0, 9), (0, -1)])
def test_absent_classes_are_refused(target) -> None:
    with pytest.raises(SettingsError, match="target is"):
        class_score(LOGITS, target)


def test_what_outputs_mean_is_told_from_all_of_them() -> None:
    apart = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.1]], dtype=np.float32)
    assert meaning_of(LOGITS) == meaning_of(LOGITS[:, :1]) == "logits"
    assert meaning_of(softmax(LOGITS)) == "softmax"
    assert meaning_of(apart) == meaning_of(softmax(LOGITS)[:, :1]) == "sigmoid"


@pytest.mark.parametrize("target", [0, 1])
def test_outputs_whose_meaning_is_known_are_not_judged_by_their_values(target: int) -> None:
    weak = np.array([[0.1, 0.05], [0.4, 0.6]], dtype=np.float32)
    sign = 1 - 2 * target
    expected = sign * (weak[:, 0] - weak[:, 1]).astype(np.float64)
    np.testing.assert_allclose(class_score(weak, target, meaning="logits"), expected, rtol=1e-5)
    lone = weak[:, :1]
    np.testing.assert_allclose(class_score(lone, target, meaning="logits"), -sign * lone[:, 0])
    assert predictions_of(lone, "logits").tolist() == [1, 1]
    assert predictions_of(lone, "sigmoid").tolist() == [0, 0]
    raw = class_score(lone, target, "raw", meaning="sigmoid")
    np.testing.assert_allclose(raw, -sign * lone[:, 0])
    odds = np.log(weak[:, target] / weak[:, 1 - target])
    np.testing.assert_allclose(class_score(weak, target, meaning="softmax"), odds, rtol=1e-5)
