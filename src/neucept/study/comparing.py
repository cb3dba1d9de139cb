"""The verb: two networks on the same samples, and which mechanisms of the one the other has."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from neucept.activations import Activations
from neucept.errors import DataError, StudyError
from neucept.evaluation.persistence import HALF, Fate, Persistence, persistence
from neucept.study.folder import Study

FIRST, SECOND = "first", "second"

_FATES = {
    FIRST: {"lost": "vanishes"},
    SECOND: {"lost": "appears", "splits": "merged", "merges": "split off"},
}
"""What became of a group, told forwards in time: from the first study to the second."""


@dataclass(frozen=True)
class Comparison:
    """What two studies of one class say of the samples that are in both.

    Attributes:
        target: The class, by name.
        n_common: Samples that are in both studies' data.
        n_both: Those of them that have a mechanism in both: the ones mechanisms are compared on.
        same_prediction: Share of the common samples that both networks predict alike.
        ami: Adjusted mutual information of the mechanisms; NaN where a study has a single one.
        ami_chance: Probability of as much between unrelated mechanisms of these sizes.
        contingency: Common samples by mechanism in the first study (rows) and in the second
            (columns); -1 for those that have none there, being predicted otherwise.
        mechanisms: One row per mechanism of either study: study ("first" or "second"), mechanism,
            size (in its own study), stability, stays (share of its common samples that have a
            mechanism in the other study), status, partners (mechanisms of the other study, a JSON
            list), overlap (Jaccard index with the partners), low and high (its 95 % interval over
            samples), needed, chance. Status is, forwards from the first study: "persists",
            "splits", "merges" or "vanishes"; of the second: "persists", "split off", "merged" or
            "appears"; or "unstable" where it hardly comes back within its own study either, and
            "not seen" where none of its samples is in the other data.
        samples: One row per common sample that has a mechanism in either: id, position_first,
            position_second, label (-1 when not known), prediction_first, prediction_second,
            changed (whether they differ), mechanism_first, mechanism_second, moved (whether it
            went elsewhere than to a partner of its mechanism).
    """

    target: str
    n_common: int
    n_both: int
    same_prediction: float
    ami: float
    ami_chance: float
    contingency: pd.DataFrame = field(repr=False)
    mechanisms: pd.DataFrame = field(repr=False)
    samples: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The table of mechanisms; a copy."""
        return self.mechanisms.copy()


def compare(study_a: Study, study_b: Study, *, seed: int = 0) -> Comparison:
    """Tell which mechanisms of one network another has too, on the samples that both studied.

    Samples go by their ids, or by position where both studies are of the same data. Mechanisms are
    compared on the samples that have one in both; what each network predicts is compared on all.
    See `neucept.evaluation.persistence` for when a mechanism persists, splits or merges. One of
    which most samples have no mechanism in the other study vanishes, or appears, whatever becomes
    of the rest.

    Args:
        study_a: The first study, such as of the network before fine-tuning.
        study_b: The second study, of the same class.
        seed: Draws the unrelated mechanisms that the agreement is compared with.

    Returns:
        The comparison.

    Raises:
        StudyError: the studies are of different classes, or one is incomplete.
        DataError: they have no sample in common, no sample has a mechanism in both, or one has no
            mechanisms.
        StorageError: a study's activations are gone.
    """
    first, second = _Side(study_a), _Side(study_b)
    target = _same_class(first, second)
    rows_a, rows_b = _common(first, second)
    mech_a, mech_b = first.mechanism[rows_a], second.mechanism[rows_b]
    both = (mech_a >= 0) & (mech_b >= 0)
    if not both.any():
        raise DataError(
            f"None of {len(rows_a)} common samples is predicted as '{target}' in both "
            f"'{study_a.path}' and '{study_b.path}', so there is nothing to compare."
        )
    found = persistence(mech_a[both], mech_b[both], first.stability, second.stability, seed=seed)
    table = pd.concat(
        [_fates(first, FIRST, found.first, mech_a, mech_b),
         _fates(second, SECOND, found.second, mech_b, mech_a)],
        ignore_index=True,
    )  # fmt: skip
    samples = _samples(first, second, rows_a, rows_b, found)
    return Comparison(
        target=target,
        n_common=len(rows_a),
        n_both=int(both.sum()),
        same_prediction=float(
            (_said(first, second, rows_a) == _said(second, first, rows_b)).mean()
        ),
        ami=found.ami,
        ami_chance=found.ami_chance,
        contingency=_contingency(mech_a, mech_b, len(first.stability), len(second.stability)),
        mechanisms=table,
        samples=samples,
    )


class _Side:
    """What a comparison needs of one study."""

    def __init__(self, study: object) -> None:
        if not isinstance(study, Study):
            kind = type(study).__name__
            raise StudyError(f"A study is a {kind}. Open it first: Study.open(path).")
        if study.mechanisms.empty:
            why = study.info["mechanisms"].get("message", "")
            raise DataError(f"The study in '{study.path}' has no mechanisms to compare. {why}")
        acts = Activations.open(study.path / "activations.zarr")
        self.study, self.info = study, study.info
        self.ids, self.predictions, self.labels = acts.ids, acts.predictions, acts.labels
        self.classes: list[str] | None = study.info.get("classes")
        self.sizes = study.mechanisms["size"].to_numpy()
        self.stability = study.mechanisms["stability"].to_numpy(dtype=float)
        self.mechanism = np.full(acts.n_samples, -1)
        self.mechanism[study.samples["position"]] = study.samples["mechanism"]

    @property
    def numbered(self) -> bool:
        """Whether the samples have no names of their own."""
        return self.ids == tuple(str(i) for i in range(len(self.ids)))


