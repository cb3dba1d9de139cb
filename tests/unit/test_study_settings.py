"""Settings that no stage could use are refused before anything long starts."""

from __future__ import annotations

import pytest

from neucept.errors import SettingsError
from neucept.study.settings import StudySettings


def test_the_neurons_of_mechanisms_are_of_a_known_kind() -> None:
    with pytest.raises(SettingsError, match="neurons is 'cores'. Did you mean 'core'"):
        StudySettings(neurons="cores")


def test_a_way_of_cutting_is_named_once() -> None:
    with pytest.raises(SettingsError, match="ablation_modes names 'zero' twice. Name each"):
        StudySettings(ablation_modes=("zero", "mean", "zero"))
    assert StudySettings(ablation_modes="zero").ablation_modes == ("zero",)
