"""What else is known of the samples of each mechanism: tests on what the grouping never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import fisher_exact, rankdata

from neucept.errors import DataError
from neucept.mechanisms.record import Mechanisms
from neucept.mechanisms.together import FEWEST_GROUPS, group_codes
from neucept.runtime import check_seed, generator

PERMUTATIONS = 9999
"""Times the samples change places, so that no such p-value is below 1 in 10,000."""

BLOCK = 2_000_000
"""Values that change places at a time."""

RARE = 5
"""Samples below which a category is not tested by itself."""

ALL = -1
"""What the column `mechanism` says of a row about all mechanisms at once."""

ASSOCIATION_COLUMNS = (
    "mechanism",
    "column",
    "category",
    "kind",
    "samples",
    "missing",
    "inside",
    "outside",
    "effect",
    "measure",
    "test",
    "p_value",
    "q_value",
    "note",
)


@dataclass(frozen=True)
class _Column:
    """One column for the samples that have a value."""

    name: str
    kind: str
    rows: np.ndarray
    values: np.ndarray
    categories: tuple[str, ...]
    missing: int
    note: str

    def row(self, mechanism: int, **more: Any) -> dict[str, Any]:
        return {
            "mechanism": mechanism,
            "column": self.name,
            "category": "",
            "kind": self.kind,
            "samples": len(self.rows),
            "missing": self.missing,
            "inside": np.nan,
            "outside": np.nan,
            "effect": np.nan,
            "measure": "",
            "test": "",
            "p_value": np.nan,
            "q_value": np.nan,
            "note": self.note,
        } | more


def associate(
    mech: Mechanisms,
    metadata: pd.DataFrame,
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    number: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How mechanisms go with what else is known of their samples: how a shortcut is found.

    The grouping never saw the metadata, so p-values are in order here. Numbers are tested as
    numbers, all else as categories (a number that codes a category: make it a string). The labels
    of the mechanisms stay and the values change places; where samples belong together, each group
    takes the values of another one, in their order, stretched to its size.

    Args:
        mech: The mechanisms.
        metadata: One row per sample of the activations in their order (with pandas' plain index
            0, 1, ...), or an index of sample ids. Values may be missing; they are left out of
            their column and counted.
        groups: Which samples belong together: one id per sample of the activations. None for the
            groups that the mechanisms were found with.
        number: Test the groups of `mech.cut(number)` instead of the mechanisms.
        seed: Draws the permutations.

    Returns:
        One row per column for all mechanisms at once (mechanism -1: Cramer's V; for numbers the
        root of the share of the variance of ranks, 0 to 1), and per mechanism and category
        (difference of shares) or number (Cliff's delta): mechanism, column, category, kind,
        samples (with a value), missing, inside and outside (share of the category, or median, in
        the mechanism and in the others), effect, measure, test, p_value, q_value, note. q_value
        corrects p_value over all rows (Benjamini, Hochberg 1995). Categories of fewer than 5
        samples are not tested by themselves. What cannot be tested (an id, a constant) has one
        row, with NaN and a note that says why. Empty with fewer than two groups.

    Raises:
        DataError: the rows do not fit the samples, or too few groups of samples.
        SettingsError: the seed is no whole number, or `number` no cut of the tree.

    Source: Fisher's exact test of a category where samples stand alone; else permutations, with
    one added above and below (Phipson, Smyth 2010).
    """
    check_seed(seed)
    labels = mech.labels if number is None else mech.cut(number)
    table = _aligned(mech, metadata)
    together = mech.together if groups is None else _together(mech, groups)
    rows: list[dict[str, Any]] = []
    if len(np.unique(labels)) > 1:
        for name in table.columns:
            rng = generator(seed, "mechanisms", "metadata", str(name))
            column = _column(table[name], str(name), mech.ids)
            rows += _tested(column, labels[column.rows], together[column.rows], rng)
    found = pd.DataFrame(rows, columns=list(ASSOCIATION_COLUMNS))
    found["q_value"] = corrected(found["p_value"].to_numpy(dtype=float))
    return found


def corrected(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """P-values adjusted for the share of false ones among those named; NaN stays NaN.

    Source: Benjamini, Hochberg (1995).
    """
    q_values = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(-p_values[tested], kind="stable")]
    scaled = p_values[order] * len(order) / np.arange(len(order), 0, -1)
    q_values[order] = np.minimum.accumulate(np.minimum(scaled, 1.0))
    return q_values


