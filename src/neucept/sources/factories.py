"""Calling a function of the user's own: ``file.py:name`` or ``package.module:name``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from neucept.errors import InputError, near_names

LONGEST_REASON = 300
"""Characters of the user's own exception that are quoted."""


def call_factory(spec: str, wanted: str, error: type[InputError]) -> Any:
    """What the user's factory returns when called with no arguments.

    The folder of the factory's file (for a module: the current folder) is on ``sys.path`` while
    its code runs, so that it can import its neighbours, and is taken off again afterwards.

    Args:
        spec: ``"file.py:name"`` or ``"package.module:name"``.
        wanted: What the factory stands for, as error texts put it: ``"model"``, ``"data"``.
        error: The exception class to raise.

    Returns:
        Whatever the factory returned.

    Raises:
        InputError: of class `error`: the file, module or name is missing, or the code raised; an
            `InputError` that the factory itself raises passes unchanged.
    """
    place, name = split_spec(spec, wanted, error)
    folder = _folder(place)
    with _importable(folder):
        module = _import(place, spec, wanted, error)
        factory = _attribute(module, place, name, wanted, error)
        try:
            return factory()
        except InputError:
            raise
        except (Exception, SystemExit) as cause:
            raise error(_raised(f"The {wanted} factory '{spec}' raised", cause, folder)) from cause


def split_spec(spec: str, wanted: str, error: type[InputError]) -> tuple[str, str]:
    """The place (a file or a dotted module) and the name in ``place:name``.

    Raises:
        InputError: of class `error`: `spec` has no such form.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name.isidentifier():
        raise error(
            f"The {wanted} '{spec}' does not name a factory. Write 'file.py:function' or "
            "'package.module:function'."
        )
    return place, name


def is_file(place: str) -> bool:
    """Whether the part before the colon is a file rather than a dotted module name."""
    return place.endswith(".py") or "/" in place or "\\" in place


def _import(place: str, spec: str, wanted: str, error: type[InputError]) -> ModuleType:
    try:
        if is_file(place):
            return _import_file(Path(place), wanted, error)
        return importlib.import_module(place)
    except InputError:
        raise
    except ModuleNotFoundError as cause:
        missing = cause.name or ""
        if is_file(place) or not (place == missing or place.startswith(missing + ".")):
            raise error(_raised(f"Importing '{place}' raised", cause, _folder(place))) from cause
        raise error(
            f"There is no module '{missing}' for the {wanted} '{spec}', neither installed nor in "
            f"'{Path.cwd()}'. Install it, or name its file: 'file.py:{spec.rpartition(':')[2]}'."
        ) from cause
    except (Exception, SystemExit) as cause:
        raise error(_raised(f"Importing '{place}' raised", cause, _folder(place))) from cause


def _import_file(path: Path, wanted: str, error: type[InputError]) -> ModuleType:
    if not path.is_file():
        neighbours = (
            sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        )
        advice = f" {near_names(path.name, neighbours)}" if neighbours else ""
        raise error(f"There is no file '{path}' for the {wanted} factory.{advice} Check its path.")
    resolved = path.resolve()
    name = f"neucept_user_{hashlib.blake2b(str(resolved).encode(), digest_size=6).hexdigest()}"
    module_spec = importlib.util.spec_from_file_location(name, resolved)
    if module_spec is None or module_spec.loader is None:
        raise error(f"'{path}' is not a Python file. Name one that ends in '.py'.")
    module = importlib.util.module_from_spec(module_spec)
    # Registered because dataclasses and typing look a class's module up by name.
    sys.modules[name] = module
    module_spec.loader.exec_module(module)
    return module


def _attribute(
    module: ModuleType, place: str, name: str, wanted: str, error: type[InputError]
) -> Callable[[], Any]:
    factory = getattr(module, name, None)
    if factory is None:
        own = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        raise error(f"'{place}' has no {wanted} factory '{name}'. {near_names(name, own)}")
    if not callable(factory):
        raise error(
            f"'{name}' in '{place}' is a {type(factory).__name__}, not a {wanted} factory. "
            "Name a function that takes no arguments."
        )
    return factory  # type: ignore[no-any-return]


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Put `folder` first on the import path; afterwards, take it off and forget its modules.

    They are forgotten because two studies in one process may each have a ``network.py``.
    """
    before = set(sys.modules)
    entry = str(folder)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
        added = set(sys.modules) - before
        own = {top for top in added if "." not in top and _lies_directly_in(folder, top)}
        for name in added:
            if name.partition(".")[0] in own:
                del sys.modules[name]


def _lies_directly_in(folder: Path, module: str) -> bool:
    origin = getattr(getattr(sys.modules.get(module), "__spec__", None), "origin", None)
    return origin in (str(folder / f"{module}.py"), str(folder / module / "__init__.py"))


def _folder(place: str) -> Path:
    return Path(place).resolve().parent if is_file(place) else Path.cwd()


def _raised(what: str, cause: BaseException, folder: Path) -> str:
    reason = " ".join(str(cause).split())
    if len(reason) > LONGEST_REASON:
        reason = reason[:LONGEST_REASON] + "..."
    text = f"{what}: {type(cause).__name__}" + (f": {reason}" if reason else "")
    return f"{text} ({_where(cause, folder)}). Mend it there."


def _where(cause: BaseException, folder: Path) -> str:
    """``file:line`` of the deepest frame of the user's own code, else of the deepest one."""
    if isinstance(cause, SyntaxError) and cause.filename:
        return f"{Path(cause.filename).name}:{cause.lineno}"
    frames = traceback.extract_tb(cause.__traceback__)
    own = [frame for frame in frames if _is_own(Path(frame.filename), folder)]
    frame = (own or list(frames))[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _is_own(file: Path, folder: Path) -> bool:
    return folder in file.parents and "site-packages" not in file.parts
