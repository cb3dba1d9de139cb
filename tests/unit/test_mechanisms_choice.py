"""Which number of mechanisms is chosen."""

from __future__ import annotations

import pandas as pd
import pytest

from neucept.mechanisms.choice import choose

BASE = {
    "n": [1, 2, 3, 4],
    "stability": [1.0, 0.95, 0.9, 0.8],
    "stability_one": [1.0, 0.5, 0.3, 0.2],
    "gap": [0.0, 0.01, 0.01, 0.01],
    "criterion": [-9.0, -8.0, -7.0, -6.5],
}


@pytest.mark.parametrize(
    ("column", "number", "value", "chosen"),
    [
        (None, None, None, 4),
        ("stability", 4, 0.74, 3),
        ("stability_one", 4, 0.81, 3),
        ("gap", 4, 0.06, 3),
        ("criterion", 4, -7.5, 3),
        ("stability", 2, 0.1, 4),
        ("criterion", 1, 0.0, 4),
    ],
)
def test_each_condition_decides(
    column: str | None, number: int | None, value: float | None, chosen: int
) -> None:
    table = pd.DataFrame(BASE)
    if column is not None:
        table.loc[table["n"] == number, column] = value
    assert choose(table) == chosen


def test_one_mechanism_when_nothing_else_stands() -> None:
    assert choose(pd.DataFrame(BASE).assign(gap=0.5)) == 1
    assert choose(pd.DataFrame(BASE).assign(stability=0.5)) == 1
    assert choose(pd.DataFrame(BASE).head(1)) == 1