def _same_class(first: _Side, second: _Side) -> str:
    one, two = first.info["target"], second.info["target"]
    key = "name" if first.classes and second.classes else "index"
    if one[key] != two[key]:
        raise StudyError(
            f"The study in '{first.study.path}' is of '{one['name']}', the one in "
            f"'{second.study.path}' of '{two['name']}'. Compare studies of one class."
        )
    return str(one["name"])


def _common(first: _Side, second: _Side) -> tuple[np.ndarray, np.ndarray]:
    """Positions in either study of the samples that are in both."""
    places = f"'{first.study.path}' and '{second.study.path}'"
    what = "set of samples"
    if first.info["identity"].get(what) == second.info["identity"].get(what):
        return np.arange(len(first.ids)), np.arange(len(second.ids))
    if first.numbered and second.numbered:
        raise DataError(
            f"The studies in {places} are of different data, whose samples have no names to tell "
            "the same ones by. Give the datasets ids, and run the studies again."
        )
    if first.ids == second.ids:
        rows_a = rows_b = np.arange(len(first.ids))
    else:
        rows_a, rows_b = _by_id(first, second, places)
    _check_labels(first, second, rows_a, rows_b)
    return rows_a, rows_b


def _by_id(first: _Side, second: _Side, places: str) -> tuple[np.ndarray, np.ndarray]:
    for side in (first, second):
        if len(set(side.ids)) < len(side.ids):
            raise DataError(
                f"Samples of the study in '{side.study.path}' share an id, so those of {places} "
                "cannot be told apart. Give each sample an id of its own, and run it again."
            )
    there = {name: place for place, name in enumerate(second.ids)}
    pairs = [(i, there[name]) for i, name in enumerate(first.ids) if name in there]
    if not pairs:
        raise DataError(
            f"The studies in {places} have no sample in common: the ids of the first are like "
            f"'{first.ids[0]}', of the second like '{second.ids[0]}'. Study the same samples."
        )
    rows = np.array(pairs, dtype=np.int64)
    return rows[:, 0], rows[:, 1]


def _check_labels(first: _Side, second: _Side, rows_a: np.ndarray, rows_b: np.ndarray) -> None:
    if first.labels is None or second.labels is None or first.classes != second.classes:
        return
    other = np.flatnonzero(first.labels[rows_a] != second.labels[rows_b])
    if len(other):
        name = first.ids[rows_a[other[0]]]
        raise DataError(
            f"Sample '{name}' has label {first.labels[rows_a[other[0]]]} in '{first.study.path}' "
            f"and {second.labels[rows_b[other[0]]]} in '{second.study.path}': the same ids stand "
            "for different samples. Study the same samples."
        )


def _said(side: _Side, other: _Side, rows: np.ndarray) -> np.ndarray:
    """What a network predicts, by name where both networks' classes have names."""
    predicted = side.predictions[rows]
    if side.classes and other.classes:
        return np.array([side.classes[index] for index in predicted], dtype=object)
    return np.asarray(predicted)


def _fates(
    side: _Side, which: str, fates: tuple[Fate, ...], own: np.ndarray, others: np.ndarray
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for fate in fates:
        members = own == fate.group
        stays = float((others[members] >= 0).mean()) if members.any() else float("nan")
        status = fate.status if stays >= HALF else "lost" if members.any() else "not seen"
        rows.append(
            {
                "study": which,
                "mechanism": fate.group,
                "size": int(side.sizes[fate.group]),
                "stability": side.stability[fate.group],
                "stays": stays,
                "status": _FATES[which].get(status, status),
                "partners": json.dumps(list(fate.partners)),
                "overlap": fate.overlap,
                "low": fate.low,
                "high": fate.high,
                "needed": fate.needed,
                "chance": fate.chance,
            }
        )
    return pd.DataFrame(rows)


def _contingency(first: np.ndarray, second: np.ndarray, rows: int, columns: int) -> pd.DataFrame:
    counts = np.zeros((rows + 1, columns + 1), dtype=np.int64)
    np.add.at(counts, (first, second), 1)  # -1 is the last row or column
    return pd.DataFrame(
        counts,
        index=pd.Index([*range(rows), -1], name=FIRST),
        columns=pd.Index([*range(columns), -1], name=SECOND),
    )


def _samples(
    first: _Side, second: _Side, rows_a: np.ndarray, rows_b: np.ndarray, found: Persistence
) -> pd.DataFrame:
    mech_a, mech_b = first.mechanism[rows_a], second.mechanism[rows_b]
    said_a, said_b = _said(first, second, rows_a), _said(second, first, rows_b)
    partners = np.zeros((len(found.first) + 1, len(found.second) + 1), dtype=bool)
    for fate in found.first:
        partners[fate.group, list(fate.partners)] = True
    labels = np.full(len(rows_a), -1) if first.labels is None else first.labels[rows_a]
    either = (mech_a >= 0) | (mech_b >= 0)
    table = pd.DataFrame(
        {
            "id": [first.ids[i] for i in rows_a],
            "position_first": rows_a,
            "position_second": rows_b,
            "label": labels,
            "prediction_first": said_a,
            "prediction_second": said_b,
            "changed": said_a != said_b,
            "mechanism_first": mech_a,
            "mechanism_second": mech_b,
            "moved": (mech_a >= 0) & (mech_b >= 0) & ~partners[mech_a, mech_b],
        }
    )
    kept: pd.DataFrame = table.loc[either]
    return kept.reset_index(drop=True)
