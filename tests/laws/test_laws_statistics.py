"""The statistic's law: a null neuron beats its M knockoffs with probability 1 / (M + 1)."""

from __future__ import annotations

import numpy as np
import pytest
from designs import gaussian

from neucept.knockoffs import fit_sampler
from neucept.knockoffs.filter import contest
from neucept.knockoffs.statistics import KINDS

NEURONS = 16
SERVING = (2, 3, 7, 11)


def null_wins(kind: str, copies: int, targets: int, repeats: int, joint: bool) -> tuple[int, int]:
    """How often nulls win, of how many contests that were decided."""
    won = decided = 0
    statistic = KINDS[kind]
    nulls = [j for j in range(NEURONS) if j not in SERVING]
    for repeat in range(repeats):
        random = np.random.default_rng((copies, targets, repeat))
        x = gaussian("ar 0.5", 200, NEURONS, random)
        z = (x - x.mean(0)) / x.std(0)
        weights = np.zeros((NEURONS, targets))
        weights[list(SERVING)] = random.standard_normal((len(SERVING), targets))
        y = z @ weights + 2 * random.standard_normal((len(x), targets))
        drawn = fit_sampler(x, "gaussian").draw(x, copies, seed=repeat)
        if joint:
            outcomes = [contest(statistic.joint(x, drawn, y, random))]
        else:
            found = statistic.separate(x, drawn, y, random)
            outcomes = [contest(found[:, :, t]) for t in range(targets)]
        for outcome in outcomes:
            counted = outcome.margin[nulls] > 0
            won += int(outcome.original_wins[nulls][counted].sum())
            decided += int(counted.sum())
    return won, decided


@pytest.mark.parametrize(
    ("kind", "copies", "targets", "joint"),
    [
        ("lasso", 1, 1, True),
        ("lasso", 4, 1, True),
        ("lasso", 3, 6, True),
        ("lasso", 3, 6, False),
        ("lasso_published", 1, 1, True),
    ],
)
def test_null_statistics_have_symmetric_signs(
    kind: str, copies: int, targets: int, joint: bool
) -> None:
    won, decided = null_wins(kind, copies, targets, 60 if targets == 1 else 30, joint)
    expected = 1 / (copies + 1)
    # A neuron's contests for several targets share its copies: count them as one.
    independent = decided if joint else decided / targets
    error = np.sqrt(expected * (1 - expected) / independent)
    assert decided > 150
    assert abs(won / decided - expected) < 4 * error


def test_serving_neurons_win() -> None:
    random = np.random.default_rng(0)
    x = gaussian("ar 0.5", 600, NEURONS, random)
    y = ((x - x.mean(0)) / x.std(0))[:, SERVING].sum(1) + random.standard_normal(600)
    drawn = fit_sampler(x, "gaussian").draw(x, 4, seed=1)
    outcome = contest(KINDS["lasso"].joint(x, drawn, y[:, None], random))
    assert outcome.original_wins[list(SERVING)].all()
    assert set(np.argsort(-outcome.margin)[: len(SERVING)]) == set(SERVING)
