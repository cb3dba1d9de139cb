from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from designs import gaussian

from neucept.knockoffs import Choice, choose, fit_sampler, run_selection, select, settle
from neucept.knockoffs.asked import Asked
from neucept.knockoffs.audit import Audit
from neucept.knockoffs.choosing import DITHERS, FLOORS, LOW, UNAUDITED
from neucept.knockoffs.planting import PLANTED
from neucept.runtime import derived_seed, read_arrays, write_arrays

MODULE = sys.modules[Choice.__module__]
ASKED = Asked(statistic="lasso", draws=8)


@pytest.fixture
def x() -> np.ndarray:
    return gaussian("ar 0.5", 120, 8, np.random.default_rng(0))


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_choices", type(MODULE._choices)())


def audit_with(
    rate: float, power: float = 0.5, kinds: tuple[str, ...] = ("relu", "max"), repeats: int = 2
) -> Audit:
    """An audit in which every planted target has this share of wrong neurons."""
    rows = [
        {"repeat": r, "kind": kind, "noise": 0.0, "planted": 3, "named": 3}
        for r in range(repeats)
        for kind in kinds
    ]
    trials = pd.DataFrame(rows).assign(false_proportion=rate, power=power)
    return Audit(trials, 0.1, {"repeats": repeats})


Looks = list[tuple[float, float]]
"""Dither and floor of each audit that showed, in order; floor -1 for those that chose."""


def chosen_with(
    monkeypatch: pytest.MonkeyPatch,
    x: np.ndarray,
    audit: Callable[[float, float, bool], Audit],
    asked: Asked = ASKED,
) -> tuple[Choice, Looks]:
    """The choice where `audit(dither, floor, shown)` is what audits find, and which there were."""
    looks: Looks = []
    seeds: set[int] = set()

    def measured(x, sampler, asked, cells, *, floors, seed, **_):
        assert set(cells) == {(kind, 0.0) for kind in PLANTED}
        seeds.add(seed)
        shown = seed == derived_seed(0, "shown", repr(asked.dither), repr(floors[0]))
        looks.append((asked.dither, floors[0] if shown else -1.0))
        assert shown or tuple(floors) == (FLOORS if asked.floor == "auto" else (asked.floor,))
        return [audit(asked.dither, floor, shown) for floor in floors]

    monkeypatch.setattr(MODULE, "measure", measured)
    sampler = fit_sampler(x, "gaussian")
    found = choose(sampler.check(x), sampler, asked)
    assert len(seeds) == len(looks), "each look has targets of its own"
    return found, looks


@pytest.mark.parametrize("least", FLOORS)
def test_the_least_floor_that_holds_is_taken(monkeypatch, x, least: float) -> None:
    choice, looks = chosen_with(
        monkeypatch, x, lambda dither, floor, _: audit_with(0.0 if floor >= least else 0.5)
    )
    assert (choice.dither, choice.floor) == (0.0, least)
    assert choice.audit.passes
    assert "least" in choice.why
    assert looks[-1] == (0.0, least)
    # Where the least does not do, all are looked at twice; a high floor costs power, so dither is
    # looked at as well.
    assert len(looks) == (2 if least == FLOORS[0] else 3 if least <= LOW else 7)
    assert {(rung["dither"], rung["floor"]) for rung in choice.tried} >= {(0.0, f) for f in FLOORS}


def test_a_floor_below_one_that_fails_is_not_trusted(monkeypatch, x) -> None:
    rates = {floor: 0.3 if floor == 0.05 else 0.0 for floor in FLOORS}
    choice, _ = chosen_with(monkeypatch, x, lambda dither, floor, _: audit_with(rates[floor]))
    assert choice.floor == 0.08


def test_where_the_least_floor_does_not_do_twice_the_repeats_choose(monkeypatch, x) -> None:
    """Each look by itself finds something wrong with the second floor; both together do not."""
    seeds = []

    def measured(x, sampler, asked, cells, *, floors, seed, **_):
        seeds.append(seed)
        rates = {FLOORS[0]: 0.3, FLOORS[1]: 0.09 if len(seeds) == 1 else 0.0}
        return [audit_with(rates.get(floor, 0.0)) for floor in floors]

    monkeypatch.setattr(MODULE, "measure", measured)
    sampler = fit_sampler(x, "gaussian")
    choice = choose(sampler.check(x), sampler, ASKED)
    assert choice.floor == FLOORS[1]
    assert choice.tried[1]["fdr"] == pytest.approx(0.045)
    assert len(choice.tried) == len(FLOORS) + 1
    assert len(set(seeds)) == len(seeds) == 3


def test_targets_that_choose_must_stay_well_under_the_level(monkeypatch, x) -> None:
    def audit(dither: float, floor: float, shown: bool) -> Audit:
        return audit_with(0.09 if floor < 0.12 and not shown else 0.04)

    choice, _ = chosen_with(monkeypatch, x, audit)
    assert choice.floor == 0.12


