"""Does the promised precision hold on these neurons? Measured on targets planted on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from neucept.errors import DataError, SettingsError, near_names
from neucept.knockoffs.asked import Asked
from neucept.knockoffs.filter import e_bh
from neucept.knockoffs.planting import PLANTED, Planted, Wanted, check_noise, plant_all, score
from neucept.knockoffs.sampling import Sampler
from neucept.knockoffs.selecting import run_at_floors
from neucept.knockoffs.selection import Selection
from neucept.runtime import (
    Progress,
    derived_seed,
    is_whole,
    read_arrays,
    write_arrays,
)

LEAST_REPEATS = 2
"""With fewer there is no error bar."""

FEWEST_PLANTED, MOST_PLANTED = 3, 20

WIDE = ("log_odds",)
"""Kinds that are planted on half of the neurons: a class score depends on many."""

WIDE_TARGETS = 3
"""Targets of such a kind and noise in each repeat: they differ much from one another."""

TELLING = 0.5
"""With neurons named for a smaller share of the targets, a low rate says little."""

LEEWAY = 1.5
"""A single kind may be so many times over the level before the audit fails."""


@dataclass(frozen=True, eq=False)
class Audit:
    """Realised false discovery rate and power on targets whose neurons are known.

    Attributes:
        trials: One row per planted target: repeat, kind, noise, planted (how many neurons, a group
            counts as one here and below), named, false_proportion, power.
        level: The false discovery rate that was asked for.
        settings: What was used, as in `Selection.settings`, and of the audit itself: kinds,
            noises, repeats, planted, seed; plain JSON values.
    """

    trials: pd.DataFrame = field(repr=False)
    level: float
    settings: dict[str, Any]

    @property
    def table(self) -> pd.DataFrame:
        """One row per kind and noise; errors are standard errors over the repeats.

        Columns: kind, noise, fdr, fdr_error, power, power_error, repeats, named (mean number).
        """
        rows = []
        for (kind, noise), cell in self.trials.groupby(["kind", "noise"], sort=False):
            each = cell.groupby("repeat")[["false_proportion", "power", "named"]].mean()
            wrong, wrong_error = _mean(each["false_proportion"].to_numpy())
            power, power_error = _mean(each["power"].to_numpy())
            rows.append(
                {
                    "kind": kind,
                    "noise": noise,
                    "fdr": wrong,
                    "fdr_error": wrong_error,
                    "power": power,
                    "power_error": power_error,
                    "repeats": len(each),
                    "named": float(each["named"].mean()),
                }
            )
        return pd.DataFrame(rows)

    @property
    def fdr(self) -> float:
        """The mean share of wrong neurons among the named, over all kinds and noises."""
        return self._wrong()[0]

    @property
    def fdr_error(self) -> float:
        """Standard error of `fdr`, from the means of the repeats."""
        return self._wrong()[1]

    @property
    def power(self) -> float:
        """The mean share of the planted neurons that were named, over all kinds and noises."""
        return float(self.trials.groupby("kind")["power"].mean().mean())

    @property
    def kinds(self) -> pd.DataFrame:
        """One row per kind, over its noises: kind, fdr, fdr_error, passes.

        A kind passes by the spread between repeats that all kinds have together, where its
        own is smaller: the spread of two or three numbers can be small by chance.
        """
        repeated = self.trials.groupby(["kind", "repeat"], sort=False)["false_proportion"].mean()
        spread = np.sqrt(repeated.groupby("kind").var(ddof=1).mean())
        pooled = float(spread / np.sqrt(self.trials["repeat"].nunique()))
        rows = []
        for kind in self.trials["kind"].unique():
            wrong, error = self._wrong(kind)
            passes = wrong <= LEEWAY * self.level + 2 * max(error, pooled)
            rows.append({"kind": kind, "fdr": wrong, "fdr_error": error, "passes": passes})
        return pd.DataFrame(rows)

    @property
    def passes(self) -> bool:
        """Whether the level holds here: the estimate and one standard error stay under it.

        A single kind, with few repeats, is too noisy for that; none may be over 1.5 times the
        level by more than two standard errors.
        """
        return self.fdr + self.fdr_error <= self.level and bool(self.kinds["passes"].all())

    @property
    def named_share(self) -> float:
        """The share of the planted targets for which any neuron was named."""
        return float((self.trials["named"] > 0).groupby(self.trials["kind"]).mean().mean())

    def joined(self, other: Audit) -> Audit:
        """One audit of the targets of both, which were planted and selected for alike.

        Args:
            other: An audit of the same neurons with other repeats.
        """
        begin = int(self.trials["repeat"].max()) + 1
        later = other.trials.assign(repeat=other.trials["repeat"] + begin)
        repeats = int(self.settings["repeats"]) + int(other.settings["repeats"])
        return Audit(
            pd.concat([self.trials, later], ignore_index=True),
            self.level,
            {**self.settings, "repeats": repeats},
        )

    def summary(self) -> str:
        """One sentence: asked for, measured, found and, where it fails, the worst kind."""
        # The error is rounded up, so that the sentence never sounds surer than the audit is.
        text = (
            f"asked for {100 * self.level:.3g} %, measured {100 * self.fdr:.0f} % "
            f"+- {np.ceil(round(100 * self.fdr_error, 6)):.0f} %, "
            f"finds {100 * self.power:.0f} % of planted neurons"
        )
        if self.named_share < TELLING:
            text += (
                f", but names any for only {100 * self.named_share:.0f} % of the planted targets: "
                "the rate is low because little is found, and says little of what is"
            )
        if self.passes:
            return text
        worst = max(self.trials["kind"].unique(), key=lambda kind: self._wrong(kind)[0])
        share = 100 * self._wrong(worst)[0]
        return f"{text}; the level is not shown to hold, least for kind '{worst}' ({share:.0f} %)"

    def to_json(self) -> dict[str, Any]:
        """The verdict and `table`, as plain JSON values."""
        return {
            "summary": self.summary(),
            "passes": bool(self.passes),
            "level": self.level,
            "fdr": self.fdr,
            "fdr_error": self.fdr_error,
            "power": self.power,
            "repeats": int(self.settings["repeats"]),
            "table": self.table.to_dict("records"),
        }

    def to_frame(self) -> pd.DataFrame:
        """`table`."""
        return self.table

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays that `runtime.write_arrays` can store."""
        arrays = {name: column.to_numpy() for name, column in self.trials.items()}
        arrays["kind"] = arrays["kind"].astype(np.str_)
        text = {"level": self.level, "settings": self.settings}
        return {**{str(k): v for k, v in arrays.items()}, "text": np.array(json.dumps(text))}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Audit:
        """The audit that `to_arrays` took apart."""
        text = json.loads(str(arrays["text"]))
        trials = pd.DataFrame({name: a for name, a in arrays.items() if name != "text"})
        return cls(trials, text["level"], text["settings"])

    def save(self, path: Path | str) -> None:
        """Write the audit to one file.

        Raises:
            StorageError: the file cannot be written.
        """
        write_arrays(path, self.to_arrays())

    @classmethod
    def load(cls, path: Path | str) -> Audit:
        """Read an audit that `save` wrote.

        Raises:
            StorageError: the file is missing or cut short.
        """
        return cls.from_arrays(read_arrays(path))

    def _wrong(self, kind: str | None = None) -> tuple[float, float]:
        trials = self.trials if kind is None else self.trials[self.trials["kind"] == kind]
        each = trials.groupby(["repeat", "kind"])["false_proportion"].mean()
        return _mean(each.groupby("repeat").mean().to_numpy())


