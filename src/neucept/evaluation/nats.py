"""Information in predictions, in nats: what is lost when neurons are drawn anew, and what there is.

Both are functions of means over few draws or samples. Their biases, of order one over the number
that is averaged, are corrected.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import log_expit, log_softmax, logsumexp

from neucept.activations.outputs import Meaning, class_score
from neucept.errors import SettingsError, near_names

OF = ("target", "classes")
LogProbabilities = Float[np.ndarray, "samples outcomes"]

_TINY = float(np.finfo(np.float32).tiny)


def log_probabilities(
    outputs: Float[np.ndarray, "samples columns"],
    target: int | tuple[int, int],
    of: str,
    meaning: Meaning,
) -> LogProbabilities:
    """The logarithm of what the network gives each outcome.

    Args:
        outputs: What the network returned.
        target: The class.
        of: "target" (the class, or another) or "classes".
        meaning: Of the outputs.

    Raises:
        SettingsError: `of` is unknown, or there is no distribution over the classes.
    """
    if of not in OF:
        raise SettingsError(f"of is {of!r}. {near_names(str(of), OF)}")
    if of == "target" or outputs.shape[1] == 1:
        score = class_score(outputs, target, meaning=meaning)
        return np.stack([log_expit(score), log_expit(-score)], axis=1)
    values = outputs.astype(np.float64)
    if meaning == "sigmoid":
        raise SettingsError(
            "of is 'classes', but the network's outputs are no distribution over its classes: one "
            "probability each. Pass 'target'."
        )
    logits = values if meaning == "logits" else np.log(np.maximum(values, _TINY))
    return np.asarray(log_softmax(logits, axis=1))


def lost(
    truth: LogProbabilities, drawn: Float[np.ndarray, "samples outcomes draws"]
) -> Float[np.ndarray, " samples"]:
    """Divergence of each true prediction from the mean one over draws, in nats.

    With p the prediction and m the mean of R independent ones around mu, sum p log(p / m) is too
    high by sum p var / (2 R mu^2) in the mean, up to terms of order 1 / R^2, since -log is convex.
    That is taken away, with the variance among the draws and m for mu. It is at most half a nat,
    where a jackknife over draws has no bound and fails at few draws and steep networks.

    Args:
        truth: Log-probabilities with every neuron as it is.
        drawn: Log-probabilities with some neurons drawn anew; at least 2 draws.

    Returns:
        Divergences; the correction can bring a small one below 0.
    """
    count = drawn.shape[2]
    mean = logsumexp(drawn, axis=2) - np.log(count)
    ratios = np.exp(drawn - mean[:, :, None])
    excess = ratios.var(axis=2, ddof=1) / (2 * count)
    return np.asarray(np.sum(np.exp(truth) * (truth - mean - excess), axis=1))


def total(truth: LogProbabilities) -> Float[np.ndarray, " samples"]:
    """What neurons tell about the prediction, in nats: one value per sample, to be averaged.

    The entropy of the mean prediction minus the mean entropy of predictions; as jackknife
    pseudo-values over samples, for the first is too low by order 1 / samples.

    Args:
        truth: Log-probabilities; at least 2 samples.

    Returns:
        Values whose mean is the figure, and whose spread gives its standard error.
    """
    samples = len(truth)
    p = np.exp(truth)
    own = -np.sum(p * truth, axis=1)
    whole = p.sum(axis=0)
    figure = _entropy(whole / samples) - own.mean()
    others = np.maximum(whole - p, 0.0) / (samples - 1)
    without = _entropy(others) - (own.sum() - own) / (samples - 1)
    return np.asarray(samples * figure - (samples - 1) * without)


def _entropy(p: Float[np.ndarray, "*rows outcomes"]) -> Float[np.ndarray, "*rows"]:
    return np.asarray(-np.sum(p * np.log(np.maximum(p, _TINY)), axis=-1))


def mean_and_error(values: Float[np.ndarray, " samples"]) -> tuple[float, float]:
    """Mean over samples and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