def test_between_a_high_floor_and_dither_power_decides(monkeypatch, x) -> None:
    def audit(dither: float, floor: float, shown: bool) -> Audit:
        holds = floor >= (0.2 if dither == 0 else 0.03)
        return audit_with(0.0 if holds else 0.5, power=0.4 if dither == 0 else 0.6)

    choice, looks = chosen_with(monkeypatch, x, audit)
    assert (choice.dither, choice.floor) == (0.2, 0.03)
    assert looks == [(0.0, -1.0), (0.0, -1.0), (0.2, -1.0), (0.2, 0.03)]


def test_power_for_targets_like_a_class_score_decides(monkeypatch, x) -> None:
    def audit(dither: float, floor: float, shown: bool) -> Audit:
        holds = floor >= (0.2 if dither == 0 else 0.03)
        found = audit_with(0.0 if holds else 0.5, kinds=("relu", "max", "log_odds"))
        power = {"relu": 0.9 if dither else 0.5, "max": 0.9 if dither else 0.5}
        power["log_odds"] = 0.3 if dither else 0.4
        return replace(found, trials=found.trials.assign(power=found.trials["kind"].map(power)))

    choice, _ = chosen_with(monkeypatch, x, audit)
    assert (choice.dither, choice.floor) == (0.0, 0.2)


def test_fresh_targets_can_raise_it(monkeypatch, x) -> None:
    choice, looks = chosen_with(
        monkeypatch,
        x,
        lambda dither, floor, shown: audit_with(0.3 if shown and floor < 0.1 else 0.01),
    )
    assert (choice.dither, choice.floor) == (0.0, 0.1)
    assert looks[1:] == [(0.0, floor) for floor in FLOORS if floor <= 0.1]


def test_fresh_targets_can_ask_for_dither(monkeypatch, x) -> None:
    choice, looks = chosen_with(
        monkeypatch,
        x,
        lambda dither, floor, shown: audit_with(0.3 if shown and dither == 0 else 0.01),
    )
    assert (choice.dither, choice.floor) == (0.2, FLOORS[-1])
    assert looks[-2:] == [(0.0, FLOORS[-1]), (0.2, FLOORS[-1])]


def test_where_nothing_holds_it_says_so(monkeypatch, x) -> None:
    choice, looks = chosen_with(monkeypatch, x, lambda *_: audit_with(0.4))
    assert (choice.dither, choice.floor) == (DITHERS[-1], FLOORS[-1])
    twice = [(dither, -1.0) for dither in DITHERS for _ in range(2)]
    assert looks == [*twice, (DITHERS[-1], FLOORS[-1])]
    assert not choice.audit.passes
    assert "do not show" in choice.why
    settled = choice.settles(ASKED)
    assert settled.notes["audit"]["passes"] is False
    assert (settled.dither, settled.floor) == (DITHERS[-1], FLOORS[-1])


def test_one_bad_kind_is_enough_to_go_on(monkeypatch, x) -> None:
    def audit(dither: float, floor: float, shown: bool) -> Audit:
        good = audit_with(0.0, kinds=tuple("abcdefgh"))
        bad = audit_with(0.3, kinds=("max",))
        trials = [good.trials, bad.trials] if floor < 0.08 else [good.trials]
        return Audit(pd.concat(trials, ignore_index=True), 0.1, {"repeats": 2})

    assert chosen_with(monkeypatch, x, audit)[0].floor == 0.08


def test_those_like_a_class_score_must_stay_well_under_the_level(monkeypatch, x) -> None:
    def audit(dither: float, floor: float, shown: bool) -> Audit:
        others = audit_with(0.0, kinds=tuple("abcdefgh"))
        alike = audit_with(0.045 if floor < 0.08 else 0.035, kinds=("log_odds",))
        trials = pd.concat([others.trials, alike.trials], ignore_index=True)
        return Audit(trials, 0.1, {"repeats": 2})

    assert chosen_with(monkeypatch, x, audit)[0].floor == 0.08


def test_a_given_floor_stays(monkeypatch, x) -> None:
    asked = Asked(statistic="lasso", draws=8, floor=0.15)
    choice, _ = chosen_with(
        monkeypatch, x, lambda dither, floor, _: audit_with(0.0 if dither > 0 else 0.5), asked
    )
    assert (choice.dither, choice.floor) == (0.2, 0.15)
    assert "floor" not in choice.settles(asked).reasons
    assert choice.settles(asked).floor == 0.15


def test_a_given_floor_is_no_reason_to_try_more_dithers(monkeypatch, x) -> None:
    asked = Asked(statistic="lasso", draws=8, floor=0.25)
    choice, looks = chosen_with(
        monkeypatch, x, lambda dither, *_: audit_with(0.0, power=0.5 + dither), asked
    )
    assert choice.dither == 0.0
    assert looks == [(0.0, -1.0), (0.0, 0.25)]


