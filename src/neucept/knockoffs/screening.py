"""Which neurons can be tested at all: the rest are set aside or grouped, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from neucept.errors import DataError

LEAST_SAMPLES = 50
"""Fewer samples than this are refused: no density can be fitted to them."""

LEAST_ACTIVE = 5
"""A neuron with fewer samples than this away from its most common value is dead."""

GROUP_CORRELATION = 0.99
"""Neurons at least this correlated with one another are one and the same to the selection."""

_DETERMINED = 1e-8

_LARGEST, _SMALLEST = 1e100, 1e-100
"""Squares of larger values overflow, those of smaller ones vanish."""

ROUNDING = 5e-7
"""Relative to its size, a neuron that varies less does so by rounding alone."""


@dataclass(frozen=True, eq=False)
class Screening:
    """What can be tested.

    Attributes:
        tested: The neurons that are tested, ascending; a group is represented by one.
        groups: Neurons that count as one, each group ascending.
        set_aside: Neurons that are not tested, with the reason.
        maps: Weights by which every neuron follows the tested ones. A tested neuron follows
            itself, a member of a group its representative, a determined neuron those that
            determine it, a dead neuron none.
    """

    tested: Int[np.ndarray, " tested"]
    groups: tuple[tuple[int, ...], ...]
    set_aside: dict[int, str]
    maps: Float[np.ndarray, "tested neurons"]

    @property
    def representative(self) -> dict[int, int]:
        """For each neuron that has evidence of its own or through its group: the tested one."""
        chosen = {int(j): int(j) for j in self.tested}
        for group in self.groups:
            leader = next(j for j in group if j in chosen)
            chosen.update(dict.fromkeys(group, leader))
        return chosen


def as_matrix(values: Any, name: str = "x") -> Float[np.ndarray, "rows columns"]:
    """Numbers from whatever holds them, as a finite matrix in double precision.

    Args:
        values: A numpy array, a torch tensor, a Zarr array, nested lists; one axis or two.
        name: What to call it in an error.

    Returns:
        A matrix; a single axis becomes one column.

    Raises:
        DataError: not numbers, more than two axes, empty, or a value that is not finite.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    if np.iscomplexobj(values):
        raise DataError(f"{name} holds complex numbers. Pass real ones.")
    try:
        matrix = np.asarray(values).astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be read as numbers: {error}. Pass numbers.") from error
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2:
        raise DataError(
            f"{name} has {matrix.ndim} axes, shape {matrix.shape}. Pass samples by neurons; pool "
            "other axes first."
        )
    if matrix.size == 0:
        raise DataError(f"{name} is empty, shape {matrix.shape}. Pass at least one column.")
    finite = np.abs(matrix) <= _LARGEST
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise DataError(
            f"{name} has {int((~finite).sum())} values that are not finite or beyond "
            f"{_LARGEST:g}; the first is "
            f"{matrix[row, column]} at sample {row}, column {column}. Remove these samples, or "
            "look for a division by zero or an overflow in the network."
        )
    return matrix


def screen(x: Float[np.ndarray, "samples neurons"]) -> Screening:
    """Set aside what cannot be tested and group what cannot be told apart.

    Args:
        x: Activations, finite.

    Returns:
        What is tested and what is not.

    Raises:
        DataError: fewer than `LEAST_SAMPLES` samples, or no neuron that varies.
    """
    samples, neurons = x.shape
    if samples < LEAST_SAMPLES:
        raise DataError(
            f"There are {samples} samples; a selection needs at least {LEAST_SAMPLES}, and some "
            "hundreds to find anything. Pass more samples."
        )
    set_aside = _dead(x)
    alive = np.array([j for j in range(neurons) if j not in set_aside], dtype=np.int64)
    if not alive.size:
        raise DataError(
            f"All {neurons} neurons are constant or nearly so over {samples} samples. Record "
            "another layer, or samples on which this one responds."
        )
    scaled = (x[:, alive] - x[:, alive].mean(0)) / x[:, alive].std(0)
    correlation = scaled.T @ scaled / samples
    leader = _lead(np.abs(correlation))
    groups = tuple(
        tuple(int(j) for j in alive[leader == i])
        for i in np.unique(leader)
        if (leader == i).sum() > 1
    )
    leads = np.unique(leader)
    if samples > len(leads):
        kept, reasons = _independent(correlation[np.ix_(leads, leads)], alive[leads])
        set_aside |= reasons
        leads = leads[kept]
        groups = tuple(g for g in groups if not set(g) & set(reasons))
        set_aside |= {
            int(alive[j]): f"in a group with neuron {alive[leader[j]]}, which others determine"
            for j in range(len(alive))
            if int(alive[leader[j]]) in reasons and leader[j] != j
        }
    tested = alive[leads]
    return Screening(tested, groups, set_aside, _maps(x, alive, leader, leads, correlation))


