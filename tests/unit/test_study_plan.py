from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from neucept.cli import main
from neucept.cli import plan as cli_plan
from neucept.cli.plan import duration, show_plan
from neucept.errors import DataError, SettingsError
from neucept.evaluation import planted_network
from neucept.study import plan as plan_module
from neucept.study.cutprobe import sets_tried
from neucept.study.folder import Study
from neucept.study.plan import COLUMNS, Plan, plan_study
from neucept.study.probes import Rows, Share
from neucept.study.run import run_study
from neucept.study.settings import StudySettings

QUICK = {"sampler": "gaussian", "statistic": "lasso", "dither": 0.0, "audit": 0, "keep": 0.0}


@pytest.fixture(scope="module")
def planted() -> tuple[nn.Module, TensorDataset]:
    made = planted_network(seed=0)
    return made.model, TensorDataset(made.x, made.labels)


@pytest.fixture(scope="module")
def plan(planted) -> Plan:
    return plan_study(*planted, 1, StudySettings(**QUICK))


def test_every_stage_has_a_row_in_the_order_in_which_it_runs(plan: Plan, planted) -> None:
    table = plan.table
    assert tuple(table.columns) == COLUMNS
    assert list(table["stage"]) == [
        "capture",
        "critical neurons",
        "critical neurons",
        "mechanisms",
        "ablation",
        "pictures",
    ]
    searched = table[table["stage"] == "critical neurons"]
    assert list(searched["layer"]) == ["second", "first"]
    assert list(searched["targets"]) == [1, 8]
    assert (searched["samples"] == len(planted[1])).all()
    assert (table["seconds"] > 0).all()
    assert (table["memory"] >= 0).all()
    assert plan.seconds == pytest.approx(table["seconds"].sum())
    assert plan.memory == table["memory"].max()


def test_audits_and_lines_between_layers_are_counted_as_draws(planted) -> None:
    settings = StudySettings(**QUICK)
    draws = plan_study(*planted, 1, settings).table["draws"].dropna()
    assert list(draws) == [20, 20]
    audited = StudySettings(**{**QUICK, "audit": 2, "route": "direct", "draws": 3})
    assert list(plan_study(*planted, 1, audited).table["draws"].dropna()) == [9, 9]
    chosen = StudySettings(**{**QUICK, "dither": "auto", "route": "direct", "draws": 3})
    assert list(plan_study(*planted, 1, chosen).table["draws"].dropna()) == [21, 21]


def test_few_samples_are_timed_and_the_network_is_left_as_it_was(
    planted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, data = planted
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan_module, "PROBED", 200)
    seen = []

    class Watched(TensorDataset):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    before = [p.clone() for p in model.parameters()]
    model.train()
    told = []
    watched = Watched(*data.tensors)
    settings = StudySettings(**QUICK, batch_size=50)
    found = plan_study(model, watched, 1, settings, progress=lambda *now: told.append(now))
    assert model.training
    model.eval()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    # Some over all of the data, beside the first batches that are read twice.
    assert len(set(seen)) < 300
    assert max(seen) == len(data) - 1
    assert found.table["samples"].iloc[0] == len(data)
    assert told[0][0] == "plan"
    assert told[-1][1] == told[-1][2]
    assert not list(tmp_path.iterdir())


def test_what_the_study_would_refuse_is_refused(planted) -> None:
    model, data = planted
    settings = StudySettings(**QUICK)
    with pytest.raises(DataError, match="no samples"):
        plan_study(model, TensorDataset(torch.zeros(0, 12), torch.zeros(0)), 1, settings)
    with pytest.raises(SettingsError, match="target is 99, but the network has 2 classes"):
        plan_study(model, data, 99, settings)
    with pytest.raises(DataError, match="has label 7"):
        plan_study(model, TensorDataset(data.tensors[0], data.tensors[1] + 7), 1, settings)
    predicted = model(data.tensors[0]).argmax(1).detach()
    with pytest.raises(DataError, match="0 of .* predicted as class 1"):
        plan_study(model, TensorDataset(data.tensors[0][predicted == 0]), 1, settings)


