"""The causal check of a study: off unless asked for, resumed, and told why where there is none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import quick_study
from quick_study import run

from neucept.evaluation import PlantedNetwork, Selectivity, planted_network
from neucept.report import write_report
from neucept.study import selective
from neucept.study.folder import Study

QUICK = replace(quick_study.QUICK, selectivity=30)


@pytest.fixture(scope="module")
def planted() -> PlantedNetwork:
    return planted_network(samples=400, seed=0)


@pytest.fixture(scope="module")
def study(planted: PlantedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run(planted, tmp_path_factory.mktemp("selective") / "study", QUICK)[0]


def test_each_cut_takes_its_own_mechanism_and_spares_the_other(
    study: Study, planted: PlantedNetwork, tmp_path: Path
) -> None:
    entry = study.info["selectivity"]
    assert (entry["layer"], entry["message"]) == ("second", "")
    assert len(entry["cuts"]) == study.info["mechanisms"]["n"] == 2
    critical = set(planted.critical["second"].tolist())
    for cut in entry["cuts"]:
        assert set(cut["neurons"]) <= critical
    table = study.selectivity.set_index(["cut", "mechanism"])
    for own, other in ((0, 1), (1, 0)):
        assert table.loc[(own, own), "changed_low"] > 0.5
        assert table.loc[(own, other), "changed_high"] < 0.3
    kept = Selectivity.load(study.path / "selectivity.npz")
    assert [cut.neurons.tolist() for cut in kept.cuts] == [c["neurons"] for c in entry["cuts"]]
    page = write_report(study, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "of second takes" in page
    assert 'id="cuts"' in page


def test_it_is_recalled_and_goes_when_it_is_switched_off(
    study: Study, planted: PlantedNetwork, tmp_path: Path
) -> None:
    to = shutil.copytree(study.path, tmp_path / "study")
    again, told = run(planted, to, QUICK)
    assert told == set()
    assert again.info["selectivity"] == study.info["selectivity"]
    off, told = run(planted, to, replace(QUICK, selectivity=0))
    assert told == set()
    assert off.info["selectivity"] is None
    assert off.selectivity.empty
    assert not list(to.glob("selectivity.*"))
    back, told = run(planted, to, QUICK)
    assert told == {"selectivity"}
    assert back.selectivity.equals(study.selectivity)


def test_too_few_samples_are_an_answer_that_is_kept(
    study: Study,
    planted: PlantedNetwork,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neucept.evaluation.halves.FEWEST_EACH", 1000)
    to = shutil.copytree(study.path, tmp_path / "study")
    few, told = run(planted, to, replace(QUICK, selectivity=31))
    assert told <= {"selectivity"}
    assert "at least 2000 samples each" in few.info["selectivity"]["message"]
    assert few.selectivity.empty
    page = write_report(few, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No cut takes one mechanism and spares the others." in page

    def never(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(selective, "selectivity", never)
    same, _ = run(planted, to, replace(QUICK, selectivity=31))
    assert same.info["selectivity"] == few.info["selectivity"]
