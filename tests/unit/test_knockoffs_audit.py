from __future__ import annotations

import json
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from designs import gaussian

from neucept.errors import DataError, SettingsError, StorageError
from neucept.knockoffs import audit, fit_sampler, select
from neucept.knockoffs.audit import Audit
from neucept.knockoffs.density import KINDS
from neucept.knockoffs.lasso import Lasso, SeparateFits
from neucept.knockoffs.planting import PLANTED, Wanted, plant, plant_all, score
from neucept.knockoffs.selecting import run_at_floors
from neucept.runtime import derived_seed

QUICK = {
    "fdr": 0.2,
    "sampler": "gaussian",
    "statistic": "lasso",
    "knockoffs": 4,
    "draws": 3,
    "dither": 0.0,
    "repeats": 2,
    "n_jobs": 1,
}

# The package offers a function under the name of this module.
MODULE = sys.modules[Audit.__module__]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return gaussian("ar 0.5", 300, 24, np.random.default_rng(0))


@pytest.fixture(scope="module")
def everything(x) -> Audit:
    return audit(x, **QUICK)


def trials(proportions: dict[str, list[float]], noises: int = 1, power: float = 0.9) -> Audit:
    """An audit with given proportions: for each kind those of the repeats, equal for all noises."""
    rows = [
        {
            "repeat": repeat,
            "kind": kind,
            "noise": 0.5 * noise,
            "planted": 5,
            "named": 5,
            "false_proportion": value,
            "power": power,
        }
        for kind, values in proportions.items()
        for repeat, value in enumerate(values)
        for noise in range(noises)
    ]
    return Audit(pd.DataFrame(rows), 0.1, {})


def test_gaussian_neurons_with_linear_targets_pass(x) -> None:
    found = audit(x, **{**QUICK, "kinds": ["linear"], "repeats": 4})
    assert found.passes
    assert found.fdr + found.fdr_error <= 0.2
    assert found.power > 0.9
    assert found.level == 0.2


def test_two_audits_joined_are_one_of_all_their_repeats(x) -> None:
    one, other = (audit(x, **QUICK, kinds=["linear", "even"], seed=seed) for seed in (1, 2))
    both = one.joined(other)
    assert both.settings["repeats"] == both.to_json()["repeats"] == 4
    assert sorted(both.trials["repeat"].unique()) == [0, 1, 2, 3]
    assert both.fdr == pytest.approx((one.fdr + other.fdr) / 2)
    assert set(both.table["repeats"]) == {4}


class FavoursOriginals(SeparateFits):
    """Adds to what the originals are worth, and nothing to the knockoffs."""

    def separate(self, z, knockoffs, y, random) -> np.ndarray:
        fair = Lasso().separate(z, knockoffs, y, random)
        fair[:, 0] += 0.3 * fair.max() * random.random(fair[:, 0].shape)
        return fair

    def describe(self) -> dict:
        return {"kind": "favours originals"}


def test_a_statistic_that_favours_originals_does_not_pass(x) -> None:
    found = audit(x, **QUICK | {"statistic": FavoursOriginals(), "kinds": ["linear"]})
    assert not found.passes
    assert found.fdr > 0.5
    assert "the level is not shown to hold, least for kind 'linear'" in found.summary()


class Independent:
    """Copies that know the spread of each neuron and nothing of the other neurons."""

    def __init__(self, x: np.ndarray) -> None:
        self.means, self.spreads = x.mean(0), x.std(0)

    def prepare(self, copies: int) -> None:
        pass

    def knockoffs(self, x, copies, random) -> np.ndarray:
        drawn = random.standard_normal((*x.shape, copies))
        return self.means[:, None] + self.spreads[:, None] * drawn

    def conditional(self, x, neurons, n, random) -> np.ndarray:
        return self.knockoffs(x, n, random)[:, neurons]

    def describe(self) -> dict:
        return {"kind": "independent"}

    def arrays(self) -> dict:
        return {"means": self.means, "spreads": self.spreads}


def test_a_sampler_that_ignores_other_neurons_does_not_pass(monkeypatch) -> None:
    monkeypatch.setitem(KINDS, "independent", lambda x, seed: Independent(x))
    x = gaussian("ar 0.9", 1000, 24, np.random.default_rng(0))
    settings = QUICK | {"kinds": ["relu"], "repeats": 4}
    broken = audit(x, **settings | {"sampler": "independent"})
    sound = audit(x, **settings)
    assert broken.fdr - 2 * broken.fdr_error > 0.2
    assert not broken.passes
    assert sound.passes


