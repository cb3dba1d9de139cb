"""``neucept demo``: a whole study with nothing but the library."""

from __future__ import annotations

from pathlib import Path

from neucept.cli.screen import progress
from neucept.cli.summary import show


def demo(*, out: Path = Path("demo")) -> None:
    """Train a small network to tell even from odd digits, then study "even".

    Args:
        out: The folder for the network, the study and its page.
    """
    from neucept.demo import run_demo

    with progress() as advance:
        study = run_demo(out, progress=advance)
    show(study, study.path / "report.html")
