"""Targets that depend on a known set of neurons, planted on given activations.

A new kind is a function of the chosen neurons and one line in `PLANTED`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp

from neucept.errors import DataError, SettingsError, near_names
from neucept.knockoffs.sampling import Sampler
from neucept.knockoffs.screening import ROUNDING, as_matrix
from neucept.knockoffs.selection import Selection
from neucept.runtime import check_seed, derived_seed, generator, is_real, is_whole, run_tasks

UNITS = 16
"""Hidden units of the network kind."""

CLASSES = 10
"""Outputs of the log-odds kind."""

_CONFIDENCE = 3.0
"""Spread of such an output: enough that one mostly stands out."""

_STEEPNESS = 2.0
"""Spread of what enters a hidden unit: enough to saturate it, so that it is far from linear."""

_ATTEMPTS = 5
"""Sets of neurons tried until each of them matters for the target."""


@dataclass(frozen=True, eq=False)
class Planted:
    """A target and the neurons that it depends on.

    By construction every neuron outside the set is independent of `y` given those inside.

    Attributes:
        y: The target: `clean` and independent noise.
        neurons: The planted set, ascending.
        kind: The form of the function, one of `PLANTED`.
        noise: Standard deviation of the noise, in standard deviations of `clean`.
        clean: The function's values, with mean 0 and variance 1.
    """

    y: Float[np.ndarray, " samples"] = field(repr=False)
    neurons: Int[np.ndarray, " planted"]
    kind: str
    noise: float
    clean: Float[np.ndarray, " samples"] = field(repr=False)


Form = Callable[
    [Float[np.ndarray, "samples chosen"], Float[np.ndarray, " chosen"], np.random.Generator],
    Float[np.ndarray, " samples"],
]
"""From the chosen neurons (mean 0, variance 1), their weights and randomness to a target."""


def _linear(
    z: Float[np.ndarray, "samples chosen"],
    weights: Float[np.ndarray, " chosen"],
    random: np.random.Generator,
) -> Float[np.ndarray, " samples"]:
    return np.asarray(z @ weights)


def _relu(
    z: Float[np.ndarray, "samples chosen"],
    weights: Float[np.ndarray, " chosen"],
    random: np.random.Generator,
) -> Float[np.ndarray, " samples"]:
    return np.asarray(np.maximum(z @ weights, 0.0))


def _network(
    z: Float[np.ndarray, "samples chosen"],
    weights: Float[np.ndarray, " chosen"],
    random: np.random.Generator,
) -> Float[np.ndarray, " samples"]:
    inner = random.standard_normal((len(weights), UNITS)) * _STEEPNESS / np.sqrt(len(weights))
    return np.asarray(np.tanh((z * weights) @ inner) @ random.standard_normal(UNITS))


def _even(
    z: Float[np.ndarray, "samples chosen"],
    weights: Float[np.ndarray, " chosen"],
    random: np.random.Generator,
) -> Float[np.ndarray, " samples"]:
    return np.asarray(np.abs(z) @ weights)


def _product(
    z: Float[np.ndarray, "samples chosen"],
    weights: Float[np.ndarray, " chosen"],
    random: np.random.Generator,
) -> Float[np.ndarray, " samples"]:
    pairs = len(weights) // 2
    return np.asarray((z[:, :pairs] * z[:, pairs : 2 * pairs]) @ weights[:pairs])


def _threshold(
    z: Float[np.ndarray, "samples chosen"],
    weights: Float[np.ndarray, " chosen"],
    random: np.random.Generator,
) -> Float[np.ndarray, " samples"]:
    return np.asarray((z > np.median(z, axis=0)) @ weights)


def _max(
    z: Float[np.ndarray, "samples chosen"],
    weights: Float[np.ndarray, " chosen"],
    random: np.random.Generator,
) -> Float[np.ndarray, " samples"]:
    return np.asarray((z * weights).max(axis=1))


def _log_odds(
    z: Float[np.ndarray, "samples chosen"],
    weights: Float[np.ndarray, " chosen"],
    random: np.random.Generator,
) -> Float[np.ndarray, " samples"]:
    free = random.standard_normal((len(weights), CLASSES)) * weights[:, None]
    outputs = z @ (z.T @ (z @ free))
    outputs *= _CONFIDENCE / outputs.std(0)
    return np.asarray(outputs[:, 0] - logsumexp(outputs[:, 1:], axis=1))


PLANTED: dict[str, Form] = {
    "linear": _linear,
    "relu": _relu,
    "network": _network,
    "even": _even,
    "product": _product,
    "threshold": _threshold,
    "max": _max,
    "log_odds": _log_odds,
}
"""Each kind's function.

