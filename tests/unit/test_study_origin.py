"""Where a network came from: kept beside the study, found again, and never run from inside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from neucept.errors import ModelError, StudyError
from neucept.study.folder import KIND, Study
from neucept.study.origin import recall_model, remember_origin

NETWORK = """
from torch import nn

def build():
    return nn.Linear(3, 2)
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A finished study as its folder tells it, and beside it the files of its network."""
    folder = tmp_path / "work" / "study"
    folder.mkdir(parents=True)
    info = {
        "kind": KIND,
        "format": 1,
        "finished": True,
        "accepted": True,
        "identity": {"network": "n", "set of samples": "s", "class": "1"},
        "stages": {"capture": "k"},
        "neucept": "0",
        "name": "tiny",
        "n_samples": 5,
        "n_predicted": 5,
        "target": {"index": 1, "name": "dog"},
        "layers": [],
        "mechanisms": {"n": 0},
        "settings": {},
    }
    (folder / "study.json").write_text(json.dumps(info))
    (tmp_path / "work" / "own.py").write_text(NETWORK)
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "work" / "weights.pt")
    return Study.open(folder)


def test_paths_are_kept_beside_the_study_and_say_nothing_of_the_machine(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "work")
    again = remember_origin(study, "own.py:build", "package.data:load", Path("weights.pt"))
    assert again.info["origin"] == {
        "model": "../own.py:build",
        "data": "package.data:load",
        "weights": "../weights.pt",
    }
    assert tmp_path.name not in (study.path / "study.json").read_text()
    assert {k: v for k, v in again.info.items() if k != "origin"} == dict(study.info)


def test_the_network_is_found_again_from_anywhere_and_after_a_move(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    spec = f"{work / 'own.py'}:build"
    remember_origin(study, spec, spec, work / "weights.pt")
    work.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    found = recall_model(Study.open(tmp_path / "elsewhere" / "study"))
    known = torch.load(tmp_path / "elsewhere" / "weights.pt", weights_only=True)
    assert torch.equal(found.state_dict()["weight"], known["weight"])


def test_what_no_longer_resolves_is_one_line(study: Study, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not say where its network came from"):
        recall_model(study)
    spec = f"{tmp_path / 'work' / 'own.py'}:build"
    again = remember_origin(study, spec, spec, tmp_path / "work" / "weights.pt")
    (tmp_path / "work" / "weights.pt").unlink()
    with pytest.raises(ModelError, match=r"no longer loads: There is no weights .* pass --model"):
        recall_model(again)
    (tmp_path / "work" / "own.py").unlink()
    with pytest.raises(
        ModelError, match=r"no longer loads: There is no file .* pass --model"
    ) as no:
        recall_model(again)
    assert "\n" not in str(no.value)


@pytest.mark.parametrize("inside", ["own.py:build", "deep/own.py:build", "../study/own.py:build"])
def test_code_in_the_study_folder_is_not_run(study: Study, inside: str) -> None:
    for place in (study.path / "own.py", study.path / "deep" / "own.py"):
        place.parent.mkdir(exist_ok=True)
        place.write_text("raise SystemExit('ran')")
    info = json.loads((study.path / "study.json").read_text())
    info["origin"] = {"model": inside, "data": inside, "weights": None}
    (study.path / "study.json").write_text(json.dumps(info))
    with pytest.raises(StudyError, match="inside its own folder, which is not run"):
        recall_model(Study.open(study.path))


@pytest.mark.parametrize("origin", ["text", {"data": "a.py:b"}, {"model": 3}, {"model": "none"}])
def test_an_entry_that_says_nothing(study: Study, origin: object) -> None:
    info = json.loads((study.path / "study.json").read_text())
    (study.path / "study.json").write_text(json.dumps({**info, "origin": origin}))
    with pytest.raises(ModelError, match="does not say where|does not name a factory"):
        recall_model(Study.open(study.path))
