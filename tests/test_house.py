"""The house rules that no other tool checks."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import neucept

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "neucept").rglob("*.py"))


def test_public_names_are_sorted_exist_and_are_documented() -> None:
    names = neucept.__all__
    assert list(names) == sorted(names, key=str.casefold)
    for name in names:
        thing = getattr(neucept, name)
        if name != "__version__":
            assert thing.__doc__ and len(thing.__doc__.split()) > 4, name


def test_public_functions_describe_every_argument() -> None:
    missing = []
    for name in neucept.__all__:
        thing = getattr(neucept, name)
        if not callable(thing) or isinstance(thing, type):
            continue
        for argument in thing.__annotations__:
            if argument != "return" and f"{argument}:" not in thing.__doc__:
                missing.append(f"{name}({argument})")
    assert not missing


def test_changelog_names_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{neucept.__version__}]" in text or "## [Unreleased]" in text


def test_modules_and_functions_keep_their_size() -> None:
    too_long = []
    for path in SOURCES:
        text = path.read_text()
        if len(text.splitlines()) > 420:
            too_long.append(f"{path.name}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = ast.get_docstring(node)
                length = node.end_lineno - node.lineno + 1 - len((doc or "").splitlines())
                if length > 60:
                    too_long.append(f"{path.name}:{node.name}: {length} lines")
    assert not too_long


def test_the_library_is_silent_and_raises_its_own_errors() -> None:
    offences = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assert):
                offences.append(f"{path.name}:{node.lineno} assert")
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if called and node.func.id == "print" and "cli" not in str(path):
                offences.append(f"{path.name}:{node.lineno} print")
    assert not offences


def test_no_drawer_for_everything() -> None:
    banned = {"utils", "helpers", "common", "misc", "types"}
    assert not {p.stem for p in SOURCES} & banned


def test_readme_links_lead_somewhere() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/guarantee.md"):
        text = (ROOT / page).read_text()
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
            assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"


def test_every_module_of_the_package_imports() -> None:
    for path in SOURCES:
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
