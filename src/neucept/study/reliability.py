"""How well low typicality finds wrong predictions and foreign inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from neucept.errors import DataError
from neucept.evaluation.ranking import auroc
from neucept.study.explaining import LEVEL, Explanation

WRONG, FOREIGN = "wrong predictions", "foreign inputs"

BANDS = (0.0, LEVEL, 0.2, 0.5, 1.0)
"""Typicality between which the share of wrong predictions is counted."""


@dataclass(frozen=True)
class Reliability:
    """What "atypical" is worth on some samples, among those predicted as the class.

    Attributes:
        target: Index of the class that was studied.
        level: Typicality at or under which a sample counts as atypical.
        table: One row per kind that was looked for ("wrong predictions", "foreign inputs"): what,
            auroc (chance that one of them is less typical than one of the others), error (its
            standard error), wanted and others (how many of each), flagged (share of the wanted
            that are atypical) and flagged_others. NaN where there is none.
    """

    target: int
    level: float
    table: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The table; a copy."""
        return self.table.copy()

    def summary(self) -> str:
        """What was measured, in a sentence for each kind."""
        return " ".join(_sentence(row, self.level) for row in self.table.to_dict("records"))


def reliability(explained: Explanation, foreign: Explanation | None = None) -> Reliability:
    """Measure how well low typicality finds what should not be relied on.

    Only samples predicted as the class studied count: of others the mechanisms say nothing. The
    samples should not have fitted the mechanisms, or be the study's own, whose typicality is
    cross-fitted; `explain` sees to that.

    Args:
        explained: Samples of the kind that the network is for; with labels, wrong predictions are
            looked for among them.
        foreign: Inputs that belong to no class, explained by the same study.

    Returns:
        The figures.

    Raises:
        DataError: there are neither labels nor foreign inputs, nothing is predicted as the class,
            or the two explanations are of different classes or levels.
    """
    _check(explained, foreign)
    own = explained.table[explained.table["of_class"]]
    rows = []
    labelled = own[own["label"] >= 0]
    if len(labelled):
        wrong = labelled["prediction"] != labelled["label"]
        rows.append(_row(WRONG, labelled[wrong], labelled[~wrong]))
    if foreign is not None:
        strange = foreign.table[foreign.table["of_class"]]
        rows.append(_row(FOREIGN, strange, own))
    return Reliability(explained.target, explained.level, pd.DataFrame(rows))


def own_reliability(samples: pd.DataFrame) -> dict[str, Any] | None:
    """How well low typicality finds the wrong predictions among a study's own samples.

    Args:
        samples: The study's table of samples; their typicality is cross-fitted.

    Returns:
        level, auroc, error, wanted (how many are wrong), others, flagged, flagged_others (shares
        that are atypical) and bands: from least to most typical, low and high (typicality),
        samples, wrong, share, share_low and share_high (95 %, Wilson 1927). None for a figure that
        cannot be had; None for all where no sample has a label or a typicality.
    """
    own = samples[(samples["label"] >= 0) & samples["typicality"].notna()]
    if own.empty:
        return None
    own = own.assign(atypical=own["typicality"] <= LEVEL)
    wrong = own["prediction"] != own["label"]
    row = _row(WRONG, own[wrong], own[~wrong])
    figures = {name: value for name, value in row.items() if name != "what"}
    bands = []
    for low, high in pairwise(BANDS):
        within = (own["typicality"] <= high) & ((own["typicality"] > low) | (low == 0))
        bands.append(_band(low, high, int(within.sum()), int((within & wrong).sum())))
    known = {n: None if isinstance(v, float) and np.isnan(v) else v for n, v in figures.items()}
    return {"level": LEVEL, **known, "bands": bands}


def _band(low: float, high: float, samples: int, wrong: int) -> dict[str, Any]:
    share = dict.fromkeys(("share", "share_low", "share_high"))
    if samples:
        span = binomtest(wrong, samples).proportion_ci(method="wilson")
        share = dict(zip(share, (wrong / samples, float(span.low), float(span.high)), strict=True))
    return {"low": low, "high": high, "samples": samples, "wrong": wrong, **share}


def _check(explained: Explanation, foreign: Explanation | None) -> None:
    if not explained.table["of_class"].any():
        raise DataError(
            f"None of {len(explained.table)} samples is predicted as class {explained.target}. "
            "Explain samples of the class that was studied."
        )
    if foreign is None and not (explained.table["label"] >= 0).any():
        raise DataError(
            "There are neither labels nor foreign inputs, so nothing to look for. "
            "Explain samples with labels, or foreign inputs too."
        )
    if foreign is not None and (foreign.target, foreign.level) != (
        explained.target,
        explained.level,
    ):
        raise DataError(
            f"The foreign inputs were explained for class {foreign.target} at level "
            f"{foreign.level:g}, the others for class {explained.target} at {explained.level:g}. "
            "Explain both alike."
        )


def _row(what: str, wanted: pd.DataFrame, others: pd.DataFrame) -> dict[str, Any]:
    first, rest = (1 - part["typicality"].to_numpy(dtype=float) for part in (wanted, others))
    area, error = auroc(first, rest)
    return {
        "what": what,
        "auroc": area,
        "error": error,
        "wanted": len(first),
        "others": len(rest),
        "flagged": _share(wanted["atypical"]),
        "flagged_others": _share(others["atypical"]),
    }


def _share(flags: pd.Series[Any]) -> float:
    return float(flags.mean()) if len(flags) else float("nan")


def _sentence(row: Mapping[Any, Any], level: float) -> str:
    start = f"{row['what'].capitalize()} among those predicted as the class: {row['wanted']:,}"
    if not row["wanted"] or not row["others"]:
        return f"{start} beside {row['others']:,} others, so nothing can be said of finding them."
    error = "" if np.isnan(row["error"]) else f" +- {row['error']:.2f}"
    return (
        f"{start}; AUROC of low typicality {row['auroc']:.2f}{error}; at {level:g}, "
        f"{100 * row['flagged']:.0f} % of them and {100 * row['flagged_others']:.0f} % of the "
        f"others are atypical."
    )
