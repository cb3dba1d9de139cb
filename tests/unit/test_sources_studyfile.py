"""The study file: what it says, and how each slip in it is answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neucept.errors import InputError, SettingsError, StorageError
from neucept.sources import class_index, read_study_file, target_index

WHOLE = """
[model]
factory = "nets/network.py:build"
weights = "weights.pt"
[data]
factory = "package.images:load"
classes = ["airplane", "bird", "cat"]
metadata = "tables/planes.csv"
groups = "flight"
[study]
target = "cat"
layers = ["layer2", "layer3"]
fdr = 0.2
to = "out"
"""

LEAST = """
[model]
factory = "network.py:build"
[data]
factory = "images.py:load"
[study]
target = 3
"""

KNOWN = ("layers", "fdr", "seed")


def write(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read_study_file(write(folder, text), KNOWN)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_it_can_say(tmp_path: Path) -> None:
    said = read_study_file(write(tmp_path, WHOLE), KNOWN)
    assert said.model == f"{tmp_path / 'nets/network.py'}:build"
    assert said.weights == tmp_path / "weights.pt"
    assert said.data == "package.images:load"
    assert said.classes == ("airplane", "bird", "cat")
    assert said.metadata == tmp_path / "tables/planes.csv"
    assert said.groups == "flight"
    assert said.target == "cat"
    assert said.to == tmp_path / "out"
    assert dict(said.settings) == {"layers": ["layer2", "layer3"], "fdr": 0.2}


def test_the_least_it_must_say(tmp_path: Path) -> None:
    said = read_study_file(write(tmp_path, LEAST))
    assert (said.weights, said.classes, said.target) == (None, None, 3)
    assert (said.metadata, said.groups) == (None, None)
    assert said.to == tmp_path / "study"
    assert dict(said.settings) == {}


def test_paths_are_relative_to_the_file_and_not_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", WHOLE)
    monkeypatch.chdir(tmp_path)
    said = read_study_file("deep/study.toml")
    assert said.to == tmp_path / "deep" / "out"
    assert said.model == f"{tmp_path / 'deep/nets/network.py'}:build"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    text = LEAST.replace("network.py:build", "/elsewhere/network.py:build")
    assert read_study_file(write(tmp_path, text)).model == "/elsewhere/network.py:build"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Cannot read the study file"):
        read_study_file(tmp_path / "none.toml")
    with pytest.raises(StorageError, match="Cannot read the study file"):
        read_study_file(tmp_path)


def test_unreadable_toml_names_the_line(tmp_path: Path) -> None:
    assert "line 3" in refused(tmp_path, "[model]\nfactory = 'a.py:b'\nweights = = 3\n")


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"[model]\nfactory = '\xff\xfe'\n")
    with pytest.raises(SettingsError, match="not UTF-8"):
        read_study_file(path)


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("[model]", "[modle]", "unknown section or key 'modle'. Did you mean 'model'?"),
        ("[model]", 'name = "x"\n[model]', "unknown section or key 'name'"),
        ("fdr = 0.2", "frd = 0.2", "unknown key 'frd' in [study]. Did you mean 'fdr'?"),
        ("weights =", "wieghts =", "Did you mean 'weights'?"),
        ("classes =", "class =", "Did you mean 'classes'?"),
        ("[model]", "", "unknown section or key 'factory'"),
        ('factory = "nets/network.py:build"', "", "no 'factory' in [model]"),
        ('factory = "nets/network.py:build"', "factory = 3", "has factory = 3 in [model]"),
        ("nets/network.py:build", "network.py", "does not name a factory"),
        ('target = "cat"', "", "no 'target' in [study]"),
        ('target = "cat"', 'target = "cta"', "There is no class 'cta'. Did you mean 'cat'?"),
        ('target = "cat"', "target = 3", "Class indices run from 0 to 2"),
        ('target = "cat"', "target = -1", "Class indices run from 0 to 2"),
        ('target = "cat"', "target = true", "has target = True"),
        ('target = "cat"', 'target = ["cat"]', "Write one class"),
        ('target = "cat"', 'target = ["cat", "bird", "cat"]', "or two for a contrast"),
        ('target = "cat"', 'target = ["cat", true]', "or two for a contrast"),
        ('target = "cat"', 'target = ["cat", "cat"]', "names the class 'cat' twice"),
        ('target = "cat"', 'target = ["cat", 2]', "names the class 'cat' twice"),
        ('target = "cat"', 'target = ["cat", "brid"]', "Did you mean 'bird'?"),
        ('["airplane", "bird", "cat"]', '"cat"', "has classes = 'cat'"),
        ('["airplane", "bird", "cat"]', "[]", "has classes = []"),
        ('["airplane", "bird", "cat"]', "[1, 2]", "has classes = [1, 2]"),
        ('["airplane", "bird", "cat"]', '["cat", "cat"]', "names the class 'cat' twice"),
        ('to = "out"', "to = 5", "has to = 5 in [study]"),
        ('to = "out"', 'to = ""', "has to = '' in [study]"),
    ],
)
def test_a_slip_and_its_answer(tmp_path: Path, old: str, new: str, answer: str) -> None:
    assert old in WHOLE
    assert answer in refused(tmp_path, WHOLE.replace(old, new, 1))


def test_a_missing_section_says_what_is_needed(tmp_path: Path) -> None:
    text = refused(tmp_path, LEAST.partition("[study]")[0])
    assert "no section [study]" in text
    assert "[study] target" in text


def test_a_value_in_the_place_of_a_section(tmp_path: Path) -> None:
    assert "Write a section: [model]" in refused(tmp_path, "model = 3\n")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_line(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_bytes(content)
        try:
            read_study_file(path, KNOWN)
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("target", "classes", "index"),
    [
        (2, None, 2),
        ("2", None, 2),
        (2, ("a", "b", "c"), 2),
        ("b", ("a", "b", "c"), 1),
        ("1", ("2", "1", "0"), 1),
        ("0", ("2", "1", "0"), 2),
        (0, ("2", "1", "0"), 0),
        ("2", ("a", "b", "c"), 2),
    ],
)
def test_a_class_by_name_or_index(
    target: str | int, classes: tuple[str, ...] | None, index: int
) -> None:
    assert class_index(target, classes) == index


def test_two_classes_in_a_list_are_a_contrast(tmp_path: Path) -> None:
    said = read_study_file(write(tmp_path, WHOLE.replace('"cat"\n', '["cat", 0]\n')))
    assert said.target == ("cat", 0)
    assert target_index(said.target, said.classes) == (2, 0)
    assert read_study_file(write(tmp_path, LEAST.replace("3", "[3, 5]"))).target == (3, 5)


def test_a_target_is_one_class_or_a_pair() -> None:
    assert target_index("dog", ("cat", "dog")) == 1
    assert target_index(("dog", "0"), ("cat", "dog")) == (1, 0)
    assert target_index((3, 5), None) == (3, 5)
    for wrong in (("cat",), ("cat", "dog", "owl"), ["cat", "dog"], ()):
        with pytest.raises(SettingsError, match="one class, or a pair"):
            target_index(wrong, ("cat", "dog", "owl"))
    with pytest.raises(SettingsError, match="names the class '1' twice"):
        target_index(("1", "dog"), ("cat", "dog"))


@pytest.mark.parametrize(
    ("target", "classes", "answer"),
    [
        ("cat", None, "no class names are known"),
        ("cta", ("cat", "dog"), "Did you mean 'cat'?"),
        (2, ("cat", "dog"), "from 0 to 1"),
        (-1, None, "from 0."),
        ("-1", ("cat", "dog"), "from 0 to 1"),
        (True, None, "no class names are known"),
        ("", ("cat", "dog"), "There is no class ''"),
    ],
)
def test_a_class_that_is_not_there(
    target: str | int, classes: tuple[str, ...] | None, answer: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        class_index(target, classes)
    assert answer in str(caught.value)
