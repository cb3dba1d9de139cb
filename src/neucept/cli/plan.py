"""``neucept run --dry-run``: what a study would do, on one screen."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from neucept.cli.screen import cells, console, table

if TYPE_CHECKING:
    from neucept.study.plan import Plan


def show_plan(plan: Plan) -> None:
    """Print the stages of a planned study on stdout, with what each is expected to need."""
    numbers = ("samples", "neurons", "targets", "draws", "memory", "time")
    shown = table(("stage", "layer", *numbers), numbers)
    for row in plan.table.to_dict("records"):
        counts = (_count(row[name]) for name in ("samples", "neurons", "targets", "draws"))
        memory = f"{row['memory']:.1f} GB" if row["memory"] >= 0.05 else ""
        shown.add_row(*cells(row["stage"], row["layer"], *counts, memory, duration(row["seconds"])))
    out = console()
    out.print(shown)
    out.print()
    out.print(
        f"About {duration(plan.seconds)} in all, with {plan.memory:.1f} GB beyond the network and "
        "the data: an estimate, timed on a few samples. Nothing was written."
    )


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, with two figures at most."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _count(value: float) -> str:
    return "" if isnan(value) else f"{value:,.0f}"
