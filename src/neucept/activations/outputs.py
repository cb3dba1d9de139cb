"""From a network's outputs to predictions and to one score per class."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from neucept.errors import SettingsError, near_names

Scale = Literal["log_odds", "raw"]

Meaning = Literal["logits", "softmax", "sigmoid"]

Target = int | tuple[int, int]
"""What is explained: a class, or a contrast, the first class of a pair rather than the second."""

LEAST_PROBABILITY = 1e-7
"""A lone probability is kept this far from 0 and 1; float32 has hardly any values nearer to 1."""

_TINY = float(np.finfo(np.float32).tiny)
_SUM_TOLERANCE = 1e-3


def meaning_of(outputs: Float[np.ndarray, "samples columns"]) -> Meaning:
    """What a network's outputs are, told from their values.

    Probabilities are all in [0, 1], with rows that sum to 1 (softmax) or not (one sigmoid per
    class, or a lone probability); anything else is taken for logits. A few weak logits may all lie
    in [0, 1], so ask once, with the outputs for all samples and with nothing cut.

    Args:
        outputs: What the network returned.
    """
    if not ((outputs >= 0.0) & (outputs <= 1.0)).all():
        return "logits"
    sums = outputs.astype(np.float64).sum(axis=1)
    several = outputs.shape[1] > 1
    return "softmax" if several and np.allclose(sums, 1.0, atol=_SUM_TOLERANCE) else "sigmoid"


def predictions_of(
    outputs: Float[np.ndarray, "samples classes"], meaning: Meaning | None = None
) -> Int[np.ndarray, " samples"]:
    """The class with the largest output; of a single column, whether it speaks for class 1.

    Args:
        outputs: Logits or probabilities. One column is a binary classifier: the score of class 1.
        meaning: Which of them, where it is known; None to tell it from these values.

    Returns:
        Class indices, int64.
    """
    if outputs.shape[1] > 1:
        return np.asarray(outputs.argmax(axis=1), dtype=np.int64)
    boundary = 0.0 if (meaning or meaning_of(outputs)) == "logits" else 0.5
    return np.asarray(outputs[:, 0] > boundary, dtype=np.int64)


def class_count(outputs: Float[np.ndarray, "samples columns"]) -> int:
    """How many classes the outputs tell apart: two for a single column."""
    return max(2, int(outputs.shape[1]))


def class_score(
    outputs: Float[np.ndarray, "samples columns"],
    target: Target,
    scale: Scale = "log_odds",
    meaning: Meaning | None = None,
) -> Float[np.ndarray, " samples"]:
    """How strongly the network speaks for a class, per sample.

    Args:
        outputs: What the network returned. One column is a binary classifier: the score of class 1.
        target: Index of the class, or a pair of two for a contrast: how strongly it speaks for
            the first rather than for the second.
        scale: ``"log_odds"``: the log-odds of the class against all others, in nats; of a pair, of
            the first against the second alone, whatever the other classes have.
            ``"raw"``: the output itself, as the published method uses it; of a pair, the first
            minus the second.
        meaning: Whether the outputs are logits or probabilities, where it is known; None to tell
            it from these values.

    Returns:
        Scores, float64.

    Raises:
        SettingsError: `target` is not a class of these outputs, or `scale` is unknown.
    """
    check_target(target, class_count(outputs))
    if scale not in ("log_odds", "raw"):
        raise SettingsError(f"scale is {scale!r}. {near_names(str(scale), ('log_odds', 'raw'))}")
    values = outputs.astype(np.float64)
    meaning = "logits" if scale == "raw" else meaning or meaning_of(outputs)
    if isinstance(target, tuple):
        return _contrast(values, target, meaning)
    if values.shape[1] == 1:
        score = values[:, 0] if meaning == "logits" else _log_odds(values[:, 0])
        return score if target == 1 else -score
    if scale == "raw":
        return np.asarray(values[:, target])
    others = np.delete(values, target, axis=1)
    if meaning == "logits":
        return np.asarray(values[:, target] - logsumexp(others, axis=1))
    if meaning == "softmax":
        # The others' sum keeps its precision where 1 - p has lost it.
        against = others.sum(axis=1)
        ratio = np.maximum(values[:, target], _TINY) / np.maximum(against, _TINY)
        return np.asarray(np.log(ratio))
    return _log_odds(values[:, target])


def _log_odds(probability: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    p = np.clip(probability, LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
    return np.asarray(np.log(p) - np.log1p(-p))


def _contrast(
    values: Float[np.ndarray, "samples columns"], pair: tuple[int, int], meaning: Meaning
) -> Float[np.ndarray, " samples"]:
    """The log-odds of one class against another; of logits, their difference."""
    first, second = pair
    if values.shape[1] == 1:
        # A lone column is the difference of its two classes already.
        score = values[:, 0] if meaning == "logits" else _log_odds(values[:, 0])
        return np.asarray(score if first == 1 else -score)
    if meaning == "logits":
        return np.asarray(values[:, first] - values[:, second])
    if meaning == "softmax":
        logs = np.log(np.maximum(values[:, list(pair)], _TINY))
        return np.asarray(logs[:, 0] - logs[:, 1])
    return np.asarray(_log_odds(values[:, first]) - _log_odds(values[:, second]))


def predicted_as(target: Target) -> int:
    """The class whose predictions are explained: of a contrast, the first."""
    return int(target[0] if isinstance(target, tuple) else target)


def check_target(target: object, classes: int) -> None:
    """Refuse what is no class, and no pair of different classes.

    Args:
        target: As in `class_score`.
        classes: How many there are.

    Raises:
        SettingsError: as said.
    """
    if isinstance(target, tuple):
        if len(target) != 2 or target[0] == target[1]:
            raise SettingsError(f"target is {target!r}. Pass one class or two different ones.")
        for one in target:
            _check_class(one, classes)
    else:
        _check_class(target, classes)


def _check_class(target: object, classes: int) -> None:
    whole = isinstance(target, int | np.integer) and not isinstance(target, bool)
    if not whole or not 0 <= int(target) < classes:  # type: ignore[call-overload]
        raise SettingsError(
            f"target is {target!r}, but the outputs have classes 0 to {classes - 1}. "
            "Pass one of these."
        )
