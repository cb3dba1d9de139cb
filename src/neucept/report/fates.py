"""What became of mechanisms from one study to another, in sentences for page and screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isnan
from typing import Any

from neucept.report.words import letter, listed, percent
from neucept.study.comparing import FIRST, SECOND, Comparison

FOUND = {
    "persists": "persists: it is {} of the {}",
    "splits": "splits into {} of the {}",
    "merges": "merges into {} of the {}",
    "split off": "is split off from {} of the {}",
    "merged": "is merged from {} of the {}",
}
"""Status of a mechanism that the other study has too, and what is said of it."""


def fate(row: Mapping[Any, Any]) -> str:
    """What became of one mechanism: a row of `Comparison.mechanisms` in a sentence."""
    partners = listed([letter(p) for p in partners_of(row)])
    other = SECOND if row["study"] == FIRST else FIRST
    name = f"{row['study'].capitalize()} {letter(row['mechanism'])}"
    overlap = (
        f"overlap {row['overlap']:.2f}, 95 % interval {row['low']:.2f} to {row['high']:.2f}; "
        f"needed {row['needed']:.2f}"
    )
    if row["status"] in FOUND:
        return f"{name} {FOUND[row['status']].format(partners, other)} ({overlap})."
    if row["status"] == "not seen":
        return f"{name} cannot be looked for: none of its samples is in the {other} study's data."
    if row["stays"] < 0.5:
        return (
            f"{name} {row['status']}: {percent(row['stays'])} of its common samples have a "
            f"mechanism in the {other} study."
        )
    if row["status"] == "unstable":
        return (
            f"{name} is unstable (stability {row['stability']:.2f} in its own study), so that it "
            f"is not found in the {other} says nothing; nearest {partners} ({overlap})."
        )
    return f"{name} {row['status']}: nearest in the {other} is {partners} ({overlap})."


def partners_of(row: Mapping[Any, Any]) -> list[int]:
    """The mechanisms of the other study that a row of `Comparison.mechanisms` names."""
    return [int(partner) for partner in json.loads(row["partners"])]


def agreement(found: Comparison) -> str:
    """How well the two groupings agree, in a sentence."""
    if isnan(found.ami):
        return "One of the studies has a single mechanism on these samples: no AMI."
    return (
        f"Agreement of the mechanisms (AMI): {found.ami:.2f}; probability of as much between "
        f"unrelated ones: {found.ami_chance:.3f}."
    )
