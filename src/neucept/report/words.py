"""Numbers and names as a reader meets them: rounded, in words, and harmless."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence

UNKNOWN = "not known"
NO_BREAK = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)

_SMALL = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_SMALL += ["eleven", "twelve"]

_STABILITY = (
    (0.9, "very stable", "the same groups come back nearly unchanged"),
    (0.75, "stable", "largely the same groups come back"),
    (0.6, "fairly stable", "the groups come back in part"),
    (-math.inf, "unstable", "other groups appear"),
)


def plain(text: str) -> str:
    """A name with what could steer a terminal or reorder a line made visible as U+FFFD."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def shorten(text: str, most: int = 28) -> str:
    """A name of at most `most` characters: its end says more than its middle.

    Args:
        text: The name.
        most: Characters to keep, at least 5.

    Returns:
        The name, with an ellipsis in place of its middle when it is longer.
    """
    if len(text) <= most:
        return text
    end = (most - 1) * 2 // 3
    return text[: most - 1 - end] + "\N{HORIZONTAL ELLIPSIS}" + text[-end:]


def known(value: float | None) -> bool:
    """Whether there is a number to show: neither None nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def percent(share: float | None) -> str:
    """A share in [0, 1] as per cent; one decimal only where 0 or 100 would be a lie."""
    if share is None or not known(share):
        return UNKNOWN
    hundred = 100 * float(share)
    decimals = 1 if 0 < hundred < 1 or 99 < hundred < 100 else 0
    shown = f"{hundred:.{decimals}f}"
    if hundred < 100 and shown.startswith("100"):
        shown = "99.9"
    if hundred > 0 and float(shown) == 0:
        shown = "under 0.1"
    return f"{shown}{NO_BREAK}%"


def number(value: float | None) -> str:
    """A measured number with three significant digits, thousands separated."""
    if value is None or not known(value):
        return UNKNOWN
    size = abs(float(value))
    if size == 0:
        return "0"
    if size >= 1e6 or size < 1e-3:
        return f"{value:.2e}"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 - math.floor(math.log10(size))}f}" if size < 10 else f"{value:.1f}"


def score(value: float | None) -> str:
    """A number in [0, 1], such as a stability, with two decimals."""
    return UNKNOWN if value is None or not known(value) else f"{float(value):.2f}"


def count(items: int) -> str:
    """A whole number with its thousands separated."""
    return f"{int(items):,}"


def counted(items: int, one: str, many: str = "") -> str:
    """``"1 neuron"``, ``"31 neurons"``."""
    return f"{count(items)}{NO_BREAK}{one if items == 1 else many or one + 's'}"


def signed(value: float, digits: int = 2) -> str:
    """A figure with its sign, as ``"+0.30"``."""
    return f"{MINUS if round(value, digits) < 0 else '+'}{abs(value):.{digits}f}"


def small(items: int) -> str:
    """A whole number in a sentence: written out up to twelve."""
    return _SMALL[items] if 0 <= items < len(_SMALL) else count(items)


def seconds(value: float | None) -> str:
    """A span of time: ``"42 s"``, ``"3 min 12 s"``, ``"1 h 4 min"``."""
    if value is None or not known(value):
        return UNKNOWN
    if value < 10:
        return f"{value:.1f}{NO_BREAK}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}{NO_BREAK}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{NO_BREAK}min {rest}{NO_BREAK}s"
    return f"{minutes // 60}{NO_BREAK}h {minutes % 60}{NO_BREAK}min"


def listed(items: Sequence[str]) -> str:
    """``"a"``, ``"a and b"``, ``"a, b and c"``."""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def letter(mechanism: int) -> str:
    """The name of a mechanism: A for 0, B for 1, ...; numbers stay for neurons and classes."""
    letters = string.ascii_uppercase
    return letters[mechanism] if 0 <= mechanism < len(letters) else f"#{mechanism}"


def stability_word(value: float | None) -> str:
    """What a stability in [0, 1] is called."""
    if value is None or not known(value):
        return "of unknown stability"
    return next(word for least, word, _ in _STABILITY if value >= least)


def stability_often(value: float) -> str:
    """What a stability in [0, 1] means when halves of the samples are grouped anew."""
    return next(often for least, _, often in _STABILITY if value >= least)


def value_text(value: object) -> str:
    """A setting's value as a reader expects it."""
    if isinstance(value, list | tuple):
        return listed([value_text(item) for item in value]) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(str(k))} {value_text(v)}" for k, v in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    named = {None: "not set", True: "yes", False: "no"}
    return named[value] if value is None or isinstance(value, bool) else plain(str(value))