def _aligned(mech: Mechanisms, metadata: pd.DataFrame) -> pd.DataFrame:
    """The rows of the samples of the class, in their order."""
    if not isinstance(metadata, pd.DataFrame):
        raise DataError(f"metadata is a {type(metadata).__name__}. Pass a pandas DataFrame.")
    if not metadata.columns.is_unique:
        twice = metadata.columns[metadata.columns.duplicated()][0]
        raise DataError(f"metadata has two columns '{twice}'. Rename one of them.")
    if metadata.index.equals(pd.RangeIndex(len(metadata))):
        if mech.total not in (-1, len(metadata)) or len(metadata) <= mech.samples.max(initial=-1):
            raise DataError(
                f"metadata has {len(metadata)} rows, there are {mech.total} samples. Pass one row "
                "for each, in their order, or make the sample ids its index."
            )
        return metadata.iloc[mech.samples]
    names = metadata.index.map(str)
    if not names.is_unique:
        twice = names[names.duplicated()][0]
        raise DataError(f"metadata has more than one row '{twice}'. Keep one row for each sample.")
    place = names.get_indexer(pd.Index(list(mech.ids)))
    if (place < 0).any():
        first = mech.ids[int(np.argmax(place < 0))]
        raise DataError(
            f"metadata has no row for {int((place < 0).sum())} of {len(place)} samples, the first "
            f"is '{first}'. Make the sample ids its index, or call reset_index(drop=True) where "
            "rows are in the order of the samples."
        )
    return metadata.iloc[place]


def _together(mech: Mechanisms, groups: Sequence[object] | np.ndarray) -> np.ndarray:
    if mech.total < 0:
        raise DataError(
            "These mechanisms were found by an earlier neucept, which did not keep how many "
            "samples there were. Find them anew to give groups."
        )
    return np.asarray(group_codes(groups, mech.total)[mech.samples])


def _column(values: pd.Series, name: str, ids: Sequence[str]) -> _Column:
    present = values.notna().to_numpy()
    rows, kept = np.flatnonzero(present), values[present]
    numeric = pd.api.types.is_numeric_dtype(kept) and not pd.api.types.is_bool_dtype(kept)
    dates = pd.api.types.is_datetime64_any_dtype(kept) or pd.api.types.is_timedelta64_dtype(kept)
    texts = kept.astype(str).to_numpy(dtype=object)
    same = len(rows) > 0 and [ids[int(row)] for row in rows] == texts.tolist()
    missing = len(values) - len(rows)
    if numeric or dates:
        numbers = kept.astype("int64").to_numpy() if dates else kept.to_numpy()
        if np.iscomplexobj(numbers):
            raise DataError(f"Column '{name}' of metadata holds complex numbers. Remove it.")
        note = _unfit(len(rows), len(np.unique(numbers)), same)
        every = len(np.unique(numbers)) == len(rows) and np.issubdtype(numbers.dtype, np.integer)
        if not note and numeric and every:
            note = "every value is different: is it an id?"
        return _Column(name, "number", rows, numbers.astype(float), (), missing, note)
    names, codes = np.unique(texts.astype(str), return_inverse=True)
    note = _unfit(len(rows), len(names), same)
    if not note and 2 * len(names) > len(rows):
        note = f"set aside: {len(names)} categories among {len(rows)} samples tell nothing"
    categories = tuple(str(category) for category in names)
    return _Column(name, "category", rows, codes, categories, missing, note)


def _unfit(samples: int, kinds: int, same: bool) -> str:
    if same:
        return "set aside: it is the id of the samples"
    if kinds < 2:
        return f"set aside: {'one value only' if samples else 'every value is missing'}"
    return ""