def _dead(x: Float[np.ndarray, "samples neurons"]) -> dict[int, str]:
    reasons: dict[int, str] = {}
    spread = x.max(0) - x.min(0)
    size = np.abs(x).max(0)
    for j in range(x.shape[1]):
        if spread[j] <= ROUNDING * size[j]:
            reasons[j] = f"constant at {x[0, j]:.6g}"
            continue
        if spread[j] < _SMALLEST:
            reasons[j] = f"varies by {spread[j]:.3g} only, too little to compute with"
            continue
        ordered = np.sort(x[:, j])
        edges = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True])
        away = len(ordered) - int(np.diff(edges).max())
        if away < LEAST_ACTIVE:
            reasons[j] = f"dead: only {away} of {len(ordered)} samples differ from the rest"
    return reasons


def _lead(strength: Float[np.ndarray, "n n"]) -> Int[np.ndarray, " n"]:
    """For each neuron, who represents it: the one with most near-copies first."""
    near = strength >= GROUP_CORRELATION
    np.fill_diagonal(near, True)
    leader = np.full(len(near), -1)
    for j in np.argsort(-near.sum(0), kind="stable"):
        if leader[j] < 0:
            leader[near[j] & (leader < 0)] = j
    return leader


def _independent(
    correlation: Float[np.ndarray, "n n"], names: Int[np.ndarray, " n"]
) -> tuple[Bool[np.ndarray, " n"], dict[int, str]]:
    """Which neurons are not an exact combination of others, by pivoted Cholesky."""
    rest = correlation.copy()
    left = np.ones(len(rest), dtype=bool)
    kept = np.zeros(len(rest), dtype=bool)
    for _ in range(len(rest)):
        j = int(np.argmax(np.where(left, np.diag(rest), -np.inf)))
        if rest[j, j] <= _DETERMINED:
            break
        kept[j], left[j] = True, False
        column = rest[:, j] / np.sqrt(rest[j, j])
        rest -= np.outer(column, column)
    reasons = {}
    for dropped in np.flatnonzero(~kept):
        weights = np.linalg.lstsq(correlation[np.ix_(kept, kept)], correlation[kept, dropped])[0]
        largest = names[kept][np.argsort(-np.abs(weights), kind="stable")[:3]]
        reasons[int(names[dropped])] = "determined by other neurons, mostly " + ", ".join(
            str(int(k)) for k in largest
        )
    return kept, reasons


def _maps(
    x: Float[np.ndarray, "samples neurons"],
    alive: Int[np.ndarray, " alive"],
    leader: Int[np.ndarray, " alive"],
    leads: Int[np.ndarray, " tested"],
    correlation: Float[np.ndarray, "alive alive"],
) -> Float[np.ndarray, "tested neurons"]:
    scale = x[:, alive].std(0)
    weights = np.zeros((len(leads), len(alive)))
    place = {int(j): i for i, j in enumerate(leads)}
    inside = correlation[np.ix_(leads, leads)]
    for j in range(len(alive)):
        lead = int(leader[j])
        if lead in place:
            weights[place[lead], j] = correlation[lead, j] if j != lead else 1.0
        else:
            weights[:, j] = np.linalg.lstsq(inside, correlation[leads, j])[0]
    maps = np.zeros((len(leads), x.shape[1]))
    maps[:, alive] = weights * scale / scale[leads][:, None]
    return maps
