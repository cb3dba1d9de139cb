"""How well low typicality finds wrong predictions, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neucept.report.reading import Subject, optional
from neucept.report.words import count, percent, score

FEWEST = 10
"""Wrong predictions, and right ones, below which nothing is said of telling them apart."""


def doubt(subject: Subject) -> str:
    """What typicality is worth on the study's samples; "" where labels or figures are missing."""
    found = subject.info.get("reliability")
    if not found:
        return ""
    if not tellable(found):
        return _too_few(int(found["wanted"]), int(found["others"]))
    area, error = float(found["auroc"]), optional(found.get("error"))
    spread = "" if error is None else f" ± {score(error)}"
    hardly = error is None or area - 2 * error <= 0.5
    verdict = "So typicality hardly tells wrong from right here." if hardly else ""
    return (
        "A prediction of low typicality is unusual for its mechanism. Low typicality finds wrong "
        f"predictions with AUROC {score(area)}{spread} (0.5 is chance): of the "
        f"{count(found['wanted'])} wrong ones {percent(found['flagged'])} are atypical "
        f"({found['level']:g} or less), of the {count(found['others'])} right ones "
        f"{percent(found['flagged_others'])}. {verdict}"
    ).strip()


def tellable(found: Mapping[str, Any]) -> bool:
    """Whether there are enough wrong and right predictions to tell them apart."""
    enough = min(int(found["wanted"]), int(found["others"])) >= FEWEST
    return enough and optional(found.get("auroc")) is not None


def _too_few(wrong: int, right: int) -> str:
    few, how = (wrong, "wrongly") if wrong <= right else (right, "rightly")
    among = f"of the {count(wrong + right)} labelled samples"
    ends = f"{how} predicted, too few to tell how well low typicality finds wrong predictions."
    if not few:
        return f"None {among} is {how} predicted, so nothing can be told of finding wrong ones."
    return f"Only {count(few)} {among} {'is' if few == 1 else 'are'} {ends}"