def test_a_split_divides_the_samples_and_a_given_number_the_grouping(planted, plan: Plan) -> None:
    whole = plan.table.set_index("layer")
    split = plan_study(*planted, 1, StudySettings(**QUICK, split=True)).table.set_index("layer")
    for layer in ("first", "second"):
        assert split.loc[layer, "samples"] == whole.loc[layer, "samples"] // 2
    rows = Rows(StudySettings(n_mechanisms=1, n_jobs=1), Share(100, 100), 1)
    many = Rows(StudySettings(n_mechanisms=25, n_jobs=1), Share(100, 100), 1)
    rows.group([20], 400)
    assert many.group([20], 400)["seconds"] > 2 * rows.group([20], 400)["seconds"]


def test_cuts_are_planned_where_they_are_asked_for(planted, plan: Plan) -> None:
    assert "selectivity" not in set(plan.table["stage"])
    asked = StudySettings(**QUICK, selectivity=40, n_mechanisms=2)
    table = plan_study(*planted, 1, asked).table
    assert list(table["stage"])[-3:] == ["ablation", "selectivity", "pictures"]
    row = table.set_index("stage").loc["selectivity"]
    assert row["samples"] == 2 * 2 * 40
    assert row["seconds"] > 0
    more = StudySettings(**QUICK, selectivity=300, n_mechanisms=2)
    longer = plan_study(*planted, 1, more).table.set_index("stage").loc["selectivity"]
    assert longer["samples"] == 4 * (plan.table["samples"].iloc[-1] // 4)
    assert longer["seconds"] > 1.5 * row["seconds"]
    one = StudySettings(**QUICK, selectivity=40, n_mechanisms=1)
    assert plan_study(*planted, 1, one).table.set_index("stage").loc["selectivity", "seconds"] == 0


@pytest.mark.parametrize(("candidates", "seen"), [(6, 22), (7, 26), (10, 68), (12, 68)])
def test_a_search_tries_about_as_many_sets_as_planned(candidates: int, seen: int) -> None:
    # Seen: sets that `selectivity` tried per mechanism in planted networks.
    assert seen / 2 < sets_tried(candidates) < 2 * seen


def test_samples_that_will_be_used_over_those_that_were_timed() -> None:
    share = Share(3000, 60_000)
    assert share.times() == 20
    assert share.times(10_000) == pytest.approx(10 / 3)
    assert Share(500, 500).times(10_000) == 1


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_plan_is_within_a_factor_of_two_of_the_study(planted, tmp_path: Path) -> None:
    settings = StudySettings(audit=2, draws=2, selectivity=100)
    estimated = plan_study(*planted, 1, settings)
    run_study(*planted, 1, tmp_path / "study", settings)
    seconds = Study.open(tmp_path / "study").info["seconds"]
    ratio = estimated.seconds / sum(seconds.values())
    assert 0.5 < ratio < 2, (ratio, estimated.table, seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (7300, "2.0 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_screen_tells_all(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    table = plan.table.assign(memory=[0.0, 2.34, 0.0, 0.0, 0.0, 0.0])
    show_plan(Plan(table))
    printed = capsys.readouterr().out
    for text in ("critical neurons", "second", "2.3 GB", "in all", "Nothing was written"):
        assert text in " ".join(printed.split())
    assert cli_plan._count(np.nan) == ""


def test_the_flag_plans_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Path(__file__).parents[1] / "tiny_study" / "study.toml"
    monkeypatch.chdir(tmp_path)
    flags = ["--sampler", "gaussian", "--statistic", "lasso", "--dither", "0", "--audit", "0"]
    with pytest.raises(SystemExit) as left:
        main(["run", str(tiny), "--dry-run", "--to", str(tmp_path / "there"), *flags])
    assert left.value.code in (0, None)
    assert "Nothing was written" in " ".join(capsys.readouterr().out.split())
    assert not list(tmp_path.iterdir())


def test_a_contrast_and_a_local_study_are_planned(planted) -> None:
    near = StudySettings(**QUICK, samples="near", near="7", neighbours=100)
    local = plan_study(*planted, (1, 0), near).table.set_index("stage")
    assert set(local.loc["critical neurons", "samples"]) == {100}
    assert local.loc["mechanisms", "samples"] == local.loc["pictures", "samples"] == 100
    assert local.loc["capture", "samples"] == len(planted[1])
    with pytest.raises(SettingsError, match="target is 9"):
        plan_study(*planted, (1, 9), near)