def test_the_table_has_a_row_for_each_kind_and_noise(everything) -> None:
    table = everything.table
    assert list(table.columns) == [
        "kind",
        "noise",
        "fdr",
        "fdr_error",
        "power",
        "power_error",
        "repeats",
        "named",
    ]
    wanted = [(kind, noise) for kind in PLANTED for noise in (0.0, 0.5)]
    assert list(zip(table["kind"], table["noise"], strict=True)) == wanted
    assert (table["repeats"] == 2).all()
    assert everything.fdr == pytest.approx(table["fdr"].mean())
    assert everything.power == pytest.approx(table["power"].mean())
    assert table["named"].max() > 4
    cell = everything.trials.query("kind == 'threshold' and noise == 0.5")
    row = table.query("kind == 'threshold' and noise == 0.5").iloc[0]
    assert row.fdr == pytest.approx(cell["false_proportion"].mean())
    assert row.power_error == pytest.approx(cell["power"].std() / np.sqrt(2))
    pd.testing.assert_frame_equal(everything.to_frame(), table)


def test_settings_tell_what_was_audited_and_are_plain(everything) -> None:
    settings = everything.settings
    assert json.loads(json.dumps(settings)) == settings
    wanted = {
        "kinds": list(PLANTED),
        "noises": [0.0, 0.5],
        "repeats": 2,
        "planted": {kind: 12 if kind == "log_odds" else 6 for kind in PLANTED},
        "seed": 0,
        "targets": "joint",
        "n_targets": 1,
        "draws": 3,
        "knockoffs": 4,
        "level": 0.1,
        "samples": 300,
    }
    assert {name: settings[name] for name in wanted} == wanted
    planted = everything.trials.groupby("kind")["planted"].agg(set)
    assert planted["log_odds"] == {12}
    assert all(planted[kind] == {6} for kind in PLANTED if kind not in ("product", "log_odds"))


def test_of_log_odds_there_are_several_and_they_count_as_one_kind(everything) -> None:
    counts = everything.trials.groupby(["repeat", "kind", "noise"])["named"].size()
    assert (counts.xs("log_odds", level="kind") == 3).all()
    assert (counts.drop("log_odds", level="kind") == 1).all()
    proportions = everything.trials.query("kind == 'log_odds' and noise == 0.5")
    assert len(set(proportions["power"])) > 1, "each is a target of its own"
    rows = [("linear", 0.2, 1.0), *[("log_odds", wrong, 0.5) for wrong in (0.0, 0.3, 0.9)]]
    trials = pd.DataFrame(rows, columns=["kind", "false_proportion", "power"])
    found = Audit(pd.concat([trials.assign(repeat=r, noise=0.0) for r in range(2)]), 0.1, {})
    assert found.fdr == pytest.approx(0.3)
    assert found.power == pytest.approx(0.75)


@pytest.mark.parametrize("dither", [0.0, 0.5])
def test_a_planted_target_stands_for_one_selection(x, dither: float) -> None:
    settings = {k: v for k, v in QUICK.items() if k != "repeats"} | {"dither": dither}
    found = audit(x, **settings, repeats=2, kinds=["threshold"], noises=[0.5], seed=5)
    for trial in found.trials.itertuples():
        target = plant(
            x,
            "threshold",
            neurons=6,
            noise=0.5,
            seed=derived_seed(5, "audit target", trial.repeat, "threshold", "0.5"),
        )
        draws = derived_seed(5, "audit draws", trial.repeat)
        alone = select(x, target.y, **settings, seed=draws)
        assert (trial.false_proportion, trial.power) == score(alone, target)
        assert trial.named == alone.selected.sum()
    assert found.trials["named"].min() >= 3


def test_each_target_is_filtered_on_its_own(x) -> None:
    # Under one e-BH over all pairs the many targets that find nothing would cost the others.
    few = audit(x, **QUICK, kinds=["linear"], noises=[0.0])
    many = audit(x, **QUICK, kinds=["linear", "even"], noises=[0.0, 4.0, 8.0])
    same = many.trials.query("kind == 'linear' and noise == 0").reset_index(drop=True)
    pd.testing.assert_frame_equal(few.trials, same)
    assert few.power == 1.0


