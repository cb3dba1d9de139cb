"""What a study found, on one screen, in the words of its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from neucept.cli.screen import cells, console, one_line, table

if TYPE_CHECKING:
    from neucept.report.summary import Summary
    from neucept.study.folder import Study

MOST_LAYERS = 12
"""Layers listed; the page has them all."""


def show(study: Study, page: Path) -> None:
    """Print the summary of a finished study on stdout.

    Args:
        study: The study.
        page: Where its page was written.
    """
    from neucept.report.reading import Subject
    from neucept.report.summary import summary

    out = console()
    said = summary(Subject(study, images=False))
    out.print()
    out.print(one_line(said.question), style="bold")
    out.print(one_line(said.answer))
    for more in (said.how_sure, said.source):
        if more:
            out.print(one_line(more))
    out.print()
    _mechanisms(out, study)
    _layers(out, said)
    for more in (said.promise, said.audited, *said.remarks):
        if more:
            out.print(one_line(more))
    agreement = study.info["mechanisms"].get("agreement")
    if agreement:
        out.print(f"Agreement with the known sub-classes (AMI): {agreement['ami']:.2f}.")
    out.print()
    out.print(f"Page: {one_line(page)}", soft_wrap=True)


def _mechanisms(out: Console, study: Study) -> None:
    from neucept.report.words import count, letter, percent, score

    if study.mechanisms.empty:
        return
    numbers = ("samples", "share", "stability", "accuracy")
    shown = table(("mechanism", *numbers), numbers)
    for row in study.mechanisms.to_dict("records"):
        name, size = letter(int(row["mechanism"])), count(int(row["size"]))
        shares = percent(row["share"]), score(row["stability"]), percent(row["accuracy"])
        shown.add_row(*cells(name, size, *shares))
    out.print(shown)
    out.print()


def _layers(out: Console, said: Summary) -> None:
    from neucept.report.words import count

    cores = any(found.core for found in said.found)
    neurons = "neurons of the core" if cores else "neurons, most evidence first"
    sizes = ("core", "critical") if cores else ("critical",)
    shown = table(("layer", *sizes, neurons), sizes)
    for found in said.found[:MOST_LAYERS]:
        core = (count(found.core) if found.core else "none",) if cores else ()
        shown.add_row(*cells(found.layer, *core, found.count, found.first))
    out.print(shown)
    if len(said.found) > MOST_LAYERS:
        out.print(f"{len(said.found) - MOST_LAYERS} more layers are on the page.")
    out.print()