def measure(
    x: Float[np.ndarray, "samples neurons"],
    sampler: Sampler,
    asked: Asked,
    cells: Sequence[tuple[str, float]],
    *,
    floors: Sequence[float] | None = None,
    repeats: int,
    planted: int | Literal["auto"] = "auto",
    seed: int,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> list[Audit]:
    """Select for planted targets and count what is wrong.

    Args:
        x: Activations, as `sampler.check` returns them.
        sampler: Fitted to these neurons.
        asked: How to select, the dither a number.
        cells: Kind and noise of each target of a repeat.
        floors: Floors to audit, all from the same targets and draws; None for that of `asked`.
        repeats: As in `audit`.
        planted: As in `audit`.
        seed: As in `audit`.
        n_jobs: As in `audit`.
        progress: Told after each finished task, with the stage "audit".

    Returns:
        An audit for each floor.

    Raises:
        DataError: too few neurons can be tested.
        SettingsError: `planted` is out of range.
    """
    floors = (asked.least,) if floors is None else floors
    tested = len(sampler.screening.tested)
    size = {kind: _size(planted, tested, kind) for kind, _ in cells}
    wanted = [
        Wanted(kind, noise, size[kind], number)
        for kind, noise in cells
        for number in range(WIDE_TARGETS if kind in WIDE else 1)
    ]
    trials: list[list[dict[str, Any]]] = [[] for _ in floors]
    settings: list[dict[str, Any]] = []
    for repeat in range(repeats):
        targets = plant_all(x, wanted, sampler, seed, repeat)
        found = run_at_floors(
            x,
            np.stack([target.y for target in targets], axis=1),
            sampler,
            asked,
            floors,
            seed=derived_seed(seed, "audit draws", repeat),
            n_jobs=n_jobs,
            progress=_passed_on(progress, repeat, repeats),
        )
        for rows, selection in zip(trials, found, strict=True):
            rows += [
                _trial(selected_alone(selection, t, sampler), target, repeat)
                for t, target in enumerate(targets)
            ]
        settings = [dict(selection.settings) for selection in found]
    more = {
        "targets": "joint",
        "n_targets": 1,
        "seed": int(seed),
        "kinds": list(size),
        "noises": list(dict.fromkeys(noise for _, noise in cells)),
        "repeats": int(repeats),
        "planted": size,
    }
    return [
        Audit(pd.DataFrame(rows), float(asked.fdr), {**own, **more})
        for rows, own in zip(trials, settings, strict=True)
    ]


def selected_alone(found: Selection, target: int, sampler: Sampler) -> Selection:
    """What selecting for one of the separate targets alone would have returned.

    Args:
        found: A selection with separate targets.
        target: Which of them.
        sampler: The one that was selected with.

    Evidence for a target comes from fits that see no other target, but separate targets are
    selected for together: here e-BH runs over the neurons only.
    """
    tested = sampler.screening.tested
    passed = tested[e_bh(found.e_values[tested, target], found.fdr)]
    selected = np.zeros(len(found.selected), dtype=bool)
    for neuron, leader in sampler.screening.representative.items():
        selected[neuron] = leader in passed
    return replace(
        found,
        selected=selected,
        e_values=found.e_values[:, target],
        scores=found.scores[:, target],
        frequency=found.frequency[:, target],
    )


def _trial(selection: Selection, target: Planted, repeat: int) -> dict[str, Any]:
    wrong, power = score(selection, target)
    doubles = sum(len(group) - 1 for group in selection.groups if selection.selected[group[0]])
    return {
        "repeat": repeat,
        "kind": target.kind,
        "noise": target.noise,
        "planted": len(target.neurons),
        "named": int(selection.selected.sum()) - doubles,
        "false_proportion": wrong,
        "power": power,
    }


def _passed_on(progress: Progress | None, repeat: int, repeats: int) -> Progress | None:
    """Progress of one selection as progress of the audit."""
    if progress is None:
        return None

    def told(stage: str, done: int, total: int) -> None:
        if stage == "select":
            progress("audit", repeat * total + done, repeats * total)

    return told


def _mean(values: Float[np.ndarray, " repeats"]) -> tuple[float, float]:
    """Mean and standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def cells_of(
    kinds: Sequence[str] | None, noises: Sequence[float], repeats: int
) -> list[tuple[str, float]]:
    """Kind and noise of each target of a repeat.

    Raises:
        SettingsError: a kind, a noise or the number of repeats is none.
    """
    _check_repeats(repeats)
    kinds = tuple(PLANTED) if kinds is None else kinds
    for name, values in (("kinds", kinds), ("noises", noises)):
        listed = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        if not listed or not len(values) or len(set(values)) != len(values):
            raise SettingsError(f"{name} is {values!r}. Pass a list of at least one, each once.")
    for kind in kinds:
        if kind not in PLANTED:
            raise SettingsError(
                f"There is no kind of target {kind!r}. {near_names(str(kind), PLANTED)}"
            )
    for noise in noises:
        check_noise(noise)
    return [(kind, float(noise)) for kind in kinds for noise in noises]


def _size(planted: object, tested: int, kind: str) -> int:
    """How many neurons a target of a kind is planted on."""
    if tested <= FEWEST_PLANTED:
        raise DataError(
            f"Only {tested} neurons can be tested; an audit plants {FEWEST_PLANTED} and needs "
            "others that are false. Audit a wider layer."
        )
    if isinstance(planted, str) and planted == "auto":
        if kind in WIDE:
            return max(FEWEST_PLANTED, tested // 2)
        return min(MOST_PLANTED, max(FEWEST_PLANTED, tested // 4))
    if not is_whole(planted) or not 1 <= planted < tested:
        raise SettingsError(
            f"planted is {planted!r}. Pass 'auto' or a whole number from 1 to {tested - 1}, one "
            "less than the neurons that can be tested."
        )
    return int(planted)


def _check_repeats(repeats: object) -> None:
    if not is_whole(repeats) or repeats < LEAST_REPEATS:
        raise SettingsError(f"repeats is {repeats!r}. Pass a whole number from {LEAST_REPEATS} up.")
