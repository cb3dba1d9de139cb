"""The core of a layer in words: how few of its critical neurons suffice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neucept.report.reading import Subject, optional
from neucept.report.words import counted, percent

NO_RATE = "It has no error rate of its own."


def core_words(subject: Subject, entry: Mapping[str, Any]) -> str:
    """What the core of a layer is and keeps, in two sentences; "" where none was looked for."""
    layer = str(entry["name"])
    size, found = len(subject.core(layer)), len(subject.distinct(layer))
    if not size:
        return ""
    known, kept = optional(entry.get("known")), float(entry["core"]["kept"])
    told, whose = _targets(entry)
    once = ", near-copies counted once," * (found < len(subject.selected(layer)))
    every = ("the one" if found == 1 else "all") + _critical(found) + once
    if not kept:
        return (
            f"On samples held out, nothing that the layer tells about {told} could be measured; so "
            f"no smaller core was found than {every.removesuffix(',')}."
        )
    explains = (
        "" if known is None else f" (the layer explains {percent(known)} of {whose} variance)"
    )
    what = f"of what the layer tells about {told}{explains}"
    asked = f"at least {percent(float(entry['core']['keep']))}"
    ends = f"; {'they are' if size > 1 else 'it is'} the core. {NO_RATE}"
    keeps = "keep" if size > 1 else "keeps"
    if kept < float(entry["core"]["keep"]):
        return f"{every[0].upper()}{every[1:]} {keeps} only {percent(kept)} {what}{ends}"
    if 1 < size == found:
        return f"It takes {every} to keep {asked} {what}{ends}"
    few = f"{size:,} of the{_critical(found)}{once}" if found > 1 else f"T{every[1:]}"
    return f"{few} {keeps} {asked} {what}{ends}"


def _critical(found: int) -> str:
    return " critical neuron" if found == 1 else f" {counted(found, 'critical neuron')}"


def _targets(entry: Mapping[str, Any]) -> tuple[str, str]:
    """What the layer was asked about, and whose variance that is."""
    if int(entry.get("n_targets") or 1) > 1:
        return "its targets", "their"
    return "its target", "its"
