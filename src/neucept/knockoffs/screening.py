"""Which neurons can be tested at all: the rest are set aside or grouped, each with its reason.

What is tested is a unit: a neuron, or a group of near-copies. Near-copies shadow each other in any
fit, so a group enters by coordinates that do not: one neuron as it is, and what each further one
adds to those before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import solve_triangular

from neucept.errors import DataError

LEAST_SAMPLES = 50
"""Fewer samples than this are refused: no density can be fitted to them."""

LEAST_ACTIVE = 5
"""A neuron with fewer samples than this away from its most common value is dead."""

GROUP_CORRELATION = 0.99
"""Neurons at least this correlated with one another are one and the same to the selection."""

_DETERMINED = 1e-8
"""Share of its variance that a neuron has of its own; with less others determine it."""

_LARGEST, _SMALLEST = 1e100, 1e-100
"""Squares of larger values overflow, those of smaller ones vanish."""

ROUNDING = 5e-7
"""Relative to its size, a neuron that varies less does so by rounding alone."""


@dataclass(frozen=True, eq=False)
class Screening:
    """What can be tested.

    Attributes:
        tested: One neuron of each unit that is tested, ascending: a neuron, or a group's
            representative.
        groups: Neurons that are tested as one, each group ascending.
        set_aside: Neurons that are not tested, with the reason.
        columns: The neurons that have a coordinate, ascending: those tested, and members of groups
            that add something to the representative.
        units: For each coordinate, the place of its unit in `tested`.
        into: Weights by which coordinates follow the neurons in `columns`. That of a tested neuron
            is the neuron itself; the others of a group are uncorrelated with it and one another,
            in the spread of the neuron that each stands for.
        maps: Weights by which every neuron follows the coordinates. A member of a group follows
            those of its group, a determined neuron those that determine it, a dead neuron none.
    """

    tested: Int[np.ndarray, " tested"]
    groups: tuple[tuple[int, ...], ...]
    set_aside: dict[int, str]
    columns: Int[np.ndarray, " columns"]
    units: Int[np.ndarray, " columns"]
    into: Float[np.ndarray, "columns columns"]
    maps: Float[np.ndarray, "columns neurons"]

    @property
    def representative(self) -> dict[int, int]:
        """For each neuron that has evidence of its own or through its group: the tested one."""
        chosen = {int(j): int(j) for j in self.tested}
        for group in self.groups:
            leader = next(j for j in group if j in chosen)
            chosen.update(dict.fromkeys(group, leader))
        return chosen

    def coordinates(
        self, x: Float[np.ndarray, "samples neurons"]
    ) -> Float[np.ndarray, "samples columns"]:
        """What stands for the neurons wherever knockoffs are drawn and importance is measured."""
        own = x[:, self.columns]
        return own if len(self.columns) == len(self.tested) else own @ self.into

    def merged(
        self, importances: Float[np.ndarray, " columns *rest"]
    ) -> Float[np.ndarray, " tested *rest"]:
        """Importance of units: a group's is the root of the sum of squares of its coordinates'."""
        if len(self.columns) == len(self.tested):
            return importances
        squares = np.zeros((len(self.tested), *importances.shape[1:]))
        np.add.at(squares, self.units, importances**2)
        together = np.sqrt(squares)
        alone = np.bincount(self.units)[self.units] == 1
        together[self.units[alone]] = importances[alone]
        return together

    def one_each(self, random: np.random.Generator) -> Int[np.ndarray, " tested"]:
        """A neuron of each unit, of a group a random one."""
        chosen = self.tested.copy()
        leader = self.representative
        for group in self.groups:
            chosen[np.searchsorted(self.tested, leader[group[0]])] = random.choice(group)
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
        What is tested and what is not. A neuron that a group and others determine is set aside, not
        the member of the group that would be determined by it and the rest.

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
    units, lost = _units(correlation, samples)
    columns = np.sort(np.concatenate([unit.columns for unit in units]))
    set_aside |= _reasons(correlation, columns, lost, alive)
    order = np.argsort([unit.columns[0] for unit in units])
    place = {int(j): p for p, i in enumerate(order) for j in units[i].columns}
    into, maps = _weights(correlation, columns, units, lost)
    scale = x[:, alive].std(0)
    spread = scale[columns][:, None]
    everywhere = np.zeros((len(columns), neurons))
    everywhere[:, alive] = maps * scale / spread
    return Screening(
        tested=alive[np.array([units[i].columns[0] for i in order])],
        groups=tuple(
            tuple(int(j) for j in alive[unit.members]) for unit in units if len(unit.members) > 1
        ),
        set_aside=set_aside,
        columns=alive[columns],
        units=np.array([place[int(j)] for j in columns]),
        into=into * scale[columns] / spread,
        maps=everywhere,
    )


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


@dataclass(frozen=True, eq=False)
class _Unit:
    """What is tested as one.

    Attributes:
        members: Ascending; one for a neuron that is alone.
        columns: Those with a coordinate, the representative first.
    """

    members: Int[np.ndarray, " members"]
    columns: Int[np.ndarray, " columns"]


def _units(
    correlation: Float[np.ndarray, "n n"], samples: int
) -> tuple[list[_Unit], Int[np.ndarray, " lost"]]:
    """The units by their first member, and the neurons that other units determine."""
    leader = _lead(np.abs(correlation))
    turn = np.full(len(leader), 2)
    units = []
    for lead in np.unique(leader):
        members = np.flatnonzero(leader == lead)
        if len(members) > 1:
            turn[members] = np.where(members == lead, 0, 1)
        chosen = _independent(correlation[np.ix_(members, members)], turn[members])
        units.append(_Unit(members, members[chosen]))
    columns = np.sort(np.concatenate([unit.columns for unit in units]))
    if samples > len(columns):
        # Groups come first: a neuron that a group's members determine must not stand in for one.
        chosen = _independent(correlation[np.ix_(columns, columns)], turn[columns])
        units = [_without(unit, np.setdiff1d(columns, columns[chosen])) for unit in units]
        units = [unit for unit in units if len(unit.columns)]
    units.sort(key=lambda unit: int(unit.members[0]))
    left = np.concatenate([unit.members for unit in units])
    return units, np.setdiff1d(np.arange(len(leader)), left)


def _without(unit: _Unit, lost: Int[np.ndarray, " lost"]) -> _Unit:
    """What is left of a unit; with members that add nothing goes whom they may follow."""
    columns = unit.columns[~np.isin(unit.columns, lost)]
    return unit if len(columns) == len(unit.columns) else _Unit(np.sort(columns), columns)


def _independent(
    correlation: Float[np.ndarray, "n n"], turn: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " kept"]:
    """Which neurons are not an exact combination of others, by pivoted Cholesky.

    Those of a lower turn come first, so that others are left out rather than they.
    """
    rest = correlation.copy()
    kept = []
    for now in np.unique(turn):
        left = turn == now
        while left.any():
            j = int(np.argmax(np.where(left, np.diag(rest), -np.inf)))
            if rest[j, j] <= _DETERMINED:
                break
            left[j] = False
            kept.append(j)
            column = rest[:, j] / np.sqrt(rest[j, j])
            rest -= np.outer(column, column)
    return np.array(kept)


def _reasons(
    correlation: Float[np.ndarray, "n n"],
    columns: Int[np.ndarray, " columns"],
    lost: Int[np.ndarray, " lost"],
    names: Int[np.ndarray, " n"],
) -> dict[int, str]:
    reasons = {}
    inside = correlation[np.ix_(columns, columns)]
    for dropped in lost:
        weights = np.linalg.lstsq(inside, correlation[columns, dropped])[0]
        largest = names[columns][np.argsort(-np.abs(weights), kind="stable")[:3]]
        reasons[int(names[dropped])] = "determined by other neurons, mostly " + ", ".join(
            str(int(k)) for k in largest
        )
    return reasons


def _weights(
    correlation: Float[np.ndarray, "n n"],
    columns: Int[np.ndarray, " columns"],
    units: list[_Unit],
    lost: Int[np.ndarray, " lost"],
) -> tuple[Float[np.ndarray, "columns columns"], Float[np.ndarray, "columns n"]]:
    """From scaled neurons to scaled coordinates, and from these to all scaled neurons."""
    into = np.eye(len(columns))
    maps = np.zeros((len(columns), len(correlation)))
    for unit in units:
        at = np.searchsorted(columns, unit.columns)
        block = correlation[np.ix_(unit.columns, unit.columns)]
        np.fill_diagonal(block, 1.0)
        factor = np.linalg.cholesky(block)
        into[np.ix_(at, at)] = solve_triangular(factor, np.eye(len(at)), lower=True).T
        follow = into[np.ix_(at, at)].T @ correlation[np.ix_(unit.columns, unit.members)]
        maps[np.ix_(at, unit.members)] = follow
        maps[np.ix_(at, unit.columns)] = factor.T
    if len(lost):
        inside = correlation[np.ix_(columns, columns)]
        across = correlation[np.ix_(columns, lost)]
        if len(columns) > len(units):
            inside, across = into.T @ inside @ into, into.T @ across
        for i, dropped in enumerate(lost):
            maps[:, dropped] = np.linalg.lstsq(inside, across[:, i])[0]
    return into, maps