"linear": a weighted sum; "relu": one ReLU of it; "network": 16 tanh units; "even": a weighted sum
of absolute values; "product": of products of disjoint pairs; "threshold": of whether a neuron is
above its median; "max": the largest of the weighted neurons; "log_odds": of one of ten linear
outputs against the others, whose weights follow the neurons' correlations as trained ones do.
"""


WHOLE = frozenset({"linear", "relu", "network", "log_odds"})
"""Kinds to which every neuron that varies matters, by the form of the function."""


def plant(
    x: Any,
    kind: str,
    *,
    neurons: int,
    noise: float = 0.0,
    candidates: Sequence[int] | Int[np.ndarray, " candidates"] | None = None,
    seed: int = 0,
) -> Planted:
    """Choose neurons at random and make a target of them and of nothing else.

    Weights have a random sign, both signs where there are two neurons or more, and a size between
    0.5 and 1.5. A chosen neuron without which the target would be the same (one left over when
    pairs are made; one whose median is its maximum, for a threshold) does not belong to the set.

    Args:
        x: Activations (samples, neurons).
        kind: One of `PLANTED`.
        neurons: How many are chosen; at least 1.
        noise: Standard deviation of the noise, in standard deviations of the function, at least 0.
        candidates: Indices of the neurons to choose from; None for all. Those that do not vary are
            never chosen.
        seed: At least 0.

    Returns:
        The target, and which neurons it depends on.

    Raises:
        SettingsError: a setting is unknown or out of range.
        DataError: too few neurons vary, or no target of this kind varies on them.
    """
    if kind not in PLANTED:
        raise SettingsError(
            f"There is no kind of target {kind!r}. {near_names(str(kind), PLANTED)}"
        )
    if not is_whole(neurons) or neurons < 1:
        raise SettingsError(f"neurons is {neurons!r}. Pass a whole number of at least 1.")
    check_noise(noise)
    check_seed(seed)
    matrix = as_matrix(x)
    able = _able(matrix, candidates)
    if len(able) < neurons:
        raise DataError(
            f"Only {len(able)} of the neurons to choose from vary, and {int(neurons)} are to be "
            "planted. Plant fewer, or pass more candidates."
        )
    best: _Attempt | None = None
    for number in range(_ATTEMPTS):
        attempt = _attempt(matrix, kind, able, int(neurons), seed, number)
        if best is None or len(attempt.neurons) > len(best.neurons):
            best = attempt
        if len(best.neurons) == neurons:
            break
    if best is None or not best.neurons.size:
        raise DataError(
            f"No target of kind '{kind}' on {int(neurons)} of {len(able)} neurons varies. Plant "
            "more neurons, or pass other candidates or another kind."
        )
    clean = (best.values - best.values.mean()) / best.values.std()
    blurred = clean + noise * generator(seed, "planted noise").standard_normal(len(clean))
    return Planted(blurred, best.neurons, kind, float(noise), clean)


class Wanted(NamedTuple):
    """A target to be planted: `plant`'s settings, and which one it is of several alike."""

    kind: str
    noise: float
    neurons: int
    number: int = 0


def plant_all(
    x: Float[np.ndarray, "samples neurons"],
    wanted: Sequence[Wanted],
    sampler: Sampler,
    seed: int,
    repeat: int,
) -> list[Planted]:
    """The targets of an audit's repeat.

    Args:
        x: Activations.
        wanted: What to plant.
        sampler: Fitted to these neurons; targets are planted on the tested ones, of a group on a
            random member.
        seed: Of the audit.
        repeat: Which repeat.

    Returns:
        The targets, as wanted. What one is does not depend on which others there are.
    """

    def one(kind: str, noise: float, neurons: int, number: int) -> Planted:
        more = (number,) if number else ()
        own = derived_seed(seed, "audit target", repeat, kind, repr(float(noise)), *more)
        able = sampler.screening.one_each(generator(own, "members"))
        return plant(x, kind, neurons=neurons, noise=noise, candidates=able, seed=own)

    # As tasks, so that they have a task's thread count: bit-equal wherever they run.
    return run_tasks(one, list(wanted), n_jobs=1)


