"""``neucept compare``: did the mechanisms change from one network to another?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neucept.cli.screen import cells, console, one_line, table
from neucept.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import Console

    from neucept.study.comparing import Comparison


def compare(
    first: Path,
    second: Path,
    /,
    *,
    csv: Path | None = None,
    page: Path | None = None,
    images: bool = True,
) -> None:
    """Tell which mechanisms of one network another has too, on the samples that both studied.

    Args:
        first: The study folder of the first network, such as before fine-tuning.
        second: The study folder of the second network, of the same class.
        csv: A file for the table of samples: the mechanism of each in either study.
        page: An HTML file that shows it: what became of each mechanism, with examples.
        images: Show inputs on the page; --no-images leaves every one out.
    """
    if not images and page is None:
        raise SettingsError("--no-images is about the page. Pass --page too.")
    from neucept.cli.explained import write_csv
    from neucept.report import write_comparison
    from neucept.report.fates import agreement, fate
    from neucept.study.comparing import compare as compare_studies
    from neucept.study.folder import Study

    studies = Study.open(first), Study.open(second)
    found = compare_studies(*studies)
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
        out.print(one_line(fate(row)))
    out.print()
    out.print(agreement(found))
    if page is not None:
        names = first.resolve().name, second.resolve().name
        write_comparison(*studies, found, page, names=names, images=images)
        out.print(f"Page: {one_line(page)}", soft_wrap=True)


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
