"""The published recipe beside knockpy 1.3.5, on activations of real networks.

`benchmarks/paper_recipe.py` runs all 20 cases with 20 draws; here are its functions on a few.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

# knockpy comes with `make test-full` alone.
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    pytest.importorskip("knockpy", reason="knockpy is in the `compare` extra")
    return import_module("paper_recipe")


@pytest.fixture(scope="module")
def lenet(recipe: ModuleType, data_folder: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    cases = recipe.real_cases(("mnist_lenet",))
    return [(name, x[:2000], y[:2000]) for name, x, y in cases]


@pytest.mark.parametrize("case", [0, 2, 5, 7])
def test_same_statistic_and_same_set_on_the_same_knockoffs(recipe, lenet, case: int) -> None:
    _, x, y = lenet[case]
    found = recipe.same_knockoffs(recipe.Knockpy(x, y, seed=1), x, y)
    assert found["correlation"] > 1 - 1e-9
    assert found["differing"] == 0


@pytest.mark.timeout(600)
def test_same_statistic_on_every_layer(recipe, data_folder: Path) -> None:
    for _, x, y in recipe.real_cases(("cifar10_resnet20",))[::3]:
        found = recipe.same_knockoffs(recipe.Knockpy(x, y, seed=1), x, y)
        assert found["correlation"] > 0.999
        assert found["differing"] == 0


@pytest.mark.timeout(600)
def test_frequencies_agree_as_two_runs_of_knockpy_do(recipe, lenet) -> None:
    rows = [recipe.compare(*case, draws=10) for case in lenet[:4]]
    totals, _ = recipe.verdict(rows)
    ours, theirs = (
        totals["mean difference of frequencies"],
        totals["the same between two runs of knockpy"],
    )
    assert ours <= 1.5 * theirs + 0.02
