"""The command line: one module per command, and this one, which turns errors into exit codes.

A command is one module with a function (or a cyclopts app) of its name, and one line in `COMMANDS`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn

from cyclopts import App
from cyclopts.exceptions import CycloptsError

import neucept
from neucept.cli.screen import one_line
from neucept.errors import InputError

DONE, BUG, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "Train a small network on handwritten digits and study it, to see what comes out.",
        "layers": "List the layers of a network that can be studied.",
        "run": "Study one class of a network: from its activations to the page.",
        "audit": "Measure whether the promised precision holds on a study's layers.",
        "explain": "Tell which mechanism is behind a prediction, and how typical it is.",
        "compare": "Tell which mechanisms of one network another has too.",
        "report": "Write the page of a finished study again.",
    }
)
"""Every command and what it does; module and function have its name and load when it is called."""


def app() -> App:
    """The command line, with no command loaded yet."""
    line = App(
        name="neucept",
        help="Is a class predicted for one reason or for several?",
        version=neucept.__version__,
        result_action="return_value",
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
    )
    for command, meaning in COMMANDS.items():
        line.command(f"neucept.cli.{command}:{command}", name=command, help=meaning)
    return line


def main(tokens: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code.

    Args:
        tokens: The words after ``neucept``; None for those of this process.

    Raises:
        SystemExit: always: 0 done, 2 the user's input is wrong (one line on stderr says what),
            130 interrupted, 1 a bug.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_exit_code(sys.argv[1:] if tokens is None else list(tokens)))


def _exit_code(tokens: Sequence[str]) -> int:
    try:
        app()(tokens, exit_on_error=False, print_error=False)
    except InputError as error:
        return _say(str(error), WRONG_INPUT)
    except CycloptsError as error:
        error.verbose = False
        return _say(f"{error} See 'neucept --help'.", WRONG_INPUT)
    except KeyboardInterrupt:
        return _say(
            "interrupted. What is finished is kept: the same command goes on from there.",
            INTERRUPTED,
        )
    # A bug must say so, with what is needed to mend it.
    except Exception as error:  # noqa: BLE001
        traceback.print_exception(error)
        return _say("this is a bug in neucept. Please report it with the lines above.", BUG)
    return DONE


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"neucept: {one_line(text)}\n")
    return code
