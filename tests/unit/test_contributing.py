"""CONTRIBUTING.md is followed step by step: what it shows really extends the library."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import neucept as nc

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


def follow(what: str) -> dict:
    """Run the block of CONTRIBUTING.md that shows how to add one thing."""
    (block,) = re.findall(rf"```python {what}\n(.*?)```", TEXT, flags=re.DOTALL)
    names: dict = {}
    exec(compile(block, f"CONTRIBUTING.md {what}", "exec"), names)
    return names


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(0)
    x = noise.normal(size=(600, 12))
    return x, x[:, :4].sum(1) + noise.normal(size=600)


def test_a_statistic_is_one_file_and_one_line(
    data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from neucept.knockoffs import statistics

    monkeypatch.setattr(statistics, "KINDS", dict(statistics.KINDS))
    follow("statistic")
    selection = nc.select(*data, statistic="correlation", draws=2)
    assert {0, 1, 2, 3} <= set(selection.neurons)
    assert selection.settings["statistic"]["kind"] == "correlation"


def test_a_density_is_one_file_and_one_line(
    data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from neucept.knockoffs import density

    monkeypatch.setattr(density, "KINDS", dict(density.KINDS))
    follow("density")
    selection = nc.select(*data, sampler="independent", draws=2)
    assert {0, 1, 2, 3} <= set(selection.neurons)
    assert nc.fit_sampler(data[0], "independent").draw(data[0], knockoffs=3).shape == (600, 12, 3)


def test_a_kind_of_layer_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import nn, randn

    from neucept.activations import neurons

    monkeypatch.setattr(neurons, "KINDS", neurons.KINDS)
    names = follow("kind")
    model = nn.Sequential(nn.Linear(5, 6), names["Snake"](), nn.Linear(6, 2))
    acts = nc.capture(model, randn(20, 5), layers=["1"])
    assert acts.kinds["1"] == "periodic"
    assert acts.matrix("1").shape == (20, 6)


def test_a_chart_is_one_file_and_one_line() -> None:
    from planted_study import planted_study

    from neucept.report import charts
    from neucept.report.page import render

    before = list(charts.CHARTS)
    try:
        follow("chart")
        assert "Samples per mechanism." in render(planted_study(), images=False)
    finally:
        charts.CHARTS[:] = before
