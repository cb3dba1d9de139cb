"""Numbers and names as the page shows them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neucept.report import words

S = words.NO_BREAK


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.0, f"0{S}%"),
        (0.0004, f"under 0.1{S}%"),
        (0.004, f"0.4{S}%"),
        (0.123, f"12{S}%"),
        (0.996, f"99.6{S}%"),
        (0.9999, f"99.9{S}%"),
        (1.0, f"100{S}%"),
        (None, "not known"),
        (math.nan, "not known"),
    ],
)
def test_percent_never_rounds_to_all_or_nothing(share: float | None, shown: str) -> None:
    assert words.percent(share) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (41.96, "42.0"),
        (1234.5, "1,234"),
        (0.01234, "0.0123"),
        (-0.5, "-0.500"),
        (3.0, "3.00"),
        (2.5e7, "2.50e+07"),
        (4e-5, "4.00e-05"),
        (math.inf, "not known"),
    ],
)
def test_number_keeps_three_significant_digits(value: float, shown: str) -> None:
    assert words.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3.21, f"3.2{S}s"),
        (59.7, f"1{S}min 0{S}s"),
        (192, f"3{S}min 12{S}s"),
        (3840, f"1{S}h 4{S}min"),
    ],
)
def test_seconds(value: float, shown: str) -> None:
    assert words.seconds(value) == shown


@given(st.text(max_size=200), st.integers(5, 60))
def test_shorten_keeps_both_ends_within_the_limit(text: str, most: int) -> None:
    short = words.shorten(text, most)
    assert len(short) <= most
    if len(text) <= most:
        assert short == text
    else:
        assert "…" in short
        assert text.startswith(short.split("…")[0]) or "…" in text
        assert short[-1] == text[-1]


@given(st.text(max_size=100))
def test_plain_leaves_nothing_that_steers(text: str) -> None:
    shown = words.plain(text + "\x1b[31m\u202e\u2028\x00")
    assert not {"\x1b", "\u202e", "\u2028", "\x00"} & set(shown)
    assert len(shown) == len(text) + len("\x1b[31m\u202e\u2028\x00")
    shown.encode("utf-8")


def test_plain_leaves_names_of_all_scripts_alone() -> None:
    name = "Ünïcode 正常 قلب “even” <b> & 'x'"
    assert words.plain(name) == name


@pytest.mark.parametrize(
    ("items", "shown"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_listed(items: list[str], shown: str) -> None:
    assert words.listed(items) == shown


def test_counts_and_small_numbers() -> None:
    assert words.counted(1, "neuron") == f"1{S}neuron"
    assert words.counted(1200, "neuron") == f"1,200{S}neurons"
    assert [words.small(n) for n in (0, 3, 12, 13)] == ["no", "three", "twelve", "13"]
    assert [words.letter(n) for n in (0, 11, 25, 26)] == ["A", "L", "Z", "#26"]


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.95, "very stable"), (0.75, "stable"), (0.6, "fairly stable"), (0.1, "unstable")],
)
def test_stability_words(value: float, word: str) -> None:
    assert words.stability_word(value) == word
    assert words.stability_often(value)


def test_stability_below_zero_is_unstable_and_none_is_unknown() -> None:
    assert words.stability_word(-0.1) == "unstable"
    assert words.stability_word(None) == "of unknown stability"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "not set"),
        (True, "yes"),
        (1797, "1,797"),
        (0.1, "0.1"),
        (["fc1", "fc2"], "fc1 and fc2"),
        ([], "none"),
        ({"chosen": 5}, "chosen 5"),
        ("a\x1bb", "a\ufffdb"),
    ],
)
def test_value_text(value: object, shown: str) -> None:
    assert words.value_text(value) == shown


def test_signs_are_shown_and_nothing_is_minus_zero() -> None:
    shown = [words.signed(value) for value in (0.3, -1.5, 0.0, -0.001)]
    assert shown == ["+0.30", f"{words.MINUS}1.50", "+0.00", "+0.00"]
    assert words.signed(-0.04, 1) == "+0.0"
