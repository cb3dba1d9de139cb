"""``neucept compare``: did the mechanisms change from one network to another?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neucept.cli.screen import cells, console, one_line, table

if TYPE_CHECKING:
    from rich.console import Console

    from neucept.study.comparing import Comparison


def compare(first: Path, second: Path, /, *, csv: Path | None = None) -> None:
    """Tell which mechanisms of one network another has too, on the samples that both studied.

    Args:
        first: The study folder of the first network, such as before fine-tuning.
        second: The study folder of the second network, of the same class.
        csv: A file for the table of samples: the mechanism of each in either study.
    """
    from neucept.cli.explained import write_csv
    from neucept.study.comparing import compare as compare_studies
    from neucept.study.folder import Study

    found = compare_studies(Study.open(first), Study.open(second))
    if csv is not None:
        write_csv(found.samples, csv)
    out = console()
    changed = int(found.samples["changed"].sum())
    out.print(
        one_line(
            f"{found.n_common:,} samples in both; {found.n_both:,} have a mechanism of "
            f"'{found.target}' in both. {100 * found.same_prediction:.1f} % are predicted alike; "
            f"{changed:,} are predicted as '{found.target}' by one network only."
        )
    )
    out.print()
    _contingency(out, found)
    for row in found.mechanisms.to_dict("records"):
        out.print(one_line(_fate(row)))
    out.print()
    out.print(_agreement(found))


def _contingency(out: Console, found: Comparison) -> None:
    from neucept.report.words import count

    counts = found.contingency.to_numpy()
    headings = [f"second {_name(j)}" for j in _numbers(counts.shape[1])]
    shown = table(("samples", *headings), headings)
    for mechanism, row in zip(_numbers(len(counts)), counts, strict=True):
        shown.add_row(*cells(f"first {_name(mechanism)}", *(count(n) for n in row)))
    out.print(shown)
    out.print()


def _numbers(length: int) -> list[int]:
    """The mechanisms of one side of the table; last those that have none."""
    return [*range(length - 1), -1]


def _name(mechanism: int) -> str:
    from neucept.report.words import letter

    return letter(mechanism) if mechanism >= 0 else "none"


def _fate(row: Mapping[Any, Any]) -> str:
    from neucept.report.words import letter, listed, percent

    partners = listed([letter(p) for p in json.loads(row["partners"])])
    other = "second" if row["study"] == "first" else "first"
    name = f"{row['study'].capitalize()} {letter(row['mechanism'])}"
    overlap = (
        f"overlap {row['overlap']:.2f}, 95 % interval {row['low']:.2f} to {row['high']:.2f}; "
        f"needed {row['needed']:.2f}"
    )
    if row["status"] in _FOUND:
        return f"{name} {_FOUND[row['status']].format(partners, other)} ({overlap})."
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


_FOUND = {
    "persists": "persists: it is {} of the {}",
    "splits": "splits into {} of the {}",
    "merges": "merges into {} of the {}",
    "split off": "is split off from {} of the {}",
    "merged": "is merged from {} of the {}",
}


def _agreement(found: Comparison) -> str:
    if isnan(found.ami):
        return "One of the studies has a single mechanism on these samples: no AMI."
    return (
        f"Agreement of the mechanisms (AMI): {found.ami:.2f}; probability of as much between "
        f"unrelated ones: {found.ami_chance:.3f}."
    )
