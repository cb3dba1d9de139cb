from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from neucept.cli import plan as cli_plan
from neucept.cli.plan import duration, show_plan
from neucept.errors import DataError
from neucept.evaluation import planted_network
from neucept.study import plan as plan_module
from neucept.study.plan import COLUMNS, Plan, plan_study
from neucept.study.probes import Share
from neucept.study.settings import StudySettings

QUICK = {"sampler": "gaussian", "statistic": "lasso", "dither": 0.0, "audit": 0}


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
    assert list(draws) == [20, 40]
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


def test_no_samples_is_an_error(planted) -> None:
    empty = TensorDataset(torch.zeros(0, 12), torch.zeros(0))
    with pytest.raises(DataError):
        plan_study(planted[0], empty, 1, StudySettings(**QUICK))


def test_samples_that_will_be_used_over_those_that_were_timed() -> None:
    share = Share(3000, 60_000)
    assert share.times() == 20
    assert share.times(10_000) == pytest.approx(10 / 3)
    assert Share(500, 500).times(10_000) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (7300, "2.0 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_screen_tells_all(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    table = plan.table.assign(memory=[0.0, 2.34, 0.0, 0.0, 0.0])
    show_plan(Plan(table, 2))
    printed = capsys.readouterr().out
    for text in ("critical neurons", "second", "2.3 GB", "in all", "Nothing was written"):
        assert text in " ".join(printed.split())
    assert cli_plan._count(np.nan) == ""
