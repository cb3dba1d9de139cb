"""The promise: the mean share of wrong neurons stays under the level. Error bars throughout.

`make laws` runs 200 repeats of three designs beside knockpy; here are fewer.
"""

from __future__ import annotations

import numpy as np
import pytest
from designs import gaussian

from neucept.knockoffs import select

FDR = 0.2
SAMPLES, NEURONS, SERVING = 300, 30, 12

# Exact on these designs.
LINEAR = {"sampler": "gaussian", "statistic": "lasso", "dither": 0.0}


def realised(design: str, repeats: int, width: int = 1, **settings) -> tuple[np.ndarray, ...]:
    """False discovery proportion and power of each repeat."""
    proportions, powers = [], []
    for repeat in range(repeats):
        random = np.random.default_rng((repeat, width))
        x = gaussian(design, SAMPLES, NEURONS, random)
        z = (x - x.mean(0)) / x.std(0)
        serving = np.zeros(NEURONS, dtype=bool)
        serving[random.choice(NEURONS, SERVING, replace=False)] = True
        weights = 0.35 * random.choice([-1.0, 1.0], (NEURONS, width)) * serving[:, None]
        if width > 1:
            weights *= random.random((NEURONS, width)) < 0.5
        truth = (weights != 0) if settings.get("targets") == "separate" else weights.any(1)
        y = z @ weights + random.standard_normal((SAMPLES, width))
        asked = {**LINEAR, **settings}
        selected = select(x, y, fdr=FDR, seed=repeat, n_jobs=1, **asked).selected
        proportions.append((selected & ~truth).sum() / max(1, selected.sum()))
        powers.append((selected & truth).sum() / truth.sum())
    return np.array(proportions), np.array(powers)


def keeps_the_promise(proportions: np.ndarray) -> bool:
    error = proportions.std(ddof=1) / np.sqrt(len(proportions))
    return proportions.mean() <= FDR + 2 * error


@pytest.mark.parametrize("knockoffs", [1, 3])
def test_one_draw_on_correlated_neurons(knockoffs: int) -> None:
    proportions, powers = realised("ar 0.5", 40, knockoffs=knockoffs, draws=1)
    assert keeps_the_promise(proportions)
    assert powers.mean() > 0.6


def test_several_draws_and_targets() -> None:
    proportions, powers = realised("ar 0.5", 12, width=4, draws=4)
    assert keeps_the_promise(proportions)
    assert powers.mean() > 0.6


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_mixture_with_the_network() -> None:
    settings = {"sampler": "mixture", "statistic": "network", "dither": 0.5}
    proportions, powers = realised("ar 0.5", 8, **settings, draws=3)
    assert keeps_the_promise(proportions)
    assert powers.mean() > 0.1


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("design", ["ar 0.5", "ar 0.8", "factor"])
@pytest.mark.parametrize(
    "settings",
    [
        {"draws": 1, "knockoffs": 1},
        {"draws": 6},
        {"draws": 6, "dither": 0.5},
        {"draws": 6, "targets": "separate"},
    ],
    ids=["one draw", "several draws", "dither", "pairs"],
)
def test_every_way_of_selecting_on_every_design(design: str, settings: dict) -> None:
    width = 3 if "targets" in settings else 1
    proportions, powers = realised(design, 40, width=width, **settings)
    assert keeps_the_promise(proportions)
    assert powers.mean() > 0.05
