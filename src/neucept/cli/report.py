"""``neucept report``: the page of a study, once more."""

from __future__ import annotations

from pathlib import Path

from neucept.cli.screen import console, one_line


def report(study: Path, /, *, images: bool = True, out: Path | None = None) -> None:
    """Write the page of a finished study again.

    Args:
        study: The study folder.
        images: Show inputs on the page; --no-images leaves every one out.
        out: The file to write; report.html in the study folder by default.
    """
    from neucept.report import write_report
    from neucept.study.folder import Study

    page = write_report(Study.open(study), out or study / "report.html", images=images)
    console().print(f"Page: {one_line(page)}", soft_wrap=True)