def _tested(
    column: _Column,
    labels: Int[np.ndarray, " samples"],
    together: Int[np.ndarray, " samples"],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """The rows of one column."""
    kinds, sizes = np.unique(together, return_counts=True)
    grouped = bool((sizes > 1).any())
    note = column.note
    if not note.startswith("set aside"):
        if len(np.unique(labels)) < 2:
            note = "set aside: all samples with a value are of one mechanism"
        elif grouped and len(kinds) < FEWEST_GROUPS:
            note = f"set aside: {len(kinds)} groups of samples, {FEWEST_GROUPS} are needed"
    if note.startswith("set aside"):
        return [column.row(ALL, note=note)]
    test = _categories if column.kind == "category" else _numbers
    return test(column, labels, _Shuffle(together if grouped else None, len(labels), rng))


class _Shuffle:
    """Places that values take when samples, or whole groups of them, change places."""

    def __init__(self, together: np.ndarray | None, samples: int, rng: np.random.Generator) -> None:
        """`together` says which samples belong together; None where each stands alone."""
        self.grouped = together is not None
        self._samples, self._rng = samples, rng
        if together is not None:
            _, codes, self._sizes = np.unique(together, return_inverse=True, return_counts=True)
            self._members = np.argsort(codes, kind="stable")
            self._starts = np.cumsum(self._sizes) - self._sizes
            self._codes = codes[self._members]
            self._within = np.arange(samples) - self._starts[self._codes]

    def _drawn(self, times: int) -> np.ndarray:
        if not self.grouped:
            return self._rng.permuted(np.tile(np.arange(self._samples), (times, 1)), axis=1)
        donors = self._rng.permuted(np.tile(np.arange(len(self._sizes)), (times, 1)), axis=1)
        donor = donors[:, self._codes]
        inside = self._within * self._sizes[donor] // self._sizes[self._codes]
        places = np.empty((times, self._samples), dtype=np.int64)
        places[:, self._members] = self._members[self._starts[donor] + inside]
        return places

    def p_values(self, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """How often places drawn at random give at least as much as the places that there are.

        Args:
            statistic: From places (times, samples) to non-negative figures (times, tests).
        """
        # Figures that differ by rounding alone are equal.
        seen = statistic(np.arange(self._samples)[None])[0] * (1 - 1e-9) - 1e-12
        beyond, done = np.zeros(len(seen)), 0
        while done < PERMUTATIONS:
            times = min(PERMUTATIONS - done, max(1, BLOCK // self._samples))
            beyond += (statistic(self._drawn(times)) >= seen).sum(axis=0)
            done += times
        return (1 + beyond) / (1 + done)


def _numbers(column: _Column, labels: np.ndarray, shuffle: _Shuffle) -> list[dict[str, Any]]:
    known, codes = np.unique(labels, return_inverse=True)
    sizes, samples = np.bincount(codes), len(labels)
    ranks, member = rankdata(column.values), np.eye(len(known))[codes]

    def figures(places: np.ndarray) -> np.ndarray:
        values = ranks[places]
        values = values - values.mean(axis=1, keepdims=True)
        sums, spread = values @ member, (values**2).sum(axis=1, keepdims=True)
        share = (sums**2 / sizes).sum(axis=1, keepdims=True) / np.maximum(spread, 1e-12)
        # Half the product of the sizes is the largest rank sum, centred, that a group can have.
        return np.hstack([np.sqrt(share), sums * 2 / (sizes * (samples - sizes))])

    p_values = shuffle.p_values(lambda places: np.abs(figures(places)))
    effects, test = figures(np.arange(samples)[None])[0], _test_name(shuffle)
    rows = [_overall(column, "root of the share of the variance of ranks", effects, p_values, test)]
    for place, mechanism in enumerate(known):
        own = codes == place
        rows.append(
            column.row(
                int(mechanism),
                inside=float(np.median(column.values[own])),
                outside=float(np.median(column.values[~own])),
                effect=float(effects[place + 1]),
                measure="Cliff's delta",
                test=test,
                p_value=float(p_values[place + 1]),
            )
        )
    return rows


def _categories(column: _Column, labels: np.ndarray, shuffle: _Shuffle) -> list[dict[str, Any]]:
    known, codes = np.unique(labels, return_inverse=True)
    shape = (len(known), len(column.categories))
    sizes, samples = np.bincount(codes)[:, None], len(labels)

    def tables(places: np.ndarray) -> np.ndarray:
        cells = shape[0] * shape[1]
        flat = codes * shape[1] + column.values[places]
        flat += cells * np.arange(len(places))[:, None]
        counts = np.bincount(flat.ravel(), minlength=cells * len(places))
        return counts.reshape(len(places), *shape)

    def figures(places: np.ndarray) -> np.ndarray:
        table = tables(places)
        both = table.sum(axis=1, keepdims=True)
        expected = np.maximum(sizes * both / samples, 1e-12)
        chi = ((table - expected) ** 2 / expected).sum(axis=(1, 2))
        cramer = np.sqrt(chi / samples / max(1, min(shape) - 1))[:, None]
        if not shuffle.grouped:
            return np.asarray(cramer)
        apart = table / sizes - (both - table) / (samples - sizes)
        return np.hstack([cramer, apart.reshape(len(places), -1)])

    p_values = shuffle.p_values(lambda places: np.abs(figures(places)))
    here = np.arange(samples)[None]
    table = tables(here)[0]
    rows = [_overall(column, "Cramer's V", figures(here)[0], p_values, _test_name(shuffle))]
    for place, mechanism in enumerate(known):
        for number in np.flatnonzero(table.sum(axis=0) >= RARE):
            own, other = table[place], table.sum(axis=0) - table[place]
            inside, outside = own[number] / own.sum(), other[number] / other.sum()
            if shuffle.grouped:
                p_value = p_values[1 + place * shape[1] + number]
            else:
                rest = [own.sum() - own[number], other.sum() - other[number]]
                p_value = fisher_exact([[own[number], other[number]], rest]).pvalue
            rows.append(
                column.row(
                    int(mechanism),
                    category=column.categories[number],
                    inside=float(inside),
                    outside=float(outside),
                    effect=float(inside - outside),
                    measure="difference of shares",
                    test=_test_name(shuffle) if shuffle.grouped else "Fisher's exact test",
                    p_value=float(p_value),
                )
            )
    return rows


def _overall(
    column: _Column, measure: str, effects: np.ndarray, p_values: np.ndarray, test: str
) -> dict[str, Any]:
    more = {"effect": float(effects[0]), "p_value": float(p_values[0])}
    return column.row(ALL, measure=measure, test=test, **more)


def _test_name(shuffle: _Shuffle) -> str:
    return "permutation of groups" if shuffle.grouped else "permutation"
