"""A factory is the user's own code, found by file or module and run beside its neighbours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from neucept.errors import DataError, ModelError
from neucept.sources.factories import call_factory


def call(spec: str) -> object:
    return call_factory(spec, "model", ModelError)


def refused(spec: str) -> str:
    with pytest.raises(ModelError) as caught:
        call(spec)
    text = str(caught.value)
    assert "\n" not in text
    return text


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_is_found_by_its_path(tmp_path: Path) -> None:
    path = write(tmp_path / "own.py", "def build():\n    return 41 + 1\n")
    assert call(f"{path}:build") == 42


def test_a_relative_file_is_found_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "own.py", "def build():\n    return 'here'\n")
    monkeypatch.chdir(tmp_path)
    assert call("own.py:build") == "here"


def test_a_module_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "own_package" / "__init__.py", "")
    write(tmp_path / "own_package" / "nets.py", "def build():\n    return 'package'\n")
    monkeypatch.chdir(tmp_path)
    assert call("own_package.nets:build") == "package"
    assert not [name for name in sys.modules if name.startswith("own_package")]


def test_an_installed_module_is_found_and_stays_loaded() -> None:
    assert call("collections:OrderedDict") == {}
    assert "collections" in sys.modules


def test_neighbours_can_be_imported_and_leave_no_trace(tmp_path: Path) -> None:
    write(tmp_path / "neighbour.py", "WORD = 'first'\n")
    write(tmp_path / "own.py", "import neighbour\ndef build():\n    return neighbour.WORD\n")
    before = list(sys.path)
    assert call(f"{tmp_path / 'own.py'}:build") == "first"
    assert sys.path == before
    assert "neighbour" not in sys.modules


def test_two_folders_may_hold_files_of_the_same_name(tmp_path: Path) -> None:
    for word in ("first", "second"):
        write(tmp_path / word / "neighbour.py", f"WORD = '{word}'\n")
        write(tmp_path / word / "own.py", "import neighbour\ndef build(): return neighbour.WORD\n")
    found = [call(f"{tmp_path / word / 'own.py'}:build") for word in ("first", "second")]
    assert found == ["first", "second"]


def test_a_neighbour_may_be_imported_when_the_factory_runs(tmp_path: Path) -> None:
    write(tmp_path / "neighbour.py", "WORD = 'late'\n")
    path = write(
        tmp_path / "own.py",
        "def build():\n    import neighbour\n    return neighbour.WORD\n",
    )
    assert call(f"{path}:build") == "late"


def test_the_path_is_put_back_when_the_factory_raises(tmp_path: Path) -> None:
    path = write(tmp_path / "own.py", "def build():\n    raise ValueError('no')\n")
    before = list(sys.path)
    refused(f"{path}:build")
    assert sys.path == before


@pytest.mark.parametrize("spec", ["own.py", "own.py:", ":build", "own.py:not a name", "own"])
def test_a_text_that_names_no_factory(spec: str) -> None:
    assert "'file.py:function'" in refused(spec)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "network.py", "")
    text = refused(f"{tmp_path / 'netwrok.py'}:build")
    assert "Did you mean 'network.py'?" in text


def test_a_missing_factory_names_the_near_ones(tmp_path: Path) -> None:
    path = write(
        tmp_path / "own.py", "from json import loads\ndef build(): ...\ndef other(): ...\n"
    )
    assert "Did you mean 'build'?" in refused(f"{path}:biuld")
    far = refused(f"{path}:zzz")
    assert "Known: build, other." in far
    assert "loads" not in far


def test_a_missing_module_is_named() -> None:
    text = refused("no_such_package.nets:build")
    assert "no module 'no_such_package'" in text
    assert "file.py:build" in text


def test_a_module_that_lacks_a_library_names_the_library(tmp_path: Path) -> None:
    path = write(tmp_path / "own.py", "import math\nimport no_such_library\n")
    text = refused(f"{path}:build")
    assert "ModuleNotFoundError: No module named 'no_such_library' (own.py:2)" in text


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "own.py", "x = 1\ndef build(:\n")
    assert "SyntaxError" in refused(f"{path}:build")
    assert "(own.py:2)" in refused(f"{path}:build")


def test_a_factory_that_raises_is_quoted_with_the_users_own_line(tmp_path: Path) -> None:
    path = write(tmp_path / "own.py", "import json\ndef build():\n    return json.loads('{\\n')\n")
    text = refused(f"{path}:build")
    assert "raised: JSONDecodeError: Expecting property name" in text
    assert "(own.py:3)" in text


def test_the_users_own_line_is_found_in_a_package_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "own_package" / "__init__.py", "")
    text = "import json\ndef build():\n    return json.loads('{')\n"
    write(tmp_path / "own_package" / "nets.py", text)
    monkeypatch.chdir(tmp_path)
    assert "(nets.py:3)" in refused("own_package.nets:build")


@pytest.mark.parametrize("statement", ["raise SystemExit('bye')", "import sys; sys.exit(0)"])
def test_a_factory_that_leaves_does_not_end_the_program(tmp_path: Path, statement: str) -> None:
    path = write(tmp_path / "own.py", f"def build():\n    {statement}\n")
    assert "SystemExit" in refused(f"{path}:build")


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "own.py", "def build():\n    raise ValueError('word ' * 1000)\n")
    text = refused(f"{path}:build")
    assert len(text) < 600
    assert "..." in text


def test_an_error_written_for_the_user_passes_unchanged(tmp_path: Path) -> None:
    path = write(
        tmp_path / "own.py",
        "from neucept.errors import DataError\n"
        "def build():\n    raise DataError('Set the folder.')\n",
    )
    with pytest.raises(DataError, match=r"^Set the folder\.$"):
        call(f"{path}:build")


def test_a_name_that_is_no_function(tmp_path: Path) -> None:
    path = write(tmp_path / "own.py", "build = 3\n")
    assert "'build' in" in refused(f"{path}:build")
    assert "is a int, not a model factory" in refused(f"{path}:build")


def test_a_failed_import_can_be_mended_and_tried_again(tmp_path: Path) -> None:
    path = write(tmp_path / "own.py", "raise ValueError('broken')\n")
    refused(f"{path}:build")
    write(path, "def build():\n    return 'mended and longer than before'\n")
    assert call(f"{path}:build") == "mended and longer than before"
