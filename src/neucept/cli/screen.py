"""What the commands show: progress, tables, and text that cannot steer the terminal."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

import rich.progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from neucept.runtime import Progress

QUIET_SECONDS = 30.0
"""Where no bar can be drawn: how often a stage that takes long says how far it is."""


def one_line(text: object) -> str:
    """Text on one line, without characters that could steer the terminal.

    Args:
        text: Anything; names and messages may come from the user's files.

    Returns:
        The text with white space joined and every control character made visible as U+FFFD.
    """
    joined = " ".join(str(text).split())
    steering = ("Cc", "Cf", "Cs")
    return "".join("\ufffd" if unicodedata.category(c) in steering else c for c in joined)


def console() -> Console:
    """Where results go. Text is never read as markup, so that a name cannot colour or link."""
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False)


def table(columns: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """An empty table.

    Args:
        columns: The column headings.
        numbers: Those of them that hold numbers, aligned to the right.
    """
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def cells(*values: object) -> tuple[Text, ...]:
    """The cells of one row; what a name holds is shown, never obeyed."""
    return tuple(Text(one_line(value)) for value in values)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show how far the work is: bars on a terminal's stderr, else a line per stage on stdout.

    Without a terminal stderr stays free for what went wrong.

    Yields:
        The callback to hand to the library.
    """
    stderr = Console(file=sys.stderr, markup=False, highlight=False, emoji=False)
    if not stderr.is_terminal:
        yield _Lines().advance
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=stderr, transient=True) as bars:
        yield _Bars(bars).advance


class _Bars:
    """Progress on a terminal: a bar for what runs, a line for what is done."""

    def __init__(self, bars: rich.progress.Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}

    def advance(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._begun[stage] = monotonic()
            self._tasks[stage] = self._bars.add_task(one_line(stage), total=total or None)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)
        if done >= total > 0:
            self._bars.remove_task(self._tasks.pop(stage))
            self._bars.console.print(_finished(stage, total, monotonic() - self._begun[stage]))


class _Lines:
    """Progress where nothing can be redrawn: logs, pipes, notebooks."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[float, int]] = {}
        self._spoken = 0.0

    def advance(self, stage: str, done: int, total: int) -> None:
        now = monotonic()
        if stage not in self._begun:
            self._begun[stage], self._spoken = (now, done), now
            _say(f"{one_line(stage)} ...")
        begun, first = self._begun[stage]
        if done >= total > 0:
            del self._begun[stage]
            _say(_finished(stage, total, now - begun))
        elif done > first and now - self._spoken >= QUIET_SECONDS:
            self._spoken = now
            pace = (now - begun) / (done - first)
            # Iterables do not tell how many samples they hold; their total is 0.
            of_all = f" of {total:,}, about {pace * (total - done):.0f} s left" if total else ""
            _say(f"{one_line(stage)}: {done:,}{of_all}")


def _finished(stage: str, total: int, seconds: float) -> str:
    return f"{one_line(stage)}: {total:,} done in {seconds:.1f} s"


def _say(text: str) -> None:
    console().print(text, soft_wrap=True)