def test_each_repeat_has_targets_and_knockoffs_of_its_own(x, monkeypatch) -> None:
    calls = []

    def recorded(x, y, *rest, **settings):
        calls.append((y, settings["seed"]))
        return run_at_floors(x, y, *rest, **settings)

    monkeypatch.setattr(MODULE, "run_at_floors", recorded)
    audit(x, **QUICK, kinds=["linear", "relu"])
    assert [y.shape for y, _ in calls] == [(300, 4), (300, 4)]
    assert calls[0][1] != calls[1][1]
    columns = np.concatenate([y for y, _ in calls], axis=1)
    assert np.abs(np.corrcoef(columns.T) - np.eye(8)).max() < 0.95


def test_groups_count_as_one_and_only_tested_neurons_are_planted(x) -> None:
    rows = np.c_[x[:, :12], 3 * x[:, :8] - 1, np.ones(300)]
    settings = QUICK | {"kinds": ["linear"], "noises": [0.0], "planted": 11, "repeats": 3}
    found = audit(rows, **settings)
    assert found.settings["tested"] == 12
    assert found.power == 1.0
    assert found.trials["named"].between(11, 12).all()
    np.testing.assert_allclose(
        found.trials["false_proportion"], np.where(found.trials["named"] == 12, 1 / 12, 0)
    )


def test_any_member_of_a_group_is_planted(x) -> None:
    rows = np.c_[x, x[:, :6] + 0.02 * np.random.default_rng(1).standard_normal((300, 6))]
    sampler = fit_sampler(rows, "gaussian")
    assert len(sampler.screening.groups) == 6
    planted = {
        int(j)
        for repeat in range(6)
        for target in plant_all(rows, [Wanted("linear", 0.0, 20)], sampler, 0, repeat)
        for j in target.neurons
    }
    assert planted >= {0, 1, 24, 25}


def test_the_seed_and_not_the_workers_decide(x) -> None:
    settings = QUICK | {"kinds": ["relu", "network"], "noises": [0.5], "draws": 2}
    one = audit(x, **settings, seed=1).trials
    two = audit(x, **settings | {"n_jobs": 2}, seed=1).trials
    other = audit(x, **settings, seed=2).trials
    pd.testing.assert_frame_equal(one, two)
    assert not one.equals(other)


def test_a_sampler_is_fitted_once_or_never(x, monkeypatch) -> None:
    fits = []
    fit = KINDS["gaussian"]
    monkeypatch.setitem(KINDS, "gaussian", lambda x, seed: fits.append(1) or fit(x, seed))
    settings = QUICK | {"kinds": ["linear"], "draws": 1}
    own = audit(x, **settings)
    assert fits == [1]
    given = audit(x, **settings | {"sampler": fit_sampler(x, "gaussian")})
    assert fits == [1, 1]
    pd.testing.assert_frame_equal(own.trials, given.trials)


def test_every_setting_reaches_the_selection(x, monkeypatch) -> None:
    seen, floors = [], []

    def recorded(x, y, sampler, asked, wanted, **settings):
        seen.append({**asdict(asked), **settings})
        floors.extend(wanted)
        return run_at_floors(x, y, sampler, asked, wanted, **settings)

    monkeypatch.setattr(MODULE, "run_at_floors", recorded)
    asked = {"fdr": 0.3, "knockoffs": 3, "draws": 2, "dither": 0.25, "floor": 0.04, "rows": 120}
    found = audit(x, **QUICK | asked, kinds=["linear"], noises=[0.5])
    assert floors == [0.04, 0.04]
    for settings in seen:
        assert {name: settings[name] for name in asked} == asked
        assert settings["statistic"] == "lasso"
        assert settings["n_jobs"] == 1
    assert {name: found.settings[name] for name in asked} == asked


def test_progress_runs_through_all_repeats(x) -> None:
    told = []
    audit(x, **QUICK, kinds=["linear"], progress=lambda *news: told.append(news))
    assert told == [("audit", done, 6) for done in range(1, 7)]


def test_errors_come_from_the_means_of_the_repeats() -> None:
    found = trials({"a": [0.0, 0.2], "b": [0.0, 0.2]}, noises=2)
    assert found.fdr == pytest.approx(0.1)
    # Cells of a repeat share its knockoffs: four equal ones are not four times the evidence.
    assert found.fdr_error == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("proportions", "passes"),
    [
        ({"a": [0.05, 0.05], "b": [0.05, 0.05]}, True),
        ({"a": [0.1, 0.1]}, True),
        ({"a": [0.09, 0.12]}, False),  # 0.105 + 0.015
        ({"a": [0.06, 0.12]}, False),  # 0.09 + 0.03: under the level, and not surely
        ({"a": [0.0, 0.0], "b": [0.0, 0.0], "c": [0.16, 0.16]}, False),
        ({"a": [0.0, 0.0], "b": [0.0, 0.0], "c": [0.14, 0.14]}, True),
        ({"a": [0.0, 0.0], "b": [0.0, 0.0], "c": [0.12, 0.2]}, True),  # 0.16 - 2 x 0.04
    ],
)
def test_passing_needs_the_whole_and_every_kind(proportions, passes: bool) -> None:
    assert trials(proportions, noises=2).passes == passes


