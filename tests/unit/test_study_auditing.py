"""The audit of a finished study, and the command that runs it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch.utils.data import TensorDataset

from neucept import cli
from neucept.errors import SettingsError, StudyError
from neucept.evaluation import planted_network
from neucept.knockoffs.planting import PLANTED
from neucept.study.auditing import audit_study
from neucept.study.folder import Study
from neucept.study.run import run_study
from neucept.study.settings import StudySettings

QUICK = StudySettings(
    sampler="gaussian",
    statistic="lasso",
    dither=0.25,
    draws=2,
    n_mechanisms=1,
    audit=0,
    keep=0.0,
    ablation_modes=("zero",),
    ablation_samples=20,
    pictures=0,
    n_jobs=1,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    planted = planted_network(seed=0)
    to = tmp_path_factory.mktemp("audit") / "study"
    run_study(planted.model, TensorDataset(planted.x, planted.labels), 1, to, QUICK)
    return to


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Study:
    shutil.copytree(finished, tmp_path / "study")
    return Study.open(tmp_path / "study")


def test_every_layer_and_kind_is_audited_as_the_study_selected(study: Study) -> None:
    assert all(entry["audit"] is None for entry in study.info["layers"])
    audited, table = audit_study(study, repeats=2, n_jobs=1)
    names = [entry["name"] for entry in audited.info["layers"]]
    assert list(dict.fromkeys(table["layer"])) == names
    wanted = {(kind, noise) for kind in PLANTED for noise in (0.0, 0.5)}
    for _, rows in table.groupby("layer"):
        assert set(zip(rows["kind"], rows["noise"], strict=True)) == wanted
    for entry in audited.info["layers"]:
        assert entry["dither"] == 0.25
        assert entry["audit"]["repeats"] == 2
        mine = table[table["layer"] == entry["name"]]
        assert entry["audit"]["fdr"] == pytest.approx(mine["fdr"].mean())
    pd.testing.assert_frame_equal(pd.read_parquet(study.path / "audit.parquet"), table)
    assert audited.info["finished"]
    assert not (study.path / ".pieces").exists()


def test_one_that_was_cut_short_goes_on(study: Study, monkeypatch) -> None:
    from neucept.critical import layer

    whole = audit_study(study, repeats=2, n_jobs=1)[1]
    measure, calls = layer.measure, []

    def second_fails(*arguments, **more):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments, **more)

    monkeypatch.setattr(layer, "measure", second_fails)
    with pytest.raises(KeyboardInterrupt):
        audit_study(study, repeats=2, n_jobs=1)
    again = audit_study(Study.open(study.path), repeats=2, n_jobs=1)[1]
    pd.testing.assert_frame_equal(again, whole)
    # The layer that was finished is not measured again.
    assert len(calls) == 1 + len(study.info["layers"])


def again(study: Study, settings: StudySettings) -> Study:
    planted = planted_network(seed=0)
    data = TensorDataset(planted.x, planted.labels)
    return run_study(planted.model, data, 1, study.path, settings)


def test_a_study_that_runs_again_keeps_its_audit_while_its_neurons_are_the_same(
    study: Study,
) -> None:
    audited = audit_study(study, repeats=2, n_jobs=1)[0]
    same = again(study, replace(QUICK, ablation_samples=30))
    assert same.info["layers"] == audited.info["layers"]
    assert (study.path / "audit.parquet").exists()
    other = again(study, replace(QUICK, draws=3))
    assert all(entry["audit"] is None for entry in other.info["layers"])
    assert not (study.path / "audit.parquet").exists()
    assert other.info["seconds"].keys() == study.info["seconds"].keys()


def test_a_study_that_was_cut_short_meanwhile_is_not_audited(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neucept.study.run.discover_mechanisms", killed)
    with pytest.raises(KeyboardInterrupt):
        again(study, replace(QUICK, draws=3))
    with pytest.raises(StudyError, match="was changed since it was opened"):
        audit_study(study, repeats=2, n_jobs=1)
    with pytest.raises(StudyError, match="is not finished"):
        Study.open(study.path)


def test_the_command_says_what_it_measured_and_renews_the_page(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["audit", str(study.path), "--repeats", "2", "--n-jobs", "1"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    for entry in Study.open(study.path).info["layers"]:
        assert " ".join(f"{entry['name']}: {entry['audit']['summary']}".split()) in " ".join(
            out.split()
        )
    assert "measured" in (study.path / "report.html").read_text(encoding="utf-8")


def test_what_cannot_be_audited_is_refused_and_nothing_changes(
    study: Study, tmp_path: Path
) -> None:
    before = (study.path / "study.json").read_bytes()
    with pytest.raises(SettingsError, match="repeats is 1"):
        audit_study(study, repeats=1)
    assert Study.open(study.path).info["layers"] == study.info["layers"]
    assert np.all(before == (study.path / "study.json").read_bytes())
    with pytest.raises(StudyError, match="holds no study"):
        Study.open(tmp_path / "nothing")
