from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pytest
from designs import gaussian

from neucept.knockoffs import Choice, choose, fit_sampler, run_selection, select, settle
from neucept.knockoffs.asked import Asked
from neucept.knockoffs.audit import Audit
from neucept.knockoffs.choosing import LADDER, UNAUDITED
from neucept.runtime import read_arrays, write_arrays

MODULE = sys.modules[Choice.__module__]
ASKED = Asked(statistic="lasso", draws=8)


@pytest.fixture
def x() -> np.ndarray:
    return gaussian("ar 0.5", 120, 8, np.random.default_rng(0))


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_choices", type(MODULE._choices)())


def audit_with(rate: float, repeats: int = 2, kinds: tuple[str, ...] = ("relu", "max")) -> Audit:
    """An audit in which every planted target has this share of wrong neurons."""
    rows = [
        {"repeat": r, "kind": kind, "noise": 0.0, "planted": 3, "named": 3}
        for r in range(repeats)
        for kind in kinds
    ]
    trials = pd.DataFrame(rows).assign(false_proportion=rate, power=0.5)
    return Audit(trials, 0.1, {"repeats": repeats})


def chosen_with(
    monkeypatch: pytest.MonkeyPatch, x: np.ndarray, rate: Callable[[float, bool], float]
) -> tuple[Choice, list[tuple[float, int]]]:
    """The choice where a share `rate(dither, shown)` is wrong, and the audits that it took."""
    calls: list[tuple[float, int]] = []

    def measured(x, sampler, asked, cells, *, repeats, seed, **_):
        calls.append((asked.dither, asked.draws))
        assert {noise for _, noise in cells} == {0.0}
        return audit_with(rate(asked.dither, asked.draws == 8), repeats)

    monkeypatch.setattr(MODULE, "measure", measured)
    sampler = fit_sampler(x, "gaussian")
    return choose(sampler.check(x), sampler, ASKED), calls


@pytest.mark.parametrize("least", LADDER)
def test_the_least_dither_that_holds_is_taken(monkeypatch, x, least: float) -> None:
    choice, calls = chosen_with(monkeypatch, x, lambda dither, _: 0.0 if dither >= least else 0.5)
    assert choice.dither == least
    assert choice.audit.passes
    assert "least" in choice.why
    assert calls[-1] == (least, 8)
    assert {draws for _, draws in calls[:-1]} == {4}
    assert len(calls) <= len(LADDER)
    assert [rung["dither"] for rung in choice.tried] == [dither for dither, _ in calls]


def test_the_level_itself_is_the_bar(monkeypatch, x) -> None:
    choice, _ = chosen_with(monkeypatch, x, lambda dither, _: 0.11 if dither < 0.3 else 0.1)
    assert choice.dither == 0.4


def test_fresh_targets_can_raise_it(monkeypatch, x) -> None:
    choice, calls = chosen_with(
        monkeypatch, x, lambda dither, shown: 0.3 if shown and dither < 0.3 else 0.01
    )
    assert choice.dither == 0.4
    assert [dither for dither, draws in calls if draws == 8] == [0.0, 0.1, 0.2, 0.4]


def test_where_nothing_holds_it_says_so(monkeypatch, x) -> None:
    choice, _ = chosen_with(monkeypatch, x, lambda *_: 0.4)
    assert choice.dither == LADDER[-1]
    assert not choice.audit.passes
    assert "do not show" in choice.why
    settled = choice.settles(ASKED)
    assert settled.notes["audit"]["passes"] is False
    assert settled.dither == LADDER[-1]


def test_one_bad_kind_is_enough_to_go_on(monkeypatch, x) -> None:
    def measured(x, sampler, asked, cells, *, repeats, seed, **_):
        good, bad = (
            audit_with(0.0, kinds=("a", "b", "c", "d", "e")),
            audit_with(0.3, kinds=("max",)),
        )
        trials = [good.trials, bad.trials] if asked.dither < 0.3 else [good.trials]
        return Audit(pd.concat(trials, ignore_index=True), 0.1, {"repeats": repeats})

    monkeypatch.setattr(MODULE, "measure", measured)
    sampler = fit_sampler(x, "gaussian")
    assert choose(sampler.check(x), sampler, ASKED).dither == 0.4


def test_too_few_neurons_get_no_audit(monkeypatch, x) -> None:
    choice, calls = chosen_with(monkeypatch, x[:, :3], lambda *_: 0.0)
    assert (choice.dither, choice.audit, calls) == (UNAUDITED, None, [])
    assert "few" in choice.why
    assert choice.settles(ASKED).notes["audit"] is None


def test_a_choice_is_remembered_for_its_layer_alone(monkeypatch, x) -> None:
    first, calls = chosen_with(monkeypatch, x, lambda *_: 0.0)
    seen = len(calls)
    sampler = fit_sampler(x, "gaussian")
    assert choose(sampler.check(x), sampler, ASKED, n_jobs=2) is first
    assert len(calls) == seen
    choose(sampler.check(x[::-1]), sampler, ASKED)
    assert len(calls) == 2 * seen
    choose(sampler.check(x), sampler, Asked(statistic="lasso", draws=8, rows=60))
    assert len(calls) == 3 * seen


def test_it_comes_back_from_a_file(monkeypatch, x, tmp_path) -> None:
    choice, _ = chosen_with(monkeypatch, x, lambda dither, _: 0.02)
    write_arrays(tmp_path / "choice.npz", choice.to_arrays())
    back = Choice.from_arrays(read_arrays(tmp_path / "choice.npz"))
    assert (back.dither, back.tried, back.why) == (choice.dither, choice.tried, choice.why)
    assert back.audit.to_json() == choice.audit.to_json()
    none = Choice.from_arrays(Choice(0.5, None).to_arrays())
    assert (none.dither, none.audit) == (0.5, None)


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


def test_a_given_dither_and_frequencies_are_not_audited(monkeypatch, x) -> None:
    monkeypatch.setattr(MODULE, "measure", None)
    sampler = fit_sampler(x, "gaussian")
    given = Asked(dither=0.3)
    assert settle(sampler.check(x), sampler, given) is given
    assert settle(sampler.check(x), sampler, Asked(aggregate="frequency")).dither == 0.0