def test_a_last_resort_that_is_uneven_is_not_called_the_least_that_holds(monkeypatch, x) -> None:
    def audit(dither: float, floor: float, shown: bool) -> Audit:
        good = audit_with(0.0, kinds=tuple("abcdefgh"))
        bad = audit_with(0.16, kinds=("max",))
        bad.trials.loc[::2, "false_proportion"] = 0.3
        bad.trials.loc[1::2, "false_proportion"] = 0.02
        return Audit(pd.concat([good.trials, bad.trials], ignore_index=True), 0.1, {"repeats": 2})

    choice, _ = chosen_with(monkeypatch, x, audit)
    assert (choice.dither, choice.floor) == (DITHERS[-1], FLOORS[-1])
    assert choice.audit.passes
    assert "do not show" in choice.why


def test_too_few_neurons_get_no_audit(monkeypatch, x) -> None:
    choice, looks = chosen_with(monkeypatch, x[:, :3], lambda *_: audit_with(0.0))
    assert ((choice.dither, choice.floor), choice.audit, looks) == (UNAUDITED, None, [])
    assert "few" in choice.why
    assert choice.settles(ASKED).notes["audit"] is None


def test_a_choice_is_remembered_for_its_layer_alone(monkeypatch, x) -> None:
    first, calls = chosen_with(monkeypatch, x, lambda *_: audit_with(0.0))
    seen = len(calls)
    sampler = fit_sampler(x, "gaussian")
    assert choose(sampler.check(x), sampler, ASKED, n_jobs=2) is first
    assert len(calls) == seen
    choose(sampler.check(x[::-1]), sampler, ASKED)
    assert len(calls) == 2 * seen
    choose(sampler.check(x), sampler, Asked(statistic="lasso", draws=8, rows=60))
    assert len(calls) == 3 * seen


def test_it_comes_back_from_a_file(monkeypatch, x, tmp_path) -> None:
    choice, _ = chosen_with(monkeypatch, x, lambda *_: audit_with(0.02))
    write_arrays(tmp_path / "choice.npz", choice.to_arrays())
    back = Choice.from_arrays(read_arrays(tmp_path / "choice.npz"))
    assert (back.dither, back.floor, back.why) == (choice.dither, choice.floor, choice.why)
    assert back.tried == choice.tried
    assert back.audit.to_json() == choice.audit.to_json()
    none = Choice.from_arrays(Choice(0.5, 0.0, None).to_arrays())
    assert (none.dither, none.floor, none.audit) == (0.5, 0.0, None)


def test_selections_of_two_seeds_share_one_choice(x) -> None:
    wanted = partial(select, x, x[:, 0], statistic="lasso", draws=2, knockoffs=4, n_jobs=1)
    one, two = (wanted(sampler=fit_sampler(x, "gaussian"), seed=seed) for seed in (1, 2))
    assert one.settings["dither"] == two.settings["dither"]
    assert one.settings["audit"] == two.settings["audit"]
    assert not np.array_equal(one.scores, two.scores)


def test_what_is_settled_is_what_is_run(x) -> None:
    sampler = fit_sampler(x, "gaussian")
    asked = Asked(statistic="lasso", draws=2, knockoffs=4)
    settled = settle(sampler.check(x), sampler, asked)
    (alone,) = run_selection(x, x[:, :1], sampler, settled, "joint")
    whole = select(x, x[:, 0], sampler=sampler, statistic="lasso", draws=2, knockoffs=4)
    np.testing.assert_array_equal(alone.scores, whole.scores)
    assert whole.settings["why"]["dither"] == settled.reasons["dither"]
    assert whole.settings["floor"] == settled.floor


def test_a_given_dither_and_frequencies_are_not_audited(monkeypatch, x) -> None:
    monkeypatch.setattr(MODULE, "measure", None)
    sampler = fit_sampler(x, "gaussian")
    given = Asked(dither=0.3)
    assert settle(sampler.check(x), sampler, given) is given
    assert settle(sampler.check(x), sampler, Asked(aggregate="frequency")).dither == 0.0


@pytest.mark.parametrize(("rate", "says"), [(0.01, False), (0.4, True)])
def test_a_selection_says_where_the_level_is_not_shown_to_hold(
    monkeypatch, rate: float, says: bool
) -> None:
    x = np.random.default_rng(1).standard_normal((400, 8))
    choice, _ = chosen_with(monkeypatch, x, lambda *_: audit_with(rate))
    asked = replace(choice.settles(ASKED), dither=0.0, floor=0.0)
    sampler = fit_sampler(x, "gaussian")
    (found,) = run_selection(x, x[:, :4].sum(1)[:, None], sampler, asked, "joint", seed=0)
    assert found.selected.any()
    assert found.settings["supported"] is not says
    assert ("An audit does not show that the level holds here" in found.message) == says
    assert ("measured 40 %" in found.message) == says