def score(selection: Selection, planted: Planted) -> tuple[float, float]:
    """How right a selection for a planted target is.

    A group counts as one neuron, as in the promise: naming any member names the group, and a group
    with a planted member is rightly named.

    Args:
        selection: For the planted target alone.
        planted: The target, planted on neurons that the selection tested.

    Returns:
        The false discovery proportion (wrong among the named, 0 if none is named) and the power
        (named among the planted), each from 0 to 1.

    Raises:
        DataError: the selection has several targets or other neurons.
    """
    if selection.selected.ndim != 1:
        raise DataError(
            f"The selection has {selection.selected.shape[1]} separate targets and the planted "
            "target is one. Select for it alone."
        )
    unit = np.arange(len(selection.selected))
    if planted.neurons.max() >= len(unit):
        raise DataError(
            f"Neuron {planted.neurons.max()} is planted and the selection has {len(unit)} neurons. "
            "Pass the selection on the activations that carry the planted target."
        )
    for group in selection.groups:
        unit[list(group)] = group[0]
    named, right = np.unique(unit[selection.selected]), np.unique(unit[planted.neurons])
    hits = len(np.intersect1d(named, right))
    return (len(named) - hits) / max(1, len(named)), hits / len(right)


def check_noise(noise: object) -> None:
    """Refuse what is not a noise.

    Raises:
        SettingsError: it is not a finite number of at least 0.
    """
    if not is_real(noise) or not 0 <= noise < np.inf:
        raise SettingsError(f"noise is {noise!r}. Pass a number of at least 0, such as 0.5.")


@dataclass(frozen=True, eq=False)
class _Attempt:
    """The values of a function, and the neurons that it needs."""

    values: Float[np.ndarray, " samples"]
    neurons: Int[np.ndarray, " needed"]


def _attempt(
    x: Float[np.ndarray, "samples neurons"],
    kind: str,
    able: Int[np.ndarray, " able"],
    size: int,
    seed: int,
    number: int,
) -> _Attempt:
    random = generator(seed, "planted neurons", number)
    chosen = random.choice(able, size, replace=False)
    weights = _weights(size, random)
    z = (x[:, chosen] - x[:, chosen].mean(0)) / x[:, chosen].std(0)

    def form(values: Float[np.ndarray, "samples chosen"]) -> Float[np.ndarray, " samples"]:
        return PLANTED[kind](values, weights, generator(seed, "planted form", number))

    values = form(z)
    if kind in WHOLE and np.ptp(values) > 1e-9 * np.abs(values).max():
        return _Attempt(values, np.sort(chosen))
    return _Attempt(values, np.sort(chosen[_needed(form, z, values, random)]))


def _needed(
    form: Callable[[Float[np.ndarray, "samples chosen"]], Float[np.ndarray, " samples"]],
    z: Float[np.ndarray, "samples chosen"],
    values: Float[np.ndarray, " samples"],
    random: np.random.Generator,
) -> Bool[np.ndarray, " chosen"]:
    """Which neurons cannot be shuffled without changing the values; none if these are constant."""
    needed = np.zeros(z.shape[1], dtype=bool)
    least = 1e-9 * np.abs(values).max()
    if np.ptp(values) <= least:
        return needed
    order = random.permutation(len(z))
    for j in range(z.shape[1]):
        shuffled = z.copy()
        shuffled[:, j] = z[order, j]
        needed[j] = np.abs(form(shuffled) - values).max() > least
    return needed


def _weights(size: int, random: np.random.Generator) -> Float[np.ndarray, " chosen"]:
    signs = random.choice([-1.0, 1.0], size)
    if size > 1 and abs(signs.sum()) == size:
        signs[random.integers(size)] *= -1.0
    return np.asarray(signs * random.uniform(0.5, 1.5, size))


def _able(
    x: Float[np.ndarray, "samples neurons"],
    candidates: Sequence[int] | Int[np.ndarray, " candidates"] | None,
) -> Int[np.ndarray, " able"]:
    """The candidates that vary, ascending."""
    count = x.shape[1]
    asked = np.arange(count) if candidates is None else np.atleast_1d(np.asarray(candidates))
    known = asked.ndim == 1 and np.isin(asked, np.arange(count)).all()
    if not known or len(np.unique(asked)) != len(asked):
        raise SettingsError(
            f"candidates is {asked.tolist()}. Pass different indices from 0 to {count - 1}."
        )
    asked = np.sort(asked.astype(np.int64))
    varies = np.ptp(x[:, asked], axis=0) > ROUNDING * np.abs(x[:, asked]).max(0, initial=0.0)
    return np.asarray(asked[varies])
