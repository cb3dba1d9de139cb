from __future__ import annotations

import numpy as np

from neucept.knockoffs.explain import explain, smallest_level
from neucept.knockoffs.filter import contest, e_bh, e_values


def settings(**changes) -> dict:
    return {
        "fdr": 0.1,
        "tested": 10,
        "fewest": 4,
        "knockoffs": 5,
        "draws": 2,
        "aggregate": "e_values",
        "floor": 0.0,
        **changes,
    }


def clear_winners(count: int, copies: int = 5) -> list:
    values = np.zeros((10, copies + 1))
    values[:count, 0] = 1
    return [contest(values)]


def test_text_says_what_was_possible_what_was_found_and_what_to_do() -> None:
    draws = [clear_winners(2), clear_winners(2)]
    text = explain(draws, settings())
    assert "Nothing selected at fdr 0.1" in text
    assert "2 of 10 tested neurons are ahead" in text
    assert "With 5 knockoffs and 2 draws a selection names no fewer than 4." in text
    assert "smallest fdr that would have selected is 0.2" in text
    assert "Fewer than that are ahead: try more knockoffs" in text


def test_a_floor_is_told() -> None:
    draws = [clear_winners(2), clear_winners(2)]
    assert "importance" not in explain(draws, settings())
    assert "Neurons under 0.12 of the largest importance do not count." in explain(
        draws, settings(floor=0.12)
    )


def test_smallest_level_selects_and_the_one_below_does_not() -> None:
    draws = [clear_winners(3), clear_winners(2)]
    level = smallest_level(draws, settings())
    assert level is not None
    for at, expected in ((level, True), (level - 0.01, False)):
        evidence = np.array([[e_values(c, at / 2) for c in draw] for draw in draws]).mean(0)
        assert e_bh(evidence, at).any() == expected


def test_no_level_helps_where_knockoffs_always_win() -> None:
    values = np.zeros((10, 2))
    values[:, 1] = 1
    draws = [[contest(values)]]
    assert smallest_level(draws, settings(draws=1, knockoffs=1)) is None
    assert "No level below 1 would have selected" in explain(draws, settings(knockoffs=1, fewest=0))


def test_shares_of_draws_have_a_level_of_their_own() -> None:
    draws = [clear_winners(1), clear_winners(1), clear_winners(0)]
    level = smallest_level(draws, settings(aggregate="frequency", draws=3))
    assert level is not None
    assert 0.19 < level < 0.22