def test_the_summary_is_one_sentence() -> None:
    good = trials({"a": [0.05, 0.07], "b": [0.08, 0.08]}, power=0.93)
    assert good.summary() == ("asked for 10 %, measured 7 % +- 1 %, finds 93 % of planted neurons")
    assert trials({"a": [0.0, 0.0]}).summary().startswith("asked for 10 %, measured 0 % +- 0 %")
    bad = trials({"a": [0.05, 0.05], "b": [0.41, 0.41]}).summary()
    assert bad == (
        "asked for 10 %, measured 23 % +- 0 %, finds 90 % of planted neurons; "
        "the level is not shown to hold, least for kind 'b' (41 %)"
    )


def test_the_summary_says_when_little_is_named() -> None:
    found = trials({"a": [0.0, 0.0], "b": [0.0, 0.0]}, power=0.02)
    rare = found.trials.assign(named=[0, 0, 0, 1])
    few = Audit(rare, 0.1, {})
    assert few.named_share == 0.25 and few.passes
    assert few.summary() == (
        "asked for 10 %, measured 0 % +- 0 %, finds 2 % of planted neurons, but names any for only "
        "25 % of the planted targets: the rate is low because little is found, and says little of "
        "what is"
    )
    assert "but names" not in found.summary()


def test_an_audit_survives_its_file(everything, tmp_path) -> None:
    everything.save(tmp_path / "audit.npz")
    again = Audit.load(tmp_path / "audit.npz")
    pd.testing.assert_frame_equal(again.trials, everything.trials, check_dtype=False)
    pd.testing.assert_frame_equal(again.table, everything.table, check_dtype=False)
    assert (again.level, again.settings) == (everything.level, everything.settings)
    assert again.summary() == everything.summary()


def test_a_file_without_an_audit_is_refused(everything, tmp_path) -> None:
    with pytest.raises(StorageError, match="Cannot read"):
        Audit.load(tmp_path / "none.npz")
    everything.save(tmp_path / "audit.npz")
    (tmp_path / "audit.npz").write_bytes(b"PK")
    with pytest.raises(StorageError, match="Cannot read"):
        Audit.load(tmp_path / "audit.npz")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"fdr": 0.0}, "fdr is 0.0"),
        ({"sampler": "copula"}, "no density 'copula'"),
        ({"statistic": "netwrk"}, "no statistic 'netwrk'"),
        ({"knockoffs": 0}, "knockoffs is 0"),
        ({"draws": 0}, "draws is 0"),
        ({"dither": -1.0}, "dither is -1.0"),
        ({"kinds": ["linaer"]}, "no kind of target 'linaer'. Did you mean 'linear'"),
        ({"kinds": "linear"}, "kinds is 'linear'. Pass a list of at least one, each once"),
        ({"kinds": []}, r"kinds is \[\]"),
        ({"kinds": ["relu", "relu"]}, "each once"),
        ({"noises": [-0.5]}, "noise is -0.5"),
        ({"noises": ()}, r"noises is \(\)"),
        ({"noises": [0.5, 0.5]}, "each once"),
        ({"repeats": 1}, "repeats is 1. Pass a whole number from 2 up"),
        ({"planted": 0}, "planted is 0. Pass 'auto' or a whole number from 1 to 23"),
        ({"planted": 24}, "planted is 24"),
        ({"rows": 20}, "rows is 20"),
        ({"seed": -1}, "seed is -1"),
        ({"n_jobs": 0}, "n_jobs is 0"),
    ],
)
def test_impossible_settings_are_refused(x, settings: dict, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        audit(x, **QUICK | settings)


def test_unusable_activations_are_refused(x) -> None:
    with pytest.raises(DataError, match="Only 3 neurons can be tested"):
        audit(x[:, :3], **QUICK)
    with pytest.raises(DataError, match="There are 40 samples"):
        audit(x[:40], **QUICK)
    with pytest.raises(DataError, match="fitted on 24"):
        audit(x[:, :9], **QUICK | {"sampler": fit_sampler(x, "gaussian")})
