from __future__ import annotations

import numpy as np
import pytest

from neucept.errors import SettingsError
from neucept.knockoffs import select, statistics
from neucept.knockoffs.lasso import Lasso, SeparateFits
from neucept.knockoffs.published import PublishedLasso


def test_names_and_objects() -> None:
    assert statistics.find_statistic("auto") is statistics.KINDS["network"]
    mine = Lasso(folds=4)
    assert statistics.find_statistic(mine) is mine
    with pytest.raises(SettingsError, match="no statistic 'laso'.*Did you mean 'lasso'"):
        statistics.find_statistic("laso")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"folds": 1}, "folds is 1"),
        ({"penalties": 0}, "penalties is 0"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"most_iterations": 0}, "most_iterations is 0"),
    ],
)
def test_settings_no_fit_can_be_run_with_are_refused(settings: dict, said: str) -> None:
    for kind in (Lasso, PublishedLasso):
        with pytest.raises(SettingsError, match=said):
            kind(**settings)
    with pytest.raises(SettingsError, match="least_penalty is 0"):
        Lasso(least_penalty=0.0)
    with pytest.raises(SettingsError, match="least is 2.0 and largest 1.0"):
        PublishedLasso(largest=1.0, least=2.0)


@pytest.mark.parametrize("kind", sorted(statistics.KINDS))
def test_every_kind_offers_what_the_protocol_asks(kind: str) -> None:
    statistic = statistics.KINDS[kind]
    assert isinstance(statistic, statistics.Statistic)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((80, 3)), random.standard_normal((80, 2))
    drawn = random.standard_normal((80, 3, 4))
    joint, separate = statistic.both(x, drawn, y, random)
    assert joint.shape == (3, 5)
    assert separate.shape == (3, 5, 2)
    assert joint.min() >= 0
    assert separate.min() >= 0
    assert statistic.describe()["kind"] == kind


class Correlation(SeparateFits):
    """A third kind, as a user would write it."""

    def separate(self, z, knockoffs, y, random):
        columns = np.concatenate([z[:, :, None], knockoffs], axis=2)
        return np.abs(np.einsum("snk,st->nkt", columns - columns.mean(0), y - y.mean(0)))

    def describe(self):
        return {"kind": "correlation"}


def test_a_new_kind_is_one_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(statistics.KINDS, "correlation", Correlation())
    random = np.random.default_rng(0)
    x = random.standard_normal((400, 6))
    found = select(x, x[:, :2].sum(1), statistic="correlation", draws=3)
    assert set(found.neurons) == {0, 1}
    assert found.settings["statistic"] == {"kind": "correlation"}


def test_an_object_without_the_methods_is_refused() -> None:
    with pytest.raises(SettingsError, match="statistic is a builtin_function_or_method"):
        statistics.find_statistic(len)
