"""Divergences and entropies whose values are known, and that few draws do not bias them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_expit, log_softmax

from neucept.errors import SettingsError
from neucept.evaluation.nats import log_probabilities, lost, mean_and_error, total


def binary(logits: np.ndarray) -> np.ndarray:
    return np.stack([log_expit(logits), log_expit(-logits)], axis=1)


def plugged_in(truth: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The divergence from the mean over draws, as it stands."""
    mean = np.log(np.exp(drawn).mean(axis=2))
    return np.sum(np.exp(truth) * (truth - mean), axis=1)


@pytest.mark.parametrize("strength", [0.5, 2.0, 4.0])
def test_few_draws_do_not_bias_the_divergence(strength: float) -> None:
    rng = np.random.default_rng(0)
    truth = binary(strength * rng.standard_normal(40_000))
    many = rng.standard_normal((1, 400_000)) * strength
    exact = float(plugged_in(truth, np.log(np.exp(binary(many)).mean(2, keepdims=True))).mean())
    few = binary(strength * rng.standard_normal((len(truth), 8)))
    raw, corrected = (measure(truth, few) for measure in (plugged_in, lost))
    assert raw.mean() > 1.08 * exact
    mean, error = mean_and_error(corrected)
    assert mean == pytest.approx(exact, rel=0.04)
    assert abs(mean - exact) < 4 * error + 0.03 * exact


def test_draws_that_change_nothing_lose_nothing_and_the_correction_is_bounded() -> None:
    truth = binary(np.array([-800.0, -3.0, 0.0, 50.0]))
    assert lost(truth, np.repeat(truth[:, :, None], 4, axis=2)) == pytest.approx(0.0, abs=1e-12)
    # One of four draws has all the mass: log 4 as it stands, at most half a nat less.
    one = np.stack([binary(np.array([v])) for v in (60.0, -60.0, -60.0, -60.0)], axis=2)
    sure = binary(np.array([60.0]))
    assert lost(sure, one) == pytest.approx(np.log(4) - 0.5, abs=1e-6)


def test_the_total_is_mutual_information_and_few_samples_do_not_bias_it() -> None:
    # Four sure classes, one sample in four each: log 4 nats, of which few samples lose much.
    rng = np.random.default_rng(1)
    sure = np.log(np.full((4, 4), 1e-9) + np.eye(4))
    everyone = sure[np.arange(4000) % 4]
    assert total(everyone).mean() == pytest.approx(np.log(4), abs=1e-3)
    means = [total(sure[rng.integers(4, size=20)]).mean() for _ in range(400)]
    assert np.mean(means) == pytest.approx(np.log(4), abs=4 * np.std(means) / 20 + 0.01)
    assert np.mean(means) > np.log(4) - 0.03 > np.log(4) - 3 / 40
    alike = np.repeat(sure[:1], 30, axis=0)
    assert total(alike) == pytest.approx(0.0, abs=1e-9)


def test_probabilities_follow_from_what_the_outputs_are() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [30.0, 0.0, -4.0]])
    classes = log_probabilities(logits, 1, "classes", "logits")
    assert classes == pytest.approx(log_softmax(logits, axis=1))
    target = log_probabilities(logits, 1, "target", "logits")
    assert target[:, 0] == pytest.approx(classes[:, 1])
    assert np.exp(target).sum(1) == pytest.approx(1.0)
    softmax = np.exp(classes)
    assert log_probabilities(softmax, 1, "classes", "softmax") == pytest.approx(classes)
    alone = np.array([[0.7], [-2.0]])
    for of in ("target", "classes"):
        assert log_probabilities(alone, 1, of, "logits")[:, 0] == pytest.approx(
            log_expit(alone[:, 0])
        )
    with pytest.raises(SettingsError, match="Pass 'target'"):
        log_probabilities(softmax, 1, "classes", "sigmoid")
    with pytest.raises(SettingsError, match="of is 'odds'"):
        log_probabilities(softmax, 1, "odds", "softmax")
