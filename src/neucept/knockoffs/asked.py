"""The settings of a selection, and what is refused of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from neucept.errors import SettingsError
from neucept.knockoffs.density import check_density
from neucept.knockoffs.sampling import MOST_KNOCKOFFS, Sampler
from neucept.knockoffs.screening import LEAST_SAMPLES
from neucept.knockoffs.statistics import Statistic, find_statistic
from neucept.runtime import is_real, is_whole

MOST_DRAWS = 10_000


@dataclass(frozen=True)
class Asked:
    """The settings of a selection, as a caller gives them.

    Attributes:
        fdr: As in `select`.
        statistic: As in `select`.
        knockoffs: As in `select`.
        draws: As in `select`.
        dither: As in `select`; where a selection is run, what "auto" stands for is settled.
        floor: As in `select`, and settled like the dither.
        rows: As in `select`.
        aggregate: As in `select`.
        reasons: Why a setting is what it is, by name, where it was settled elsewhere.
        notes: More for `Selection.settings`: what the audit that chose has seen.
    """

    fdr: float = 0.1
    statistic: str | Statistic = "auto"
    knockoffs: int | Literal["auto"] = "auto"
    draws: int | Literal["auto"] = "auto"
    dither: float | Literal["auto"] = "auto"
    floor: float | Literal["auto"] = "auto"
    rows: int | Literal["auto", "all"] = "auto"
    aggregate: Literal["e_values", "frequency"] = "e_values"
    reasons: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def least(self) -> float:
        """The floor as a number; 0 where it was left to us and nothing settled it."""
        return 0.0 if is_auto(self.floor) else float(self.floor)


def check_settings(asked: Asked, sampler: object = "auto") -> None:
    """Refuse what no selection can be run with.

    Args:
        asked: The settings; dither and floor may be "auto" here.
        sampler: As in `select`.

    Raises:
        SettingsError: a setting is unknown or out of range.
    """
    if not isinstance(sampler, Sampler):
        check_density(sampler)
    find_statistic(asked.statistic)
    if not is_real(asked.fdr) or not 0 < asked.fdr < 1:
        raise SettingsError(f"fdr is {asked.fdr!r}. Pass a number between 0 and 1, such as 0.1.")
    for name, value, most in (
        ("knockoffs", asked.knockoffs, MOST_KNOCKOFFS),
        ("draws", asked.draws, MOST_DRAWS),
    ):
        if not is_auto(value) and not (is_whole(value) and 1 <= int(value) <= most):
            raise SettingsError(
                f"{name} is {value!r}. Pass 'auto' or a whole number from 1 to {most}."
            )
    dither: object = asked.dither
    if not is_auto(dither) and not (is_real(dither) and 0 <= dither < np.inf):
        raise SettingsError(f"dither is {dither!r}. Pass 'auto' or a number of at least 0.")
    floor: object = asked.floor
    if not is_auto(floor) and not (is_real(floor) and 0 <= floor < 1):
        raise SettingsError(f"floor is {floor!r}. Pass 'auto' or a share from 0 to less than 1.")
    rows: object = asked.rows
    named = isinstance(rows, str) and rows in ("auto", "all")
    if not named and not (is_whole(rows) and rows >= LEAST_SAMPLES):
        raise SettingsError(
            f"rows is {rows!r}. Pass 'auto', 'all' or a whole number of at least {LEAST_SAMPLES}."
        )
    if asked.aggregate not in ("e_values", "frequency"):
        raise SettingsError(f"aggregate is {asked.aggregate!r}. Pass 'e_values' or 'frequency'.")


def is_auto(value: object) -> bool:
    """Whether a setting is left to us."""
    return isinstance(value, str) and value == "auto"
