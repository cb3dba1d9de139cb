"""Are the knockoffs exchangeable with the neurons? A two-sample test of rows against their swaps.

Exchangeable means: trade any neurons of a row for their knockoffs, and nobody can tell. So rows
[neurons, knockoffs] are compared with the same rows after a random half of the neurons was traded,
by a classifier and by first and second moments. A group of near-copies enters by its coordinates,
each named after the neuron it stands for, and these are traded all at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata
from sklearn.cluster import MiniBatchKMeans
from sklearn.ensemble import HistGradientBoostingClassifier

from neucept.errors import DataError, SettingsError
from neucept.knockoffs.sampling import MOST_KNOCKOFFS, Sampler
from neucept.runtime import check_seed, generator, is_whole, run_tasks

FEWEST_CHECKED, MOST_CHECKED = 200, 10_000
"""Rows that a check needs, and those it looks at unless told otherwise."""

MOST_SHOWN = 128
"""Neurons that the classifier sees one by one; of a wider layer it sees as many at random."""

DIRECTIONS, CENTRES = 16, 16
"""What the classifier sees of all neurons together: principal components, and distances from the
centres of clumps."""

SWAPS_PER_ROW = 2
"""Of each row that the classifier learns from."""

MOST_PARTNERS = 64
"""Neurons whose covariance with every neuron is compared; of a wider layer as many at random."""

CHANCE_SWAPS = 40
"""Random swaps that tell how large the largest difference of moments is by chance."""

Rows = Float[np.ndarray, "rows neurons"]
Units = Int[np.ndarray, " neurons"]


@dataclass(frozen=True)
class Exchangeability:
    """How well knockoffs pass for the neurons, on rows that the classifier did not learn from.

    Attributes:
        auc: Probability that the classifier gives a row a higher score than a swapped row; 0.5 is
            chance, 1 is never wrong.
        auc_error: Standard error of `auc`; a row and its own swap count as one observation.
        z: The largest difference of a mean, a variance or a covariance, in standard errors.
        z_chance: What the largest stays under in 19 of 20 cases if knockoffs are exchangeable.
        difference: The difference that `z` belongs to, in units of the neurons' spread: for a
            covariance that is a correlation, for a variance its share.
        moment: Which it is.
        beyond: Share of the compared moments that are over `z_chance`.
        compared: How many moments are compared.
        neurons: How many neurons are tested; a group counts as one.
        rows: How many rows are held out.
        copies: Simultaneous knockoffs per draw, of which each row shows one.
    """

    auc: float
    auc_error: float
    z: float
    z_chance: float
    difference: float
    moment: str
    beyond: float
    compared: int
    neurons: int
    rows: int
    copies: int

    def summary(self) -> str:
        """One sentence: how well the classifier does, and how the largest moment compares."""
        return (
            f"told apart with AUC {self.auc:.2f} +- {self.auc_error:.2f} (0.5 is chance); the "
            f"largest difference is in the {self.moment}, {self.z:.1f} standard errors (chance: "
            f"{self.z_chance:.1f})"
        )

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        return asdict(self)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays that `runtime.write_arrays` can store."""
        return {name: np.array(value) for name, value in asdict(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Exchangeability:
        """The record that `to_arrays` took apart."""
        return cls(**{name: value.item() for name, value in arrays.items()})


def check_exchange(
    x: Any, sampler: Sampler, *, copies: int = 1, seed: int = 0, rows: int = MOST_CHECKED
) -> Exchangeability:
    """Test whether knockoffs are exchangeable with the neurons.

    A density is often fitted to the same rows that are checked here. Then the check is about the
    knockoffs that a selection on these rows uses, which is what its level rests on; it is not about
    new rows, for which a density that fits its own rows too closely is worse. What a fit misses
    by chance in one half of the rows it misses the other way in the other half, so a classifier
    that learns nothing else can come out a little under 0.5.

    Args:
        x: Activations of the neurons that `sampler` was fitted to, at least 200 rows.
        sampler: Where the knockoffs come from. Only its tested neurons are looked at.
        copies: Simultaneous knockoffs per draw, 1 to 100: as many as the selection uses.
        seed: At least 0.
        rows: At most so many rows, chosen at random, are looked at. One half of them is held out.

    Returns:
        How well the knockoffs pass.

    Raises:
        DataError: another number of neurons, too few rows, or values that are not finite.
        SettingsError: `copies`, `seed` or `rows` is out of range.

    Source: Candes, Fan, Janson, Lv (2018), definition 3.1, for what is tested; Lopez-Paz and Oquab
    (2017), "Revisiting classifier two-sample tests", for how.
    """
    own = sampler.screening.coordinates(sampler.check(x))
    if not is_whole(copies) or not 1 <= copies <= MOST_KNOCKOFFS:
        raise SettingsError(
            f"copies is {copies!r}. Pass a whole number from 1 to {MOST_KNOCKOFFS}."
        )
    if not is_whole(rows) or rows < FEWEST_CHECKED:
        raise SettingsError(f"rows is {rows!r}. Pass a whole number of at least {FEWEST_CHECKED}.")
    check_seed(seed)
    if len(own) < FEWEST_CHECKED:
        raise DataError(
            f"x has {len(own)} rows; the exchangeability check needs at least {FEWEST_CHECKED}. "
            "Pass more samples."
        )
    # One task, so that it has a task's thread count: bit-equal wherever it runs.
    return run_tasks(_check, [(own, sampler, int(copies), int(seed), int(rows))], n_jobs=1)[0]


def _check(own: Rows, sampler: Sampler, copies: int, seed: int, rows: int) -> Exchangeability:
    random = generator(seed, "exchangeability")
    own = own[random.permutation(len(own))[:rows]]
    drawn = sampler.tested.knockoffs(own, copies, random)
    copy = drawn[np.arange(len(own)), :, random.integers(copies, size=len(own))]
    half = len(own) // 2
    # One scale for a neuron and its copy, from rows that are not tested, so that trading them
    # before scaling or after is the same.
    learned = np.concatenate([own[:half], copy[:half]])
    mean, spread = learned.mean(0), learned.std(0)
    spread[spread == 0] = 1.0
    own, copy = (own - mean) / spread, (copy - mean) / spread
    units = sampler.screening.units
    auc, auc_error = _told_apart(own, copy, units, half, random)
    return Exchangeability(
        auc=auc,
        auc_error=auc_error,
        **_moments(own[half:], copy[half:], units, sampler.screening.columns, random),
        neurons=len(sampler.screening.tested),
        rows=len(own) - half,
        copies=copies,
    )


def _swapped(own: Rows, copy: Rows, units: Units, random: np.random.Generator) -> tuple[Rows, Rows]:
    """Both sides after a random half of the units of each row was traded."""
    traded = (random.random((len(own), units.max() + 1)) < 0.5)[:, units]
    return np.where(traded, copy, own), np.where(traded, own, copy)


def _told_apart(
    own: Rows, copy: Rows, units: Units, half: int, random: np.random.Generator
) -> tuple[float, float]:
    """The classifier's AUC on the second half and its standard error."""
    own_learned, copy_learned = own[:half], copy[:half]
    view = _View.of(own_learned, copy_learned, random)
    kept = view(own_learned, copy_learned)
    shown = [kept]
    for _ in range(SWAPS_PER_ROW):
        shown.append(view(*_swapped(own_learned, copy_learned, units, random)))
    truth = np.repeat([1, 0], [half, SWAPS_PER_ROW * half])
    classifier = HistGradientBoostingClassifier(
        max_iter=60,
        max_leaf_nodes=15,
        early_stopping=False,
        random_state=0,
    ).fit(np.concatenate(shown), truth)
    held_out = own[half:], copy[half:]
    rows = classifier.decision_function(view(*held_out))
    swaps = classifier.decision_function(view(*_swapped(*held_out, units, random)))
    return _auc(rows, swaps)


def _auc(
    rows: Float[np.ndarray, " pairs"], swaps: Float[np.ndarray, " pairs"]
) -> tuple[float, float]:
    """The AUC of scores that come in pairs, and its standard error.

    Source: DeLong, DeLong, Clarke-Pearson (1988), with pairs as the independent observations.
    """
    n = len(rows)
    ranks = rankdata(np.concatenate([rows, swaps]))
    above = (ranks[:n] - rankdata(rows)) / n
    below = 1 - (ranks[n:] - rankdata(swaps)) / n
    return float(above.mean()), float((above + below).std(ddof=1) / np.sqrt(n))


@dataclass(frozen=True, eq=False)
class _View:
    """What the classifier sees of a row.

    Single neurons show where laws of neurons and copies differ. Principal components and distances
    from clumps show what many neurons do together, which trees do not see in single ones.
    """

    shown: Int[np.ndarray, " shown"]
    directions: Float[np.ndarray, "neurons directions"]
    centres: Float[np.ndarray, "centres neurons"]

    @classmethod
    def of(cls, own: Rows, copy: Rows, random: np.random.Generator) -> _View:
        neurons = own.shape[1]
        shown = np.sort(random.permutation(neurons)[:MOST_SHOWN])
        both = np.concatenate([own, copy])
        vectors = np.linalg.eigh(both.T @ both)[1]
        number = min(CENTRES, len(own) // 50)
        groups = MiniBatchKMeans(
            number, n_init=1, batch_size=2048, random_state=int(random.integers(2**31))
        ).fit(own)
        return cls(shown, vectors[:, ::-1][:, :DIRECTIONS], groups.cluster_centers_)

    def __call__(self, own: Rows, copy: Rows) -> Float[np.ndarray, "rows columns"]:
        return np.hstack([self._side(own), self._side(copy)])

    def _side(self, values: Rows) -> Float[np.ndarray, "rows columns"]:
        lengths = np.square(values).sum(1)[:, None] + np.square(self.centres).sum(1)
        far = lengths - 2 * values @ self.centres.T
        near = far.min(1, keepdims=True)
        return np.hstack([values[:, self.shown], values @ self.directions, far, near])


def _moments(
    own: Rows,
    copy: Rows,
    units: Units,
    names: Int[np.ndarray, " neurons"],
    random: np.random.Generator,
) -> dict[str, Any]:
    """The largest difference of moments, against that of random swaps of the same rows."""
    neurons = own.shape[1]
    partners = np.sort(random.permutation(neurons)[:MOST_PARTNERS])
    compared = 2 * neurons + 2 * int((units[partners][:, None] != units).sum())
    z, differences = _differences(own, copy, units, partners)
    chance = [
        np.abs(_differences(*_swapped(own, copy, units, random), units, partners)[0]).max()
        for _ in range(CHANCE_SWAPS)
    ]
    bar = float(np.quantile(chance, 0.95))
    largest = int(np.abs(z).argmax())
    return {
        "z": float(np.abs(z[largest])),
        "z_chance": bar,
        "difference": float(differences[largest]),
        "moment": _named(largest, names, names[partners]),
        "beyond": float((np.abs(z) > bar).sum() / compared),
        "compared": compared,
    }


def _differences(
    own: Rows, copy: Rows, units: Units, partners: Int[np.ndarray, " partners"]
) -> tuple[Float[np.ndarray, " moments"], Float[np.ndarray, " moments"]]:
    """Differences of moments in standard errors, and as they are.

    Means, variances, then for each partner j and each neuron k of another unit the covariance of
    original j with original k against that with copy k, then the same of copy j. Each is a mean
    over rows of a quantity that changes its sign when one unit is traded.
    """
    apart = own - copy
    squares = own**2 - copy**2
    sums = [apart.sum(0), squares.sum(0)]
    sizes = [(apart**2).sum(0), (squares**2).sum(0)]
    for side in (own[:, partners], copy[:, partners]):
        product = side.T @ apart
        product[units[partners][:, None] == units] = 0.0
        sums.append(product.ravel())
        sizes.append((side**2).T @ apart**2)
    total = np.concatenate(sums)
    size = np.sqrt(np.concatenate([part.ravel() for part in sizes]))
    return total / np.maximum(size, 1e-12), total / len(own)


def _named(
    place: int, names: Int[np.ndarray, " neurons"], partners: Int[np.ndarray, " partners"]
) -> str:
    """Which moment stands at a place of `_differences`."""
    neurons = len(names)
    if place < 2 * neurons:
        return f"{('mean', 'variance')[place // neurons]} of neuron {names[place % neurons]}"
    side, place = divmod(place - 2 * neurons, len(partners) * neurons)
    partner, neuron = divmod(place, neurons)
    of = f"neuron {partners[partner]}" if side == 0 else f"the copy of neuron {partners[partner]}"
    return f"covariance of {of} with neuron {names[neuron]}"
