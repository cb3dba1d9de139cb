"""The help texts, word for word. ``NEUCEPT_GOLDEN=write pytest tests/golden`` renews them."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console

from neucept.cli import COMMANDS, main

HELP = Path(__file__).parent / "help"


@pytest.fixture(autouse=True)
def _same_terminal_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    # `run` is an app of its own, which keeps the width of the first console it met.
    monkeypatch.setattr(import_module("neucept.cli.run").run, "console", Console(width=100))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command.split(), "--help"])
    assert left.value.code == 0
    shown = "".join(line.rstrip() + "\n" for line in capsys.readouterr().out.splitlines())
    golden = HELP / f"{command or 'neucept'}.txt"
    if os.environ.get("NEUCEPT_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8")


def test_no_help_text_of_a_command_that_is_gone() -> None:
    assert {path.stem for path in HELP.glob("*.txt")} == {"neucept", *COMMANDS}
